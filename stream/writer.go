package stream

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/eddyloop/eddy/internal/waitq"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// ErrBufferFull is returned by a Writer for a write that might not fit its buffer.
// Nothing of it was written.
var ErrBufferFull = errors.New("stream: write buffer is full")

// The limits of a Writer unless SetLimits sets others, in bytes.
const (
	writerHigh = 64 << 10
	writerMax  = 16 << 20
)

// A Writer writes to a [Conn] without waiting: what the system has no room for is
// buffered, and sent by the loop. Get it by [Conn.Writer]. It must be used on the
// loop, by callbacks, too. (asyncio: StreamWriter)
//
//	if _, err := w.Write(p); err != nil {
//		return err
//	}
//	if err := w.Drain(ctx); err != nil { // waits if the peer is too slow
//		return err
//	}
//
// Who writes much calls Drain in between, or else gets [ErrBufferFull] in the end.
// What is buffered must not be overtaken: meanwhile Write and CloseWrite of the Conn
// itself return [ErrBusy]; and so does the Writer while a task waits in a Write of the
// Conn. Who uses the two by turns calls Flush in between: a Writer buffers not only
// when there is no room, but also when it has written much in a turn.
//
// An error of the connection drops what is buffered, and is returned by every later
// call. Closing the Conn drops it as well; [Writer.Close] sends it first, and so do
// [Conn.CloseGraceful], a server whose handler returns, [Listener.CloseClients] and
// [Listener.Shutdown].
//
//	open --CloseWrite--> ending --all is sent--> ended
//	any of these --Close--> closing --all is sent, an error, the time is over--> closed
//	any of these --Conn.Close, Conn.Abort--> closed
type Writer struct {
	c              *Conn
	out            *inbuf // what is not sent; nil if nothing
	low, high, max int
	closeTimeout   time.Duration
	err            error // why bytes were lost

	drains, flushes, closes waitq.Queue

	closeTimer loop.Timer
	stallTimer loop.Timer
	stalls     int // waits that took too long
	stalling   bool
	full       bool // out was above high, and is not at low yet
	queued     bool // to be run by the loop
	ended      bool // CloseWrite was called
	closing    bool // Close was

	after loop.Runnable // to be told when the Conn is closed
}

// Writer returns the connection's only Writer, and makes it when asked first.
func (c *Conn) Writer() *Writer {
	x := c.extra()
	if x.writer == nil {
		x.writer = &Writer{c: c, closeTimeout: shutdownTimeout}
		x.writer.SetLimits(0, 0, 0)
	}
	return x.writer
}

// SetLimits sets the bounds of the buffer, in bytes: Drain waits when it has more
// than high until it has no more than low, and a Write that would make it more than
// max is refused. Zeros stand for a quarter of high, 64 KB and 16 MB; a high above max
// lifts a max of zero. What asyncio does with a high of zero, a drain that waits for
// all, is [Writer.Flush]. It panics unless low <= high <= max.
// (asyncio: set_write_buffer_limits)
func (w *Writer) SetLimits(low, high, max int) {
	if high == 0 {
		high = writerHigh
		if low > high {
			high = low
		}
	}
	if low == 0 {
		low = high / 4
	}
	if max == 0 {
		max = writerMax
		if high > max {
			max = high
		}
	}
	if low < 0 || low > high || high > max {
		panic("stream: SetLimits: not 0 <= low <= high <= max")
	}
	w.low, w.high, w.max = low, high, max
	w.measure()
}

// SetCloseTimeout bounds how long [Writer.Close] goes on to send. Default, and for d
// of zero or less: 30 s.
func (w *Writer) SetCloseTimeout(d time.Duration) {
	if d <= 0 {
		d = shutdownTimeout
	}
	w.closeTimeout = d
}

// Buffered returns how many bytes have not been handed to the system.
// (asyncio: get_write_buffer_size)
func (w *Writer) Buffered() int {
	if w.out == nil {
		return 0
	}
	return len(w.out.unread())
}

// Write writes all of p, or buffers what there is no room for; p is the caller's
// again when it returns. It returns [ErrBufferFull] if p would not fit the buffer even
// if nothing could be sent at once, net.ErrClosed after Close or when the Conn is
// closed, EPIPE after CloseWrite, [ErrBusy] while a task waits in a Write of the Conn,
// and an error of the connection, now or before; then nothing is buffered.
// (asyncio: write)
func (w *Writer) Write(p []byte) (int, error) {
	if err := w.mayWrite(len(p)); err != nil {
		return 0, err
	}
	n := 0
	if w.out == nil {
		var err error
		if n, err = w.try(p); err != nil {
			w.fail(err)
			return n, err
		}
	}
	w.keep(p[n:])
	w.measure()
	return len(p), nil
}

// Writev is Write of several pieces, one after the other, without copying them
// together first: all are written or buffered, or none if they do not fit. A socket
// takes up to 32 with one system call, where the system has one.
// (asyncio: writelines)
func (w *Writer) Writev(pieces ...[]byte) (int, error) {
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	if err := w.mayWrite(size); err != nil {
		return 0, err
	}
	n := 0
	if w.out == nil {
		var err error
		if n, err = w.tryAll(pieces); err != nil {
			w.fail(err)
			return n, err
		}
	}
	for _, p := range pieces {
		k := min(n, len(p))
		n -= k
		w.keep(p[k:])
	}
	w.measure()
	return size, nil
}

// mayWrite returns why size bytes may not be written.
func (w *Writer) mayWrite(size int) error {
	c := w.c
	switch {
	case w.closing || c.Closed():
		return c.opError("write", net.ErrClosed)
	case w.err != nil:
		return w.err
	case w.ended:
		return c.opError("write", syscall.EPIPE)
	case w.out == nil && c.held(writing):
		return ErrBusy
	case size > w.max-w.Buffered():
		return ErrBufferFull
	}
	return nil
}

// try writes what there is room for, and no more in a turn than the Conn's budget.
func (w *Writer) try(p []byte) (n int, err error) {
	for n < len(p) && err == nil && w.c.spent < budget {
		var k int
		k, err = w.c.tryWrite(p[n:])
		n += k
	}
	if err == ErrWouldBlock {
		err = nil
	}
	return n, err
}

// tryAll is try for several pieces.
func (w *Writer) tryAll(pieces [][]byte) (n int, err error) {
	for len(pieces) > 0 && err == nil && w.c.spent < budget {
		k := 0
		if w.c.layered() == nil {
			k, err = w.c.tryWritev(pieces)
			n += k
			for len(pieces) > 0 && k >= len(pieces[0]) {
				k -= len(pieces[0])
				pieces = pieces[1:]
			}
			if k == 0 {
				continue // between two pieces
			}
		}
		p := pieces[0][k:]
		pieces = pieces[1:]
		k, err = w.try(p)
		n += k
		if k < len(p) {
			break
		}
	}
	if err == ErrWouldBlock {
		err = nil
	}
	return n, err
}

func (c *Conn) tryWritev(pieces [][]byte) (int, error) {
	n, err := c.fd.TryWritev(pieces)
	c.spend(n)
	if err != nil && err != ErrWouldBlock {
		err = c.opError("write", err)
	}
	return n, err
}

// keep buffers p. From then on nobody else may write to the Conn.
func (w *Writer) keep(p []byte) {
	if len(p) == 0 {
		return
	}
	if w.out == nil {
		w.out = w.c.buffers().get()
		w.c.flags |= writing
		w.arm()
	}
	w.out.add(p)
}

// add appends p to the buffer, and makes room for it.
func (b *inbuf) add(p []byte) {
	if unread := b.unread(); len(p) > len(b.b)-b.w {
		to := b.b
		// Moving within the same memory pays only if at least half of it gets free.
		if need := len(unread) + len(p); need > len(b.b) || len(unread) > len(b.b)/2 {
			to = make([]byte, max(need, 2*len(b.b)))
		}
		b.w = copy(to, unread)
		b.b, b.r = to, 0
	}
	b.w += copy(b.b[b.w:], p)
}

// arm arranges for the next flush.
func (w *Writer) arm() {
	if w.c.writable() || w.c.Closed() {
		w.ready()
	} else {
		w.c.wantWrite()
	}
}

// ready is told by the Conn that there may be room, or that it was closed. The loop
// may call it while it looks, so flushing is left to a callback.
func (w *Writer) ready() {
	if !w.queued && (w.out != nil || w.c.Closed()) && !w.c.Loop().Closed() {
		w.queued = true
		w.c.Loop().Queue((*writerRun)(w))
	}
}

// A writerRun is a Writer that has something to do.
type writerRun Writer

func (f *writerRun) Run() {
	w := (*Writer)(f)
	w.queued = false
	switch {
	case w.c.Closed():
		w.lost()
	case w.out != nil:
		w.flush()
	}
}

// flush sends what there is room for.
func (w *Writer) flush() {
	w.c.spent = 0
	n, err := w.try(w.out.unread())
	if err != nil {
		w.fail(err)
		return
	}
	if w.out.r += n; n > 0 {
		w.endStall()
	}
	if w.out.r == w.out.w {
		w.drop()
		w.finish()
		w.flushes.WakeAll()
	} else {
		w.arm()
	}
	w.measure()
	if w.drains.Len() > 0 || w.flushes.Len() > 0 {
		w.beginStall()
	}
}

// measure compares what is buffered with the limits.
func (w *Writer) measure() {
	switch n := w.Buffered(); {
	case n > w.high:
		w.full = true
	case w.full && n <= w.low:
		w.full = false
		w.drains.WakeAll()
	}
}

// drop empties the buffer, and lets others write.
func (w *Writer) drop() {
	if w.out != nil {
		w.c.buffers().put(w.out)
		w.out = nil
		w.c.flags &^= writing
	}
	w.endStall()
}

// finish does what waited for the buffer to be empty.
func (w *Writer) finish() {
	switch {
	case w.closing:
		w.closeNow()
	case w.ended:
		w.err = w.c.CloseWrite()
	}
}

// fail ends writing for good.
func (w *Writer) fail(err error) {
	w.err = err
	w.drop()
	w.full = false
	w.drains.WakeAll()
	w.flushes.WakeAll()
	if w.closing {
		w.closeNow()
	}
}

// lost is told that the Conn is closed.
func (w *Writer) lost() {
	w.c.Loop().StopTimer(&w.closeTimer)
	if w.out != nil {
		w.fail(w.c.opError("write", net.ErrClosed))
	}
	w.closes.WakeAll()
	if r := w.after; r != nil {
		w.after = nil
		w.c.Loop().Queue(r)
	}
}

// Drain waits while the peer is too slow: when more than the high limit was buffered
// it waits until there is no more than the low one. Any number of tasks may wait, and
// are woken in the order they came. It returns the error that has ended the
// connection; net.ErrClosed, after a turn, when it was closed; and one that is
// os.ErrDeadlineExceeded if nothing could be sent for longer than [Conn.SetTimeouts]
// allows. (asyncio: drain)
//
// Cancel safety: what was written stays written.
func (w *Writer) Drain(ctx context.Context) error {
	if w.closing || w.c.Closed() {
		if err := task.Yield(ctx); err != nil { // so that who only writes and drains sees it
			return err
		}
	}
	if w.full {
		return w.wait(ctx, &w.drains, "stream: Drain")
	}
	return w.giveWay(ctx)
}

// Flush is Drain that waits until nothing is buffered: all was handed to the system,
// or to the TLS of the Conn, which sends its last 17 KB at most by itself.
//
// Cancel safety: what was written stays written.
func (w *Writer) Flush(ctx context.Context) error {
	if w.out != nil {
		return w.wait(ctx, &w.flushes, "stream: Flush")
	}
	return w.giveWay(ctx)
}

// giveWay is the Conn's, where there is nothing to wait for but maybe an error to tell.
func (w *Writer) giveWay(ctx context.Context) error {
	if err := w.c.giveWay(ctx); err != nil {
		return err
	}
	if w.err == nil && w.c.Closed() {
		return w.c.opError("write", net.ErrClosed)
	}
	return w.err
}

func (w *Writer) wait(ctx context.Context, q *waitq.Queue, what string) error {
	v := q.Push(ctx, what)
	w.beginStall()
	stalls := w.stalls
	err := v.Await(ctx)
	v.Remove()
	switch {
	case err != nil:
		return err
	case w.err != nil:
		return w.err
	case stalls != w.stalls:
		return w.c.opError("write", os.ErrDeadlineExceeded)
	}
	return nil
}

// beginStall bounds how long those who wait do so without any progress.
func (w *Writer) beginStall() {
	if w.stalling || w.c.x.limits == nil {
		return
	}
	if end := w.c.x.limits.end(); !end.IsZero() {
		w.stalling = true
		w.c.Loop().StartTimerAt(&w.stallTimer, end, (*writerStall)(w))
	}
}

func (w *Writer) endStall() {
	if w.stalling {
		w.stalling = false
		w.c.Loop().StopTimer(&w.stallTimer)
	}
}

// A writerStall is a Writer that could not send anything for too long.
type writerStall Writer

func (s *writerStall) Run() {
	w := (*Writer)(s)
	if !w.stalling {
		return
	}
	w.stalling = false
	w.stalls++
	w.drains.WakeAll()
	w.flushes.WakeAll()
}

// CloseWrite ends the stream to the peer, when all that is buffered was sent; see
// [Conn.CloseWrite]. Reading goes on. An error that comes of it later is that of
// [Writer.Flush]. (asyncio: write_eof)
func (w *Writer) CloseWrite() error {
	c := w.c
	switch {
	case w.closing || c.Closed():
		return c.opError("close", net.ErrClosed)
	case w.err != nil:
		return w.err
	case w.ended:
		return nil
	case w.out == nil:
		err := c.CloseWrite()
		w.ended = err == nil
		return err
	}
	w.ended = true
	return nil
}

// Close closes the connection when all that is buffered was sent, which goes on
// without the caller, for 30 s at most: see [Writer.SetCloseTimeout]. Then, or after an
// error, what is left is dropped, and the peer of a socket told of a reset. Later
// calls do nothing and return nil. [Writer.WaitClosed] waits for the end.
// (asyncio: close)
func (w *Writer) Close() error {
	if w.closing || w.c.Closed() {
		return nil
	}
	w.closing = true
	if w.out == nil {
		return w.c.Close()
	}
	w.c.Loop().StartTimer(&w.closeTimer, w.closeTimeout, (*writerLate)(w))
	return nil
}

// closeNow closes the Conn, which tells the Writer.
func (w *Writer) closeNow() {
	if err := w.c.Close(); w.err == nil {
		w.err = err
	}
}

// A writerLate is a Writer that could not send all in time.
type writerLate Writer

func (t *writerLate) Run() {
	w := (*Writer)(t)
	if w.out == nil || w.c.Closed() {
		return
	}
	w.closing = false // no closing by fail, which is not a reset
	w.fail(w.c.opError("close", os.ErrDeadlineExceeded))
	w.closing = true
	_ = w.c.Abort()
}

// Closing reports whether Close was called, or the Conn is closed.
// (asyncio: is_closing)
func (w *Writer) Closing() bool { return w.closing || w.c.Closed() }

// WaitClosed waits until the connection is closed, by [Writer.Close] or otherwise. It
// returns nil if all that was written was handed to the system, else why not: the
// error of the connection, os.ErrDeadlineExceeded if it took too long, net.ErrClosed if
// the Conn was closed by other means before. What is unread is no reason to wait.
// (asyncio: wait_closed)
//
// Cancel safety: the connection closes all the same.
func (w *Writer) WaitClosed(ctx context.Context) error {
	if w.c.Closed() {
		w.lost()
		if err := task.Yield(ctx); err != nil {
			return err
		}
		return w.err
	}
	v := w.closes.Push(ctx, "stream: WaitClosed")
	err := v.Await(ctx)
	v.Remove()
	if err != nil {
		return err
	}
	return w.err
}

// writer returns the Conn's Writer if it was asked for, or nil.
func (c *Conn) writer() *Writer {
	if c.x == nil {
		return nil
	}
	return c.x.writer
}

// closeFlushed closes the Conn, after what its Writer holds was sent.
func (c *Conn) closeFlushed() error {
	if w := c.writer(); w != nil {
		return w.Close()
	}
	return c.Close()
}

// lingers returns the Writer that is to close the Conn when all is sent, or nil.
func (c *Conn) lingers() *Writer {
	if w := c.writer(); w != nil && w.closing && !c.Closed() {
		return w
	}
	return nil
}
