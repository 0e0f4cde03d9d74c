package loop_test

import (
	"context"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

type nameKey struct{}

func named(name string) context.Context {
	return context.WithValue(context.Background(), nameKey{}, name)
}

func nameOf(ctx context.Context) string {
	s, _ := ctx.Value(nameKey{}).(string)
	return s
}

func TestEdge021_FromContextOutsideOfALoopPanics(t *testing.T) {
	wantPanic(t, func() { loop.FromContext(context.Background()) },
		"loop: context without a loop", "task's body", "Loop.Context")
	l := virtual(t)
	l.CallSoon(func() {
		if got := loop.FromContext(l.Context()); got != l {
			t.Errorf("FromContext in a callback = %p, want %p", got, l)
		}
		derived, cancel := context.WithCancel(l.Context())
		defer cancel()
		if got := loop.FromContext(derived); got != l {
			t.Errorf("FromContext of a derived context = %p, want %p", got, l)
		}
	})
	finish(t, l)
	looptest.Run(t, func(ctx context.Context) error {
		if l := loop.FromContext(ctx); !l.Running() {
			t.Error("the loop of a task does not run")
		}
		return nil
	})
}

// TestACallHasTheValuesOfWhereItWasArranged covers all that captures.
func TestACallHasTheValuesOfWhereItWasArranged(t *testing.T) {
	for _, tt := range []struct {
		name    string
		arrange func(l *loop.Loop, fn func())
		want    string
	}{
		{"CallSoon", func(l *loop.Loop, fn func()) { l.CallSoon(fn) }, "outer"},
		{"CallLater", func(l *loop.Loop, fn func()) { l.CallLater(time.Second, fn) }, "outer"},
		{"CallAt", func(l *loop.Loop, fn func()) { l.CallAt(l.Now(), fn) }, "outer"},
		{"OnDone", func(l *loop.Loop, fn func()) { settled(l).OnDone(fn) }, "outer"},
		{"CallSoon of a call", func(l *loop.Loop, fn func()) { l.CallSoon(func() { l.CallLater(1, func() { l.CallSoon(fn) }) }) }, "outer"},
		{"CallSoonThreadsafe: the loop's own", func(l *loop.Loop, fn func()) { _ = l.CallSoonThreadsafe(fn) }, "root"},
		{"Queue: the loop's own", func(l *loop.Loop, fn func()) { l.Queue(call(fn)) }, "root"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := virtual(t)
			l.WithValues(named("outer"))
			got := "not called"
			tt.arrange(l, func() { got = nameOf(l.Context()) })
			l.WithValues(named("root"))
			l.CallSoon(func() {
				if got := nameOf(l.Context()); got != "root" {
					t.Errorf("arranged after WithValues: %q, want root", got)
				}
			})
			finish(t, l)
			if got != tt.want {
				t.Errorf("the call's values are those of %q, want %q", got, tt.want)
			}
		})
	}
}

// TestACallHasItsOwnContextWhateverWasAskedBefore: the context is made when it is
// asked for first, and must not stay for what runs next.
func TestACallHasItsOwnContextWhateverWasAskedBefore(t *testing.T) {
	for _, tt := range []struct {
		name  string
		asker func(l *loop.Loop) // arranges for a call of Context before the other
	}{
		{"by nobody", func(l *loop.Loop) {}},
		{"outside of Run", func(l *loop.Loop) { l.Context() }},
		{"in CallSoon", func(l *loop.Loop) { l.CallSoon(func() { l.Context() }) }},
		{"in a Runnable", func(l *loop.Loop) { l.Queue(call(func() { l.Context() })) }},
		{"in CallSoon that panics", func(l *loop.Loop) {
			l.CallSoon(func() { l.Context(); panic("after Context") })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, _ := faulty(t)
			tt.asker(l)
			l.WithValues(named("a"))
			got, nested := "", ""
			l.CallSoon(func() {
				l.CallSoon(func() { nested = nameOf(l.Context()) })
				got = nameOf(l.Context())
			})
			l.WithValues(named("b"))
			tt.asker(l)
			l.CallSoon(func() {
				if got := nameOf(l.Context()); got != "b" {
					t.Errorf("the last call's values are those of %q, want b", got)
				}
			})
			if tt.name == "outside of Run" {
				l.Context()
			}
			finish(t, l)
			if got != "a" || nested != "a" {
				t.Errorf("the values are those of %q, in a call of the call %q; want a, a", got, nested)
			}
		})
	}
}

// TestAPostHasItsOwnContext: what one post changes in its context, as task-local
// variables do, is not seen by the next.
func TestAPostHasItsOwnContext(t *testing.T) {
	for _, tt := range []struct {
		name    string
		arrange func(l *loop.Loop, fn func())
	}{
		{"CallSoonThreadsafe", func(l *loop.Loop, fn func()) { _ = l.CallSoonThreadsafe(fn) }},
		{"CallSoon", func(l *loop.Loop, fn func()) { l.CallSoon(fn) }},
		{"Queue", func(l *loop.Loop, fn func()) { l.Queue(call(fn)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := virtual(t)
			variable := new(int)
			tt.arrange(l, func() {
				h := l.Context().Value(env.HolderKey).(env.Holder)
				h.SetEnv(h.Env().With(variable, "set by the first"))
			})
			tt.arrange(l, func() {
				h := l.Context().Value(env.HolderKey).(env.Holder)
				if v, ok := h.Env().Lookup(variable); ok {
					t.Errorf("the second call finds the variable %q", v)
				}
			})
			finish(t, l)
		})
	}
}

func TestACallOfATaskHasTheTasksValuesButNotTheTask(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		if l.Current() == nil || l.Context() != context.Context(l.Current()) {
			t.Error("Context in a task is not the task's")
		}
		f, p := future.New[string](l)
		task.Go(context.WithValue(ctx, nameKey{}, "task"), func(ctx context.Context) error {
			l.CallSoon(func() {
				if l.Current() != nil {
					t.Errorf("Current in a callback = %v, want nil", l.Current())
				}
				if v := l.Context().Value(env.TaskKey); v != nil {
					t.Errorf("a callback's context has the task %v", v)
				}
				if l.Context() != l.Context() {
					t.Error("Context, twice: two contexts")
				}
				p.Resolve(nameOf(l.Context()))
			})
			return nil
		})
		got, err := f.Await(ctx)
		if got != "task" {
			t.Errorf("the values are those of %q, want task", got)
		}
		return err
	})
}

func TestATaskStartedInACallbackHasItsValues(t *testing.T) {
	l := virtual(t)
	l.WithValues(named("callback"))
	got := ""
	l.CallSoon(func() {
		task.Go(l.Context(), func(ctx context.Context) error {
			got = nameOf(ctx)
			return nil
		})
	})
	l.WithValues(named("other"))
	finish(t, l)
	if got != "callback" {
		t.Errorf("the task's values are those of %q, want callback", got)
	}
}

func TestTheContextOfACallbackDoesNotEnd(t *testing.T) {
	l := virtual(t)
	ctx, cancel := context.WithCancel(named("canceled"))
	l.WithValues(ctx)
	cancel()
	l.CallSoon(func() {
		c := l.Context()
		if _, ok := c.Deadline(); ok || c.Done() != nil || c.Err() != nil {
			t.Error("a callback's context has a deadline or an end")
		}
		if nameOf(c) != "canceled" {
			t.Errorf("values of %q, want canceled", nameOf(c))
		}
	})
	finish(t, l)
}
