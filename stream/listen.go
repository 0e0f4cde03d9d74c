package stream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
	"github.com/eddyloop/eddy/task"
)

// A Listener accepts connections. Make it with [Listen], and close it. It must be
// used on its loop. (asyncio: Server)
//
// When descriptors or memory run out it rests, 5 ms and then twice as long each
// time, up to 1 s, and says so once to the loop's OnError; connections wait in
// the system's queue meanwhile.
//
//	accepting <--rest is over / shortage--> resting
//	accepting or resting --Close, or closing the loop--> closed
type Listener struct {
	fd      netfd.FD
	network string
	addr    netfd.Addr
	shared  *netfd.Addr   // of all connections, unless addr is any
	waiters []*acceptWait // all are woken, and those who get nothing wait again
	spent   int           // accepted without a wait
	resting bool          // until the timer fires
	short   bool          // the shortage was reported
	delay   time.Duration // of the last rest
	timer   loop.Timer
	stats   ListenerStats
}

// ListenerStats is what a [Listener] has done since it was made.
type ListenerStats struct {
	Accepted uint64 // connections handed out
	Aborted  uint64 // connections that were gone before they were accepted
	Rests    uint64 // pauses for want of descriptors or memory
	Serving  int    // connections whose handlers run now
}

// maxAccepts is how many connections a task accepts before it gives way.
const maxAccepts = 64

const (
	minRest = 5 * time.Millisecond
	maxRest = time.Second
)

// Listen makes a Listener for "host:port" with network "tcp", "tcp4" or "tcp6".
// Port 0, or none, lets the system choose. Without a host it listens on all
// addresses: with "tcp" on IPv6 and IPv4, if the system has both. Of a name with
// several addresses it takes the first. Errors are *net.OpError. It must be
// called in a task. (asyncio: start_server)
//
// The address can be used again right after a Listener was closed (SO_REUSEADDR),
// and connections send small writes at once (TCP_NODELAY).
//
// Cancel safety: nothing is left open.
func Listen(ctx context.Context, network, address string) (*Listener, error) {
	l := park.From(ctx, "stream: Listen").Loop()
	e, err := parseEndpoint(network, address)
	if err != nil {
		return nil, e.opError("listen", nil, err)
	}
	addrs, err := e.resolve(ctx, everywhere)
	if err != nil {
		return nil, e.opError("listen", nil, err)
	}
	var first error
	for i := range addrs {
		a := addrs[i]
		fd, err := netfd.Listen(a, network == "tcp" && a.IP() == netip.IPv6Unspecified(), false)
		if err == nil {
			ln := &Listener{network: network, addr: netfd.LocalAddr(fd)}
			if !ln.addr.IP().IsUnspecified() {
				ln.shared = &ln.addr
			}
			if err = ln.fd.Open(l, fd, (*listenerSink)(ln), false); err == nil {
				return ln, nil
			}
			netfd.CloseFD(fd)
		}
		if first == nil {
			first = e.opError("listen", &a, err)
		}
		if !netfd.Unsupported(err) {
			break // only a system without IPv6 leads to the next
		}
	}
	return nil, first
}

// everywhere is where an empty host listens.
var everywhere = []netip.Addr{netip.IPv6Unspecified(), netip.IPv4Unspecified()}

// A listenerSink is a Listener as the loop sees it.
type listenerSink Listener

// Ready wakes who waits. The loop calls it while it looks.
func (s *listenerSink) Ready(r poller.Ready) {
	if reader, _ := s.fd.Note(r); reader && !s.resting {
		(*Listener)(s).wakeAll()
	}
}

// An acceptWait is what one call of Accept waits for.
type acceptWait struct{ future.Future[struct{}] }

func (ln *Listener) wakeAll() {
	for i, w := range ln.waiters {
		future.Settle(&w.Future, struct{}{}, nil) // no, if it was canceled
		ln.waiters[i] = nil
	}
	ln.waiters = ln.waiters[:0]
}

// Accept waits for a connection and returns it. Several tasks may wait. It
// returns net.ErrClosed if the Listener is closed, now or while it waits, and
// errors of the system that are not of the kind that pass.
// (asyncio: loop.sock_accept)
//
// Cancel safety: a canceled Accept has taken no connection.
func (ln *Listener) Accept(ctx context.Context) (*Conn, error) {
	if ln.spent >= maxAccepts {
		ln.spent = 0
		if err := task.Yield(ctx); err != nil {
			return nil, err
		}
	}
	for {
		c, err := ln.TryAccept()
		if err != ErrWouldBlock {
			return c, err
		}
		if err := ln.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// TryAccept is Accept without waiting: it returns [ErrWouldBlock] if there is no
// connection, or while the Listener rests.
func (ln *Listener) TryAccept() (*Conn, error) {
	for aborted := 0; !ln.resting; aborted++ {
		fd, peer, err := ln.fd.TryAccept()
		if err == nil {
			ln.spent++
			err = netfd.Accepted(fd)
			if err != nil {
				netfd.CloseFD(fd)
				ln.stats.Aborted++ // BSD refuses options of a connection that is gone
				ln.spent++
				continue
			}
			var c *Conn
			if c, err = newConn(ln.fd.Loop(), fd, peer, true); err == nil {
				c.local = ln.shared
				ln.stats.Accepted++
				ln.delay = 0
				return c, nil
			}
		}
		switch {
		case err == ErrWouldBlock:
			ln.short = false // all are served: what may come is a new shortage
			return nil, err
		case netfd.Shortage(err), aborted >= maxAccepts: // or it would go on for ever
			ln.rest(err)
		case netfd.Aborted(err):
			ln.stats.Aborted++
			ln.spent++
		default:
			return nil, ln.opError("accept", err)
		}
	}
	return nil, ErrWouldBlock
}

// rest pauses until there may be descriptors again.
func (ln *Listener) rest(err error) {
	l := ln.fd.Loop()
	ln.resting = true
	ln.stats.Rests++
	ln.delay = min(max(2*ln.delay, minRest), maxRest)
	l.StartTimer(&ln.timer, ln.delay, (*restEnd)(ln))
	if !ln.short {
		ln.short = true
		l.Report(&loop.CallError{Op: "accept", Name: ln.Addr().String(), Err: ln.opError("accept", err)})
	}
}

// A restEnd is a Listener as its timer sees it.
type restEnd Listener

func (r *restEnd) Run() {
	r.resting = false
	(*Listener)(r).wakeAll()
}

func (ln *Listener) wait(ctx context.Context) error {
	w := new(acceptWait)
	future.Init(&w.Future, ln.fd.Loop(), nil)
	ln.waiters = append(ln.waiters, w)
	ln.spent = 0
	if !ln.fd.Readable() { // else it rests
		ln.fd.WantRead()
	}
	_, err := w.Await(ctx)
	if err != nil {
		ln.forget(w)
	}
	return err
}

// forget takes a canceled wait out.
func (ln *Listener) forget(w *acceptWait) {
	for i := range ln.waiters {
		if ln.waiters[i] == w {
			ln.waiters = append(ln.waiters[:i], ln.waiters[i+1:]...)
			return
		}
	}
}

// Close stops listening. Whoever waits in Accept gets net.ErrClosed, as do later
// calls; [Listener.Serve] ends. Connections are left alone. Later calls do nothing
// and return nil. (asyncio: Server.close)
func (ln *Listener) Close() error {
	ok, err := ln.fd.Close()
	if !ok {
		return nil
	}
	ln.fd.Loop().StopTimer(&ln.timer)
	ln.resting = false
	ln.wakeAll()
	if err != nil {
		return ln.opError("close", err)
	}
	return nil
}

// Addr returns the address that the Listener listens on. (asyncio: Server.sockets)
func (ln *Listener) Addr() net.Addr { return tcpAddr(&ln.addr) }

// Stats returns what the Listener has done.
func (ln *Listener) Stats() ListenerStats { return ln.stats }

// String names the listener by its address.
func (ln *Listener) String() string { return "listener " + ln.Addr().String() }

func (ln *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: ln.network, Addr: ln.Addr(), Err: err}
}

// interrupted reports whether err is no failure of an operation but the end of
// the wait for it.
func interrupted(err error) bool {
	return future.AsCanceled(err) != nil || errors.Is(err, context.DeadlineExceeded)
}
