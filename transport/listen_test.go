//go:build unix

package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/transport"
)

func TestDialAndListen(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:0"},
		{"tcp4", ":0"},
		{"tcp", ":0"},
		{"unix", filepath.Join(dir, "socket")},
	} {
		t.Run(tt.network+tt.address, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				ln, err := transport.Listen(l, tt.network, tt.address, newEcho, transport.ListenConfig{})
				must(t, err)
				r := recorder{connected: func(t *transport.Transport) { _ = t.Write([]byte("hello")) }}
				tr, err := transport.Dial(l, tt.network, dialable(ln.Addr()), &r, transport.DialConfig{}).Await(ctx)
				must(t, err)
				r.Want(t, "made")
				until(ctx, t, "the answer", func() bool { return len(r.bytes) == 5 })
				if s := ln.Stats(); s.Accepted != 1 || s.Open != 1 || len(ln.Transports()) != 1 {
					t.Errorf("stats: %+v", s)
				}
				server := ln.Transports()[0]
				if tt.network != "unix" && (tr.LocalAddr().String() != server.RemoteAddr().String() || tr.RemoteAddr().String() != server.LocalAddr().String()) {
					t.Errorf("addresses: %v %v, %v %v", tr.LocalAddr(), tr.RemoteAddr(), server.LocalAddr(), server.RemoteAddr())
				}
				if tr.Num() < 0 || !strings.HasPrefix(tr.String(), tt.network[:3]) {
					t.Errorf("descriptor %d of %v", tr.Num(), tr)
				}
				tr.Close()
				must(t, ln.Close())
				must(t, ln.Close())
				_, err = ln.Ended().Await(ctx)
				must(t, err)
				if tr.Num() != -1 || server.Num() != -1 || ln.Num() != -1 {
					t.Error("a descriptor is left")
				}
				if _, err := os.Stat(tt.address); err == nil {
					t.Error("the socket's file is left")
				}
			})
		})
	}
}

// dialable returns an address to dial for one that may mean any.
func dialable(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return a.String()
}

func TestListenErrors(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", newEcho, transport.ListenConfig{})
		must(t, err)
		for _, tt := range []struct{ network, address string }{
			{"udp", "127.0.0.1:0"},
			{"tcp", "name.test:1"},
			{"tcp", "127.0.0.1"},
			{"tcp6", "127.0.0.1:1"},
			{"tcp", ln.Addr().String()},
			{"unix", "/does/not/exist"},
		} {
			_, err := transport.Listen(l, tt.network, tt.address, newEcho, transport.ListenConfig{})
			var op *net.OpError
			if !errors.As(err, &op) || op.Op != "listen" {
				t.Errorf("%v: %v", tt, err)
			}
		}
		testkit.WantPanic(t, "transport: ", func() { _, _ = transport.Listen(l, "tcp", ":0", nil, transport.ListenConfig{}) })
		testkit.WantPanic(t, "transport: ", func() { transport.Dial(l, "tcp", ":0", nil, transport.DialConfig{}) })
		must(t, ln.Close())
	})
}

func TestListenName(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		ln, err := transport.ListenName(l, "tcp", "127.0.0.1:0", newEcho, transport.ListenConfig{}).Await(ctx)
		must(t, err)
		must(t, ln.Close())
		_, err = transport.ListenName(l, "tcp", "127.0.0.1", newEcho, transport.ListenConfig{}).Await(ctx)
		var op *net.OpError
		if !errors.As(err, &op) {
			t.Errorf("ListenName: %v", err)
		}
		f := transport.ListenName(l, "tcp", "127.0.0.1:0", newEcho, transport.ListenConfig{})
		if !f.Cancel(nil) || f.State() != future.Canceled {
			t.Errorf("canceled: %v", f)
		}
		turns(ctx, t, 3)
	})
}

func TestDialFails(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		gone, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		must(t, gone.Close())
		var r recorder
		var unknown net.UnknownNetworkError
		if err := transport.Dial(l, "udp", "127.0.0.1:1", &r, transport.DialConfig{}).Err(); !errors.As(err, &unknown) {
			t.Errorf("Dial of udp: %v", err)
		}
		_, err = transport.Dial(l, "tcp", gone.Addr().String(), &r, transport.DialConfig{}).Await(ctx)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial: %v", err)
		}
		r.Want(t)
	})
}

// Canceling a Dial in each of its states closes what there is.
func TestDialCancel(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", newEcho, transport.ListenConfig{})
		must(t, err)
		for n := range 6 {
			var r recorder
			f := transport.Dial(l, "tcp", ln.Addr().String(), &r, transport.DialConfig{})
			turns(ctx, t, n)
			if !f.Done() {
				f.Cancel(nil)
			}
			if tr, err := f.Result(); err == nil {
				tr.Abort()
			}
			turns(ctx, t, 3)
			if r.t != nil && !r.lost {
				t.Errorf("canceled after %d turns: %q", n, r.Lines)
			}
		}
		must(t, ln.Close())
		_, err = ln.Ended().Await(ctx)
		must(t, err)
	})
}

// More than MaxConns wait in the system's queue.
func TestMaxConns(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		open, most := 0, 0
		factory := func() transport.Protocol {
			return &counted{made: func() { open++; most = max(most, open) }, lost: func() { open-- }}
		}
		ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", factory, transport.ListenConfig{MaxConns: 3})
		must(t, err)
		clients := make([]recorder, 20)
		for i := range clients {
			r := &clients[i]
			r.connected = func(t *transport.Transport) { _ = t.Write([]byte("hello")) }
			r.data = func([]byte) { r.t.Close() }
			transport.Dial(l, "tcp", ln.Addr().String(), r, transport.DialConfig{}).OnDone(func() {})
		}
		until(ctx, t, "all were served", func() bool {
			for i := range clients {
				if !clients[i].lost {
					return false
				}
			}
			return true
		})
		if most != 3 {
			t.Errorf("%d at a time, want 3", most)
		}
		must(t, ln.Close())
		_, err = ln.Ended().Await(ctx)
		must(t, err)
	})
}

type counted struct {
	echo
	made, lost func()
}

func (c *counted) Connected(t *transport.Transport) { c.made(); c.echo.Connected(t) }
func (c *counted) Lost(error)                       { c.lost() }

// Close stops listening only; Ended waits for both it and the last connection.
func TestEdge122_Ended(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(ln *transport.Listener)
		want string // of what was written, arrives
	}{
		{"close clients", (*transport.Listener).CloseClients, "all"},
		{"abort clients", (*transport.Listener).AbortClients, "less"},
		{"abort", (*transport.Listener).Abort, "less"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				const size = 16 << 20
				factory := func() transport.Protocol {
					return &recorder{connected: func(tr *transport.Transport) { must(t, tr.Write(make([]byte, size))) }}
				}
				ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", factory, transport.ListenConfig{})
				must(t, err)
				var r recorder
				r.connected = func(t *transport.Transport) { t.PauseReading() }
				tr, err := transport.Dial(l, "tcp", ln.Addr().String(), &r, transport.DialConfig{}).Await(ctx)
				must(t, err)
				until(ctx, t, "it is accepted", func() bool { return ln.Stats().Open == 1 })
				one, two := ln.Ended(), ln.Ended()
				two.Cancel(nil)
				turns(ctx, t, 3)
				if one.Done() {
					t.Error("ended while it listens")
				}
				must(t, ln.Close())
				turns(ctx, t, 3)
				if one.Done() {
					t.Error("ended with a connection")
				}
				if _, err := transport.Dial(l, "tcp", ln.Addr().String(), new(recorder), transport.DialConfig{}).Await(ctx); err == nil {
					t.Error("it still listens")
				}
				tt.end(ln)
				tr.ResumeReading()
				_, err = one.Await(ctx)
				must(t, err)
				_, err = ln.Ended().Await(ctx)
				must(t, err)
				until(ctx, t, "Lost", func() bool { return r.lost })
				if got := len(r.bytes); (got == size) != (tt.want == "all") {
					t.Errorf("%d bytes of %d arrived", got, size)
				}
			})
		})
	}
}

// Two listeners on one address.
func TestReusePort(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		cfg := transport.ListenConfig{ReusePort: true}
		a, err := transport.Listen(l, "tcp", "127.0.0.1:0", newEcho, cfg)
		must(t, err)
		b, err := transport.Listen(l, "tcp", a.Addr().String(), newEcho, cfg)
		must(t, err)
		must(t, a.Close())
		must(t, b.Close())
	})
}

// A factory that panics loses its connection only.
func TestFactoryPanics(t *testing.T) {
	var reports []string
	cfg := loop.Config{OnError: func(e *loop.CallError) { reports = append(reports, e.Error()) }}
	runConfig(t, cfg, func(ctx context.Context, l *loop.Loop) {
		n := 0
		ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", func() transport.Protocol {
			if n++; n == 1 {
				panic("no protocol")
			}
			return new(echo)
		}, transport.ListenConfig{})
		must(t, err)
		clients := make([]recorder, 2)
		for i := range clients {
			r := &clients[i]
			r.connected = func(t *transport.Transport) { _ = t.Write([]byte("hello")) }
			r.data = func([]byte) { r.t.Close() }
			_, err := transport.Dial(l, "tcp", ln.Addr().String(), r, transport.DialConfig{}).Await(ctx)
			must(t, err)
		}
		until(ctx, t, "both are lost", func() bool { return clients[0].lost && clients[1].lost })
		if len(clients[0].bytes) != 0 || len(clients[1].bytes) != 5 || len(reports) != 1 {
			t.Errorf("got %q and %q, reports %q", clients[0].bytes, clients[1].bytes, reports)
		}
		must(t, ln.Close())
	})
}

// A unix socket's file that somebody has replaced is left alone.
func TestEdge123_ReplacedPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	run(t, func(ctx context.Context, l *loop.Loop) {
		ln, err := transport.Listen(l, "unix", path, newEcho, transport.ListenConfig{})
		must(t, err)
		must(t, os.Remove(path))
		must(t, os.WriteFile(path, nil, 0o600))
		must(t, ln.Close())
		_, err = os.Stat(path)
		must(t, err)
	})
}

// The file of a socket that nobody listens on any more is replaced, that of another
// one is not.
func TestEdge123_StalePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	must(t, err)
	stale.SetUnlinkOnClose(false)
	must(t, stale.Close())
	run(t, func(ctx context.Context, l *loop.Loop) {
		ln, err := transport.Listen(l, "unix", path, newEcho, transport.ListenConfig{})
		must(t, err)
		if _, err := transport.Listen(l, "unix", path, newEcho, transport.ListenConfig{}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second listener: %v, want EADDRINUSE", err)
		}
		must(t, ln.Close())
	})
}

// A connection of package net goes on as a transport; the original is closed.
func TestAdoptConn(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer ln.Close()
		client, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		defer client.Close()
		server, err := ln.Accept()
		must(t, err)
		tr, err := transport.Adopt(l, server.(*net.TCPConn), new(echo), transport.Config{})
		must(t, err)
		if _, err := server.Write(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the original is open: %v", err)
		}
		if tr.RemoteAddr().String() != client.LocalAddr().String() {
			t.Errorf("peer %v, want %v", tr.RemoteAddr(), client.LocalAddr())
		}
		_, err = client.Write([]byte("hello"))
		must(t, err)
		got := ""
		until(ctx, t, "the echo", func() bool {
			buf := make([]byte, 5)
			must(t, client.SetReadDeadline(time.Now().Add(time.Millisecond)))
			n, _ := client.Read(buf)
			got += string(buf[:n])
			return len(got) == 5
		})
		tr.Close()
		turns(ctx, t, 2)
	})
}

func TestAdoptPipes(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		r, w, err := os.Pipe()
		must(t, err)
		var in, out recorder
		tr, err := transport.Adopt(l, r, &in, transport.Config{})
		must(t, err)
		tw, err := transport.Adopt(l, w, &out, transport.Config{})
		must(t, err)
		if err := tr.Write([]byte("x")); err != transport.ErrWriteClosed {
			t.Errorf("write to the end to read: %v", err)
		}
		big := strings.Repeat("x", 1<<20)
		must(t, tw.Write([]byte(big)))
		must(t, tw.WriteAll([][]byte{[]byte("a"), []byte("b")}))
		tw.CloseWrite()
		until(ctx, t, "Lost", func() bool { return in.lost && out.lost })
		if string(in.bytes) != big+"ab" || in.err != nil || out.err != nil {
			t.Errorf("%d bytes arrived, lost by %v and %v", len(in.bytes), in.err, out.err)
		}
	})
}

// One that writes to a pipe hears when nobody reads it: of an error only if something
// was still to be written.
func TestAdoptBrokenPipe(t *testing.T) {
	for _, pending := range []bool{false, true} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			r, w, err := os.Pipe()
			must(t, err)
			var out recorder
			tw, err := transport.Adopt(l, w, &out, transport.Config{})
			must(t, err)
			turns(ctx, t, 2)
			if pending {
				must(t, tw.Write(make([]byte, 1<<20)))
			}
			must(t, r.Close())
			until(ctx, t, "Lost", func() bool { return out.lost })
			if errors.Is(out.err, syscall.EPIPE) != pending || (out.err != nil) != pending {
				t.Errorf("lost by %v, pending %v", out.err, pending)
			}
		})
	}
}

func TestAdoptRefuses(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, err := os.CreateTemp(t.TempDir(), "")
		must(t, err)
		defer f.Close()
		if _, err := transport.Adopt(l, f, new(recorder), transport.Config{}); err != transport.ErrNotAStream {
			t.Errorf("a regular file: %v", err)
		}
		if _, err := f.Write([]byte("open")); err != nil {
			t.Errorf("the original was closed: %v", err)
		}
		if _, err := transport.AdoptFD(l, 1<<20, new(recorder), transport.Config{}); !errors.Is(err, syscall.EBADF) {
			t.Errorf("no descriptor: %v", err)
		}
	})
}
