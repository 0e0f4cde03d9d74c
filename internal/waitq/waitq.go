// Package waitq is the queue of tasks that wait for a lock, a permit or an item:
// the hard part of every such thing, written once.
package waitq

import (
	"context"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

// A Queue holds waiters in the order they came. The zero value is empty. It
// belongs to the loop of its first waiter.
//
// A waiter that was woken, or whose task was canceled, stays in the queue until
// its task runs and removes it; so what the queue shows in the meantime is what
// asyncio's shows.
type Queue struct {
	loop        *loop.Loop
	first, last *Waiter
	pending     *Waiter // all before it are woken or canceled; nil: all are
	n           int
}

// A Waiter is a task's place in a Queue.
type Waiter struct {
	f          future.Future[struct{}]
	q          *Queue
	prev, next *Waiter
	queued     bool
	what       string
}

// CancelFuture ends the wait. It is for package future.
func (w *Waiter) CancelFuture(cause error) bool { return future.SettleCanceled(&w.f, cause) }

// String says what is waited for.
func (w *Waiter) String() string { return w.what }

// Push adds a waiter for the task of ctx, which must then call Await. what
// begins the message of the panic on misuse.
func (q *Queue) Push(ctx context.Context, what string) *Waiter {
	l := q.Bind(ctx, what)
	w := &Waiter{q: q, prev: q.last, queued: true, what: what}
	future.Init(&w.f, l, w)
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	if q.pending == nil {
		q.pending = w
	}
	q.n++
	return w
}

// Bind makes the loop of ctx the queue's, for good, and returns it. It panics if
// the queue has another; what begins the message. Push calls it; who has several
// queues binds one of them on behalf of all.
func (q *Queue) Bind(ctx context.Context, what string) *loop.Loop {
	l := park.From(ctx, what).Loop()
	if q.loop == nil {
		q.loop = l
	} else if q.loop != l {
		panic(what + " on a second loop")
	}
	return l
}

// Await suspends the task until the waiter is woken. Its error is a cancellation
// or the end of a scope; then Woken tells whether a wake-up came all the same,
// which must be passed on. If it panics, because a task cannot wait here or is
// unwound, the waiter is removed: nobody would take its turn.
func (w *Waiter) Await(ctx context.Context) error {
	returned := false
	defer func() {
		if !returned {
			w.Remove()
		}
	}()
	_, err := w.f.Await(ctx)
	returned = true
	return err
}

// Remove takes the waiter out of its queue; again does nothing.
func (w *Waiter) Remove() {
	if !w.queued {
		return
	}
	w.queued = false
	q := w.q
	if q.pending == w {
		q.pending = w.next
	}
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
	w.prev, w.next = nil, nil
	q.n--
}

// Wake wakes the waiter and reports whether it did: false if it was woken or
// canceled before.
func (w *Waiter) Wake() bool { return future.Settle(&w.f, struct{}{}, nil) }

// Woken reports whether the waiter was woken.
func (w *Waiter) Woken() bool { return w.f.Done() && !w.f.Canceled() }

// Canceled reports whether the waiter's task was canceled before it was woken.
func (w *Waiter) Canceled() bool { return w.f.Canceled() }

// First returns the waiter that came first, woken or not, or nil.
func (q *Queue) First() *Waiter { return q.first }

// Len returns how many waiters there are, woken ones and canceled ones included.
func (q *Queue) Len() int { return q.n }

// AllCanceled reports whether nobody waits but canceled tasks that have not run
// yet.
func (q *Queue) AllCanceled() bool {
	for w := q.first; w != nil; w = w.next {
		if !w.f.Canceled() {
			return false
		}
	}
	return true
}

// WakeNext wakes the first waiter that is neither woken nor canceled, and reports
// whether there was one. Waking n waiters takes O(n) steps in all.
func (q *Queue) WakeNext() bool {
	for w := q.pending; w != nil; w = w.next {
		q.pending = w.next
		if w.Wake() {
			return true
		}
	}
	return false
}

// WakeAll wakes all that are neither woken nor canceled.
func (q *Queue) WakeAll() {
	for q.WakeNext() {
	}
}
