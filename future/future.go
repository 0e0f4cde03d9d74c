// Package future has results that are not there yet.
//
// A [Future] is the side that is read, a [Promise] the side that is written, as
// with io.Pipe. A future is settled once: resolved with a value, failed with an
// error, or canceled. Whoever waits is told by the loop, one turn later, never by
// the call that settles it; the order of being told is the order of asking.
//
// Futures belong to one loop and must be used on it. For results that cross
// goroutines see package executor and task.CallThreadsafe.
//
// # Failed or canceled
//
// An error means canceled if a [*CanceledError] is reached from it by single
// Unwrap() error steps. So fmt.Errorf("fetch: %w", err) keeps a cancellation a
// cancellation, and errors.Join(err, closeErr) makes it a failure. A context's
// own errors are failures, and so is a panic, whatever its value.
package future

import (
	"context"
	"errors"
	"fmt"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

var (
	// ErrNotDone is returned by Result and Err of a future that is pending.
	ErrNotDone = errors.New("future: not done")

	// ErrCanceled is what every [*CanceledError] is, to errors.Is.
	ErrCanceled = errors.New("future: canceled")
)

// A CanceledError is the outcome of something that was canceled. It is
// ErrCanceled and context.Canceled to errors.Is. (asyncio: CancelledError)
type CanceledError struct {
	Cause error // why, as given to Cancel; may be nil
}

// Error names the cause.
func (e *CanceledError) Error() string {
	if e.Cause == nil {
		return "canceled"
	}
	return "canceled: " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *CanceledError) Unwrap() error { return e.Cause }

// Is reports whether target is ErrCanceled or context.Canceled.
func (e *CanceledError) Is(target error) bool {
	return target == ErrCanceled || target == context.Canceled
}

// AsCanceled returns the CanceledError that makes err a cancellation, or nil if
// err is none: see the package comment.
func AsCanceled(err error) *CanceledError {
	for err != nil {
		switch err := err.(type) {
		case *CanceledError:
			return err
		case *coro.PanicError:
			return nil // whatever the value of the panic was
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return nil
		}
		err = u.Unwrap()
	}
	return nil
}

// A State is where a future stands.
type State uint8

// The states of a future. All but Pending are final.
const (
	Pending  State = iota
	Resolved       // it has a value
	Failed         // it has an error
	Canceled       // it has a CanceledError
)

// String returns the state's name.
func (s State) String() string {
	return [...]string{"pending", "resolved", "failed", "canceled"}[s]
}

// A Waiter is a future whose type of value does not matter. Futures and tasks
// are Waiters; see [Cell] for the methods.
type Waiter interface {
	Done() bool
	Canceled() bool
	State() State
	Err() error
	Retrieved() bool
	Cancel(cause error) bool
	OnDone(fn func()) (stop func() bool)
	Watch(r loop.Runnable)
	Unwatch(r loop.Runnable) bool
	Loop() *loop.Loop
	cell() *Cell
}

// CellOf returns the untyped part of a future or a task. It is for packages that
// run computations.
func CellOf(w Waiter) *Cell { return w.cell() }

// A Future is a result that is not there yet. Make it with [New]. It must be
// used on its loop, and not be copied.
//
//	Pending --Resolve--> Resolved, --Fail--> Failed, --Cancel--> Canceled
type Future[T any] struct {
	value T
	Cell
}

// A Cell is the part of a future that does not depend on the type of its value.
// Its methods are those of every future and every task. It is made as part of a
// future, and must be used on its loop.
type Cell struct {
	loop     *loop.Loop
	state    State
	looked   bool          // somebody has seen the failure
	recorded bool          // among the loop's unseen failures
	raised   bool          // canceled by an error of the producer's own
	taken    bool          // somebody has that error
	watchers loop.Runnable // nil, one, or a *watchList
	err      error         // of a failed or canceled future
	canceler Canceler      // nil: Cancel settles
}

// A Canceler is who hears that nobody wants a result. A task is one.
type Canceler interface {
	// CancelFuture is Cancel of the future. It may settle it, now or later, and
	// reports whether the cancellation will have an effect.
	CancelFuture(cause error) bool
}

// New returns a future that is pending, and its write side.
// (asyncio: create_future)
func New[T any](l *loop.Loop) (*Future[T], Promise[T]) {
	f := &Future[T]{Cell: Cell{loop: l}}
	return f, Promise[T]{f}
}

// Init prepares a future that is part of a larger struct, for those who count
// bytes; c may be nil. A future that nobody watches may be initialized again.
func Init[T any](f *Future[T], l *loop.Loop, c Canceler) Promise[T] {
	if f.watchers != nil {
		panic("future: Init of a future that is waited for")
	}
	*f = Future[T]{Cell: Cell{loop: l, canceler: c}}
	return Promise[T]{f}
}

// Await suspends the calling task until f is settled and returns its result. If
// f is settled it returns at once, without suspending.
//
// Cancel safety: canceling the task cancels f, or asks f's producer to cancel;
// use [Shield] to prevent that. A cancellation that comes when f has settled
// already is returned instead of f's result, which stays with f. When a context
// derived in the body ends, f is canceled in the same way, and Await returns
// when f has settled: with the context's cause if its deadline passed.
//
// Await panics outside of a task, and on a future of another loop.
func (f *Future[T]) Await(ctx context.Context) (T, error) {
	if f.state == Pending {
		var err error
		if p, ok := ctx.(park.Parker); ok && p.Env().Scope == nil {
			err = p.Park(&f.Cell) // as wait does; one return less to mispredict
		} else {
			err = wait(ctx, &f.Cell)
		}
		if err != nil {
			var zero T
			return zero, err
		}
	}
	return f.value, f.take()
}

// Await is f.Await(ctx) for code that is generic over futures and tasks.
func Await[F Of[T], T any](ctx context.Context, f F) (T, error) {
	if !f.Done() {
		if err := wait(ctx, f.cell()); err != nil {
			var zero T
			return zero, err
		}
	}
	return f.Result()
}

// Result returns the value, or the error of a failed or canceled future, or
// [ErrNotDone]. (asyncio: result)
func (f *Future[T]) Result() (T, error) {
	if f.state == Pending {
		var zero T
		return zero, ErrNotDone
	}
	return f.value, f.take()
}

// Outcome returns Result as one value.
func (f *Future[T]) Outcome() Outcome[T] {
	v, err := f.Result()
	return Outcome[T]{v, err}
}

// An Outcome is what became of a future: a value or an error.
type Outcome[T any] struct {
	Value T
	Err   error
}

// String returns the state and the outcome.
func (f *Future[T]) String() string {
	if f.state == Resolved {
		if _, ok := any(f.value).(Waiter); ok {
			return fmt.Sprintf("future resolved with a %T", f.value) // it may be this one
		}
		return fmt.Sprintf("future resolved %v", f.value)
	}
	return f.Cell.String()
}

// String returns the state, who will settle a pending future if that is known, and
// the error of a failed one.
func (c *Cell) String() string {
	switch c.state {
	case Pending:
		if s, ok := c.canceler.(fmt.Stringer); ok {
			return s.String()
		}
		return "future pending"
	case Resolved:
		return "future resolved"
	}
	return fmt.Sprintf("future %v: %v", c.state, c.err)
}

// A Promise is the write side of a future. It is a value; its copies write the
// same future. It must be used on the loop.
type Promise[T any] struct{ f *Future[T] }

// Future returns the read side.
func (p Promise[T]) Future() *Future[T] { return p.f }

// Resolve settles the future with a value and reports whether it did: false if
// it was settled. (asyncio: set_result)
func (p Promise[T]) Resolve(v T) bool {
	f := p.f
	if f.state != Pending {
		return false
	}
	f.value = v
	f.settle(Resolved, nil)
	return true
}

// Fail settles the future with an error, as failed or, if the error is a
// cancellation, as canceled, and reports whether it did. It panics if err is
// nil. (asyncio: set_exception)
func (p Promise[T]) Fail(err error) bool {
	if err == nil {
		panic("future: Fail with a nil error")
	}
	if p.f.state != Pending {
		return false
	}
	if AsCanceled(err) != nil {
		p.f.settle(Canceled, err)
	} else {
		p.f.settle(Failed, err)
	}
	return true
}

// Cancel settles the future as canceled, whatever OnCancel says, and reports
// whether it did.
func (p Promise[T]) Cancel(cause error) bool {
	return p.Fail(&CanceledError{Cause: cause})
}

// OnCancel makes fn what Future.Cancel calls in place of settling the future. fn
// may settle it, now or later, and returns whether the cancellation will have an
// effect: what Cancel returns.
func (p Promise[T]) OnCancel(fn func(cause error) bool) {
	if fn == nil {
		panic("future: OnCancel with a nil function")
	}
	p.f.canceler = cancelFunc(fn)
}

type cancelFunc func(cause error) bool

func (fn cancelFunc) CancelFuture(cause error) bool { return fn(cause) }
