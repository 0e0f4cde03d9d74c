package stream

import "golang.org/x/sys/unix"

const noSignal = unix.MSG_NOSIGNAL

func sockAccept(fd int) (int, unix.Sockaddr, error) {
	return unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}
