//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// others runs fn n times, at most at a time, on goroutines of their own, while the
// calling task waits. The errors break the scenario.
func (r *run) others(ctx context.Context, n, most int, fn func(i int) error) error {
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, most) {
		wg.Go(func() {
			for i := range next {
				if err := fn(i); err != nil {
					r.fail("client %d: %v", i, err)
				}
			}
		})
	}
	wg.Go(func() {
		defer close(next)
		for i := range n {
			next <- i
		}
	})
	return task.WaitGroupDone(ctx, &wg)
}

// dialFrom connects from one of many addresses of this machine, so that ports do
// not run out.
func dialFrom(i int, addr string) (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: loopback(i)}, Timeout: 60 * time.Second}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func loopback(i int) net.IP { return net.IPv4(127, 0, 1+byte(i>>5&127), 1+byte(i&31)) }

// rawDial connects a socket that costs a descriptor and nothing else.
func rawDial(i int, addr net.Addr) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte(loopback(i).To4())}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	a := addr.(*net.TCPAddr)
	for {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())})
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60})
	return fd, nil
}

// unixName is an abstract name of this process.
func unixName(what string) string { return fmt.Sprintf("@eddy-chaos-%d-%s", os.Getpid(), what) }

func rawDialUnix(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return fd, unix.Connect(fd, &unix.SockaddrUnix{Name: name})
}

// readN reads exactly len(p) bytes of a blocking socket.
func readN(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Read(fd, p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case n == 0:
			return errors.New("read: end of stream")
		default:
			p = p[n:]
		}
	}
	return nil
}

func writeN(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		p = p[n:]
	}
	return nil
}

// ping sends p and wants it back.
func ping(fd int, p []byte) error {
	if err := writeN(fd, p); err != nil {
		return err
	}
	got := make([]byte, len(p))
	if err := readN(fd, got); err != nil {
		return err
	}
	if !slices.Equal(got, p) {
		return fmt.Errorf("sent %q, got %q", p, got)
	}
	return nil
}

// files makes room for n descriptors, and returns how many there may be.
func files(n int) int {
	n += 200
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return 800
	}
	if lim.Cur >= uint64(n) {
		return n - 200
	}
	want := unix.Rlimit{Cur: uint64(n), Max: max(lim.Max, uint64(n))}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &want) == nil {
		return n - 200
	}
	return int(lim.Cur) - 200
}

func closeAll(fds []int) func() error {
	return func() error {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil
	}
}

// rawPair returns a connected pair of blocking unix sockets.
func rawPair() (a, b int, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	return p[0], p[1], err
}

// rawPipe returns the write end of a pipe, and its read end.
func rawPipe() (w, r int, err error) {
	var p [2]int
	err = unix.Pipe2(p[:], unix.O_CLOEXEC)
	return p[1], p[0], err
}

// drop makes a socket lose what it receives, one of n segments at random or all
// if n is 1: what a lossy network does, for which no rights are needed. Sockets
// that a listener accepts inherit it.
func drop(fd, n int) error {
	const random = 0xfffff000 + 56 // SKF_AD_OFF + SKF_AD_RANDOM
	prog := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	if n > 1 {
		prog = []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: random},
			{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: uint32(n)},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0, Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: 0},
			{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
		}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]})
}

// undrop ends drop.
func undrop(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
}

// server is a listener that is served by a task until stop.
type server struct {
	ln   *stream.Listener
	task *task.Task[struct{}]
}

func serve(ctx context.Context, cfg stream.ServeConfig, h stream.Handler) (*server, error) {
	return serveAt(ctx, "tcp", "127.0.0.1:0", cfg, h)
}

func serveAt(ctx context.Context, network, address string, cfg stream.ServeConfig, h stream.Handler) (*server, error) {
	ln, err := stream.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s := &server{ln: ln}
	s.task = task.Go(ctx, func(ctx context.Context) error { return cfg.Serve(ctx, ln, h) })
	return s, nil
}

func (s *server) addr() string { return s.ln.Addr().String() }

// stop ends the server whatever its connections do.
func (s *server) stop(ctx context.Context) error {
	s.ln.Abort()
	_, err := s.task.Await(ctx)
	return err
}

// echo is a handler that sends back what it reads.
func echo(ctx context.Context, c *stream.Conn) error {
	buf := make([]byte, 4<<10)
	for {
		n, err := c.Read(ctx, buf)
		if err != nil {
			return err
		}
		if _, err := c.Write(ctx, buf[:n]); err != nil {
			return err
		}
	}
}

// quantile returns the share q of took, which it sorts.
func quantile(took []time.Duration, q float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(float64(len(took))*q))]
}
