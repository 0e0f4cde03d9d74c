//go:build linux && !race && !386 && !s390x

package netfd

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sysReceive asks with MSG_TRUNC for a datagram's whole length: that is recvmsg
// without its two structures.
func sysReceive(fd int, p []byte, from *Addr) (n int, truncated bool, errno syscall.Errno) {
	var sa unix.RawSockaddrInet6 // the larger of the two; of a path the start
	size := uint32(unsafe.Sizeof(sa))
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
		uintptr(len(p)), unix.MSG_TRUNC, uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, false, errno
	}
	switch sa.Family {
	case unix.AF_INET:
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa))
		from.set4(sa4.Addr, bigEndian(&sa4.Port))
	case unix.AF_INET6:
		from.set6(sa.Addr, bigEndian(&sa.Port), sa.Scope_id)
	}
	return min(int(r), len(p)), int(r) > len(p), 0
}

// sysSend may give an IPv4 address to a socket of IPv6: Linux maps it.
func sysSend(fd int, p []byte, to *Addr) syscall.Errno {
	var sa unix.RawSockaddrInet6
	var size uintptr
	if to != nil {
		size = to.raw(&sa)
	}
	var name unsafe.Pointer
	if size > 0 {
		name = unsafe.Pointer(&sa)
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
		uintptr(len(p)), unix.MSG_NOSIGNAL, uintptr(name), size)
	return errno
}

// raw writes a as the system has it into sa, and returns its size.
func (a *Addr) raw(sa *unix.RawSockaddrInet6) uintptr {
	if a.size == 4 {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		sa4.Family, sa4.Addr = unix.AF_INET, [4]byte(a.ip[:4])
		putBigEndian(&sa4.Port, a.port)
		return unix.SizeofSockaddrInet4
	}
	sa.Family, sa.Addr, sa.Scope_id = unix.AF_INET6, a.ip, a.zone
	putBigEndian(&sa.Port, a.port)
	return unix.SizeofSockaddrInet6
}

func putBigEndian(to *uint16, port uint16) {
	b := (*[2]byte)(unsafe.Pointer(to))
	b[0], b[1] = byte(port>>8), byte(port)
}
