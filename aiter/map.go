package aiter

import (
	"context"
	"iter"
	"math"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/locks"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

// Map returns what fn returns for the values of src, in the order of src, each
// call of fn in a task of its own. At most limit values at a time have been taken
// from src and not been returned; a limit of zero or less means no bound. The limit
// changes how long it takes, not what is returned: the first error in order, of fn
// or of src, ends the sequence after all results before it. Later calls are canceled
// then, and what becomes of them is not reported. A panic is an error, a
// [*coro.PanicError].
//
// Cancel safety: canceling the caller cancels the tasks, and ends the loop when they
// are done; values taken from src and not returned are lost.
func Map[T, R any](ctx context.Context, src Source[T], limit int, fn func(ctx context.Context, v T) (R, error)) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		c := &crew[*result[R]]{made: queue.New[*result[R]](0)}
		l := loop.FromContext(ctx)
		room := newRoom(limit)
		err := c.run(ctx, func(g *task.Group) {
			feed(g, c, room, src, func(v T) {
				r := new(result[R])
				future.Init(&r.ready, l, nil)
				_ = c.made.TryPut(r)
				c.start(g, func(ctx context.Context) error {
					r.v, r.err = call(ctx, v, fn)
					future.Settle(&r.ready, struct{}{}, nil)
					return nil
				})
			})
		}, func(r *result[R]) (bool, error) {
			if _, err := r.ready.Await(ctx); err != nil {
				return false, err
			}
			room.Release()
			return r.err == nil && yield(r.v, nil), r.err
		})
		if err != nil {
			var none R
			yield(none, err)
		}
	}
}

// A result is what a call of fn will have returned.
type result[R any] struct {
	ready future.Future[struct{}]
	v     R
	err   error
}

// MapUnordered is [Map] with the results in the order in which fn returns; the
// first error to occur ends the sequence, after the results that were there.
func MapUnordered[T, R any](ctx context.Context, src Source[T], limit int, fn func(ctx context.Context, v T) (R, error)) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		c := &crew[R]{made: queue.New[R](0)}
		room := newRoom(limit)
		err := c.run(ctx, func(g *task.Group) {
			feed(g, c, room, src, func(v T) {
				c.start(g, func(ctx context.Context) error {
					r, err := call(ctx, v, fn)
					if err == nil {
						_ = c.made.TryPut(r) // unless another has failed
					}
					return err
				})
			})
		}, func(r R) (bool, error) {
			room.Release()
			return yield(r, nil), nil
		})
		if err != nil {
			var none R
			yield(none, err)
		}
	}
}

func newRoom(limit int) *locks.Semaphore {
	if limit <= 0 {
		limit = math.MaxInt
	}
	return locks.NewSemaphore(limit)
}

// feed has a task call begin for the values of src, as there is room: it asks for a
// value only then, so that none is taken, from a queue perhaps, to wait here.
func feed[T, E any](g *task.Group, c *crew[E], room *locks.Semaphore, src Source[T], begin func(v T)) {
	c.start(g, func(ctx context.Context) error {
		room.TryAcquire() // the first of at least one
		return each(ctx, src, func(v T) error {
			if !g.Open() { // src has ignored its cancellation
				return task.ErrGroupClosed
			}
			begin(v)
			return room.Acquire(ctx)
		})
	})
}

func call[T, R any](ctx context.Context, v T, fn func(ctx context.Context, v T) (R, error)) (r R, err error) {
	defer contain(&err)
	return fn(ctx, v)
}
