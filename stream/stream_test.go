//go:build unix

package stream_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

func TestMain(m *testing.M) {
	if os.Getenv("STREAM_TEST_CHILD") == "storm" {
		stormChild()
	}
	if r, w, err := os.Pipe(); err == nil { // the runtime's poller takes descriptors when first used
		r.Close()
		w.Close()
	}
	goleak.VerifyTestMain(m)
}

// run runs fn on a loop with the system's clock, and checks that it leaves no
// descriptor open.
func run(t *testing.T, fn func(ctx context.Context) error) {
	t.Helper()
	runConfig(t, loop.Config{}, fn)
}

func runConfig(t *testing.T, cfg loop.Config, fn func(ctx context.Context) error) {
	t.Helper()
	before := descriptors()
	looptest.RunConfig(t, looptest.Config{Real: true, Loop: cfg}, fn)
	after := descriptors()
	for wait := time.Millisecond; after > before && wait < time.Second; wait *= 2 {
		time.Sleep(wait) // a lookup that was given up, or what was adopted, is closed elsewhere
		after = descriptors()
	}
	if after > before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
}

// descriptors counts the process's open descriptors, where the system tells.
func descriptors() int {
	es, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(es)
}

func listen(ctx context.Context, t testing.TB) *stream.Listener {
	t.Helper()
	ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// readAll reads to the end.
func readAll(ctx context.Context, c *stream.Conn) ([]byte, error) {
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(ctx, buf)
		all = append(all, buf[:n]...)
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return all, err
		}
	}
}

// settle lets everything that is queued run, and what that leads to, a few times.
func settle(ctx context.Context) error {
	for range 5 {
		if err := task.Yield(ctx); err != nil {
			return err
		}
	}
	return nil
}

func write(ctx context.Context, t *testing.T, c *stream.Conn, s string) {
	t.Helper()
	if n, err := c.Write(ctx, []byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write(%q) = %d, %v", s, n, err)
	}
}

func wantRead(ctx context.Context, t *testing.T, c *stream.Conn, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	for n := 0; n < len(want); {
		k, err := c.Read(ctx, buf[n:])
		if err != nil {
			t.Fatalf("Read: %v after %q, want %q", err, buf[:n], want)
		}
		n += k
	}
	if string(buf) != want {
		t.Fatalf("read %q, want %q", buf, want)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || err == nil {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func echo(ctx context.Context, c *stream.Conn) error {
	buf := make([]byte, 4<<10)
	for {
		n, err := c.Read(ctx, buf)
		if err != nil {
			return err
		}
		if _, err := c.Write(ctx, buf[:n]); err != nil {
			return err
		}
	}
}

func TestEcho(t *testing.T) {
	for _, network := range []string{"tcp", "tcp4", "tcp6"} {
		t.Run(network, func(t *testing.T) {
			run(t, func(ctx context.Context) error {
				addr := map[string]string{"tcp": ":0", "tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network]
				ln, err := stream.Listen(ctx, network, addr)
				if err != nil && network == "tcp6" {
					t.Logf("without IPv6: %v", err)
					return nil
				}
				if err != nil {
					return err
				}
				defer ln.Close()
				srv := task.Go(ctx, func(ctx context.Context) error { return ln.Serve(ctx, echo) })
				to := ln.Addr().String()
				if network == "tcp" {
					to = fmt.Sprintf("localhost:%d", ln.Addr().(*net.TCPAddr).Port) // a lookup
				}
				c, err := stream.Dial(ctx, network, to)
				if err != nil {
					return err
				}
				defer c.Close()
				for i := range 100 {
					msg := strings.Repeat("x", i*i+1)
					write(ctx, t, c, msg)
					wantRead(ctx, t, c, msg)
				}
				if got := c.RemoteAddr().(*net.TCPAddr).Port; got != ln.Addr().(*net.TCPAddr).Port {
					t.Errorf("remote port %d, want %v", got, ln.Addr())
				}
				if s := ln.Stats(); s.Accepted != 1 || s.Serving != 1 {
					t.Errorf("stats %+v", s)
				}
				ln.Close()
				c.Close() // Close leaves connections alone, and Serve waits for them
				_, err = srv.Await(ctx)
				return err
			})
		})
	}
}

func TestHalfClose(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := pair(ctx, t)
		defer a.Close()
		defer b.Close()
		write(ctx, t, a, "question")
		if err := a.CloseWrite(); err != nil {
			return err
		}
		if got, err := readAll(ctx, b); string(got) != "question" || err != nil {
			t.Errorf("b read %q, %v", got, err)
		}
		// Our side is open: much can still be sent, by a peer that reads.
		answer := bytes.Repeat([]byte("answer"), 1<<20)
		got := task.Start(ctx, func(ctx context.Context) ([]byte, error) { return readAll(ctx, a) })
		if _, err := b.Write(ctx, answer); err != nil {
			return err
		}
		if err := b.CloseWrite(); err != nil {
			return err
		}
		all, err := got.Await(ctx)
		if !bytes.Equal(all, answer) || err != nil {
			t.Errorf("a read %d bytes, %v; want %d", len(all), err, len(answer))
		}
		_, err = a.Write(ctx, []byte("x"))
		wantErr(t, "write after CloseWrite", err, syscall.EPIPE)
		return nil
	})
}

func TestLargeBothWays(t *testing.T) {
	const size = 16 << 20
	run(t, func(ctx context.Context) error {
		a, b := pair(ctx, t)
		defer a.Close()
		defer b.Close()
		data := make([][]byte, 2)
		for i := range data {
			data[i] = make([]byte, size)
			rand.NewChaCha8([32]byte{byte(i)}).Read(data[i])
		}
		return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			for i, c := range []*stream.Conn{a, b} {
				g.Go(func(ctx context.Context) error {
					if n, err := c.Write(ctx, data[i]); n != size || err != nil {
						return fmt.Errorf("wrote %d, %w", n, err)
					}
					return c.CloseWrite()
				})
				g.Go(func(ctx context.Context) error {
					got, err := readAll(ctx, c)
					if err != nil {
						return err
					}
					if sha256.Sum256(got) != sha256.Sum256(data[1-i]) {
						t.Errorf("end %d got %d bytes, not those sent", i, len(got))
					}
					return nil
				})
			}
			return nil
		})
	})
}

// A task that always has data gives way to others.
func TestGivesWay(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := pair(ctx, t)
		defer a.Close()
		defer b.Close()
		write(ctx, t, a, strings.Repeat("x\n", 5000))
		for range 20 { // so that all is there
			if err := task.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		turns := 0
		var count func()
		count = func() { turns++; loop.FromContext(ctx).CallSoon(count) }
		count()
		for range 5000 {
			if line, err := b.ReadLine(ctx); line != "x" || err != nil {
				t.Fatalf("ReadLine = %q, %v", line, err)
			}
		}
		if turns < 50 {
			t.Errorf("others had %d turns, want 50 and more", turns)
		}
		return nil
	})
}

// Canceling a read at every stage loses nothing.
func TestCancelRead(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := pair(ctx, t)
		defer a.Close()
		defer b.Close()
		for i := range 200 {
			var got []byte
			r := task.Go(ctx, func(ctx context.Context) error {
				buf := make([]byte, 100)
				n, err := b.Read(ctx, buf)
				got = append(got, buf[:n]...)
				return err
			})
			for range i % 4 {
				if err := task.Yield(ctx); err != nil {
					return err
				}
			}
			msg := fmt.Sprintf("message %d", i)
			if i%3 != 0 {
				write(ctx, t, a, msg)
			}
			for range i / 4 % 5 {
				if err := task.Yield(ctx); err != nil {
					return err
				}
			}
			r.Cancel(nil)
			if _, err := r.Await(ctx); err != nil && future.AsCanceled(err) == nil {
				t.Fatal(err)
			}
			if i%3 == 0 {
				write(ctx, t, a, msg)
			}
			buf := make([]byte, 100)
			for len(got) < len(msg) {
				n, err := b.Read(ctx, buf)
				if err != nil {
					t.Fatalf("round %d: %v", i, err)
				}
				got = append(got, buf[:n]...)
			}
			if string(got) != msg {
				t.Fatalf("round %d: %q, want %q", i, got, msg)
			}
		}
		return nil
	})
}

func TestCancelWrite(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := pair(ctx, t)
		defer a.Close()
		defer b.Close()
		data := make([]byte, 16<<20)
		rand.NewChaCha8([32]byte{}).Read(data)
		var n int
		w := task.Go(ctx, func(ctx context.Context) (err error) {
			n, err = a.Write(ctx, data)
			return err
		})
		if err := settle(ctx); err != nil {
			return err
		}
		_, err := a.Write(ctx, []byte("between"))
		wantErr(t, "second writer", err, stream.ErrBusy)
		_, err = a.TryWrite([]byte("between"))
		wantErr(t, "TryWrite beside a writer", err, stream.ErrBusy)
		w.Cancel(nil)
		_, err = w.Await(ctx)
		wantErr(t, "canceled Write", err, context.Canceled)
		if n <= 0 || n >= len(data) {
			t.Fatalf("wrote %d", n)
		}
		a.CloseWrite()
		got, err := readAll(ctx, b)
		if err != nil || !bytes.Equal(got, data[:n]) {
			t.Errorf("peer got %d bytes, %v; want %d", len(got), err, n)
		}
		return nil
	})
}

func TestCancelAccept(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		defer ln.Close()
		var waiting []*task.Task[*stream.Conn]
		for range 3 {
			waiting = append(waiting, task.Start(ctx, ln.Accept))
		}
		if err := settle(ctx); err != nil {
			return err
		}
		waiting[0].Cancel(nil)
		waiting[2].Cancel(nil)
		c, err := stream.Dial(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		s, err := waiting[1].Await(ctx)
		if err != nil {
			return err
		}
		s.Close()
		for _, i := range []int{0, 2} {
			_, err := waiting[i].Await(ctx)
			wantErr(t, "canceled Accept", err, context.Canceled)
		}
		last := task.Start(ctx, ln.Accept)
		if err := settle(ctx); err != nil {
			return err
		}
		ln.Close()
		_, err = last.Await(ctx)
		wantErr(t, "Accept of a closed listener", err, net.ErrClosed)
		_, err = ln.Accept(ctx)
		wantErr(t, "Accept of a closed listener", err, net.ErrClosed)
		return nil
	})
}

func TestCancelDial(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		defer ln.Close()
		for i := range 60 {
			addr := ln.Addr().String()
			if i%2 == 1 {
				addr = strings.Replace(addr, "127.0.0.1", "localhost", 1)
			}
			d := task.Start(ctx, func(ctx context.Context) (*stream.Conn, error) {
				return stream.Dial(ctx, "tcp4", addr)
			})
			for range i / 2 % 5 {
				if err := task.Yield(ctx); err != nil {
					return err
				}
			}
			d.Cancel(nil)
			c, err := d.Await(ctx)
			if err == nil {
				c.Close()
			} else {
				wantErr(t, "canceled Dial", err, context.Canceled)
			}
		}
		return nil
	})
}

func TestDialErrors(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		ln.Close()
		_, err := stream.Dial(ctx, "tcp", ln.Addr().String())
		wantErr(t, "Dial", err, syscall.ECONNREFUSED)
		var oe *net.OpError
		if !errors.As(err, &oe) || oe.Op != "dial" || oe.Addr.String() != ln.Addr().String() {
			t.Errorf("error %#v", err)
		}
		for _, tt := range []struct{ network, addr string }{
			{"udp", "127.0.0.1:1"},
			{"tcp", "127.0.0.1"},
			{"tcp", "127.0.0.1:99999"},
			{"tcp", "127.0.0.1:no-such-service"},
			{"tcp6", "127.0.0.1:1"},
			{"tcp4", "[::1]:1"},
			{"tcp", "no-such-host.invalid:1"},
		} {
			if c, err := stream.Dial(ctx, tt.network, tt.addr); !errors.As(err, &oe) {
				t.Errorf("Dial(%q, %q) = %v, %v; want an OpError", tt.network, tt.addr, c, err)
			}
			if tt.addr == "no-such-host.invalid:1" {
				continue
			}
			if c, err := stream.Listen(ctx, tt.network, tt.addr); !errors.As(err, &oe) && !errors.Is(err, syscall.EACCES) {
				t.Errorf("Listen(%q, %q) = %v, %v; want an OpError", tt.network, tt.addr, c, err)
			}
		}
		busy := listen(ctx, t)
		defer busy.Close()
		_, err = stream.Listen(ctx, "tcp", busy.Addr().String())
		wantErr(t, "Listen", err, syscall.EADDRINUSE)
		return nil
	})
}

func TestDialTimeout(t *testing.T) {
	run(t, func(ctx context.Context) error {
		body := ctx
		ctx, cancel := task.WithTimeout(ctx, -1)
		defer cancel()
		if err := task.Sleep(body, time.Millisecond); err != nil {
			return err
		}
		ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0") // need not wait
		if err != nil {
			return err
		}
		defer ln.Close()
		_, err = stream.Dial(ctx, "tcp", ln.Addr().String())
		wantErr(t, "Dial", err, context.DeadlineExceeded)
		return nil
	})
}

func TestBusyAndClose(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := pair(ctx, t)
		defer b.Close()
		for i, read := range []func(ctx context.Context) error{
			func(ctx context.Context) error { _, err := a.Read(ctx, make([]byte, 1)); return err },
			func(ctx context.Context) error { _, err := a.ReadLine(ctx); return err },
			func(ctx context.Context) error { _, err := a.TryRead(make([]byte, 1)); return err },
			func(ctx context.Context) error { return wait(ctx, a.Readable()) },
		} {
			first := task.Go(ctx, func(ctx context.Context) error {
				_, err := a.Read(ctx, make([]byte, 1))
				return err
			})
			if err := task.Yield(ctx); err != nil {
				return err
			}
			wantErr(t, fmt.Sprint("second reader ", i), read(ctx), stream.ErrBusy)
			if i == 0 {
				if s := first.String(); !strings.Contains(s, "read of tcp 127.0.0.1") {
					t.Errorf("task is described as %q", s)
				}
			}
			write(ctx, t, b, "x")
			if _, err := first.Await(ctx); err != nil {
				return err
			}
		}
		_, err := a.TryRead(make([]byte, 1))
		wantErr(t, "TryRead", err, stream.ErrWouldBlock)
		w := a.Readable()
		_ = a.Readable() // handed out twice, waited for once: no harm
		m := task.Go(ctx, func(ctx context.Context) error { return wait(ctx, w) })
		if err := settle(ctx); err != nil {
			return err
		}
		wantErr(t, "second Readable", wait(ctx, a.Readable()), stream.ErrBusy)
		r := task.Go(ctx, func(ctx context.Context) error { return wait(ctx, a.Writable()) })
		if _, err := r.Await(ctx); err != nil {
			return err
		}
		a.Close()
		if _, err := m.Await(ctx); err != nil { // only told to look
			return err
		}
		_, err = a.TryRead(make([]byte, 1))
		wantErr(t, "TryRead", err, net.ErrClosed)
		_, err = a.Read(ctx, make([]byte, 1))
		wantErr(t, "Read", err, net.ErrClosed)
		_, err = a.ReadLine(ctx)
		wantErr(t, "ReadLine", err, net.ErrClosed)
		_, err = a.TryWrite([]byte("x"))
		wantErr(t, "TryWrite", err, net.ErrClosed)
		_, err = a.Write(ctx, []byte("x"))
		wantErr(t, "Write", err, net.ErrClosed)
		wantErr(t, "CloseWrite", a.CloseWrite(), net.ErrClosed)
		if err := a.Close(); err != nil || !a.Closed() {
			t.Errorf("second Close: %v", err)
		}
		if err := wait(ctx, a.Readable()); err != nil {
			t.Error(err)
		}
		if a.LocalAddr().String() != b.RemoteAddr().String() {
			t.Errorf("LocalAddr %v, want %v", a.LocalAddr(), b.RemoteAddr())
		}
		// Close ends waits in both directions.
		c, d := pair(ctx, t)
		defer d.Close()
		rd := task.Go(ctx, func(ctx context.Context) error { _, err := c.Read(ctx, make([]byte, 1)); return err })
		wr := task.Go(ctx, func(ctx context.Context) error { _, err := c.Write(ctx, make([]byte, 16<<20)); return err })
		if err := settle(ctx); err != nil {
			return err
		}
		c.Close()
		_, err = rd.Await(ctx)
		wantErr(t, "waiting Read", err, net.ErrClosed)
		_, err = wr.Await(ctx)
		wantErr(t, "waiting Write", err, net.ErrClosed)
		return nil
	})
}

// A wait that was canceled is not taken over by the next, which may begin before
// the canceled machine has been told.
func TestCancelReadable(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := pair(ctx, t)
		defer a.Close()
		defer b.Close()
		m := task.StartMachine[struct{}](ctx, &waitMachine{w: a.Readable()})
		if err := settle(ctx); err != nil {
			return err
		}
		m.Cancel(nil)
		next := a.Readable()
		write(ctx, t, b, "x")
		if err := wait(ctx, next); err != nil {
			t.Error(err)
		}
		_, err := m.Await(ctx)
		wantErr(t, "canceled machine", err, context.Canceled)
		wantRead(ctx, t, a, "x")
		return nil
	})
}

// wait waits for w as a machine would.
func wait(ctx context.Context, w future.Waiter) error {
	_, err := task.StartMachine[struct{}](ctx, &waitMachine{w: w}).Await(ctx)
	return err
}

type waitMachine struct {
	w       future.Waiter
	stepped bool
}

func (m *waitMachine) Step(ctx context.Context, thrown error) (future.Waiter, error) {
	if thrown != nil || m.stepped {
		if thrown == nil {
			thrown = m.w.Err()
		}
		return task.Done, thrown
	}
	m.stepped = true
	return m.w, nil
}
func (m *waitMachine) Result() struct{} { return struct{}{} }

func TestMachineEcho(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := pair(ctx, t)
		defer a.Close()
		defer b.Close()
		m := task.StartMachine[struct{}](ctx, &echoMachine{c: b})
		data := make([]byte, 4<<20) // more than fits: Writable is waited for, too
		rand.NewChaCha8([32]byte{}).Read(data)
		w := task.Go(ctx, func(ctx context.Context) error {
			if _, err := a.Write(ctx, data); err != nil {
				return err
			}
			return a.CloseWrite()
		})
		if err := task.Sleep(ctx, 20*time.Millisecond); err != nil { // fill the pipe
			return err
		}
		got := make([]byte, 0, len(data))
		buf := make([]byte, 32<<10)
		for len(got) < len(data) {
			n, err := a.Read(ctx, buf)
			if err != nil {
				return err
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, data) {
			t.Error("not what was sent")
		}
		if _, err := w.Await(ctx); err != nil {
			return err
		}
		_, err := m.Await(ctx)
		return err
	})
}

func TestLinesEverySplit(t *testing.T) {
	const input = "one\r\n\ntwo\n\r\n\rthree\r\r\nlast\r"
	want := []string{"one", "", "two", "", "\rthree\r", "last"}
	run(t, func(ctx context.Context) error {
		for i := 0; i <= len(input); i++ {
			for _, limit := range []int{0, 8} {
				a, b := pair(ctx, t)
				b.SetLineLimit(limit)
				got := task.Start(ctx, func(ctx context.Context) (lines []string, err error) {
					for line, err := range b.Lines(ctx) {
						if err != nil {
							return lines, err
						}
						lines = append(lines, line)
					}
					return lines, nil
				})
				if err := task.Yield(ctx); err != nil {
					return err
				}
				write(ctx, t, a, input[:i])
				if err := settle(ctx); err != nil {
					return err
				}
				write(ctx, t, a, input[i:])
				a.Close()
				lines, err := got.Await(ctx)
				if err != nil || !slices.Equal(lines, want) {
					t.Errorf("split at %d: %q, %v; want %q", i, lines, err, want)
				}
				_, err = b.ReadLine(ctx)
				wantErr(t, "after the end", err, io.EOF)
				b.Close()
			}
		}
		return nil
	})
}

// Lines of all lengths, in writes of all lengths, against strings.Split.
func TestLinesModel(t *testing.T) {
	run(t, func(ctx context.Context) error {
		for seed := range uint64(30) {
			rnd := rand.New(rand.NewPCG(seed, 2))
			var input strings.Builder
			for range 200 {
				input.WriteString(strings.Repeat("abcdefgh", rnd.IntN(1<<rnd.IntN(12))))
				input.WriteString("\n")
			}
			want := strings.Split(strings.TrimSuffix(input.String(), "\n"), "\n")
			a, b := pair(ctx, t)
			w := task.Go(ctx, func(ctx context.Context) error {
				defer a.Close()
				for s := input.String(); s != ""; {
					n := min(len(s), 1+rnd.IntN(1<<rnd.IntN(16)))
					if _, err := a.Write(ctx, []byte(s[:n])); err != nil {
						return err
					}
					s = s[n:]
					if rnd.IntN(3) == 0 {
						if err := task.Yield(ctx); err != nil {
							return err
						}
					}
				}
				return nil
			})
			var got []string
			for line, err := range b.Lines(ctx) {
				if err != nil {
					return err
				}
				got = append(got, line)
			}
			if !slices.Equal(got, want) {
				t.Errorf("seed %d: %d lines, want %d", seed, len(got), len(want))
			}
			b.Close()
			if _, err := w.Await(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestLineTooLong(t *testing.T) {
	for _, tt := range []struct{ limit, effective int }{{0, 64 << 10}, {10, 10}, {5000, 5000}} {
		t.Run(fmt.Sprint(tt.effective), func(t *testing.T) {
			run(t, func(ctx context.Context) error {
				a, b := pair(ctx, t)
				defer a.Close()
				defer b.Close()
				b.SetLineLimit(tt.limit)
				fits := strings.Repeat("x", tt.effective)
				write(ctx, t, a, fits+"\n")
				if line, err := b.ReadLine(ctx); line != fits || err != nil {
					t.Fatalf("line of %d bytes: %d, %v", len(fits), len(line), err)
				}
				long := strings.Repeat("y", tt.effective+1)
				write(ctx, t, a, long)
				for range 2 {
					_, err := b.ReadLine(ctx)
					wantErr(t, "ReadLine", err, stream.ErrTooLong)
				}
				write(ctx, t, a, "\nnext\n")
				_, err := b.ReadLine(ctx)
				wantErr(t, "ReadLine", err, stream.ErrTooLong)
				wantRead(ctx, t, b, long+"\n")
				if line, err := b.ReadLine(ctx); line != "next" || err != nil {
					t.Errorf("then %q, %v", line, err)
				}
				return nil
			})
		})
	}
}

// Reading lines and bytes by turns sees each byte once, and canceling in between
// loses none.
func TestLineCancel(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := pair(ctx, t)
		defer a.Close()
		defer b.Close()
		for _, piece := range []string{"he", "llo", " wor", "ld\nrest"} {
			r := task.Start(ctx, b.ReadLine)
			write(ctx, t, a, piece)
			if err := settle(ctx); err != nil {
				return err
			}
			r.Cancel(nil)
			if line, err := r.Await(ctx); piece != "ld\nrest" {
				wantErr(t, "canceled ReadLine", err, context.Canceled)
			} else if err != nil && future.AsCanceled(err) == nil || err == nil && line != "hello world" {
				t.Errorf("ReadLine = %q, %v", line, err)
			} else if err != nil {
				if line, err := b.ReadLine(ctx); line != "hello world" || err != nil {
					t.Errorf("ReadLine = %q, %v", line, err)
				}
			}
		}
		wantRead(ctx, t, b, "re")
		a.Close()
		if line, err := b.ReadLine(ctx); line != "st" || err != nil {
			t.Errorf("last line %q, %v", line, err)
		}
		return nil
	})
}

func TestServe(t *testing.T) {
	t.Run("shutdown with live clients", func(t *testing.T) {
		run(t, func(ctx context.Context) error {
			for _, end := range []string{"cancel", "shutdown", "clients", "abort", "scope"} {
				ln := listen(ctx, t)
				ended := 0
				sctx, cancel := task.WithTimeout(ctx, time.Hour)
				if end != "scope" {
					cancel()
					sctx = ctx
				}
				srv := task.Go(sctx, func(ctx context.Context) error {
					return ln.Serve(ctx, func(ctx context.Context, c *stream.Conn) error {
						defer func() { ended++ }()
						err := echo(ctx, c)
						_ = settle(ctx) // cleaning up takes turns
						return err
					})
				})
				var clients []*stream.Conn
				for range 100 {
					c, err := stream.Dial(ctx, "tcp", ln.Addr().String())
					if err != nil {
						return err
					}
					defer c.Close()
					clients = append(clients, c)
					write(ctx, t, c, "ping")
				}
				for _, c := range clients {
					wantRead(ctx, t, c, "ping")
				}
				switch end {
				case "cancel":
					srv.Cancel(nil)
				case "shutdown":
					if err := ln.Shutdown(ctx); err != nil {
						t.Errorf("Shutdown: %v", err)
					}
				case "clients":
					ln.Close()
					ln.CloseClients()
				case "abort":
					ln.Abort()
				case "scope":
					cancel()
				}
				_, err := srv.Await(ctx)
				if canceled := future.AsCanceled(err) != nil; canceled != (end == "cancel" || end == "scope") || !canceled && err != nil {
					t.Errorf("%s: Serve: %v", end, err)
				}
				if s := ln.Stats(); ended != 100 || s.Serving != 0 || s.Accepted != 100 {
					t.Errorf("%s: %d handlers have ended, stats %+v", end, ended, s)
				}
				ln.Close()
				for _, c := range clients {
					if got, err := readAll(ctx, c); len(got) != 0 || (err == nil) != (end != "abort") {
						t.Errorf("client reads %q, %v; want the end", got, err)
					}
				}
			}
			return nil
		})
	})
	t.Run("failures of handlers", func(t *testing.T) {
		var reports []string
		var stack []byte
		cfg := loop.Config{OnError: func(e *loop.CallError) {
			reports = append(reports, e.Err.Error())
			if p := new(coro.PanicError); errors.As(e.Err, &p) {
				stack = append(stack, e.Stack()...)
			}
		}}
		runConfig(t, cfg, func(ctx context.Context) error {
			ln := listen(ctx, t)
			defer ln.Close()
			srv := task.Go(ctx, func(ctx context.Context) error {
				return ln.Serve(ctx, func(ctx context.Context, c *stream.Conn) error {
					line, err := c.ReadLine(ctx)
					if err != nil {
						return err
					}
					switch line {
					case "panic":
						panic("of the handler")
					case "panic EOF":
						panic(io.EOF)
					case "fail":
						return errors.New("handler failed")
					case "EOF":
						return fmt.Errorf("wrapped: %w", io.EOF)
					case "joined":
						return errors.Join(io.EOF, errors.New("and more"))
					case "closed":
						c.Close()
						_, err := c.Read(ctx, make([]byte, 1))
						return err
					}
					_, err = c.Write(ctx, []byte(line))
					return err
				})
			})
			ask := func(q string) string {
				c, err := stream.Dial(ctx, "tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				write(ctx, t, c, q+"\n")
				got, err := readAll(ctx, c)
				if err != nil {
					t.Errorf("%s: %v", q, err)
				}
				return string(got)
			}
			for _, q := range []string{"panic", "panic EOF", "fail", "EOF", "joined", "closed"} {
				if got := ask(q); got != "" {
					t.Errorf("%s: answer %q", q, got)
				}
			}
			if got := ask("well?"); got != "well?" {
				t.Errorf("after the failures: %q", got)
			}
			srv.Cancel(nil)
			_, _ = srv.Await(ctx)
			want := []string{"panic: of the handler", "panic: EOF", "handler failed", "EOF\nand more"}
			if !slices.Equal(reports, want) {
				t.Errorf("reported %q, want %q", reports, want)
			}
			if !bytes.Contains(stack, []byte("TestServe")) {
				t.Errorf("no stack of the handler in\n%s", stack)
			}
			return nil
		})
	})
	t.Run("a thousand at once", func(t *testing.T) {
		run(t, func(ctx context.Context) error {
			ln := listen(ctx, t)
			defer ln.Close()
			srv := task.Go(ctx, func(ctx context.Context) error { return ln.Serve(ctx, echo) })
			n := 500
			err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				for range n {
					g.Go(func(ctx context.Context) error {
						c, err := stream.Dial(ctx, "tcp", ln.Addr().String())
						if err != nil {
							return err
						}
						defer c.Close()
						write(ctx, t, c, "ping")
						wantRead(ctx, t, c, "ping")
						return nil
					})
				}
				return nil
			})
			if got := ln.Stats().Accepted; got != uint64(n) {
				t.Errorf("accepted %d, want %d", got, n)
			}
			srv.Cancel(nil)
			_, _ = srv.Await(ctx)
			return err
		})
	})
}

// Connections that nobody closed are closed with the loop.
func TestLoopCloses(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		a, b := pair(ctx, t)
		task.Go(ctx, func(ctx context.Context) error { return ln.Serve(ctx, echo) })
		task.Go(ctx, func(ctx context.Context) error { _, err := a.Read(ctx, make([]byte, 1)); return err })
		_, err := stream.Dial(ctx, "tcp", ln.Addr().String())
		write(ctx, t, b, "for nobody")
		return err
	})
}

func TestNetConn(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		defer ln.Close()
		srv := task.Go(ctx, func(ctx context.Context) error {
			return ln.Serve(ctx, func(ctx context.Context, c *stream.Conn) error {
				nc := c.NetConn(ctx)
				r := bufio.NewReader(nc)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return err
					}
					body, err := io.ReadAll(req.Body)
					if err != nil {
						return err
					}
					resp := http.Response{
						StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Request: req, ContentLength: -1,
						TransferEncoding: []string{"chunked"}, Body: io.NopCloser(strings.NewReader(req.URL.Path + " " + string(body))),
					}
					if err := resp.Write(nc); err != nil {
						return err
					}
				}
			})
		})
		// The client is package net's, on goroutines of its own.
		type answer struct {
			body string
			err  error
		}
		l := loop.FromContext(ctx)
		answers, p := future.New[[]answer](l)
		url := "http://" + ln.Addr().String()
		go func() {
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			var all []answer
			for i := range 5 {
				var a answer
				resp, err := (&http.Client{Transport: tr}).Post(fmt.Sprintf("%s/%d", url, i), "text/plain", strings.NewReader(strings.Repeat("b", i*1000)))
				if err == nil {
					var b []byte
					b, err = io.ReadAll(resp.Body)
					a.body = string(b)
					resp.Body.Close()
				}
				a.err = err
				all = append(all, a)
			}
			l.CallSoonThreadsafe(func() { p.Resolve(all) })
		}()
		all, err := answers.Await(ctx)
		if err != nil {
			return err
		}
		for i, a := range all {
			if want := fmt.Sprintf("/%d %s", i, strings.Repeat("b", i*1000)); a.body != want || a.err != nil {
				t.Errorf("answer %d: %d bytes, %v; want %d", i, len(a.body), a.err, len(want))
			}
		}
		srv.Cancel(nil)
		_, _ = srv.Await(ctx)
		return nil
	})
}

func TestNetConnDeadlines(t *testing.T) {
	run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		a, b := pair(ctx, t)
		defer a.Close()
		defer b.Close()
		nc := b.NetConn(ctx)
		buf := make([]byte, 4)
		timeout := func(what string, err error) {
			t.Helper()
			wantErr(t, what, err, os.ErrDeadlineExceeded)
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
				t.Errorf("%s: %#v is no timeout", what, err)
			}
		}
		write(ctx, t, a, "data")
		nc.SetReadDeadline(l.Now().Add(-time.Second))
		_, err := nc.Read(buf)
		timeout("past deadline", err)
		nc.SetReadDeadline(time.Time{})
		if n, err := io.ReadFull(nc, buf); n != 4 || err != nil {
			t.Errorf("without a deadline: %d, %v", n, err)
		}
		start := l.Now()
		nc.SetDeadline(start.Add(20 * time.Millisecond))
		_, err = nc.Read(buf)
		timeout("deadline", err)
		if d := l.Now().Sub(start); d < 20*time.Millisecond {
			t.Errorf("after %v", d)
		}
		_, err = nc.Write(buf)
		timeout("write", err)
		much := make([]byte, 32<<20)
		nc.SetWriteDeadline(l.Now().Add(50 * time.Millisecond))
		n, err := nc.Write(much)
		timeout("long write", err)
		if n == 0 {
			t.Error("nothing was written before the deadline")
		}
		nc.SetDeadline(time.Time{})

		// Set while somebody waits, from another goroutine: moved, and cut short.
		nc.SetReadDeadline(l.Now().Add(time.Hour))
		go func() { nc.SetReadDeadline(time.Now()) }()
		_, err = nc.Read(buf)
		timeout("deadline set from elsewhere", err)
		nc.SetReadDeadline(l.Now().Add(time.Hour))
		go func() { nc.Close() }()
		_, err = nc.Read(buf)
		wantErr(t, "closed from elsewhere", err, net.ErrClosed)
		for !b.Closed() { // as soon as the loop has heard of it
			if err := task.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		wantErr(t, "SetDeadline", nc.SetDeadline(time.Time{}), net.ErrClosed)
		wantErr(t, "Close", nc.Close(), net.ErrClosed)
		return nil
	})
}

func TestNetConnForeign(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := pair(ctx, t)
		defer a.Close()
		defer b.Close()
		write(ctx, t, a, "data")
		if err := wait(ctx, b.Readable()); err != nil {
			return err
		}
		nc := b.NetConn(ctx)
		other := task.Go(ctx, func(ctx context.Context) error {
			_, err := nc.Read(make([]byte, 4))
			return err
		})
		_, err := other.Await(ctx)
		wantErr(t, "another task's Read", err, stream.ErrForeign)
		// Another goroutine, while the loop stands still in a callback, so that the
		// race detector sees an order.
		done, p := future.New[struct{}](loop.FromContext(ctx))
		loop.FromContext(ctx).CallSoon(func() {
			errs := make(chan error)
			go func() {
				_, err := nc.Read(make([]byte, 4))
				errs <- err
				_, err = nc.Write(make([]byte, 4))
				errs <- err
			}()
			wantErr(t, "another goroutine's Read", <-errs, stream.ErrForeign)
			wantErr(t, "another goroutine's Write", <-errs, stream.ErrForeign)
			p.Resolve(struct{}{})
		})
		if _, err := done.Await(ctx); err != nil {
			return err
		}
		buf := make([]byte, 4)
		if n, err := nc.Read(buf); string(buf) != "data" || err != nil {
			t.Errorf("own Read %d, %v", n, err)
		}
		return nil
	})
}

// The peer is package net's, and resets.
func TestReset(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		defer ln.Close()
		for _, tt := range []string{"while it waits", "behind data"} {
			peer, err := net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr))
			if err != nil {
				return err
			}
			c, err := ln.Accept(ctx)
			if err != nil {
				return err
			}
			var got []byte
			r := task.Go(ctx, func(ctx context.Context) (err error) {
				if tt == "behind data" {
					if err := settle(ctx); err != nil {
						return err
					}
				}
				got, err = readAll(ctx, c)
				return err
			})
			if err := task.Yield(ctx); err != nil {
				return err
			}
			want := ""
			if tt == "behind data" {
				want = "data"
				peer.Write([]byte(want))
			}
			peer.SetLinger(0)
			peer.Close()
			_, err = r.Await(ctx)
			wantErr(t, tt, err, syscall.ECONNRESET)
			if string(got) != want {
				t.Errorf("%s: %q", tt, got)
			}
			_, err = c.Write(ctx, []byte("x"))
			wantErr(t, "write after reset", err, syscall.EPIPE)
			c.Close()
		}
		return nil
	})
}

func TestNoAllocations(t *testing.T) {
	run(t, func(ctx context.Context) error {
		if loop.FromContext(ctx).Debug() {
			t.Log("not counted: debug mode allocates")
			return nil
		}
		a, b := pair(ctx, t)
		defer a.Close()
		defer b.Close()
		srv := task.Go(ctx, func(ctx context.Context) error { return echo(ctx, b) })
		defer srv.Cancel(nil)
		buf := make([]byte, 64)
		var failed error
		round := func() {
			if _, err := a.Write(ctx, buf); err != nil {
				failed = err
			}
			if _, err := a.Read(ctx, buf); err != nil {
				failed = err
			}
		}
		for range 10 {
			round()
		}
		if n := testing.AllocsPerRun(200, round); n != 0 {
			t.Errorf("a round trip allocates %v times", n)
		}
		return failed
	})
}
