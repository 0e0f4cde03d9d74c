package future

import (
	"context"
	"errors"

	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

// wait suspends the task of ctx until w has settled. It returns an error if a
// cancellation of the task interrupts the wait, or if the end of a scope does: a
// context derived in the body, or inherited from one. At the end of a scope w is
// canceled, as a cancellation of the task would cancel it, and the wait goes on
// until w has settled. The error of a scope whose deadline passed is its cause;
// a scope that was canceled has no error of its own, only w's.
func wait(ctx context.Context, w *Cell) error {
	if p, ok := ctx.(park.Parker); ok { // the usual case: the body's own ctx
		if s := p.Env().Scope; s != nil {
			return waitScoped(s, p, w)
		}
		return p.Park(w)
	}
	p := park.From(ctx, "future: Await")
	if s := env.Scope(ctx, p); s != nil {
		return waitScoped(s, p, w)
	}
	if ctx.Done() == nil { // context.WithoutCancel: no scope shall end this wait
		return p.Park(w)
	}
	return wait(p, w)
}

// A loopScope is a scope that ends on the loop.
type loopScope interface {
	env.LoopScope
	// OnEnd queues r on the loop when the scope ends.
	OnEnd(r loop.Runnable) (stop func())
}

// ScopeErr returns the error with which a wait with ctx would end at once, because a
// scope has ended that is ctx, was derived in the body, or was inherited.
func ScopeErr(ctx context.Context) error {
	p := park.From(ctx, "future: ScopeErr")
	scope := p.Env().Scope
	if ctx != context.Context(p) {
		if s := env.Scope(ctx, p); s != nil {
			scope = s
		} else if ctx.Done() == nil {
			scope = nil
		}
	}
	if scope == nil || scope.Err() == nil {
		return nil
	}
	return scopeError(scope)
}

// reason returns why a scope has ended.
func reason(scope context.Context) error {
	if s, ok := scope.(env.LoopScope); ok {
		return s.Reason()
	}
	return context.Cause(scope)
}

// A scopeEnd cancels a wait at the end of a scope.
type scopeEnd struct {
	scope context.Context
	w     *Cell // nil when the wait is over
	fired bool
}

func (s *scopeEnd) Run() {
	if s.w != nil && !s.fired && s.scope.Err() != nil {
		s.fired = s.w.Cancel(reason(s.scope))
	}
}

func waitScoped(scope context.Context, p park.Parker, w *Cell) error {
	end := &scopeEnd{scope: scope, w: w}
	var err error
	if scope.Err() != nil {
		end.Run()
		if !w.Done() {
			err = p.Park(w)
		}
	} else {
		stop := watch(scope, p.Loop(), end)
		err = parkThen(p, w, func() { stop(); end.w = nil })
	}
	if err == nil && end.fired && w.Canceled() {
		return scopeError(scope)
	}
	return err
}

// scopeError returns the error for the end of a scope: a cancellation if it was
// canceled, a failure that is DeadlineExceeded if its time was up.
func scopeError(scope context.Context) error {
	if errors.Is(scope.Err(), context.DeadlineExceeded) {
		return deadlineCause(scope)
	}
	return &CanceledError{Cause: reason(scope)}
}

// parkThen calls after also when the body is unwound.
func parkThen(p park.Parker, w *Cell, after func()) error {
	defer after()
	return p.Park(w)
}

// deadlineCause returns the scope's cause, as an error that is DeadlineExceeded.
func deadlineCause(scope context.Context) error {
	cause := reason(scope)
	if errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return &deadlineError{cause}
}

type deadlineError struct{ cause error }

func (e *deadlineError) Error() string   { return e.cause.Error() }
func (e *deadlineError) Unwrap() []error { return []error{context.DeadlineExceeded, e.cause} }

// watch queues end on the loop when scope ends.
func watch(scope context.Context, l *loop.Loop, end *scopeEnd) (stop func()) {
	if s, ok := scope.(loopScope); ok {
		return s.OnEnd(end)
	}
	// The end may come on any goroutine, and package context tells of it on yet
	// another. A virtual clock must not move on before it has been told.
	unwatch := l.BeforeIdle(end)
	stopped := context.AfterFunc(scope, func() { _ = l.QueueThreadsafe(end) })
	return func() { stopped(); unwatch() }
}
