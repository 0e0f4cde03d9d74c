package thread_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eddyloop/eddy/thread"
)

// enter starts a goroutine that waits at c once, and logs how this ends.
func enter(j *journal, name string, l *thread.Lock, wait func() error) {
	j.run(name, func() error {
		if err := l.Acquire(bg); err != nil {
			return err
		}
		defer l.Release()
		err := wait()
		if !l.Locked() {
			return fmt.Errorf("without the lock, after %w", err)
		}
		return err
	})
}

func TestCondNotifiesInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var l thread.Lock
		c := thread.NewCond(&l)
		j := newJournal()
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			enter(j, name, &l, func() error { return c.Wait(bg) })
		}
		notify := func(fn func()) {
			must(t, l.Acquire(bg))
			fn()
			l.Release()
		}
		notify(func() { c.Notify(0) })
		j.want(t)
		notify(func() { c.Notify(2) })
		j.wantInAnyOrder(t, "a ok", "b ok")
		notify(func() { c.Notify(-1); c.Notify(1) })
		j.want(t, "c ok")
		notify(c.NotifyAll)
		j.wantInAnyOrder(t, "d ok", "e ok")
		notify(func() { c.Notify(1); c.NotifyAll() }) // nobody: it is not kept for later
		enter(j, "f", &l, func() error { return c.Wait(bg) })
		j.want(t)
		notify(func() { c.Notify(100) })
		j.want(t, "f ok")
		if c.Waiting() != 0 {
			t.Errorf("%d wait", c.Waiting())
		}
	})
}

// One that gives up takes the lock again before it returns, however long that takes;
// a notification that comes meanwhile is not for it.
func TestCondTakesTheLockAgainWhenItGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var l thread.Lock
		c := thread.NewCond(&l)
		j := newJournal()
		ctx, cancel := context.WithTimeout(bg, 2*time.Second)
		defer cancel()
		enter(j, "a", &l, func() error { return c.WaitTimeout(bg, time.Second) })
		enter(j, "b", &l, func() error { return c.Wait(ctx) })
		enter(j, "c", &l, func() error { return c.Wait(bg) })
		must(t, l.Acquire(bg))
		time.Sleep(time.Hour)
		j.want(t)
		c.Notify(1)
		l.Release()
		j.wantInAnyOrder(t, "a thread: timeout", "b context deadline exceeded", "c ok")
	})
}

func TestCondNotifiedAndCanceledAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var l thread.Lock
		c := thread.NewCond(&l)
		j := newJournal()
		ctx, cancel := context.WithCancel(bg)
		enter(j, "a", &l, func() error { return c.Wait(ctx) })
		enter(j, "b", &l, func() error { return c.Wait(bg) })
		must(t, l.Acquire(bg))
		c.Notify(1)
		cancel() // a waits for the lock already
		l.Release()
		j.want(t, "a ok")
		must(t, l.Acquire(bg))
		c.Notify(1)
		l.Release()
		j.want(t, "b ok")
	})
}

func TestCondWaitForTimeoutAsksOnceMore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var l thread.Lock
		c := thread.NewCond(&l)
		must(t, l.Acquire(bg))
		there := false
		time.AfterFunc(time.Second, func() { // without a notification
			must(t, l.Acquire(bg))
			there = true
			l.Release()
		})
		must(t, c.WaitForTimeout(bg, func() bool { return there }, 2*time.Second))
		asked := 0
		wantErr(t, c.WaitForTimeout(bg, func() bool { asked++; return false }, 0), thread.ErrTimeout)
		if asked != 2 { // as CPython does
			t.Errorf("asked %d times, want 2", asked)
		}
		l.Release()
	})
}

// Notifications without need make WaitFor ask again, not return, nor wait longer
// than it should.
func TestCondWaitForIsOneTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var l thread.Lock
		c := thread.NewCond(&l)
		stop := thread.Every(thread.EveryConfig{}, time.Second, func(*thread.Interval) {
			must(t, l.Acquire(bg))
			c.NotifyAll()
			l.Release()
		})
		defer stop.Stop()
		must(t, l.Acquire(bg))
		start := time.Now()
		wantErr(t, c.WaitForTimeout(bg, func() bool { return false }, 5500*time.Millisecond), thread.ErrTimeout)
		if d := time.Since(start); d != 5500*time.Millisecond {
			t.Errorf("took %v", d)
		}
		l.Release()
		synctest.Wait()
	})
}

// With an RLock, Wait frees it however often it was taken.
func TestCondWithRLock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var l thread.RLock
		c := thread.NewCond(&l)
		a, b := thread.NewOwner("a"), thread.NewOwner("b")
		j := newJournal()
		j.run("a", func() error {
			for range 3 {
				must(t, l.Acquire(bg, a))
			}
			if err := c.Wait(bg); err != nil {
				return err
			}
			who, n := l.Holder()
			j.log("%v holds it %d times", who.Name(), n)
			for range 3 {
				l.Release(a)
			}
			return nil
		})
		must(t, l.AcquireTimeout(bg, b, 0))
		must(t, l.AcquireTimeout(bg, b, 0))
		c.NotifyAll()
		l.Release(b)
		j.want(t)
		l.Release(b)
		j.want(t, "a holds it 3 times", "a ok")
		if who, _ := l.Holder(); who != nil {
			t.Errorf("%v holds it", who)
		}
	})
}

func TestCondNeedsTheLock(t *testing.T) {
	wantPanic(t, "thread: Cond without a lock", func() { thread.NewCond(nil) })
	for name, c := range map[string]*thread.Cond{
		"Lock": thread.NewCond(new(thread.Lock)), "RLock": thread.NewCond(new(thread.RLock)),
	} {
		t.Run(name, func(t *testing.T) {
			never := func() bool { return true }
			for want, fn := range map[string]func(){
				"thread: Cond.Wait without the lock":      func() { _ = c.Wait(bg) },
				"thread: Cond.WaitFor without the lock":   func() { _ = c.WaitFor(bg, never) },
				"thread: Cond.Notify without the lock":    func() { c.Notify(1) },
				"thread: Cond.NotifyAll without the lock": c.NotifyAll,
			} {
				wantPanic(t, want, fn)
			}
			if c.Waiting() != 0 {
				t.Errorf("%d wait", c.Waiting())
			}
		})
	}
}
