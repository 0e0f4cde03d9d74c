//go:build (darwin || dragonfly || freebsd || netbsd || openbsd) && !pollonly

package poller

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What kqueue really does
//
// A registration (knote) belongs to a queue, a descriptor number and a filter. EVFILT_READ and
// EVFILT_WRITE are two knotes with an event each, so a descriptor can appear twice in a batch. The
// close of a number ends its knotes, also if a dup keeps the file alive: no zombies as with epoll.
// The queue itself is not inherited by fork, but its number may be by a child that is made without
// copying, so it is marked close-on-exec, under the lock that keeps Go from forking in between.
//
// A knote could carry a pointer of ours (udata). It stays nil: the collector would not see it, and
// x/sys gives the field another type on each system. We keep number -> token in a map, and look it
// up at once when kevent returns. Between that and the caller's dispatch a token can go stale exactly
// as with epoll; the number cannot, because nothing of the caller's runs in between.
//
// EV_CLEAR is the edge: the knote is disarmed when it is reported, and comes back with the next
// activity of the file. A new knote looks at the state, as epoll's ADD does. EV_ADD of an existing
// one is no error; it does not change EV_CLEAR, and not every system looks at the state then. So to
// switch, or to re-arm, we delete and add, and EEXIST and ENOENT are ours, from the map.
//
// EV_EOF on the read filter is the peer's shutdown, with data perhaps unread, and fflags has the
// socket's error if there was one. On the write filter it means that nothing can be written ever
// more: a broken pipe or connection, or a shutdown of our own. Some systems report the broken pipe
// to the write end by EVFILT_READ only, so EV_EOF there wakes the writer as well, if there is one.
// EV_ADD of the write filter on a pipe that is broken already can be refused with EPIPE: Add
// returns it, and the caller learns what its write would have told it.
//
// Regular files are ready until their end and then never again, which hangs whoever waits for end
// of file. Add refuses them with EPERM, as epoll does.
//
// Time is a timespec. darwin answers EINVAL to very long ones; see maxWait. kevent is not restarted
// after a signal: EINTR is an empty batch. darwin was seen to answer ETIMEDOUT (go.dev/issue/59679);
// that is what it says.
//
// All calls go through x/sys and so are announced to the scheduler: darwin and openbsd have no raw
// ones outside libc. In a call as short as a zero timeout the P is not taken away.

// kqueue is the [Poller] of darwin and the BSDs.
type kqueue struct {
	fd   int // the queue; -1 after Close
	bell bell
	kern kernelBell // how the system wakes a kevent: see the two files

	regs    map[int]registration // by descriptor number
	timeout unix.Timespec        // here and not on the stack, which would move it to the heap
	buf     []unix.Kevent_t      // what the kernel filled last; as long as the caller's longest slice
}

type registration struct {
	tok Token
	in  Interest
}

// New opens a kqueue. The error is that of the system call, for example EMFILE.
func New() (Poller, error) {
	syscall.ForkLock.RLock() // no kqueue1 everywhere
	fd, err := unix.Kqueue()
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	p := &kqueue{fd: fd, regs: make(map[int]registration)}
	if err := p.kern.open(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return p, nil
}

func (p *kqueue) Add(fd int, tok Token, in Interest) error {
	validate(tok, in)
	if p.fd < 0 {
		return ErrClosed
	}
	if _, ok := p.regs[fd]; ok {
		return os.NewSyscallError("kevent", unix.EEXIST)
	}
	if err := refuseFile(fd); err != nil {
		return err
	}
	if err := p.switchFilters(fd, 0, in); err != nil {
		p.dropFilters(fd, in) // one of two may be in
		return err
	}
	p.regs[fd] = registration{tok, in}
	return nil
}

func (p *kqueue) Modify(fd int, tok Token, in Interest) error {
	validate(tok, in)
	if p.fd < 0 {
		return ErrClosed
	}
	old, ok := p.regs[fd]
	if !ok {
		return os.NewSyscallError("kevent", unix.ENOENT)
	}
	if err := p.switchFilters(fd, old.in, in); err != nil {
		return err
	}
	p.regs[fd] = registration{tok, in}
	return nil
}

func (p *kqueue) Remove(fd int) error {
	if p.fd < 0 {
		return ErrClosed
	}
	old, ok := p.regs[fd]
	if !ok {
		return os.NewSyscallError("kevent", unix.ENOENT)
	}
	delete(p.regs, fd) // first: whatever the kernel says, it is forgotten
	return p.dropFilters(fd, old.in)
}

// directions are the filters in the order in which they are changed.
var directions = [...]struct {
	in     Interest
	filter int
}{{Readable, unix.EVFILT_READ}, {Writable, unix.EVFILT_WRITE}}

// switchFilters goes from one interest to another in one system call. Edge-triggered filters are
// made anew, so that they report afresh what is ready; level-triggered ones that stay are left alone.
func (p *kqueue) switchFilters(fd int, from, to Interest) error {
	var changes [2 * len(directions)]unix.Kevent_t
	n := 0
	change := func(filter, flags int) {
		unix.SetKevent(&changes[n], fd, filter, flags)
		n++
	}
	renew := (from|to)&Edge != 0
	add := unix.EV_ADD
	if to&Edge != 0 {
		add |= unix.EV_CLEAR
	}
	for _, d := range directions {
		if from&d.in != 0 && (renew || to&d.in == 0) {
			change(d.filter, unix.EV_DELETE)
		}
	}
	for _, d := range directions {
		if to&d.in != 0 && (renew || from&d.in == 0) {
			change(d.filter, add)
		}
	}
	if n == 0 {
		return nil
	}
	return kevent(p.fd, changes[:n])
}

// dropFilters deletes one at a time, because the kernel stops at the first that fails.
func (p *kqueue) dropFilters(fd int, in Interest) error {
	var first error
	for _, d := range directions {
		if in&d.in == 0 {
			continue
		}
		var change [1]unix.Kevent_t
		unix.SetKevent(&change[0], fd, d.filter, unix.EV_DELETE)
		if err := kevent(p.fd, change[:]); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// kevent makes changes. They take effect before the call can be interrupted, but not everywhere is
// that written down; done twice they are the same, save that a delete finds nothing left to do.
func kevent(kq int, changes []unix.Kevent_t) error {
	_, err := unix.Kevent(kq, changes, nil, nil)
	if err == unix.EINTR {
		if _, err = unix.Kevent(kq, changes, nil, nil); err == unix.ENOENT {
			err = nil
		}
	}
	return os.NewSyscallError("kevent", err)
}

func (p *kqueue) Wait(events []Event, d time.Duration) (n int, woken bool, err error) {
	validateWait(events)
	if p.fd < 0 {
		return 0, false, ErrClosed
	}
	if len(p.buf) < len(events) {
		p.buf = make([]unix.Kevent_t, len(events))
	}
	var timeout *unix.Timespec // nil: forever
	if d >= 0 {
		p.timeout = unix.NsecToTimespec(int64(min(d, maxWait)))
		timeout = &p.timeout
	}
	got, err := unix.Kevent(p.fd, nil, p.buf[:len(events)], timeout)
	if err != nil {
		if err == unix.EINTR || err == unix.ETIMEDOUT {
			return 0, false, nil
		}
		return 0, false, os.NewSyscallError("kevent", err)
	}
	for i := range got {
		ev := &p.buf[i]
		if p.kern.rang(ev) {
			woken = true
			continue
		}
		reg, ok := p.regs[int(ev.Ident)]
		if !ok {
			continue // cannot be, as the essay says; but an event without an owner is nobody's
		}
		events[n] = Event{reg.tok, kqueueReady(ev, reg.in)}
		n++
	}
	if woken {
		p.kern.consume()
		p.bell.heard() // only now: see type bell
	}
	return n, woken, nil
}

func (p *kqueue) Wake() error { return p.bell.ring(p) }

func (p *kqueue) signal() error { return p.kern.signal(p.fd) }

func (p *kqueue) Close() error {
	var err error
	p.bell.shut(func() {
		err = os.NewSyscallError("close", unix.Close(p.fd))
		p.kern.close()
		p.fd, p.regs, p.buf = -1, nil, nil
	})
	return err
}

// FD returns the descriptor of the queue, readable while Wait would return at once; see [Poller].
// Another kqueue takes it as Readable only.
func (p *kqueue) FD() int { return p.fd }

// kqueueReady translates. The types of the fields differ between systems, hence the conversions.
func kqueueReady(ev *unix.Kevent_t, in Interest) Ready {
	eof := uint32(ev.Flags)&unix.EV_EOF != 0
	var r Ready
	switch int(ev.Filter) {
	case unix.EVFILT_READ:
		r = CanRead
		if eof {
			r |= HangUp
			if in&Writable != 0 {
				r |= CanWrite
			}
			if ev.Fflags != 0 {
				r |= Failed | CanWrite
			}
		}
	case unix.EVFILT_WRITE:
		r = CanWrite
		if eof {
			r |= Failed | CanRead
		}
	}
	if uint32(ev.Flags)&unix.EV_ERROR != 0 {
		r |= Failed | CanRead | CanWrite
	}
	return r
}
