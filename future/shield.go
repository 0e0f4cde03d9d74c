package future

import (
	"time"

	"github.com/eddyloop/eddy/loop"
)

// Typed is a *Future[T] or a *task.Task[T].
type Typed[T any] interface {
	Of[T]
	asFuture() *Future[T]
}

func (f *Future[T]) asFuture() *Future[T] { return f }

// Shield returns a future that is settled as f is, one turn later, but whose
// cancellation does not reach f. A settled f is returned itself. When the shield
// was canceled and f fails later, the failure is reported like any other that
// nobody has seen. (asyncio: shield)
func Shield[F Typed[T], T any](of F) *Future[T] {
	f := of.asFuture()
	if f.Done() {
		return f
	}
	s := &shield[T]{inner: f}
	Init(&s.outer, f.loop, s)
	f.Watch(s)
	return &s.outer
}

type shield[T any] struct {
	outer Future[T]
	inner *Future[T] // nil once the shield is canceled
}

// Run hands the outcome outward.
func (s *shield[T]) Run() {
	f := s.inner
	if f == nil {
		return
	}
	f.look()
	s.outer.value = f.value
	err := f.err
	if f.state == Canceled {
		err = &CanceledError{Cause: err} // the shield is canceled because f was
	}
	s.outer.settle(f.state, err)
}

// String says what is shielded.
func (s *shield[T]) String() string {
	if s.inner == nil {
		return "shield"
	}
	return "shield of " + describe(&s.inner.Cell)
}

// Stopped tells the inner future that nobody waits.
func (s *shield[T]) Stopped() bool { return s.inner == nil }

// CancelFuture cancels the shield only.
func (s *shield[T]) CancelFuture(cause error) bool {
	f := s.inner
	s.inner = nil
	f.Unwatch(s)
	s.outer.settle(Canceled, &CanceledError{Cause: cause})
	return true
}

// After returns a future that is resolved when d has passed on the loop's clock,
// never earlier; with a d of zero or less, in the next turn. Canceling it stops the
// timer.
func After(l *loop.Loop, d time.Duration) *Future[struct{}] {
	a := new(after)
	Init(&a.f, l, a)
	if d <= 0 {
		l.Queue(a)
	} else {
		l.StartTimer(&a.timer, d, a)
	}
	return &a.f
}

type after struct {
	f     Future[struct{}]
	timer loop.Timer
}

// Run resolves the future when the time has come.
func (a *after) Run() {
	if a.f.state == Pending {
		a.f.settle(Resolved, nil)
	}
}

// String says what is waited for.
func (a *after) String() string { return "timer" }

// CancelFuture stops the timer. One that is due already finds the future settled.
func (a *after) CancelFuture(cause error) bool {
	a.f.loop.StopTimer(&a.timer)
	a.f.settle(Canceled, &CanceledError{Cause: cause})
	return true
}
