//go:build unix

package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// Closing a pipe gracefully is clean: nothing can be read from it.
func TestCloseGracefulOfAPipe(t *testing.T) {
	run(t, func(ctx context.Context) error {
		w, r, err := openOSPipe(ctx)
		if err != nil {
			return err
		}
		defer r.Close()
		write(ctx, t, w, "x")
		if err := w.CloseGraceful(ctx, 0); err != nil {
			t.Errorf("CloseGraceful: %v", err)
		}
		wantRead(ctx, t, r, "x")
		return nil
	})
}

// A scripted reader and writer.
type scripted struct {
	read  func(p []byte) (int, error)
	write func(p []byte) (int, error)
}

func (s scripted) Read(p []byte) (int, error)  { return s.read(p) }
func (s scripted) Write(p []byte) (int, error) { return s.write(p) }

// What is adopted may break the contracts of io.Reader and io.Writer, or panic.
func TestAdoptOfTheBroken(t *testing.T) {
	for _, tt := range []struct {
		name string
		bad  func(p []byte) (int, error)
		want func(err error) bool
	}{
		{"panic", func([]byte) (int, error) { panic("ouch") }, func(err error) bool {
			pe := (*coro.PanicError)(nil)
			return errors.As(err, &pe) && pe.Value == "ouch"
		}},
		{"Goexit", func([]byte) (int, error) { runtime.Goexit(); return 0, nil }, func(err error) bool { return errors.Is(err, coro.ErrGoexit) }},
		{"less than nothing", func([]byte) (int, error) { return -1, nil }, func(err error) bool { return err != nil }},
		{"more than asked for", func(p []byte) (int, error) { return len(p) + 1, nil }, func(err error) bool { return err != nil }},
		{"nothing, for ever", func([]byte) (int, error) { return 0, nil }, func(err error) bool {
			return errors.Is(err, io.ErrNoProgress) || errors.Is(err, io.ErrShortWrite)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) error {
				c, err := stream.Adopt(ctx, scripted{tt.bad, tt.bad})
				if err != nil {
					return err
				}
				defer c.Close()
				for _, op := range []func(context.Context, []byte) (int, error){c.Read, c.Write} {
					err := task.Timeout(ctx, 5*time.Second, func(ctx context.Context, _ *task.TimeoutScope) (err error) {
						for err == nil {
							_, err = op(ctx, []byte("xx"))
						}
						return err
					})
					if !tt.want(err) {
						t.Errorf("got %v", err)
					}
				}
				return nil
			})
		})
	}
}

// A read that does not end keeps the time of a virtual clock until it is closed.
func TestAdoptClosedLetsTimeGoOn(t *testing.T) {
	let := make(chan struct{})
	defer close(let)
	done := make(chan struct{})
	go func() {
		defer close(done)
		looptest.Run(t, func(ctx context.Context) error {
			c, err := stream.Adopt(ctx, scripted{read: func([]byte) (int, error) { <-let; return 0, io.EOF }})
			if err != nil {
				return err
			}
			r := task.Go(ctx, func(ctx context.Context) error { _, err := c.Read(ctx, make([]byte, 1)); return err })
			testkit.Yield(ctx, 3)
			c.Close()
			_, err = r.Await(ctx)
			wantErr(t, "Read", err, net.ErrClosed)
			return task.Sleep(ctx, time.Hour)
		})
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("the time stands still")
	}
}

// A brokenWriter can end its stream, and cannot write.
type brokenWriter struct{ net.Conn }

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
func (c brokenWriter) CloseWrite() error       { return c.Conn.(*net.TCPConn).CloseWrite() }

// CloseGraceful tells of a write that has failed since.
func TestCloseGracefulTellsOfALostWrite(t *testing.T) {
	run(t, func(ctx context.Context) error {
		for _, wait := range []bool{false, true} {
			x, y, err := netPair()
			if err != nil {
				return err
			}
			c, err := stream.Adopt(ctx, brokenWriter{x})
			if err != nil {
				return err
			}
			y.Close()
			_, _ = c.TryWrite([]byte("lost"))
			if wait {
				_ = task.Sleep(ctx, 5*time.Millisecond)
			}
			if err := c.CloseGraceful(ctx, 1<<20); !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("wait %v: CloseGraceful: %v", wait, err)
			}
			until(ctx, t, func() bool { return x.SetDeadline(time.Time{}) != nil }) // it is closed elsewhere
		}
		return nil
	})
}

// A prefixed connection has been read from, and gives that back.
type prefixed struct {
	*net.TCPConn
	r io.Reader
}

func (p prefixed) Read(b []byte) (int, error) { return p.r.Read(b) }

// A type around a TCP connection may do more than that.
func TestAdoptKeepsWhatIsAround(t *testing.T) {
	run(t, func(ctx context.Context) error {
		x, y, err := netPair()
		if err != nil {
			return err
		}
		c, err := stream.Adopt(ctx, prefixed{x.(*net.TCPConn), io.MultiReader(strings.NewReader("begin"), x)})
		if err != nil {
			return err
		}
		_, _ = io.WriteString(y, " and end")
		y.Close()
		if got, err := readAll(ctx, c); string(got) != "begin and end" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		c.Close()
		until(ctx, t, func() bool { return x.SetDeadline(time.Time{}) != nil }) // it is closed elsewhere
		return nil
	})
}

// Closing the loop closes what is in memory as well.
func TestPipeEndsWithTheLoop(t *testing.T) {
	var a *stream.Conn
	run(t, func(ctx context.Context) error { a, _ = stream.Pipe(loop.FromContext(ctx)); return nil })
	if !a.Closed() {
		t.Error("a Pipe is open on a closed loop")
	}
}
