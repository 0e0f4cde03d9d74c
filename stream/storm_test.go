//go:build unix

package stream_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

func stormChild() {
	reports := 0
	err := task.RunConfig(context.Background(), loop.Config{OnError: func(e *loop.CallError) {
		reports++
		fmt.Println(e)
	}}, func(ctx context.Context) error { return storm(ctx, &reports) })
	if err != nil {
		fmt.Println("storm:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func storm(ctx context.Context, reports *int) error {
	ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := task.Go(ctx, func(ctx context.Context) error { return ln.Serve(ctx, echo) })
	dial := func() (int, error) { // a client that costs one descriptor and is not ours
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return -1, err
		}
		a := ln.Addr().(*net.TCPAddr)
		return fd, unix.Connect(fd, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())})
	}
	old, err := stream.Dial(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	if err := ping(ctx, old); err != nil {
		return err
	}
	for range 3 { // storms
		var clients []int
		for range 20 {
			fd, err := dial()
			if err != nil {
				return err
			}
			clients = append(clients, fd)
		}
		// The clients are there, their connections not accepted: now nothing is left.
		before := *reports
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 5, Max: 10000}); err != nil {
			return err
		}
		rests := ln.Stats().Rests
		start := time.Now()
		for time.Since(start) < 300*time.Millisecond {
			if err := ping(ctx, old); err != nil { // is served all the time
				return err
			}
			if err := task.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		rests = ln.Stats().Rests - rests
		fmt.Printf("%d rests in 300 ms, %d reports, %d accepted\n", rests, *reports-before, ln.Stats().Accepted)
		if rests < 3 || rests > 20 || *reports-before != 1 {
			return fmt.Errorf("%d rests and %d reports", rests, *reports-before)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 10000, Max: 10000}); err != nil {
			return err
		}
		start = time.Now()
		for ln.Stats().Serving < 21 {
			if time.Since(start) > 1100*time.Millisecond {
				return fmt.Errorf("not recovered: %+v", ln.Stats())
			}
			if err := task.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		for _, fd := range clients {
			unix.Close(fd)
		}
		for ln.Stats().Serving > 1 {
			if err := task.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
	}
	srv.Cancel(nil)
	_, _ = srv.Await(ctx)
	return old.Close()
}

func ping(ctx context.Context, c *stream.Conn) error {
	if _, err := c.Write(ctx, []byte("ping")); err != nil {
		return err
	}
	_, err := c.Read(ctx, make([]byte, 4))
	return err
}
