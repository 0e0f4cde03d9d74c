package task_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

type scopeFunc = func(ctx context.Context, s *task.TimeoutScope) error

func timedSleep(d time.Duration) scopeFunc {
	return func(ctx context.Context, _ *task.TimeoutScope) error { return task.Sleep(ctx, d) }
}

func TestTimeoutErrors(t *testing.T) {
	for _, target := range []error{context.DeadlineExceeded, task.ErrTimeout} {
		//lint:ignore SA1032 what ErrTimeout is
		if !errors.Is(task.ErrTimeout, target) {
			t.Errorf("ErrTimeout is not %v", target)
		}
	}
	for _, target := range []error{context.Canceled, future.ErrCanceled} {
		//lint:ignore SA1032 what ErrTimeout is not
		if errors.Is(task.ErrTimeout, target) {
			t.Errorf("ErrTimeout is %v", target)
		}
	}
	if n, ok := task.ErrTimeout.(interface{ Timeout() bool }); !ok || !n.Timeout() {
		t.Error("ErrTimeout is no timeout to package net's users")
	}
}

func TestTimeoutInTimeAndLate(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		start := l.Now()
		var in, late *task.TimeoutScope
		err := task.Timeout(ctx, time.Hour, func(ctx context.Context, s *task.TimeoutScope) error {
			in = s
			return task.Sleep(ctx, time.Minute)
		})
		if err != nil || in.Expired() || l.Now().Sub(start) != time.Minute {
			t.Errorf("in time: %v, expired %v, after %v", err, in.Expired(), l.Now().Sub(start))
		}
		err = task.Timeout(ctx, time.Minute, func(ctx context.Context, s *task.TimeoutScope) error {
			late = s
			return sleepHour(ctx)
		})
		if err != task.ErrTimeout || !late.Expired() || l.Now().Sub(start) != 2*time.Minute {
			t.Errorf("late: %v, expired %v, after %v", err, late.Expired(), l.Now().Sub(start))
		}
		if n := task.FromContext(ctx).Canceling(); n != 0 {
			t.Errorf("canceling %d", n)
		}
		if err := sleepHour(ctx); err != nil {
			t.Errorf("the next wait: %v", err)
		}
	})
}

func TestEdge074_TimeoutOnlyFromTheScopeThatFired(t *testing.T) {
	// The caller was canceled before, in the same turn, or after the deadline.
	for _, tt := range []struct {
		name string
		play func(a task.Any, l *loop.Loop)
		want string
	}{
		{"no outside cancel", func(task.Any, *loop.Loop) {}, "Timeout 0"},
		{"canceled before", func(a task.Any, l *loop.Loop) { l.CallLater(time.Second/2, func() { a.Cancel(errBoom) }) }, "Canceled(boom) 1"},
		{"canceled just before the deadline", func(a task.Any, l *loop.Loop) {
			l.CallLater(time.Second, func() { a.Cancel(errBoom) })
		}, "Canceled(boom) 1"},
		{"canceled just after the deadline", func(a task.Any, l *loop.Loop) {
			l.CallLater(time.Second/2, func() { l.CallLater(time.Second/2, func() { a.Cancel(errBoom) }) })
		}, "Canceled(Timeout) 1"},
	} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			var got string
			a := task.Go(ctx, func(ctx context.Context) error {
				err := task.Timeout(ctx, time.Second, timedSleep(time.Hour))
				got = outcome(err) + " " + string(rune('0'+task.FromContext(ctx).Canceling()))
				return err
			})
			tt.play(a, l)
			_, err := a.Await(ctx)
			if got != tt.want || a.Canceled() != (tt.name != "no outside cancel") {
				t.Errorf("%s: got %q, want %q; %v", tt.name, got, tt.want, err)
			}
		})
	}
	// A cancel that was swallowed before the scope is no outside cancel of it.
	run(t, func(ctx context.Context, l *loop.Loop) {
		self := task.FromContext(ctx)
		self.Cancel(nil)
		_ = task.Yield(ctx)
		if err := task.Timeout(ctx, time.Second, timedSleep(time.Hour)); err != task.ErrTimeout || self.Canceling() != 1 {
			t.Errorf("after an old cancel: %v, canceling %d", err, self.Canceling())
		}
		self.Uncancel()
	})
}

func TestEdge074_OuterTimeoutFiresThroughTheInner(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var inner error
		err := task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error {
			inner = task.Timeout(ctx, time.Hour, timedSleep(2*time.Hour))
			return inner
		})
		if err != task.ErrTimeout || outcome(inner) != "Canceled(Timeout)" {
			t.Errorf("inner %v, outer %v", inner, err)
		}
	})
}

func TestEdge075_ErrorsOfTheBodyPass(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var s *task.TimeoutScope
		err := task.Timeout(ctx, time.Second, func(context.Context, *task.TimeoutScope) error { return errBoom })
		if err != errBoom {
			t.Errorf("in time: %v", err)
		}
		err = task.Timeout(ctx, time.Second, func(ctx context.Context, sc *task.TimeoutScope) error {
			s = sc
			_ = sleepHour(ctx)
			return errBoom
		})
		if err != errBoom || !s.Expired() || task.FromContext(ctx).Canceling() != 0 {
			t.Errorf("late: %v, expired %v, canceling %d", err, s.Expired(), task.FromContext(ctx).Canceling())
		}
		err = task.Timeout(ctx, time.Second, func(ctx context.Context, sc *task.TimeoutScope) error {
			s = sc
			_ = sleepHour(ctx)
			return nil // swallowed
		})
		if err != nil || !s.Expired() {
			t.Errorf("swallowed: %v, expired %v", err, s.Expired())
		}
		foreign := &future.CanceledError{Cause: errBoom}
		err = task.Timeout(ctx, time.Second, func(ctx context.Context, sc *task.TimeoutScope) error { s = sc; return foreign })
		if err != error(foreign) || s.Expired() {
			t.Errorf("a foreign cancellation in time: %v", err)
		}
		err = task.Timeout(ctx, time.Second, func(ctx context.Context, sc *task.TimeoutScope) error {
			return errors.Join(sleepHour(ctx), errBoom)
		})
		if err == task.ErrTimeout || !errors.Is(err, errBoom) {
			t.Errorf("a cancellation joined to a failure: %v", err)
		}
	})
}

// With one deadline both timers are due in one turn, the outer's first: the two
// cancels arrive as one, which the inner scope leaves to the outer. With a later
// deadline outside each has its own. (As CPython 3.13; tried.)
func TestEdge076_NestedTimeouts(t *testing.T) {
	for _, tt := range []struct {
		outer time.Duration
		want  []string
	}{
		{time.Second, []string{"inner Canceled(Timeout)", "next wait ok", "ok"}},
		{2 * time.Second, []string{"inner Timeout", "next wait Canceled(Timeout)", "Timeout"}},
	} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			var j journal
			err := task.Timeout(ctx, tt.outer, func(ctx context.Context, _ *task.TimeoutScope) error {
				err := task.Timeout(ctx, time.Second, timedSleep(time.Hour))
				j.Log("inner %s", outcome(err))
				err = sleepHour(ctx)
				j.Log("next wait %s", outcome(err))
				return err
			})
			j.Log("%s", outcome(err))
			j.Want(t, tt.want...)
			if n := task.FromContext(ctx).Canceling(); n != 0 {
				t.Errorf("canceling %d", n)
			}
		})
	}
	run(t, func(ctx context.Context, l *loop.Loop) {
		err := task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error {
			return task.Timeout(ctx, time.Second, timedSleep(time.Hour))
		})
		if err != task.ErrTimeout {
			t.Errorf("the outer: %v", err)
		}
	})
}

func TestEdge077_DeadlinePassedAlready(t *testing.T) {
	for _, d := range []time.Duration{0, -time.Hour} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			if err := task.Timeout(ctx, d, func(context.Context, *task.TimeoutScope) error { return nil }); err != nil {
				t.Errorf("%v: a body that does not wait: %v", d, err)
			}
			if err := task.Yield(ctx); err != nil {
				t.Errorf("%v: canceled after the scope was left: %v", d, err)
			}
			if err := task.Timeout(ctx, d, timedSleep(0)); err != task.ErrTimeout {
				t.Errorf("%v: one turn: %v, want ErrTimeout", d, err)
			}
			if err := task.Timeout(ctx, d, timedSleep(time.Nanosecond)); err != task.ErrTimeout {
				t.Errorf("%v: %v, want ErrTimeout", d, err)
			}
		})
	}
}

func TestEdge078_Reschedule(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		start := l.Now()
		var s *task.TimeoutScope
		err := task.TimeoutAt(ctx, time.Time{}, func(ctx context.Context, sc *task.TimeoutScope) error {
			s = sc
			if _, ok := s.When(); ok {
				t.Error("a scope without a deadline has one")
			}
			_ = task.Sleep(ctx, 1000*time.Hour)
			return s.Reschedule(l.Now().Add(time.Hour))
		})
		if err != nil {
			t.Errorf("none: %v", err)
		}
		if err := s.Reschedule(l.Now()); err != task.ErrScopeEnded {
			t.Errorf("Reschedule after the scope: %v", err)
		}
		start = l.Now()
		err = task.Timeout(ctx, time.Second, func(ctx context.Context, s *task.TimeoutScope) error {
			if err := s.Reschedule(start.Add(time.Minute)); err != nil {
				return err
			}
			if when, ok := s.When(); !ok || !when.Equal(start.Add(time.Minute)) {
				t.Errorf("When: %v, %v", when, ok)
			}
			return sleepHour(ctx)
		})
		if err != task.ErrTimeout || l.Now().Sub(start) != time.Minute {
			t.Errorf("moved: %v after %v", err, l.Now().Sub(start))
		}
		err = task.Timeout(ctx, time.Second, func(ctx context.Context, s *task.TimeoutScope) error {
			_ = s.Reschedule(time.Time{})
			return sleepHour(ctx)
		})
		if err != nil {
			t.Errorf("taken away: %v", err)
		}
		err = task.Timeout(ctx, time.Second, func(ctx context.Context, s *task.TimeoutScope) error {
			err := sleepHour(ctx)
			if rerr := s.Reschedule(l.Now().Add(time.Hour)); rerr != task.ErrScopeEnded || !s.Expired() {
				t.Errorf("Reschedule when expiring: %v, expired %v", rerr, s.Expired())
			}
			return err
		})
		if err != task.ErrTimeout {
			t.Errorf("expiring: %v", err)
		}
		wantPanic(t, "outside of a task", func() { _ = task.Timeout(t.Context(), 1, nil) })
	})
}

func TestTimeoutOfAPanickingBody(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		wantPanic(t, "boom", func() {
			_ = task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error { panic(errBoom) })
		})
		if err := sleepHour(ctx); err != nil {
			t.Errorf("its timer is left: %v", err)
		}
	})
}

func TestEdge060_Sleep(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		start := l.Now()
		for _, d := range []time.Duration{0, -time.Second} {
			if err := task.Sleep(ctx, d); err != nil || !l.Now().Equal(start) || l.Stats().Pending != 0 {
				t.Errorf("Sleep(%v): %v at %v", d, err, l.Now().Sub(start))
			}
		}
		if err := task.SleepUntil(ctx, start.Add(time.Minute)); err != nil || l.Now().Sub(start) != time.Minute {
			t.Errorf("SleepUntil: %v at %v", err, l.Now().Sub(start))
		}
		a := task.Go(ctx, sleepHour)
		yield(ctx, 1)
		if l.Stats().Pending != 1 {
			t.Errorf("%d timers, want 1", l.Stats().Pending)
		}
		a.Cancel(nil)
		if l.Stats().Pending != 0 {
			t.Errorf("a canceled Sleep leaves %d timers", l.Stats().Pending)
		}
		// Sleeps of one instant end in the order they began.
		var j journal
		for _, name := range []string{"a", "b", "c", "d"} {
			task.Go(ctx, func(ctx context.Context) error { defer j.Log("%s", name); return task.Sleep(ctx, time.Second) })
		}
		_ = task.Sleep(ctx, 2*time.Second)
		j.Want(t, "a", "b", "c", "d")
	})
}
