//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// What is sent comes back whole, to clients of package net, also when they end
// their side before they have read anything.
func TestEcho(t *testing.T) {
	for _, style := range slices.Sorted(maps.Keys(echoStyles)) {
		for _, loops := range []int{1, 3} {
			for _, secure := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/tls=%v", style, loops, secure), func(t *testing.T) {
					testEcho(t, &echo{addr: "127.0.0.1:0", loops: loops, serve: echoStyles[style]}, secure)
				})
			}
		}
	}
}

func testEcho(t *testing.T, e *echo, secure bool) {
	dial := func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }
	if secure {
		cert, err := selfSigned()
		if err != nil {
			t.Fatal(err)
		}
		e.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
		dial = func(addr string) (net.Conn, error) {
			return tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		}
	}
	addr, _, _ := start(t, func(ctx context.Context, out io.Writer) error {
		e.out = out
		return e.run(ctx)
	})
	var clients sync.WaitGroup
	for i, size := range []int{1, 100, bufferSize, 1 << 20} {
		clients.Go(func() {
			c, err := dial(addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if err := echoed(c, size, byte(i)); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
		})
	}
	clients.Wait()
}

// echoed sends bytes, ends its side, and compares what comes back, up to the end.
func echoed(c net.Conn, size int, seed byte) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	sent := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(sent)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		if err == nil {
			err = c.(interface{ CloseWrite() error }).CloseWrite()
		}
		failed <- err
	}()
	got, err := io.ReadAll(c)
	if werr := <-failed; werr != nil {
		return werr
	}
	if err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("%d bytes came back, not what was sent", len(got))
	}
	return err
}

// A message gets its answer while the connection goes on, many times.
func TestEchoPingPong(t *testing.T) {
	for _, style := range slices.Sorted(maps.Keys(echoStyles)) {
		t.Run(style, func(t *testing.T) {
			e := &echo{addr: "127.0.0.1:0", loops: 1, serve: echoStyles[style]}
			addr, _, _ := start(t, func(ctx context.Context, out io.Writer) error {
				e.out = out
				return e.run(ctx)
			})
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			got := make([]byte, 64)
			for i := range 200 {
				msg := fmt.Sprintf("message %d", i)
				if _, err := io.WriteString(c, msg); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c, got[:len(msg)]); err != nil || string(got[:len(msg)]) != msg {
					t.Fatalf("got %q, %v, want %q", got[:len(msg)], err, msg)
				}
			}
		})
	}
}

// A client that writes and does not read has to wait, for the server's memory is
// bounded; when it reads at last, all is there. Two at a time, because some styles
// share a buffer between connections.
func TestEchoSlowReaders(t *testing.T) {
	for _, style := range slices.Sorted(maps.Keys(echoStyles)) {
		t.Run(style, func(t *testing.T) {
			e := &echo{addr: "127.0.0.1:0", loops: 1, serve: echoStyles[style]}
			addr, _, _ := start(t, func(ctx context.Context, out io.Writer) error {
				e.out = out
				return e.run(ctx)
			})
			var clients sync.WaitGroup
			for i := range 2 {
				clients.Go(func() {
					if err := stalled(addr, byte(i)); err != nil {
						t.Error(err)
					}
				})
			}
			clients.Wait()
		})
	}
}

// stalled writes until there is no room anywhere, and reads then.
func stalled(addr string, seed byte) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := conn.(*net.TCPConn)
	_ = c.SetReadBuffer(64 << 10)
	_ = c.SetWriteBuffer(64 << 10)
	block := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(block)
	const most = 64 << 20 // much more than the system has room for
	sent := 0
	for sent < most && err == nil {
		_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		var n int
		n, err = c.Write(block)
		sent += n
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("after %d bytes that nobody reads: %v, want a wait without an end", sent, err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := c.CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(c)
	if err != nil || len(got) != sent {
		return fmt.Errorf("%d bytes came back of %d: %v", len(got), sent, err)
	}
	for rest := got; len(rest) > 0; rest = rest[min(len(rest), len(block)):] {
		if n := min(len(rest), len(block)); !bytes.Equal(rest[:n], block[:n]) {
			return errors.New("what came back is not what was sent")
		}
	}
	return nil
}
