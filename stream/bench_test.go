package stream_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// pair returns the two ends of a connection over loopback.
func pair(ctx context.Context, t testing.TB) (a, b *stream.Conn) {
	t.Helper()
	ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a, err = stream.Dial(ctx, "tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(ctx); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// An echoMachine is an echo server for one connection, without a stack.
type echoMachine struct {
	c    *stream.Conn
	buf  [64]byte
	todo []byte
}

func (m *echoMachine) Step(ctx context.Context, thrown error) (future.Waiter, error) {
	if thrown != nil {
		return task.Done, thrown
	}
	for {
		for len(m.todo) > 0 {
			n, err := m.c.TryWrite(m.todo)
			m.todo = m.todo[n:]
			if err == stream.ErrWouldBlock {
				return m.c.Writable(), nil
			}
			if err != nil {
				return task.Done, err
			}
		}
		n, err := m.c.TryRead(m.buf[:])
		switch err {
		case nil:
			m.todo = m.buf[:n]
		case stream.ErrWouldBlock:
			return m.c.Readable(), nil
		case io.EOF:
			return task.Done, nil
		default:
			if errors.Is(err, net.ErrClosed) {
				err = nil
			}
			return task.Done, err
		}
	}
}

func (m *echoMachine) Result() struct{} { return struct{}{} }

// A round trip of 64 bytes over loopback between two tasks of one loop, or two
// goroutines on package net: both ends' work is counted.
func BenchmarkEcho(b *testing.B) {
	b.Run("stream", func(b *testing.B) {
		benchmarkEcho(b, func(ctx context.Context, c *stream.Conn) {
			task.Go(ctx, func(ctx context.Context) error {
				buf := make([]byte, 64)
				for {
					n, err := c.Read(ctx, buf)
					if err != nil {
						return nil
					}
					if _, err := c.Write(ctx, buf[:n]); err != nil {
						return err
					}
				}
			})
		})
	})
	b.Run("machine", func(b *testing.B) {
		benchmarkEcho(b, func(ctx context.Context, c *stream.Conn) {
			task.StartMachine[struct{}](ctx, &echoMachine{c: c})
		})
	})
	b.Run("net", func(b *testing.B) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer ln.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			buf := make([]byte, 64)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				if _, err := c.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, 64)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Write(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, buf); err != nil {
				b.Fatal(err)
			}
		}
		c.Close()
		<-done
	})
}

func benchmarkEcho(b *testing.B, serve func(ctx context.Context, c *stream.Conn)) {
	err := task.RunConfig(context.Background(), loop.Config{}, func(ctx context.Context) error {
		client, server := pair(ctx, b)
		defer server.Close()
		serve(ctx, server)
		buf := make([]byte, 64)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.Write(ctx, buf); err != nil {
				return err
			}
			for n := 0; n < len(buf); {
				k, err := client.Read(ctx, buf[n:])
				if err != nil {
					return err
				}
				n += k
			}
		}
		return client.Close()
	})
	if err != nil {
		b.Fatal(err)
	}
}
