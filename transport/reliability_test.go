//go:build unix

package transport_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/transport"
)

// A hasher sums up what arrives, and checks nothing else.
type hasher struct {
	transport.Defaults
	sum  [32]byte
	n    int
	lost bool
	err  error
	hash interface {
		Write([]byte) (int, error)
		Sum([]byte) []byte
	}
}

func (h *hasher) Connected(*transport.Transport) { h.hash = sha256.New() }
func (h *hasher) Data(p []byte)                  { h.n += len(p); _, _ = h.hash.Write(p) }
func (h *hasher) Lost(err error)                 { h.lost, h.err = true, err; copy(h.sum[:], h.hash.Sum(nil)) }

// Writes that are cut at any place, because the socket is as small as can be, arrive in
// order: plain, in pieces, more of them than one call takes.
func TestPartialWritesKeepOrder(t *testing.T) {
	const size = 1 << 20
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	want := sha256.Sum256(data)
	for _, secure := range []bool{false, true} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			var h hasher
			var r recorder
			tr, _ := connected(ctx, t, l, &r, &h, secure)
			must(t, syscall.SetsockoptInt(tr.Num(), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 1))
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 1+random.IntN(20_000))
				p := rest[:n]
				rest = rest[n:]
				if n%3 == 0 {
					must(t, tr.Write(p))
					continue
				}
				var pieces [][]byte
				for k := 1 + random.IntN(200); len(p) > 0; {
					m := min(len(p), k)
					pieces = append(pieces, p[:m], nil)
					p = p[m:]
				}
				must(t, tr.WriteAll(pieces))
			}
			tr.Close()
			until(ctx, t, "Lost", func() bool { return h.lost && r.lost })
			if h.sum != want || h.n != size || h.err != nil || r.err != nil {
				t.Errorf("secure %v: %d bytes of %d arrived, or others; lost by %v, %v", secure, h.n, size, h.err, r.err)
			}
		})
	}
}

// A peer that resets: what it sent before is read first, then there is one error, in
// whichever state it finds us.
func TestReset(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(tr *transport.Transport)
	}{
		{"reading", func(*transport.Transport) {}},
		{"writing", func(tr *transport.Transport) { _ = tr.Write(make([]byte, 8<<20)) }},
		{"half-closed", func(tr *transport.Transport) { tr.CloseWrite() }},
		{"paused, then writing", func(tr *transport.Transport) { tr.PauseReading(); _ = tr.Write(make([]byte, 8<<20)) }},
		{"closing", func(tr *transport.Transport) { _ = tr.Write(make([]byte, 8<<20)); tr.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				must(t, err)
				defer ln.Close()
				var r recorder
				tr, err := transport.Dial(l, "tcp", ln.Addr().String(), &r, transport.DialConfig{}).Await(ctx)
				must(t, err)
				peer, err := ln.Accept()
				must(t, err)
				tt.do(tr)
				turns(ctx, t, 2)
				_, err = peer.Write([]byte("last words"))
				must(t, err)
				must(t, peer.(*net.TCPConn).SetLinger(0))
				must(t, peer.Close())
				until(ctx, t, "Lost", func() bool { return r.lost })
				if !errors.Is(r.err, syscall.ECONNRESET) && !errors.Is(r.err, syscall.EPIPE) {
					t.Errorf("lost by %v", r.err)
				}
				wantData := tt.name != "closing" && tt.name != "paused, then writing"
				if got := string(r.bytes) == "last words"; got != wantData {
					t.Errorf("read %q", r.bytes)
				}
				if err := tr.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("write after the reset: %v", err)
				}
			})
		})
	}
}

// A write that meets the reset does not hide what the peer sent before.
func TestResetMetByWrite(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var r recorder
		tr, p := pair(t, l, &r, transport.Config{})
		turns(ctx, t, 1)
		p.write("last words")
		p.close()
		if err := tr.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Write: %v", err)
		}
		if err := tr.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Write: %v", err)
		}
		r.Want(t, "made")
		turns(ctx, t, 3)
		r.Want(t, "data last words", "lost broken pipe")
	})
}

// The peer sends and ends at once; we go on writing, a lot.
func TestHalfCloseLosesNothing(t *testing.T) {
	const size = 10 << 20
	run(t, func(ctx context.Context, l *loop.Loop) {
		for range 4 {
			server := recorder{keepOpen: true}
			client := recorder{keepOpen: true, connected: func(t *transport.Transport) {
				_ = t.Write([]byte("question"))
				t.CloseWrite()
			}}
			_, ln := connected(ctx, t, l, &client, &server, false)
			until(ctx, t, "the server's EOF", func() bool { return len(server.Lines) == 3 })
			server.Want(t, "made", "data question", "eof")
			must(t, server.t.Write(make([]byte, size)))
			server.t.Close()
			until(ctx, t, "the client's EOF", func() bool { return client.Lines[len(client.Lines)-1] == "eof" })
			if len(client.bytes) != size {
				t.Errorf("%d bytes of %d arrived", len(client.bytes), size)
			}
			client.t.Close()
			_, err := ln.Ended().Await(ctx)
			must(t, err)
		}
	})
}

// Reading that is paused and resumed all the time loses nothing, and costs no calls.
func TestFlappingLosesNothing(t *testing.T) {
	const size = 8 << 20
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	run(t, func(ctx context.Context, l *loop.Loop) {
		var h hasher
		tr, _ := connected(ctx, t, l, new(recorder), &h, false)
		must(t, tr.Write(data))
		tr.Close()
		var got *transport.Transport
		flaps := 0
		for !h.lost {
			if got == nil {
				got = transport.Find(l, &h)
			}
			if got != nil {
				for range 100 {
					got.PauseReading()
					got.ResumeReading()
					flaps++
				}
				if rand.IntN(2) == 0 {
					got.PauseReading()
				}
			}
			turns(ctx, t, 1)
			if got != nil {
				got.ResumeReading()
			}
		}
		if h.sum != sha256.Sum256(data) || flaps == 0 {
			t.Errorf("%d bytes of %d arrived, or others", h.n, size)
		}
	})
}

// Paused transports whose peers are gone take no time: nothing is asked for them.
func TestPausedAndGone(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		const n = 200
		rs := make([]recorder, n)
		for i := range rs {
			rs[i].connected = func(t *transport.Transport) { t.PauseReading() }
			_, p := pair(t, l, &rs[i], transport.Config{})
			p.close()
		}
		turns(ctx, t, 5)
		before := l.Stats()
		for range 20 {
			turns(ctx, t, 0) // a millisecond
		}
		if s := l.Stats(); s.Events != before.Events {
			t.Errorf("%d events while nothing happens", s.Events-before.Events)
		}
		for i := range rs {
			rs[i].Want(t, "made")
			rs[i].t.ResumeReading()
		}
		turns(ctx, t, 3)
		for i := range rs {
			rs[i].Want(t, "eof", "lost nil")
		}
	})
}

// A peer that takes nothing: the buffer is bounded, a refused write leaves nothing, and
// what was taken arrives.
func TestHardCap(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		const limit = 1 << 20
		var r recorder
		tr, p := pair(t, l, &r, transport.Config{MaxBuffered: limit})
		defer p.close()
		turns(ctx, t, 1)
		taken, refused := 0, 0
		for range 1000 {
			switch err := tr.Write(make([]byte, 10_000)); err {
			case nil:
				taken += 10_000
			case transport.ErrBufferFull:
				refused++
			default:
				t.Fatal(err)
			}
			if n := tr.WriteBufferSize(); n > limit {
				t.Fatalf("%d bytes are buffered", n)
			}
		}
		if err := tr.WriteAll([][]byte{make([]byte, limit), {1}}); err != transport.ErrBufferFull {
			t.Errorf("WriteAll of too much: %v", err)
		}
		if err := tr.Write(make([]byte, limit+1)); err != transport.ErrBufferFull || refused == 0 {
			t.Errorf("Write of too much: %v; %d were refused", err, refused)
		}
		tr.Close()
		got := 0
		until(ctx, t, "Lost", func() bool { got += len(strings.TrimSuffix(p.read(), "EOF")); return r.lost })
		got += len(strings.TrimSuffix(p.read(), "EOF"))
		if got != taken {
			t.Errorf("%d bytes arrived, %d were taken", got, taken)
		}
	})
}

// Late calls on closed transports never reach the connections that got their numbers.
func TestLateWrites(t *testing.T) {
	cfg := loop.Config{OnError: func(*loop.CallError) {}}
	runConfig(t, cfg, func(ctx context.Context, l *loop.Loop) {
		var dead []*transport.Transport
		for range 50 {
			var r recorder
			tr, p := pair(t, l, &r, transport.Config{})
			tr.Abort()
			p.close()
			dead = append(dead, tr)
		}
		turns(ctx, t, 2)
		var heirs []*peer
		var live []*transport.Transport
		for range 50 {
			tr, p := pair(t, l, new(recorder), transport.Config{})
			heirs, live = append(heirs, p), append(live, tr)
		}
		turns(ctx, t, 2)
		for _, tr := range dead {
			for range 200 {
				if err := tr.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
					t.Fatalf("late write: %v", err)
				}
			}
			_ = tr.WriteAll([][]byte{[]byte("late")})
			tr.CloseWrite()
			tr.Close()
			tr.Abort()
			tr.ResumeReading()
			if tr.Dropped() != 201 || tr.Num() != -1 {
				t.Errorf("%d writes dropped, descriptor %d", tr.Dropped(), tr.Num())
			}
		}
		turns(ctx, t, 2)
		for i, p := range heirs {
			if got := p.read(); got != "" {
				t.Errorf("an heir got %q", got)
			}
			p.close()
			live[i].Abort()
		}
		turns(ctx, t, 2)
	})
}

// An owner checks that each byte is of its own connection.
type owner struct {
	transport.Defaults
	t       testing.TB
	id      uint64
	partial []byte
	n       int
	keep    []byte
	close   int // after so many bytes
	tr      *transport.Transport
	lost    *int
}

func (o *owner) Connected(t *transport.Transport) { o.tr = t }
func (o *owner) Lost(error)                       { *o.lost++ }

func (o *owner) Data(p []byte) {
	o.n += len(p)
	o.keep = p // which must not be done
	o.partial = append(o.partial, p...)
	for len(o.partial) >= 8 {
		if id := binary.LittleEndian.Uint64(o.partial); id != o.id {
			o.t.Fatalf("connection %d got bytes of %d", o.id, id)
		}
		o.partial = o.partial[8:]
	}
	if o.close > 0 && o.n > o.close {
		o.tr.Abort()
	}
}

// One buffer serves all connections, also when some are closed in the middle of a read:
// no one sees another's bytes.
func TestSharedBuffer(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		const n = 50
		lost := 0
		owners := make([]*owner, n)
		peers := make([]*peer, n)
		for i := range owners {
			owners[i] = &owner{t: t, id: uint64(i) + 1, lost: &lost}
			if i%3 == 0 {
				owners[i].close = 100_000
			}
			_, peers[i] = pair(t, l, owners[i], transport.Config{})
		}
		for range 30 {
			for i, p := range peers {
				msg := bytes.Repeat(binary.LittleEndian.AppendUint64(nil, uint64(i)+1), 1+rand.IntN(2000))
				_, _ = syscall.Write(p.fd, msg) // all of it, or a part that ends the test
			}
			turns(ctx, t, 2)
		}
		for _, p := range peers {
			p.close()
		}
		until(ctx, t, "all are lost", func() bool { return lost == n })
	})
}
