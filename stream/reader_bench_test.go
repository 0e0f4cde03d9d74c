//go:build unix

package stream_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// benchPair returns a connection to read from or write to, and its other end, which a
// goroutine works on.
func benchPair(b *testing.B, peer func(c net.Conn)) (c net.Conn, done <-chan struct{}) {
	x, y, err := netPair()
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer y.Close()
		peer(y)
	}()
	return x, ended
}

// sendLines sends until the other end is closed.
func sendLines(c net.Conn) {
	chunk := []byte(strings.Repeat(strings.Repeat("x", 63)+"\n", 1024))
	for {
		if _, err := c.Write(chunk); err != nil {
			return
		}
	}
}

// onLoop runs fn with c as a Conn.
func onLoop(b *testing.B, c net.Conn, fn func(ctx context.Context, c *stream.Conn) error) {
	err := task.RunConfig(context.Background(), loop.Config{}, func(ctx context.Context) error {
		sc, err := stream.Adopt(ctx, c)
		if err != nil {
			return err
		}
		defer sc.Close()
		b.ReportAllocs()
		return fn(ctx, sc)
	})
	if err != nil {
		b.Fatal(err)
	}
}

// Lines of 64 bytes from a peer that sends all it can.
func BenchmarkReadLine(b *testing.B) {
	b.Run("Reader", func(b *testing.B) {
		c, done := benchPair(b, sendLines)
		onLoop(b, c, func(ctx context.Context, c *stream.Conn) error {
			r := stream.NewReader(c, 0)
			for b.Loop() {
				if _, err := r.ReadLine(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		<-done
	})
	b.Run("Conn", func(b *testing.B) {
		c, done := benchPair(b, sendLines)
		onLoop(b, c, func(ctx context.Context, c *stream.Conn) error {
			for b.Loop() {
				if _, err := c.ReadLine(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		<-done
	})
	b.Run("bufio on net.Conn", func(b *testing.B) {
		c, done := benchPair(b, sendLines)
		r := bufio.NewReader(c)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.ReadString('\n'); err != nil {
				b.Fatal(err)
			}
		}
		c.Close()
		<-done
	})
}

func drop(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// Writes of 64 bytes to a peer that reads all it can; each is handed to the system, or
// to a buffer that is handed to it when it is full.
func BenchmarkSmallWrites(b *testing.B) {
	p := make([]byte, 64)
	b.Run("Writer", func(b *testing.B) {
		c, done := benchPair(b, drop)
		onLoop(b, c, func(ctx context.Context, c *stream.Conn) error {
			w := c.Writer()
			for b.Loop() {
				if _, err := w.Write(p); err != nil {
					return err
				}
				if err := w.Drain(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		<-done
	})
	b.Run("Writer, 16 by Writev", func(b *testing.B) {
		c, done := benchPair(b, drop)
		pieces := make([][]byte, 16)
		for i := range pieces {
			pieces[i] = p
		}
		onLoop(b, c, func(ctx context.Context, c *stream.Conn) error {
			w := c.Writer()
			for b.Loop() {
				if _, err := w.Writev(pieces...); err != nil {
					return err
				}
				if err := w.Drain(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		<-done
	})
	b.Run("bufio on net.Conn, flushed", func(b *testing.B) {
		c, done := benchPair(b, drop)
		w := bufio.NewWriter(c)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.Write(p); err != nil {
				b.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				b.Fatal(err)
			}
		}
		c.Close()
		<-done
	})
	b.Run("bufio on net.Conn, 4 KB at a time", func(b *testing.B) {
		c, done := benchPair(b, drop)
		w := bufio.NewWriter(c)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.Write(p); err != nil {
				b.Fatal(err)
			}
		}
		c.Close()
		<-done
	})
}
