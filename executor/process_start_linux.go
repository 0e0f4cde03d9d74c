package executor

import (
	"os"
	"syscall"
)

// selfPath is this program even if its file was replaced or removed since.
const selfPath = "/proc/self/exe"

func ownPath() (string, error) {
	if _, err := os.Stat(selfPath); err == nil {
		return selfPath, nil
	}
	return os.Executable()
}

func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
