package task_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
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

// childEnv names the program of children that the test binary runs in place of
// the tests.
const childEnv = "EDDY_TASK_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		children[name]()
		return
	}
	goleak.VerifyTestMain(m)
}

// child returns a command that runs a program of children in a process of its own.
func child(ctx context.Context, name string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	return cmd
}

// childOutput runs a program of children to its end. One that hangs, as a bug
// can make a loop do, is killed and fails the test.
func childOutput(t *testing.T, name string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, err := child(ctx, name).CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("child %s hangs; it said so far:\n%s", name, out)
	}
	if err != nil {
		t.Fatalf("child %s: %v\n%s", name, err, out)
	}
	return string(out)
}

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

// outcome writes an error as the traces of package conformance do; of a
// cancellation it shows the cause that Cancel was given.
func outcome(err error) string {
	switch g := err.(type) {
	case nil:
		return "ok"
	case *task.GroupError:
		var s []string
		for _, err := range g.Errors() {
			s = append(s, outcome(err))
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
	if err == task.ErrTimeout {
		return "Timeout"
	}
	return err.Error()
}

var errBoom = errors.New("boom")

// run runs fn in virtual time, and checks that no error was reported.
func run(t testing.TB, fn func(ctx context.Context, l *loop.Loop)) {
	t.Helper()
	looptest.Run(t, func(ctx context.Context) error {
		fn(ctx, loop.FromContext(ctx))
		return nil
	})
}

// runReporting is run that returns the errors that were reported.
func runReporting(t testing.TB, fn func(ctx context.Context, l *loop.Loop)) (reports []*loop.CallError) {
	t.Helper()
	cfg := looptest.Config{}
	cfg.Loop.OnError = func(e *loop.CallError) { reports = append(reports, e) }
	looptest.RunConfig(t, cfg, func(ctx context.Context) error {
		fn(ctx, loop.FromContext(ctx))
		return nil
	})
	return reports
}

func wantReports(t testing.TB, got []*loop.CallError, want ...string) {
	t.Helper()
	var s []string
	for _, e := range got {
		s = append(s, fmt.Sprintf("%s %s: %v", e.Op, e.Name, e.Err))
	}
	if !slices.Equal(s, want) {
		t.Errorf("reported %q, want %q", s, want)
	}
}

// yield lets n turns pass.
func yield(ctx context.Context, n int) {
	for range n {
		if err := task.Yield(ctx); err != nil {
			panic(err)
		}
	}
}

// newLoop returns a loop with a virtual clock that is closed when the test ends.
func newLoop(t testing.TB, cfg loop.Config) *loop.Loop {
	t.Helper()
	if cfg.Clock == nil {
		cfg.Clock = looptest.NewClock(time.Time{})
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

// panics returns what fn panics with, or fails the test.
func panics(t testing.TB, fn func()) (v any) {
	t.Helper()
	defer func() {
		if v = recover(); v == nil {
			t.Error("did not panic")
		}
	}()
	fn()
	return nil
}

func wantPanic(t testing.TB, part string, fn func()) {
	t.Helper()
	if v := panics(t, fn); v != nil && !strings.Contains(fmt.Sprint(v), part) {
		t.Errorf("panicked with %q, want a sentence with %q", v, part)
	}
}

// children are the programs that the test binary can run in place of the tests.
var children = map[string]func(){}
