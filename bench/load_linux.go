package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loads are the kinds of a loadJob. Each returns what keeps its connections.
var loads = map[string]func(j *loadJob) (loadResult, any){
	"echo":     (*loadJob).echo,
	"echo-tls": (*loadJob).echoTLS,
	"hold":     (*loadJob).hold,
	"hold-tls": (*loadJob).holdTLS,
	"burst":    (*loadJob).burst,
}

func (j *loadJob) run() {
	r, conns := loads[j.Kind](j)
	must(json.NewEncoder(os.Stdout).Encode(r))
	_, _ = io.Copy(io.Discard, os.Stdin) // until the server has seen enough
	runtime.KeepAlive(conns)
}

// twoCores returns a core for a server and one for its load; nil if there is only
// one.
func twoCores() []int {
	var set unix.CPUSet
	must(unix.SchedGetaffinity(0, &set))
	var cores []int
	for i := range 1024 {
		if set.IsSet(i) {
			cores = append(cores, i)
		}
	}
	if len(cores) < 2 {
		return nil
	}
	return cores[:2]
}

// startOn starts cmd on the core that cores has at i: a process begins with the cores
// of the thread that starts it.
func startOn(cores []int, i int, cmd *exec.Cmd) error {
	if cores == nil {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, set unix.CPUSet
	must(unix.SchedGetaffinity(0, &before))
	set.Set(cores[i])
	must(unix.SchedSetaffinity(0, &set))
	err := cmd.Start()
	must(unix.SchedSetaffinity(0, &before))
	return err
}

// monotonic is a clock that all processes share.
func monotonic() int64 { return clock(unix.CLOCK_MONOTONIC) }

// cpuOf is the processor time that a process has used: clock_getcpuclockid(3).
func cpuOf(pid int) time.Duration { return time.Duration(clock(int32(^pid<<3 | 2))) }

func clock(id int32) int64 {
	var t unix.Timespec
	must(unix.ClockGettime(id, &t))
	return t.Nano()
}

// A mark is the beginning or the end of a measurement.
type mark struct {
	at                   int64
	server, load, waited time.Duration
}

func (j *loadJob) mark() mark {
	return mark{monotonic(), cpuOf(j.Server), cpuOf(os.Getpid()), waitedOf(j.Server) + waitedOf(os.Getpid())}
}

// waitedOf is how long the threads of a process could run and had no core.
func waitedOf(pid int) (waited time.Duration) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	must(err)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // a thread that has ended
		}
		var ran, wait int64
		if _, err := fmt.Sscan(string(b), &ran, &wait); err == nil {
			waited += time.Duration(wait)
		}
	}
	return waited
}

func (m mark) since(before mark, requests int) loadResult {
	return loadResult{
		Requests: requests, Wall: time.Duration(m.at - before.at),
		Server: m.server - before.server, Load: m.load - before.load, Waited: m.waited - before.waited,
		Began: before.at, Ended: m.at,
	}
}

// sockets are connections of one goroutine, and an epoll. It makes two system calls
// for a request, so that the server cannot be faster, and one more for many of them.
type sockets struct {
	epoll   int
	fds     []int
	got     []int // bytes of the answer, by descriptor
	request []byte
	buf     []byte
	events  []unix.EpollEvent
}

// patience is how long a load waits for a server that says nothing.
const patience = 10 * time.Second

func newSockets(size int) *sockets {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	must(err)
	return &sockets{
		epoll: epoll, request: bytes.Repeat([]byte("eddy"), size/4),
		buf: make([]byte, 64<<10), events: make([]unix.EpollEvent, 512),
	}
}

// open makes n sockets, of which epoll reports each edge.
func (s *sockets) open(n int, edges uint32) {
	one := 1
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		must(err)
		must(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, one))
		must(unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: edges | unix.EPOLLET, Fd: int32(fd)}))
		s.fds = append(s.fds, fd)
		s.got = append(s.got, make([]int, max(0, fd+1-len(s.got)))...)
	}
}

// connect begins to connect fd.
func (s *sockets) connect(fd int, addr string) {
	at := netip.MustParseAddrPort(addr)
	err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	if err != unix.EINPROGRESS {
		must(err)
	}
}

func (s *sockets) wait() []unix.EpollEvent {
	for {
		n, err := unix.EpollWait(s.epoll, s.events, int(patience/time.Millisecond))
		if err == unix.EINTR {
			continue
		}
		must(err)
		if n == 0 {
			panic("bench: the server does not answer")
		}
		return s.events[:n]
	}
}

// connectAll connects one after the other.
func (s *sockets) connectAll(addr string) {
	for _, fd := range s.fds {
		must(unix.SetNonblock(fd, false))
		s.connect(fd, addr)
		must(unix.SetNonblock(fd, true))
	}
}

func (s *sockets) send(fd int) {
	n, err := rawWrite(fd, s.request)
	must(err)
	if n < len(s.request) {
		panic("bench: a socket without room for a request")
	}
}

// read reports whether an answer was there to its end.
func (s *sockets) read(fd int) bool {
	n, err := rawRead(fd, s.buf)
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return false
	}
	must(err)
	if n == 0 {
		must(io.ErrUnexpectedEOF)
	}
	got := s.got[fd]
	if got+n > len(s.request) || !bytes.Equal(s.buf[:n], s.request[got:got+n]) {
		panic("bench: a wrong answer")
	}
	s.got[fd] = (got + n) % len(s.request)
	return s.got[fd] == 0
}

// exchange sends the next request for each answer, for a while. time.Since makes no
// system call, as monotonic does.
func (s *sockets) exchange(d time.Duration) (requests int) {
	for began := time.Now(); time.Since(began) < d; {
		for _, e := range s.wait() {
			if s.read(int(e.Fd)) {
				requests++
				s.send(int(e.Fd))
			}
		}
	}
	return requests
}

// echo keeps a request under way on each connection.
func (j *loadJob) echo() (loadResult, any) {
	s := newSockets(j.Size)
	s.open(j.Conns, unix.EPOLLIN)
	s.connectAll(j.Addr)
	for _, fd := range s.fds {
		s.send(fd)
	}
	s.exchange(j.Warm)
	before := j.mark()
	n := s.exchange(j.For)
	return j.mark().since(before, n), s
}

// hold makes one request on each connection, and keeps them.
func (j *loadJob) hold() (loadResult, any) {
	s := newSockets(j.Size)
	s.open(j.Conns, unix.EPOLLIN)
	before := j.mark()
	for _, fd := range s.fds {
		must(unix.SetNonblock(fd, false))
		s.connect(fd, j.Addr)
		s.send(fd)
		for !s.read(fd) {
		}
	}
	return j.mark().since(before, j.Conns), s
}

// burst connects all at once, and makes a request on each.
func (j *loadJob) burst() (loadResult, any) {
	s := newSockets(j.Size)
	s.open(j.Conns, unix.EPOLLIN|unix.EPOLLOUT)
	before := j.mark()
	for _, fd := range s.fds {
		s.connect(fd, j.Addr)
	}
	sent := make([]bool, len(s.got))
	for served := 0; served < j.Conns; {
		for _, e := range s.wait() {
			fd := int(e.Fd)
			if e.Events&unix.EPOLLOUT != 0 && !sent[fd] {
				sent[fd] = true
				s.send(fd)
			}
			if e.Events&unix.EPOLLIN != 0 && s.read(fd) {
				served++
			}
		}
	}
	return j.mark().since(before, j.Conns), s
}
