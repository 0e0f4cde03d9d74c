//go:build unix

package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// dial connects to ln, and closes with the test.
func dial(ctx context.Context, t *testing.T, ln *stream.Listener) *stream.Conn {
	t.Helper()
	c, err := stream.Dial(ctx, ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve serves in a task, and ends with the test's body.
func serve(ctx context.Context, ln *stream.Listener, cfg stream.ServeConfig, h stream.Handler) *task.Task[struct{}] {
	return task.Go(ctx, func(ctx context.Context) error { return cfg.Serve(ctx, ln, h) })
}

func TestUnixSockets(t *testing.T) {
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "s")}
	if hasAbstract {
		paths = append(paths, "@eddy-test-"+filepath.Base(dir)+filepath.Base(filepath.Dir(dir)))
	}
	for _, path := range paths {
		run(t, func(ctx context.Context) error {
			ln, err := stream.Listen(ctx, "unix", path)
			if err != nil {
				return err
			}
			srv := serve(ctx, ln, stream.ServeConfig{}, func(ctx context.Context, c *stream.Conn) error {
				if got := c.LocalAddr().String(); got != path {
					t.Errorf("local address %q, want %q", got, path)
				}
				return echo(ctx, c)
			})
			c, err := stream.Dial(ctx, "unix", path)
			if err != nil {
				return err
			}
			write(ctx, t, c, "hello")
			wantRead(ctx, t, c, "hello")
			if got := c.RemoteAddr(); got.Network() != "unix" || got.String() != path {
				t.Errorf("remote address %v", got)
			}
			c.Close()
			if got := c.RemoteAddr().String(); got != path {
				t.Errorf("remote address after Close %q", got)
			}
			if err := ln.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			_, err = srv.Await(ctx)
			return err
		})
	}
}

func TestEdge123_UnixServerRemovesItsOwnFile(t *testing.T) {
	run(t, func(ctx context.Context) error {
		path := filepath.Join(t.TempDir(), "s")
		exists := func() bool { _, err := os.Lstat(path); return err == nil }
		open := func(cfg stream.ListenConfig) *stream.Listener {
			ln, err := cfg.Listen(ctx, "unix", path)
			if err != nil {
				t.Fatal(err)
			}
			return ln
		}

		ln := open(stream.ListenConfig{})
		if _, err := stream.Listen(ctx, "unix", path); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second listener: %v, want EADDRINUSE: somebody listens", err)
		}
		ln.Close()
		if exists() {
			t.Error("Close has left the file")
		}

		ln = open(stream.ListenConfig{KeepSocketFile: true})
		ln.Close()
		if !exists() {
			t.Error("KeepSocketFile: the file is gone")
		}
		ln = open(stream.ListenConfig{}) // what nobody listens on is replaced
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		other := open(stream.ListenConfig{})
		ln.Close()
		if !exists() {
			t.Error("Close has removed another one's file")
		}
		other.Close()

		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Listen(ctx, "unix", path); err == nil {
			t.Error("a file that is no socket was replaced")
		}
		return nil
	})
}

// Closing stops listening only, and Serve waits for the last connection.
func TestEdge122_CloseStopsListeningOnly(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		srv := serve(ctx, ln, stream.ServeConfig{}, echo)
		c := dial(ctx, t, ln)
		defer c.Close()
		write(ctx, t, c, "1")
		wantRead(ctx, t, c, "1")
		ln.Close()
		if _, err := stream.Dial(ctx, "tcp", ln.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial after Close: %v", err)
		}
		write(ctx, t, c, "2")
		wantRead(ctx, t, c, "2")
		if srv.Done() {
			t.Error("Serve has ended before its connection")
		}
		c.Close()
		_, err := srv.Await(ctx)
		return err
	})
}

func TestEdge122_TheImpatientCloseClientsOrAbort(t *testing.T) {
	for _, abort := range []bool{false, true} {
		run(t, func(ctx context.Context) error {
			ln := listen(ctx, t)
			var got error
			srv := serve(ctx, ln, stream.ServeConfig{}, func(ctx context.Context, c *stream.Conn) error {
				got = echo(ctx, c)
				return got
			})
			c := dial(ctx, t, ln)
			defer c.Close()
			write(ctx, t, c, "1")
			wantRead(ctx, t, c, "1")
			want := io.EOF
			if abort {
				ln.Abort()
				want = syscall.ECONNRESET
			} else {
				ln.Close()
				ln.CloseClients()
			}
			if _, err := c.Read(ctx, make([]byte, 1)); !errors.Is(err, want) {
				t.Errorf("abort %t: the client reads %v, want %v", abort, err, want)
			}
			_, err := srv.Await(ctx)
			if !abort && !errors.Is(got, net.ErrClosed) {
				t.Errorf("the handler got %v", got)
			}
			return err
		})
	}
}

// Those who wait for a message are told of the end, who is at work may finish, and
// who takes too long is aborted.
func TestShutdown(t *testing.T) {
	for _, tt := range []struct {
		name  string
		work  time.Duration
		limit time.Duration
		cfg   stream.ServeConfig
		reply string
	}{
		{"in time", 20 * time.Millisecond, 5 * time.Second, stream.ServeConfig{}, "done"},
		{"too late", time.Hour, 20 * time.Millisecond, stream.ServeConfig{}, ""},
		{"resting", 20 * time.Millisecond, 5 * time.Second, stream.ServeConfig{WhenReady: true}, "done"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) error {
				ln := listen(ctx, t)
				served := 0
				srv := serve(ctx, ln, tt.cfg, func(ctx context.Context, c *stream.Conn) error {
					for {
						if err := c.NextMessage(ctx); err != nil {
							return err
						}
						line, err := c.ReadLine(ctx)
						if err != nil {
							return err
						}
						if line == "work" {
							if err := task.Sleep(ctx, tt.work); err != nil {
								return err
							}
						}
						served++
						if _, err := io.WriteString(c.NetConn(ctx), "done"); err != nil || tt.cfg.WhenReady {
							return err
						}
					}
				})
				idle, fresh, busy := dial(ctx, t, ln), dial(ctx, t, ln), dial(ctx, t, ln)
				defer idle.Close()
				defer fresh.Close()
				defer busy.Close()
				write(ctx, t, idle, "quick\n")
				wantRead(ctx, t, idle, "done")
				write(ctx, t, busy, "work\n")
				if err := settle(ctx); err != nil {
					return err
				}
				for ln.Stats().Serving < 3 {
					_ = task.Sleep(ctx, time.Millisecond)
				}
				_ = task.Sleep(ctx, 5*time.Millisecond)
				start := time.Now()
				sctx, cancel := task.WithTimeout(ctx, tt.limit)
				defer cancel()
				err := ln.Shutdown(sctx)
				if took := time.Since(start); took > tt.limit+time.Second {
					t.Errorf("Shutdown took %v", took)
				}
				if late := tt.reply == ""; (err != nil) != late {
					t.Errorf("Shutdown: %v", err)
				}
				for _, c := range []*stream.Conn{idle, fresh} {
					if got, err := readAll(ctx, c); len(got) > 0 || err != nil {
						t.Errorf("one without a message reads %q, %v", got, err)
					}
				}
				got, _ := readAll(ctx, busy)
				if string(got) != tt.reply {
					t.Errorf("the one at work reads %q, want %q", got, tt.reply)
				}
				_, err = srv.Await(ctx)
				return err
			})
		})
	}
}

// A resting connection has no task, and what it sends is served.
func TestWhenReady(t *testing.T) {
	quiet := loop.Config{OnError: func(e *loop.CallError) {
		if !strings.Contains(e.Err.Error(), "EOF") {
			t.Error(e)
		}
	}}
	runConfig(t, quiet, func(ctx context.Context) error {
		ln := listen(ctx, t)
		defer ln.Close()
		tasks := func() int { return len(task.All(loop.FromContext(ctx))) }
		srv := serve(ctx, ln, stream.ServeConfig{WhenReady: true}, func(ctx context.Context, c *stream.Conn) error {
			line, err := c.ReadLine(ctx)
			if err != nil {
				return err
			}
			if line == "bye" {
				return c.Close()
			}
			if line == "panic" {
				panic(io.EOF)
			}
			_, err = c.Write(ctx, []byte(line+"!"))
			return err
		})
		var cs []*stream.Conn
		for range 50 {
			c := dial(ctx, t, ln)
			defer c.Close()
			cs = append(cs, c)
			write(ctx, t, c, "a\n")
			wantRead(ctx, t, c, "a!")
		}
		_ = settle(ctx)
		if got := tasks(); got != 2 { // this one and Serve
			t.Errorf("%d tasks while all rest", got)
		}
		write(ctx, t, cs[0], "b\nc\nd\n") // several at once
		wantRead(ctx, t, cs[0], "b!")
		wantRead(ctx, t, cs[0], "c!")
		wantRead(ctx, t, cs[0], "d!")
		for _, end := range []string{"bye\n", "panic\n"} {
			write(ctx, t, cs[1], end)
			if got, err := readAll(ctx, cs[1]); len(got) > 0 || err != nil {
				t.Errorf("after %q: %q, %v", end, got, err)
			}
			cs = cs[1:]
		}
		cs[5].Close()
		for ln.Stats().Serving != 47 {
			_ = task.Sleep(ctx, time.Millisecond)
		}
		srv.Cancel(nil)
		_, _ = srv.Await(ctx)
		if n := ln.Stats().Serving; n != 0 {
			t.Errorf("%d connections after Serve", n)
		}
		return nil
	})
}

func TestMaxConns(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		most := 0
		srv := serve(ctx, ln, stream.ServeConfig{MaxConns: 3}, func(ctx context.Context, c *stream.Conn) error {
			most = max(most, ln.Stats().Serving)
			_, err := c.Write(ctx, []byte("hi"))
			_ = task.Sleep(ctx, time.Millisecond)
			return err
		})
		for range 20 {
			c := dial(ctx, t, ln)
			defer c.Close()
			task.Go(ctx, func(ctx context.Context) error { wantRead(ctx, t, c, "hi"); return nil })
		}
		for ln.Stats().Accepted < 20 {
			_ = task.Sleep(ctx, time.Millisecond)
		}
		if most != 3 {
			t.Errorf("%d connections at once", most)
		}
		if err := ln.Shutdown(ctx); err != nil {
			return err
		}
		_, err := srv.Await(ctx)
		return err
	})
}

// In virtual time: the peer is in memory.
func TestTimeouts(t *testing.T) {
	for _, tt := range []struct {
		name          string
		idle, message time.Duration
		every         time.Duration // the peer sends a byte; 0: never
		want          time.Duration
	}{
		{"silent", 10 * time.Second, time.Minute, 0, 10 * time.Second},
		{"a byte now and then", 10 * time.Second, time.Minute, 9 * time.Second, 69 * time.Second},
		{"no message bound", 10 * time.Second, 0, 9 * time.Second, 0},
		{"no idle bound", 0, time.Minute, 20 * time.Second, 80 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			looptest.Run(t, func(ctx context.Context) error {
				l := loop.FromContext(ctx)
				a, b := stream.Pipe(l)
				defer a.Close()
				defer b.Close()
				a.SetTimeouts(tt.idle, tt.message)
				start := l.Now()
				if tt.every > 0 {
					task.Go(ctx, func(ctx context.Context) error {
						for range 100 {
							if err := task.Sleep(ctx, tt.every); err != nil {
								return err
							}
							if _, err := b.Write(ctx, []byte("x")); err != nil {
								return nil
							}
						}
						_, err := b.Write(ctx, []byte("\n"))
						return err
					})
				}
				err := a.NextMessage(ctx)
				if err == nil {
					_, err = a.ReadLine(ctx)
				}
				if tt.want == 0 {
					if err != nil {
						t.Errorf("unbounded: %v", err)
					}
					return nil
				}
				if took := l.Now().Sub(start); took != tt.want || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%v after %v, want a timeout after %v", err, took, tt.want)
				}
				return nil
			})
		})
	}
}

// A write has its time, too.
func TestTimeoutOfAWrite(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		a, b := stream.Pipe(l)
		defer a.Close()
		defer b.Close()
		a.SetTimeouts(5*time.Second, 0)
		start := l.Now()
		n, err := a.Write(ctx, make([]byte, 1<<20))
		if took := l.Now().Sub(start); took != 5*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) || n != 64<<10 {
			t.Errorf("Write = %d, %v after %v", n, err, took)
		}
		return nil
	})
}

// The reply arrives whole although the client has sent more than was read: R16.
func TestCloseGraceful(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		defer ln.Close()
		reply := strings.Repeat("r", 32<<10)
		srv := serve(ctx, ln, stream.ServeConfig{}, func(ctx context.Context, c *stream.Conn) error {
			if _, err := c.ReadLine(ctx); err != nil {
				return err
			}
			if _, err := c.Write(ctx, []byte(reply)); err != nil {
				return err
			}
			return c.CloseGraceful(ctx, 1<<20)
		})
		for range 200 {
			c := dial(ctx, t, ln)
			write(ctx, t, c, "ask\nand more that nobody reads")
			write(ctx, t, c, strings.Repeat("m", 9000))
			got, err := readAll(ctx, c)
			if err != nil || string(got) != reply {
				t.Fatalf("the reply has %d bytes, %v", len(got), err)
			}
			c.Close()
		}
		_ = ln.Shutdown(ctx)
		_, err := srv.Await(ctx)
		return err
	})
	looptest.Run(t, func(ctx context.Context) error {
		a, b := stream.Pipe(loop.FromContext(ctx))
		if _, err := b.Write(ctx, make([]byte, 100)); err != nil {
			return err
		}
		if err := a.CloseGraceful(ctx, 99); err != io.ErrShortBuffer || !a.Closed() {
			t.Errorf("more than the limit: %v", err)
		}
		return b.Close()
	})
}

// Two loops share the connections of one descriptor, and of one address.
func TestSharedListeners(t *testing.T) {
	for _, how := range []string{"descriptor", "address"} {
		t.Run(how, func(t *testing.T) {
			run(t, func(ctx context.Context) error {
				cfg := stream.ListenConfig{ReusePort: how == "address"}
				first, err := cfg.Listen(ctx, "tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				addr := first.Addr().String()
				f, err := first.File()
				if err != nil {
					return err
				}
				defer f.Close()
				var served [2]uint64
				done := make(chan error, 1)
				up := make(chan struct{})
				stop := make(chan struct{})
				go func() {
					done <- task.Run(context.Background(), func(ctx context.Context) error {
						second, err := stream.ListenFile(ctx, f)
						if how == "address" {
							second, err = cfg.Listen(ctx, "tcp", addr)
						}
						if err != nil {
							close(up)
							return err
						}
						srv := serve(ctx, second, stream.ServeConfig{}, echo)
						close(up)
						_, _, _ = task.Recv(ctx, stop)
						served[1] = second.Stats().Accepted
						_ = second.Shutdown(ctx)
						_, err = srv.Await(ctx)
						return err
					})
				}()
				_, _, _ = task.Recv(ctx, up)
				srv := serve(ctx, first, stream.ServeConfig{}, echo)
				for range 100 {
					c, err := stream.Dial(ctx, "tcp", addr)
					if err != nil {
						return err
					}
					write(ctx, t, c, "x")
					wantRead(ctx, t, c, "x")
					c.Close()
				}
				served[0] = first.Stats().Accepted
				close(stop)
				err, _, _ = task.Recv(ctx, done)
				if err != nil {
					t.Error(err)
				}
				if served[0]+served[1] != 100 || how == "address" && spreads && (served[0] == 0 || served[1] == 0) {
					t.Errorf("served %v", served)
				}
				_ = first.Shutdown(ctx)
				_, err = srv.Await(ctx)
				return err
			})
		})
	}
}

func TestAdopt(t *testing.T) {
	tcp := func(t *testing.T) (net.Conn, net.Conn) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		a, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		b, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
	for _, tt := range []struct {
		name string
		pair func(t *testing.T) (net.Conn, net.Conn)
	}{
		{"tcp", tcp},
		{"in memory", func(*testing.T) (net.Conn, net.Conn) { return net.Pipe() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) error {
				x, y := tt.pair(t)
				a, err := stream.Adopt(ctx, x)
				if err != nil {
					return err
				}
				b, err := stream.Adopt(ctx, y)
				if err != nil {
					return err
				}
				if a.RemoteAddr().String() != x.RemoteAddr().String() {
					t.Errorf("peer %v, want %v", a.RemoteAddr(), x.RemoteAddr())
				}
				echoing := task.Go(ctx, func(ctx context.Context) error { return echo(ctx, b) })
				for _, s := range []string{"a", strings.Repeat("b", 100_000)} {
					sending := task.Go(ctx, func(ctx context.Context) error { _, err := a.Write(ctx, []byte(s)); return err })
					wantRead(ctx, t, a, s)
					if _, err := sending.Await(ctx); err != nil {
						return err
					}
				}
				a.Close()
				if _, err := echoing.Await(ctx); err != io.EOF {
					t.Errorf("the other side: %v", err)
				}
				return b.Close()
			})
		})
	}
	t.Run("pipe", func(t *testing.T) {
		run(t, func(ctx context.Context) error {
			r, w, err := os.Pipe()
			if err != nil {
				return err
			}
			in, err := stream.Adopt(ctx, r)
			if err != nil {
				return err
			}
			out, err := stream.Adopt(ctx, w)
			if err != nil {
				return err
			}
			big := strings.Repeat("x", 300_000)
			sending := task.Go(ctx, func(ctx context.Context) error {
				if _, err := out.Write(ctx, []byte(big)); err != nil {
					return err
				}
				return out.CloseWrite()
			})
			got, err := readAll(ctx, in)
			if string(got) != big || err != nil {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if !out.Closed() {
				t.Error("CloseWrite has not closed the pipe")
			}
			if _, err := sending.Await(ctx); err != nil {
				return err
			}
			return in.Close()
		})
	})
	t.Run("file", func(t *testing.T) {
		run(t, func(ctx context.Context) error {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			c, err := stream.Adopt(ctx, f)
			if err != nil {
				return err
			}
			if got, err := readAll(ctx, c); string(got) != "content" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			c.Close()
			for err == nil { // it is closed on another goroutine
				_ = task.Sleep(ctx, time.Millisecond)
				_, err = f.Stat()
			}
			return nil
		})
	})
	t.Run("descriptor", func(t *testing.T) {
		run(t, func(ctx context.Context) error {
			fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			a, err := stream.AdoptFD(ctx, fds[0])
			if err != nil {
				return err
			}
			b, err := stream.AdoptFD(ctx, fds[1])
			if err != nil {
				return err
			}
			write(ctx, t, a, "x")
			wantRead(ctx, t, b, "x")
			a.Close()
			if _, err := b.Read(ctx, make([]byte, 1)); err != io.EOF {
				t.Errorf("after Close: %v", err)
			}
			b.Close()
			if _, err := stream.AdoptFD(ctx, -1); !errors.Is(err, syscall.EBADF) {
				t.Errorf("no descriptor: %v", err)
			}
			return nil
		})
	})
}

// Input is read without making the description that others share non-blocking.
func TestStdin(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = old; r.Close() }()
	run(t, func(ctx context.Context) error {
		in, err := stream.Stdin(ctx)
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.WriteString(w, "one\ntwo\n")
			w.Close()
		}()
		var got []string
		for line, err := range in.Lines(ctx) {
			if err != nil {
				return err
			}
			got = append(got, line)
		}
		if strings.Join(got, " ") != "one two" {
			t.Errorf("lines %q", got)
		}
		return in.Close()
	})
	if _, err := r.Stat(); err != nil {
		t.Errorf("the standard input was closed: %v", err)
	}
}
