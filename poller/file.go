//go:build unix && (!linux || pollonly)

package poller

import (
	"os"

	"golang.org/x/sys/unix"
)

// refuseFile is the answer epoll gives by itself: EBADF for a number that is not open, and EPERM for
// files and directories. It costs a system call per Add, and makes a program that works on one system
// work on all.
func refuseFile(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
		return os.NewSyscallError("fstat", unix.EPERM)
	}
	return nil
}
