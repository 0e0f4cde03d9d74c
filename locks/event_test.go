package locks_test

import (
	"context"
	"testing"

	"github.com/eddyloop/eddy/locks"
)

func TestEvent(t *testing.T) {
	run(t, func(ctx context.Context) {
		var e locks.Event
		var j journal
		if e.IsSet() {
			t.Error("a new event is set")
		}
		j.Logs(ctx, "a", e.Wait)
		j.Logs(ctx, "b", e.Wait)
		yield(ctx, 1)
		j.Logs(ctx, "c", e.Wait) // begins after Set: does not wait
		e.Set()
		if !e.IsSet() || e.Waiting() != 2 {
			t.Errorf("set %v, %d wait", e.IsSet(), e.Waiting())
		}
		yield(ctx, 1)
		j.Want(t, "c ok", "a ok", "b ok") // asyncio: EventTests.test_wait
		must(t, e.Wait(ctx))
		e.Clear()
		if e.IsSet() {
			t.Error("Clear has not cleared")
		}
	})
}

func TestEdge091_SetWakesAllThoughClearFollows(t *testing.T) {
	run(t, func(ctx context.Context) {
		var e locks.Event
		var j journal
		for _, name := range []string{"a", "b", "c"} {
			j.Logs(ctx, name, e.Wait)
		}
		yield(ctx, 1)
		e.Set()
		e.Clear()
		late := j.Logs(ctx, "late", e.Wait)
		idle(t, ctx)
		j.Want(t, "a ok", "b ok", "c ok")
		if e.Waiting() != 1 {
			t.Errorf("%d wait, want only the one that came after Clear", e.Waiting())
		}
		late.Cancel(errBoom)
		idle(t, ctx)
		j.Want(t, "late Canceled(boom)")
	})
}

func TestEdge091_SetAgainBeforeTheWaiterRuns(t *testing.T) {
	run(t, func(ctx context.Context) {
		var e locks.Event
		var j journal
		j.Logs(ctx, "a", e.Wait)
		yield(ctx, 1)
		e.Set()
		e.Clear()
		e.Set()
		e.Set()
		if e.Waiting() != 1 {
			t.Errorf("%d wait, want 1 that is woken", e.Waiting())
		}
		yield(ctx, 1)
		j.Want(t, "a ok")
		if e.Waiting() != 0 {
			t.Errorf("%d wait, want 0", e.Waiting())
		}
	})
}

func TestEdge091_CanceledWaitersAreDropped(t *testing.T) {
	run(t, func(ctx context.Context) {
		var e locks.Event
		var j journal
		a := j.Logs(ctx, "a", e.Wait)
		b := j.Logs(ctx, "b", e.Wait)
		yield(ctx, 1)
		a.Cancel(errBoom)
		idle(t, ctx)
		if e.Waiting() != 1 {
			t.Errorf("%d wait, want 1", e.Waiting())
		}
		e.Set()
		b.Cancel(errBoom) // too late for the wait, not for the task
		idle(t, ctx)
		j.Want(t, "a Canceled(boom)", "b Canceled(boom)")
		if e.Waiting() != 0 {
			t.Errorf("%d wait, want 0", e.Waiting())
		}
	})
}
