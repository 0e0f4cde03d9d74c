package thread

import (
	"context"
	"sync"
	"time"
)

// A SimpleQueue is for goroutines, and nothing but first in, first out: without a
// bound, without Join and ShutDown. The zero value is empty. Put never waits, so it
// may be called where nothing may wait: under a lock, in a finalizer, on a loop.
// Those who wait for items are served in the order they came. (queue: SimpleQueue)
type SimpleQueue[T any] struct {
	mu      sync.Mutex
	items   fifo[T]
	getters line[T] // wait only while there are no items
}

// Put puts v.
func (q *SimpleQueue[T]) Put(v T) {
	q.mu.Lock()
	w := q.getters.pop()
	if w != nil {
		w.v = v
	} else {
		q.items.put(v)
	}
	q.mu.Unlock()
	wakeOne(w)
}

// Get waits until there is an item and takes it. It returns ctx.Err() when ctx is
// done; then no item was taken.
//
// Cancel safety: an item that comes goes to the next one who waits.
func (q *SimpleQueue[T]) Get(ctx context.Context) (T, error) { return q.get(ctx, forever) }

// GetTimeout is Get that waits for no longer than d; then it returns an error that
// is [ErrEmpty] and [ErrTimeout] to errors.Is.
func (q *SimpleQueue[T]) GetTimeout(ctx context.Context, d time.Duration) (T, error) {
	v, err := q.get(ctx, max(d, 0))
	if err == ErrTimeout || err == ErrEmpty {
		err = errEmptyTimeout
	}
	return v, err
}

// TryGet takes an item if there is one, or returns [ErrEmpty]. (queue: get_nowait)
func (q *SimpleQueue[T]) TryGet() (T, error) { return q.get(context.Background(), 0) }

func (q *SimpleQueue[T]) get(ctx context.Context, d time.Duration) (v T, err error) {
	if err := ctx.Err(); err != nil {
		return v, err
	}
	q.mu.Lock()
	if q.items.len() > 0 {
		v = q.items.get()
		q.mu.Unlock()
		return v, nil
	}
	if d == 0 {
		q.mu.Unlock()
		return v, ErrEmpty
	}
	w := q.getters.push(v)
	q.mu.Unlock()
	return q.getters.await(ctx, d, &q.mu, w)
}

// Len returns the number of items. It and Empty are true only for a moment if others
// use the queue. (queue: qsize)
func (q *SimpleQueue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items.len()
}

// Empty reports whether there is no item.
func (q *SimpleQueue[T]) Empty() bool { return q.Len() == 0 }

// Waiting returns how many goroutines wait for items.
func (q *SimpleQueue[T]) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.getters.n
}
