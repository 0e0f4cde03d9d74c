package task

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

// Sleep suspends the task for d on the loop's clock, never less. A d of zero or
// less is [Yield]. It returns an error only if it was interrupted.
// (asyncio: sleep)
//
// Cancel safety: the timer is stopped.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return Yield(ctx)
	}
	_, err := future.After(park.From(ctx, "task: Sleep").Loop(), d).Await(ctx)
	return err
}

// SleepUntil suspends the task until the loop's clock reads t.
func SleepUntil(ctx context.Context, t time.Time) error {
	return Sleep(ctx, t.Sub(park.From(ctx, "task: SleepUntil").Loop().Now()))
}

// Yield suspends the task until the next turn, so that others run.
// (asyncio: sleep(0))
func Yield(ctx context.Context) error {
	if p, ok := ctx.(*core); ok && p.Env().Scope == nil {
		return p.Yield()
	}
	if err := future.ScopeErr(ctx); err != nil {
		return err
	}
	return park.From(ctx, "task: Yield").Yield()
}

// ErrTimeout is the error of a timeout that expired. It is
// context.DeadlineExceeded to errors.Is. (asyncio: TimeoutError)
var ErrTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string        { return "task: timeout" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// A TimeoutScope is a timeout that is in force. It must be used by code in its
// body, or on the loop.
//
//	entered --deadline--> expiring --body ends--> expired
//	entered --body ends--> exited
type TimeoutScope struct {
	t         *core
	l         *loop.Loop
	when      time.Time // zero: none
	handle    *loop.Handle
	state     scopeState
	canceling int32 // of the task, when the scope was entered
}

type scopeState uint8

const (
	entered scopeState = iota
	expiring
	expired
	exited
)

// Timeout calls fn and cancels the task, once, when d has passed; on the way out
// it takes that cancellation back and returns [ErrTimeout] in its place. An error
// of fn's own passes, and so does a cancellation from outside, even at the same
// time. A d of zero or less cancels at fn's first wait. (asyncio: timeout)
func Timeout(ctx context.Context, d time.Duration, fn func(ctx context.Context, s *TimeoutScope) error) error {
	return TimeoutAt(ctx, current(ctx, "task: Timeout").loop.Now().Add(d), fn)
}

// TimeoutAt is [Timeout] with a time on the loop's clock. The zero time sets no
// deadline; see [TimeoutScope.Reschedule]. (asyncio: timeout_at)
func TimeoutAt(ctx context.Context, when time.Time, fn func(ctx context.Context, s *TimeoutScope) error) error {
	t := current(ctx, "task: Timeout")
	s := &TimeoutScope{t: t, l: t.loop, canceling: t.cancels}
	s.arm(when)
	returned := false
	defer func() {
		if !returned { // fn panicked
			_ = s.leave(nil)
		}
	}()
	err := fn(ctx, s)
	returned = true
	return s.leave(err)
}

// current returns the task of ctx, which must be the one that runs.
func current(ctx context.Context, what string) *core {
	t, ok := park.From(ctx, what).(*core)
	if !ok || t.loop.Current() != loop.Running(t) {
		panic(what + " outside of the task of its ctx")
	}
	return t
}

// Expired reports whether the deadline has passed, in or after the scope.
func (s *TimeoutScope) Expired() bool { return s.state == expiring || s.state == expired }

// When returns the deadline, and false if there is none.
func (s *TimeoutScope) When() (time.Time, bool) { return s.when, !s.when.IsZero() }

// ErrScopeEnded is returned by Reschedule when the deadline has passed or the
// scope was left.
var ErrScopeEnded = errors.New("task: timeout has expired or its scope was left")

// Reschedule moves the deadline; the zero time means none. It returns
// [ErrScopeEnded] if the deadline has passed already or the scope was left.
func (s *TimeoutScope) Reschedule(when time.Time) error {
	if s.state != entered {
		return ErrScopeEnded
	}
	s.arm(when)
	return nil
}

func (s *TimeoutScope) arm(when time.Time) {
	s.when = when
	if s.handle != nil {
		s.handle.Cancel()
		s.handle = nil
	}
	switch {
	case when.IsZero():
	case !when.After(s.l.Now()):
		s.handle = s.l.CallSoon(s.expire)
	default:
		s.handle = s.l.CallAt(when, s.expire)
	}
}

func (s *TimeoutScope) expire() {
	s.t.cancel(ErrTimeout)
	s.state = expiring
	s.handle = nil
}

// leave ends the scope and says what its error is.
func (s *TimeoutScope) leave(err error) error {
	if s.handle != nil {
		s.handle.Cancel()
		s.handle = nil
	}
	if s.state == entered {
		s.state = exited
		return err
	}
	s.state = expired
	if s.t.uncancel() <= s.canceling && future.AsCanceled(err) != nil {
		return ErrTimeout
	}
	return err
}

// WithTimeout returns a copy of ctx that is done when d has passed on the loop's
// clock, when cancel is called, or when ctx is done: a scope. Every wait with it
// ends then, each time, with [ErrTimeout] or, after cancel, a
// *future.CanceledError. cancel may be called from any goroutine and should be
// called when the context is not needed any more. WithTimeout has the shape of
// context.WithTimeout, whose clock a test cannot set.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return WithDeadline(ctx, loop.FromContext(ctx).Now().Add(d))
}

// WithDeadline is [WithTimeout] with a time on the loop's clock.
func WithDeadline(ctx context.Context, t time.Time) (context.Context, context.CancelFunc) {
	h := holder(ctx)
	l := h.Env().Loop.(*loop.Loop)
	s := &scope{parent: ctx, l: l, deadline: t}
	if d, ok := ctx.Deadline(); ok && d.Before(t) {
		s.deadline = d
	}
	s.follow(ctx, h)
	l.StartTimerAt(&s.timer, t, s)
	return s, func() { s.end(context.Canceled, context.Canceled) }
}

// A scope is a context on the loop's clock.
type scope struct {
	parent   context.Context
	l        *loop.Loop
	deadline time.Time
	timer    loop.Timer

	mu       sync.Mutex
	err      error // nil until it has ended
	cause    error
	done     chan struct{} // nil until asked for
	watchers []*scopeWatcher
	stopped  int // of them
	unfollow func()

	// foreign is nil, or a context of another kind whose end ends the scope, soon:
	// package context tells of it on a goroutine of its own.
	foreign context.Context
}

// A scopeWatcher is told of the end: a wait on the loop, or a derived context.
type scopeWatcher struct {
	queue   loop.Runnable
	call    func()
	stopped bool
}

// follow makes the end of the scope in which this one was made end this one.
func (s *scope) follow(ctx context.Context, h env.Holder) {
	outer := h.Env().Scope
	if ctx != context.Context(h) {
		if o := env.Scope(ctx, h); o != nil {
			outer = o
		}
	}
	switch o := outer.(type) {
	case nil:
	case *scope:
		s.unfollow = o.watch(&scopeWatcher{call: func() { s.end(o.Err(), o.Reason()) }})
		s.foreign = o.foreign
	default:
		s.foreign = o
		stop := context.AfterFunc(o, func() { s.end(o.Err(), context.Cause(o)) })
		s.unfollow = func() { stop() }
	}
}

// Run ends the scope at its deadline.
func (s *scope) Run() { s.end(context.DeadlineExceeded, ErrTimeout) }

// end ends the scope, once. It may be called from any goroutine.
func (s *scope) end(err, cause error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err, s.cause = err, cause
	if s.done != nil {
		close(s.done)
	}
	watchers, unfollow := s.watchers, s.unfollow
	s.watchers, s.unfollow = nil, nil
	s.mu.Unlock()
	if unfollow != nil {
		unfollow()
	}
	for _, w := range watchers {
		if w.stopped {
			continue
		}
		if w.call != nil {
			w.call()
		} else {
			_ = s.l.QueueThreadsafe(w.queue) // a closed loop has ended the wait
		}
	}
	if err != context.DeadlineExceeded {
		_ = s.l.QueueThreadsafe(stopTimer{s})
	}
}

// stopTimer stops a scope's timer on the loop.
type stopTimer struct{ s *scope }

func (t stopTimer) Run() { t.s.l.StopTimer(&t.s.timer) }

func (s *scope) watch(w *scopeWatcher) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		if w.call != nil {
			go w.call() // as context.AfterFunc does
		} else {
			_ = s.l.QueueThreadsafe(w.queue)
		}
		return func() {}
	}
	s.watchers = append(s.watchers, w)
	return func() { s.unwatch(w) }
}

// unwatch takes watchers out in bulk: finding one among many costs too much.
func (s *scope) unwatch(w *scopeWatcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.stopped {
		return
	}
	w.stopped = true
	if s.stopped++; s.stopped > len(s.watchers)/2 {
		s.watchers = slices.DeleteFunc(s.watchers, func(w *scopeWatcher) bool { return w.stopped })
		s.stopped = 0
	}
}

// OnEnd implements future's loopScope.
func (s *scope) OnEnd(r loop.Runnable) (stop func()) {
	unwatch := s.watch(&scopeWatcher{queue: r})
	if s.foreign == nil {
		return unwatch
	}
	// A virtual clock must not move on before the end is known.
	uncheck := s.l.BeforeIdle(checkScope{s})
	return func() { unwatch(); uncheck() }
}

// checkScope looks whether the scope has ended.
type checkScope struct{ s *scope }

func (c checkScope) Run() { _ = c.s.Err() }

// AfterFunc lets package context derive from s without a goroutine.
func (s *scope) AfterFunc(f func()) (stop func() bool) {
	called := false
	w := &scopeWatcher{}
	w.call = func() { called = true; f() }
	unwatch := s.watch(w)
	return func() bool { unwatch(); return !called }
}

// Reason implements env.LoopScope.
func (s *scope) Reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// Deadline implements context.Context.
func (s *scope) Deadline() (time.Time, bool) { return s.deadline, true }

// Done implements context.Context. From here on the end of the task ends s, too.
func (s *scope) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.err != nil {
			close(s.done)
		} else if s.unfollow == nil {
			if d := s.parent.Done(); d != nil {
				stop := context.AfterFunc(s.parent, func() { s.end(s.parent.Err(), context.Cause(s.parent)) })
				s.unfollow = func() { stop() }
			}
		}
	}
	return s.done
}

// Err implements context.Context.
func (s *scope) Err() error {
	if f := s.foreign; f != nil {
		if err := f.Err(); err != nil {
			s.end(err, context.Cause(f))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Value implements context.Context.
func (s *scope) Value(key any) any {
	if key == env.ScopeKey {
		return env.LoopScope(s)
	}
	return s.parent.Value(key)
}
