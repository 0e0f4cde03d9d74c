package thread

import (
	"context"
	"iter"
	"math"
	"sync"
	"time"
)

// A Queue is for goroutines: some put items of type T in, others take them out. (For
// tasks there is package queue.) Those who wait are served in the order they came.
// Its methods may be called from any goroutine. Make it with [NewQueue], [NewLIFO]
// or [NewPriority]. (queue: Queue, LifoQueue, PriorityQueue)
//
// An item is put, and taken, at one moment between the call and the return; what a
// goroutine that waits has in hand is not in the queue, and not counted.
type Queue[T any] struct {
	mu         sync.Mutex
	items      store[T]
	max        int // 0: no bound
	shut       bool
	unfinished int

	// Getters wait only while there are no items, putters only while the queue is
	// full, and none once it is shut down.
	getters line[T]        // v is what they get
	putters line[T]        // v is what they bring
	joiners line[struct{}] // wait for unfinished to be 0
}

// NewQueue returns a queue that gives items in the order they were put. A max of
// zero or less means no bound.
func NewQueue[T any](max int) *Queue[T] { return newQueue(max, new(fifo[T])) }

// NewLIFO returns a queue that gives the item that was put last.
func NewLIFO[T any](max int) *Queue[T] { return newQueue(max, new(lifo[T])) }

// NewPriority returns a queue that gives the item that is less than all others, and
// among equals the one that was put first. less is called with the queue's lock
// held and must not use the queue. If it panics, in Put or Get, the item is lost and
// the others may be out of order.
func NewPriority[T any](max int, less func(a, b T) bool) *Queue[T] {
	if less == nil {
		panic("thread: priority queue without an order")
	}
	return newQueue(max, &priority[T]{less: less})
}

func newQueue[T any](bound int, items store[T]) *Queue[T] {
	return &Queue[T]{items: items, max: max(bound, 0)}
}

// Put waits until there is room and puts v. It returns [ErrShutDown] if the queue is
// shut down, before or meanwhile, or ctx.Err() when ctx is done; then v was not put.
//
// Cancel safety: a place that becomes free goes to the next one who waits.
func (q *Queue[T]) Put(ctx context.Context, v T) error { return q.put(ctx, v, forever) }

// PutTimeout is Put that waits for no longer than d; then it returns an error that
// is [ErrFull] and [ErrTimeout] to errors.Is.
func (q *Queue[T]) PutTimeout(ctx context.Context, v T, d time.Duration) error {
	err := q.put(ctx, v, max(d, 0))
	if err == ErrTimeout || err == ErrFull {
		return errFullTimeout
	}
	return err
}

// TryPut puts v if there is room. It returns [ErrFull] or [ErrShutDown]. (queue:
// put_nowait)
func (q *Queue[T]) TryPut(v T) error { return q.put(context.Background(), v, 0) }

func (q *Queue[T]) put(ctx context.Context, v T, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	served, own, err := q.offer(v, d != 0)
	if own != nil {
		_, err = q.putters.await(ctx, d, &q.mu, own)
		return err
	}
	wakeOne(served)
	return err
}

// offer puts v if it can. It returns the getter that v was given to and who must be
// woken, or, if it must and may, a waiter in the line of putters.
func (q *Queue[T]) offer(v T, mayWait bool) (served, own *waiter[T], err error) {
	q.mu.Lock()
	defer q.mu.Unlock() // less may panic
	switch {
	case q.shut:
		return nil, nil, ErrShutDown
	case q.max > 0 && q.items.len() >= q.max:
		if mayWait {
			return nil, q.putters.push(v), nil
		}
		return nil, nil, ErrFull
	}
	served = q.getters.pop()
	if served != nil {
		served.v = v
	} else {
		q.items.put(v)
	}
	q.unfinished++
	return served, nil, nil
}

// Get waits until there is an item and takes it. It returns [ErrShutDown] when the
// queue is shut down and empty, or ctx.Err() when ctx is done; then no item was
// taken.
//
// Cancel safety: an item that comes goes to the next one who waits.
func (q *Queue[T]) Get(ctx context.Context) (T, error) { return q.get(ctx, forever) }

// GetTimeout is Get that waits for no longer than d; then it returns an error that
// is [ErrEmpty] and [ErrTimeout] to errors.Is.
func (q *Queue[T]) GetTimeout(ctx context.Context, d time.Duration) (T, error) {
	v, err := q.get(ctx, max(d, 0))
	if err == ErrTimeout || err == ErrEmpty {
		err = errEmptyTimeout
	}
	return v, err
}

// TryGet takes an item if there is one. It returns [ErrEmpty] or [ErrShutDown].
// (queue: get_nowait)
func (q *Queue[T]) TryGet() (T, error) { return q.get(context.Background(), 0) }

func (q *Queue[T]) get(ctx context.Context, d time.Duration) (v T, err error) {
	if err := ctx.Err(); err != nil {
		return v, err
	}
	v, served, own, err := q.take(d != 0)
	if own != nil {
		return q.getters.await(ctx, d, &q.mu, own)
	}
	wakeOne(served)
	return v, err
}

// take takes an item if it can. It returns the putter that has its place now and who
// must be woken, or, if it must and may, a waiter in the line of getters.
func (q *Queue[T]) take(mayWait bool) (v T, served, own *waiter[T], err error) {
	q.mu.Lock()
	defer q.mu.Unlock() // less may panic
	if q.items.len() == 0 {
		switch {
		case q.shut:
			err = ErrShutDown
		case mayWait:
			own = q.getters.push(v)
		default:
			err = ErrEmpty
		}
		return v, nil, own, err
	}
	v = q.items.get()
	if q.putters.n > 0 {
		q.items.put(q.putters.first.v)
		q.unfinished++
		served = q.putters.pop()
	}
	return v, served, nil, nil
}

// All returns the items as they come, for range. It waits for them, and ends when
// the queue is shut down and empty. If ctx is done the last pair is ctx.Err(). ctx
// is only handed on.
func (q *Queue[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, err := q.Get(ctx)
			if err == ErrShutDown {
				return
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// Done says that an item that was taken has been dealt with. It panics if there
// were more calls of it than items put. (queue: task_done)
func (q *Queue[T]) Done() {
	q.mu.Lock()
	if q.unfinished == 0 {
		q.mu.Unlock()
		panic("thread: Done was called more often than items were put")
	}
	q.unfinished--
	w := q.joined()
	q.mu.Unlock()
	wakeAll(w)
}

// joined takes out those who wait in Join, if they need not wait any more. q.mu is
// held.
func (q *Queue[T]) joined() *waiter[struct{}] {
	if q.unfinished > 0 {
		return nil
	}
	return q.joiners.take(math.MaxInt, nil)
}

// Join waits until every item that was put has been dealt with: Done was called for
// it, or ShutDown has dropped it. It returns at once if none is outstanding, and
// ctx.Err() when ctx is done.
func (q *Queue[T]) Join(ctx context.Context) error { return q.join(ctx, forever) }

// JoinTimeout is Join that waits for no longer than d; then it returns
// [ErrTimeout].
func (q *Queue[T]) JoinTimeout(ctx context.Context, d time.Duration) error {
	return q.join(ctx, max(d, 0))
}

func (q *Queue[T]) join(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	if q.unfinished == 0 {
		q.mu.Unlock()
		return nil
	}
	if d == 0 {
		q.mu.Unlock()
		return ErrTimeout
	}
	w := q.joiners.push(struct{}{})
	q.mu.Unlock()
	_, err := q.joiners.await(ctx, d, &q.mu, w)
	return err
}

// ShutDown makes puts fail, and gets too once the queue is empty, and wakes all who
// wait for either: what they have in hand is not put. With now, the items that are
// left are dropped and count as dealt with; those taken and not dealt with do not.
// It may be called again. (queue: shutdown)
func (q *Queue[T]) ShutDown(now bool) {
	q.mu.Lock()
	q.shut = true
	var joined *waiter[struct{}]
	if now {
		// Done may have been called for items that are still here.
		q.unfinished -= min(q.items.len(), q.unfinished)
		q.items.clear()
		joined = q.joined()
	}
	getters := q.getters.take(math.MaxInt, ErrShutDown)
	putters := q.putters.take(math.MaxInt, ErrShutDown)
	q.mu.Unlock()
	wakeAll(getters)
	wakeAll(putters)
	wakeAll(joined)
}

// Len returns the number of items. It, Empty and Full are true only for a moment if
// others use the queue. (queue: qsize)
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items.len()
}

// Max returns the bound, or 0 if there is none.
func (q *Queue[T]) Max() int { return q.max }

// Empty reports whether there is no item.
func (q *Queue[T]) Empty() bool { return q.Len() == 0 }

// Full reports whether Put would wait: never without a bound.
func (q *Queue[T]) Full() bool { return q.max > 0 && q.Len() >= q.max }

// Unfinished returns how many items were put and not reported as done. (queue:
// unfinished_tasks)
func (q *Queue[T]) Unfinished() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.unfinished
}

// Items returns the items in the order in which Get would give them.
func (q *Queue[T]) Items() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items.all()
}

// Stats is what a queue looked like at one moment.
type Stats struct {
	Len, Max         int
	Unfinished       int
	Getters, Putters int // goroutines that wait for items, for room
	Joiners          int // goroutines that wait in Join
	ShutDown         bool
}

// Stats returns what the queue looks like now.
func (q *Queue[T]) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{q.items.len(), q.max, q.unfinished, q.getters.n, q.putters.n, q.joiners.n, q.shut}
}
