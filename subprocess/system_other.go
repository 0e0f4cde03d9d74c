//go:build !unix

package subprocess

import (
	"errors"
	"os"
	"syscall"
)

// Nothing can be started here: package stream has no pipes on this system.

var (
	kill      = os.Kill
	terminate = os.Interrupt
)

func newPipe(bool) (*os.File, int, error)           { return nil, -1, errors.ErrUnsupported }
func closeFD(int)                                   {}
func sysAttr(*Cmd) (*syscall.SysProcAttr, error)    { return nil, errors.ErrUnsupported }
func checkString(string) error                      { return nil }
func signalGroup(*os.Process, int, os.Signal) error { return errors.ErrUnsupported }
func signalOf(*os.ProcessState) (syscall.Signal, bool) {
	return 0, false
}
