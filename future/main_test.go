package future_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

type journal = testkit.Journal

var (
	outcome   = testkit.Outcome
	yield     = testkit.Yield
	wantPanic = testkit.WantPanic
)

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
	return testkit.NewLoop(t, loop.Config{})
}
