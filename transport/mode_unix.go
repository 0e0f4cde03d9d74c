//go:build unix

package transport

import (
	"os"

	"golang.org/x/sys/unix"
)

// accessMode returns in which direction alone fd works.
func accessMode(fd int) (flags, error) {
	m, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return 0, os.NewSyscallError("fcntl", err)
	}
	switch m & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return readOnly, nil
	case unix.O_WRONLY:
		return writeOnly, nil
	}
	return 0, nil
}
