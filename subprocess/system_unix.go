//go:build unix

package subprocess

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	kill      = syscall.SIGKILL
	terminate = syscall.SIGTERM
)

// newPipe makes a pipe: the process's end, and ours, which is not blocking. Both are
// closed on exec; each end has a mode of its own.
func newPipe(toChild bool) (child *os.File, ours int, err error) {
	var p [2]int
	if err := pipe(&p); err != nil {
		return nil, -1, os.NewSyscallError("pipe", err)
	}
	theirs, ours := p[1], p[0]
	if toChild {
		theirs, ours = ours, theirs
	}
	if err := unix.SetNonblock(ours, true); err != nil {
		closeFD(p[0])
		closeFD(p[1])
		return nil, -1, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(theirs), "|"), ours, nil
}

func closeFD(fd int) { _ = unix.Close(fd) } // of a pipe: there is nothing to lose

// sysAttr returns the attributes of c for package os.
func sysAttr(c *Cmd) (*syscall.SysProcAttr, error) {
	if !c.NewGroup {
		return c.SysProcAttr, nil
	}
	var sys syscall.SysProcAttr
	if c.SysProcAttr != nil {
		sys = *c.SysProcAttr
	}
	if !sys.Setsid { // the leader of a session is one of a group
		sys.Setpgid, sys.Pgid = true, 0
	}
	return &sys, nil
}

// checkString refuses what the system would take for the end.
func checkString(s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("subprocess: environment: NUL in %q: %w", s, syscall.EINVAL)
	}
	return nil
}

// signalGroup signals the group that p leads. pidfd is p's descriptor, or -1. If p may
// have been waited for, only a descriptor tells whose the number is: then the error is
// os.ErrProcessDone without one. So it is if the group is empty.
func signalGroup(p *os.Process, pidfd int, sig os.Signal) error {
	num, ok := sig.(syscall.Signal)
	if !ok {
		return errors.New("subprocess: unsupported signal type")
	}
	err := signalGroupByHandle(p, pidfd, num)
	if errors.Is(err, errors.ErrUnsupported) {
		// It fails once p was waited for. A goroutine that does this right now leaves
		// too little time for the number to be given to another group.
		if err = p.Signal(syscall.Signal(0)); err == nil || errors.Is(err, syscall.EPERM) {
			err = unix.Kill(-p.Pid, num)
		}
	}
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
