package queue

import (
	"context"
	"sync"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/park"
)

// A bridgeWaiter is a place in one of a Bridge's lines.
//
//	waiting --served--> served, and woken soon
//	waiting --leaves: canceled, its context has ended--> gone
//
// Both are decided under the bridge's lock, so exactly one of them happens.
type bridgeWaiter[T any] struct {
	line       *bridgeLine[T] // nil when served or gone
	prev, next *bridgeWaiter[T]
	v          T     // of a putter its item; of a getter what it was handed
	err        error // ErrShutDown
	served     bool

	mu    *sync.Mutex   // the bridge's
	ready chan struct{} // of a goroutine: told once
	task  *taskWaiter[T]
}

// A bridgeLine is those who wait for the same, in the order they came.
type bridgeLine[T any] struct {
	first, last *bridgeWaiter[T]
	n           int
}

func (q *bridgeLine[T]) push(w *bridgeWaiter[T]) {
	w.line, w.prev = q, q.last
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	q.n++
}

func (q *bridgeLine[T]) remove(w *bridgeWaiter[T]) {
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.line, w.prev, w.next = nil, nil, nil
	q.n--
}

// serve ends the wait of w, under the lock. The caller must wake w without it.
func (w *bridgeWaiter[T]) serve(err error) {
	w.line.remove(w)
	w.served, w.err = true, err
}

// serveAll serves a whole line and returns it, linked by next, for wakeServed.
func (q *bridgeLine[T]) serveAll(err error) *bridgeWaiter[T] {
	first := q.first
	for w := first; w != nil; w = w.next {
		w.line, w.prev = nil, nil
		w.served, w.err = true, err
	}
	*q = bridgeLine[T]{}
	return first
}

// wakeServed wakes what serveAll has returned.
func wakeServed[T any](w *bridgeWaiter[T]) {
	for w != nil {
		next := w.next // w may be gone once it is woken
		w.wake()
		w = next
	}
}

func (w *bridgeWaiter[T]) wake() {
	if w.task == nil {
		close(w.ready)
		return
	}
	_ = w.task.b.l.QueueThreadsafe(w.task) // a closed loop has no tasks
}

// leave gives the place up, and reports false if w was served.
func (w *bridgeWaiter[T]) leave() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.line != nil {
		w.line.remove(w)
	}
	return !w.served
}

func (b *Bridge[T]) newGoroutineWaiter(line *bridgeLine[T]) *bridgeWaiter[T] {
	w := &bridgeWaiter[T]{mu: &b.mu, ready: make(chan struct{})}
	line.push(w)
	return w
}

// block waits on a goroutine. ended is nil, or closed when the loop is.
func (w *bridgeWaiter[T]) block(ctx context.Context, ended <-chan struct{}) error {
	select {
	case <-w.ready:
		return w.err
	case <-ctx.Done():
		if w.leave() {
			return ctx.Err()
		}
	case <-ended:
		if w.leave() {
			return ErrShutDown
		}
	}
	return w.err
}

// A taskWaiter is the place of a task. It is the future that the task awaits, and
// what is posted to its loop when it was served.
type taskWaiter[T any] struct {
	bridgeWaiter[T]
	b      *Bridge[T]
	fut    future.Future[struct{}]
	getter bool
	held   bool // by AddOutside; on the loop
	what   string
}

func (b *Bridge[T]) newTaskWaiter(line *bridgeLine[T], what string) *taskWaiter[T] {
	w := &taskWaiter[T]{b: b, getter: line == &b.getters, what: what}
	w.mu, w.task = &b.mu, w
	future.Init(&w.fut, b.l, w)
	w.held = true
	b.l.AddOutside(1)
	line.push(&w.bridgeWaiter)
	return w
}

// A postponer is a task that can take a cancellation back for its next wait.
type postponer interface{ Postpone(err error) }

// await suspends the task until w is served. If its task was canceled too late for
// that, the cancellation is kept.
func (w *taskWaiter[T]) await(ctx context.Context, p park.Parker) error {
	returned := false
	defer func() {
		if !returned {
			w.unwound()
		}
	}()
	_, err := w.fut.Await(ctx)
	returned = true
	switch {
	case err == nil:
		return w.err
	case w.leave() || w.err != nil:
		return err
	}
	p.(postponer).Postpone(err)
	return nil
}

// unwound ends the wait of a task that will never return from it. An item that it
// was handed at the last moment goes back, ahead of the others.
func (w *taskWaiter[T]) unwound() {
	w.home()
	if !w.leave() && w.getter && w.err == nil {
		w.b.giveBack(w.v)
	}
}

func (w *taskWaiter[T]) home() {
	if w.held {
		w.held = false
		w.b.l.AddOutside(-1)
	}
}

// Run is posted when w was served.
func (w *taskWaiter[T]) Run() {
	w.home()
	future.Settle(&w.fut, struct{}{}, nil)
}

// CancelFuture implements future.Canceler. Who was served is not canceled any more.
func (w *taskWaiter[T]) CancelFuture(cause error) bool {
	if !w.leave() {
		return false
	}
	w.home()
	return future.SettleCanceled(&w.fut, cause)
}

// String says what is waited for.
func (w *taskWaiter[T]) String() string { return w.what }
