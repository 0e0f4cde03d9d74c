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

	"github.com/eddyloop/eddy/internal/testkit"
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

type journal = testkit.Journal

var (
	yield     = testkit.Yield
	newLoop   = testkit.NewLoop
	panics    = testkit.Panics
	wantPanic = testkit.WantPanic
)

// outcome writes an error as the traces of package conformance do.
func outcome(err error) string {
	return strings.ReplaceAll(testkit.Outcome(err), task.ErrTimeout.Error(), "Timeout")
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

// children are the programs that the test binary can run in place of the tests.
var children = map[string]func(){}
