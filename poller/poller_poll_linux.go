//go:build pollonly

package poller

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const pollRDHUP = unix.POLLRDHUP

// A pollClock is poll(2) with the system's best notion of time; here ppoll and its timespec.
type pollClock struct{ timeout unix.Timespec }

// poll answers d == 0 by a raw call; poller_epoll.go says why.
func (c *pollClock) poll(fds []unix.PollFd, d time.Duration) (int, error) {
	var timeout *unix.Timespec // nil: forever
	if d >= 0 {
		c.timeout = unix.NsecToTimespec(int64(d))
		timeout = &c.timeout
	}
	addr, room := unsafe.Pointer(&fds[0]), uintptr(len(fds))
	var n uintptr
	var errno syscall.Errno
	if d == 0 {
		n, _, errno = unix.RawSyscall6(unix.SYS_PPOLL, uintptr(addr), room, uintptr(unsafe.Pointer(timeout)), 0, 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_PPOLL, uintptr(addr), room, uintptr(unsafe.Pointer(timeout)), 0, 0, 0)
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
