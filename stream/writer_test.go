//go:build unix

package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// withWriter runs fn with the Writer of one end of a Pipe, which takes 64 KB, in
// virtual time.
func withWriter(t testing.TB, fn func(ctx context.Context, w *stream.Writer, a, b *stream.Conn) error) {
	t.Helper()
	looptest.Run(t, func(ctx context.Context) error {
		a, b := stream.Pipe(loop.FromContext(ctx))
		defer a.Close()
		defer b.Close()
		return fn(ctx, a.Writer(), a, b)
	})
}

const pipeTakes = 64 << 10

// put writes n bytes without waiting.
func put(t testing.TB, w *stream.Writer, n int) {
	t.Helper()
	if k, err := w.Write(bytes.Repeat([]byte{'w'}, n)); k != n || err != nil {
		t.Fatalf("Write of %d bytes: %d, %v", n, k, err)
	}
}

func discard(ctx context.Context, t testing.TB, c *stream.Conn, n int) {
	t.Helper()
	if k, err := stream.NewReader(c, 0).Discard(ctx, int64(n)); k != int64(n) || err != nil {
		t.Fatalf("Discard of %d bytes: %d, %v", n, k, err)
	}
}

// R22: any number of tasks wait, and all are woken, in the order they came, when no more
// than the low limit is buffered.
func TestEdge119_DrainWakesAllInOrder(t *testing.T) {
	withWriter(t, func(ctx context.Context, w *stream.Writer, a, b *stream.Conn) error {
		const waiters = 1000
		w.SetLimits(1000, 5000, 0)
		put(t, w, pipeTakes+5000)
		if err := w.Drain(ctx); err != nil { // 5000 is not above the limit
			t.Error(err)
		}
		put(t, w, 1)
		var order, want []int
		for i := range waiters {
			want = append(want, i)
			task.Go(ctx, func(ctx context.Context) error {
				err := w.Drain(ctx)
				order = append(order, i)
				return err
			})
		}
		wantRead(ctx, t, b, strings.Repeat("w", 4000))
		testkit.Idle(t, ctx)
		if len(order) > 0 || w.Buffered() != 1001 {
			t.Errorf("%d were woken with %d bytes buffered", len(order), w.Buffered())
		}
		wantRead(ctx, t, b, "w")
		testkit.Idle(t, ctx)
		if !slices.Equal(order, want) {
			t.Errorf("woken: %d of %d, in order: %v", len(order), waiters, slices.IsSorted(order))
		}
		return nil
	})
}

func TestEdge119_DrainRaisesTheError(t *testing.T) {
	withWriter(t, func(ctx context.Context, w *stream.Writer, a, b *stream.Conn) error {
		put(t, w, 2*pipeTakes+1)
		var waits []*task.Task[struct{}]
		for _, wait := range []func(context.Context) error{w.Drain, w.Drain, w.Flush} {
			waits = append(waits, task.Go(ctx, wait))
		}
		testkit.Idle(t, ctx)
		b.Close()
		for _, wt := range waits {
			_, err := wt.Await(ctx)
			wantErr(t, "waiting Drain", err, syscall.EPIPE)
		}
		wantErr(t, "Drain", w.Drain(ctx), syscall.EPIPE)
		wantErr(t, "Flush", w.Flush(ctx), syscall.EPIPE)
		wantErr(t, "CloseWrite", w.CloseWrite(), syscall.EPIPE)
		_, err := w.Write([]byte("x"))
		wantErr(t, "Write", err, syscall.EPIPE)
		if n := w.Buffered(); n != 0 {
			t.Errorf("%d bytes are kept", n)
		}
		return nil
	})
}

// After Close, Drain gives the loop a turn: who writes and drains and looks at nothing
// else does not keep the loop, and learns of the end.
func TestEdge119_DrainAfterClose(t *testing.T) {
	for _, held := range []int{0, 10} {
		withWriter(t, func(ctx context.Context, w *stream.Writer, a, b *stream.Conn) error {
			put(t, w, pipeTakes)
			if held > 0 {
				put(t, w, held)
			}
			if err := w.Close(); err != nil {
				return err
			}
			turned := false
			loop.FromContext(ctx).CallSoon(func() { turned = true })
			err := w.Drain(ctx)
			if !turned {
				t.Error("no turn has passed")
			}
			if held == 0 {
				wantErr(t, "Drain", err, net.ErrClosed)
			} else if err != nil { // it is not lost yet, and has little to send
				t.Errorf("Drain while closing: %v", err)
			}
			_, err = w.Write([]byte("x"))
			wantErr(t, "Write", err, net.ErrClosed)
			return nil
		})
	}
}

func TestEdge120_WaitClosed(t *testing.T) {
	withWriter(t, func(ctx context.Context, w *stream.Writer, a, b *stream.Conn) error {
		feed(t, b, "unread") // by a
		put(t, w, pipeTakes+1)
		waits := []*task.Task[struct{}]{task.Go(ctx, w.WaitClosed), task.Go(ctx, w.WaitClosed)}
		testkit.Idle(t, ctx)
		if err := w.Close(); err != nil {
			return err
		}
		testkit.Sleep(ctx, 29*time.Second)
		if a.Closed() || waits[0].Done() {
			t.Error("closed before all is sent")
		}
		discard(ctx, t, b, 1)
		for _, wt := range waits {
			if _, err := wt.Await(ctx); err != nil {
				return err
			}
		}
		discard(ctx, t, b, pipeTakes)
		if _, err := b.Read(ctx, make([]byte, 1)); err != io.EOF {
			t.Errorf("then %v, want the end", err)
		}
		return w.WaitClosed(ctx)
	})
}

func TestEdge120_WaitClosedRaisesTheError(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(ctx context.Context, a, b *stream.Conn)
		want error
	}{
		{"the peer goes", func(_ context.Context, _, b *stream.Conn) { b.Close() }, syscall.EPIPE},
		{"the Conn is closed", func(_ context.Context, a, _ *stream.Conn) { a.Close() }, net.ErrClosed},
		{"it is aborted", func(_ context.Context, a, _ *stream.Conn) { a.Abort() }, net.ErrClosed},
		{"the peer does not read", func(ctx context.Context, _, _ *stream.Conn) { testkit.Sleep(ctx, 31*time.Second) }, os.ErrDeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withWriter(t, func(ctx context.Context, w *stream.Writer, a, b *stream.Conn) error {
				put(t, w, pipeTakes+1)
				if err := w.Close(); err != nil {
					return err
				}
				waiting := task.Go(ctx, w.WaitClosed)
				testkit.Idle(t, ctx)
				tt.end(ctx, a, b)
				_, err := waiting.Await(ctx)
				wantErr(t, "waiting WaitClosed", err, tt.want)
				wantErr(t, "WaitClosed", w.WaitClosed(ctx), tt.want)
				wantErr(t, "Drain", w.Drain(ctx), tt.want)
				if !a.Closed() || w.Buffered() != 0 {
					t.Errorf("closed %v with %d bytes kept", a.Closed(), w.Buffered())
				}
				return nil
			})
		})
	}
}

func TestEdge121_HandlerFails(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct {
		name    string
		handler stream.Handler
		reports int
	}{
		{"error", func(context.Context, *stream.Conn) error { return boom }, 1},
		{"panic", func(context.Context, *stream.Conn) error { panic(boom) }, 1},
		{"canceled", func(ctx context.Context, _ *stream.Conn) error {
			task.FromContext(ctx).Cancel(nil)
			return task.Yield(ctx)
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reports := 0
			cfg := loop.Config{OnError: func(e *loop.CallError) {
				if !errors.Is(e, boom) && !strings.Contains(e.Error(), "boom") {
					t.Errorf("reported: %v", e)
				}
				reports++
			}}
			runConfig(t, cfg, func(ctx context.Context) error {
				ln := listen(ctx, t)
				srv := task.Go(ctx, func(ctx context.Context) error { return ln.Serve(ctx, tt.handler) })
				c, err := stream.Dial(ctx, "tcp", ln.Addr().String())
				if err != nil {
					return err
				}
				defer c.Close()
				if _, err := c.Read(ctx, make([]byte, 1)); err != io.EOF {
					t.Errorf("the client reads %v, want the end", err)
				}
				ln.Close()
				_, err = srv.Await(ctx)
				return err
			})
			if reports != tt.reports {
				t.Errorf("%d reports, want %d", reports, tt.reports)
			}
		})
	}
}

func TestWriterBounds(t *testing.T) {
	withWriter(t, func(ctx context.Context, w *stream.Writer, a, b *stream.Conn) error {
		if a.Writer() != w {
			t.Error("a second Writer")
		}
		for _, bad := range [][3]int{{2, 1, 3}, {1, 3, 2}, {-1, 1, 1}, {0, -1, 0}} {
			testkit.WantPanic(t, "stream: SetLimits", func() { w.SetLimits(bad[0], bad[1], bad[2]) })
		}
		w.SetLimits(10, 20, pipeTakes+100)
		put(t, w, pipeTakes+100) // fits, as nothing is buffered
		if n := w.Buffered(); n != 100 {
			t.Errorf("%d bytes are buffered, want 100", n)
		}
		if n, err := w.Write(make([]byte, pipeTakes+1)); n != 0 || !errors.Is(err, stream.ErrBufferFull) || w.Buffered() != 100 {
			t.Errorf("Write of too much: %d, %v, %d buffered", n, err, w.Buffered())
		}
		if n, err := w.Writev(make([]byte, pipeTakes), []byte("x")); n != 0 || !errors.Is(err, stream.ErrBufferFull) || w.Buffered() != 100 {
			t.Errorf("Writev of too much: %d, %v, %d buffered", n, err, w.Buffered())
		}
		d := task.Go(ctx, w.Drain)
		testkit.Idle(t, ctx)
		w.SetLimits(100, 200, 300) // wakes those who wait for less
		_, err := d.Await(ctx)
		return err
	})
}

// What is written in pieces arrives as one, whatever there is room for.
func TestWritevEverySplit(t *testing.T) {
	withWriter(t, func(ctx context.Context, w *stream.Writer, a, b *stream.Conn) error {
		for size := range 40 {
			want := strings.Repeat("0123456789", 4)[:size]
			for i := range size + 1 {
				for j := i; j <= size; j++ {
					room := (i*7 + j*3) % 41
					fill := pipeTakes - room
					put(t, w, fill)
					if n, err := w.Writev([]byte(want[:i]), nil, []byte(want[i:j]), []byte(want[j:])); n != size || err != nil {
						return fmt.Errorf("Writev: %d, %w", n, err)
					}
					discard(ctx, t, b, fill)
					if err := w.Flush(ctx); err != nil {
						return err
					}
					wantRead(ctx, t, b, want)
				}
			}
		}
		return nil
	})
}

// On a socket many pieces go by one system call.
func TestWritevSocket(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := pair(ctx, t)
		defer a.Close()
		defer b.Close()
		var pieces [][]byte
		var want []byte
		for i := range 300 {
			p := bytes.Repeat([]byte{byte('a' + i%26)}, i*i%9000)
			pieces = append(pieces, p)
			want = append(want, p...)
		}
		got := task.Start(ctx, func(ctx context.Context) ([]byte, error) {
			p := make([]byte, 3*len(want))
			_, err := stream.NewReader(b, 0).ReadFull(ctx, p)
			return p, err
		})
		for range 3 {
			if n, err := a.Writer().Writev(pieces...); n != len(want) || err != nil {
				t.Errorf("Writev: %d, %v", n, err)
			}
		}
		p, err := got.Await(ctx)
		if !bytes.Equal(p, bytes.Repeat(want, 3)) {
			t.Error("other bytes arrive")
		}
		return err
	})
}

// CloseWrite ends the stream behind what is buffered.
func TestWriterCloseWrite(t *testing.T) {
	withWriter(t, func(ctx context.Context, w *stream.Writer, a, b *stream.Conn) error {
		put(t, w, pipeTakes+5)
		for range 2 {
			if err := w.CloseWrite(); err != nil {
				return err
			}
		}
		_, err := w.Write([]byte("x"))
		wantErr(t, "Write", err, syscall.EPIPE)
		fl := task.Go(ctx, w.Flush)
		all, err := stream.NewReader(b, 0).ReadAll(ctx)
		if len(all) != pipeTakes+5 || err != nil {
			t.Errorf("read %d bytes, %v", len(all), err)
		}
		if _, err := fl.Await(ctx); err != nil {
			return err
		}
		write(ctx, t, b, "answer")
		wantRead(ctx, t, a, "answer")
		_, err = w.Write([]byte("x"))
		wantErr(t, "Write", err, syscall.EPIPE)
		return nil
	})
}

// A Writer that always finds room gives way all the same: who uses it in callbacks
// cannot keep the loop.
func TestWriterGivesWay(t *testing.T) {
	withWriter(t, func(ctx context.Context, w *stream.Writer, a, b *stream.Conn) error {
		got := task.Start(ctx, func(ctx context.Context) ([]byte, error) { return stream.NewReader(b, 0).ReadAll(ctx) })
		turns := 0
		other := task.Go(ctx, func(ctx context.Context) error {
			for {
				if err := task.Yield(ctx); err != nil {
					return err
				}
				turns++
			}
		})
		for range 1000 {
			put(t, w, 10)
			if err := w.Drain(ctx); err != nil {
				return err
			}
		}
		other.Cancel(nil)
		_, _ = other.Await(ctx)
		if turns < 10 {
			t.Errorf("others had %d turns", turns)
		}
		if err := w.Close(); err != nil {
			return err
		}
		p, err := got.Await(ctx)
		if len(p) != 10_000 {
			t.Errorf("read %d bytes", len(p))
		}
		return err
	})
}

// The idle bound is counted from the last progress, and is the waits' only: what is
// buffered stays.
func TestWriterTimeouts(t *testing.T) {
	withWriter(t, func(ctx context.Context, w *stream.Writer, a, b *stream.Conn) error {
		a.SetTimeouts(time.Second, 0)
		put(t, w, 2*pipeTakes)
		start := loop.FromContext(ctx).Now()
		fl := task.Go(ctx, w.Flush)
		testkit.Sleep(ctx, 900*time.Millisecond)
		discard(ctx, t, b, 10)
		_, err := fl.Await(ctx)
		wantErr(t, "Flush", err, os.ErrDeadlineExceeded)
		if d := loop.FromContext(ctx).Now().Sub(start); d != 1900*time.Millisecond {
			t.Errorf("after %v, want 1.9s", d)
		}
		discard(ctx, t, b, 2*pipeTakes-10)
		return w.Flush(ctx)
	})
}

func TestWriterNoAllocations(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := pair(ctx, t)
		defer a.Close()
		defer b.Close()
		w, r := a.Writer(), stream.NewReader(b, 0)
		p, q, in := []byte("part"), []byte("rest"), make([]byte, 8)
		var failed error
		note := func(err error) {
			if err != nil {
				failed = err
			}
		}
		round := func() {
			_, err := w.Write(p)
			note(err)
			_, err = w.Write(q)
			note(err)
			note(w.Drain(ctx))
			_, err = r.ReadFull(ctx, in)
			note(err)
		}
		for range 10 {
			round()
		}
		if n := testing.AllocsPerRun(200, round); n != 0 {
			t.Errorf("a round allocates %v times", n)
		}
		return failed
	})
}

// replyAndReturn writes more than the system takes and returns at once.
func replyAndReturn(reply []byte) stream.Handler {
	return func(ctx context.Context, c *stream.Conn) error {
		_, err := c.Writer().Write(reply)
		return err
	}
}

// What a handler's Writer holds is sent when the handler has returned, and the server
// waits for it; CloseClients and Shutdown let it go first, Abort and a canceled Serve do
// not.
func TestServeLingers(t *testing.T) {
	reply := bytes.Repeat([]byte("reply"), 2<<20)
	for _, tt := range []struct {
		name string
		act  func(ctx context.Context, ln *stream.Listener, srv *task.Task[struct{}]) error
		all  bool
	}{
		{"nothing else", func(_ context.Context, ln *stream.Listener, _ *task.Task[struct{}]) error { return ln.Close() }, true},
		{"CloseClients", func(_ context.Context, ln *stream.Listener, _ *task.Task[struct{}]) error {
			ln.CloseClients()
			return ln.Close()
		}, true},
		{"Shutdown", func(ctx context.Context, ln *stream.Listener, _ *task.Task[struct{}]) error {
			task.Go(ctx, ln.Shutdown)
			return nil
		}, true},
		{"Abort", func(_ context.Context, ln *stream.Listener, _ *task.Task[struct{}]) error {
			ln.Abort()
			return nil
		}, false},
		{"cancel", func(_ context.Context, ln *stream.Listener, srv *task.Task[struct{}]) error {
			srv.Cancel(nil)
			return ln.Close()
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) error {
				ln := listen(ctx, t)
				srv := task.Go(ctx, func(ctx context.Context) error { return ln.Serve(ctx, replyAndReturn(reply)) })
				c, err := stream.Dial(ctx, "tcp", ln.Addr().String())
				if err != nil {
					return err
				}
				defer c.Close()
				if _, err := stream.NewReader(c, 0).Peek(ctx, 1); err != nil {
					return err
				}
				testkit.Yield(ctx, 10) // the handler has returned
				if n := ln.Stats().Serving; n != 1 {
					t.Errorf("%d connections are served, want 1", n)
				}
				if err := tt.act(ctx, ln, srv); err != nil {
					return err
				}
				testkit.Yield(ctx, 10)
				if srv.Done() == tt.all {
					t.Errorf("Serve has returned: %v", srv.Done())
				}
				got, err := stream.NewReader(c, 0).ReadAll(ctx)
				if tt.all && (err != nil || !bytes.Equal(got, reply)) {
					t.Errorf("read %d bytes, %v; want %d", len(got), err, len(reply))
				}
				if !tt.all && err == nil && len(got) == len(reply) {
					t.Error("all was sent")
				}
				if _, err := srv.Await(ctx); err != nil && future.AsCanceled(err) == nil {
					return err
				}
				return nil
			})
		})
	}
}

// CloseClients lets what a Writer holds go before the handler is told.
func TestCloseClientsWithWriter(t *testing.T) {
	reply := bytes.Repeat([]byte("reply"), 2<<20)
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		defer ln.Close()
		told := errors.New("not told")
		srv := task.Go(ctx, func(ctx context.Context) error {
			return ln.Serve(ctx, func(ctx context.Context, c *stream.Conn) error {
				if _, err := c.Writer().Write(reply); err != nil {
					return err
				}
				_, told = c.Read(ctx, make([]byte, 1))
				return told
			})
		})
		c, err := stream.Dial(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		r := stream.NewReader(c, 0)
		if _, err := r.Peek(ctx, 1); err != nil {
			return err
		}
		ln.CloseClients()
		got, err := r.ReadAll(ctx)
		if err != nil || !bytes.Equal(got, reply) {
			t.Errorf("read %d bytes, %v; want %d", len(got), err, len(reply))
		}
		ln.Close()
		_, err = srv.Await(ctx)
		wantErr(t, "the handler's Read", told, net.ErrClosed)
		return err
	})
}

// CloseGraceful sends what the Writer holds.
func TestCloseGracefulWithWriter(t *testing.T) {
	withWriter(t, func(ctx context.Context, w *stream.Writer, a, b *stream.Conn) error {
		put(t, w, 3*pipeTakes)
		cl := task.Go(ctx, func(ctx context.Context) error { return a.CloseGraceful(ctx, 0) })
		all, err := stream.NewReader(b, 0).ReadAll(ctx)
		if len(all) != 3*pipeTakes || err != nil {
			t.Errorf("read %d bytes, %v", len(all), err)
		}
		b.Close()
		_, err = cl.Await(ctx)
		return err
	})
}
