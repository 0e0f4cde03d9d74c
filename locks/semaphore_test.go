package locks_test

import (
	"context"
	"testing"
	"time"

	"github.com/eddyloop/eddy/locks"
	"github.com/eddyloop/eddy/task"
)

func TestSemaphorePermits(t *testing.T) {
	run(t, func(ctx context.Context) {
		s := locks.NewSemaphore(2)
		must(t, s.Acquire(ctx))
		if !s.TryAcquire() || s.TryAcquire() || s.Value() != 0 || !s.Locked() {
			t.Errorf("value %d, locked %v after two permits of two", s.Value(), s.Locked())
		}
		s.Release()
		s.Release()
		s.Release() // more than there were: allowed
		if s.Value() != 3 || s.Locked() {
			t.Errorf("value %d, locked %v", s.Value(), s.Locked())
		}
	})
}

func TestSemaphoreMisuse(t *testing.T) {
	wantPanic(t, "locks: semaphore with a negative number of permits", func() { locks.NewSemaphore(-1) })
	wantPanic(t, "locks: semaphore with a negative number of permits", func() { locks.NewBoundedSemaphore(-1) })
	const over = "locks: Release of a bounded semaphore that has all its permits"
	wantPanic(t, over, locks.NewBoundedSemaphore(0).Release)
	s := locks.NewBoundedSemaphore(1)
	wantPanic(t, over, s.Release)
	run(t, func(ctx context.Context) {
		must(t, s.Acquire(ctx))
		s.Release()
		wantPanic(t, over, s.Release)
		if s.Value() != 1 {
			t.Errorf("value %d, want 1", s.Value())
		}
	})
}

func TestEdge095_SemaphoreIsFirstComeFirstServed(t *testing.T) {
	t.Run("hand over", func(t *testing.T) { // test_acquire_fifo_order
		run(t, func(ctx context.Context) {
			s := locks.NewSemaphore(1)
			var j journal
			for _, name := range []string{"a", "b", "c"} {
				task.Go(ctx, func(ctx context.Context) error {
					for i := range 2 {
						must(t, s.Acquire(ctx))
						j.Log("%s%d", name, i)
						must(t, task.Sleep(ctx, time.Second))
						s.Release()
					}
					return nil
				})
			}
			idle(t, ctx)
			must(t, task.Sleep(ctx, time.Minute))
			j.Want(t, "a0", "b0", "c0", "a1", "b1", "c1")
		})
	})
	t.Run("release, acquire again", func(t *testing.T) { // test_acquire_fifo_order_2
		run(t, func(ctx context.Context) {
			s := locks.NewSemaphore(1)
			var j journal
			j.Logs(ctx, "1", s.Acquire)
			j.Logs(ctx, "4", func(ctx context.Context) error {
				must(t, s.Acquire(ctx))
				j.Log("2")
				s.Release()
				return s.Acquire(ctx)
			})
			j.Logs(ctx, "3", s.Acquire)
			yield(ctx, 1)
			s.Release()
			s.Release()
			idle(t, ctx)
			j.Want(t, "1 ok", "2", "3 ok", "4 ok")
		})
	})
	t.Run("canceled first", func(t *testing.T) { // test_acquire_fifo_order_3
		run(t, func(ctx context.Context) {
			s := locks.NewSemaphore(0)
			var j journal
			a := j.Logs(ctx, "a", s.Acquire)
			j.Logs(ctx, "b", s.Acquire)
			j.Logs(ctx, "c", s.Acquire)
			yield(ctx, 1)
			a.Cancel(errBoom)
			yield(ctx, 1)
			s.Release()
			s.Release()
			idle(t, ctx)
			j.Want(t, "a Canceled(boom)", "b ok", "c ok")
		})
	})
	t.Run("woken by one that came late", func(t *testing.T) { // test_acquire_fifo_order_4
		run(t, func(ctx context.Context) {
			s := locks.NewSemaphore(0)
			var j journal
			j.Logs(ctx, "1", func(ctx context.Context) error {
				err := s.Acquire(ctx)
				if s.Value() != 0 {
					t.Errorf("value %d: the first has not woken all it may", s.Value())
				}
				j.Logs(ctx, "4", func(context.Context) error { return nil })
				return err
			})
			j.Logs(ctx, "2", func(ctx context.Context) error {
				s.Release()
				s.Release()
				s.Release()
				if s.Value() != 2 || !s.Locked() {
					t.Errorf("value %d, locked %v; want 2 and true", s.Value(), s.Locked())
				}
				return s.Acquire(ctx)
			})
			j.Logs(ctx, "3", s.Acquire)
			yield(ctx, 1)
			if s.Value() != 2 || s.Waiting() != 3 {
				t.Errorf("value %d, %d wait; want 2 and 3", s.Value(), s.Waiting())
			}
			idle(t, ctx)
			j.Want(t, "1 ok", "2 ok", "3 ok", "4 ok")
		})
	})
}

func TestEdge095_CancelsDoNotLosePermits(t *testing.T) {
	t.Run("two canceled before the release", func(t *testing.T) { // test_acquire_cancel_before_awoken
		run(t, func(ctx context.Context) {
			s := locks.NewSemaphore(0)
			var j journal
			a := j.Logs(ctx, "a", s.Acquire)
			b := j.Logs(ctx, "b", s.Acquire)
			j.Logs(ctx, "c", s.Acquire)
			d := j.Logs(ctx, "d", s.Acquire)
			yield(ctx, 1)
			a.Cancel(errBoom)
			b.Cancel(errBoom)
			s.Release()
			idle(t, ctx)
			d.Cancel(errBoom)
			idle(t, ctx)
			j.Want(t, "a Canceled(boom)", "b Canceled(boom)", "c ok", "d Canceled(boom)")
		})
	})
	t.Run("a hang", func(t *testing.T) { // test_acquire_hang
		run(t, func(ctx context.Context) {
			s := locks.NewSemaphore(0)
			var j journal
			a := j.Logs(ctx, "a", s.Acquire)
			j.Logs(ctx, "b", s.Acquire)
			yield(ctx, 1)
			a.Cancel(errBoom)
			s.Release()
			idle(t, ctx)
			j.Want(t, "a Canceled(boom)", "b ok")
			if !s.Locked() {
				t.Error("there is a permit too many")
			}
		})
	})
	t.Run("no hang", func(t *testing.T) { // test_acquire_no_hang
		run(t, func(ctx context.Context) {
			s := locks.NewSemaphore(1)
			var j journal
			var b *task.Task[struct{}]
			j.Logs(ctx, "a", func(ctx context.Context) error {
				must(t, s.Acquire(ctx))
				yield(ctx, 1)
				s.Release()
				b.Cancel(errBoom)
				return nil
			})
			b = j.Logs(ctx, "b", s.Acquire)
			idle(t, ctx)
			j.Want(t, "a ok", "b Canceled(boom)")
			must(t, s.Acquire(ctx))
		})
	})
	t.Run("all canceled with permits set aside", func(t *testing.T) {
		run(t, func(ctx context.Context) {
			s := locks.NewBoundedSemaphore(3)
			for range 3 {
				must(t, s.Acquire(ctx))
			}
			var j journal
			a, b, c := j.Logs(ctx, "a", s.Acquire), j.Logs(ctx, "b", s.Acquire), j.Logs(ctx, "c", s.Acquire)
			yield(ctx, 1)
			for range 3 {
				s.Release()
			}
			for _, w := range []*task.Task[struct{}]{c, a, b} {
				w.Cancel(errBoom)
			}
			idle(t, ctx)
			j.Want(t, "a Canceled(boom)", "b Canceled(boom)", "c Canceled(boom)")
			if s.Value() != 3 || s.Waiting() != 0 {
				t.Errorf("value %d, %d wait; want 3 and 0", s.Value(), s.Waiting())
			}
		})
	})
}

func TestEdge096_LockedWhileOthersWait(t *testing.T) {
	run(t, func(ctx context.Context) {
		s := locks.NewSemaphore(0)
		var j journal
		j.Logs(ctx, "a", s.Acquire)
		yield(ctx, 1)
		s.Release()
		s.Release()
		if s.Value() != 1 || !s.Locked() || s.TryAcquire() {
			t.Errorf("value %d, locked %v: a newcomer would overtake", s.Value(), s.Locked())
		}
		idle(t, ctx)
		if s.Value() != 1 || s.Locked() {
			t.Errorf("value %d, locked %v, nobody waits", s.Value(), s.Locked())
		}
		must(t, s.Acquire(ctx))
		// Those who wait but are canceled do not count.
		a := j.Logs(ctx, "b", s.Acquire)
		yield(ctx, 1)
		a.Cancel(errBoom)
		s.Release()
		if s.Locked() || !s.TryAcquire() {
			t.Error("locked by one that is canceled")
		}
		idle(t, ctx)
		j.Want(t, "a ok", "b Canceled(boom)")
	})
}
