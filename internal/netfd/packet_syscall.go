//go:build unix && (!linux || race || 386 || s390x)

package netfd

import "syscall"

func sysReceive(fd int, p []byte, from *Addr) (n int, truncated bool, errno syscall.Errno) {
	n, _, flags, sa, err := syscall.Recvmsg(fd, p, nil, 0)
	if err != nil {
		return 0, false, errnoOf(err)
	}
	from.set(sa)
	return n, flags&syscall.MSG_TRUNC != 0, 0
}

func sysSend(fd int, p []byte, to *Addr) syscall.Errno {
	if to == nil {
		_, err := syscall.SendmsgN(fd, p, nil, nil, 0)
		return errnoOf(err)
	}
	err := syscall.Sendto(fd, p, 0, to.system())
	if to.size == 4 && (err == syscall.EINVAL || err == syscall.EAFNOSUPPORT) {
		// A socket of IPv6: of these systems not all map the address by themselves.
		mapped := &syscall.SockaddrInet6{Port: int(to.port), Addr: to.IP().As16()}
		err = syscall.Sendto(fd, p, 0, mapped)
	}
	return errnoOf(err)
}

// system returns a as package syscall has it.
func (a *Addr) system() syscall.Sockaddr {
	if a.size == 4 {
		return &syscall.SockaddrInet4{Port: int(a.port), Addr: [4]byte(a.ip[:4])}
	}
	return &syscall.SockaddrInet6{Port: int(a.port), ZoneId: a.zone, Addr: a.ip}
}
