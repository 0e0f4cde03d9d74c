package looptest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

// A Hold that nobody releases keeps timers from firing. The test fails, and says so.
func TestHeldUpTimeIsReported(t *testing.T) {
	r := record(func(t testing.TB) {
		looptest.RunConfig(t, looptest.Config{Patience: 20 * time.Millisecond}, func(ctx context.Context) error {
			defer loop.FromContext(ctx).Hold()()
			return task.Sleep(ctx, time.Hour)
		})
	})
	said := strings.Join(r.log, "\n")
	for _, part := range []string{"virtual time is held up", "0 descriptors, and 1 jobs", "main (awaits"} {
		if !strings.Contains(said, part) {
			t.Errorf("the report does not say %q:\n%s", part, said)
		}
	}
}

// What happens now and then renews the patience.
func TestPatienceIsWithWhatDoesNothing(t *testing.T) {
	looptest.RunConfig(t, looptest.Config{Patience: 2 * time.Second}, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		release := l.Hold()
		go func() {
			for range 30 {
				_ = l.CallSoonThreadsafe(func() {})
				time.Sleep(time.Millisecond)
			}
			_ = l.CallSoonThreadsafe(release)
		}()
		return task.Sleep(ctx, time.Hour)
	})
}
