package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

// A journal is what happened, in order.
type journal struct{ lines []string }

func (j *journal) log(format string, args ...any) {
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) want(t testing.TB, want ...string) {
	t.Helper()
	if !slices.Equal(j.lines, want) {
		t.Errorf("happened:\n\t%s\nwant:\n\t%s", strings.Join(j.lines, "\n\t"), strings.Join(want, "\n\t"))
	}
	j.lines = nil
}

// outcome writes an error; of a cancellation, the cause that Cancel was given.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	c := future.AsCanceled(err)
	if c == nil {
		return err.Error()
	}
	for future.AsCanceled(c.Cause) != nil {
		c = future.AsCanceled(c.Cause)
	}
	if c.Cause == nil {
		return "Canceled"
	}
	return "Canceled(" + c.Cause.Error() + ")"
}

// run runs fn in virtual time, and checks that no error was reported.
func run(t testing.TB, fn func(ctx context.Context)) {
	t.Helper()
	looptest.Run(t, func(ctx context.Context) error {
		fn(ctx)
		return nil
	})
}

// yield lets n turns pass.
func yield(ctx context.Context, n int) {
	for range n {
		if err := task.Yield(ctx); err != nil {
			panic(err)
		}
	}
}

// idle lets turns pass until nobody else can do anything.
func idle(t testing.TB, ctx context.Context) {
	t.Helper()
	if err := looptest.WaitIdle(ctx); err != nil {
		t.Fatal(err)
	}
}

// logs starts a task that runs fn and logs its name and what fn returned. Its
// error is seen.
func (j *journal) logs(ctx context.Context, name string, fn func(ctx context.Context) error) *task.Task[struct{}] {
	return task.Go(ctx, func(ctx context.Context) error {
		err := fn(ctx)
		j.log("%s %s", name, outcome(err))
		return nil
	})
}

// newLoop returns a loop with a virtual clock that is closed when the test ends.
func newLoop(t testing.TB, onError func(*loop.CallError)) *loop.Loop {
	t.Helper()
	if onError == nil {
		onError = func(e *loop.CallError) { t.Errorf("%v\n%s", e, e.Stack()) }
	}
	l, err := loop.New(loop.Config{Clock: looptest.NewClock(time.Time{}), OnError: onError})
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

// turnsOf runs l for some turns, and stops it in the middle of things.
func turnsOf(t testing.TB, l *loop.Loop, n int) {
	t.Helper()
	for range n {
		l.Stop()
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
	}
}

func wantPanic(t testing.TB, sentence string, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if v := recover(); v == nil || fmt.Sprint(v) != sentence {
			t.Errorf("panicked with %v, want %q", v, sentence)
		}
	}()
	fn()
}

// must fails the test in a place where an error cannot happen.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sleep lets d pass on the loop's clock.
func sleep(ctx context.Context, d time.Duration) {
	if err := task.Sleep(ctx, d); err != nil {
		panic(err)
	}
}
