// Package queue has queues between tasks: first in first out, last in first out,
// by priority.
//
// They belong to the loop of their first wait and must be used on it; those who
// wait are served in the order they came. A queue can be shut down, which ends
// those who wait, and counts what was put in and not yet reported as done, which
// [Queue.Join] waits for.
package queue

import (
	"container/heap"
	"context"
	"errors"
	"iter"

	"github.com/eddyloop/eddy/internal/waitq"
)

var (
	// ErrFull is returned by TryPut of a full queue. (asyncio: QueueFull)
	ErrFull = errors.New("queue: full")
	// ErrEmpty is returned by TryGet of an empty queue. (asyncio: QueueEmpty)
	ErrEmpty = errors.New("queue: empty")
	// ErrShutDown is returned by puts after ShutDown, and by gets when the queue
	// is empty then. (asyncio: QueueShutDown)
	ErrShutDown = errors.New("queue: shut down")
)

// A Queue holds items of type T for tasks. Make it with [New], [NewLIFO] or
// [NewPriority].
type Queue[T any] struct {
	items      store[T]
	max        int // 0: no bound
	getters    waitq.Queue
	putters    waitq.Queue
	unfinished int
	joiners    waitq.Queue
	shut       bool
}

// New returns a queue that gives items in the order they were put. A max of zero
// or less means no bound. (asyncio: Queue)
func New[T any](max int) *Queue[T] { return newQueue[T](max, new(fifo[T])) }

// NewLIFO returns a queue that gives the item that was put last. (asyncio: LifoQueue)
func NewLIFO[T any](max int) *Queue[T] { return newQueue[T](max, new(lifo[T])) }

// NewPriority returns a queue that gives the item that is less than all others,
// and among equals the one that was put first. (asyncio: PriorityQueue)
func NewPriority[T any](max int, less func(a, b T) bool) *Queue[T] {
	return newQueue[T](max, &priority[T]{less: less})
}

func newQueue[T any](max int, items store[T]) *Queue[T] {
	return &Queue[T]{items: items, max: max}
}

// Put suspends the task until there is room and puts v. It returns [ErrShutDown],
// a cancellation, or the end of a scope; then v was not put.
//
// Cancel safety: a place that was free for this task goes to the next.
func (q *Queue[T]) Put(ctx context.Context, v T) error {
	for q.Full() {
		if q.shut {
			return ErrShutDown
		}
		w := q.push(ctx, &q.putters, "queue: Put")
		if err := w.Await(ctx); err != nil {
			w.Remove()
			if !q.Full() && w.Woken() {
				wake(&q.putters)
			}
			return err
		}
	}
	return q.TryPut(v)
}

// TryPut puts v if there is room. It returns [ErrFull] or [ErrShutDown].
// (asyncio: put_nowait)
func (q *Queue[T]) TryPut(v T) error {
	if q.shut {
		return ErrShutDown
	}
	if q.Full() {
		return ErrFull
	}
	q.items.put(v)
	q.unfinished++
	wake(&q.getters)
	return nil
}

// Get suspends the task until there is an item and takes it. It returns
// [ErrShutDown] when the queue is shut down and empty, a cancellation, or the end
// of a scope; then no item was taken.
//
// Cancel safety: an item that was there for this task goes to the next.
func (q *Queue[T]) Get(ctx context.Context) (T, error) {
	var none T
	for q.Empty() {
		if q.shut {
			return none, ErrShutDown
		}
		w := q.push(ctx, &q.getters, "queue: Get")
		if err := w.Await(ctx); err != nil {
			w.Remove()
			if !q.Empty() && w.Woken() {
				wake(&q.getters)
			}
			return none, err
		}
	}
	return q.TryGet()
}

// TryGet takes an item if there is one. It returns [ErrEmpty] or [ErrShutDown].
// (asyncio: get_nowait)
func (q *Queue[T]) TryGet() (T, error) {
	if q.Empty() {
		var none T
		if q.shut {
			return none, ErrShutDown
		}
		return none, ErrEmpty
	}
	v := q.items.get()
	wake(&q.putters)
	return v, nil
}

// All returns the items as they come, for range: it suspends the task between
// them, and ends when the queue is shut down and empty. A cancellation or the end
// of a scope is the last pair. ctx is only handed on.
func (q *Queue[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, err := q.Get(ctx)
			if err == ErrShutDown { // not errors.Is: it may be the cause of a cancellation
				return
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// Done says that an item that was taken has been dealt with. It panics if there
// were more calls of it than items. (asyncio: task_done)
func (q *Queue[T]) Done() {
	if q.unfinished <= 0 {
		panic("queue: Done was called more often than items were put")
	}
	q.unfinished--
	if q.unfinished == 0 {
		q.joiners.WakeAll()
	}
}

// Join suspends the task until every item that was put has been dealt with. It
// returns at once if none is outstanding. Its error is a cancellation or the end
// of a scope.
func (q *Queue[T]) Join(ctx context.Context) error {
	if q.unfinished == 0 {
		return nil
	}
	w := q.push(ctx, &q.joiners, "queue: Join")
	err := w.Await(ctx)
	w.Remove()
	return err
}

// ShutDown makes puts fail, and gets too once the queue is empty, and wakes all
// who wait for either. With now, the items that are left are dropped and count as
// dealt with. It may be called again. (asyncio: shutdown)
func (q *Queue[T]) ShutDown(now bool) {
	q.shut = true
	if now {
		for !q.Empty() {
			q.items.get()
			if q.unfinished > 0 {
				q.unfinished--
			}
		}
		if q.unfinished == 0 {
			q.joiners.WakeAll()
		}
	}
	wakeAll(&q.getters)
	wakeAll(&q.putters)
}

// push adds a waiter to one of the lines of q. The loop of the getters is that of
// all three.
func (q *Queue[T]) push(ctx context.Context, line *waitq.Queue, what string) *waitq.Waiter {
	q.getters.Bind(ctx, what)
	return line.Push(ctx, what)
}

// wake takes waiters out of the queue until it has woken one.
func wake(ws *waitq.Queue) bool {
	for w := ws.First(); w != nil; w = ws.First() {
		w.Remove()
		if w.Wake() {
			return true
		}
	}
	return false
}

func wakeAll(ws *waitq.Queue) {
	for wake(ws) {
	}
}

// Len returns the number of items. (asyncio: qsize)
func (q *Queue[T]) Len() int { return q.items.len() }

// Max returns the bound, or 0 if there is none.
func (q *Queue[T]) Max() int { return max(q.max, 0) }

// Empty reports whether there is no item.
func (q *Queue[T]) Empty() bool { return q.items.len() == 0 }

// Full reports whether Put would wait: never without a bound.
func (q *Queue[T]) Full() bool { return q.max > 0 && q.items.len() >= q.max }

// Unfinished returns how many items were put and not reported as done.
func (q *Queue[T]) Unfinished() int { return q.unfinished }

// Items returns the items in the order in which Get would give them.
func (q *Queue[T]) Items() []T { return q.items.all() }

// Stats is what a queue looks like now.
type Stats struct {
	Len, Max         int
	Unfinished       int
	Getters, Putters int // tasks that wait
	ShutDown         bool
}

// Stats returns what the queue looks like now.
func (q *Queue[T]) Stats() Stats {
	return Stats{q.Len(), q.Max(), q.unfinished, q.getters.Len(), q.putters.Len(), q.shut}
}

// A store keeps the items in some order.
type store[T any] interface {
	put(v T)
	get() T
	len() int
	all() []T // in the order of get
}

// A fifo is a ring.
type fifo[T any] struct {
	ring []T // its length is a power of two
	head int
	n    int
}

func (f *fifo[T]) len() int { return f.n }

func (f *fifo[T]) put(v T) {
	if f.n == len(f.ring) {
		bigger := make([]T, max(8, 2*len(f.ring)))
		copy(bigger, f.all())
		f.ring, f.head = bigger, 0
	}
	f.ring[(f.head+f.n)&(len(f.ring)-1)] = v
	f.n++
}

func (f *fifo[T]) get() T {
	var none T
	v := f.ring[f.head]
	f.ring[f.head] = none
	f.head = (f.head + 1) & (len(f.ring) - 1)
	f.n--
	if f.n == 0 && len(f.ring) > 1<<12 {
		f.ring, f.head = nil, 0 // what a burst has left
	}
	return v
}

func (f *fifo[T]) all() []T {
	vs := make([]T, 0, f.n)
	for i := range f.n {
		vs = append(vs, f.ring[(f.head+i)&(len(f.ring)-1)])
	}
	return vs
}

type lifo[T any] struct{ stack []T }

func (l *lifo[T]) len() int { return len(l.stack) }
func (l *lifo[T]) put(v T)  { l.stack = append(l.stack, v) }

func (l *lifo[T]) get() T {
	var none T
	i := len(l.stack) - 1
	v := l.stack[i]
	l.stack[i] = none
	l.stack = l.stack[:i]
	return v
}

func (l *lifo[T]) all() []T {
	vs := make([]T, 0, len(l.stack))
	for i := len(l.stack) - 1; i >= 0; i-- {
		vs = append(vs, l.stack[i])
	}
	return vs
}

// A priority is a heap of items with the order in which they came.
type priority[T any] struct {
	less  func(a, b T) bool
	items []ranked[T]
	seq   uint64
}

type ranked[T any] struct {
	v   T
	seq uint64
}

func (p *priority[T]) len() int { return len(p.items) }

func (p *priority[T]) put(v T) {
	p.seq++
	heap.Push((*ranking[T])(p), ranked[T]{v, p.seq})
}

func (p *priority[T]) get() T { return heap.Pop((*ranking[T])(p)).(ranked[T]).v }

func (p *priority[T]) all() []T {
	rest := &priority[T]{less: p.less, items: append([]ranked[T](nil), p.items...)}
	vs := make([]T, 0, len(p.items))
	for rest.len() > 0 {
		vs = append(vs, rest.get())
	}
	return vs
}

// A ranking is a priority as heap.Interface.
type ranking[T any] priority[T]

func (r *ranking[T]) Len() int { return len(r.items) }

func (r *ranking[T]) Less(i, j int) bool {
	a, b := r.items[i], r.items[j]
	if r.less(a.v, b.v) {
		return true
	}
	return !r.less(b.v, a.v) && a.seq < b.seq
}

func (r *ranking[T]) Swap(i, j int) { r.items[i], r.items[j] = r.items[j], r.items[i] }
func (r *ranking[T]) Push(x any)    { r.items = append(r.items, x.(ranked[T])) }

func (r *ranking[T]) Pop() any {
	i := len(r.items) - 1
	v := r.items[i]
	r.items[i] = ranked[T]{}
	r.items = r.items[:i]
	return v
}
