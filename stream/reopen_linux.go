package stream

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// reopen opens the pipe or terminal behind f a second time, with a mode of its own.
func reopen(f *os.File, mode int) (*os.File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode()&(fs.ModeNamedPipe|fs.ModeCharDevice) == 0 {
		return nil, errors.ErrUnsupported
	}
	raw, err := f.SyscallConn() // Fd might make it a blocking one
	if err != nil {
		return nil, err
	}
	var again *os.File
	cerr := raw.Control(func(fd uintptr) {
		again, err = os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(fd)), mode|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	})
	if cerr != nil {
		return nil, cerr
	}
	return again, err
}
