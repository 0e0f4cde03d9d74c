package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// A Handler serves a connection, as the body of a task. The connection is closed
// when it returns.
type Handler = func(ctx context.Context, c *Conn) error

// A ServeConfig says how connections are served. The zero value is that of
// [Listener.Serve].
type ServeConfig struct {
	// MaxConns is how many connections may be open at once. Further ones wait in the
	// system's queue. Default: no bound.
	MaxConns int

	// IdleTimeout and MessageTimeout are set on each connection: see
	// [Conn.SetTimeouts]. Default: no bound.
	IdleTimeout, MessageTimeout time.Duration

	// WhenReady runs the handler only while there is a message: a task begins when
	// the peer has sent something, and when it returns nil the connection rests,
	// without a task and without a buffer, until more comes. An error, also io.EOF,
	// or closing the connection ends it. IdleTimeout bounds a rest, too.
	WhenReady bool

	// TLS makes each connection a TLS server's before its handler begins. A
	// handshake that fails is no error to report. Default: no TLS.
	TLS *TLS
}

// Serve accepts connections and starts a task for each, with handler as its body;
// ctx of handler is as with task.Go by the caller of Serve. The connection is
// closed when handler returns.
//
// A handler's error, or panic, ends its connection only, and is reported to the
// loop's OnError, unless it is an ordinary end: io.EOF, net.ErrClosed, a
// cancellation, a timeout of [Conn.SetTimeouts], or the peer's going away
// (ECONNRESET, EPIPE, ETIMEDOUT, the end of a TLS connection without a word).
//
// When the Listener is closed Serve waits for its handlers, and returns nil; see
// [Listener.Shutdown] and its weaker and stronger kin. When its task is canceled,
// when ctx ends, or with an error of Accept it cancels the handlers, closes what
// rests, and waits until all are done, whatever happens. It does not close the
// Listener. (asyncio: start_server, Server.serve_forever, Server.wait_closed)
//
// Cancel safety: connections not yet accepted stay in the system's queue.
func (ln *Listener) Serve(ctx context.Context, handler Handler) error {
	return new(ServeConfig).Serve(ctx, ln, handler)
}

// Serve is [Listener.Serve] with a configuration.
func (cfg *ServeConfig) Serve(ctx context.Context, ln *Listener, handler Handler) error {
	if cfg.TLS != nil {
		cfg.TLS.mustServe()
	}
	s := &server{cfg: *cfg, ln: ln, ctx: ctx, self: park.From(ctx, "stream: Serve"), handler: handler}
	s.all.next, s.all.prev = &s.all, &s.all
	ln.servers = append(ln.servers, s)
	defer s.forget()
	err := s.accept()
	if err == nil {
		err = s.settle() // the Listener was closed
	}
	if interrupted := s.end(); interrupted != nil && err == nil {
		err = interrupted
	}
	return err
}

// A server is one call of Serve.
type server struct {
	cfg     ServeConfig
	ln      *Listener
	ctx     context.Context
	self    park.Parker
	handler Handler
	all     served // head of a circular list, oldest first
	n       int
	ending  bool                     // nobody waits for Writers any more
	room    *future.Future[struct{}] // awaited for n to fall
}

// A served is a connection and, unless it rests, its task.
//
//	running --handler returns--> gone
//	running --it returns nil, WhenReady--> resting --the peer sends--> running
//	resting --end, error, timeout, Shutdown--> gone
//	running, resting --it would be gone, but bytes are to be sent--> lingering --all is sent--> gone
type served struct {
	s          *server
	c          *Conn
	t          *task.Task[struct{}] // nil: resting, lingering
	prev, next *served
}

func (s *server) accept() error {
	for {
		if s.cfg.MaxConns > 0 && s.n >= s.cfg.MaxConns {
			if err := s.waitBelow(s.ctx, s.cfg.MaxConns); err != nil {
				return err
			}
		}
		c, err := s.ln.Accept(s.ctx)
		switch {
		case err == nil:
			s.add(c)
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			return err
		}
	}
}

func (s *server) add(c *Conn) {
	v := &served{s: s, c: c, prev: s.all.prev, next: &s.all}
	v.prev.next, v.next.prev = v, v
	s.n++
	s.ln.serving++
	if s.cfg.IdleTimeout > 0 || s.cfg.MessageTimeout > 0 {
		c.SetTimeouts(s.cfg.IdleTimeout, s.cfg.MessageTimeout)
	}
	if s.cfg.WhenReady && s.cfg.TLS == nil {
		v.rest()
	} else {
		v.run()
	}
}

// run starts the task.
func (v *served) run() {
	v.t = task.Go(v.s.ctx, v.body)
	v.t.Watch(v)
}

func (v *served) body(ctx context.Context) (err error) {
	defer func() {
		if err != nil || !v.s.cfg.WhenReady {
			_ = v.c.closeFlushed() // at once, not when the loop gets round to telling of the end
		}
	}()
	if v.s.cfg.TLS != nil && v.c.secure() == nil {
		if err := v.shake(ctx); err != nil || v.s.cfg.WhenReady {
			return err
		}
	}
	return v.s.handler(ctx, v.c)
}

func (v *served) shake(ctx context.Context) error {
	c, err := v.s.cfg.TLS.Server(ctx, v.c)
	if err != nil {
		v.s.ln.failed++
		return errHandshake{err}
	}
	v.c = c
	return nil
}

// errHandshake is a failure before the handler.
type errHandshake struct{ error }

// Run is told that the task is done.
func (v *served) Run() {
	t := v.t
	err := t.Err()
	if err != nil && !ordinary(err) {
		v.s.ln.ac.Loop().Report(&loop.CallError{Op: "connection handler", Name: t.Name() + ", " + v.c.String(), Err: err})
	}
	v.t = nil
	if v.s.cfg.WhenReady && err == nil && !v.c.Closed() && v.c.lingers() == nil && v.lasting() {
		v.rest()
	} else {
		v.finish()
	}
}

// A lingering is a served without a handler whose Writer, or TLS, has not sent all
// yet.
type lingering served

// Run is told that there is no more to send. What the Writer had may have come to
// be TLS's.
func (g *lingering) Run() { (*served)(g).finish() }

// finish ends what has no handler, but not before all is sent.
func (v *served) finish() {
	if v.next == nil {
		return
	}
	_ = v.c.closeFlushed()
	if v.s.ending || !v.c.afterSending((*lingering)(v)) {
		v.gone()
		return
	}
	v.stopTimer()
}

// afterSending arranges for r to be told when c, which was closed, has sent what its
// Writer or its TLS holds. It reports false if they hold nothing.
func (c *Conn) afterSending(r loop.Runnable) bool {
	if w := c.lingers(); w != nil {
		w.after = r
		return true
	}
	if y := c.secure(); y != nil && y.closing() {
		y.after = r
		return true
	}
	return false
}

// stopTimer ends the bound of a rest.
func (v *served) stopTimer() {
	if v.c.x != nil && v.c.x.limits != nil {
		v.c.Loop().StopTimer(&v.c.x.limits.rd.timer)
	}
}

// lasting reports whether the connection may have another message.
func (v *served) lasting() bool { return v.c.x == nil || v.c.x.limits == nil || !v.c.x.limits.ending }

// gone closes the connection, also of a task that was canceled before its body
// began, and forgets it.
func (v *served) gone() {
	s := v.s
	if v.next == nil {
		return
	}
	v.prev.next, v.next.prev = v.next, v.prev
	v.prev, v.next = nil, nil
	s.n--
	s.ln.serving--
	v.stopTimer()
	_ = v.c.Close()
	if s.room != nil {
		future.Settle(s.room, struct{}{}, nil)
	}
	if s.ln.serving == 0 {
		s.ln.tellEmpty()
	}
}

// rest waits without a task for the peer to send. If others wait for that, there is
// no rest.
func (v *served) rest() {
	v.stopTimer() // of a wait that was in vain
	ready := v.c.Readable()
	if ready.State() == future.Failed {
		v.s.ln.ac.Loop().Report(&loop.CallError{Op: "connection at rest", Name: v.c.String(), Err: ready.Err()})
		v.finish()
		return
	}
	ready.Watch((*resting)(v))
	if idle := v.s.cfg.IdleTimeout; idle > 0 {
		v.c.Loop().StartTimer(&v.c.limits().rd.timer, idle, (*restLimit)(v))
	}
}

// A resting is a served without a task.
type resting served

// Run is told that trying to read is worthwhile.
func (r *resting) Run() {
	v := (*served)(r)
	if v.t != nil || v.next == nil || v.c.lingers() != nil {
		return
	}
	var err error
	if v.c.in == nil {
		err = v.c.fill(defaultLineLimit)
	}
	switch {
	case err == nil:
		v.message()
		v.run()
	case err == ErrWouldBlock:
		v.rest()
	default:
		v.finish()
	}
}

// finishMessages lets the message under way be the last one.
func (v *served) finishMessages() {
	lim := v.c.limits()
	if v.s.cfg.WhenReady && (v.s.cfg.TLS == nil || v.c.secure() != nil) {
		lim.asked = true // the handler runs because there is one
	}
	lim.finish()
	if v.t == nil {
		v.finish()
	}
}

// message ends the bound of the rest and begins that of the message.
func (v *served) message() {
	if v.c.x == nil || v.c.x.limits == nil {
		return
	}
	lim := v.c.x.limits
	v.stopTimer()
	lim.asked, lim.until = true, time.Time{}
	if lim.message > 0 {
		lim.until = v.c.Loop().Now().Add(lim.message)
	}
}

// A restLimit is a served whose rest is too long.
type restLimit served

func (r *restLimit) Run() {
	if v := (*served)(r); v.t == nil {
		v.gone()
	}
}

// ordinary reports whether err is how connections end every day. An error joined
// to such an end is not, and neither is a panic with one.
func ordinary(err error) bool {
	if future.AsCanceled(err) != nil {
		return true
	}
	for {
		if err == io.EOF || err == net.ErrClosed {
			return true
		}
		switch e := err.(type) {
		case *coro.PanicError:
			return false
		case errHandshake:
			return true
		case *net.OpError:
			if e.Timeout() || e.Err == io.ErrUnexpectedEOF { // TLS without a close_notify
				return true
			}
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return netfd.Disconnected(err)
		}
		err = u.Unwrap()
	}
}

// waitBelow waits until fewer than n connections are open.
func (s *server) waitBelow(ctx context.Context, n int) error {
	for s.n >= n {
		s.room, _ = future.New[struct{}](s.ln.ac.Loop())
		if _, err := s.room.Await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle waits for the handlers, after the Listener was closed.
func (s *server) settle() error { return s.waitBelow(s.ctx, 1) }

// end cancels the handlers and waits until they are done. A cancellation that
// comes meanwhile cancels them once more; it is returned.
func (s *server) end() (interrupted error) {
	s.ending = true
	for {
		s.cancel()
		if s.n == 0 {
			return interrupted
		}
		var err error
		for s.n > 0 && err == nil {
			s.room, _ = future.New[struct{}](s.ln.ac.Loop())
			// Not Await: a scope that has ended would not let anybody wait.
			err = s.self.Park(&s.room.Cell)
			if err == nil && s.room.Canceled() {
				err = s.room.Err()
			}
		}
		if err != nil {
			interrupted = err
		}
		if errors.Is(err, loop.ErrClosed) {
			return err // nobody can wait any more
		}
	}
}

// each calls f for each connection; f may end it.
func (s *server) each(f func(v *served)) {
	for v := s.all.next; v != &s.all; {
		next := v.next
		f(v)
		v = next
	}
}

// cancel ends what runs and what rests.
func (s *server) cancel() {
	s.each(func(v *served) {
		if v.t != nil {
			v.t.Cancel(nil)
		} else {
			v.gone()
		}
	})
}

func (s *server) forget() {
	for i, other := range s.ln.servers {
		if other == s {
			s.ln.servers = append(s.ln.servers[:i], s.ln.servers[i+1:]...)
			return
		}
	}
}
