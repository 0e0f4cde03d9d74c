package future_test

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
func run(t testing.TB, fn func(ctx context.Context, l *loop.Loop)) {
	t.Helper()
	looptest.Run(t, func(ctx context.Context) error {
		fn(ctx, loop.FromContext(ctx))
		return nil
	})
}

// runReporting is run that returns what was reported, as "OP NAME: ERROR".
func runReporting(t testing.TB, fn func(ctx context.Context, l *loop.Loop, reports *[]string)) []string {
	t.Helper()
	var reports []string
	cfg := looptest.Config{}
	cfg.Loop.OnError = func(e *loop.CallError) {
		reports = append(reports, fmt.Sprintf("%s %s: %v", e.Op, e.Name, e.Err))
	}
	looptest.RunConfig(t, cfg, func(ctx context.Context) error {
		fn(ctx, loop.FromContext(ctx), &reports)
		return nil
	})
	return reports
}

func newLoop(t testing.TB) *loop.Loop {
	t.Helper()
	l, err := loop.New(loop.Config{Clock: looptest.NewClock(time.Time{})})
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

func yield(ctx context.Context, n int) {
	for range n {
		if err := task.Yield(ctx); err != nil {
			panic(err)
		}
	}
}

func wantPanic(t testing.TB, part string, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), part) {
			t.Errorf("panicked with %v, want a sentence with %q", v, part)
		}
	}()
	fn()
}
