//go:build unix

package transport_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

// A pinger sends what it gets back, n times.
type pinger struct {
	transport.Defaults
	t     *transport.Transport
	n     int
	got   int
	msg   []byte
	start func()
	done  func()
}

func (c *pinger) Connected(t *transport.Transport) {
	c.t = t
	c.start()
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
	b.Run("protocol", func(b *testing.B) { benchmarkProtocol(b, nil, nil) })
	b.Run("net", func(b *testing.B) { benchmarkNet(b, nil, nil) })
}

// The same with TLS.
func BenchmarkEchoTLS(b *testing.B) {
	server, client := certificate()
	b.Run("protocol", func(b *testing.B) { benchmarkProtocol(b, server, client) })
	b.Run("net", func(b *testing.B) { benchmarkNet(b, server, client) })
}

func benchmarkProtocol(b *testing.B, server, client *tls.Config) {
	err := task.Run(context.Background(), func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", newEcho, transport.ListenConfig{Config: transport.Config{TLS: server}})
		if err != nil {
			return err
		}
		b.ReportAllocs()
		c := &pinger{n: b.N, msg: make([]byte, 64), start: b.ResetTimer, done: func() { _ = ln.Close() }}
		cfg := transport.DialConfig{Config: transport.Config{TLS: client}}
		if _, err := transport.Dial(l, "tcp", ln.Addr().String(), c, cfg).Await(ctx); err != nil {
			return err
		}
		_, err = ln.Ended().Await(ctx)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

func benchmarkNet(b *testing.B, server, client *tls.Config) {
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
		if server != nil {
			c = tls.Server(c, server)
		}
		echoNet(c)
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	if client != nil {
		client = client.Clone()
		client.ServerName = "eddy.test"
		c = tls.Client(c, client)
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
}

func echoNet(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 16<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// A connection that is made, says a word, and is lost.
func BenchmarkConnect(b *testing.B) {
	err := task.Run(context.Background(), func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", newEcho, transport.ListenConfig{})
		if err != nil {
			return err
		}
		b.ReportAllocs()
		for b.Loop() {
			c := &pinger{n: 1, msg: make([]byte, 64), start: func() {}, done: func() {}}
			if _, err := transport.Dial(l, "tcp", ln.Addr().String(), c, transport.DialConfig{}).Await(ctx); err != nil {
				return err
			}
			for ln.Stats().Open > 0 || c.n > 0 {
				if err := task.Yield(ctx); err != nil {
					return err
				}
			}
		}
		return ln.Close()
	})
	if err != nil {
		b.Fatal(err)
	}
}

// Eight pieces, in one call or joined before.
func BenchmarkPieces(b *testing.B) {
	pieces := make([][]byte, 8)
	for i := range pieces {
		pieces[i] = make([]byte, 100)
	}
	for _, tt := range []struct {
		name  string
		write func(tr *transport.Transport) error
	}{
		{"WriteAll", func(tr *transport.Transport) error { return tr.WriteAll(pieces) }},
		{"Write each", func(tr *transport.Transport) error {
			for _, p := range pieces {
				if err := tr.Write(p); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			err := task.Run(context.Background(), func(ctx context.Context) error {
				tr, p := pair(b, loop.FromContext(ctx), new(echo), transport.Config{})
				defer p.close()
				buf := make([]byte, 64<<10)
				b.ReportAllocs()
				for b.Loop() {
					if err := tt.write(tr); err != nil {
						return err
					}
					if n, err := syscall.Read(p.fd, buf); n != 800 {
						return err
					}
				}
				tr.Abort()
				return task.Yield(ctx)
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}
