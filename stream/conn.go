package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"unsafe"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
	"github.com/eddyloop/eddy/task"
)

var (
	// ErrWouldBlock is returned by the Try methods when nothing can be done
	// without waiting.
	ErrWouldBlock = netfd.ErrWouldBlock

	// ErrBusy is returned to a task that wants to read, or to write, while another
	// one waits to do so. A task that was canceled still waits until its call has
	// returned.
	ErrBusy = errors.New("stream: another task waits in this direction")
)

// A Conn is a connection: a stream of bytes in both directions. Make it with
// [Dial] or accept it from a [Listener], and close it. It must be used on its
// loop. (asyncio: a StreamReader and a StreamWriter)
//
//	open --CloseWrite--> the peer reads to the end --Close--> closed
//	open --Close, or closing the loop--> closed
type Conn struct {
	fd    netfd.FD    // closed if the bytes go through a layer
	x     *extra      // what few connections have
	r, w  *wait       // of each direction; nil until the first
	in    *inbuf      // what ReadLine has read too much; nil if nothing
	local *netfd.Addr // nil until asked for, unless the listener's
	peer  netfd.Addr
	limit int32 // of a line; 0: defaultLineLimit
	spent int16 // done without a wait; see budget
	flags connFlags
}

type connFlags uint8

const (
	reading connFlags = 1 << iota // a task waits in the middle of a read
	writing                       // or of a write
	unixSocket
	file // a pipe, a terminal
)

// A wait is what a task waits for. It is used again for the next wait.
//
//	not waiting: done --arm--> waiting: pending --event, Close--> done
//	waiting --the task is canceled--> canceled, never used again
//
// Whoever waited on a canceled one may not have been told yet, and reads there
// that it was canceled.
type wait struct{ future.Future[struct{}] }

func (w *wait) wake() {
	if w != nil {
		future.Settle(&w.Future, struct{}{}, nil)
	}
}

// arm makes *p pending, and returns it. It reports false if somebody waits for it.
func arm(p **wait, l *loop.Loop, c future.Canceler) (*wait, bool) {
	w := *p
	switch {
	case w == nil || w.Canceled():
		w = new(wait)
		*p = w
	case !w.Done() && watched(w, l, c):
		return nil, false
	}
	future.Init(&w.Future, l, c)
	return w, true
}

// watched reports whether somebody waits for w, which is pending. A wait that was
// handed out by Readable and then not waited for is free.
func watched(w *wait, l *loop.Loop, c future.Canceler) (is bool) {
	defer func() { is = recover() != nil }()
	future.Init(&w.Future, l, c) // panics if so
	return false
}

// budget is what may be done on a connection between two waits: it bounds the
// bytes, in units of 4 KB, and the number of operations.
const budget = 64

func (c *Conn) spend(n int) { c.spent = int16(min(int(c.spent)+1+n>>12, budget)) }

// giveWay lets others run when the budget is spent.
func (c *Conn) giveWay(ctx context.Context) error {
	if c.spent < budget {
		return nil
	}
	c.spent = 0
	return task.Yield(ctx)
}

// giveWayReading is giveWay in the middle of a read, which nobody else may begin
// meanwhile.
func (c *Conn) giveWayReading(ctx context.Context) error {
	c.flags |= reading
	defer c.release(reading)
	return c.giveWay(ctx)
}

// A connSink is a Conn as the loop sees it.
type connSink Conn

// Ready wakes who waits. The loop calls it while it looks, so it only settles
// futures: the tasks run in this turn's batch, one hop from the event.
func (s *connSink) Ready(r poller.Ready) {
	c := (*Conn)(s)
	reader, writer := c.fd.Note(r)
	if reader {
		c.wakeReader()
	}
	if writer {
		c.wakeWriter()
	}
}

func (c *Conn) wakeReader() {
	c.r.wake()
	if c.x != nil && c.x.upper != nil {
		c.x.upper.readyBelow(true)
	}
}

func (c *Conn) wakeWriter() {
	c.w.wake()
	if c.x == nil {
		return
	}
	if c.x.writer != nil {
		c.x.writer.ready()
	}
	if c.x.upper != nil {
		c.x.upper.readyBelow(false)
	}
}

// A connReader cancels the wait of a reader, and says what it is for.
type connReader Conn

func (c *connReader) CancelFuture(cause error) bool { return c.r.cancel(cause) }
func (c *connReader) String() string                { return "read of " + (*Conn)(c).String() }

// Run is a wait for nothing but the next turn.
func (c *connReader) Run() { c.r.wake() }

// A connWriter is a connReader for the writer.
type connWriter Conn

func (c *connWriter) CancelFuture(cause error) bool { return c.w.cancel(cause) }
func (c *connWriter) String() string                { return "write to " + (*Conn)(c).String() }
func (c *connWriter) Run()                          { c.w.wake() }

func (w *wait) cancel(cause error) bool {
	return future.Settle(&w.Future, struct{}{}, &future.CanceledError{Cause: cause})
}

// newConn takes fd over, also if it fails. The peer of an IP socket is told, kind
// is nothing for one.
func newConn(l *loop.Loop, fd int, peer netfd.Addr, kind connFlags) (*Conn, error) {
	c := &Conn{peer: peer, flags: kind}
	var err error
	if kind == file {
		err = c.fd.OpenFile(l, fd, (*connSink)(c))
	} else {
		err = c.fd.Open(l, fd, (*connSink)(c), true)
	}
	if err != nil {
		netfd.CloseFD(fd)
		return nil, err
	}
	return c, nil
}

// Read reads up to len(p) bytes, at least one unless p is empty, and waits if
// there are none. It returns io.EOF at the end of the stream, net.ErrClosed if
// the Conn is closed, now or while it waits, [ErrBusy] if another task waits to
// read, and errors of the system. It never returns bytes along with an error.
// (asyncio: StreamReader.read)
//
// Cancel safety: a canceled Read has taken nothing from the stream.
func (c *Conn) Read(ctx context.Context, p []byte) (int, error) { return c.read(ctx, p, nil) }

func (c *Conn) read(ctx context.Context, p []byte, d *deadline) (int, error) {
	if err := c.giveWay(ctx); err != nil {
		return 0, err
	}
	if c.held(reading) {
		return 0, ErrBusy
	}
	for {
		n, err := c.tryRead(p)
		if err != ErrWouldBlock {
			return n, err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if err := c.waitReadable(ctx, d); err != nil {
			return 0, err
		}
	}
}

// TryRead is Read without waiting: it returns [ErrWouldBlock] if there is nothing
// to read.
func (c *Conn) TryRead(p []byte) (int, error) {
	if c.held(reading) {
		return 0, ErrBusy
	}
	return c.tryRead(p)
}

func (c *Conn) tryRead(p []byte) (n int, err error) {
	if c.in != nil {
		n = c.takeBuffered(p)
	} else {
		n, err = c.pull(p)
	}
	c.spend(n)
	if err != nil && err != io.EOF && err != ErrWouldBlock {
		err = c.opError("read", err)
	}
	return n, err
}

// Write writes all of p, and waits while there is no room for it. The memory is
// the system's when Write returns. An error comes with the number of bytes
// written before it: net.ErrClosed if the Conn is closed, now or while it waits,
// [ErrBusy] if another task waits to write, and errors of the system.
// (asyncio: StreamWriter.write and drain)
//
// Cancel safety: a canceled Write has written the first n bytes of p.
func (c *Conn) Write(ctx context.Context, p []byte) (n int, err error) { return c.write(ctx, p, nil) }

func (c *Conn) write(ctx context.Context, p []byte, d *deadline) (n int, err error) {
	if err := c.giveWay(ctx); err != nil {
		return 0, err
	}
	if c.held(writing) {
		return 0, ErrBusy
	}
	n, err = c.tryWrite(p)
	if err == nil && n == len(p) || err != nil && err != ErrWouldBlock {
		return n, err
	}
	return c.writeRest(ctx, p, n, d)
}

// writeRest writes p[n:]. Until it is done nobody else may write: the bytes would
// come between.
func (c *Conn) writeRest(ctx context.Context, p []byte, n int, d *deadline) (int, error) {
	for n < len(p) {
		if !c.writable() {
			if err := c.waitWritable(ctx, d); err != nil {
				return n, err
			}
		} else if c.spent >= budget {
			if err := c.yieldWriting(ctx); err != nil {
				return n, err
			}
		}
		k, err := c.tryWrite(p[n:])
		n += k
		if err != nil && err != ErrWouldBlock {
			return n, err
		}
	}
	return n, nil
}

// yieldWriting gives way in the middle of a write.
func (c *Conn) yieldWriting(ctx context.Context) error {
	w, ok := arm(&c.w, c.Loop(), (*connWriter)(c))
	if !ok {
		return ErrBusy
	}
	w.wake()
	c.flags |= writing
	defer c.release(writing)
	return c.giveWay(ctx)
}

// TryWrite writes as much of p as there is room for and returns how much, which
// may be less than all. It returns [ErrWouldBlock] if there is no room.
func (c *Conn) TryWrite(p []byte) (int, error) {
	if c.held(writing) {
		return 0, ErrBusy
	}
	return c.tryWrite(p)
}

func (c *Conn) tryWrite(p []byte) (int, error) {
	n, err := c.push(p)
	c.spend(n)
	if err != nil && err != ErrWouldBlock {
		err = c.opError("write", err)
	}
	return n, err
}

// held reports whether a task is in the middle of a read, or a write. One that
// was canceled there still is, until it has been told.
func (c *Conn) held(dir connFlags) bool { return c.flags&dir != 0 }

// release ends the hold of the task that waited.
func (c *Conn) release(dir connFlags) {
	c.flags &^= dir
	c.spent = 0
}

// waitReadable waits until trying to read is worthwhile. A parked task's stack has
// 2 KB, and this is where it is deepest: so what need not be here is not.
func (c *Conn) waitReadable(ctx context.Context, d *deadline) error {
	w, err := c.startReading()
	if err != nil {
		return err
	}
	defer c.release(reading)
	if d == nil && c.x == nil {
		_, err := w.Await(ctx)
		return err
	}
	return c.await(ctx, w, "read", d)
}

// startReading arms the wait of the reader, who holds the direction until release.
func (c *Conn) startReading() (*wait, error) {
	if c.Closed() {
		return nil, c.opError("read", net.ErrClosed)
	}
	w, ok := arm(&c.r, c.Loop(), (*connReader)(c))
	if !ok {
		return nil, ErrBusy
	}
	c.wantRead()
	c.flags |= reading
	return w, nil
}

func (c *Conn) waitWritable(ctx context.Context, d *deadline) error {
	w, err := c.startWriting()
	if err != nil {
		return err
	}
	defer c.release(writing)
	if d == nil && c.x == nil {
		_, err := w.Await(ctx)
		return err
	}
	return c.await(ctx, w, "write", d)
}

func (c *Conn) startWriting() (*wait, error) {
	if c.Closed() {
		return nil, c.opError("write", net.ErrClosed)
	}
	w, ok := arm(&c.w, c.Loop(), (*connWriter)(c))
	if !ok {
		return nil, ErrBusy
	}
	c.wantWrite()
	c.flags |= writing
	return w, nil
}

func (c *Conn) await(ctx context.Context, w *wait, op string, d *deadline) error {
	if c.x != nil && c.x.limits != nil {
		return c.x.limits.await(ctx, w, op, d)
	}
	return w.await(ctx, d)
}

func (w *wait) await(ctx context.Context, d *deadline) error {
	if d != nil {
		return d.await(ctx, w)
	}
	_, err := w.Await(ctx)
	return err
}

// WaitReadable waits until TryRead is worthwhile: until there is something to read,
// the end, or an error; perhaps in vain. A task that has no memory of its own for
// what it will read uses it, to hold a buffer only while there is something. Its
// errors are those of Read.
//
// Cancel safety: a canceled WaitReadable has taken nothing from the stream.
func (c *Conn) WaitReadable(ctx context.Context) error {
	if err := c.giveWay(ctx); err != nil {
		return err
	}
	if c.held(reading) {
		return ErrBusy
	}
	if c.in != nil || c.readable() {
		c.spend(0)
		return nil
	}
	w, err := c.startReading() // what waitReadable does, in one frame less
	if err != nil {
		return err
	}
	defer c.release(reading)
	if c.x == nil {
		_, err = w.Await(ctx)
		return err
	}
	return c.await(ctx, w, "read", nil)
}

// Readable returns what to wait for, as a task or a machine, before TryRead: it is
// settled when something can be read, or the end, or an error, or when the Conn is
// closed. It is settled at once unless TryRead has said [ErrWouldBlock]. It may be
// settled in vain. It fails with [ErrBusy] if somebody waits to read already.
// It is good for one wait: ask again for the next.
func (c *Conn) Readable() future.Waiter {
	l := c.Loop()
	if c.held(reading) {
		return failed(l, ErrBusy)
	}
	ready := c.in != nil || c.readable() || c.Closed()
	if ready && c.spent < budget && c.r != nil && c.r.State() == future.Resolved {
		return c.r
	}
	w, ok := arm(&c.r, l, (*connReader)(c))
	switch {
	case !ok:
		return failed(l, ErrBusy)
	case ready && c.spent < budget:
		w.wake()
	case ready:
		c.spent = 0
		l.Queue((*connReader)(c)) // give way
	default:
		c.spent = 0
		c.wantRead()
	}
	return w
}

// Writable is Readable before TryWrite: it is settled when there is room.
func (c *Conn) Writable() future.Waiter {
	l := c.Loop()
	if c.held(writing) {
		return failed(l, ErrBusy)
	}
	ready := c.writable() || c.Closed()
	if ready && c.spent < budget && c.w != nil && c.w.State() == future.Resolved {
		return c.w
	}
	w, ok := arm(&c.w, l, (*connWriter)(c))
	switch {
	case !ok:
		return failed(l, ErrBusy)
	case ready && c.spent < budget:
		w.wake()
	case ready:
		c.spent = 0
		l.Queue((*connWriter)(c)) // give way
	default:
		c.spent = 0
		c.wantWrite()
	}
	return w
}

// failed returns a future that has failed.
func failed(l *loop.Loop, err error) future.Waiter {
	f, p := future.New[struct{}](l)
	p.Fail(err)
	return f
}

// CloseWrite ends the stream to the peer, who reads what was written and then
// io.EOF. Reading goes on. A pipe is closed by it. Over TLS it sends the alert that
// says so, behind what was written. (asyncio: StreamWriter.write_eof)
func (c *Conn) CloseWrite() error {
	if c.held(writing) {
		return ErrBusy
	}
	if c.flags&file != 0 && !c.Closed() {
		return c.Close()
	}
	if err := c.endWrite(); err != nil {
		return c.opError("close", err)
	}
	return nil
}

// Close closes the connection. The system goes on to send what was written, but
// if there is something unread it tells the peer of a reset, which may overtake
// that: see [Conn.CloseGraceful]. Whoever waits gets net.ErrClosed; so does every
// later call but Close, which does nothing and returns nil.
// (asyncio: StreamWriter.close)
func (c *Conn) Close() error {
	c.rememberAddrs()
	ok, err := c.shut()
	if !ok {
		return nil
	}
	c.closed()
	if err != nil {
		return c.opError("close", err)
	}
	return nil
}

// closed lets go of what an open Conn has, and wakes who waits.
func (c *Conn) closed() {
	c.dropBuffer()
	c.wakeReader()
	c.wakeWriter()
}

// A Conn is kept by the hundred thousand: more than this has to be worth it.
const _ = uint(88 - unsafe.Sizeof(Conn{}))
