//go:build linux && !race

// The race detector has memory of its own.

package transport_test

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

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// A connection that has echoed 16 KB and rests costs at most 512 bytes: the transport,
// its protocol, and its places in the tables of the loop. It is measured in a process
// of its own.
func TestLargeIdleConnectionsCostLittle(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "TRANSPORT_TEST_CHILD=idle")
	out, err := cmd.CombinedOutput()
	must(t, err)
	per, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatalf("the child said %q", out)
	}
	t.Logf("%d bytes a connection", per)
	if per > 512 || per < 100 {
		t.Errorf("%d bytes a connection, want at most 512, and what can be believed", per)
	}
}

func init() {
	if os.Getenv("TRANSPORT_TEST_CHILD") == "idle" {
		if err := task.Run(context.Background(), idleConnections); err != nil {
			fmt.Println(err)
		}
		os.Exit(0)
	}
}

// idleConnections prints the bytes of a connection that rests. The clients are bare
// descriptors.
func idleConnections(ctx context.Context) error {
	n := 5000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	n = min(n, int(limit.Cur)/2-100)
	l := loop.FromContext(ctx)
	ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", newEcho, transport.ListenConfig{})
	if err != nil {
		return err
	}
	port := ln.Addr().(*net.TCPAddr).Port
	before := memory()
	done, p := future.New[struct{}](l)
	go func() {
		var err error
		for range n {
			if err = echoOnce(port); err != nil {
				break
			}
		}
		_ = l.CallSoonThreadsafe(func() {
			if err != nil {
				p.Fail(err)
			} else {
				p.Resolve(struct{}{})
			}
		})
	}()
	if _, err := done.Await(ctx); err != nil {
		return err
	}
	fmt.Println((memory() - before) / uint64(n))
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
