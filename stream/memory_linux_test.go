//go:build !race

// The race detector has memory of its own.

package stream_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

func heapAndStacks() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// What a connection costs that has echoed 16 KB and is idle, heap and stacks, with
// its places in the tables of the loop. It is measured in a process of its own.
func TestLargeIdleConnectionsCostLittle(t *testing.T) {
	for style, most := range map[string]int{"when-ready": 512, "task": 3584} {
		t.Run(style, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^$")
			cmd.Env = append(os.Environ(), "STREAM_TEST_CHILD=idle-"+style)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			per, err := strconv.Atoi(strings.TrimSpace(string(out)))
			if err != nil {
				t.Fatalf("the child said %q", out)
			}
			t.Logf("%d bytes a connection", per)
			if per > most || per < 100 {
				t.Errorf("%d bytes a connection, want at most %d, and what can be believed", per, most)
			}
		})
	}
}

func init() {
	if style, ok := strings.CutPrefix(os.Getenv("STREAM_TEST_CHILD"), "idle-"); ok {
		if err := task.Run(context.Background(), func(ctx context.Context) error { return idle(ctx, style) }); err != nil {
			fmt.Println(err)
		}
		os.Exit(0)
	}
}

// idle holds connections that are idle, and prints what each costs.
func idle(ctx context.Context, style string) error {
	n := 5000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	n = min(n, int(limit.Cur)/2-100)
	ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var free [][]byte
	some := func(ctx context.Context, c *stream.Conn) error { // of what is there
		buf := make([]byte, 0)
		if k := len(free); k > 0 {
			buf, free = free[k-1], free[:k-1]
		} else {
			buf = make([]byte, 16<<10)
		}
		defer func() { free = append(free, buf) }()
		n, err := c.TryRead(buf)
		if err == nil {
			_, err = c.Write(ctx, buf[:n])
		}
		if err == stream.ErrWouldBlock {
			return nil
		}
		return err
	}
	cfg, handler := stream.ServeConfig{WhenReady: true}, some
	if style == "task" {
		cfg.WhenReady = false
		handler = func(ctx context.Context, c *stream.Conn) error {
			for {
				if err := c.WaitReadable(ctx); err != nil {
					return err
				}
				if err := some(ctx, c); err != nil {
					return err
				}
			}
		}
	}
	srv := serve(ctx, ln, cfg, handler)
	port := ln.Addr().(*net.TCPAddr).Port
	before := heapAndStacks()
	done := make(chan error, 1)
	go func() {
		for range n {
			if err := echoOnce(port); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	err, _, _ = task.Recv(ctx, done)
	if err != nil {
		return err
	}
	fmt.Println((heapAndStacks() - before) / uint64(n))
	srv.Cancel(nil)
	return nil
}

// echoOnce connects, has 16 KB echoed, and leaves the connection open.
func echoOnce(port int) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	p := make([]byte, 16<<10)
	if _, err := syscall.Write(fd, p); err != nil {
		return err
	}
	for got := 0; got < len(p); {
		k, err := syscall.Read(fd, p)
		if err != nil || k == 0 {
			return fmt.Errorf("read of %d: %w", k, err)
		}
		got += k
	}
	return nil
}
