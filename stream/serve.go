package stream

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// Serve accepts connections and starts a task for each, with handler as its body;
// ctx of handler is as with task.Go by the caller of Serve. The connection is
// closed when handler returns.
//
// A handler's error, or panic, ends its connection only, and is reported to the
// loop's OnError, unless it is an ordinary end: io.EOF, net.ErrClosed, a
// cancellation, or the peer's going away (ECONNRESET, EPIPE, ETIMEDOUT).
//
// Serve ends when its task is canceled, when ctx ends, when the Listener is closed,
// or with an error of Accept. Then it cancels the handlers and waits until all are
// done, whatever happens. It returns nil if the Listener was closed; it does not
// close it itself. (asyncio: start_server, Server.serve_forever)
//
// Cancel safety: connections not yet accepted stay in the system's queue.
func (ln *Listener) Serve(ctx context.Context, handler func(ctx context.Context, c *Conn) error) error {
	s := &server{ln: ln, self: park.From(ctx, "stream: Serve")}
	s.all.next, s.all.prev = &s.all, &s.all
	err := s.accept(ctx, handler)
	if interrupted := s.end(); interrupted != nil && err == nil {
		err = interrupted
	}
	return err
}

// A server is one call of Serve.
type server struct {
	ln   *Listener
	self park.Parker
	all  served // head of a circular list, oldest first
	n    int
	idle *future.Future[struct{}] // awaited by end
}

// A served is a connection and its task.
type served struct {
	s          *server
	c          *Conn
	t          *task.Task[struct{}]
	handler    func(ctx context.Context, c *Conn) error
	prev, next *served
}

func (s *server) accept(ctx context.Context, handler func(ctx context.Context, c *Conn) error) error {
	for {
		c, err := s.ln.Accept(ctx)
		switch {
		case err == nil:
			s.start(ctx, c, handler)
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			return err
		}
	}
}

func (s *server) start(ctx context.Context, c *Conn, handler func(ctx context.Context, c *Conn) error) {
	v := &served{s: s, c: c, handler: handler, prev: s.all.prev, next: &s.all}
	v.prev.next, v.next.prev = v, v
	s.n++
	s.ln.stats.Serving++
	v.t = task.Go(ctx, v.body)
	v.t.Watch(v)
}

func (v *served) body(ctx context.Context) error {
	defer v.c.Close() // at once, not when the loop gets round to telling of the end
	return v.handler(ctx, v.c)
}

// Run is told that the task is done.
func (v *served) Run() {
	s := v.s
	v.prev.next, v.next.prev = v.next, v.prev
	s.n--
	s.ln.stats.Serving--
	_ = v.c.Close() // of a task that was canceled before its body began
	if err := v.t.Err(); err != nil && !ordinary(err) {
		s.ln.fd.Loop().Report(&loop.CallError{Op: "connection handler", Name: v.t.Name(), Err: err})
	}
	if s.n == 0 && s.idle != nil {
		future.Settle(s.idle, struct{}{}, nil)
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
		if _, ok := err.(*coro.PanicError); ok {
			return false
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return netfd.Disconnected(err)
		}
		err = u.Unwrap()
	}
}

// end cancels the handlers and waits until they are done. A cancellation that
// comes meanwhile cancels them once more; it is returned.
func (s *server) end() (interrupted error) {
	for {
		for v := s.all.next; v != &s.all; v = v.next {
			v.t.Cancel(nil)
		}
		if s.n == 0 {
			return interrupted
		}
		var err error
		for s.n > 0 && err == nil {
			s.idle, _ = future.New[struct{}](s.ln.fd.Loop())
			// Not Await: a scope that has ended would not let anybody wait.
			err = s.self.Park(&s.idle.Cell)
			if err == nil && s.idle.Canceled() {
				err = s.idle.Err()
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
