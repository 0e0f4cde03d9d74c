package thread_test

import (
	"context"
	"testing"
	"time"

	"github.com/eddyloop/eddy/thread"
)

// What need not wait allocates nothing, whichever of the three forms it is.
func TestNothingIsAllocatedWithoutWaiting(t *testing.T) {
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	var l thread.Lock
	var rl thread.RLock
	me := thread.NewOwner("me")
	s := thread.NewSemaphore(1)
	b := thread.NewBarrier(1, thread.BarrierConfig{})
	q := thread.NewPriority(4, func(a, b int) bool { return a < b })
	var sq thread.SimpleQueue[int]
	for name, fn := range map[string]func(){
		"Lock":      func() { _ = l.Acquire(ctx); l.Release(); _ = l.AcquireTimeout(ctx, time.Hour); l.Release() },
		"RLock":     func() { _ = rl.Acquire(ctx, me); rl.TryAcquire(me); rl.Release(me); rl.Release(me) },
		"Semaphore": func() { _ = s.Acquire(ctx); s.TryAcquire(); s.Release() },
		"Barrier":   func() { _, _ = b.WaitTimeout(ctx, time.Hour) },
		"Queue": func() {
			_ = q.PutTimeout(ctx, 1, time.Hour)
			_ = q.TryPut(0)
			_, _ = q.Get(ctx)
			_, _ = q.GetTimeout(ctx, time.Hour)
			_, _ = q.GetTimeout(ctx, 0)
			q.Done()
			q.Done()
			_ = q.Join(ctx)
		},
		"SimpleQueue": func() { sq.Put(1); _, _ = sq.Get(ctx); _, _ = sq.TryGet() },
	} {
		if n := testing.AllocsPerRun(200, fn); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
