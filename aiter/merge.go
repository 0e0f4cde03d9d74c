package aiter

import (
	"context"
	"iter"

	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

// Merge returns the values of all sources as they come, each source read by a task
// of its own, which waits until the loop has room for its value: one value is made
// ahead, and one more by each source. The first error ends the sequence, after the
// values that came before it. (aiostream: merge; asyncio has as_completed)
//
// Cancel safety: canceling the caller cancels the tasks, and ends the loop when they
// are done; values made ahead are lost.
func Merge[T any](ctx context.Context, srcs ...Source[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		c := &crew[T]{made: queue.New[T](1)}
		err := c.run(ctx, func(g *task.Group) {
			for _, src := range srcs {
				c.start(g, func(ctx context.Context) error {
					return each(ctx, src, func(v T) error { return c.made.Put(ctx, v) })
				})
			}
		}, func(v T) (bool, error) { return yield(v, nil), nil })
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}
