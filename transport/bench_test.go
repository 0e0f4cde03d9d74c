//go:build unix

package transport_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

// A pinger sends what it gets back, n times.
type pinger struct {
	transport.Defaults
	t    *transport.Transport
	n    int
	got  int
	size int
	msg  []byte
	done func()
}

func (c *pinger) Connected(t *transport.Transport) {
	c.t = t
	_ = t.Write(c.msg)
}

func (c *pinger) Data(p []byte) {
	if c.got += len(p); c.got < len(c.msg) {
		return
	}
	c.got = 0
	if c.n--; c.n == 0 {
		c.t.Close()
		return
	}
	_ = c.t.Write(c.msg)
}

func (c *pinger) Lost(error) { c.done() }

// A round trip of 64 bytes over loopback between two protocols of one loop, or two
// goroutines on package net: both ends' work is counted.
func BenchmarkEcho(b *testing.B) {
	b.Run("protocol", func(b *testing.B) {
		err := task.RunConfig(context.Background(), loop.Config{}, func(ctx context.Context) error {
			l := loop.FromContext(ctx)
			ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", newEcho, transport.ListenConfig{})
			if err != nil {
				return err
			}
			defer ln.Close()
			b.ReportAllocs()
			b.ResetTimer()
			c := &pinger{n: b.N, msg: make([]byte, 64), done: func() { _ = ln.Close() }}
			if _, err := transport.Dial(l, "tcp", ln.Addr().String(), c, transport.DialConfig{}).Await(ctx); err != nil {
				return err
			}
			_, err = ln.Ended().Await(ctx)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
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
