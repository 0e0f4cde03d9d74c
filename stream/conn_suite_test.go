//go:build unix

package stream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

type opener = func(ctx context.Context) (a, b *stream.Conn, err error)

func openPipe(ctx context.Context) (a, b *stream.Conn, err error) {
	a, b = stream.Pipe(loop.FromContext(ctx))
	return a, b, nil
}

// openListener dials a listener that is made for it.
func openListener(network string, addr func() string) opener {
	return func(ctx context.Context) (a, b *stream.Conn, err error) {
		ln, err := stream.Listen(ctx, network, addr())
		if err != nil {
			return nil, nil, err
		}
		defer ln.Close()
		if a, err = stream.Dial(ctx, network, ln.Addr().String()); err != nil {
			return nil, nil, err
		}
		b, err = ln.Accept(ctx)
		return a, b, err
	}
}

// openTLS puts TLS over what open returns; a is the client.
func openTLS(t *testing.T, offLoop bool, open opener) opener {
	server, client := testkit.Certificate(t)
	// Then the server sends session tickets, after all that the client waits for: one
	// that only writes does not read them.
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	server.ClientAuth = tls.RequestClientCert
	return func(ctx context.Context) (a, b *stream.Conn, err error) {
		a, b, err = open(ctx)
		if err != nil {
			return nil, nil, err
		}
		srv := task.Start(ctx, func(ctx context.Context) (*stream.Conn, error) {
			return (&stream.TLS{Config: server, OffLoop: offLoop}).Server(ctx, b)
		})
		a, err = (&stream.TLS{Config: client}).Client(ctx, a)
		if err != nil {
			return nil, nil, err
		}
		b, err = srv.Await(ctx)
		return a, b, err
	}
}

// adoptBoth makes Conns of two ends of something else.
func adoptBoth(ctx context.Context, x, y any) (a, b *stream.Conn, err error) {
	if a, err = stream.Adopt(ctx, x); err != nil {
		return nil, nil, err
	}
	b, err = stream.Adopt(ctx, y)
	return a, b, err
}

// openNetPipe adopts what has no descriptor, so is read and written on goroutines.
func openNetPipe(ctx context.Context) (a, b *stream.Conn, err error) {
	x, y := net.Pipe()
	return adoptBoth(ctx, x, y)
}

// openNet adopts connections of package net.
func openNet(ctx context.Context) (a, b *stream.Conn, err error) {
	x, y, err := netPair()
	if err != nil {
		return nil, nil, err
	}
	return adoptBoth(ctx, x, y)
}

func netPair() (x, y net.Conn, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	if x, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		return nil, nil, err
	}
	y, err = ln.Accept()
	return x, y, err
}

// A plainConn is a net.Conn without its descriptor, which can be half-closed.
type plainConn struct{ net.Conn }

func (c plainConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// openPlain is openNet on goroutines.
func openPlain(ctx context.Context) (a, b *stream.Conn, err error) {
	x, y, err := netPair()
	if err != nil {
		return nil, nil, err
	}
	return adoptBoth(ctx, plainConn{x}, plainConn{y})
}

func openOSPipe(ctx context.Context) (w, r *stream.Conn, err error) {
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	return adoptBoth(ctx, pw, pr)
}

func TestConnSuite(t *testing.T) {
	loopback := func() string { return "127.0.0.1:0" }
	for _, tt := range []struct {
		name string
		open opener
	}{
		{"TCP", openListener("tcp", loopback)},
		{"unix", openListener("unix", func() string { return filepath.Join(t.TempDir(), "s") })},
		{"Pipe", openPipe},
		{"TLS over TCP", openTLS(t, false, openListener("tcp", loopback))},
		{"TLS over TCP, handshake elsewhere", openTLS(t, true, openListener("tcp", loopback))},
		{"TLS over Pipe", openTLS(t, false, openPipe)},
		{"TLS over goroutines", openTLS(t, false, openPlain)},
		{"adopted TCP", openNet},
		{"goroutines over TCP", openPlain},
		{"goroutines over net.Pipe", openNetPipe},
	} {
		t.Run(tt.name, func(t *testing.T) { looptest.TestConn(t, tt.open) })
	}
	t.Run("os.Pipe", func(t *testing.T) { looptest.TestOneWayConn(t, openOSPipe) })
}

// A TLS client that has not read its session tickets closes without a reset, which
// would overtake what it has written.
func TestTLSCloseWithUnreadTickets(t *testing.T) {
	open := openTLS(t, false, openListener("tcp", func() string { return "127.0.0.1:0" }))
	run(t, func(ctx context.Context) error {
		a, b, err := open(ctx)
		if err != nil {
			return err
		}
		defer b.Close()
		testkit.Sleep(ctx, 20*time.Millisecond) // the tickets arrive
		sent := 0
		for err == nil {
			var n int
			n, err = a.TryWrite(make([]byte, 1<<20))
			sent += n
		}
		wantErr(t, "TryWrite", err, stream.ErrWouldBlock)
		a.Close()
		testkit.Sleep(ctx, 20*time.Millisecond)
		all, err := stream.NewReader(b, 0).ReadAll(ctx)
		if len(all) != sent {
			t.Errorf("read %d bytes of %d", len(all), sent)
		}
		return err
	})
}

// Abort ends a connection that was closed and goes on to send.
func TestAbortOfClosing(t *testing.T) {
	server, client := net.Pipe()
	run(t, func(ctx context.Context) error {
		for _, open := range []opener{
			openTLS(t, false, openListener("tcp", func() string { return "127.0.0.1:0" })),
			func(ctx context.Context) (a, b *stream.Conn, err error) { return adoptBoth(ctx, server, client) },
		} {
			a, b, err := open(ctx)
			if err != nil {
				return err
			}
			for err == nil {
				_, err = a.TryWrite(make([]byte, 1<<20))
			}
			a.Close()
			a.Abort()
			if err := task.Timeout(ctx, 500*time.Millisecond, func(ctx context.Context, _ *task.TimeoutScope) error {
				_, err := stream.NewReader(b, 0).SkipUntil(ctx, []byte("no such"))
				return err
			}); errors.Is(err, context.DeadlineExceeded) {
				t.Error("the peer is not told")
			}
			b.Close()
		}
		return nil
	})
}
