package netfd

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// acceptInherits: a connection has the TCP options of its listener.
const acceptInherits = true

// newSocket closes on exec from the start: a fork may come between two calls.
func newSocket(family, kind, proto int) (int, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	return fd, nil
}

// backlog is the longest queue of connections that the system allows. Before
// Linux 4.1 the kernel kept 16 bits of it, and of more the wrong ones.
func backlog() int {
	const unknown = 4096
	b, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		return unknown
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n <= 0 {
		return unknown
	}
	return min(n, 1<<16-1)
}
