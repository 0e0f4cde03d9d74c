//go:build unix

package transport_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/transport"
)

// file returns a file of random bytes, and them.
func file(t testing.TB, size int) (*os.File, []byte) {
	t.Helper()
	content := make([]byte, size)
	_, _ = rand.Read(content)
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, content, 0o600))
	f, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f, content
}

// connected returns both ends of a TCP connection, with TLS or without.
func connected(ctx context.Context, t testing.TB, l *loop.Loop, a, b transport.Protocol, secure bool) (*transport.Transport, *transport.Listener) {
	t.Helper()
	var server, client *tls.Config
	if secure {
		server, client = certificate()
	}
	ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", func() transport.Protocol { return b },
		transport.ListenConfig{Config: transport.Config{TLS: server}})
	must(t, err)
	tr, err := transport.Dial(l, "tcp", ln.Addr().String(), a, transport.DialConfig{Config: transport.Config{TLS: client}}).Await(ctx)
	must(t, err)
	must(t, ln.Close())
	return tr, ln
}

func TestSendfile(t *testing.T) {
	const size = 5<<20 + 123
	for _, tt := range []struct {
		name   string
		secure bool
		off, n int64
		want   int64
	}{
		{"all", false, 0, -1, size},
		{"part", false, 1000, 2 << 20, 2 << 20},
		{"too much", false, size - 10, 100, 10},
		{"nothing", false, 0, 0, 0},
		{"behind the end", false, size + 1, -1, 0},
		{"TLS", true, 0, -1, size},
		{"part by TLS", true, 5, 1 << 20, 1 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, content := file(t, size)
			run(t, func(ctx context.Context, l *loop.Loop) {
				var a, b recorder
				tr, ln := connected(ctx, t, l, &a, &b, tt.secure)
				before := bytes.Repeat([]byte("<"), 2<<20) // more than goes at once
				must(t, tr.Write(before))
				n, err := transport.Sendfile(tr, f, tt.off, tt.n).Await(ctx)
				if n != tt.want || err != nil {
					t.Errorf("Sendfile = %d, %v, want %d", n, err, tt.want)
				}
				must(t, tr.Write([]byte(">")))
				tr.Close()
				_, err = ln.Ended().Await(ctx)
				must(t, err)
				want := append(before, content[min(tt.off, size):min(tt.off, size)+tt.want]...)
				if !bytes.Equal(b.bytes, append(want, '>')) {
					t.Errorf("%d bytes arrived, or others", len(b.bytes))
				}
			})
		})
	}
}

// Meanwhile a bare write is refused, and Close waits.
func TestEdge130_Sendfile(t *testing.T) {
	for _, secure := range []bool{false, true} {
		f, content := file(t, 8<<20)
		run(t, func(ctx context.Context, l *loop.Loop) {
			var a, b recorder
			tr, ln := connected(ctx, t, l, &a, &b, secure)
			send := transport.Sendfile(tr, f, 0, -1)
			for _, err := range []error{tr.Write([]byte("x")), tr.WriteAll([][]byte{{1}})} {
				if err != transport.ErrBusy {
					t.Errorf("write meanwhile: %v", err)
				}
			}
			if err := transport.Sendfile(tr, f, 0, -1).Err(); !errors.Is(err, transport.ErrBusy) {
				t.Errorf("another: %v", err)
			}
			tr.Close()
			n, err := send.Await(ctx)
			if n != int64(len(content)) || err != nil {
				t.Errorf("Sendfile = %d, %v", n, err)
			}
			_, err = ln.Ended().Await(ctx)
			must(t, err)
			until(ctx, t, "Lost", func() bool { return a.lost })
			if !bytes.Equal(b.bytes, content) || a.err != nil {
				t.Errorf("%d bytes arrived, lost by %v", len(b.bytes), a.err)
			}
		})
	}
}

// When the peer goes, or the transport is aborted, the error says how far it got.
func TestEdge130_PeerVanishes(t *testing.T) {
	for _, abort := range []bool{false, true} {
		f, content := file(t, 16<<20)
		run(t, func(ctx context.Context, l *loop.Loop) {
			var a, b recorder
			b.data = func([]byte) {
				if len(b.bytes) > 1<<20 {
					if abort {
						a.t.Abort()
					}
					b.t.Abort()
				}
			}
			tr, _ := connected(ctx, t, l, &a, &b, false)
			_, err := transport.Sendfile(tr, f, 0, -1).Await(ctx)
			var e *transport.SendfileError
			if !errors.As(err, &e) || e.Sent < int64(len(b.bytes)) || e.Sent >= int64(len(content)) {
				t.Errorf("Sendfile: %v, %d arrived", err, len(b.bytes))
			}
			until(ctx, t, "Lost", func() bool { return a.lost })
		})
	}
}

func TestSendfileRefused(t *testing.T) {
	f, _ := file(t, 10)
	run(t, func(ctx context.Context, l *loop.Loop) {
		tr, p := pair(t, l, new(recorder), transport.Config{})
		defer p.close()
		turns(ctx, t, 1)
		closed, err := os.Open(f.Name())
		must(t, err)
		must(t, closed.Close())
		if _, err := transport.Sendfile(tr, closed, 0, -1).Await(ctx); !errors.Is(err, os.ErrClosed) {
			t.Errorf("of a closed file: %v", err)
		}
		must(t, tr.Write([]byte("goes on")))
		tr.CloseWrite()
		if err := transport.Sendfile(tr, f, 0, -1).Err(); !errors.Is(err, transport.ErrWriteClosed) {
			t.Errorf("after CloseWrite: %v", err)
		}
		if got := p.read(); got != "goes onEOF" {
			t.Errorf("the peer read %q", got)
		}
		tr.Abort()
		turns(ctx, t, 1)
		if err := transport.Sendfile(tr, f, 0, -1).Err(); err == nil {
			t.Error("after the end it works")
		}
	})
}

// A canceled one settles when its step is back, and the transport goes on.
func TestSendfileCancel(t *testing.T) {
	f, _ := file(t, 64<<20)
	run(t, func(ctx context.Context, l *loop.Loop) {
		var a, b recorder
		b.connected = func(t *transport.Transport) { t.PauseReading() }
		tr, ln := connected(ctx, t, l, &a, &b, false)
		send := transport.Sendfile(tr, f, 0, -1)
		turns(ctx, t, 5)
		if !send.Cancel(nil) {
			t.Error("Cancel had no effect")
		}
		until(ctx, t, "it is settled", send.Done)
		if send.State() != future.Canceled {
			t.Errorf("settled: %v", send)
		}
		must(t, tr.Write([]byte("goes on")))
		b.t.ResumeReading()
		tr.Close()
		_, err := ln.Ended().Await(ctx)
		must(t, err)
		if !bytes.HasSuffix(b.bytes, []byte("goes on")) {
			t.Error("the write has not arrived")
		}
	})
}

// A loop that closes meanwhile leaves nothing open.
func TestSendfileLoopCloses(t *testing.T) {
	f, _ := file(t, 64<<20)
	before := descriptors()
	looptest.RunConfig(t, looptest.Config{Real: true}, func(ctx context.Context) error {
		var a, b recorder
		tr, _ := connected(ctx, t, loop.FromContext(ctx), &a, &b, false)
		transport.Sendfile(tr, f, 0, -1)
		return nil
	})
	// The step that was out when the loop closed may end a moment later.
	for start := time.Now(); descriptors() > before; {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("%d descriptors open, %d before", descriptors(), before)
		}
		time.Sleep(time.Millisecond)
	}
}
