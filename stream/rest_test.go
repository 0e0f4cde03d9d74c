//go:build unix

package stream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// soon runs fn for some seconds at most.
func soon(ctx context.Context, t *testing.T, what string, fn func(ctx context.Context) error) {
	t.Helper()
	err := task.Timeout(ctx, 5*time.Second, func(ctx context.Context, _ *task.TimeoutScope) error { return fn(ctx) })
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// until waits for ok.
func until(ctx context.Context, t *testing.T, ok func() bool) {
	t.Helper()
	soon(ctx, t, "until", func(ctx context.Context) error {
		for !ok() {
			if err := task.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	})
}

// A halvesConn sends each write in two parts, with a pause between.
type halvesConn struct{ net.Conn }

func (c halvesConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p[:len(p)/2])
	if err != nil {
		return n, err
	}
	time.Sleep(10 * time.Millisecond)
	k, err := c.Conn.Write(p[len(p)/2:])
	return n + k, err
}

// Half a TLS record wakes a resting connection in vain.
func TestRestGoesOnAfterHalfARecord(t *testing.T) {
	server, client := testkit.Certificate(t)
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		cfg := stream.ServeConfig{WhenReady: true, IdleTimeout: time.Minute, TLS: &stream.TLS{Config: server}}
		srv := serve(ctx, ln, cfg, func(ctx context.Context, c *stream.Conn) error {
			line, err := c.ReadLine(ctx)
			if err == nil {
				_, err = c.Write(ctx, []byte(line+"!"))
			}
			return err
		})
		if err := off(ctx, func() error {
			raw, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				return err
			}
			defer raw.Close()
			_ = raw.SetDeadline(time.Now().Add(5 * time.Second))
			c := tls.Client(halvesConn{raw}, client)
			buf := make([]byte, 2)
			for range 2 {
				if _, err = io.WriteString(c, "a\n"); err == nil {
					_, err = io.ReadFull(c, buf)
				}
			}
			return err
		}); err != nil {
			t.Error(err)
		}
		ln.Abort()
		_, err := srv.Await(ctx)
		return err
	})
}

// A connection that ends while it rests leaves no timer behind.
func TestRestLeavesNoTimer(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		srv := serve(ctx, ln, stream.ServeConfig{WhenReady: true, IdleTimeout: time.Hour}, echo)
		before := loop.FromContext(ctx).Stats().Pending
		c := dial(ctx, t, ln)
		until(ctx, t, func() bool { return ln.Stats().Serving == 1 })
		c.Close()
		until(ctx, t, func() bool { return ln.Stats().Serving == 0 })
		if after := loop.FromContext(ctx).Stats().Pending; after != before {
			t.Errorf("%d timers, %d before", after, before)
		}
		ln.Abort()
		_, err := srv.Await(ctx)
		return err
	})
}

// A handler that runs when there is a message is at work on it: Shutdown lets it
// read the rest.
func TestShutdownLetsAMessageBeRead(t *testing.T) {
	for _, idle := range []time.Duration{0, time.Minute} {
		run(t, func(ctx context.Context) error {
			ln := listen(ctx, t)
			begun := false
			srv := serve(ctx, ln, stream.ServeConfig{WhenReady: true, IdleTimeout: idle}, func(ctx context.Context, c *stream.Conn) error {
				begun = true
				line, err := c.ReadLine(ctx)
				if err == nil {
					_, err = c.Write(ctx, []byte(line+"!"))
				}
				return err
			})
			c := dial(ctx, t, ln)
			defer c.Close()
			write(ctx, t, c, "a")
			for !begun {
				_ = task.Sleep(ctx, time.Millisecond)
			}
			testkit.Yield(ctx, 5)
			end := task.Go(ctx, ln.Shutdown)
			testkit.Yield(ctx, 5)
			_, _ = c.Write(ctx, []byte("b\n"))
			if got, err := readAll(ctx, c); string(got) != "ab!" || err != nil {
				t.Errorf("idle %v: read %q, %v", idle, got, err)
			}
			if _, err := end.Await(ctx); err != nil {
				t.Error(err)
			}
			_, err := srv.Await(ctx)
			return err
		})
	}
}

// A connection that rests, or comes to, is closed after its Writer has sent all.
func TestRestLingers(t *testing.T) {
	reply := bytes.Repeat([]byte("reply"), 2<<20)
	for _, tt := range []struct {
		name string
		act  func(ctx context.Context, ln *stream.Listener, c *stream.Conn)
	}{
		{"Shutdown", func(ctx context.Context, ln *stream.Listener, _ *stream.Conn) { task.Go(ctx, ln.Shutdown) }},
		{"CloseClients", func(_ context.Context, ln *stream.Listener, _ *stream.Conn) { ln.CloseClients() }},
		{"the end of requests", func(_ context.Context, _ *stream.Listener, c *stream.Conn) { _ = c.CloseWrite() }},
		{"more requests", func(ctx context.Context, ln *stream.Listener, c *stream.Conn) {
			ln.CloseClients()
			_, _ = c.TryWrite([]byte("again"))
		}},
	} {
		for _, atWork := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				run(t, func(ctx context.Context) error {
					ln := listen(ctx, t)
					calls, goOn := 0, false
					cfg := stream.ServeConfig{WhenReady: true, IdleTimeout: time.Hour}
					srv := serve(ctx, ln, cfg, func(ctx context.Context, c *stream.Conn) error {
						calls++
						_, _ = c.TryRead(make([]byte, 10))
						_, err := c.Writer().Write(reply)
						for err == nil && atWork && !goOn {
							err = task.Sleep(ctx, time.Millisecond)
						}
						return err
					})
					c := dial(ctx, t, ln)
					defer c.Close()
					write(ctx, t, c, "?")
					if _, err := stream.NewReader(c, 0).Peek(ctx, 1); err != nil {
						return err
					}
					testkit.Yield(ctx, 10)
					tt.act(ctx, ln, c)
					testkit.Yield(ctx, 10)
					_ = task.Sleep(ctx, 5*time.Millisecond)
					goOn = true
					got, err := stream.NewReader(c, 0).ReadAll(ctx)
					if err != nil && tt.name == "more requests" { // unread ones are answered by a reset
						err = nil
						got = reply
					}
					if err != nil || !bytes.Equal(got, reply) {
						t.Errorf("at work %v: read %d bytes, %v; want %d", atWork, len(got), err, len(reply))
					}
					if calls != 1 {
						t.Errorf("%d calls of the handler", calls)
					}
					ln.Close()
					soon(ctx, t, "Serve", func(ctx context.Context) error { _, err := srv.Await(ctx); return err })
					return nil
				})
			})
		}
	}
}

// A handler that leaves another task reading has no rest: that would not wait.
func TestRestWhileAnotherReads(t *testing.T) {
	var reports []string
	quiet := loop.Config{OnError: func(e *loop.CallError) { reports = append(reports, e.Err.Error()) }}
	runConfig(t, quiet, func(ctx context.Context) error {
		ln := listen(ctx, t)
		cfg := stream.ServeConfig{WhenReady: true, IdleTimeout: time.Hour}
		srv := serve(ctx, ln, cfg, func(ctx context.Context, c *stream.Conn) error {
			_, err := c.TryRead(make([]byte, 10))
			task.Go(ctx, func(ctx context.Context) error { _, _ = c.Read(ctx, make([]byte, 10)); return nil })
			_ = task.Yield(ctx)
			return err
		})
		c := dial(ctx, t, ln)
		defer c.Close()
		write(ctx, t, c, "?")
		soon(ctx, t, "end", func(ctx context.Context) error { _, err := readAll(ctx, c); return err })
		ln.Abort()
		_, err := srv.Await(ctx)
		return err
	})
	if len(reports) != 1 || !strings.Contains(reports[0], stream.ErrBusy.Error()) {
		t.Errorf("%d reports, the first: %.200q", len(reports), reports[:min(1, len(reports))])
	}
}

// Shutdown and Serve wait until TLS has sent its last record.
func TestServeLingersForTLS(t *testing.T) {
	server, client := testkit.Certificate(t)
	type result struct {
		n   int
		err error
	}
	read, begin := make(chan result, 1), make(chan struct{})
	sent := 0
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		srv := serve(ctx, ln, stream.ServeConfig{TLS: &stream.TLS{Config: server}}, func(_ context.Context, c *stream.Conn) error {
			for {
				n, err := c.TryWrite(make([]byte, 1<<20))
				sent += n
				if err == stream.ErrWouldBlock {
					return nil
				}
				if err != nil {
					return err
				}
			}
		})
		go func() {
			raw, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				read <- result{0, err}
				return
			}
			c := tls.Client(raw, client)
			_ = c.Handshake()
			<-begin
			_ = raw.SetDeadline(time.Now().Add(5 * time.Second))
			n, err := io.Copy(io.Discard, c)
			raw.Close()
			read <- result{int(n), err}
		}()
		until(ctx, t, func() bool { return sent > 0 })
		_ = task.Sleep(ctx, 5*time.Millisecond)
		end := task.Go(ctx, ln.Shutdown)
		testkit.Yield(ctx, 10)
		if end.Done() {
			t.Error("Shutdown does not wait")
		}
		close(begin)
		soon(ctx, t, "Shutdown", func(ctx context.Context) error { _, err := end.Await(ctx); return err })
		if got, _, _ := task.Recv(ctx, read); got.n != sent || got.err != nil {
			t.Errorf("the client reads %d bytes of %d, %v", got.n, sent, got.err)
		}
		_, err := srv.Await(ctx)
		return err
	})
}
