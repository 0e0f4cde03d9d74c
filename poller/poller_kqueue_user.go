//go:build (darwin || dragonfly || freebsd) && !pollonly

package poller

import "golang.org/x/sys/unix"

// kernelBell wakes a kevent by an event that user code triggers: EVFILT_USER. Its knotes have their
// own name space, so the number 0 does not clash with a descriptor. With EV_CLEAR the report
// consumes the trigger.
type kernelBell struct{}

func (*kernelBell) open(kq int) error {
	var change [1]unix.Kevent_t
	unix.SetKevent(&change[0], 0, unix.EVFILT_USER, unix.EV_ADD|unix.EV_CLEAR)
	return kevent(kq, change[:])
}

// rang reports whether ev is the bell's.
func (*kernelBell) rang(ev *unix.Kevent_t) bool { return int(ev.Filter) == unix.EVFILT_USER }

func (*kernelBell) consume() {}

func (*kernelBell) signal(kq int) error {
	var change [1]unix.Kevent_t
	unix.SetKevent(&change[0], 0, unix.EVFILT_USER, 0)
	change[0].Fflags = unix.NOTE_TRIGGER
	return kevent(kq, change[:])
}

func (*kernelBell) close() {}
