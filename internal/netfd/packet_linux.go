package netfd

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Dropped returns how many datagrams the kernel has thrown away because the
// socket's receive buffer was full, modulo 2³², and whether it tells: Linux 4.12.
func Dropped(fd int) (n uint32, ok bool) {
	const drops = 8                // SK_MEMINFO_DROPS
	var info [drops + 1]uint32     // later kernels may tell more; they cut it
	size := uint32(len(info)) << 2 // bytes
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return info[drops], errno == 0 && size >= (drops+1)<<2
}
