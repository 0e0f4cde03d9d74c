package netfd

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Sendfile lets the system write up to n bytes of f, from off, to a non-blocking
// socket, and returns how many: none at the end of the file. It returns
// [ErrWouldBlock] if there is no room, errors.ErrUnsupported if the system cannot do
// that for such a file, and other errors as *os.SyscallError. It waits for the disk
// if it has to, so it is not for the loop's goroutine.
func Sendfile(socket int, f *os.File, off int64, n int) (sent int, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := c.Control(func(fd uintptr) {
		for {
			at := off
			sent, err = unix.Sendfile(socket, int(fd), &at, n)
			if err != unix.EINTR {
				return
			}
		}
	})
	if cerr != nil { // it says so in words of its own
		return 0, &os.PathError{Op: "sendfile", Path: f.Name(), Err: os.ErrClosed}
	}
	switch {
	case err == nil:
		return sent, nil
	case err == unix.EAGAIN:
		return 0, ErrWouldBlock
	case err == unix.EINVAL, err == unix.ENOSYS, err == unix.EOPNOTSUPP, err == unix.ESPIPE, err == unix.EOVERFLOW:
		return 0, errors.ErrUnsupported
	}
	return 0, os.NewSyscallError("sendfile", err)
}
