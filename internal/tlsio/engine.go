package tlsio

import (
	"crypto/tls"
	"errors"
	"io"
	"net"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/internal/netfd"
)

// ErrFlooded is returned by [Engine.TryRead] when the peer asks for answers (key
// updates) again and again while nothing that is pending gets sent.
var ErrFlooded = errors.New("tlsio: the peer asks for answers and does not read them")

// maxReplied bounds the bytes of answers that wait to be sent: some 600 key updates.
const maxReplied = 16 << 10

// A Carrier is where an [Engine] reads the peer's ciphertext after the handshake.
type Carrier interface {
	// TryRead reads up to len(p) bytes, at least one. It returns
	// netfd.ErrWouldBlock if there is none, io.EOF at the end, or an error, which
	// it is not asked again after; and no bytes with either.
	TryRead(p []byte) (int, error)

	// LocalAddr and RemoteAddr are what the callbacks of a tls.Config see. During
	// the handshake they are called where that runs.
	LocalAddr() net.Addr
	// RemoteAddr must not be nil for a client that keeps sessions.
	RemoteAddr() net.Addr
}

// A Config says how an [Engine] works.
type Config struct {
	// TLS is the configuration of crypto/tls. A client has a ServerName there or
	// verifies by itself; a server has a certificate. Renegotiation of TLS 1.2 is
	// refused whatever it says: a read would have to wait in it.
	TLS *tls.Config

	// Server is the side. Default: the client.
	Server bool

	// Stacks is where the handshake borrows its stack: the Coroutines of the loop
	// that makes every call. Default: the handshake has a goroutine of its own,
	// and Handshake and Abandon may be called by any goroutine.
	Stacks *coro.Pool

	// Buffers lends the buffer of what is to be sent. Default: it is made when
	// needed and left to the garbage collector when empty.
	Buffers *Buffers
}

// An Engine is one side of a TLS connection, without the connection: see the
// package comment. It must be used by one goroutine at a time: the loop's, or
// without Config.Stacks another one for Handshake and Abandon. Make it with [New].
//
//	fresh --Handshake--> shaking --Handshake--> ready
//	fresh, shaking --Abandon, an error--> failed
//
// The two directions of a ready one end independently: writing by CloseWrite,
// reading by the peer's close_notify or an error.
type Engine struct {
	tls    *tls.Conn
	under  Carrier
	in     fifo // what was fed and not read yet
	out    fifo // what is to be sent
	bufs   *Buffers
	stacks *coro.Pool
	stack  stack // of a handshake that is under way, else nil
	result error // of the handshake's body
	err    error // of the handshake if failed; of reading if ready

	replied   int // bytes of out, at most, that reads have added
	phase     phase
	server    bool
	fedEOF    bool // nothing comes after in
	cut       bool // crypto/tls was told of an end without close_notify
	abandoned bool
	reading   bool // in TryRead
}

type phase uint8

const (
	fresh phase = iota
	shaking
	ready
	failed
)

// New returns an Engine that has not begun. Nothing needs to be freed unless a
// handshake is left unfinished: see [Engine.Abandon].
func New(under Carrier, cfg Config) *Engine {
	e := &Engine{under: under, bufs: cfg.Buffers, stacks: cfg.Stacks, server: cfg.Server}
	t := cfg.TLS
	if t == nil {
		t = new(tls.Config) // without any, State would panic
	}
	if cfg.Server {
		e.tls = tls.Server((*pipe)(e), t)
		return e
	}
	if t.Renegotiation != tls.RenegotiateNever {
		// It is a handshake within a read, and would take errNotYet for its end.
		t = t.Clone()
		t.Renegotiation = tls.RenegotiateNever
	}
	e.tls = tls.Client((*pipe)(e), t)
	return e
}

// Feed hands in ciphertext, and copies it. The handshake uses nothing else; what it
// leaves, and what is fed later, is read before the carrier.
func (e *Engine) Feed(p []byte) {
	if e.phase != failed {
		e.in.add(p)
	}
}

// FeedEOF says that the peer has sent nothing after what was fed.
func (e *Engine) FeedEOF() { e.fedEOF = true }

// Handshake takes the handshake as far as it gets with what was fed. It returns nil
// when it is done, netfd.ErrWouldBlock when more must be fed, or why it has failed,
// now and ever after: errors of crypto/tls, io.ErrUnexpectedEOF after [Engine.FeedEOF],
// net.ErrClosed after [Engine.Abandon]. In each case there may be something to be
// sent. A step takes as long as its cryptography, up to some milliseconds.
//
// It may be called by any goroutine if Config.Stacks is nil. Callbacks of the
// tls.Config run meanwhile, on another stack. If one panics, so does Handshake,
// with a *coro.PanicError, and if one calls Goexit, so does Handshake.
func (e *Engine) Handshake() error {
	switch e.phase {
	case ready:
		return nil
	case failed:
		return e.err
	case fresh:
		if e.server && e.in.empty() && !e.fedEOF {
			return netfd.ErrWouldBlock // a peer that says nothing costs no stack
		}
		e.begin()
	}
	return e.step()
}

// Shaking reports whether the handshake is neither done nor failed.
func (e *Engine) Shaking() bool { return e.phase <= shaking }

// Abandon ends a handshake that is not over. It must be called if the handshake is
// given up, else its stack stays for ever; not during a call of Handshake. After
// the handshake it does nothing.
func (e *Engine) Abandon() {
	switch e.phase {
	case fresh:
		e.settle(net.ErrClosed)
	case shaking:
		e.abandoned = true
		_ = e.step() // it has failed: we know
	}
}

// A body is an Engine as its stack sees it.
type body Engine

// RunBody implements [coro.Body].
func (b *body) RunBody() { b.result = b.tls.Handshake() }

func (e *Engine) begin() {
	e.phase = shaking
	if e.stacks != nil {
		e.stack = newWorker(e.stacks, (*body)(e))
	} else {
		e.stack = newThread((*body)(e))
	}
}

// step resumes the handshake.
func (e *Engine) step() error {
	if e.stack.resume() {
		return netfd.ErrWouldBlock
	}
	s := e.stack
	switch exit, fault := s.how(); exit {
	case coro.Panicked:
		e.settle(fault)
		panic(fault)
	case coro.Exited:
		e.settle(coro.ErrGoexit)
		s.exit() // does not return
	}
	e.settle(e.result)
	return e.err
}

// settle ends the handshake.
func (e *Engine) settle(err error) {
	e.stack, e.stacks, e.result = nil, nil, nil
	if err == nil {
		e.phase = ready
	} else {
		e.phase = failed
		e.err = e.meaning(err)
	}
	if err != nil || e.in.empty() {
		e.in = fifo{}
	}
}

// meaning is what we say for an error of crypto/tls.
func (e *Engine) meaning(err error) error {
	switch {
	case e.abandoned:
		return net.ErrClosed
	case e.cut && err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// State returns what was negotiated. It is zero before the end of the handshake,
// which holds a lock of crypto/tls.
func (e *Engine) State() tls.ConnectionState {
	if e.Shaking() {
		return tls.ConnectionState{}
	}
	return e.tls.ConnectionState()
}

// TryRead reads up to len(p) bytes, of one record at most. It returns
// netfd.ErrWouldBlock if nothing is there and the carrier would block, io.EOF after
// the peer's close_notify, io.ErrUnexpectedEOF if the stream ended without one,
// [ErrFlooded], and errors of the carrier and of crypto/tls; never with bytes. Every
// error but ErrWouldBlock stays. What the read answers, such as an alert, is pending.
// It panics before the end of the handshake.
func (e *Engine) TryRead(p []byte) (int, error) {
	e.mustBeOver("TryRead")
	if e.err != nil {
		return 0, e.err
	}
	e.reading = true
	n, err := e.tls.Read(p)
	e.reading = false
	if e.replied > maxReplied && (err == nil || err == errNotYet) {
		err = ErrFlooded
	}
	switch {
	case err == nil:
		return n, nil
	case err != errNotYet:
		// crypto/tls does not keep all its errors. After some, as that of a refused
		// renegotiation, it would go on.
		e.err = e.meaning(err)
	}
	switch {
	case n > 0:
		return n, nil
	case e.err != nil:
		return 0, e.err
	}
	return 0, netfd.ErrWouldBlock
}

// Write encrypts all of p and adds it to what is pending, without a limit: write
// in chunks of 16 KB. It fails after CloseWrite, after a failed handshake, and
// when an alert to the peer has ended the connection. It panics before the end of
// the handshake.
func (e *Engine) Write(p []byte) (int, error) {
	e.mustBeOver("Write")
	if e.phase == failed {
		return 0, e.err
	}
	if e.out.buf == nil {
		e.out.buf = e.bufs.get()
	}
	// What records add: 22 to 69 bytes to each, which are at first of 1.2 KB.
	e.out.room(len(p) + len(p)/16 + 64)
	n, err := e.tls.Write(p)
	e.release() // if there was nothing to write, or no writing
	return n, err
}

// CloseWrite adds a close_notify to what is pending: the peer reads to the end.
// Reading goes on. To do so again is harmless. It fails as Write does.
func (e *Engine) CloseWrite() error {
	e.mustBeOver("CloseWrite")
	if e.phase == failed {
		return e.err
	}
	return e.tls.CloseWrite()
}

// mustBeOver keeps callers from a handshake in the middle of another call, and from
// the locks of one that is suspended.
func (e *Engine) mustBeOver(method string) {
	if e.Shaking() {
		panic("tlsio: " + method + " before the end of the handshake")
	}
}

// Pending returns the ciphertext that is to be sent, until the next call of any
// method; nil if nothing is.
func (e *Engine) Pending() []byte {
	if e.out.empty() {
		return nil
	}
	return e.out.rest()
}

// Advance says that the first n bytes of Pending were sent. When all were, the
// engine owns no buffer.
func (e *Engine) Advance(n int) {
	if n < 0 || n > len(e.out.rest()) {
		panic("tlsio: Advance by more than is pending")
	}
	e.out.off += n
	e.release()
}

// release gives the buffer away when all was sent.
func (e *Engine) release() {
	if e.out.empty() {
		e.bufs.put(e.out.buf)
		e.out, e.replied = fifo{}, 0
	}
}
