//go:build unix

package loop

import "golang.org/x/sys/unix"

// duplicate returns a non-blocking duplicate of a descriptor. Package os hands
// only such to the runtime's poller.
func duplicate(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return dup, unix.SetNonblock(dup, true)
}
