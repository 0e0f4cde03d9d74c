//go:build !race && !386 && !s390x

package netfd

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxPieces bounds what one call takes, so that the list fits the stack.
const maxPieces = 32

func (f *FD) writev(pieces [][]byte) (int, error) {
	var list [maxPieces]unix.Iovec
	k, offered := gather(&list, pieces)
	if k == 0 {
		return 0, nil
	}
	for {
		n, errno := f.sysWritev(list[:k])
		switch {
		case n == offered:
			return n, nil
		case n > 0:
			if f.state&file == 0 {
				f.state &^= canWrite
			}
			return n, nil
		case errno == syscall.EAGAIN || errno == 0:
			f.state &^= canWrite
			return 0, ErrWouldBlock
		case errno != syscall.EINTR:
			return 0, os.NewSyscallError("write", errno)
		}
	}
}

// gather lists the first pieces, up to maxIO bytes of them.
func gather(list *[maxPieces]unix.Iovec, pieces [][]byte) (k, size int) {
	for _, p := range pieces {
		if k == maxPieces || size == maxIO {
			break
		}
		p = p[:min(len(p), maxIO-size)]
		if len(p) == 0 {
			continue
		}
		list[k].Base = unsafe.SliceData(p)
		list[k].SetLen(len(p))
		size += len(p)
		k++
	}
	return k, size
}

// sysWritev asks a socket by sendmsg: writev has no flag against the signal.
func (f *FD) sysWritev(list []unix.Iovec) (int, syscall.Errno) {
	if f.state&file != 0 {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(f.fd), uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)))
		return int(n), errno
	}
	m := unix.Msghdr{Iov: &list[0]}
	m.SetIovlen(len(list))
	n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(f.fd), uintptr(unsafe.Pointer(&m)), unix.MSG_NOSIGNAL)
	return int(n), errno
}
