package netfd

import (
	"fmt"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
)

// An Acceptor is a listening socket that survives a shortage of descriptors. It is
// part of a listener, which it tells when to try. The zero value is closed.
//
// When descriptors or memory run out it rests, 5 ms and then twice as long each
// time, up to 1 s, and says so once to the loop's OnError; connections wait in the
// system's queue meanwhile. Trying on would take the whole processor.
//
//	accepting <--rest is over / shortage--> resting
//	accepting or resting --Close, or closing the loop--> closed
type Acceptor struct {
	fd      FD
	owner   AcceptOwner
	resting bool // until the timer fires
	short   bool // the shortage was reported
	delay   time.Duration
	timer   loop.Timer
	stats   AcceptStats
}

// An AcceptOwner has an Acceptor. Acceptable is called, once for each
// [Acceptor.Want], when trying is worthwhile: while the loop looks, or in a
// callback, so it only notes and queues. AcceptName names it in reports.
type AcceptOwner interface {
	Acceptable()
	AcceptName() string
}

// AcceptStats is what an [Acceptor] has done.
type AcceptStats struct {
	Accepted uint64 // connections handed out
	Aborted  uint64 // connections that were gone before they were accepted
	Rests    uint64 // pauses for want of descriptors or memory
}

// MaxAccepts is how many connections one listener accepts before it lets others
// run.
const MaxAccepts = 64

const (
	minRest = 5 * time.Millisecond
	maxRest = time.Second
)

// Open takes over a listening socket, unless it fails. See [FD.Open].
func (a *Acceptor) Open(l *loop.Loop, fd int, owner AcceptOwner) error {
	a.owner = owner
	return a.fd.Open(l, fd, (*acceptorSink)(a), false)
}

// An acceptorSink is an Acceptor as the loop sees it.
type acceptorSink Acceptor

// Ready tells the owner, who wants it, unless it rests.
func (s *acceptorSink) Ready(r poller.Ready) {
	if reader, _ := s.fd.Note(r); reader && !s.resting {
		s.owner.Acceptable()
	}
}

// TryAccept returns a connection's descriptor and its peer. It returns
// [ErrWouldBlock] if there is none or while the Acceptor rests, net.ErrClosed, and
// errors of the system that do not pass by themselves.
func (a *Acceptor) TryAccept() (fd int, peer Addr, err error) {
	for aborted := 0; !a.resting; aborted++ {
		fd, peer, err = a.fd.TryAccept()
		if err == nil {
			if Accepted(fd) == nil {
				a.stats.Accepted++
				a.delay = 0
				return fd, peer, nil
			}
			CloseFD(fd)
			a.stats.Aborted++ // BSD refuses options of a connection that is gone
			continue
		}
		switch {
		case err == ErrWouldBlock:
			a.short = false // all are served: what may come is a new shortage
			return -1, peer, err
		case Shortage(err), aborted >= MaxAccepts: // or it would go on for ever
			a.Rest(err)
		case Aborted(err):
			a.stats.Aborted++
		default:
			return -1, peer, err
		}
	}
	return -1, peer, ErrWouldBlock
}

// Want makes the owner be told once. The Acceptor must be open, and have said
// [ErrWouldBlock].
func (a *Acceptor) Want() {
	if !a.fd.Readable() { // else it rests, and tells when that is over
		a.fd.WantRead()
	}
}

// Rest pauses until there may be again what err, a [Shortage], is the want of. It is
// called by the owner if that showed after the accept.
func (a *Acceptor) Rest(err error) {
	l := a.fd.Loop()
	a.resting = true
	a.stats.Rests++
	a.delay = min(max(2*a.delay, minRest), maxRest)
	l.StartTimer(&a.timer, a.delay, (*restEnd)(a))
	if !a.short {
		a.short = true
		l.Report(&loop.CallError{Op: "accept", Name: a.owner.AcceptName(), Err: fmt.Errorf("accepting rests for a while: %w", err)})
	}
}

// A restEnd is an Acceptor as its timer sees it.
type restEnd Acceptor

func (r *restEnd) Run() {
	r.resting = false
	r.owner.Acceptable()
}

// Close stops listening, and reports whether it was open. Telling who waits is
// left to the owner.
func (a *Acceptor) Close() (bool, error) {
	ok, err := a.fd.Close()
	if ok {
		a.fd.Loop().StopTimer(&a.timer)
		a.resting = false
	}
	return ok, err
}

// Num returns the descriptor, or -1 if a is closed.
func (a *Acceptor) Num() int { return a.fd.Num() }

// Loop returns the loop that a was opened on, also when it is closed.
func (a *Acceptor) Loop() *loop.Loop { return a.fd.Loop() }

// Stats returns what a has done.
func (a *Acceptor) Stats() AcceptStats { return a.stats }
