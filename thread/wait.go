package thread

import (
	"context"
	"sync"
	"time"

	"github.com/eddyloop/eddy/internal/env"
)

// forever is a timeout that is never over.
const forever time.Duration = -1

// A waiter is a goroutine that waits. Until it is served it stands in a line; who
// serves it takes it out, writes v and err, and wakes it.
type waiter[T any] struct {
	v      T             // what it brings, or what it is given
	err    error         // how its wait has ended
	wake   chan struct{} // of capacity 1: waking never blocks
	timer  *time.Timer   // nil until one is needed
	queued bool          // it stands in the line

	prev, next *waiter[T]
}

// A line is waiters, the one that came first in front. The zero value is empty.
// Its owner has a lock for it, which must be held except where it says otherwise.
type line[T any] struct {
	first, last *waiter[T]
	n           int

	// Waiters that have left, to be used again. Each line has its own: a channel that
	// was made in a synctest bubble must not leave it.
	spare sync.Pool
}

// push adds a waiter, which must then be awaited.
func (l *line[T]) push(v T) *waiter[T] {
	w, _ := l.spare.Get().(*waiter[T])
	if w == nil {
		w = &waiter[T]{wake: make(chan struct{}, 1)}
	}
	w.v, w.queued = v, true
	w.prev, w.next = l.last, nil
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.n++
	return w
}

func (l *line[T]) remove(w *waiter[T]) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	w.queued = false
	l.n--
}

// pop takes the first waiter out, or returns nil. It must be woken, best after the
// lock was released.
func (l *line[T]) pop() *waiter[T] {
	w := l.first
	if w != nil {
		l.remove(w)
	}
	return w
}

// take takes up to n waiters out, gives each err, and returns them for wakeAll.
func (l *line[T]) take(n int, err error) *waiter[T] {
	var first, last *waiter[T]
	for ; n > 0 && l.first != nil; n-- {
		w := l.pop()
		w.err = err
		if last == nil {
			first = w
		} else {
			last.next = w
		}
		last = w
	}
	return first
}

// wakeOne wakes w, if it is not nil. No lock is needed.
func wakeOne[T any](w *waiter[T]) {
	if w != nil {
		w.wake <- struct{}{}
	}
}

// wakeAll wakes w and those linked to it. No lock is needed.
func wakeAll[T any](w *waiter[T]) {
	for w != nil {
		next := w.next // w may be in use again as soon as it is woken
		w.next = nil
		w.wake <- struct{}{}
		w = next
	}
}

// await waits until w is served, and returns what it was given; or until ctx is
// done or the time d is over. mu is the lock of the line, and must not be held.
//
// Whether w was served is decided under the lock, by whether it stands in the
// line, and not by what has come first here.
func (l *line[T]) await(ctx context.Context, d time.Duration, mu *sync.Mutex, w *waiter[T]) (T, error) {
	if onLoop(ctx) {
		l.refuse(mu, w)
	}
	err := w.park(ctx, d)
	if err != nil {
		mu.Lock()
		queued := w.queued
		if queued {
			l.remove(w)
			w.err = err
		}
		mu.Unlock()
		if !queued {
			<-w.wake // whoever took it out is about to
		}
	}
	return l.leave(w)
}

// onLoop reports whether whoever waits with ctx is, by that, a task or a callback of
// a loop, all of which would stand still.
func onLoop(ctx context.Context) bool { return ctx.Value(env.LoopKey) != nil }

const blocksLoop = "thread: a wait with the ctx of a loop would block all that runs there: " +
	"tasks have packages locks and queue, and executor.Do for the rest; a goroutine has a ctx of its own"

// refuse panics, unless w has been served already.
func (l *line[T]) refuse(mu *sync.Mutex, w *waiter[T]) {
	mu.Lock()
	queued := w.queued
	if queued {
		l.remove(w)
	}
	mu.Unlock()
	if queued {
		panic(blocksLoop)
	}
}

// leave returns how the wait of w has ended, and keeps w for the next one who
// waits. No lock is needed.
func (l *line[T]) leave(w *waiter[T]) (T, error) {
	v, err := w.v, w.err
	var none T
	w.v, w.err = none, nil
	l.spare.Put(w)
	return v, err
}

// park waits until w is woken, and returns nil, or until ctx is done or the time d
// is over, and returns which.
func (w *waiter[T]) park(ctx context.Context, d time.Duration) (err error) {
	done := ctx.Done()
	if done == nil && d < 0 {
		<-w.wake
		return nil
	}
	var over <-chan time.Time
	if d >= 0 {
		if w.timer == nil {
			w.timer = time.NewTimer(d)
		} else {
			w.timer.Reset(d)
		}
		over = w.timer.C
		defer w.timer.Stop()
	}
	select {
	case <-w.wake:
		return nil
	case <-done:
		return ctx.Err()
	case <-over:
		return ErrTimeout
	}
}

// awaitClosed waits until c is closed, ctx is done, or the time d is over.
func awaitClosed(ctx context.Context, d time.Duration, c chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-c:
		return nil
	default:
	}
	if d == 0 {
		return ErrTimeout
	}
	if onLoop(ctx) {
		panic(blocksLoop)
	}
	w := waiter[struct{}]{wake: c}
	return w.park(ctx, d)
}
