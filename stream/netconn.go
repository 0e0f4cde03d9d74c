package stream

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

// ErrForeign is the error of a read or a write through a [Conn.NetConn] that is
// not made by the task it was made for: by another task, by a callback or from
// another goroutine while that task waits.
var ErrForeign = errors.New("stream: NetConn used outside of the task of its ctx; each task makes its own, and other goroutines cannot use it")

// NetConn returns a view of c as a net.Conn, for code that was written for package
// net: bufio, encoding/json, http.ReadRequest. ctx is kept: Read and Write suspend
// the task that it belongs to, end with it, and may be called only in its body;
// elsewhere they return [ErrForeign]. So a library that reads on goroutines of its
// own, as http.Server and http.Transport do, cannot use it. What cannot be told apart
// without a price on every call is a goroutine that reads at the very moment at which
// the task runs: that is a data race, which -race and [loop.Config].Debug see.
//
// Close and the SetDeadline methods may be called from any goroutine; what they
// change takes effect in the loop's next turn for whoever waits, and at once for
// the view. Deadlines are times on the loop's clock, and this view's only; a Read
// or Write that exceeds one returns os.ErrDeadlineExceeded.
func (c *Conn) NetConn(ctx context.Context) net.Conn {
	t := park.From(ctx, "stream: NetConn")
	running, _ := t.(loop.Running)
	n := &netConn{c: c, l: c.Loop(), ctx: ctx, t: running, local: c.LocalAddr(), remote: c.RemoteAddr(), network: c.network(), base: t.Loop().Now()}
	n.rd.n, n.wd.n = n, n
	return n
}

// A netConn is the view. Its closed flag and its deadlines belong to all
// goroutines, the rest to the task.
type netConn struct {
	c             *Conn
	l             *loop.Loop
	ctx           context.Context
	t             loop.Running
	local, remote net.Addr
	network       string
	base          time.Time // what deadlines are counted from
	rd, wd        deadline
	closed        atomic.Bool
}

func (n *netConn) Read(p []byte) (int, error) {
	if err := n.check("read", &n.rd); err != nil {
		return 0, err
	}
	k, err := n.c.read(n.ctx, p, &n.rd)
	return k, n.orClosed("read", err)
}

func (n *netConn) Write(p []byte) (int, error) {
	if err := n.check("write", &n.wd); err != nil {
		return 0, err
	}
	k, err := n.c.write(n.ctx, p, &n.wd)
	return k, n.orClosed("write", err)
}

// check returns why an operation may not begin.
func (n *netConn) check(op string, d *deadline) error {
	switch {
	case n.closed.Load():
		return n.opError(op, net.ErrClosed)
	case n.l.Debug() && !n.l.OnGoroutine(), n.l.Current() != n.t:
		return n.opError(op, ErrForeign)
	case d.passed():
		return n.opError(op, os.ErrDeadlineExceeded)
	}
	return nil
}

// orClosed wraps what a wait may return.
func (n *netConn) orClosed(op string, err error) error {
	if err == os.ErrDeadlineExceeded || err == ErrBusy {
		return n.opError(op, err)
	}
	return err
}

func (n *netConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: n.network, Source: n.local, Addr: n.remote, Err: err}
}

// Close closes the connection itself in the loop's next turn.
func (n *netConn) Close() error {
	if !n.closed.CompareAndSwap(false, true) {
		return n.opError("close", net.ErrClosed)
	}
	_ = n.l.QueueThreadsafe((*netClose)(n.c)) // a closed loop has closed it
	return nil
}

// A netClose is a Conn that is to be closed.
type netClose Conn

func (c *netClose) Run() { _ = (*Conn)(c).Close() }

func (n *netConn) LocalAddr() net.Addr  { return n.local }
func (n *netConn) RemoteAddr() net.Addr { return n.remote }

func (n *netConn) SetDeadline(t time.Time) error {
	_ = n.SetReadDeadline(t)
	return n.SetWriteDeadline(t)
}

func (n *netConn) SetReadDeadline(t time.Time) error  { return n.setDeadline(&n.rd, t) }
func (n *netConn) SetWriteDeadline(t time.Time) error { return n.setDeadline(&n.wd, t) }

func (n *netConn) setDeadline(d *deadline, t time.Time) error {
	if n.closed.Load() {
		return n.opError("set", net.ErrClosed)
	}
	d.set(t)
	return nil
}

// A deadline bounds the operations of a netConn in one direction.
//
// It is set from any goroutine, and takes effect on the loop. No change is missed
// because both sides write before they read: who sets stores at and then looks at
// waiting, who waits stores waiting and then looks at at.
type deadline struct {
	n       *netConn
	at      atomic.Int64 // ns since n.base; 0: none
	waiting atomic.Bool

	w     *wait // that the timer is to end; nil: nobody waits
	timer loop.Timer
	fired bool
}

func (d *deadline) set(t time.Time) {
	at := int64(0)
	if !t.IsZero() {
		if at = int64(t.Sub(d.n.base)); at == 0 {
			at = math.MinInt64
		}
	}
	d.at.Store(at)
	if d.waiting.Load() {
		_ = d.n.l.QueueThreadsafe((*deadlineChange)(d)) // a closed loop does not wait
	}
}

func (d *deadline) passed() bool {
	at := d.at.Load()
	return at != 0 && at <= int64(d.n.l.Now().Sub(d.n.base))
}

// await waits for w, at most until the deadline.
func (d *deadline) await(ctx context.Context, w *wait) error {
	d.w, d.fired = w, false
	d.waiting.Store(true)
	defer d.leave()
	d.start()
	if _, err := w.Await(ctx); err != nil {
		return err
	}
	if d.fired {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (d *deadline) leave() {
	d.waiting.Store(false)
	d.n.l.StopTimer(&d.timer)
	d.w = nil
}

// start sets the timer by the deadline.
func (d *deadline) start() {
	if at := d.at.Load(); at != 0 {
		d.n.l.StartTimerAt(&d.timer, d.n.base.Add(time.Duration(at)), d)
	}
}

// Run ends the wait, if the deadline was not moved since the timer was set.
func (d *deadline) Run() {
	if d.w != nil && d.passed() && !d.w.Done() {
		d.fired = true
		d.w.wake()
	}
}

// A deadlineChange is a deadline that was set while somebody waits.
type deadlineChange deadline

func (c *deadlineChange) Run() {
	d := (*deadline)(c)
	if d.w == nil {
		return
	}
	d.n.l.StopTimer(&d.timer)
	d.start()
}

var _ future.Canceler = (*connReader)(nil)
