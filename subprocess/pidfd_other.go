//go:build !linux

package subprocess

import (
	"errors"
	"os"
	"syscall"
)

func dupHandle(*os.Process) (int, error) { return -1, errors.ErrUnsupported }
func exited(int) bool                    { return false }
func groupLives(int) bool                { return false }

func signalGroupByHandle(*os.Process, int, syscall.Signal) error { return errors.ErrUnsupported }
