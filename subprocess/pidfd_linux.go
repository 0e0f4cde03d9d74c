package subprocess

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A pidfd is readable when its process has exited and can be waited for. It stands for
// that process for ever, whoever gets the number. Package os has one of each process
// that it has started; it lends it, so we need a duplicate to watch.

// dupHandle returns a descriptor of the process.
func dupHandle(p *os.Process) (fd int, err error) {
	lent := p.WithHandle(func(h uintptr) {
		fd, err = unix.FcntlInt(h, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(lent, err)
}

// exited reports whether a wait for the process will return at once. One that is
// traced by another process may not, although its descriptor is readable.
func exited(pidfd int) bool {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PIDFD, pidfd, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err != nil || info.Signo != 0 // with an error the wait fails, too
		}
	}
}

// pidfdSignalProcessGroup is PIDFD_SIGNAL_PROCESS_GROUP of Linux 6.9: the signal goes
// to the group that the process leads or has led.
const pidfdSignalProcessGroup = 4

// signalGroupByHandle returns errors.ErrUnsupported if the system cannot do it.
func signalGroupByHandle(p *os.Process, pidfd int, sig syscall.Signal) (err error) {
	if pidfd >= 0 {
		err = unix.PidfdSendSignal(pidfd, sig, nil, pidfdSignalProcessGroup)
	} else if lent := p.WithHandle(func(h uintptr) {
		err = unix.PidfdSendSignal(int(h), sig, nil, pidfdSignalProcessGroup)
	}); lent != nil {
		if errors.Is(lent, os.ErrProcessDone) {
			return lent
		}
		return errors.ErrUnsupported
	}
	switch err {
	case unix.EINVAL, unix.ENOSYS:
		return errors.ErrUnsupported
	}
	return err
}

// groupLives reports whether anybody is in the group that the process leads or has led.
func groupLives(pidfd int) bool {
	if pidfd < 0 {
		return false
	}
	err := unix.PidfdSendSignal(pidfd, 0, nil, pidfdSignalProcessGroup)
	return err == nil || err == unix.EPERM
}
