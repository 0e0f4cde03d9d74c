//go:build unix

package netfd

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen returns a listening TCP socket. The zero IP of the address's family is
// any; with dual, an IPv6 socket takes IPv4 too. With shared, other sockets that
// say so may listen on the same address: the system spreads connections.
func Listen(a Addr, dual, shared bool) (fd int, err error) {
	fd, err = newSocket(a.family(), unix.SOCK_STREAM, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	call, err := "setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil && a.size == 16 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, oneIf(!dual))
	}
	if err == nil && acceptInherits {
		err = setNoDelay(fd)
	}
	if err == nil && shared {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, reusePort, 1)
	}
	if err == nil {
		call, err = "bind", unix.Bind(fd, a.sockaddr())
	}
	if err == nil {
		call, err = "listen", unix.Listen(fd, backlog())
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError(call, err)
	}
	return fd, nil
}

// Connect starts to connect a TCP socket, from local unless that is no address. It
// is to be opened not writable; once it is, [FD.TryConnect] tells.
func Connect(a, local Addr) (fd int, err error) {
	fd, err = newSocket(a.family(), unix.SOCK_STREAM, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	call, err := "setsockopt", setNoDelay(fd)
	if err == nil && local.Valid() {
		call, err = "bind", unix.Bind(fd, local.sockaddr())
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError(call, err)
	}
	switch err := unix.Connect(fd, a.sockaddr()); err {
	case nil, unix.EINPROGRESS, unix.EINTR, unix.EALREADY, unix.EISCONN:
		return fd, nil
	default:
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
}

// connectResult asks how a connect has ended. An event may come before the end,
// so no error is a success only if there is a peer.
func connectResult(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	switch errno := syscall.Errno(code); errno {
	case 0, syscall.EISCONN:
		if _, err := unix.Getpeername(fd); err == nil {
			return nil
		}
		return ErrWouldBlock
	case syscall.EINPROGRESS, syscall.EALREADY, syscall.EINTR:
		return ErrWouldBlock
	default:
		return os.NewSyscallError("connect", errno)
	}
}

// Accepted sets on an accepted connection what it did not get from its listener.
func Accepted(fd int) error {
	if acceptInherits {
		return nil
	}
	return os.NewSyscallError("setsockopt", setNoDelay(fd))
}

// LocalAddr returns a socket's own address, or no address.
func LocalAddr(fd int) (a Addr) {
	if sa, err := unix.Getsockname(fd); err == nil {
		a.from(sa)
	}
	return a
}

// from takes over what the system gave; what is no IP address leaves none.
func (a *Addr) from(sa unix.Sockaddr) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		a.set4(sa.Addr, uint16(sa.Port))
	case *unix.SockaddrInet6:
		a.set6(sa.Addr, uint16(sa.Port), sa.ZoneId)
	}
}

// CloseFD closes a descriptor that was never opened as an FD.
func CloseFD(fd int) { unix.Close(fd) }

func setNoDelay(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

func setReset(fd int) {
	// Of a unix socket it means nothing, and an error changes nothing.
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

func shutdownWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

func (a *Addr) family() int {
	if a.size == 4 {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (a *Addr) sockaddr() unix.Sockaddr {
	if a.size == 4 {
		return &unix.SockaddrInet4{Port: int(a.port), Addr: [4]byte(a.ip[:4])}
	}
	return &unix.SockaddrInet6{Port: int(a.port), ZoneId: a.zone, Addr: a.ip}
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Unsupported reports whether err says that the system lacks an address family.
func Unsupported(err error) bool {
	return is(err, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.EADDRNOTAVAIL)
}

// Shortage reports whether an accept failed for want of something that may be
// there again in a while: descriptors, memory.
func Shortage(err error) bool {
	return is(err, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ENOSPC)
}

// Aborted reports whether an accept failed because of the one connection that it
// was to return: the next one may do.
func Aborted(err error) bool {
	// Linux hands out errors of the connection's network, too: see accept(2).
	return is(err, unix.ECONNABORTED, unix.EPROTO, unix.EPERM, unix.ECONNRESET, unix.ENETDOWN,
		unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH)
}

// Disconnected reports whether err says that the peer has gone.
func Disconnected(err error) bool {
	return is(err, unix.ECONNRESET, unix.EPIPE, unix.ECONNABORTED, unix.ETIMEDOUT)
}

func is(err error, errnos ...syscall.Errno) bool {
	var got syscall.Errno
	if !errors.As(err, &got) {
		return false
	}
	for _, e := range errnos {
		if got == e {
			return true
		}
	}
	return false
}
