//go:build unix && (!linux || race || 386 || s390x)

package netfd

import "syscall"

func sysRead(fd int, p []byte) (int, syscall.Errno) {
	n, err := syscall.Read(fd, p)
	return n, errnoOf(err)
}

func sysWrite(fd int, p []byte) (int, syscall.Errno) {
	n, err := syscall.Write(fd, p)
	return n, errnoOf(err)
}

func sysReadFile(fd int, p []byte) (int, syscall.Errno)  { return sysRead(fd, p) }
func sysWriteFile(fd int, p []byte) (int, syscall.Errno) { return sysWrite(fd, p) }

func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if errno, ok := err.(syscall.Errno); ok {
		return errno
	}
	return syscall.EINVAL
}

// set takes over what the system gave.
func (a *Addr) set(sa syscall.Sockaddr) {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		a.set4(sa.Addr, uint16(sa.Port))
	case *syscall.SockaddrInet6:
		a.set6(sa.Addr, uint16(sa.Port), sa.ZoneId)
	}
}
