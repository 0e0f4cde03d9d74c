//go:build unix && (pollonly || netbsd || openbsd || solaris || illumos || aix)

package poller

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A wakePipe carries the bell where the kernel has nothing better. The bell sees to it that at most
// one byte is in it. The buffers are here because on the stack they would move to the heap each time.
type wakePipe struct {
	r, w int
	out  [1]byte  // only read
	in   [16]byte // of consume
}

func (b *wakePipe) open() error {
	var fds [2]int
	syscall.ForkLock.RLock() // pipe2 is not everywhere
	err := unix.Pipe(fds[:])
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return os.NewSyscallError("pipe", err)
	}
	b.r, b.w = fds[0], fds[1]
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			b.close()
			return os.NewSyscallError("fcntl", err)
		}
	}
	return nil
}

// signal makes the pipe readable. A full pipe is readable.
func (b *wakePipe) signal() error {
	for {
		_, err := unix.Write(b.w, b.out[:])
		switch err {
		case unix.EINTR:
			continue
		case nil, unix.EAGAIN:
			return nil
		}
		return os.NewSyscallError("write", err)
	}
}

// consume empties the pipe.
func (b *wakePipe) consume() {
	for {
		n, err := unix.Read(b.r, b.in[:])
		if err != unix.EINTR && n < len(b.in) {
			return
		}
	}
}

func (b *wakePipe) close() {
	unix.Close(b.r)
	unix.Close(b.w)
	b.r, b.w = -1, -1
}
