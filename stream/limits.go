package stream

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/eddyloop/eddy/loop"
)

// SetTimeouts bounds how long the peer may take: idle, a single wait, and message,
// all waits together from the first byte of a message to the next call of
// [Conn.NextMessage]. Zero or less is no bound. Each byte ends an idle wait, so
// only message stops a peer that sends a byte now and then. A call that exceeds a
// bound returns an error that is os.ErrDeadlineExceeded; the connection stays
// open. They are counted on the loop's clock, and hold for reads and writes alike,
// also through a [Conn.NetConn].
func (c *Conn) SetTimeouts(idle, message time.Duration) {
	lim := c.limits()
	lim.idle, lim.message = max(idle, 0), max(message, 0)
}

func (c *Conn) limits() *limits {
	x := c.extra()
	if x.limits == nil {
		x.limits = &limits{c: c}
		x.limits.rd.lim, x.limits.wd.lim = x.limits, x.limits
	}
	return x.limits
}

// NextMessage waits until the peer begins another message: until there is a byte
// to read, which it leaves there. Handlers that call it between messages tell the
// server that what they have begun is done: [Listener.Shutdown] ends the wait with
// io.EOF, and [Conn.SetTimeouts] counts a message from its first byte. Its errors
// are those of Read.
//
// Cancel safety: a canceled NextMessage has taken nothing from the stream.
func (c *Conn) NextMessage(ctx context.Context) error {
	if err := c.giveWay(ctx); err != nil {
		return err
	}
	if c.held(reading) {
		return ErrBusy
	}
	lim := c.limits()
	lim.until, lim.asked, lim.between = time.Time{}, true, true
	defer func() { lim.between = false }()
	for c.in == nil {
		err := c.fill(defaultLineLimit)
		if err == ErrWouldBlock {
			err = c.waitReadable(ctx, nil)
		} else if err != nil && err != io.EOF {
			err = c.opError("read", err)
		}
		if err != nil {
			return err
		}
	}
	if lim.message > 0 {
		lim.until = c.Loop().Now().Add(lim.message)
	}
	return nil
}

// limits are the bounds of a connection's waits.
type limits struct {
	c             *Conn
	idle, message time.Duration // 0: none
	until         time.Time     // of the message under way; zero: no bound
	asked         bool          // the handler calls NextMessage
	between       bool          // it does now
	ending        bool          // the server waits for what is under way, and for no more
	rd, wd        limited
}

// A limited is the wait in one direction.
type limited struct {
	lim   *limits
	w     *wait // nil: nobody waits
	timer loop.Timer
	late  bool // the time was over
}

func (m *limits) await(ctx context.Context, w *wait, op string, d *deadline) error {
	s := &m.rd
	if op == "write" {
		s = &m.wd
	}
	s.w, s.late = w, false
	defer s.leave()
	if s == &m.rd && m.over() {
		return io.EOF
	}
	s.start()
	err := w.await(ctx, d)
	if err == nil && s.late {
		err = m.c.opError(op, os.ErrDeadlineExceeded)
	}
	return err
}

func (s *limited) leave() {
	s.lim.c.Loop().StopTimer(&s.timer)
	s.w = nil
}

// start sets the timer by whichever bound comes first.
func (s *limited) start() {
	if end := s.lim.end(); !end.IsZero() {
		s.lim.c.Loop().StartTimerAt(&s.timer, end, s)
	}
}

// end returns when a wait that begins now is too long; zero: never.
func (m *limits) end() time.Time {
	end := m.until
	if m.idle > 0 {
		if t := m.c.Loop().Now().Add(m.idle); end.IsZero() || t.Before(end) {
			end = t
		}
	}
	return end
}

// Run ends the wait because its time is over.
func (s *limited) Run() {
	if s.w != nil && !s.w.Done() {
		s.late = true
		s.w.wake()
	}
}

// over reports whether the server takes no more messages, and none is under way.
func (m *limits) over() bool { return m.ending && (m.between || !m.asked) }

// finish lets the message under way be the last one.
func (m *limits) finish() {
	m.ending = true
	if m.over() {
		m.c.r.wake() // it looks once more, and does not wait again
	}
}
