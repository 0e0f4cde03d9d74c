package netdial

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
)

// An attempt connects to one address. It is its socket's [loop.Sink].
//
//	begun --connected--> won: the socket is handed on
//	begun --error, timeout, another won, Cancel--> over: the socket is closed
type attempt struct {
	d        *Dial
	peer     netfd.Addr
	fd       netfd.FD // closed before it connects and when it is over
	over     bool
	err      error // why it failed
	tries    int
	timeout  loop.Timer
	fallback loop.Timer
	retry    loop.Timer
	stop     func() // instead of closing fd, where a test connects
}

// begin reports whether it is under way; else err is set.
func (a *attempt) begin() bool {
	d := a.d
	if err := d.cfg.connect(a); err != nil {
		a.fail(err)
		return false
	}
	if t := d.cfg.AttemptTimeout; t > 0 {
		d.l.StartTimer(&a.timeout, t, (*attemptTimeout)(a))
	}
	if t := d.fallbackDelay(); t >= 0 && len(d.attempts) < len(d.addrs) {
		d.l.StartTimer(&a.fallback, t, (*attemptFallback)(a))
	}
	return true
}

// connect begins to connect a socket. If it returns nil, Run will be called when
// there is something to be told.
func (a *attempt) connect() error {
	a.tries++
	if a.d.cfg.Network == "unix" {
		return a.connectUnix()
	}
	fd, err := netfd.Connect(a.peer, a.d.cfg.Local)
	if err == nil {
		err = a.open(fd, false)
	}
	return err
}

const (
	minRetry = time.Millisecond
	maxRetry = 64 * time.Millisecond
)

// connectUnix tries again after a while if the listener's queue is full: there is
// no event for that.
func (a *attempt) connectUnix() error {
	fd, err := netfd.ConnectUnix(a.d.cfg.Address)
	switch {
	case err == nil:
		if err = a.open(fd, true); err == nil {
			a.d.l.Queue(a)
		}
		return err
	case errors.Is(err, syscall.EAGAIN):
		a.d.l.StartTimer(&a.retry, min(minRetry<<min(a.tries-1, 10), maxRetry), (*attemptRetry)(a))
		return nil
	}
	return err
}

func (a *attempt) open(fd int, writable bool) error {
	if err := a.fd.Open(a.d.l, fd, a, writable); err != nil {
		netfd.CloseFD(fd)
		return err
	}
	if !writable {
		a.fd.WantWrite()
	}
	return nil
}

// Ready queues what is to be done. The loop calls it while it looks.
func (a *attempt) Ready(r poller.Ready) {
	if _, writer := a.fd.Note(r); writer {
		a.d.l.Queue(a)
	}
}

// maxTries is how often a socket may connect to itself.
const maxTries = 3

// Run looks how the connect has ended. It is for the loop.
func (a *attempt) Run() {
	if a.over {
		return
	}
	err := a.fd.TryConnect()
	switch {
	case err == netfd.ErrWouldBlock:
		a.fd.WantWrite()
	case err == nil && a.peer.Valid() && a.fd.Local() == a.peer && a.tries < maxTries:
		// A free port of this machine may be given to the socket that connects to
		// it: then it is connected to itself.
		_, _ = a.fd.Close()
		a.again()
	case err == nil:
		a.win(a.fd.Detach())
	default:
		a.lose(err)
	}
}

// again connects anew, in the time that is left.
func (a *attempt) again() {
	if err := a.d.cfg.connect(a); err != nil {
		a.lose(err)
	}
}

// win hands a connected socket on.
func (a *attempt) win(fd int) {
	a.stop = nil
	a.d.finish(fd, a.peer, nil)
}

// lose ends an attempt that was under way, and begins the next.
func (a *attempt) lose(err error) {
	a.fail(err)
	a.d.live--
	a.d.goOn()
}

// fail notes why.
func (a *attempt) fail(err error) {
	oe := &net.OpError{Op: "dial", Net: a.d.cfg.Network, Err: err}
	if a.peer.Valid() {
		oe.Addr = TCPAddr(&a.peer)
	} else {
		oe.Addr = &net.UnixAddr{Net: "unix", Name: a.d.cfg.Address}
	}
	a.err = oe
	a.end()
}

// end closes the socket, if it is still open here. A second call does nothing.
func (a *attempt) end() {
	if a.over {
		return
	}
	a.over = true
	for _, t := range []*loop.Timer{&a.timeout, &a.fallback, &a.retry} {
		a.d.l.StopTimer(t)
	}
	if a.stop != nil {
		a.stop()
	}
	_, _ = a.fd.Close() // nobody is left to tell
}

// An attemptTimeout is an attempt that has taken too long.
type attemptTimeout attempt

func (t *attemptTimeout) Run() {
	if a := (*attempt)(t); !a.over {
		a.lose(os.ErrDeadlineExceeded)
	}
}

// An attemptFallback is an attempt that has been alone for long enough.
type attemptFallback attempt

func (f *attemptFallback) Run() {
	// It may have been queued when another failed, and began the next.
	if a := (*attempt)(f); !a.over && a == a.d.attempts[len(a.d.attempts)-1] {
		a.d.goOn()
	}
}

// An attemptRetry is an attempt that found no room.
type attemptRetry attempt

func (r *attemptRetry) Run() {
	if a := (*attempt)(r); !a.over {
		a.again()
	}
}
