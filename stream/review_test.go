//go:build unix

package stream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// Callbacks of a handshake elsewhere ask for addresses while the loop closes the
// connection. It is for the race detector.
func TestHandshakeElsewhereAsksForAddresses(t *testing.T) {
	server, client := testkit.Certificate(t)
	run(t, func(ctx context.Context) error {
		ln, err := stream.Listen(ctx, "tcp", ":0")
		if err != nil {
			return err
		}
		defer ln.Close()
		asked, goOn := make(chan string, 1), make(chan struct{})
		server.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			<-goOn
			asked <- h.Conn.LocalAddr().String()
			return nil, nil
		}
		c, err := stream.Dial(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		ct := task.Go(ctx, func(ctx context.Context) error { _, err := (&stream.TLS{Config: client}).Client(ctx, c); return err })
		s, err := ln.Accept(ctx)
		if err != nil {
			return err
		}
		want := c.RemoteAddr().String()
		st := task.Go(ctx, func(ctx context.Context) error {
			_, err := (&stream.TLS{Config: server, OffLoop: true}).Server(ctx, s)
			return err
		})
		_ = task.Sleep(ctx, 10*time.Millisecond)
		st.Cancel(nil)
		close(goOn)
		_, _ = st.Await(ctx)
		if got, _, _ := task.Recv(ctx, asked); got != want {
			t.Errorf("the callback sees %q, want %q", got, want)
		}
		_, _ = ct.Await(ctx)
		return nil
	})
}

// A panic of a callback is reported, wherever the handshake is computed.
func TestPanicInAHandshake(t *testing.T) {
	for _, offLoop := range []bool{false, true} {
		server, client := testkit.Certificate(t)
		server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { panic("ouch") }
		var reports []error
		quiet := loop.Config{OnError: func(e *loop.CallError) { reports = append(reports, e.Err) }}
		runConfig(t, quiet, func(ctx context.Context) error {
			ln := listen(ctx, t)
			srv := serve(ctx, ln, stream.ServeConfig{TLS: &stream.TLS{Config: server, OffLoop: offLoop}}, echo)
			_, err := (&stream.DialConfig{TLS: &stream.TLS{Config: client}}).Dial(ctx, "tcp", ln.Addr().String())
			if err == nil {
				t.Error("no error at the client")
			}
			ln.Close()
			_, err = srv.Await(ctx)
			return err
		})
		pe := (*coro.PanicError)(nil)
		if len(reports) != 1 || !errors.As(reports[0], &pe) || !strings.Contains(pe.Error(), "ouch") {
			t.Errorf("off loop %v: reported %v", offLoop, reports)
		}
	}
}

// The error of a callback is one of the handshake, whatever it is, and the peer is
// told.
func TestTimeoutOfACallback(t *testing.T) {
	for _, offLoop := range []bool{false, true} {
		server, client := testkit.Certificate(t)
		server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, context.DeadlineExceeded }
		run(t, func(ctx context.Context) error {
			a, b := stream.Pipe(loop.FromContext(ctx))
			srv := task.Go(ctx, func(ctx context.Context) error {
				_, err := (&stream.TLS{Config: server, OffLoop: offLoop}).Server(ctx, b)
				return err
			})
			_, err := (&stream.TLS{Config: client}).Client(ctx, a)
			if err == nil || !strings.Contains(err.Error(), "internal error") {
				t.Errorf("off loop %v: the client gets %v, want an alert", offLoop, err)
			}
			_, err = srv.Await(ctx)
			if oe := (*net.OpError)(nil); !errors.As(err, &oe) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("off loop %v: the server gets %v", offLoop, err)
			}
			return nil
		})
	}
}

// A listener whose queue is full is tried again.
func TestSockConnectUnixToAFullQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	run(t, func(ctx context.Context) error {
		ln, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(ln)
		if err := errors.Join(unix.Bind(ln, &unix.SockaddrUnix{Name: path}), unix.Listen(ln, 0)); err != nil {
			return err
		}
		for range 4 {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			_ = unix.SetNonblock(fd, true)
			c := task.Go(ctx, func(ctx context.Context) error { return stream.SockConnectUnix(ctx, fd, path) })
			_ = task.Sleep(ctx, 5*time.Millisecond)
			if c.Done() {
				continue
			}
			turns := loop.FromContext(ctx).Stats().Turns
			_ = task.Sleep(ctx, 20*time.Millisecond)
			if n := loop.FromContext(ctx).Stats().Turns - turns; n > 100 {
				t.Errorf("%d turns in 20 ms", n)
			}
			if conn, _, err := unix.Accept(ln); err == nil {
				defer unix.Close(conn)
			}
			soon(ctx, t, "connect", func(ctx context.Context) error { _, err := c.Await(ctx); return err })
			return nil
		}
		return nil
	})
}

// Whoever waits on a TLS connection hears that the one below was closed.
func TestTLSHearsOfTheEndBelow(t *testing.T) {
	server, client := testkit.Certificate(t)
	run(t, func(ctx context.Context) error {
		a, b := stream.Pipe(loop.FromContext(ctx))
		srv := task.Start(ctx, func(ctx context.Context) (*stream.Conn, error) { return (&stream.TLS{Config: server}).Server(ctx, b) })
		x, err := (&stream.TLS{Config: client}).Client(ctx, a)
		if err != nil {
			return err
		}
		if _, err := srv.Await(ctx); err != nil {
			return err
		}
		w := task.Go(ctx, x.Writer().WaitClosed)
		testkit.Yield(ctx, 3)
		a.Close()
		until(ctx, t, w.Done)
		w.Cancel(nil)
		_, _ = w.Await(ctx)
		b.Close()
		return nil
	})
}

// A badCache panics when it is given a session.
type badCache struct{}

func (badCache) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (badCache) Put(string, *tls.ClientSessionState)        { panic("ouch") }

// A panic below a Blocking read is the reader's, not the end of its waiting.
func TestBlockingPanic(t *testing.T) {
	server, client := testkit.Certificate(t)
	client.ClientSessionCache = badCache{}
	run(t, func(ctx context.Context) error {
		a, b := stream.Pipe(loop.FromContext(ctx))
		srv := task.Start(ctx, func(ctx context.Context) (*stream.Conn, error) { return (&stream.TLS{Config: server}).Server(ctx, b) })
		x, err := (&stream.TLS{Config: client}).Client(ctx, a)
		if err != nil {
			return err
		}
		y, err := srv.Await(ctx)
		if err != nil {
			return err
		}
		defer y.Close()
		defer x.Close()
		view := x.Blocking()
		done := make(chan error, 1)
		go func() { _, err := view.Read(make([]byte, 1)); done <- err }()
		soon(ctx, t, "Read", func(ctx context.Context) error {
			err, _, werr := task.Recv(ctx, done)
			if werr != nil {
				return werr
			}
			if pe := (*coro.PanicError)(nil); !errors.As(err, &pe) {
				t.Errorf("Read: %v", err)
			}
			return nil
		})
		return nil
	})
}

// A long Blocking write lets others run, as that of a task does.
func TestBlockingGivesWay(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := pair(ctx, t)
		defer b.Close()
		defer a.Close()
		view, l := a.Blocking(), loop.FromContext(ctx)
		_ = view.SetDeadline(time.Now().Add(time.Second)) // where there is less room than that
		before := l.Stats().Turns
		n := off(ctx, func() int { n, _ := view.Write(make([]byte, 2<<20)); return n })
		if turns := l.Stats().Turns - before; turns < uint64(n/(512<<10)) {
			t.Errorf("%d bytes in %d turns", n, turns)
		}
		return nil
	})
}
