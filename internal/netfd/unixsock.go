//go:build unix

package netfd

import (
	"errors"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// ListenUnix returns a listening unix socket. A path that begins with "@" is an
// abstract name, which Linux has. The file of a socket that nobody listens on any
// more is replaced.
func ListenUnix(path string) (fd int, err error) {
	fd, err = listenUnix(path)
	if errors.Is(err, unix.EADDRINUSE) && abandoned(path) && os.Remove(path) == nil {
		fd, err = listenUnix(path)
	}
	return fd, err
}

// abandoned reports whether path is a socket that nobody listens on any more.
func abandoned(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	fd, err := ConnectUnix(path)
	if err == nil {
		unix.Close(fd)
	}
	return errors.Is(err, unix.ECONNREFUSED)
}

func listenUnix(path string) (fd int, err error) {
	fd, err = newSocket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	call, err := "bind", unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if err == nil {
		call, err = "listen", unix.Listen(fd, backlog())
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError(call, err)
	}
	return fd, nil
}

// ConnectUnix starts to connect a unix socket, see [Connect]. On Linux it says
// EAGAIN when the listener's queue is full, and no event will tell of a place in
// it: the caller tries again later.
func ConnectUnix(path string) (fd int, err error) {
	fd, err = newSocket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err {
	case nil, unix.EINPROGRESS, unix.EINTR, unix.EALREADY, unix.EISCONN:
		return fd, nil
	default:
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
}

// LocalUnix returns a unix socket's own address; that of a socket without a name
// is empty. It is nil if fd is none.
func LocalUnix(fd int) *net.UnixAddr { return unixAddr(unix.Getsockname(fd)) }

// PeerUnix returns the address of a unix socket's peer.
func PeerUnix(fd int) *net.UnixAddr { return unixAddr(unix.Getpeername(fd)) }

func unixAddr(sa unix.Sockaddr, err error) *net.UnixAddr {
	if sa, ok := sa.(*unix.SockaddrUnix); ok && err == nil {
		name := sa.Name
		if name == "@" { // how package unix has a socket without a name
			name = ""
		}
		return &net.UnixAddr{Net: "unix", Name: name}
	}
	return nil
}
