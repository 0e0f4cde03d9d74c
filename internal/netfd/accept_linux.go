//go:build linux && (race || 386 || s390x)

package netfd

import "syscall"

func sysAccept(listener int, peer *Addr) (int, syscall.Errno) {
	fd, sa, err := syscall.Accept4(listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	if err != nil {
		return -1, errnoOf(err)
	}
	peer.set(sa)
	return fd, 0
}
