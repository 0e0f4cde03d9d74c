package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/tlsio"
	"github.com/eddyloop/eddy/loop"
)

var (
	// ErrHandshakeTimeout ends a connection whose TLS handshake took too long. It is
	// context.DeadlineExceeded to errors.Is.
	ErrHandshakeTimeout = fmt.Errorf("transport: TLS handshake took too long: %w", context.DeadlineExceeded)

	// ErrShutdownTimeout ends a connection with TLS whose peer did not take the end of
	// it in time. It is context.DeadlineExceeded to errors.Is.
	ErrShutdownTimeout = fmt.Errorf("transport: TLS shutdown took too long: %w", context.DeadlineExceeded)
)

// A TLSConfig says how [Transport.StartTLS] works.
type TLSConfig struct {
	// TLS is the configuration of crypto/tls. It must not be nil. A client has a
	// ServerName there, or verifies by itself; a server has a certificate.
	TLS *tls.Config
	// Server is the side. Default: the client.
	Server bool
	// Early is what Data was given already of the peer's handshake. Default: nothing.
	Early []byte
	// HandshakeTimeout bounds the handshake. Default 0: 60 s; negative: no bound.
	HandshakeTimeout time.Duration
	// ShutdownTimeout is that of [Config]. Default 0: 30 s; negative: no bound.
	ShutdownTimeout time.Duration
}

// A tlsState is what a transport has for TLS. While it lasts, the outbox holds what is
// to be encrypted.
//
//	flushing (StartTLS) --all is written as it is--> shaking --> open
//	open --Close, everything is sent--> notified --the peer's end--> losing
type tlsState struct {
	engine   *tlsio.Engine
	raw      int // bytes in front of the outbox that are not to be encrypted
	notified bool
	timer    loop.Timer // of the handshake, then of the shutdown
	shutdown time.Duration
	started  future.Promise[struct{}] // of StartTLS
	upgrade  bool                     // started is set
	stepping bool                     // in the handshake's code
}

// record is how much is encrypted at a time.
const record = 16 << 10

// maxRecords is how many records are read in a turn.
const maxRecords = 4

// clientConfig returns c with the name of the server that was dialed.
func clientConfig(c *tls.Config, network, address string) *tls.Config {
	if c.ServerName != "" || c.InsecureSkipVerify || network == "unix" {
		return c
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return c
	}
	c = c.Clone()
	c.ServerName = host
	return c
}

// tlsConfig is c for a connection that begins with TLS.
func (c *Config) tlsConfig(config *tls.Config, server bool) *TLSConfig {
	return &TLSConfig{TLS: config, Server: server, HandshakeTimeout: c.HandshakeTimeout, ShutdownTimeout: c.ShutdownTimeout}
}

// StartTLS goes on with TLS: what was written before is sent as it is; what is
// written from now on is sent when the handshake is done. The future is resolved then.
// Before the upgrade reading should be paused, or the protocol should end with the
// last bytes that are not the peer's handshake: what it got too much goes into
// cfg.Early. If the handshake fails, or takes too long, so does the future, and Lost is
// called with the same error. It panics if the transport has TLS already.
// (asyncio: start_tls)
//
// Cancel safety: canceling the future aborts the connection, because nobody knows how
// far the peer has got.
func (t *Transport) StartTLS(cfg TLSConfig) *future.Future[struct{}] {
	if t.flags&encrypted != 0 {
		panic("transport: StartTLS of a transport with TLS")
	}
	f, p := future.New[struct{}](t.hub.l)
	switch {
	case t.flags&(closing|failed|lost|eofIn|eofOut) != 0:
		p.Fail(net.ErrClosed)
		return f
	case t.flags&sending != 0:
		p.Fail(ErrBusy)
		return f
	}
	p.OnCancel(func(cause error) bool {
		ok := p.Cancel(cause)
		t.Abort()
		return ok
	})
	t.beginTLS(&cfg)
	s := t.more.tls
	s.started, s.upgrade = p, true
	return f
}

func (t *Transport) beginTLS(cfg *TLSConfig) {
	s := &tlsState{raw: t.out.size, shutdown: timeout(cfg.ShutdownTimeout, defaultShutdown)}
	s.engine = tlsio.New((*carrier)(t), tlsio.Config{
		TLS: cfg.TLS, Server: cfg.Server, Stacks: t.hub.l.Coroutines(), Buffers: &t.hub.tls,
	})
	s.engine.Feed(cfg.Early)
	t.extra().tls = s
	t.flags |= encrypted
	if d := timeout(cfg.HandshakeTimeout, defaultHandshake); d > 0 {
		t.hub.l.StartTimer(&s.timer, d, (*tlsTimeout)(t))
	}
	t.schedule()
}

// A carrier is a Transport as its Engine sees it.
type carrier Transport

func (c *carrier) TryRead(p []byte) (int, error) { return c.fd.TryRead(p) }
func (c *carrier) LocalAddr() net.Addr           { return (*Transport)(c).LocalAddr() }
func (c *carrier) RemoteAddr() net.Addr          { return (*Transport)(c).RemoteAddr() }

// A tlsTimeout is a Transport whose handshake, or shutdown, takes too long.
type tlsTimeout Transport

func (c *tlsTimeout) Run() {
	t := (*Transport)(c)
	if t.more.tls.engine.Shaking() {
		t.lose(t.opError("handshake", ErrHandshakeTimeout))
	} else {
		t.lose(t.opError("close", ErrShutdownTimeout))
	}
}

// TLS returns what was negotiated, and false without TLS or before the end of the
// handshake. (asyncio: get_extra_info("ssl_object"))
func (t *Transport) TLS() (s tls.ConnectionState, ok bool) {
	if t.flags&encrypted == 0 || t.more.tls.engine.Shaking() {
		return s, false
	}
	return t.more.tls.engine.State(), true
}

// shaking reports whether a handshake is under way.
func (t *Transport) shaking() bool { return t.flags&encrypted != 0 && t.more.tls.engine.Shaking() }

// readsTLS is reads with TLS: also what is not for the protocol.
func (t *Transport) readsTLS() bool {
	s := t.more.tls
	switch {
	case t.flags&(losing|lost) != 0:
		return false
	case s.engine.Shaking():
		return s.raw == 0
	case s.notified && t.flags&closing != 0:
		return true // for the peer's end
	}
	return t.flags&(made|paused|eofIn) == made
}

// ioTLS is io with TLS.
func (t *Transport) ioTLS() {
	s := t.more.tls
	if s.raw == 0 && s.engine.Shaking() {
		t.shake()
	} else if t.reads() {
		t.receive()
	}
	if t.flags&losing == 0 {
		t.flush()
	}
}

// shake takes the handshake as far as it gets.
func (t *Transport) shake() {
	e := t.more.tls.engine
	for {
		t.hub.method = "TLS handshake"
		err := t.step()
		if t.flags&losing != 0 {
			e.Abandon() // it was not possible before
			return
		}
		t.sendPending()
		if t.flags&losing != 0 {
			return
		}
		if err == nil {
			t.shaken()
			return
		}
		if err != netfd.ErrWouldBlock {
			t.lose(t.opError("handshake", err))
			return
		}
		n, err := t.fd.TryRead(t.hub.buffer())
		switch {
		case err == nil:
			e.Feed(t.hub.in[:n])
		case err == io.EOF:
			e.FeedEOF()
		case err == netfd.ErrWouldBlock:
			t.fd.WantRead()
			return
		default:
			t.lose(t.opError("handshake", err))
			return
		}
	}
}

// step marks the handshake's step: callbacks of the tls.Config may call us.
func (t *Transport) step() error {
	s := t.more.tls
	s.stepping = true
	defer func() { s.stepping = false }()
	return s.engine.Handshake()
}

// shaken goes on after the handshake.
func (t *Transport) shaken() {
	s := t.more.tls
	t.hub.l.StopTimer(&s.timer)
	if s.upgrade {
		s.started.Resolve(struct{}{})
	}
	if t.flags&made == 0 {
		t.connected()
	}
	t.schedule() // there may be more that came with it
}

// receiveTLS reads some records.
func (t *Transport) receiveTLS() error {
	s := t.more.tls
	for range maxRecords {
		p := t.hub.buffer()
		over := s.notified && t.flags&closing != 0 // nobody wants it any more
		own := t.buffered != nil && !over
		if own {
			t.hub.method = "GetBuffer"
			if p = t.buffered.GetBuffer(record); len(p) == 0 {
				return ErrEmptyBuffer
			}
		}
		n, err := s.engine.TryRead(p)
		switch {
		case err != nil:
			if over && err != netfd.ErrWouldBlock {
				t.lose(nil) // all is sent; many do not answer the end, but go
			}
			return err
		case over:
		case own:
			t.hub.method = "BufferUpdated"
			t.buffered.BufferUpdated(n)
		default:
			t.deliver(p[:n:n])
		}
		if !t.reads() {
			return nil
		}
	}
	t.schedule() // crypto/tls may have more, of which no event tells
	return nil
}

// writeTLS buffers p, and sends what it can.
func (t *Transport) writeTLS(p []byte) error {
	if len(p) > t.limits.max-t.out.size {
		return ErrBufferFull
	}
	t.out.put(p, &t.hub.spare)
	return t.pushTLS()
}

// pushTLS sends what it can of what was just buffered.
func (t *Transport) pushTLS() error {
	if t.out.size > 0 && t.fd.Writable() {
		t.flushTLS()
	}
	if t.flags&failed != 0 {
		return t.more.err
	}
	t.checkFull()
	return nil
}

// flushTLS encrypts and writes what is buffered, a bounded amount of it, and reports
// whether that was all.
func (t *Transport) flushTLS() (all bool) {
	s := t.more.tls
	for range 4 * maxFlush {
		if !t.sendPending() {
			return false
		}
		switch {
		case s.raw > 0:
			if !t.sendRaw() {
				return false
			}
		case s.engine.Shaking():
			return false
		case t.out.size > 0:
			if !t.encrypt() {
				return false
			}
		case t.flags&(closing|eofOut) != 0 && t.flags&sending == 0 && !s.notified:
			s.notified = true
			_ = s.engine.CloseWrite() // if an alert has ended the stream, that was it
			t.schedule()              // to read on, for the peer's end
		default:
			return true
		}
	}
	t.schedule()
	return false
}

// sendPending writes what was encrypted, and reports whether that was all.
func (t *Transport) sendPending() bool {
	e := t.more.tls.engine
	for p := e.Pending(); len(p) > 0; p = e.Pending() {
		n, err := t.fd.TryWrite(p)
		e.Advance(n)
		if !t.wrote(err) {
			return false
		}
	}
	return true
}

// sendRaw writes of what is not to be encrypted.
func (t *Transport) sendRaw() bool {
	s := t.more.tls
	p := t.out.front()
	n, err := t.fd.TryWrite(p[:min(len(p), s.raw)])
	t.out.drop(n, &t.hub.spare)
	if s.raw -= n; s.raw == 0 {
		if t.flags&closing != 0 {
			t.lose(nil)
			return false
		}
		t.schedule() // to begin the handshake
	}
	return t.wrote(err)
}

// encrypt takes a record's worth out of the outbox.
func (t *Transport) encrypt() bool {
	p := t.out.front()
	n, err := t.more.tls.engine.Write(p[:min(len(p), record)])
	if err != nil {
		_ = t.writeFailed(err) // Lost gets it
		return false
	}
	t.out.drop(n, &t.hub.spare)
	return true
}

// wrote arranges for the rest of a write, or for its failure, and reports whether
// neither is needed.
func (t *Transport) wrote(err error) bool {
	switch {
	case err != nil && err != netfd.ErrWouldBlock:
		_ = t.writeFailed(err) // Lost gets it
		return false
	case !t.fd.Writable():
		t.fd.WantWrite()
		return false
	}
	return true
}

// drainedTLS goes on when everything was written.
func (t *Transport) drainedTLS() {
	if t.more.tls.notified && t.flags&(closing|eofIn) == closing|eofIn {
		t.lose(nil)
	}
}

// closeTLS is Close with TLS.
func (t *Transport) closeTLS() {
	s := t.more.tls
	if s.engine.Shaking() {
		if s.raw == 0 {
			t.lose(nil)
		}
		return
	}
	if s.shutdown > 0 {
		t.hub.l.StartTimer(&s.timer, s.shutdown, (*tlsTimeout)(t))
	}
	t.schedule()
}

// stopTLS frees what TLS holds.
func (t *Transport) stopTLS() {
	if t.flags&encrypted == 0 {
		return
	}
	s := t.more.tls
	t.hub.l.StopTimer(&s.timer)
	if s.engine.Shaking() && !s.stepping {
		s.engine.Abandon()
	}
	if s.upgrade && !s.started.Future().Done() {
		switch err := t.more.err; err {
		case nil:
			s.started.Fail(net.ErrClosed)
		case loop.ErrClosed:
			s.started.Cancel(err) // the loop closes: nobody is there to look
		default:
			s.started.Fail(err)
		}
	}
}
