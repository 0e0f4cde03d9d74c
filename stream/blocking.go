package stream

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
)

// ErrOnLoop is the error of a [Conn.Blocking] or [Listener.Blocking] that is used
// on the loop's own goroutine, by a task or a callback, in debug mode: it would wait
// for itself. Without debug mode it does, and the loop stands still.
var ErrOnLoop = errors.New("stream: a blocking view is used on its loop's goroutine")

// Blocking returns a view of c as a net.Conn for other goroutines, any number at
// once: for net/http and whatever else reads on goroutines of its own. Each Read
// and Write is posted to the loop, done there, and waited for: some microseconds.
// Tasks and callbacks must not use it (see [ErrOnLoop]) but [Conn.NetConn]. While
// a goroutine waits to read, a task that wants to gets [ErrBusy], and the other way
// round. It must be called on the loop.
//
// Deadlines are times of the real clock, and this view's only. Close closes c.
func (c *Conn) Blocking() net.Conn {
	return &blockingConn{c: c, l: c.Loop(), local: c.LocalAddr(), remote: c.RemoteAddr(), network: c.network()}
}

type blockingConn struct {
	c             *Conn
	l             *loop.Loop
	local, remote net.Addr
	network       string
	rd, wd        blockingSide
}

// A blockingSide is one direction.
type blockingSide struct {
	mu       sync.Mutex // keeps callers in a line
	deadline blockingDeadline
}

func (b *blockingConn) Read(p []byte) (n int, err error) {
	b.rd.mu.Lock()
	defer b.rd.mu.Unlock()
	err = b.do(&b.rd, reading, "read", func() (err error) {
		n, err = b.c.tryRead(p)
		if err == ErrWouldBlock && len(p) == 0 {
			err = nil
		}
		return err
	})
	return n, err
}

func (b *blockingConn) Write(p []byte) (n int, err error) {
	b.wd.mu.Lock()
	defer b.wd.mu.Unlock()
	err = b.do(&b.wd, writing, "write", func() error {
		for {
			k, err := b.c.tryWrite(p[n:])
			n += k
			if err != nil || n == len(p) {
				return err
			}
			if b.c.spent >= budget {
				return errGiveWay
			}
		}
	})
	return n, err
}

// do lets the loop try until that does not block.
func (b *blockingConn) do(side *blockingSide, dir connFlags, op string, try func() error) error {
	err := waitBlocking(&blockingOp{l: b.l, try: try, on: &connReadiness{b.c, dir}}, &side.deadline)
	switch err {
	case os.ErrDeadlineExceeded, net.ErrClosed, ErrOnLoop, ErrBusy:
		return &net.OpError{Op: op, Net: b.network, Source: b.local, Addr: b.remote, Err: err}
	}
	return err
}

// Close closes the connection in the loop's next turn.
func (b *blockingConn) Close() error {
	err := b.l.QueueThreadsafe((*netClose)(b.c))
	if err != nil {
		return &net.OpError{Op: "close", Net: b.network, Source: b.local, Addr: b.remote, Err: net.ErrClosed}
	}
	return nil
}

func (b *blockingConn) LocalAddr() net.Addr  { return b.local }
func (b *blockingConn) RemoteAddr() net.Addr { return b.remote }

func (b *blockingConn) SetDeadline(t time.Time) error {
	b.rd.deadline.set(t)
	b.wd.deadline.set(t)
	return nil
}

func (b *blockingConn) SetReadDeadline(t time.Time) error {
	b.rd.deadline.set(t)
	return nil
}

func (b *blockingConn) SetWriteDeadline(t time.Time) error {
	b.wd.deadline.set(t)
	return nil
}

// A connReadiness is one direction of a Conn, to be waited for.
type connReadiness struct {
	c   *Conn
	dir connFlags
}

func (r *connReadiness) busy() bool { return r.c.held(r.dir) }

func (r *connReadiness) wait(told loop.Runnable) bool {
	c, l := r.c, r.c.Loop()
	var w *wait
	var ok bool
	if r.dir == reading {
		w, ok = arm(&c.r, l, (*connReader)(c))
	} else {
		w, ok = arm(&c.w, l, (*connWriter)(c))
	}
	if !ok {
		return false
	}
	c.flags |= r.dir
	w.Watch(told)
	if r.dir == reading {
		c.wantRead()
	} else if !c.writable() { // it may only give way
		c.wantWrite()
	}
	return true
}

func (r *connReadiness) wake() {
	if r.dir == reading {
		r.c.r.wake()
	} else {
		r.c.w.wake()
	}
}

func (r *connReadiness) leave() { r.c.release(r.dir) }

// Blocking returns a view of ln as a net.Listener for other goroutines, whose
// connections are [Conn.Blocking] ones: http.Serve works on it. See there. It must
// be called on the loop.
func (ln *Listener) Blocking() net.Listener { return &blockingListener{ln, ln.ac.Loop(), ln.Addr()} }

type blockingListener struct {
	ln   *Listener
	l    *loop.Loop
	addr net.Addr
}

func (b *blockingListener) Accept() (conn net.Conn, err error) {
	try := func() error {
		c, err := b.ln.TryAccept()
		if err == nil {
			conn = c.Blocking()
		}
		return err
	}
	err = waitBlocking(&blockingOp{l: b.l, try: try, on: &listenerReadiness{ln: b.ln}}, new(blockingDeadline))
	if err == net.ErrClosed {
		err = &net.OpError{Op: "accept", Net: b.addr.Network(), Addr: b.addr, Err: err}
	}
	return conn, err
}

func (b *blockingListener) Close() error {
	_ = b.l.QueueThreadsafe((*netListenerClose)(b.ln)) // a closed loop has closed it
	return nil
}

func (b *blockingListener) Addr() net.Addr { return b.addr }

type netListenerClose Listener

func (ln *netListenerClose) Run() { _ = (*Listener)(ln).Close() }

// A listenerReadiness is one wait for a connection.
type listenerReadiness struct {
	ln *Listener
	w  *acceptWait
}

func (r *listenerReadiness) busy() bool { return false }

func (r *listenerReadiness) wait(told loop.Runnable) bool {
	r.w = r.ln.enlist()
	r.w.Watch(told)
	return true
}

func (r *listenerReadiness) wake()  { future.Settle(&r.w.Future, struct{}{}, nil) }
func (r *listenerReadiness) leave() { r.ln.forget(r.w) }

// A readiness is what a blockingOp waits for, on the loop.
type readiness interface {
	busy() bool                   // others wait
	wait(told loop.Runnable) bool // false: others do
	wake()
	leave()
}

// A blockingOp is done by the loop while a goroutine waits. It tries, and tries
// again whenever that may help.
//
//	posted --it would block--> waiting --readiness, a deadline--> trying again
//	posted, waiting --success, failure, the loop's end--> ended
type blockingOp struct {
	l       *loop.Loop
	try     func() error
	on      readiness
	waiting bool
	late    bool
	ended   bool
	err     error
	done    chan struct{}
}

// waitBlocking returns the error of op, net.ErrClosed if the loop is closed, or
// os.ErrDeadlineExceeded. What op has done by its end is reported by op's function.
func waitBlocking(op *blockingOp, d *blockingDeadline) error {
	if op.l.Debug() && op.l.OnGoroutine() {
		return ErrOnLoop
	}
	late := d.expired()
	select {
	case <-late:
		return os.ErrDeadlineExceeded
	default:
	}
	op.done = make(chan struct{})
	if op.l.QueueThreadsafe(op) != nil {
		return net.ErrClosed
	}
	select {
	case <-op.done:
	case <-late:
		// Not without it: it uses the caller's memory.
		_ = op.l.QueueThreadsafe((*blockingEnd)(op))
		<-op.done
	}
	return op.err
}

// errGiveWay is what a blockingOp's function returns to be tried again in the next
// turn.
var errGiveWay = errors.New("stream: others run first")

// Run tries. It is for the loop.
func (o *blockingOp) Run() {
	switch {
	case o.ended:
		return
	case o.waiting:
		o.stop()
	case o.on.busy():
		o.end(ErrBusy)
		return
	}
	err := o.tried()
	switch {
	case err != ErrWouldBlock && err != errGiveWay:
		o.end(err)
	case o.late:
		o.end(os.ErrDeadlineExceeded)
	case !o.on.wait(o):
		o.end(ErrBusy)
	default:
		o.waiting = true
		blockingsOf(o.l)[o] = struct{}{}
		if err == errGiveWay {
			o.on.wake()
		}
	}
}

// tried is try, whose panic is the waiting goroutine's: as below a task's read it may
// come from a callback of TLS.
func (o *blockingOp) tried() (err error) {
	returned := false
	defer func() {
		if v := recover(); v != nil {
			err = coro.NewPanicError(v)
		} else if !returned {
			o.end(coro.ErrGoexit)
		}
	}()
	err = o.try()
	returned = true
	return err
}

func (o *blockingOp) stop() {
	o.waiting = false
	delete(blockingsOf(o.l), o)
	o.on.leave()
}

func (o *blockingOp) end(err error) {
	o.ended, o.err = true, err
	close(o.done)
}

// A blockingEnd is an operation whose time is over.
type blockingEnd blockingOp

func (e *blockingEnd) Run() {
	if e.waiting {
		e.late = true
		e.on.wake()
	}
}

// blockings are the operations of a loop that wait.
type blockings map[*blockingOp]struct{}

var blockingsKey = new(int)

func blockingsOf(l *loop.Loop) blockings {
	return l.Local(blockingsKey, func() any { return blockings{} }).(blockings)
}

// Closed ends them with the loop.
func (b blockings) Closed() {
	for o := range b {
		o.end(net.ErrClosed)
	}
	clear(b)
}

// A blockingDeadline is a time that goroutines set and wait for. The zero value
// never comes.
type blockingDeadline struct {
	mu    sync.Mutex
	timer *time.Timer
	over  chan struct{} // closed when it has come
}

// expired returns a channel that is closed when the deadline has come, also one
// that is set later.
func (d *blockingDeadline) expired() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over == nil {
		d.over = make(chan struct{})
	}
	return d.over
}

func (d *blockingDeadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.over // it is being closed, without the lock
	}
	d.timer = nil
	select {
	case <-d.over: // nil if nobody has asked
		d.over = nil
	default:
	}
	if t.IsZero() {
		return
	}
	if d.over == nil {
		d.over = make(chan struct{})
	}
	over := d.over
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() { close(over) })
	} else {
		close(over)
	}
}
