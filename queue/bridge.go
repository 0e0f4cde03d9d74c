package queue

import (
	"context"
	"sync"

	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

// A Bridge is a queue between the tasks of one loop and goroutines, first in first
// out. Tasks use Put, Get and Join, which suspend them; goroutines PutThreadsafe,
// GetThreadsafe and JoinThreadsafe, which block them, and must not be called on a
// loop. All other methods may be called from any goroutine. Make it with
// [NewBridge]. (janus: Queue)
//
// Those who wait, tasks or goroutines, are served in the order they came, by whoever
// makes it possible: an item is handed to the one who waits for it, and a wait that
// is over is one that was served, whatever happens to its task or context at the same
// time. So neither items nor turns are lost, and nobody overtakes.
//
// While a task waits, a virtual clock stands still, as if Hold had been called.
//
// When the loop is closed, puts fail with [ErrShutDown], and so do gets when the
// bridge is empty: nobody is left to answer.
type Bridge[T any] struct {
	l   *loop.Loop
	max int // 0: no bound

	// Somebody waits for an item only while there is none, and for room only while
	// there is no room.
	mu         sync.Mutex
	items      fifo[T]
	getters    bridgeLine[T]
	putters    bridgeLine[T]
	joiners    bridgeLine[T]
	unfinished int
	shut       bool
}

// NewBridge returns an empty bridge between the tasks of l and goroutines. A max of
// zero or less means no bound. It may be called from any goroutine.
func NewBridge[T any](l *loop.Loop, max int) *Bridge[T] {
	return &Bridge[T]{l: l, max: max}
}

// Put suspends the task until there is room and puts v. It returns [ErrShutDown], a
// cancellation, or the end of a scope; then v was not put.
//
// Cancel safety: no error means that v was put. If that happened at the same time as
// the task was canceled, the cancellation is thrown by the next call that waits.
func (b *Bridge[T]) Put(ctx context.Context, v T) error {
	p := b.enter(ctx, "queue: Bridge.Put")
	b.mu.Lock()
	if !b.mustWaitToPut() {
		return b.putUnlock(v)
	}
	w := b.newTaskWaiter(&b.putters, "room in a bridge")
	w.v = v
	b.mu.Unlock()
	return w.await(ctx, p)
}

// PutThreadsafe blocks the goroutine until there is room and puts v. It returns
// [ErrShutDown], or ctx.Err() when ctx has ended while it waits; then v was not put.
// It panics if ctx belongs to a loop, which it would block.
func (b *Bridge[T]) PutThreadsafe(ctx context.Context, v T) error {
	checkPlain(ctx, "queue: Bridge.PutThreadsafe")
	b.mu.Lock()
	if !b.mustWaitToPut() {
		return b.putUnlock(v)
	}
	w := b.newGoroutineWaiter(&b.putters)
	w.v = v
	b.mu.Unlock()
	return w.block(ctx, b.l.Ended())
}

// TryPut puts v if there is room. It returns [ErrFull] or [ErrShutDown].
func (b *Bridge[T]) TryPut(v T) error {
	b.mu.Lock()
	if b.mustWaitToPut() {
		b.mu.Unlock()
		return ErrFull
	}
	return b.putUnlock(v)
}

// Get suspends the task until there is an item and takes it. It returns
// [ErrShutDown] when the bridge is shut down and empty, a cancellation, or the end of
// a scope; then no item was taken.
//
// Cancel safety: an item is never lost. If it came at the same time as the task was
// canceled, it is returned without an error, and the cancellation is thrown by the
// next call that waits.
func (b *Bridge[T]) Get(ctx context.Context) (T, error) {
	p := b.enter(ctx, "queue: Bridge.Get")
	b.mu.Lock()
	if !b.mustWaitToGet() {
		return b.getUnlock()
	}
	w := b.newTaskWaiter(&b.getters, "an item of a bridge")
	b.mu.Unlock()
	err := w.await(ctx, p)
	return w.v, err
}

// GetThreadsafe blocks the goroutine until there is an item and takes it. It returns
// [ErrShutDown] when the bridge is shut down and empty, or ctx.Err() when ctx has
// ended while it waits; then no item was taken. It panics if ctx belongs to a loop,
// which it would block.
func (b *Bridge[T]) GetThreadsafe(ctx context.Context) (T, error) {
	checkPlain(ctx, "queue: Bridge.GetThreadsafe")
	b.mu.Lock()
	if !b.mustWaitToGet() {
		return b.getUnlock()
	}
	w := b.newGoroutineWaiter(&b.getters)
	b.mu.Unlock()
	err := w.block(ctx, b.l.Ended())
	return w.v, err
}

// TryGet takes an item if there is one. It returns [ErrEmpty] or [ErrShutDown].
func (b *Bridge[T]) TryGet() (T, error) {
	b.mu.Lock()
	if b.mustWaitToGet() {
		b.mu.Unlock()
		var none T
		return none, ErrEmpty
	}
	return b.getUnlock()
}

// Done says that an item that was taken has been dealt with. It panics if there were
// more calls of it than items.
func (b *Bridge[T]) Done() {
	b.mu.Lock()
	if b.unfinished <= 0 {
		b.mu.Unlock()
		panic("queue: Done was called more often than items were put")
	}
	b.unfinished--
	var served *bridgeWaiter[T]
	if b.unfinished == 0 {
		served = b.joiners.serveAll(nil)
	}
	b.mu.Unlock()
	wakeServed(served)
}

// Join suspends the task until every item that was put has been dealt with. Its error
// is a cancellation or the end of a scope. The end of the loop, or ShutDown without
// now, leaves it waiting: goroutines may still call Done.
//
// Cancel safety: nothing can be lost.
func (b *Bridge[T]) Join(ctx context.Context) error {
	p := b.enter(ctx, "queue: Bridge.Join")
	b.mu.Lock()
	if b.unfinished == 0 {
		b.mu.Unlock()
		return nil
	}
	w := b.newTaskWaiter(&b.joiners, "the items of a bridge to be dealt with")
	b.mu.Unlock()
	return w.await(ctx, p)
}

// JoinThreadsafe is Join for a goroutine, which it blocks. It returns ctx.Err() when
// ctx has ended while it waits. It panics if ctx belongs to a loop.
func (b *Bridge[T]) JoinThreadsafe(ctx context.Context) error {
	checkPlain(ctx, "queue: Bridge.JoinThreadsafe")
	b.mu.Lock()
	if b.unfinished == 0 {
		b.mu.Unlock()
		return nil
	}
	w := b.newGoroutineWaiter(&b.joiners)
	b.mu.Unlock()
	return w.block(ctx, nil)
}

// ShutDown makes puts fail, and gets too once the bridge is empty, and wakes all who
// wait for either. With now, the items that are left are dropped and count as dealt
// with. It may be called again.
func (b *Bridge[T]) ShutDown(now bool) {
	b.mu.Lock()
	b.shut = true
	getters, putters := b.getters.serveAll(ErrShutDown), b.putters.serveAll(ErrShutDown)
	var joiners *bridgeWaiter[T]
	if now {
		for b.items.len() > 0 {
			b.items.get()
			if b.unfinished > 0 {
				b.unfinished--
			}
		}
		if b.unfinished == 0 {
			joiners = b.joiners.serveAll(nil)
		}
	}
	b.mu.Unlock()
	wakeServed(joiners)
	wakeServed(getters)
	wakeServed(putters)
}

// Len returns the number of items.
func (b *Bridge[T]) Len() int { return b.Stats().Len }

// Max returns the bound, or 0 if there is none.
func (b *Bridge[T]) Max() int { return max(b.max, 0) }

// Empty reports whether there is no item.
func (b *Bridge[T]) Empty() bool { return b.Len() == 0 }

// Full reports whether Put would wait: never without a bound.
func (b *Bridge[T]) Full() bool { return b.max > 0 && b.Len() >= b.max }

// Unfinished returns how many items were put and not reported as done.
func (b *Bridge[T]) Unfinished() int { return b.Stats().Unfinished }

// Stats returns what the bridge looks like now. Getters and Putters count the tasks
// and the goroutines that wait.
func (b *Bridge[T]) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{b.items.len(), b.Max(), b.unfinished, b.getters.n, b.putters.n, b.shut}
}

// enter returns the task that is about to wait.
func (b *Bridge[T]) enter(ctx context.Context, what string) park.Parker {
	p := park.From(ctx, what)
	if p.Loop() != b.l {
		panic(what + " on a second loop: there only TryPut and TryGet, or the Threadsafe methods in a function of executor.Do")
	}
	return p
}

// checkPlain panics if ctx belongs to a loop.
func checkPlain(ctx context.Context, what string) {
	if ctx.Value(env.LoopKey) != nil {
		panic(what + " with a ctx of a loop, which it would block: a goroutine has a ctx of its own; a task of another loop uses TryPut and TryGet, or calls it in executor.Do")
	}
}

// mustWaitToPut reports whether there is no room. A bridge that is shut down lets
// everybody in, to get the error.
func (b *Bridge[T]) mustWaitToPut() bool {
	return b.max > 0 && b.items.len() >= b.max && !b.isShut()
}

func (b *Bridge[T]) mustWaitToGet() bool { return b.items.len() == 0 && !b.isShut() }

// isShut also notices the end of the loop.
func (b *Bridge[T]) isShut() bool {
	if !b.shut {
		select {
		case <-b.l.Ended():
			b.shut = true // those who wait see the end themselves
		default:
		}
	}
	return b.shut
}

// putUnlock puts v, for which there is room: to the first who waits, or in the queue.
func (b *Bridge[T]) putUnlock(v T) error {
	if b.isShut() {
		b.mu.Unlock()
		return ErrShutDown
	}
	b.unfinished++
	w := b.getters.first
	if w == nil {
		b.items.put(v)
		b.mu.Unlock()
		return nil
	}
	w.v = v
	w.serve(nil)
	b.mu.Unlock()
	w.wake()
	return nil
}

// getUnlock takes an item, if there is one, and lets the first in who waits for room.
func (b *Bridge[T]) getUnlock() (T, error) {
	if b.items.len() == 0 {
		b.mu.Unlock()
		var none T
		return none, ErrShutDown
	}
	v := b.items.get()
	w := b.putters.first
	if w == nil {
		b.mu.Unlock()
		return v, nil
	}
	b.items.put(w.v)
	b.unfinished++
	w.serve(nil)
	b.mu.Unlock()
	w.wake()
	return v, nil
}

// giveBack puts an item first that was handed to a task which was unwound.
func (b *Bridge[T]) giveBack(v T) {
	b.mu.Lock()
	w := b.getters.first
	if w == nil {
		b.items.unget(v)
		b.mu.Unlock()
		return
	}
	w.v = v
	w.serve(nil)
	b.mu.Unlock()
	w.wake()
}

// unget undoes a get.
func (f *fifo[T]) unget(v T) {
	rest := f.all()
	*f = fifo[T]{}
	f.put(v)
	for _, v := range rest {
		f.put(v)
	}
}
