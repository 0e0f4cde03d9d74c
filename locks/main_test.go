package locks_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

type journal struct{ testkit.Journal }

var (
	outcome   = testkit.Outcome
	yield     = testkit.Yield
	sleep     = testkit.Sleep
	idle      = testkit.Idle
	must      = testkit.Must
	turnsOf   = testkit.TurnsOf
	wantPanic = testkit.WantPanic
)

// run runs fn in virtual time, and checks that no error was reported.
func run(t testing.TB, fn func(ctx context.Context)) {
	t.Helper()
	looptest.Run(t, func(ctx context.Context) error {
		fn(ctx)
		return nil
	})
}

func newLoop(t testing.TB, onError func(*loop.CallError)) *loop.Loop {
	t.Helper()
	return testkit.NewLoop(t, loop.Config{OnError: onError})
}
