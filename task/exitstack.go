package task

import (
	"context"
	"errors"
	"io"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
)

// An ExitStack holds what is to be done on leaving: the calls of a defer whose
// number is known only when it runs, that may wait, and that see the error. The
// zero value is an empty stack, to be left by [ExitStack.Close]; [WithExitStack] does
// that by itself. It must be used on the loop. (Python: contextlib.AsyncExitStack)
type ExitStack struct {
	exits *exit // of a ring: not an exit, but before the first and after the last
	left  bool  // WithExitStack has returned
}

// An exit is one call, told the error so far; it returns the error from there on.
// It knows its neighbors and not its stack, which PopAll may change.
type exit struct {
	fn         func(ctx context.Context, err error) error
	prev, next *exit // nil when it is off the stack
}

// WithExitStack calls fn with a new stack and, when fn has returned or panicked,
// what was put on the stack, last first, each once, whatever the others do. It
// returns fn's error, as the exits have left it. A panic of fn or of an exit is an
// error like any other: a [*coro.PanicError].
//
// The exits run in the calling task, with ctx, and may wait, also when the task was
// canceled: a cancellation is an edge, and fn has had it. (One that was not
// delivered yet ends the first wait, of fn or of an exit; a further one a further
// wait; the remaining exits are called all the same.) A scope is a level: if ctx
// comes from [WithTimeout] and its time is up, waits of the exits end at once
// unless they are made with context.WithoutCancel(ctx).
//
// When an exit fails, its error is joined to the one so far. So a cancellation of
// fn with a failure to close is a failure: see package future. Two cancellations
// are one.
func WithExitStack(ctx context.Context, fn func(ctx context.Context, s *ExitStack) error) error {
	t := current(ctx, "task: WithExitStack")
	s := new(ExitStack)
	defer func() { s.left = true }()
	returned := false
	defer func() {
		if !returned {
			_ = s.unwind(ctx, t, t.leaving())
		}
	}()
	err := s.call(ctx, t, fn)
	returned = true
	return s.unwind(ctx, t, err)
}

func (s *ExitStack) call(ctx context.Context, t *core, fn func(ctx context.Context, s *ExitStack) error) (err error) {
	defer recoverInto(&err, t)
	return fn(ctx, s)
}

// leaving returns the error for those who see that a call does not return.
func (t *core) leaving() error {
	if t.flags&closing != 0 {
		return &future.CanceledError{Cause: loop.ErrClosed}
	}
	return coro.ErrGoexit
}

// Close calls what is on the stack, last first, as the end of [WithExitStack] does
// for a fn without an error, and returns the exits' errors. The stack is empty then
// and may be used again. ctx must be of the calling task.
// (Python: AsyncExitStack.aclose)
func (s *ExitStack) Close(ctx context.Context) error {
	return s.unwind(ctx, current(ctx, "task: ExitStack.Close"), nil)
}

// OnExit puts fn on the stack. An error of fn is joined to the one so far, and
// hides none. stop takes fn off and reports whether it was still there.
// (Python: push_async_callback)
func (s *ExitStack) OnExit(fn func(ctx context.Context) error) (stop func() bool) {
	return s.Push(func(ctx context.Context, err error) error {
		return joinExit(err, fn(ctx))
	})
}

// Push puts fn on the stack. fn is told the error so far, nil if there is none,
// and what it returns is the error from there on: nil swallows it, and whoever
// swallows a cancellation must know why. stop takes fn off and reports whether it
// was still there. (Python: push_async_exit)
func (s *ExitStack) Push(fn func(ctx context.Context, err error) error) (stop func() bool) {
	s.checkLeft()
	if s.exits == nil {
		s.exits = new(exit)
		s.exits.prev, s.exits.next = s.exits, s.exits
	}
	e := &exit{fn: fn, prev: s.exits.prev, next: s.exits}
	e.prev.next, e.next.prev = e, e
	return e.remove
}

func (s *ExitStack) checkLeft() {
	if s.left {
		panic("task: use of an ExitStack that was left")
	}
}

// remove takes the exit off its stack and reports whether it was there.
func (e *exit) remove() bool {
	if e.next == nil {
		return false
	}
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
	return true
}

// Closing has c closed on exit. (Python: closing, aclosing)
func (s *ExitStack) Closing(c io.Closer) {
	s.OnExit(func(context.Context) error { return c.Close() })
}

// PopAll moves everything to a new stack, which it returns: the way to open several
// things, close them all if one fails, and keep them if none does. Who takes the
// new stack must call Close. What [Enter] put there must be left by the task that
// entered it, if it is of a task, as a Scope and a Timeout are. (Python: pop_all)
func (s *ExitStack) PopAll() *ExitStack {
	all := &ExitStack{exits: s.exits}
	s.exits = nil
	return all
}

// Enter calls with up to where it calls its body, and returns what the body is
// given; the rest of with is put on s. There the body returns the error so far, and
// what with returns is the error from there on. So [Scope], [Timeout] and whatever
// else wraps a function can be entered in a loop, or by condition:
//
//	g, err := task.Enter(ctx, s, func(ctx context.Context, body func(*task.Group) error) error {
//		return task.Scope(ctx, func(_ context.Context, g *task.Group) error { return body(g) })
//	})
//
// If with returns without calling its body, Enter returns its error, and panics if
// that is nil. with may wait; ctx must be of the calling task, and with has a stack
// of its own until it returns. (Python: asynccontextmanager, enter_async_context)
func Enter[T any](ctx context.Context, s *ExitStack, with func(ctx context.Context, body func(v T) error) error) (T, error) {
	type none = struct{}
	s.checkLeft()
	pool := current(ctx, "task: Enter").loop.Coroutines()
	c := coro.NewIn(pool, func(yield func(T) (none, error)) (none, error) {
		return none{}, with(ctx, func(v T) error {
			_, err := yield(v)
			return err
		})
	})
	v, ok := c.Next()
	if !ok {
		_, err := c.Result()
		if err == nil {
			panic("task: Enter of a function that did not call its body")
		}
		return v, err
	}
	s.Push(func(_ context.Context, err error) error {
		again := false
		if err == nil {
			_, again = c.Next()
		} else {
			_, again = c.Throw(err)
		}
		if again {
			_ = c.Close()
			panic("task: Enter of a function that called its body twice")
		}
		_, err = c.Result()
		return err
	})
	return v, nil
}

// unwind calls the exits and returns what became of err. An exit may put others on
// the stack: they are next.
func (s *ExitStack) unwind(ctx context.Context, t *core, err error) error {
	finished := false
	defer func() {
		if !finished { // Goexit, or the loop ends: the rest is called all the same
			_ = s.unwind(ctx, t, err)
		}
	}()
	for s.exits != nil && s.exits.prev != s.exits {
		last := s.exits.prev
		last.remove()
		err = last.call(ctx, t, err)
	}
	finished = true
	return err
}

func (e *exit) call(ctx context.Context, t *core, sofar error) (err error) {
	var fault error
	defer func() {
		if fault != nil {
			err = joinExit(sofar, fault)
		}
	}()
	defer recoverInto(&fault, t)
	return e.fn(ctx, sofar)
}

// joinExit adds an exit's error to the one so far.
func joinExit(err, failure error) error {
	switch {
	case failure == nil:
		return err
	case err == nil:
		return failure
	case future.AsCanceled(err) != nil && future.AsCanceled(failure) != nil:
		return err // joined, two cancellations would be none
	}
	return errors.Join(err, failure)
}
