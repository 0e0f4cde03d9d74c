package locks_test

import (
	"context"
	"testing"
	"time"

	"github.com/eddyloop/eddy/locks"
	"github.com/eddyloop/eddy/task"
)

func largeCrowd() int {
	if raceEnabled {
		return 1000
	}
	return 100_000
}

// Waking and canceling take time in proportion to those who wait.
func TestLargeCrowd(t *testing.T) {
	type crowd = []*task.Task[struct{}]
	cancelAll := func(_ context.Context, ts crowd) {
		for _, tk := range ts {
			tk.Cancel(errBoom)
		}
	}
	for _, tt := range []struct {
		name string
		// make returns the wait of each and what ends them.
		make func(ctx context.Context) (wait func(ctx context.Context) error, end func(ctx context.Context, ts crowd))
		want string
	}{
		{"event set", func(context.Context) (func(context.Context) error, func(context.Context, crowd)) {
			e := new(locks.Event)
			return e.Wait, func(context.Context, crowd) { e.Set() }
		}, "ok"},
		{"event, canceled", func(context.Context) (func(context.Context) error, func(context.Context, crowd)) {
			return new(locks.Event).Wait, cancelAll
		}, "Canceled(boom)"},
		{"semaphore, one permit for each", func(context.Context) (func(context.Context) error, func(context.Context, crowd)) {
			s := locks.NewSemaphore(0)
			return s.Acquire, func(_ context.Context, ts crowd) {
				for range ts {
					s.Release()
				}
			}
		}, "ok"},
		{"semaphore, one permit for all", func(context.Context) (func(context.Context) error, func(context.Context, crowd)) {
			s := locks.NewBoundedSemaphore(1)
			s.TryAcquire()
			return func(ctx context.Context) error { defer s.Release(); return s.Acquire(ctx) },
				func(context.Context, crowd) { s.Release() }
		}, "ok"},
		{"semaphore, canceled", func(context.Context) (func(context.Context) error, func(context.Context, crowd)) {
			return locks.NewSemaphore(0).Acquire, cancelAll
		}, "Canceled(boom)"},
		{"semaphore, canceled with permits set aside", func(context.Context) (func(context.Context) error, func(context.Context, crowd)) {
			s := locks.NewSemaphore(0)
			return s.Acquire, func(ctx context.Context, ts crowd) {
				for range ts {
					s.Release()
				}
				cancelAll(ctx, ts)
			}
		}, "Canceled(boom)"},
		{"mutex", func(context.Context) (func(context.Context) error, func(context.Context, crowd)) {
			m := new(locks.Mutex)
			m.TryLock()
			return lockUnlock(m), func(context.Context, crowd) { m.Unlock() }
		}, "ok"},
		{"mutex, canceled", func(context.Context) (func(context.Context) error, func(context.Context, crowd)) {
			m := new(locks.Mutex)
			m.TryLock()
			return m.Lock, func(ctx context.Context, ts crowd) { cancelAll(ctx, ts); m.Unlock() }
		}, "Canceled(boom)"},
		{"cond, broadcast", func(context.Context) (func(context.Context) error, func(context.Context, crowd)) {
			c := locks.NewCond(nil)
			return waitOnce(c), func(context.Context, crowd) { c.L.TryLock(); c.Broadcast(); c.L.Unlock() }
		}, "ok"},
		{"cond, canceled", func(context.Context) (func(context.Context) error, func(context.Context, crowd)) {
			return waitOnce(locks.NewCond(nil)), cancelAll
		}, "Canceled(boom)"},
		{"barrier", func(context.Context) (func(context.Context) error, func(context.Context, crowd)) {
			b := locks.NewBarrier(largeCrowd() + 1)
			wait := func(ctx context.Context) error { _, err := b.Wait(ctx); return err }
			return wait, func(ctx context.Context, _ crowd) { _ = wait(ctx) }
		}, "ok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) {
				n := largeCrowd()
				wait, end := tt.make(ctx)
				ended := 0
				ts := make(crowd, n)
				for i := range ts {
					ts[i] = task.Go(ctx, func(ctx context.Context) error {
						if got := outcome(wait(ctx)); got != tt.want {
							t.Errorf("%d ended with %s, want %s", i, got, tt.want)
						}
						ended++
						return nil
					})
				}
				idle(t, ctx)
				began := time.Now()
				end(ctx, ts)
				idle(t, ctx)
				d := time.Since(began)
				t.Logf("%d: %v, %v each", n, d, d/time.Duration(n))
				if ended != n {
					t.Errorf("%d of %d have ended", ended, n)
				}
				if d > 5*time.Second && !raceEnabled { // quadratic would be minutes
					t.Errorf("took %v", d)
				}
			})
		})
	}
}
