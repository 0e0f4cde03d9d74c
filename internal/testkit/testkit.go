// Package testkit is what the tests of several packages say the same way.
package testkit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

// A Journal is what happened, in order.
type Journal struct{ Lines []string }

// Log adds a line.
func (j *Journal) Log(format string, args ...any) {
	j.Lines = append(j.Lines, fmt.Sprintf(format, args...))
}

// Want compares the whole with what should have happened, and begins anew.
func (j *Journal) Want(t testing.TB, want ...string) {
	t.Helper()
	if !slices.Equal(j.Lines, want) {
		t.Errorf("happened:\n\t%s\nwant:\n\t%s", strings.Join(j.Lines, "\n\t"), strings.Join(want, "\n\t"))
	}
	j.Lines = nil
}

// Logs starts a task that runs fn and logs its name and what fn returned. Its
// error is seen.
func (j *Journal) Logs(ctx context.Context, name string, fn func(ctx context.Context) error) *task.Task[struct{}] {
	return task.Go(ctx, func(ctx context.Context) error {
		err := fn(ctx)
		j.Log("%s %s", name, Outcome(err))
		return nil
	})
}

// Outcome writes an error; of a cancellation it shows the cause that Cancel was
// given, of a group's error its parts.
func Outcome(err error) string {
	switch g := err.(type) {
	case nil:
		return "ok"
	case *task.GroupError:
		var s []string
		for _, err := range g.Errors() {
			s = append(s, Outcome(err))
		}
		return "Group[" + strings.Join(s, ",") + "]"
	}
	if c := future.AsCanceled(err); c != nil {
		// Who looks at a canceled task second gets a cancellation caused by the first.
		for future.AsCanceled(c.Cause) != nil {
			c = future.AsCanceled(c.Cause)
		}
		if c.Cause == nil {
			return "Canceled"
		}
		return "Canceled(" + c.Cause.Error() + ")"
	}
	return err.Error()
}

// NewLoop returns a loop with a virtual clock that is closed when the test ends.
// Config.OnError defaults to failing the test.
func NewLoop(t testing.TB, cfg loop.Config) *loop.Loop {
	t.Helper()
	if cfg.Clock == nil {
		cfg.Clock = looptest.NewClock(time.Time{})
	}
	if cfg.OnError == nil {
		cfg.OnError = func(e *loop.CallError) { t.Errorf("%v\n%s", e, e.Stack()) }
	}
	l, err := loop.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// TurnsOf runs l for some turns, and stops it in the middle of things.
func TurnsOf(t testing.TB, l *loop.Loop, n int) {
	t.Helper()
	for range n {
		l.Stop()
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
	}
}

// Yield lets n turns pass.
func Yield(ctx context.Context, n int) {
	for range n {
		if err := task.Yield(ctx); err != nil {
			panic(err)
		}
	}
}

// Sleep lets d pass on the loop's clock.
func Sleep(ctx context.Context, d time.Duration) {
	if err := task.Sleep(ctx, d); err != nil {
		panic(err)
	}
}

// Idle lets turns pass until nobody else can do anything.
func Idle(t testing.TB, ctx context.Context) {
	t.Helper()
	if err := looptest.WaitIdle(ctx); err != nil {
		t.Fatal(err)
	}
}

// Must fails the test in a place where an error cannot happen.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Panics returns what fn panics with, or fails the test.
func Panics(t testing.TB, fn func()) (v any) {
	t.Helper()
	defer func() {
		if v = recover(); v == nil {
			t.Error("did not panic")
		}
	}()
	fn()
	return nil
}

// WantPanic fails the test unless fn panics with a sentence that has part in it.
func WantPanic(t testing.TB, part string, fn func()) {
	t.Helper()
	if v := Panics(t, fn); v != nil && !strings.Contains(fmt.Sprint(v), part) {
		t.Errorf("panicked with %q, want a sentence with %q", v, part)
	}
}
