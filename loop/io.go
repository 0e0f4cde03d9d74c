package loop

import (
	"errors"
	"fmt"

	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/poller"
)

// ErrBusy is returned when a descriptor is registered already, by a socket of
// package stream.
var ErrBusy = errors.New("loop: descriptor is in use")

// descriptors holds what is registered with the poller, by descriptor.
//
// An event carries the descriptor and the generation of its registration: after
// a close and a reuse of the number, in the same batch perhaps, the generations
// differ and the event is dropped.
type descriptors struct {
	byFD   []*descriptor
	n      int // registered
	stale  uint64
	ghosts int // polls in a row that brought only stale events
}

type descriptor struct {
	gen    uint32
	active bool
	sink   Sink            // a socket of ours, edge-triggered; or
	reader *ioCall         // AddReader
	writer *ioCall         // AddWriter
	have   poller.Interest // what the poller was told
}

// A Sink hears of a descriptor that became ready. Ready is called while the loop
// looks, not as a callback: it must only note what is ready and queue.
type Sink interface{ Ready(r poller.Ready) }

// Watch registers a descriptor for both directions, edge-triggered, for its
// whole life. It is for packages that make sockets: they try first and wait only
// when the system says that the call would block. The descriptor must be
// non-blocking, and given back to [Loop.Unwatch] before it is closed. It returns
// [ErrBusy] for one that is registered, and the poller's errors: EPERM for a
// regular file.
func (l *Loop) Watch(fd int, s Sink) error {
	if l.strict {
		l.check("Watch")
	}
	d, err := l.fds.at(fd)
	if err != nil {
		return err
	}
	if d.active {
		return ErrBusy
	}
	if err := l.openPoller(); err != nil {
		return err
	}
	d.gen++
	if err := l.poller.Add(fd, token(fd, d.gen), poller.Readable|poller.Writable|poller.Edge); err != nil {
		return fmt.Errorf("loop: watching descriptor %d: %w", fd, err)
	}
	d.active, d.sink = true, s
	l.fds.n++
	return nil
}

// Unwatch ends Watch. Events on their way are dropped. It must come before the
// descriptor is closed: the kernel keeps a registration as long as any duplicate
// of the descriptor is open.
func (l *Loop) Unwatch(fd int) {
	if d := l.fds.find(fd); d != nil && d.sink != nil {
		l.fds.drop(l, fd, d)
	}
}

// Rearm asks for a fresh edge after the system said that a call would block. It
// does something only with pollers that have no edges of their own.
func (l *Loop) Rearm(fd int, dir poller.Interest) {
	if r, ok := l.poller.(poller.Rearmer); ok {
		r.Rearm(fd, dir)
	}
}

// An ioCall is a callback that is made whenever a descriptor is ready.
type ioCall struct {
	l   *Loop
	fn  func() // nil once removed
	env *env.Env
}

func (c *ioCall) Run() {
	if c.fn == nil {
		return // removed after its event was queued
	}
	c.l.env, c.l.callback = c.env, nil
	c.fn()
	c.l.env, c.l.callback = c.l.root, nil
}

// AddReader arranges for fn to be called, once a look, as long as fd has
// something to read, an end or an error. A second call replaces the first.
// RemoveReader must be called before fd is closed. It returns [ErrBusy] for a
// descriptor of a socket of this module, and the poller's errors: EPERM for a
// regular file. (asyncio: add_reader)
func (l *Loop) AddReader(fd int, fn func()) error { return l.addIO(fd, fn, poller.Readable) }

// AddWriter arranges for fn to be called, once a look, as long as fd can be
// written to. See AddReader. (asyncio: add_writer)
func (l *Loop) AddWriter(fd int, fn func()) error { return l.addIO(fd, fn, poller.Writable) }

// RemoveReader ends AddReader and reports whether there was one.
// (asyncio: remove_reader)
func (l *Loop) RemoveReader(fd int) bool { return l.removeIO(fd, poller.Readable) }

// RemoveWriter ends AddWriter and reports whether there was one.
// (asyncio: remove_writer)
func (l *Loop) RemoveWriter(fd int) bool { return l.removeIO(fd, poller.Writable) }

func (d *descriptor) call(dir poller.Interest) **ioCall {
	if dir == poller.Readable {
		return &d.reader
	}
	return &d.writer
}

func (l *Loop) addIO(fd int, fn func(), dir poller.Interest) error {
	if l.strict {
		l.check("AddReader or AddWriter")
	}
	d, err := l.fds.at(fd)
	if err != nil {
		return err
	}
	if d.sink != nil {
		return ErrBusy
	}
	if err := l.openPoller(); err != nil {
		return err
	}
	if d.active {
		// Also if nothing changes: fd may have been closed and reused behind our
		// back, and then the kernel knows nothing of it any more.
		err = l.poller.Modify(fd, token(fd, d.gen), d.have|dir)
	}
	if !d.active || err != nil {
		d.gen++
		err = l.poller.Add(fd, token(fd, d.gen), d.have|dir)
	}
	if err != nil {
		return fmt.Errorf("loop: watching descriptor %d: %w", fd, err)
	}
	if !d.active {
		d.active = true
		l.fds.n++
	}
	d.have |= dir
	slot := d.call(dir)
	if *slot != nil {
		(*slot).fn = nil
	}
	*slot = &ioCall{l: l, fn: fn, env: l.capture()}
	return nil
}

func (l *Loop) removeIO(fd int, dir poller.Interest) bool {
	if l.strict {
		l.check(removing)
	}
	d := l.fds.find(fd)
	if d == nil {
		return false
	}
	slot := d.call(dir)
	if *slot == nil {
		return false
	}
	(*slot).fn = nil
	*slot = nil
	if d.have &^= dir; d.have == 0 {
		// At once, not before the next poll: the caller may close fd now.
		l.fds.drop(l, fd, d)
	} else if err := l.poller.Modify(fd, token(fd, d.gen), d.have); err != nil {
		l.report(&CallError{Op: "poller", Err: err})
	}
	return true
}

// removing names RemoveReader and RemoveWriter in messages.
const removing = "RemoveReader or RemoveWriter"

func token(fd int, gen uint32) poller.Token {
	return poller.Token(uint64(gen)<<32 | uint64(uint32(fd)))
}

// at returns the slot of fd.
func (s *descriptors) at(fd int) (*descriptor, error) {
	if fd < 0 || fd > 1<<30 {
		return nil, fmt.Errorf("loop: descriptor %d: %w", fd, errBadFD)
	}
	for fd >= len(s.byFD) {
		s.byFD = append(s.byFD, nil)
	}
	if s.byFD[fd] == nil {
		s.byFD[fd] = new(descriptor)
	}
	return s.byFD[fd], nil
}

var errBadFD = errors.New("bad file descriptor")

// find returns the registration of fd, or nil.
func (s *descriptors) find(fd int) *descriptor {
	if fd < 0 || fd >= len(s.byFD) || s.byFD[fd] == nil || !s.byFD[fd].active {
		return nil
	}
	return s.byFD[fd]
}

// drop forgets a registration, in the kernel too.
func (s *descriptors) drop(l *Loop, fd int, d *descriptor) {
	// An error means that fd was closed behind our back. Nothing can be done, and
	// the generation keeps its events away.
	_ = l.poller.Remove(fd)
	*d = descriptor{gen: d.gen}
	s.n--
}

// dispatch queues the calls for an event, if its registration still stands.
func (s *descriptors) dispatch(l *Loop, ev *poller.Event) {
	fd := int(uint32(ev.Token))
	d := s.find(fd)
	if d == nil || d.gen != uint32(ev.Token>>32) {
		s.stale++
		return
	}
	if d.sink != nil {
		d.sink.Ready(ev.Ready)
		return
	}
	if d.reader != nil && ev.Ready&(poller.CanRead|poller.HangUp|poller.Failed) != 0 {
		l.ready.push(d.reader)
	}
	if d.writer != nil && ev.Ready&(poller.CanWrite|poller.Failed) != 0 {
		l.ready.push(d.writer)
	}
}

// maxGhosts is how many polls in a row may bring only stale events.
const maxGhosts = 3

// exorcise replaces the poller when it is haunted: by the registration of a
// descriptor that was closed before it was removed, while a duplicate is open. The
// kernel reports it for ever, and offers no way to remove it.
func (s *descriptors) exorcise(l *Loop, onlyStale bool) {
	if !onlyStale {
		s.ghosts = 0
		return
	}
	if s.ghosts++; s.ghosts < maxGhosts {
		return
	}
	s.ghosts = 0
	old := l.poller
	l.poller = nil
	if err := l.openPoller(); err != nil {
		l.poller = old
		l.report(&CallError{Op: "poller", Err: err})
		return
	}
	l.doze.close()
	for fd, d := range s.byFD {
		if d == nil || !d.active {
			continue
		}
		in := d.have
		if d.sink != nil {
			in = poller.Readable | poller.Writable | poller.Edge
		}
		if err := l.poller.Add(fd, token(fd, d.gen), in); err != nil {
			// Closed behind our back. Who waits must look, and finds out.
			s.dispatch(l, &poller.Event{Token: token(fd, d.gen), Ready: poller.CanRead | poller.CanWrite | poller.Failed})
		}
	}
	_ = old.Close()
}
