package task

import (
	"context"
	"errors"
	"time"

	"github.com/eddyloop/eddy/future"
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
