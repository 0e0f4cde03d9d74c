//go:build unix && !linux

package stream

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const noSignal = 0 // the Go runtime ignores the signal

func sockAccept(fd int) (int, unix.Sockaddr, error) {
	syscall.ForkLock.RLock()
	conn, sa, err := unix.Accept(fd)
	if err == nil {
		unix.CloseOnExec(conn)
	}
	syscall.ForkLock.RUnlock()
	if err == nil {
		err = unix.SetNonblock(conn, true)
		if err != nil {
			unix.Close(conn)
		}
	}
	return conn, sa, err
}
