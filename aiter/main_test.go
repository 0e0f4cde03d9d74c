package aiter_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/aiter"
	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

// A journal is what happened, in order, with the time since the test began.
type journal struct {
	l     *loop.Loop
	begin time.Time
	lines []string
}

func (j *journal) log(format string, args ...any) {
	j.lines = append(j.lines, fmt.Sprintf("%v ", j.l.Now().Sub(j.begin))+fmt.Sprintf(format, args...))
}

func (j *journal) want(t testing.TB, want ...string) {
	t.Helper()
	if !slices.Equal(j.lines, want) {
		t.Errorf("happened:\n\t%s\nwant:\n\t%s", strings.Join(j.lines, "\n\t"), strings.Join(want, "\n\t"))
	}
	j.lines = nil
}

// run runs fn in virtual time, and checks that no task is left, nor a cancellation.
func run(t testing.TB, fn func(ctx context.Context, j *journal)) {
	t.Helper()
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		fn(ctx, &journal{l: l, begin: l.Now()})
		wantNoTasks(t, ctx)
		if n := task.FromContext(ctx).Canceling(); n != 0 {
			t.Errorf("Canceling = %d, want 0", n)
		}
		return nil
	})
}

// wantNoTasks checks that nobody runs but the caller.
func wantNoTasks(t testing.TB, ctx context.Context) {
	t.Helper()
	if ts := task.All(loop.FromContext(ctx)); len(ts) != 1 {
		t.Errorf("tasks are left: %v", ts)
	}
}

// said writes an error in a word.
func said(err error) string {
	if c := future.AsCanceled(err); c != nil {
		for future.AsCanceled(c.Cause) != nil {
			c = future.AsCanceled(c.Cause)
		}
		if c.Cause == nil {
			return "canceled"
		}
		return "canceled " + c.Cause.Error()
	}
	if p, ok := err.(*coro.PanicError); ok {
		return p.Error()
	}
	return fmt.Sprint(err)
}

// failing returns vs, and then err.
func failing[T any](err error, vs ...T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range vs {
			if !yield(v, nil) {
				return
			}
		}
		var none T
		if yield(none, err) {
			panic("asked for more after an error")
		}
	}
}

// show writes a sequence in a line.
func show[T any](seq iter.Seq2[T, error]) string {
	var s []string
	for v, err := range seq {
		if err != nil {
			s = append(s, fmt.Sprintf("%v!%s", v, said(err)))
			continue // the sequence must end by itself
		}
		s = append(s, fmt.Sprint(v))
	}
	return strings.Join(s, " ")
}

func of[T any](vs ...T) iter.Seq2[T, error] { return aiter.FromSlice(vs) }

// every returns a source that makes the numbers below n, one each d, and notes its
// end.
func every(j *journal, name string, d time.Duration, n int) aiter.Source[int] {
	return func(ctx context.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			defer j.log("%s ended", name)
			for i := range n {
				if err := task.Sleep(ctx, d); err != nil {
					yield(i, err)
					return
				}
				if !yield(i, nil) {
					return
				}
			}
		}
	}
}

func wantPanic(t testing.TB, want string, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got == nil || !strings.Contains(fmt.Sprint(got), want) {
			t.Errorf("panic %v, want %q", got, want)
		}
	}()
	fn()
}
