package task_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/cputime"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// size is how much of a large test is run under the race detector.
func size(n int) int {
	if raceEnabled {
		return n / 50
	}
	return n
}

// within fails the test if it took longer than it may. Under the race detector
// time means nothing.
func within(t testing.TB, start, limit time.Duration) {
	t.Helper()
	d := cputime.Used() - start
	t.Logf("took %v", d)
	if d > limit && !raceEnabled {
		t.Errorf("took %v, want less than %v", d, limit)
	}
}

// R45.
func TestLargeCloseWithManySuspendedTasks(t *testing.T) {
	n := size(100_000)
	for _, tt := range []struct {
		name  string
		limit time.Duration
		wait  func(ctx context.Context, l *loop.Loop) func(ctx context.Context) error
	}{
		{"asleep", 2 * time.Second, func(context.Context, *loop.Loop) func(context.Context) error { return sleepHour }},
		{"deaf", 4 * time.Second, func(context.Context, *loop.Loop) func(context.Context) error {
			return func(ctx context.Context) error {
				for {
					_ = sleepHour(ctx)
				}
			}
		}},
		{"awaiting one future", 2 * time.Second, func(_ context.Context, l *loop.Loop) func(context.Context) error {
			f, _ := future.New[int](l)
			return func(ctx context.Context) error { _, err := f.Await(ctx); return err }
		}},
		{"awaiting one task", 2 * time.Second, func(ctx context.Context, l *loop.Loop) func(context.Context) error {
			var last *task.Task[struct{}]
			return func(ctx context.Context) error {
				if last == nil { // younger than those who wait for it
					last = task.Go(ctx, sleepHour)
				}
				_, err := last.Await(ctx)
				return err
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			l := newLoop(t, virtual(nil))
			wait := tt.wait(l.Context(), l)
			deferred := 0
			for range n {
				task.Go(l.Context(), func(ctx context.Context) error { defer func() { deferred++ }(); return wait(ctx) })
			}
			turnsOf(t, l, 2)
			start := cputime.Used()
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			within(t, start, tt.limit)
			if deferred != n {
				t.Errorf("%d of %d tasks ran their deferred calls", deferred, n)
			}
			if n := settledGoroutines(before); n > before {
				t.Errorf("%d goroutines, were %d", n, before)
			}
		})
	}
}

// R49.
func TestLargeCancellationStorm(t *testing.T) {
	n := size(100_000)
	run(t, func(ctx context.Context, l *loop.Loop) {
		cleaned := 0
		ts := make([]*task.Task[struct{}], n)
		for i := range ts {
			ts[i] = task.Go(ctx, func(ctx context.Context) error { defer func() { cleaned++ }(); return sleepHour(ctx) })
		}
		yield(ctx, 1)
		start := cputime.Used()
		for _, tk := range ts {
			tk.Cancel(nil)
		}
		yield(ctx, 2)
		within(t, start, time.Second)
		if cleaned != n || l.Stats().Pending != 0 {
			t.Errorf("%d of %d cleaned up, %d timers are left", cleaned, n, l.Stats().Pending)
		}
	})
}

func TestLargeChainIsCanceled(t *testing.T) {
	n := size(100_000)
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, _ := future.New[int](l)
		last := task.Start(ctx, func(ctx context.Context) (int, error) { return f.Await(ctx) })
		for range n {
			inner := last
			last = task.Start(ctx, func(ctx context.Context) (int, error) { return inner.Await(ctx) })
		}
		yield(ctx, 1)
		start := cputime.Used()
		last.Cancel(errBoom)
		if _, err := last.Await(ctx); outcome(err) != "Canceled(boom)" || !last.Canceled() {
			t.Errorf("ended with %.200v", err)
		}
		within(t, start, 2*time.Second)
	})
}

func TestLargeCircleIsCanceled(t *testing.T) {
	n := size(50_000)
	run(t, func(ctx context.Context, l *loop.Loop) {
		ts := make([]*task.Task[int], n)
		for i := range ts {
			ts[i] = task.Start(ctx, func(ctx context.Context) (int, error) { return ts[(i+1)%n].Await(ctx) })
		}
		yield(ctx, 1)
		ts[0].Cancel(nil)
		for _, tk := range ts {
			_, _ = tk.Await(ctx)
			if !tk.Canceled() {
				t.Fatalf("%v", tk)
			}
		}
	})
}

func TestLargeGroupFails(t *testing.T) {
	n := size(100_000)
	run(t, func(ctx context.Context, l *loop.Loop) {
		start := cputime.Used()
		ended := 0
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			for range n {
				g.Go(func(ctx context.Context) error { defer func() { ended++ }(); return sleepHour(ctx) })
			}
			g.Go(fails(time.Second, errBoom))
			return nil
		})
		within(t, start, 3*time.Second)
		if outcome(err) != "Group[boom]" || ended != n {
			t.Errorf("%v, %d of %d ended", err, ended, n)
		}
	})
}

func TestLargeLimitedGroup(t *testing.T) {
	n := size(100_000)
	run(t, func(ctx context.Context, l *loop.Loop) {
		running, most, ran := 0, 0, 0
		_ = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.SetLimit(100)
			for range n {
				g.Go(func(ctx context.Context) error {
					running++
					most = max(most, running)
					_ = task.Sleep(ctx, time.Millisecond)
					running--
					ran++
					return nil
				})
			}
			return nil
		})
		if ran != n || most != 100 {
			t.Errorf("%d of %d ran, %d at a time", ran, n, most)
		}
	})
}

// A group's parent whose inherited scope has ended cannot wait any more under it,
// but its tasks' clean-ups can take their time: it must wait for them all the
// same, and not spin.
func TestScopeInATaskWhoseInheritedScopeEnds(t *testing.T) {
	const want = "child cleaned up\nmain task: timeout after 1m1s\n"
	if out := childOutput(t, "group under an ended scope"); out != want {
		t.Errorf("said %q, want %q", out, want)
	}
}

func init() {
	children["group under an ended scope"] = func() {
		_ = task.RunConfig(context.Background(), virtual(nil), func(ctx context.Context) error {
			l := loop.FromContext(ctx)
			start := l.Now()
			sub, cancel := task.WithTimeout(ctx, time.Second)
			defer cancel()
			tk := task.Go(sub, func(sub context.Context) error {
				return task.Scope(sub, func(_ context.Context, g *task.Group) error {
					g.Go(func(ctx context.Context) error {
						err := sleepHour(ctx)
						_ = task.Sleep(context.WithoutCancel(ctx), time.Minute)
						fmt.Println("child cleaned up")
						return err
					})
					return nil
				})
			})
			_, _, _ = task.Wait(ctx, task.AllCompleted, tk)
			err := tk.Err()
			if g, ok := err.(*task.GroupError); ok {
				err = g.Errors()[0]
			}
			fmt.Println("main", err, "after", l.Now().Sub(start))
			return nil
		})
	}
}
