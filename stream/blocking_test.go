//go:build unix

package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// blockingPair returns a connection on the loop and a blocking view of its peer.
func blockingPair(ctx context.Context, t *testing.T) (*stream.Conn, net.Conn) {
	t.Helper()
	a, b := stream.Pipe(loop.FromContext(ctx))
	return a, b.Blocking()
}

// off runs fn on another goroutine, while the loop goes on.
func off[T any](ctx context.Context, fn func() T) T {
	ch := make(chan T, 1)
	go func() { ch <- fn() }()
	v, _, _ := task.Recv(ctx, ch)
	return v
}

func TestBlockingHTTP(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = io.WriteString(w, strings.ToUpper(string(body)))
		})}
		view := ln.Blocking()
		served := make(chan error, 1)
		go func() { served <- srv.Serve(view) }()
		l := loop.FromContext(ctx)
		client := &http.Client{Transport: &http.Transport{DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
			c, err := task.CallThreadsafe(context.Background(), l, func(ctx context.Context) (net.Conn, error) {
				c, err := stream.Dial(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return c.Blocking(), nil
			})
			return c, err
		}}}
		err := off(ctx, func() error {
			defer client.CloseIdleConnections()
			for range 20 {
				resp, err := client.Post("http://"+ln.Addr().String(), "text/plain", strings.NewReader("hello"))
				if err != nil {
					return err
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(got) != "HELLO" || err != nil {
					t.Errorf("answer %q, %v", got, err)
				}
			}
			return srv.Close()
		})
		if got := off(ctx, func() error { return <-served }); !errors.Is(got, http.ErrServerClosed) {
			t.Errorf("Serve: %v", got)
		}
		return err
	})
}

func TestBlockingDeadlines(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := blockingPair(ctx, t)
		defer a.Close()
		p := make([]byte, 8)
		read := func() error { _, err := b.Read(p); return err }

		_ = b.SetReadDeadline(time.Now().Add(-time.Second))
		if err := off(ctx, read); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after a deadline in the past: %v", err)
		}
		_ = b.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if err := off(ctx, read); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("at a deadline: %v", err)
		}
		_ = b.SetReadDeadline(time.Time{})
		_ = task.Go(ctx, func(ctx context.Context) error {
			_ = task.Sleep(ctx, time.Millisecond)
			return b.SetReadDeadline(time.Now()) // while it waits
		})
		if err := off(ctx, read); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a deadline set meanwhile: %v", err)
		}
		_ = b.SetReadDeadline(time.Now().Add(time.Hour))
		write(ctx, t, a, "hi")
		if err := off(ctx, read); err != nil || string(p[:2]) != "hi" {
			t.Errorf("before a deadline: %q, %v", p[:2], err)
		}
		return b.Close()
	})
}

func TestBlockingMisuse(t *testing.T) {
	runConfig(t, loop.Config{Debug: true}, func(ctx context.Context) error {
		a, b := blockingPair(ctx, t)
		defer a.Close()
		if loop.FromContext(ctx).Debug() {
			if _, err := b.Read(make([]byte, 1)); !errors.Is(err, stream.ErrOnLoop) {
				t.Errorf("read on the loop: %v", err)
			}
		}
		// A goroutine waits, so a task may not; closing ends it.
		done := make(chan error, 1)
		go func() { _, err := b.Read(make([]byte, 1)); done <- err }()
		view := b
		_ = task.Sleep(ctx, 5*time.Millisecond)
		_ = view.Close()
		if err, _, _ := task.Recv(ctx, done); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read of a closed one: %v", err)
		}
		return nil
	})
}

func TestBlockingEndOfLoop(t *testing.T) {
	done := make(chan error, 2)
	run(t, func(ctx context.Context) error {
		_, b := blockingPair(ctx, t)
		view := listen(ctx, t).Blocking()
		go func() { _, err := b.Read(make([]byte, 1)); done <- err }()
		go func() { _, err := view.Accept(); done <- err }()
		return task.Sleep(ctx, 5*time.Millisecond)
	})
	for range 2 {
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the loop: %v, want net.ErrClosed", err)
		}
	}
}

func TestBlockingManyGoroutines(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln := listen(ctx, t)
		defer ln.Close()
		srv := task.Go(ctx, func(ctx context.Context) error { return ln.Serve(ctx, echo) })
		c, err := stream.Dial(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		b := c.Blocking()
		const n, size = 8, 64 << 10
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				if _, err := b.Write(make([]byte, size)); err != nil {
					t.Error(err)
				}
			})
		}
		total := off(ctx, func() int {
			got, p := 0, make([]byte, 4096)
			for got < n*size {
				k, err := b.Read(p)
				if err != nil {
					t.Error(err)
					break
				}
				got += k
			}
			wg.Wait()
			return got
		})
		if total != n*size {
			t.Errorf("%d bytes came back, want %d", total, n*size)
		}
		_ = off(ctx, b.Close)
		ln.Abort()
		_, err = srv.Await(ctx)
		return err
	})
}
