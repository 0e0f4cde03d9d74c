package locks_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/eddyloop/eddy/locks"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// waitOnce takes the lock, waits for a wake-up and returns, holding the lock for
// the time of the return only.
func waitOnce(c *locks.Cond) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		if err := c.L.Lock(ctx); err != nil {
			return err
		}
		defer c.L.Unlock()
		return c.Wait(ctx)
	}
}

// with calls fn with the lock, which must be free.
func with(t testing.TB, c *locks.Cond, fn func()) {
	t.Helper()
	if !c.L.TryLock() {
		t.Fatal("the lock is not free")
	}
	fn()
	c.L.Unlock()
}

func TestCondSignalWakesInOrder(t *testing.T) {
	run(t, func(ctx context.Context) {
		c := locks.NewCond(nil)
		var j journal
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			j.Logs(ctx, name, waitOnce(c))
		}
		idle(t, ctx)
		if c.Waiting() != 5 || c.L.Locked() {
			t.Errorf("%d wait, locked %v", c.Waiting(), c.L.Locked())
		}
		with(t, c, c.Signal)
		idle(t, ctx)
		j.Want(t, "a ok")
		with(t, c, func() { c.SignalN(2) })
		idle(t, ctx)
		j.Want(t, "b ok", "c ok")
		with(t, c, c.Broadcast)
		idle(t, ctx)
		j.Want(t, "d ok", "e ok")
		with(t, c, func() { c.Signal(); c.SignalN(1 << 30); c.Broadcast() }) // nobody waits
	})
}

// asyncio: a task that was woken returns only when it has the lock, and one that
// comes back with the lock lets the next do so.
func TestCondWaitReturnsWithTheLock(t *testing.T) {
	run(t, func(ctx context.Context) {
		c := locks.NewCond(nil)
		var j journal
		wait := func(ctx context.Context) error {
			must(t, c.L.Lock(ctx))
			return c.Wait(ctx) // keeps the lock
		}
		j.Logs(ctx, "a", wait)
		j.Logs(ctx, "b", wait)
		idle(t, ctx)
		must(t, c.L.Lock(ctx))
		c.SignalN(2)
		idle(t, ctx)
		j.Want(t)
		c.L.Unlock()
		idle(t, ctx)
		j.Want(t, "a ok")
		if !c.L.Locked() {
			t.Error("Wait has returned without the lock")
		}
		c.L.Unlock()
		idle(t, ctx)
		j.Want(t, "b ok")
	})
}

func TestCondWithALockOfTheCallers(t *testing.T) {
	run(t, func(ctx context.Context) {
		var m locks.Mutex
		c, d := locks.NewCond(&m), locks.NewCond(&m)
		if c.L != &m || d.L != &m {
			t.Fatal("NewCond has not kept the lock")
		}
		var j journal
		j.Logs(ctx, "c", waitOnce(c))
		j.Logs(ctx, "d", waitOnce(d))
		idle(t, ctx)
		with(t, d, d.Signal)
		idle(t, ctx)
		with(t, c, c.Signal)
		idle(t, ctx)
		j.Want(t, "d ok", "c ok")
	})
}

func TestCondWaitUntil(t *testing.T) {
	run(t, func(ctx context.Context) {
		c := locks.NewCond(nil)
		var j journal
		n := 0
		j.Logs(ctx, "a", func(ctx context.Context) error {
			must(t, c.L.Lock(ctx))
			defer c.L.Unlock()
			return c.WaitUntil(ctx, func() bool {
				j.Log("asked with the lock %v, n = %d", c.L.Locked(), n)
				return n == 2
			})
		})
		idle(t, ctx)
		for range 2 {
			with(t, c, func() { n++; c.Signal() })
			idle(t, ctx)
		}
		j.Want(t, "asked with the lock true, n = 0", "asked with the lock true, n = 1", "asked with the lock true, n = 2", "a ok")
		must(t, c.WaitUntil(ctx, func() bool { return true })) // needs no lock if it need not wait
	})
}

func TestCondMisuse(t *testing.T) {
	run(t, func(ctx context.Context) {
		c := locks.NewCond(nil)
		wantPanic(t, "locks: Cond.Wait without the lock", func() { _ = c.Wait(ctx) })
		wantPanic(t, "locks: Cond.Wait without the lock", func() { _ = c.WaitUntil(ctx, func() bool { return false }) })
		wantPanic(t, "locks: Cond.Signal without the lock", c.Signal)
		wantPanic(t, "locks: Cond.Signal without the lock", func() { c.SignalN(0) })
		wantPanic(t, "locks: Cond.Signal without the lock", c.Broadcast)
		if c.Waiting() != 0 {
			t.Errorf("%d wait", c.Waiting())
		}
	})
}

func TestEdge092_WaitRetakesTheLockWhenCanceled(t *testing.T) {
	run(t, func(ctx context.Context) {
		c := locks.NewCond(nil)
		var j journal
		a := j.Logs(ctx, "a", func(ctx context.Context) error {
			must(t, c.L.Lock(ctx))
			err := c.Wait(ctx)
			j.Log("locked %v", c.L.Locked())
			return err // keeps it
		})
		idle(t, ctx)
		a.Cancel(errBoom)
		idle(t, ctx)
		j.Want(t, "locked true", "a Canceled(boom)")
		if !c.L.Locked() || c.Waiting() != 0 {
			t.Errorf("locked %v, %d wait", c.L.Locked(), c.Waiting())
		}
	})
}

func TestEdge092_CanceledAgainWhileItRetakesTheLock(t *testing.T) {
	run(t, func(ctx context.Context) {
		c := locks.NewCond(nil)
		var j journal
		a := j.Logs(ctx, "a", waitOnce(c))
		idle(t, ctx)
		must(t, c.L.Lock(ctx))
		for _, cause := range []string{"one", "two", "three"} {
			a.Cancel(errors.New(cause))
			idle(t, ctx)
			j.Want(t) // it still wants the lock
			if c.L.Waiting() != 1 {
				t.Errorf("after %q %d wait for the lock, want 1", cause, c.L.Waiting())
			}
		}
		c.L.Unlock()
		idle(t, ctx)
		j.Want(t, "a Canceled(three)")
		if c.L.Locked() {
			t.Error("the lock stays taken")
		}
	})
}

// asyncio: wait_cancel_contested.
func TestEdge092_CancelMeetsTheReleaseOfTheLock(t *testing.T) {
	for _, cancelFirst := range []bool{true, false} {
		run(t, func(ctx context.Context) {
			c := locks.NewCond(nil)
			var j journal
			a := j.Logs(ctx, "a", func(ctx context.Context) error {
				must(t, c.L.Lock(ctx))
				return c.Wait(ctx)
			})
			idle(t, ctx)
			must(t, c.L.Lock(ctx))
			c.Signal()
			idle(t, ctx)
			if cancelFirst {
				a.Cancel(errBoom)
				c.L.Unlock()
			} else {
				c.L.Unlock()
				a.Cancel(errBoom)
			}
			idle(t, ctx)
			j.Want(t, "a Canceled(boom)")
			if !c.L.Locked() {
				t.Error("Wait has returned without the lock")
			}
		})
	}
}

// One is woken and canceled, at different moments: the other must get the item.
func TestEdge093_CanceledWaiterPassesTheWakeUpOn(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(ctx context.Context, c *locks.Cond, a *task.Task[struct{}])
	}{
		{"before it runs", func(ctx context.Context, c *locks.Cond, a *task.Task[struct{}]) { a.Cancel(errBoom) }},
		{"while it retakes the lock", func(ctx context.Context, c *locks.Cond, a *task.Task[struct{}]) {
			yield(ctx, 1)
			if c.L.Waiting() != 1 {
				t.Error("it does not wait for the lock")
			}
			a.Cancel(errBoom)
		}},
		{"when it was given the lock", func(ctx context.Context, c *locks.Cond, a *task.Task[struct{}]) {
			yield(ctx, 1)
			c.L.Unlock()
			a.Cancel(errBoom)
			must(t, c.L.Lock(ctx))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) {
				c := locks.NewCond(nil)
				items := 0
				var j journal
				consume := func(ctx context.Context) error {
					must(t, c.L.Lock(ctx))
					defer c.L.Unlock()
					if err := c.WaitUntil(ctx, func() bool { return items > 0 }); err != nil {
						return err
					}
					items--
					return nil
				}
				a := j.Logs(ctx, "a", consume)
				j.Logs(ctx, "b", consume)
				idle(t, ctx)
				must(t, c.L.Lock(ctx))
				items = 1
				c.Signal()
				tt.do(ctx, c, a)
				c.L.Unlock()
				idle(t, ctx)
				j.Want(t, "a Canceled(boom)", "b ok")
				if items != 0 || c.Waiting() != 0 || c.L.Locked() {
					t.Errorf("items %d, %d wait, locked %v", items, c.Waiting(), c.L.Locked())
				}
			})
		})
	}
}

func TestEdge094_LockIsHeldWhenATimeoutLeaves(t *testing.T) {
	for _, tt := range []struct {
		name string
		wait func(ctx context.Context, c *locks.Cond) error
	}{
		{"Timeout", func(ctx context.Context, c *locks.Cond) error {
			return task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error { return c.Wait(ctx) })
		}},
		{"WithTimeout", func(ctx context.Context, c *locks.Cond) error {
			sub, cancel := task.WithTimeout(ctx, time.Second)
			defer cancel()
			return c.Wait(sub)
		}},
		{"WithTimeout, WaitUntil", func(ctx context.Context, c *locks.Cond) error {
			sub, cancel := task.WithTimeout(ctx, time.Second)
			defer cancel()
			return c.WaitUntil(sub, func() bool { return false })
		}},
		{"inherited WithTimeout", func(ctx context.Context, c *locks.Cond) error {
			sub, cancel := task.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := task.Go(sub, func(ctx context.Context) error { return c.Wait(ctx) }).Await(ctx)
			return err
		}},
		{"a value over WithTimeout", func(ctx context.Context, c *locks.Cond) error {
			sub, cancel := task.WithTimeout(ctx, time.Second)
			defer cancel()
			return c.Wait(context.WithValue(sub, new(int), 1))
		}},
	} {
		for _, contested := range []time.Duration{0, time.Hour} {
			run(t, func(ctx context.Context) {
				c := locks.NewCond(nil)
				must(t, c.L.Lock(ctx))
				// From before the timeout until long after it, another has the lock.
				other := task.Go(ctx, func(ctx context.Context) error {
					if contested == 0 {
						return nil
					}
					must(t, c.L.Lock(ctx))
					defer c.L.Unlock()
					return task.Sleep(ctx, contested)
				})
				start := loop.FromContext(ctx).Now()
				if err := tt.wait(ctx, c); err != task.ErrTimeout {
					t.Errorf("%s: %v, want a timeout", tt.name, err)
				}
				if !c.L.Locked() || contested > 0 && !other.Done() {
					t.Errorf("%s: the lock is not held by the one who has waited", tt.name)
				}
				if d := loop.FromContext(ctx).Now().Sub(start); d != max(time.Second, contested) {
					t.Errorf("%s, lock busy for %v: returned after %v", tt.name, contested, d)
				}
				c.L.Unlock()
			})
		}
	}
}

// A scope that ends while a woken task retakes the lock is not an error: the
// wait was over.
func TestCondScopeEndsWhileItRetakesTheLock(t *testing.T) {
	run(t, func(ctx context.Context) {
		c := locks.NewCond(nil)
		var j journal
		j.Logs(ctx, "a", func(ctx context.Context) error {
			must(t, c.L.Lock(ctx))
			defer c.L.Unlock()
			sub, cancel := task.WithTimeout(ctx, time.Second)
			defer cancel()
			return c.Wait(sub)
		})
		idle(t, ctx)
		with(t, c, func() { c.Signal(); must(t, task.Sleep(ctx, time.Minute)) })
		idle(t, ctx)
		j.Want(t, "a ok")
	})
}

// An outside cancellation and a level scope at once: the cancellation wins.
func TestCondCancelAndScopeEnd(t *testing.T) {
	run(t, func(ctx context.Context) {
		c := locks.NewCond(nil)
		var j journal
		a := j.Logs(ctx, "a", func(ctx context.Context) error {
			must(t, c.L.Lock(ctx))
			defer c.L.Unlock()
			sub, cancel := task.WithTimeout(ctx, time.Second)
			defer cancel()
			return c.Wait(sub)
		})
		idle(t, ctx)
		with(t, c, func() {
			must(t, task.Sleep(ctx, time.Minute)) // the scope has ended, it wants the lock
			a.Cancel(errBoom)
			idle(t, ctx)
		})
		idle(t, ctx)
		j.Want(t, "a Canceled(boom)")
	})
}
