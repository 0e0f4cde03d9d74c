//go:build unix

package netfd

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Adopt returns a duplicate of the descriptor under c, a net.Conn or an *os.File,
// non-blocking, and what it is. The original stays open, and the caller's. The two
// share their mode: a descriptor that was blocking is not any more.
func Adopt(c syscall.Conn) (fd int, kind Kind, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, 0, err
	}
	// Not by File or Fd, which may make the original a blocking one.
	if cerr := raw.Control(func(orig uintptr) { fd, err = Dup(int(orig)) }); cerr != nil {
		return -1, 0, cerr
	}
	if err != nil {
		return -1, 0, err
	}
	kind, err = KindOf(fd)
	if err == nil && kind != Other {
		err = SetNonblock(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, 0, err
	}
	return fd, kind, nil
}

// KindOf returns what fd is.
func KindOf(fd int) (Kind, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFCHR:
		return File, nil
	case unix.S_IFSOCK:
		return socketKind(fd)
	}
	return Other, nil
}

func socketKind(fd int) (Kind, error) {
	t, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt", err)
	}
	if t != unix.SOCK_STREAM {
		return Other, nil
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	switch sa.(type) {
	case *unix.SockaddrInet4, *unix.SockaddrInet6:
		return TCP, nil
	case *unix.SockaddrUnix:
		return Unix, nil
	}
	return Other, nil
}

// Dup returns another descriptor for what is behind fd, closed on exec.
func Dup(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("dup", err)
	}
	return n, nil
}

// SetNonblock makes fd, and whatever shares its open file, non-blocking.
func SetNonblock(fd int) error { return os.NewSyscallError("fcntl", unix.SetNonblock(fd, true)) }

// PeerAddr returns the address of an IP socket's peer, or no address.
func PeerAddr(fd int) (a Addr) {
	if sa, err := unix.Getpeername(fd); err == nil {
		a.from(sa)
	}
	return a
}
