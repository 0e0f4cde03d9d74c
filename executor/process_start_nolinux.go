//go:build unix && !linux

package executor

import (
	"os"
	"syscall"
)

func ownPath() (string, error) { return os.Executable() }

func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
