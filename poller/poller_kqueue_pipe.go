//go:build (netbsd || openbsd) && !pollonly

package poller

import "golang.org/x/sys/unix"

// kernelBell wakes a kevent by a byte in a pipe: not all releases of these systems have EVFILT_USER.
type kernelBell struct{ pipe wakePipe }

func (b *kernelBell) open(kq int) error {
	if err := b.pipe.open(); err != nil {
		return err
	}
	var change [1]unix.Kevent_t
	unix.SetKevent(&change[0], b.pipe.r, unix.EVFILT_READ, unix.EV_ADD)
	if err := kevent(kq, change[:]); err != nil {
		b.pipe.close()
		return err
	}
	return nil
}

// rang reports whether ev is the bell's. While the pipe is open its number is nobody else's.
func (b *kernelBell) rang(ev *unix.Kevent_t) bool { return int(ev.Ident) == b.pipe.r }

func (b *kernelBell) consume() { b.pipe.consume() }

func (b *kernelBell) signal(int) error { return b.pipe.signal() }

func (b *kernelBell) close() { b.pipe.close() }
