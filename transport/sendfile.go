package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
)

// A SendfileError says how far [Sendfile] has got before it failed.
type SendfileError struct {
	Sent int64 // bytes that went to the system
	Err  error
}

// Error names what went wrong and how much was sent.
func (e *SendfileError) Error() string {
	return fmt.Sprintf("transport: sendfile failed after %d bytes: %v", e.Sent, e.Err)
}

// Unwrap returns Err.
func (e *SendfileError) Unwrap() error { return e.Err }

const (
	sendfileChunk = 1 << 20   // what one call of sendfile(2) may take
	copyChunk     = 256 << 10 // what is read at a time where that does not work
)

// Sendfile sends n bytes of f from off, or all to its end if n is negative, after what
// was written before. The future has the number of bytes sent, which is less than n if
// f ends before. Until then, writes to t get [ErrBusy]; Close waits for it. The file's own
// position stays. It fails with [*SendfileError]: net.ErrClosed if t is closing or
// lost, [ErrBusy] if another file is being sent, [ErrWriteClosed], what the system
// says of the file, and what t is lost by. f must stay open until the future is settled.
// (asyncio: loop.sendfile)
//
// A file that is not in memory makes sendfile(2) wait for the disk, so the call is made
// on another goroutine, for a megabyte at a time, which costs a couple of hops for each
// and keeps the loop free; small files that are sure to be in memory are better read and
// written. Where it cannot be used (TLS, pipes, other systems than Linux) that goroutine
// reads, and the loop writes, 256 KB at a time.
//
// Cancel safety: canceling the future ends the sending where it is, in a turn or a few;
// nobody is told how far it got, so the connection is of little use.
func Sendfile(t *Transport, f *os.File, off, n int64) *future.Future[int64] {
	if off < 0 {
		panic("transport: Sendfile from a negative offset")
	}
	s := &sendfile{t: t, f: f, off: off, left: n, dup: -1}
	future.Init(&s.done, t.hub.l, s)
	var err error
	switch {
	case t.flags&(closing|losing|lost|failed) != 0:
		err = net.ErrClosed
	case t.flags&(eofOut|readOnly) != 0:
		err = ErrWriteClosed
	case t.flags&sending != 0:
		err = ErrBusy
	}
	if err != nil {
		future.Settle(&s.done, 0, &SendfileError{0, err})
		return &s.done
	}
	t.flags |= sending
	t.extra().sendfile = s
	if t.flags&encrypted == 0 && t.kind != netfd.File {
		s.dup, _ = netfd.Dup(t.fd.Num()) // without one, files are read
	}
	if t.WriteBufferSize() == 0 && !t.shaking() {
		s.next()
	}
	return &s.done
}

// A sendfile is a file that is being sent. One step at a time is out, on another
// goroutine. The descriptor must not be closed meanwhile, and given to somebody else,
// so sendfile(2) works on a duplicate.
//
//	flushing --all is written--> step is out --posted--> again, or waiting for room
//	any --all is sent, an error, canceled--> done, as soon as no step is out
type sendfile struct {
	done    future.Future[int64]
	t       *Transport
	f       *os.File
	off     int64
	left    int64 // negative: up to the end
	sent    int64
	written int64  // of what was read, handed over for writing
	dup     int    // of the socket, for sendfile(2); -1: read and write
	buf     []byte // to read into
	out     bool   // a step is
	waiting bool   // for room
	over    error  // why to stop; nil: go on

	// Of the step: what it is to do, and what became of it.
	n   int
	err error
}

// next takes a step. All that was handed over has been written.
func (s *sendfile) next() {
	t := s.t
	s.sent += s.written
	s.written = 0
	if s.out {
		return
	}
	if s.over != nil || s.left == 0 {
		s.finish()
		return
	}
	s.n = copyChunk
	if s.dup >= 0 {
		s.n = sendfileChunk
		// Before the step, or the room it waits for may come unseen.
		t.fd.SetWritable(false)
		t.fd.WantWrite()
	} else if s.buf == nil {
		s.buf = make([]byte, copyChunk)
	}
	if s.left >= 0 {
		s.n = int(min(int64(s.n), s.left))
	}
	s.out, s.waiting = true, false
	t.hub.l.AddOutside(1)
	go s.step()
}

// step runs on a goroutine.
func (s *sendfile) step() {
	l := s.t.hub.l
	if s.dup >= 0 {
		s.n, s.err = netfd.Sendfile(s.dup, s.f, s.off, s.n)
	} else {
		s.n, s.err = s.f.ReadAt(s.buf[:s.n], s.off)
		if s.n > 0 || s.err == io.EOF {
			s.err = nil // an error comes again
		}
	}
	dup := s.dup
	if err := l.QueueThreadsafe((*sendfileStep)(s)); err != nil && dup >= 0 {
		netfd.CloseFD(dup) // the loop is closed
	}
	l.AddOutside(-1) // after the post
}

// A sendfileStep is a sendfile whose step is done.
type sendfileStep sendfile

func (c *sendfileStep) Run() {
	s := (*sendfile)(c)
	s.out = false
	if s.t.flags&lost != 0 {
		s.count()
		s.finish()
		return
	}
	s.t.hub.l.CallIn(s.t.env, s.stepped)
}

func (s *sendfile) stepped() {
	t := s.t
	defer t.guard()
	switch {
	case s.over != nil:
		s.count()
		s.finish()
	case s.err == netfd.ErrWouldBlock:
		s.waiting = true
		s.room()
	case s.err == errors.ErrUnsupported:
		s.closeDup()
		s.next()
	case s.err != nil && s.dup >= 0 && netfd.Disconnected(s.err):
		_ = t.writeFailed(s.err) // which stops us
	case s.err != nil:
		s.over = s.err
		s.finish()
	case s.n == 0: // the file has ended
		s.left = 0
		s.next()
	case s.dup >= 0:
		s.count()
		s.next()
	default:
		s.handOver()
	}
}

// count takes down what sendfile(2) has sent.
func (s *sendfile) count() {
	if s.dup >= 0 && s.err == nil {
		s.advance()
		s.sent += int64(s.n)
	}
}

func (s *sendfile) advance() {
	s.off += int64(s.n)
	if s.left > 0 {
		s.left -= int64(s.n)
	}
}

// handOver writes what was read.
func (s *sendfile) handOver() {
	t := s.t
	s.advance()
	s.written = int64(s.n)
	var err error
	if t.flags&encrypted != 0 {
		t.out.put(s.buf[:s.n], &t.hub.spare)
		err = t.pushTLS()
	} else {
		err = t.send(s.buf[:s.n])
	}
	if err == nil && t.WriteBufferSize() == 0 && s.over == nil {
		s.next()
	} // else it comes when all is written
}

// room goes on if there is room again.
func (s *sendfile) room() {
	if s.waiting && s.t.fd.Writable() {
		s.next()
	}
}

// stop ends the sending, because of err. What a step does meanwhile is not undone.
func (s *sendfile) stop(err error) {
	if s.over == nil {
		s.over = err
	}
	if !s.out {
		s.finish()
	}
}

// finish settles the future, and lets the transport go on with what waited.
func (s *sendfile) finish() {
	t := s.t
	if t.flags&sending == 0 {
		return
	}
	s.closeDup()
	s.buf = nil
	t.flags &^= sending
	t.more.sendfile = nil
	c := future.AsCanceled(s.over)
	switch {
	case s.over == loop.ErrClosed:
		future.SettleCanceled(&s.done, s.over) // the loop closes: nobody is there to look
	case c != nil:
		future.SettleCanceled(&s.done, c.Cause)
	case s.over != nil:
		future.Settle(&s.done, s.sent, &SendfileError{s.sent, s.over})
	default:
		future.Settle(&s.done, s.sent, nil)
	}
	switch {
	case t.flags&(losing|lost|failed) != 0:
	case t.flags&encrypted != 0:
		t.schedule()
	case t.out.size == 0:
		t.drained()
	}
}

func (s *sendfile) closeDup() {
	if s.dup >= 0 {
		netfd.CloseFD(s.dup)
		s.dup = -1
		s.t.fd.SetWritable(true) // trying may be worthwhile
	}
}

// CancelFuture implements [future.Canceler].
func (s *sendfile) CancelFuture(cause error) bool {
	s.stop(&future.CanceledError{Cause: cause})
	return true
}

// String names what a task waits for.
func (s *sendfile) String() string { return "sendfile to " + s.t.String() }
