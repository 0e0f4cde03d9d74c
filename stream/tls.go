package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/tlsio"
	"github.com/eddyloop/eddy/task"
)

// A TLS makes connections secure, by crypto/tls. The zero value lacks a Config and
// so a certificate, or a name to verify. It may be used by several tasks, and is
// not changed. (asyncio: ssl, loop.start_tls, StreamWriter.start_tls)
//
// One task may read while another one writes, as with every [Conn]. ALPN, client
// certificates and session tickets are matters of the Config. A TLS 1.2
// renegotiation is refused.
type TLS struct {
	// Config is that of crypto/tls. For ALPN it has NextProtos.
	Config *tls.Config

	// HandshakeTimeout bounds the handshake. Default: 60 s. Negative: no bound.
	// (asyncio: ssl_handshake_timeout)
	HandshakeTimeout time.Duration

	// ShutdownTimeout bounds how long a closed connection goes on to send what was
	// written. Default: 30 s. (asyncio: ssl_shutdown_timeout)
	ShutdownTimeout time.Duration

	// OffLoop computes handshakes on the loop's default executor. A server's step
	// takes 0.1 to 3 ms, in which nothing else runs on the loop; off it a handshake
	// costs some 10 µs more.
	OffLoop bool
}

const (
	handshakeTimeout = 60 * time.Second
	shutdownTimeout  = 30 * time.Second
)

// Client makes c, which is connected, a TLS client's connection, which takes its
// place: c itself must not be used any more. What c has read too much, as by
// ReadLine, is read first. If the handshake fails c is closed: errors are
// *net.OpError, with os.ErrDeadlineExceeded after HandshakeTimeout, or that of the
// interruption. [ErrBusy] tells that others use c, which is left to them. Config needs a ServerName, or verifies by itself. It must be called
// in a task.
//
// Cancel safety: c is closed.
func (t *TLS) Client(ctx context.Context, c *Conn) (*Conn, error) { return t.wrap(ctx, c, false) }

// Server is Client for the other side. It panics if Config has no certificate, nor a
// function to ask for one.
func (t *TLS) Server(ctx context.Context, c *Conn) (*Conn, error) {
	t.mustServe()
	return t.wrap(ctx, c, true)
}

// mustServe panics if no handshake of a server could succeed.
func (t *TLS) mustServe() {
	c := t.Config
	if c == nil || len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		panic("stream: a TLS server needs Certificates, GetCertificate or GetConfigForClient in its Config")
	}
}

// TLS returns what was negotiated; ok is false if c is no TLS connection.
func (c *Conn) TLS() (state tls.ConnectionState, ok bool) {
	if y := c.secure(); y != nil {
		return y.eng.State(), true
	}
	return state, false
}

// secure returns c's TLS layer, or nil.
func (c *Conn) secure() *tlsLayer {
	y, _ := c.layered().(*tlsLayer)
	return y
}

func (t *TLS) wrap(ctx context.Context, c *Conn, server bool) (*Conn, error) {
	if c.held(reading|writing) || c.x != nil && c.x.upper != nil {
		return nil, c.opError("handshake", ErrBusy)
	}
	l := c.Loop()
	y := &tlsLayer{below: c, local: c.LocalAddr(), remote: c.RemoteAddr(), shutdown: t.ShutdownTimeout}
	if y.shutdown <= 0 {
		y.shutdown = shutdownTimeout
	}
	cfg := tlsio.Config{TLS: t.Config, Server: server, Buffers: l.Local(tlsBuffersKey, newTLSBuffers).(*tlsio.Buffers)}
	if !t.OffLoop {
		cfg.Stacks = l.Coroutines()
	}
	y.eng = tlsio.New((*tlsCarrier)(y), cfg)
	if c.in != nil {
		y.eng.Feed(c.in.unread())
		c.dropBuffer()
	}
	sh := &shaking{t: t, y: y}
	done := false
	defer func() { // also when the task is unwound
		if !done {
			sh.abandon()
			_ = c.Close()
		}
	}()
	if err := sh.limited(ctx); err != nil {
		return nil, err
	}
	done = true
	return y.attach(), nil
}

var tlsBuffersKey = new(int)

func newTLSBuffers() any { return new(tlsio.Buffers) }

// attach makes the Conn of a layer whose handshake is done.
func (y *tlsLayer) attach() *Conn {
	below := y.below
	y.c = &Conn{x: &extra{layer: y, local: y.local, remote: y.remote, network: below.network()}, limit: below.limit}
	if below.x != nil && below.x.limits != nil { // the server's, which go on
		old := below.x.limits
		y.c.SetTimeouts(old.idle, old.message)
		y.c.x.limits.ending = old.ending
	}
	below.extra().upper = y
	below.flags |= reading | writing // ours
	return y.c
}

// A shaking is a handshake under way.
type shaking struct {
	t *TLS
	y *tlsLayer

	// Of one whose steps are computed elsewhere.
	mu   sync.Mutex // held during a step
	dead bool
}

// limited runs the handshake within its time.
func (s *shaking) limited(ctx context.Context) error {
	timeout := s.t.HandshakeTimeout
	if timeout == 0 {
		timeout = handshakeTimeout
	}
	hctx := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		hctx, cancel = task.WithTimeout(ctx, timeout)
		defer cancel()
	}
	err := s.run(hctx)
	if err == nil {
		return nil
	}
	if errors.Is(err, task.ErrTimeout) && ctx.Err() == nil {
		err = os.ErrDeadlineExceeded
	} else if interrupted(err) {
		return err
	}
	if oe := (*net.OpError)(nil); errors.As(err, &oe) {
		return err
	}
	return s.y.below.opError("handshake", err)
}

func (s *shaking) run(ctx context.Context) error {
	c, eng := s.y.below, s.y.eng
	buf := c.buffers().get()
	defer c.buffers().put(buf)
	for {
		err, interrupted := s.step(ctx)
		if interrupted != nil {
			return interrupted
		}
		if ferr := s.flush(ctx); ferr != nil && (err == nil || err == netfd.ErrWouldBlock) {
			return ferr
		}
		if err == nil {
			return nil
		}
		if err != netfd.ErrWouldBlock { // whatever a callback has said, it is no interruption
			return c.opError("handshake", err)
		}
		n, err := c.Read(ctx, buf.b)
		switch {
		case err == nil:
			eng.Feed(buf.b[:n])
		case err == io.EOF:
			eng.FeedEOF()
		default:
			return err
		}
	}
}

// flush sends what the step has left.
func (s *shaking) flush(ctx context.Context) error {
	for p := s.y.eng.Pending(); len(p) > 0; p = s.y.eng.Pending() {
		n, err := s.y.below.Write(ctx, p)
		s.y.eng.Advance(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// step returns the handshake's error, and that of the wait for it.
func (s *shaking) step(ctx context.Context) (step, err error) {
	if !s.t.OffLoop {
		return s.y.eng.Handshake(), nil
	}
	step, err = executor.Do(ctx, func(context.Context) (error, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.dead {
			return net.ErrClosed, nil
		}
		return s.y.eng.Handshake(), nil
	})
	if pe, ok := err.(*coro.PanicError); ok {
		panic(pe) // as on the loop
	}
	return step, err
}

// abandon gives the handshake up.
func (s *shaking) abandon() {
	if !s.t.OffLoop {
		s.y.eng.Abandon()
		return
	}
	if s.mu.TryLock() {
		s.end()
		return
	}
	go func() { // a step is under way, which nobody waits for
		s.mu.Lock()
		s.end()
	}()
}

func (s *shaking) end() {
	s.dead = true
	s.y.eng.Abandon()
	s.mu.Unlock()
}
