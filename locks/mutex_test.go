package locks_test

import (
	"context"
	"testing"
	"time"

	"github.com/eddyloop/eddy/locks"
	"github.com/eddyloop/eddy/task"
)

// lockUnlock is a body that takes m and frees it again.
func lockUnlock(m *locks.Mutex) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		if err := m.Lock(ctx); err != nil {
			return err
		}
		m.Unlock()
		return nil
	}
}

func TestMutexZeroValue(t *testing.T) {
	run(t, func(ctx context.Context) {
		var m locks.Mutex
		if m.Locked() || m.Waiting() != 0 {
			t.Error("a new mutex is locked or waited for")
		}
		must(t, m.Lock(ctx))
		if !m.Locked() || m.TryLock() {
			t.Error("Lock has not taken the lock")
		}
		m.Unlock()
		if m.Locked() || !m.TryLock() {
			t.Error("Unlock has not freed the lock")
		}
		m.Unlock()
	})
}

func TestEdge089_MutexIsFirstComeFirstServed(t *testing.T) {
	run(t, func(ctx context.Context) {
		var m locks.Mutex
		var j journal
		must(t, m.Lock(ctx))
		for _, name := range []string{"a", "b", "c"} {
			j.Logs(ctx, name, lockUnlock(&m))
		}
		yield(ctx, 1)
		if m.Waiting() != 3 {
			t.Errorf("%d wait, want 3", m.Waiting())
		}
		m.Unlock()
		idle(t, ctx)
		j.Want(t, "a ok", "b ok", "c ok")
	})
}

func TestEdge089_NewcomerDoesNotOvertakeAWokenWaiter(t *testing.T) {
	run(t, func(ctx context.Context) {
		var m locks.Mutex
		var j journal
		must(t, m.Lock(ctx))
		j.Logs(ctx, "woken", lockUnlock(&m))
		yield(ctx, 1)
		m.Unlock()
		// The lock is free and the waiter has not run: this is the gap.
		if m.Locked() {
			t.Error("the lock is handed over; asyncio's is free until the waiter runs")
		}
		if m.TryLock() {
			t.Error("TryLock has overtaken a woken waiter")
		}
		must(t, m.Lock(ctx))
		j.Log("newcomer ok")
		m.Unlock()
		j.Want(t, "woken ok", "newcomer ok")
	})
}

func TestEdge089_NewcomerOvertakesCanceledWaiters(t *testing.T) {
	run(t, func(ctx context.Context) {
		var m locks.Mutex
		var j journal
		must(t, m.Lock(ctx))
		a := j.Logs(ctx, "a", lockUnlock(&m))
		b := j.Logs(ctx, "b", lockUnlock(&m))
		yield(ctx, 1)
		a.Cancel(errBoom)
		b.Cancel(errBoom)
		m.Unlock()
		must(t, m.Lock(ctx)) // at once: nobody waits but those two
		j.Log("newcomer ok")
		idle(t, ctx)
		m.Unlock()
		idle(t, ctx)
		j.Want(t, "newcomer ok", "a Canceled(boom)", "b Canceled(boom)")
	})
}

// asyncio's own tests of cancellations that meet a release.
func TestEdge089_CancelMeetsUnlock(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(m *locks.Mutex, a, b *task.Task[struct{}])
	}{
		{"cancel, unlock", func(m *locks.Mutex, a, b *task.Task[struct{}]) { a.Cancel(errBoom); m.Unlock() }},
		{"unlock, cancel", func(m *locks.Mutex, a, b *task.Task[struct{}]) { m.Unlock(); a.Cancel(errBoom) }},
		{"unlock, cancel twice", func(m *locks.Mutex, a, b *task.Task[struct{}]) {
			m.Unlock()
			a.Cancel(errBoom)
			a.Cancel(errBoom)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) {
				var m locks.Mutex
				var j journal
				must(t, m.Lock(ctx))
				inside := 0
				body := func(ctx context.Context) error {
					if err := m.Lock(ctx); err != nil {
						return err
					}
					defer m.Unlock()
					if inside++; inside != 1 {
						t.Errorf("%d tasks hold the lock", inside)
					}
					defer func() { inside-- }()
					return task.Sleep(ctx, time.Second)
				}
				a := j.Logs(ctx, "a", body)
				b := j.Logs(ctx, "b", body)
				yield(ctx, 1)
				tt.do(&m, a, b)
				j.Logs(ctx, "c", body)
				must(t, task.Sleep(ctx, time.Minute))
				j.Want(t, "a Canceled(boom)", "b ok", "c ok")
				if m.Locked() || m.Waiting() != 0 {
					t.Errorf("at the end: locked %v, %d wait", m.Locked(), m.Waiting())
				}
			})
		})
	}
}

func TestEdge090_UnlockOfAnUnlockedMutex(t *testing.T) {
	var m locks.Mutex
	wantPanic(t, "locks: Unlock of an unlocked Mutex", m.Unlock)
	run(t, func(ctx context.Context) {
		must(t, m.Lock(ctx))
		m.Unlock()
		wantPanic(t, "locks: Unlock of an unlocked Mutex", m.Unlock)
		// Also while a waiter is woken and has not run.
		must(t, m.Lock(ctx))
		w := task.Go(ctx, lockUnlock(&m))
		yield(ctx, 1)
		m.Unlock()
		wantPanic(t, "locks: Unlock of an unlocked Mutex", m.Unlock)
		_, err := w.Await(ctx)
		must(t, err)
	})
}

func TestEdge090_AnyTaskMayUnlock(t *testing.T) {
	run(t, func(ctx context.Context) {
		var m locks.Mutex
		must(t, m.Lock(ctx))
		task.Go(ctx, func(context.Context) error { m.Unlock(); return nil })
		must(t, m.Lock(ctx))
		m.Unlock()
	})
}

func TestMutexLockDoesNotSuspendWhenFree(t *testing.T) {
	run(t, func(ctx context.Context) {
		var m locks.Mutex
		var j journal
		task.Go(ctx, func(context.Context) error { j.Log("other"); return nil })
		must(t, m.Lock(ctx))
		j.Log("locked")
		m.Unlock()
		yield(ctx, 1)
		j.Want(t, "locked", "other")
	})
}

// Lock takes a free lock even if the scope of ctx has ended or the task was
// canceled, as asyncio's does: only a wait is interrupted.
func TestMutexFreeLockAfterTheEndOfTheScope(t *testing.T) {
	run(t, func(ctx context.Context) {
		var m locks.Mutex
		sub, cancel := task.WithTimeout(ctx, time.Hour)
		cancel()
		must(t, m.Lock(sub))
		if err := m.Lock(sub); outcome(err) != "Canceled(context canceled)" {
			t.Errorf("Lock of a taken lock after the end of the scope: %v", err)
		}
		m.Unlock()
		if m.Locked() || m.Waiting() != 0 {
			t.Errorf("locked %v, %d wait", m.Locked(), m.Waiting())
		}
	})
}
