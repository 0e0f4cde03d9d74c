//go:build unix && !linux

package netfd

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// acceptInherits: not all systems give a connection the options of its listener.
const acceptInherits = false

// newSocket holds the lock that keeps a fork from coming between the calls.
func newSocket(family, kind, proto int) (int, error) {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(family, kind, proto)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("setnonblock", err)
	}
	return fd, nil
}

// backlog: the systems cut it to their own limit.
func backlog() int { return 4096 }

func sysAccept(listener int, peer *Addr) (int, syscall.Errno) {
	syscall.ForkLock.RLock()
	fd, sa, err := syscall.Accept(listener)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, errnoOf(err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return -1, errnoOf(err)
	}
	peer.set(sa)
	return fd, 0
}
