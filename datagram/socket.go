package datagram

import (
	"context"
	"errors"
	"net"

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
	ErrBusy = errors.New("datagram: another task waits in this direction")

	// ErrTruncated comes with the first bytes of a datagram that was longer than the
	// buffer. The others are lost. The socket goes on.
	ErrTruncated = errors.New("datagram: longer than the buffer")
)

// Stats is what a socket has done since it was made here.
type Stats struct {
	Received  uint64 // datagrams handed out, truncated ones included
	Truncated uint64 // of those, longer than the buffer
	Sent      uint64 // datagrams that the system has taken
	// Dropped counts the datagrams that the kernel has thrown away because the
	// socket's buffer was full: of a UDP socket on Linux since 4.12, else 0. It is
	// the kernel's counter, modulo 2³².
	Dropped uint64
}

// A socket is what a [Conn] and a [UnixConn] have in common.
//
//	open --Close, or closing the loop--> closed
type socket struct {
	fd      netfd.FD
	r, w    *wait // of each direction; nil until the first
	network string
	to      net.Addr // whom it is connected with; nil if with nobody
	at      net.Addr // its own address, since somebody asked or it was closed
	spent   int16    // done without a wait; see budget
	flags   flags
	stats   Stats
}

type flags uint8

const (
	reading flags = 1 << iota // a task waits in the middle of a read
	writing                   // or of a write
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

func (w *wait) cancel(cause error) bool {
	return future.Settle(&w.Future, struct{}{}, &future.CanceledError{Cause: cause})
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

// budget is what may be done on a socket between two waits: it bounds the bytes,
// in units of 4 KB, and the number of operations.
const budget = 64

func (s *socket) spend(n int) { s.spent = int16(min(int(s.spent)+1+n>>12, budget)) }

// giveWay lets others run when the budget is spent.
func (s *socket) giveWay(ctx context.Context) error {
	if s.spent < budget {
		return nil
	}
	s.spent = 0
	return task.Yield(ctx)
}

// A socketSink is a socket as the loop sees it.
type socketSink socket

// Ready wakes who waits. The loop calls it while it looks, so it only settles
// futures: the tasks run in this turn's batch, one hop from the event.
func (s *socketSink) Ready(r poller.Ready) {
	reader, writer := s.fd.Note(r)
	if reader {
		s.r.wake()
	}
	if writer {
		s.w.wake()
	}
}

// A socketReader cancels the wait of a reader, and says what it is for.
type socketReader socket

func (s *socketReader) CancelFuture(cause error) bool { return s.r.cancel(cause) }
func (s *socketReader) String() string                { return "read of " + (*socket)(s).String() }

// Run is a wait for nothing but the next turn.
func (s *socketReader) Run() { s.r.wake() }

// A socketWriter is a socketReader for the writer.
type socketWriter socket

func (s *socketWriter) CancelFuture(cause error) bool { return s.w.cancel(cause) }
func (s *socketWriter) String() string                { return "write to " + (*socket)(s).String() }
func (s *socketWriter) Run()                          { s.w.wake() }

// open takes fd over, also if it fails.
func (s *socket) open(l *loop.Loop, fd int) error {
	if err := s.fd.Open(l, fd, (*socketSink)(s), true); err != nil {
		netfd.CloseFD(fd)
		return err
	}
	return nil
}

// received notes what a read has brought, and makes its error the user's.
func (s *socket) received(n int, truncated bool, err error) error {
	s.spend(n)
	switch {
	case err == ErrWouldBlock:
		return err
	case err != nil:
		return s.opError("read", s.to, err)
	}
	s.stats.Received++
	if truncated {
		s.stats.Truncated++
		return ErrTruncated
	}
	return nil
}

// Read is ReadFrom for who knows, or does not care, whom a datagram is from.
//
// Cancel safety: a canceled Read has taken no datagram.
func (s *socket) Read(ctx context.Context, p []byte) (int, error) {
	if err := s.beginRead(ctx); err != nil {
		return 0, err
	}
	for {
		n, err := s.tryRead(p)
		if err != ErrWouldBlock {
			return n, err
		}
		if err := s.waitReadable(ctx); err != nil {
			return 0, err
		}
	}
}

// TryRead is Read without waiting: it returns [ErrWouldBlock] if there is no
// datagram.
func (s *socket) TryRead(p []byte) (int, error) {
	if s.held(reading) {
		return 0, ErrBusy
	}
	return s.tryRead(p)
}

func (s *socket) tryRead(p []byte) (int, error) {
	n, _, truncated, err := s.fd.TryReadFrom(p)
	return n, s.received(n, truncated, err)
}

// beginRead lets others run if it is time, and reports whether s may be read.
func (s *socket) beginRead(ctx context.Context) error {
	if err := s.giveWay(ctx); err != nil {
		return err
	}
	if s.held(reading) {
		return ErrBusy
	}
	return nil
}

// Write sends p as one datagram to whom s is connected with, and waits while the
// socket has no room for it. It sends all or nothing, also an empty one. The memory
// is the caller's when Write returns. It returns net.ErrClosed if s is closed, now
// or while it waits, [ErrBusy] if another task waits to write, EMSGSIZE for a
// datagram that is too long, and what the system has heard of an earlier one. It
// panics if s is not connected. (asyncio: sendto without an address)
//
// Cancel safety: a canceled Write has sent nothing.
func (s *socket) Write(ctx context.Context, p []byte) error {
	s.checkConnected()
	if err := s.beginWrite(ctx); err != nil {
		return err
	}
	for {
		if err := s.tryWrite(p); err != ErrWouldBlock {
			return err
		}
		if err := s.waitWritable(ctx); err != nil {
			return err
		}
	}
}

// TryWrite is Write without waiting: it returns [ErrWouldBlock] if there is no
// room.
func (s *socket) TryWrite(p []byte) error {
	s.checkConnected()
	if s.held(writing) {
		return ErrBusy
	}
	return s.tryWrite(p)
}

func (s *socket) tryWrite(p []byte) error {
	err := s.fd.TryWriteTo(p, nil)
	if s.sent(len(p), err) {
		return err
	}
	return s.opError("write", s.to, err)
}

// sent notes what has become of a write, and reports whether err is the user's as
// it is.
func (s *socket) sent(n int, err error) bool {
	s.spend(n)
	if err == nil {
		s.stats.Sent++
	}
	return err == nil || err == ErrWouldBlock
}

func (s *socket) beginWrite(ctx context.Context) error {
	if err := s.giveWay(ctx); err != nil {
		return err
	}
	if s.held(writing) {
		return ErrBusy
	}
	return nil
}

func (s *socket) checkConnected() {
	if s.to == nil {
		panic("datagram: Write on a socket that is not connected: use WriteTo")
	}
}

func (s *socket) checkFree() {
	if s.to != nil {
		panic("datagram: WriteTo on a socket that is connected: use Write")
	}
}

// held reports whether a task is in the middle of a read, or a write. One that
// was canceled there still is, until it has been told.
func (s *socket) held(dir flags) bool { return s.flags&dir != 0 }

// release ends the hold of the task that waited.
func (s *socket) release(dir flags) {
	s.flags &^= dir
	s.spent = 0
}

// waitReadable waits until trying to read is worthwhile.
func (s *socket) waitReadable(ctx context.Context) error {
	if s.Closed() {
		return s.opError("read", s.to, net.ErrClosed)
	}
	w, ok := arm(&s.r, s.Loop(), (*socketReader)(s))
	if !ok {
		return ErrBusy
	}
	s.fd.WantRead()
	s.flags |= reading
	defer s.release(reading)
	_, err := w.Await(ctx)
	return err
}

func (s *socket) waitWritable(ctx context.Context) error {
	if s.Closed() {
		return s.opError("write", s.to, net.ErrClosed)
	}
	w, ok := arm(&s.w, s.Loop(), (*socketWriter)(s))
	if !ok {
		return ErrBusy
	}
	s.fd.WantWrite()
	s.flags |= writing
	defer s.release(writing)
	_, err := w.Await(ctx)
	return err
}

// Readable returns what to wait for, as a task or a machine, before a Try method
// that reads: it is settled when there is a datagram or an error, or when s is
// closed. It is settled at once unless one has said [ErrWouldBlock]. It may be
// settled in vain. It fails with [ErrBusy] if somebody waits to read already.
// It is good for one wait: ask again for the next.
func (s *socket) Readable() future.Waiter {
	if s.held(reading) {
		return failed(s.Loop(), ErrBusy)
	}
	w, ok := arm(&s.r, s.Loop(), (*socketReader)(s))
	if !ok {
		return failed(s.Loop(), ErrBusy)
	}
	s.prepare(w, s.fd.Readable(), (*socketReader)(s), s.fd.WantRead)
	return w
}

// Writable is Readable for the Try methods that write: it is settled when there is
// room.
func (s *socket) Writable() future.Waiter {
	if s.held(writing) {
		return failed(s.Loop(), ErrBusy)
	}
	w, ok := arm(&s.w, s.Loop(), (*socketWriter)(s))
	if !ok {
		return failed(s.Loop(), ErrBusy)
	}
	s.prepare(w, s.fd.Writable(), (*socketWriter)(s), s.fd.WantWrite)
	return w
}

// prepare settles w, or sees to it that it will be.
func (s *socket) prepare(w *wait, ready bool, nextTurn loop.Runnable, want func()) {
	switch ready = ready || s.Closed(); {
	case ready && s.spent < budget:
		w.wake()
	case ready:
		s.spent = 0
		s.Loop().Queue(nextTurn) // give way
	default:
		s.spent = 0
		want()
	}
}

// failed returns a future that has failed.
func failed(l *loop.Loop, err error) future.Waiter {
	f, p := future.New[struct{}](l)
	p.Fail(err)
	return f
}

// Close closes the socket. What was written is sent. Whoever waits gets
// net.ErrClosed; so does every later call but Close, which does nothing and
// returns nil. (asyncio: DatagramTransport.close)
func (s *socket) Close() error {
	if !s.Closed() { // for who asks later
		s.at = s.address()
		s.stats.Dropped = s.dropped()
	}
	ok, err := s.fd.Close()
	if !ok {
		return nil
	}
	s.r.wake()
	s.w.wake()
	if err != nil {
		return s.opError("close", s.to, err)
	}
	return nil
}

// Closed reports whether Close was called, or the loop closed.
func (s *socket) Closed() bool { return s.fd.Num() < 0 }

// Loop returns the loop that the socket belongs to.
func (s *socket) Loop() *loop.Loop { return s.fd.Loop() }

// Stats returns what the socket has done.
func (s *socket) Stats() Stats {
	st := s.stats
	if !s.Closed() {
		st.Dropped = s.dropped()
	}
	return st
}

func (s *socket) dropped() uint64 {
	n, _ := netfd.Dropped(s.fd.Num())
	return uint64(n)
}

// LocalAddr returns the socket's own address, a *net.UDPAddr or *net.UnixAddr.
func (s *socket) LocalAddr() net.Addr {
	if s.at == nil {
		a := s.address()
		if s.Closed() {
			return a
		}
		s.at = a
	}
	return s.at
}

// address asks the system.
func (s *socket) address() net.Addr {
	if s.network == unixgram {
		return unixAddr(netfd.LocalUnix(s.fd.Num()))
	}
	return udpAddr(s.fd.Local())
}

// RemoteAddr returns whom the socket is connected with, or nil.
func (s *socket) RemoteAddr() net.Addr { return s.to }

// String names the socket by its network and address.
func (s *socket) String() string {
	if s.to != nil {
		return s.network + " " + s.to.String()
	}
	return s.network + " " + s.LocalAddr().String()
}

func (s *socket) opError(op string, to net.Addr, err error) error {
	return &net.OpError{Op: op, Net: s.network, Source: s.LocalAddr(), Addr: to, Err: err}
}
