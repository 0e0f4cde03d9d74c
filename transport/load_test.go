//go:build linux

package transport_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

// An echo server on one core under load of another process: 100 connections of 64
// bytes, 1000 of 1 KB. CPU is the server's. Run it with -cpu 1; the spread of one run is
// large, so compare several.
func BenchmarkLoad(b *testing.B) {
	for _, load := range []struct{ conns, size int }{{100, 64}, {1000, 1024}} {
		name := fmt.Sprintf("%dx%d", load.conns, load.size)
		b.Run(name+"/protocol", func(b *testing.B) {
			err := task.Run(context.Background(), func(ctx context.Context) error {
				l := loop.FromContext(ctx)
				ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", newEcho, transport.ListenConfig{})
				if err != nil {
					return err
				}
				go func() {
					underLoad(b, ln.Addr().String(), load.conns, load.size)
					_ = l.CallSoonThreadsafe(ln.Abort)
				}()
				_, err = ln.Ended().Await(ctx)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		})
		b.Run(name+"/net", func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					go echoNet(c)
				}
			}()
			underLoad(b, ln.Addr().String(), load.conns, load.size)
		})
	}
}

// underLoad lets a child make b.N requests, and measures.
func underLoad(b *testing.B, addr string, conns, size int) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", fmt.Sprintf("TRANSPORT_TEST_LOAD=%s %d %d %d", addr, conns, size, b.N))
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Error(err)
		return
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Error(err)
		return
	}
	if err := cmd.Start(); err != nil {
		b.Error(err)
		return
	}
	r := bufio.NewReader(out)
	_, _ = r.ReadString('\n') // it is connected
	before := cpuTime()
	b.ResetTimer()
	_, _ = io.WriteString(in, "\n")
	if s, err := r.ReadString('\n'); s != "done\n" {
		b.Errorf("the child said %q, %v", s, err)
	}
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	if err := cmd.Wait(); err != nil {
		b.Error(err)
	}
}

// cpuTime returns the processor time of this process, in ns.
func cpuTime() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

func init() {
	if s := os.Getenv("TRANSPORT_TEST_LOAD"); s != "" {
		if err := makeLoad(strings.Fields(s)); err != nil {
			fmt.Println(err)
		}
		os.Exit(0)
	}
}

// makeLoad has one request under way on each connection. It blocks in none but the
// oldest, and takes two system calls a request: less than any server.
func makeLoad(args []string) error {
	var k [3]int
	for i := range k {
		var err error
		if k[i], err = strconv.Atoi(args[i+1]); err != nil {
			return err
		}
	}
	conns, size, n := k[0], k[1], k[2]
	tcp, err := net.ResolveTCPAddr("tcp", args[0])
	if err != nil {
		return err
	}
	fds := make([]int, conns)
	for i := range fds {
		if fds[i], err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0); err != nil {
			return err
		}
		if err := syscall.Connect(fds[i], &syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}); err != nil {
			return err
		}
	}
	fmt.Println("connected")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	p := make([]byte, size)
	for sent, got := 0, 0; got < n; {
		if sent < n && sent-got < conns {
			if _, err := syscall.Write(fds[sent%conns], p); err != nil {
				return err
			}
			sent++
			continue
		}
		for have := 0; have < size; {
			k, err := syscall.Read(fds[got%conns], p[have:])
			if err == syscall.EINTR {
				continue
			}
			if err != nil || k == 0 {
				return fmt.Errorf("read of %d: %w", k, err)
			}
			have += k
		}
		got++
	}
	fmt.Println("done")
	return nil
}
