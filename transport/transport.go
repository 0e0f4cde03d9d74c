package transport

import (
	"errors"
	"fmt"
	"net"
	"unsafe"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
)

var (
	// ErrWriteClosed is returned by writes after CloseWrite, and by those to what
	// can only be read.
	ErrWriteClosed = errors.New("transport: the write side is closed")

	// ErrBufferFull is returned by a write that might not fit the buffer. Nothing
	// of it was written.
	ErrBufferFull = errors.New("transport: write buffer is full")

	// ErrBusy is returned by a write while a file is being sent, and by what cannot
	// be done twice at a time.
	ErrBusy = errors.New("transport: busy")

	// ErrEmptyBuffer ends a connection whose [BufferedProtocol] gave an empty buffer.
	ErrEmptyBuffer = errors.New("transport: GetBuffer returned an empty buffer")
)

// A ProtocolError is a panic of a protocol's method. The connection was ended.
type ProtocolError struct {
	Method    string // "Data", …
	Transport string // its name
	Err       *coro.PanicError
}

// Error names the method and the transport.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("transport: %s of %s: %v", e.Method, e.Transport, e.Err)
}

// Unwrap returns Err.
func (e *ProtocolError) Unwrap() error { return e.Err }

// A Transport is a connection that calls a [Protocol]. Make it with [Dial] or
// [Adopt], or let a [Listener] make it. It must be used on its loop. Idle, it owns
// neither a buffer nor a stack. (asyncio: Transport)
//
//	new --Connected--> open --Close--> flushing --all is written--> losing --Lost--> lost
//	open or flushing --Abort, an error, closing the loop--> losing
//	open --EOF returned false--> as by Close
//
// The two directions of an open one end by themselves:
//
//	reading --the peer's end--> ended; reading <--ResumeReading / PauseReading--> paused
//	writing --CloseWrite--> flushing --all is written--> ended
type Transport struct {
	// What each message needs comes first.
	fd       netfd.FD
	hub      *hub
	env      *env.Env // what the protocol's methods run in
	proto    Protocol
	flags    flags
	kind     netfd.Kind
	out      outbox
	buffered BufferedProtocol // proto, if it is one
	limits   *limits
	more     *extras // what few have; may be nil
	group    *group  // all of one listener
	prev     *Transport
	next     *Transport
	peer     netfd.Addr
}

// A Transport is kept by the hundred thousand: more than this has to be worth it.
const _ = uint(176 - unsafe.Sizeof(Transport{}))

type flags uint16

const (
	made      flags = 1 << iota // Connected was called
	paused                      // PauseReading
	queued                      // the ioCall is in the loop's queue
	closing                     // Close: what is written is flushed, nothing is read
	losing                      // Lost is in the loop's queue
	lost                        // Lost was called
	failed                      // a write failed; what came before that is still read
	eofIn                       // the peer's stream has ended
	eofOut                      // CloseWrite
	full                        // PauseWriting was called
	sending                     // a file is being sent
	encrypted                   // by TLS
	readOnly                    // one end of a pipe
	writeOnly                   // the other

	uncommon   = made | paused | closing | losing | lost | eofIn | writeOnly | encrypted | failed | sending
	unwritable = closing | losing | lost | failed | eofOut | sending | encrypted | readOnly
)

// extras are what few transports have.
type extras struct {
	err      error    // of Lost
	local    net.Addr // nil until asked for
	dropped  int      // writes
	dial     *dialing // until Connected was called
	sendfile *sendfile
	tls      *tlsState
}

func (t *Transport) extra() *extras {
	if t.more == nil {
		t.more = new(extras)
	}
	return t.more
}

// newTransport takes fd over, also if it fails. Then begin must be called.
func newTransport(g *group, fd int, kind netfd.Kind, p Protocol, cfg *limits, e *env.Env) (*Transport, error) {
	h := g.hub
	t := &Transport{hub: h, limits: cfg, env: e, kind: kind}
	t.setProtocol(p)
	err := loop.ErrClosed
	if !h.closing {
		if kind == netfd.File {
			err = t.fd.OpenFile(h.l, fd, (*sink)(t))
		} else {
			err = t.fd.Open(h.l, fd, (*sink)(t), true)
		}
	}
	if err != nil {
		netfd.CloseFD(fd)
		return nil, err
	}
	g.add(t)
	return t, nil
}

// begin queues the call of Connected, unless TLS has to begin before.
func (t *Transport) begin() {
	if t.flags&encrypted == 0 {
		t.hub.l.Queue((*connectedCall)(t))
	}
}

// A sink is a Transport as the loop sees it.
type sink Transport

// Ready queues what is to be done. The loop calls it while it looks, once for many
// events, so it only notes.
func (s *sink) Ready(r poller.Ready) {
	t := (*Transport)(s)
	reader, writer := t.fd.Note(r)
	if writer || reader && t.reads() {
		t.schedule()
	} else if t.flags&writeOnly != 0 && r&poller.Failed != 0 {
		t.flags |= failed // nobody reads the pipe any more
		t.schedule()
	}
}

// schedule queues io, if it is not queued.
func (t *Transport) schedule() {
	if t.flags&queued == 0 {
		t.flags |= queued
		t.hub.l.Queue((*ioCall)(t))
	}
}

// An ioCall is a Transport in the loop's queue, to read and write.
type ioCall Transport

// Run reads once and writes what waits to be written.
//
// The common case, in which there is nothing to write, is all in one function: after a
// system call the processor mispredicts every return, some 5 ns each.
func (c *ioCall) Run() {
	t := (*Transport)(c)
	t.flags &^= queued
	if t.flags&(losing|lost) != 0 {
		return
	}
	t.hub.l.CallIn(t.env, func() {
		defer t.guard()
		if t.flags&uncommon != made || t.out.size > 0 || t.buffered != nil {
			t.io()
			return
		}
		n, err := t.fd.TryRead(t.hub.buffer())
		if err != nil {
			t.readFailed(err)
			return
		}
		t.hub.method = "Data"
		p := t.hub.in[:n:n]
		t.proto.Data(p)
		poison(p)
		t.await()
	})
}

// io reads first, so that an answer goes out in the same turn.
func (t *Transport) io() {
	if t.flags&encrypted != 0 {
		t.ioTLS()
	} else {
		t.ioPlain()
	}
	if t.flags&(sending|losing) == sending {
		t.more.sendfile.room()
	}
	if t.flags&(failed|losing) == failed && !t.reads() {
		t.lose(t.more.cause()) // there is nothing to read before that
	}
}

func (t *Transport) ioPlain() {
	if t.reads() {
		t.receive()
	}
	if t.out.size > 0 && t.flags&losing == 0 {
		t.flush()
	}
}

// guard is deferred around the protocol's methods. One that panicked has ended its
// connection; the panic goes on to the loop, which reports it.
func (t *Transport) guard() {
	v := recover()
	if v == nil {
		return // or Goexit, which ends the loop
	}
	err, nested := v.(*ProtocolError) // of another transport, that ours has written to
	if !nested {
		err = &ProtocolError{t.hub.method, t.String(), coro.NewPanicError(v)}
	}
	t.lose(err)
	panic(err)
}

// A connectedCall is a Transport whose Connected is to be called.
type connectedCall Transport

func (c *connectedCall) Run() {
	t := (*Transport)(c)
	if t.flags&lost == 0 { // the loop may be closing
		t.hub.l.CallIn(t.env, t.connected)
	}
}

func (t *Transport) connected() {
	defer t.guard()
	t.flags |= made
	t.hub.method = "Connected"
	t.proto.Connected(t)
	t.checkFull()
	t.await()
	t.dialed(nil)
}

// dialed settles the future of Dial.
func (t *Transport) dialed(err error) {
	if t.more != nil && t.more.dial != nil {
		d := t.more.dial
		t.more.dial = nil
		d.settle(t, err)
	}
}

// A lostCall is a Transport whose Lost is to be called.
type lostCall Transport

func (c *lostCall) Run() {
	t := (*Transport)(c)
	if t.flags&lost == 0 {
		t.hub.l.CallIn(t.env, t.tellLost)
	}
}

// tellLost calls Lost, and then closes the descriptor, come what may.
func (t *Transport) tellLost() {
	t.flags |= lost
	defer t.release()
	defer t.guard()
	if t.flags&made == 0 { // the handshake of TLS has failed, or the loop closes
		if ln := t.group.ln; ln != nil && !t.hub.closing {
			ln.failed++
		}
		return
	}
	t.hub.method = "Lost"
	t.proto.Lost(t.more.cause())
}

// release gives back what the transport holds.
func (t *Transport) release() {
	_, err := t.fd.Close()
	if err != nil {
		t.hub.l.Report(&loop.CallError{Op: "close", Name: t.String(), Err: err})
	}
	g := t.group
	g.remove(t)
	g.left()
}

func (x *extras) cause() error {
	if x == nil {
		return nil
	}
	return x.err
}

// lose ends the connection, and drops what is buffered: Lost is called by the queue.
// The first call counts.
func (t *Transport) lose(err error) {
	if t.flags&(losing|lost) != 0 {
		return
	}
	t.flags |= closing | losing
	t.dropOut()
	if err != nil {
		t.extra().err = err
	}
	if t.flags&sending != 0 {
		cause := err
		if cause == nil {
			cause = net.ErrClosed
		}
		t.more.sendfile.stop(cause)
	}
	t.stopTLS()
	t.dialed(err)
	t.hub.l.Queue((*lostCall)(t))
}

// Close closes the connection when all that was written has gone to the system;
// nothing is read any more. Lost is called with nil, unless that fails. Only Abort
// helps with a peer that takes nothing. The system goes on to send what it has,
// but if there is something unread it tells the peer of a reset, which may overtake
// that. Later calls do nothing. (asyncio: close)
func (t *Transport) Close() {
	if t.flags&closing != 0 {
		return
	}
	t.flags |= closing
	switch {
	case t.flags&failed != 0:
		t.lose(t.more.cause())
	case t.flags&encrypted != 0:
		t.closeTLS()
	case t.out.size == 0 && t.flags&sending == 0:
		t.lose(nil)
	}
}

// Abort closes the connection without writing what is buffered. Lost is called with
// nil, unless an error came first. (asyncio: abort)
func (t *Transport) Abort() { t.lose(t.more.cause()) }

// IsClosing reports whether the connection is being closed, or was.
// (asyncio: is_closing)
func (t *Transport) IsClosing() bool { return t.flags&(closing|failed) != 0 }

// Protocol returns the transport's protocol. (asyncio: get_protocol)
func (t *Transport) Protocol() Protocol { return t.proto }

// SetProtocol makes p the protocol from the next call on, of whichever kind it is.
// p's Connected is not called. It panics if p is nil. (asyncio: set_protocol)
func (t *Transport) SetProtocol(p Protocol) { t.setProtocol(p) }

func (t *Transport) setProtocol(p Protocol) {
	if p == nil {
		panic("transport: the protocol is nil")
	}
	t.proto = p
	t.buffered, _ = p.(BufferedProtocol)
}

// Loop returns the loop that the transport belongs to.
func (t *Transport) Loop() *loop.Loop { return t.hub.l }

// Num returns the descriptor, which stays the transport's, or -1 when it is closed.
// (asyncio: get_extra_info("socket"))
func (t *Transport) Num() int { return t.fd.Num() }

// String names the transport by its peer.
func (t *Transport) String() string {
	switch {
	case t.kind == netfd.File:
		return "pipe"
	case t.kind == netfd.Unix:
		return "unix " + t.unixName()
	}
	return "tcp " + netdial.TCPAddr(&t.peer).String()
}

func (t *Transport) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: t.network(), Source: t.LocalAddr(), Addr: t.RemoteAddr(), Err: err}
}
