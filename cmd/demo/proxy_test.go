package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// All bytes arrive, in their time: at the rate, but for a bucket that was full.
func TestProxyRate(t *testing.T) {
	for _, tt := range []struct {
		rate  int64
		bytes int
		want  time.Duration
	}{
		{0, 1 << 20, 0},
		{1000, 100, 0},
		{1000, 1100, time.Second},
		{1000, 60_100, time.Minute},
		{3, 31, 10 * time.Second},
		{1 << 20, 1<<20 + 1<<20/10, time.Second},
		{1 << 40, 1 << 20, 0},
	} {
		t.Run(fmt.Sprintf("%d at %d", tt.bytes, tt.rate), func(t *testing.T) {
			looptest.Run(t, func(ctx context.Context) error {
				p := &proxy{rate: tt.rate}
				l := loop.FromContext(ctx)
				began := l.Now()
				sent := bytes.Repeat([]byte("x"), tt.bytes)
				got, n, most, err := pumped(ctx, p, sent)
				if err != nil || !bytes.Equal(got, sent) || n != int64(tt.bytes) {
					t.Errorf("%d bytes arrived, %d counted, %v", len(got), n, err)
				}
				if full := max(tt.rate/10, 1); tt.rate > 0 && int64(most) > full {
					t.Errorf("%d bytes arrived at once, want %d at most", most, full)
				}
				// No more than a part in a thousand is lost by rounding.
				if took := l.Now().Sub(began); (took - tt.want).Abs() > tt.want/1000+time.Millisecond {
					t.Errorf("took %v, want %v", took, tt.want)
				}
				return nil
			})
		})
	}
}

// pumped sends bytes through a pump, and returns what arrives, how many bytes the pump
// has counted, and how many came at the same time at most.
func pumped(ctx context.Context, p *proxy, sent []byte) (got []byte, n int64, most int, err error) {
	l := loop.FromContext(ctx)
	in, from := stream.Pipe(l)
	to, out := stream.Pipe(l)
	err = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
		g.Go(func(ctx context.Context) error {
			if _, err := in.Write(ctx, sent); err != nil {
				return err
			}
			return in.CloseWrite()
		})
		g.Go(func(ctx context.Context) error { return p.pump(ctx, to, from, &n) })
		g.Go(func(ctx context.Context) error {
			buf := make([]byte, bufferSize)
			for at, before := l.Now(), 0; ; {
				k, err := out.Read(ctx, buf)
				if now := l.Now(); now.After(at) {
					at, before = now, len(got)
				}
				got = append(got, buf[:k]...)
				most = max(most, len(got)-before)
				if err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
			}
		})
		return nil
	})
	return got, n, most, err
}

// A bucket that had time to fill lets no more through at once than it holds.
func TestBucketHoldsATenthOfASecond(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		b := newBucket(l, 1000)
		for range 3 {
			began := l.Now()
			if err := b.take(ctx, 600); err != nil {
				return err
			}
			if took := l.Now().Sub(began); took != 500*time.Millisecond {
				t.Errorf("600 tokens of 1000 a second took %v, want 500ms", took)
			}
			if err := task.Sleep(ctx, time.Hour); err != nil {
				return err
			}
		}
		return nil
	})
}

// While the receiver takes nothing, the proxy holds one buffer, and waits.
func TestProxyIsBounded(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		in, from := stream.Pipe(l)
		to, out := stream.Pipe(l)
		var n int64
		pump := task.Go(ctx, func(ctx context.Context) error { return new(proxy).pump(ctx, to, from, &n) })
		const all = 1 << 20
		sent := 0
		for idle := 0; sent < all && idle < 3; {
			k, err := in.TryWrite(make([]byte, min(1<<10, all-sent)))
			sent += k
			if idle++; k > 0 {
				idle = 0
			}
			if err != nil && err != stream.ErrWouldBlock {
				return err
			}
			if err := looptest.WaitIdle(ctx); err != nil {
				return err
			}
		}
		if pipes := 2 * 64 << 10; sent > pipes+bufferSize || sent < pipes {
			t.Errorf("%d bytes went in and none came out; pipes hold %d, the proxy %d", sent, pipes, bufferSize)
		}
		_ = out.Close()
		if _, err := pump.Await(ctx); err == nil {
			t.Error("the receiver is gone, and the pump has no error")
		}
		return nil
	})
}

// serveProxy starts a proxy to a server of package net, which handles one connection.
func serveProxy(t *testing.T, handle func(c *net.TCPConn)) (client *net.TCPConn, out *output) {
	t.Helper()
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	go func() {
		c, err := target.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		handle(c.(*net.TCPConn))
	}()
	addr, out := startProxy(t, target.Addr().String())
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn), out
}

func startProxy(t *testing.T, to string) (addr string, out *output) {
	t.Helper()
	addr, out, _ = start(t, func(ctx context.Context, out io.Writer) error {
		return task.Run(ctx, func(ctx context.Context) error {
			ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			defer ln.Close()
			fmt.Fprintln(out, "listening on", ln.Addr())
			p := &proxy{to: to, out: out}
			return ln.Serve(ctx, p.handle)
		})
	})
	return addr, out
}

// Each side may end its own direction first, and get an answer all the same.
func TestProxyHalfClose(t *testing.T) {
	t.Run("client first", func(t *testing.T) {
		c, out := serveProxy(t, func(c *net.TCPConn) {
			all, _ := io.ReadAll(c)
			fmt.Fprintf(c, "got %s", all)
		})
		_, _ = io.WriteString(c, "question")
		_ = c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "got question" || err != nil {
			t.Errorf("answer %q, %v", got, err)
		}
		if line := out.line(t, "back in"); !strings.Contains(line, ": 8 B there, 12 B back in ") || !strings.HasSuffix(line, "; ended") {
			t.Error(line)
		}
	})
	t.Run("server first", func(t *testing.T) {
		heard := make(chan string, 1)
		c, out := serveProxy(t, func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "bye")
			_ = c.CloseWrite()
			all, _ := io.ReadAll(c)
			heard <- string(all)
		})
		if got, err := io.ReadAll(c); string(got) != "bye" || err != nil {
			t.Errorf("the server said %q, %v", got, err)
		}
		_, _ = io.WriteString(c, "and more")
		_ = c.CloseWrite()
		if got := <-heard; got != "and more" {
			t.Errorf("the server heard %q", got)
		}
		if line := out.line(t, "back in"); !strings.Contains(line, ": 8 B there, 3 B back in ") {
			t.Error(line)
		}
	})
}

// A reset stays a reset: who is behind the proxy must not take it for an end.
func TestProxyReset(t *testing.T) {
	const half = "half of it"
	reset := func(c *net.TCPConn) {
		_, _ = io.WriteString(c, half)
		_, _ = io.ReadFull(c, make([]byte, 1)) // the other side has got it
		_ = c.SetLinger(0)
		_ = c.Close()
	}
	hear := func(c *net.TCPConn) error {
		_, err := io.ReadFull(c, make([]byte, len(half)))
		if err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(c, "!")
		_, err = io.ReadAll(c)
		return err
	}
	t.Run("server", func(t *testing.T) {
		c, out := serveProxy(t, reset)
		if err := hear(c); err == nil {
			t.Error("the client took a reset for the end")
		}
		if line := out.line(t, "back in"); strings.HasSuffix(line, "; ended") {
			t.Error(line)
		}
	})
	t.Run("client", func(t *testing.T) {
		heard := make(chan error, 1)
		c, _ := serveProxy(t, func(c *net.TCPConn) { heard <- hear(c) })
		reset(c)
		if err := <-heard; err == nil {
			t.Error("the server took a reset for the end")
		}
	})
}

func TestProxyNobodyThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	addr, out := startProxy(t, ln.Addr().String())
	c, err := net.Dial("tcp", addr)
	if err == nil { // or it was reset even before
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if got, err := io.ReadAll(c); err == nil {
			t.Errorf("the client read %q to the end", got)
		}
	}
	if line := out.line(t, "back in"); !strings.Contains(line, ": 0 B there, 0 B back in ") || !strings.Contains(line, "refused") {
		t.Error(line)
	}
}
