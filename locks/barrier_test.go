package locks_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/eddyloop/eddy/locks"
	"github.com/eddyloop/eddy/task"
)

// enter starts a task that waits at b and logs its index or its error.
func (j *journal) enter(ctx context.Context, name string, b *locks.Barrier) *task.Task[struct{}] {
	return task.Go(ctx, func(ctx context.Context) error {
		i, err := b.Wait(ctx)
		if err != nil {
			j.Log("%s %s", name, outcome(err))
			return nil
		}
		j.Log("%s %d", name, i)
		return nil
	})
}

func TestEdge097_BarrierIndexIsTheOrderOfArrival(t *testing.T) {
	run(t, func(ctx context.Context) {
		b := locks.NewBarrier(3)
		var j journal
		if b.Parties() != 3 || b.Waiting() != 0 || b.Broken() {
			t.Errorf("new: %d parties, %d wait, broken %v", b.Parties(), b.Waiting(), b.Broken())
		}
		for round := range 2 { // it can be used again
			for i, name := range []string{"a", "b", "c"} {
				if b.Waiting() != i {
					t.Errorf("round %d: %d wait, want %d", round, b.Waiting(), i)
				}
				j.enter(ctx, name, b)
				idle(t, ctx)
			}
			j.Want(t, "c 2", "a 0", "b 1")
		}
	})
}

func TestEdge097_BarrierOfOne(t *testing.T) {
	run(t, func(ctx context.Context) {
		b := locks.NewBarrier(1)
		for range 3 {
			if i, err := b.Wait(ctx); i != 0 || err != nil {
				t.Errorf("got %d, %v", i, err)
			}
		}
		must(t, b.Reset(ctx))
		if b.Waiting() != 0 || b.Broken() {
			t.Errorf("%d wait, broken %v", b.Waiting(), b.Broken())
		}
	})
}

func TestEdge097_NewcomersWaitWhileItDrains(t *testing.T) {
	run(t, func(ctx context.Context) {
		const n, rounds = 5, 4
		b := locks.NewBarrier(n)
		arrived, left := 0, 0
		var ts []*task.Task[struct{}]
		for range n {
			ts = append(ts, task.Go(ctx, func(ctx context.Context) error {
				for round := range rounds {
					arrived++
					if _, err := b.Wait(ctx); err != nil {
						return err
					}
					left++
					// Nobody leaves before all have come, and a fast one does not take
					// a slow one's place in the round before.
					if arrived < (round+1)*n || left <= round*n || left > (round+1)*n {
						return fmt.Errorf("round %d: %d arrived, %d left", round, arrived, left)
					}
				}
				return nil
			}))
		}
		for _, tk := range ts {
			_, err := tk.Await(ctx)
			must(t, err)
		}
		if b.Waiting() != 0 {
			t.Errorf("%d wait", b.Waiting())
		}
	})
	run(t, func(ctx context.Context) {
		b := locks.NewBarrier(2)
		var j journal
		j.enter(ctx, "a", b)
		j.enter(ctx, "b", b)
		yield(ctx, 1) // both are in, b has returned, a is woken: it drains
		if b.Waiting() != 0 {
			t.Errorf("%d wait while it drains, want 0", b.Waiting())
		}
		j.enter(ctx, "c", b)
		j.enter(ctx, "d", b)
		idle(t, ctx)
		j.Want(t, "b 1", "a 0", "d 1", "c 0")
	})
}

func TestEdge097_ResetBreaksOnlyThoseWhoWait(t *testing.T) {
	run(t, func(ctx context.Context) {
		b := locks.NewBarrier(3)
		var j journal
		j.enter(ctx, "a", b)
		j.enter(ctx, "b", b)
		idle(t, ctx)
		must(t, b.Reset(ctx))
		if b.Waiting() != 0 || b.Broken() {
			t.Errorf("%d wait, broken %v", b.Waiting(), b.Broken())
		}
		// These come while those leave.
		for _, name := range []string{"c", "d", "e"} {
			j.enter(ctx, name, b)
		}
		must(t, b.Reset(ctx)) // again, at that moment: changes nothing
		idle(t, ctx)
		j.Want(t, "a locks: barrier broken", "b locks: barrier broken", "e 2", "c 0", "d 1")
		must(t, b.Reset(ctx))
	})
}

func TestEdge097_ResetWhileItDrains(t *testing.T) {
	run(t, func(ctx context.Context) {
		b := locks.NewBarrier(3)
		var j journal
		for _, name := range []string{"a", "b", "c"} {
			j.enter(ctx, name, b)
		}
		yield(ctx, 1) // c is out, a and b are on their way
		must(t, b.Reset(ctx))
		idle(t, ctx)
		// As in asyncio: those that have not left are broken, too.
		j.Want(t, "c 2", "a locks: barrier broken", "b locks: barrier broken")
	})
}

func TestEdge097_AbortBreaksAllUntilReset(t *testing.T) {
	run(t, func(ctx context.Context) {
		b := locks.NewBarrier(3)
		var j journal
		j.enter(ctx, "a", b)
		j.enter(ctx, "b", b)
		idle(t, ctx)
		must(t, b.Abort(ctx))
		j.enter(ctx, "c", b)
		idle(t, ctx)
		if !b.Broken() || b.Waiting() != 0 {
			t.Errorf("broken %v, %d wait", b.Broken(), b.Waiting())
		}
		j.enter(ctx, "d", b)
		idle(t, ctx)
		j.Want(t, "a locks: barrier broken", "b locks: barrier broken", "c locks: barrier broken", "d locks: barrier broken")
		must(t, b.Reset(ctx))
		if b.Broken() {
			t.Error("broken after Reset")
		}
		for _, name := range []string{"e", "f", "g"} {
			j.enter(ctx, name, b)
		}
		idle(t, ctx)
		j.Want(t, "g 2", "e 0", "f 1")
	})
}

func TestEdge097_AbortThenResetWhileTheyLeave(t *testing.T) {
	run(t, func(ctx context.Context) {
		b := locks.NewBarrier(2)
		var j journal
		j.enter(ctx, "a", b)
		idle(t, ctx)
		must(t, b.Abort(ctx))
		must(t, b.Reset(ctx))
		j.enter(ctx, "b", b)
		j.enter(ctx, "c", b)
		idle(t, ctx)
		j.Want(t, "a locks: barrier broken", "c 1", "b 0")
	})
}

func TestEdge097_CanceledWaiterLeavesTheOthersWaiting(t *testing.T) {
	run(t, func(ctx context.Context) {
		b := locks.NewBarrier(3)
		var j journal
		a := j.enter(ctx, "a", b)
		j.enter(ctx, "b", b)
		idle(t, ctx)
		a.Cancel(errBoom)
		idle(t, ctx)
		j.Want(t, "a Canceled(boom)")
		if b.Waiting() != 1 || b.Broken() {
			t.Errorf("%d wait, broken %v; want one, unbroken", b.Waiting(), b.Broken())
		}
		j.enter(ctx, "c", b)
		idle(t, ctx)
		d := j.enter(ctx, "d", b)
		yield(ctx, 1)
		d.Cancel(errBoom) // d has left
		idle(t, ctx)
		// Those who remain number from what is there: c is the third that came and
		// the second that waits.
		j.Want(t, "d 2", "b 1", "c 1")
	})
}

// One that is canceled when the barrier is full already: the others go on, and
// the barrier can be used again.
func TestEdge097_CancelWhileItDrains(t *testing.T) {
	run(t, func(ctx context.Context) {
		b := locks.NewBarrier(3)
		var j journal
		a := j.enter(ctx, "a", b)
		j.enter(ctx, "b", b)
		j.enter(ctx, "c", b)
		yield(ctx, 1)
		a.Cancel(errBoom)
		idle(t, ctx)
		j.Want(t, "c 2", "a Canceled(boom)", "b 1")
		for _, name := range []string{"d", "e", "f"} {
			j.enter(ctx, name, b)
		}
		idle(t, ctx)
		j.Want(t, "f 2", "d 0", "e 1")
	})
}

func TestBarrierTimeout(t *testing.T) {
	run(t, func(ctx context.Context) {
		b := locks.NewBarrier(2)
		sub, cancel := task.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := b.Wait(sub); err != task.ErrTimeout || b.Waiting() != 0 {
			t.Errorf("%v, %d wait", err, b.Waiting())
		}
		err := task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error {
			_, err := b.Wait(ctx)
			return err
		})
		if err != task.ErrTimeout || b.Waiting() != 0 {
			t.Errorf("%v, %d wait", err, b.Waiting())
		}
		var j journal
		j.enter(ctx, "a", b)
		j.enter(ctx, "b", b)
		idle(t, ctx)
		j.Want(t, "b 1", "a 0")
	})
}

func TestBarrierMisuse(t *testing.T) {
	for _, n := range []int{0, -1} {
		wantPanic(t, "locks: barrier for fewer than one task", func() { locks.NewBarrier(n) })
	}
}
