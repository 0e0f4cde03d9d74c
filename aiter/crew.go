package aiter

import (
	"context"
	"errors"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

// A crew is the tasks behind one loop over a sequence. What they make goes through
// a queue to the loop.
//
// They are in a Scope, but that Scope is not in the task of the loop: it would
// interrupt the loop's body when one of them fails, and turn its panics into
// errors. It is in a task of its own, the boss, which the loop ends when it is
// left. His group's tasks do the work; none of them fails: what goes wrong goes
// through the queue, or to fail.
type crew[E any] struct {
	made *queue.Queue[E]
	err  error // ends the sequence, after what was made
}

// fail ends the sequence with err, after what was made before.
func (c *crew[E]) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.made.ShutDown(false)
}

// start has a task of the group, which must be open, do work. The first step is run
// at once: so nobody can cancel the task before work has begun, and work always
// tells what became of it.
func (c *crew[E]) start(g *task.Group, work func(ctx context.Context) error) {
	task.StartNowIn(g, func(ctx context.Context) (none struct{}, _ error) {
		if err := work(ctx); err != nil {
			c.fail(err)
		}
		return none, nil
	})
}

// run has the boss begin, who starts the tasks, and calls take for each thing made,
// until take says no more, all is done, or something fails. When it returns, all
// tasks have ended.
func (c *crew[E]) run(ctx context.Context, begin func(g *task.Group), take func(e E) (more bool, err error)) error {
	if task.FromContext(ctx) == nil {
		panic("aiter: loop over a sequence outside of a task: ctx must come from a task's body")
	}
	boss := task.Go(ctx, func(ctx context.Context) error {
		return task.Scope(ctx, func(_ context.Context, g *task.Group) error {
			begin(g) // and wait for them: so all are canceled at a time
			return nil
		})
	})
	// Not deferred in the boss, who never begins if somebody cancels him first.
	boss.OnDone(func() { c.made.ShutDown(false) })
	defer c.end(ctx, boss)
	for e, err := range c.made.All(ctx) {
		if err != nil {
			return err
		}
		if more, err := take(e); !more {
			return err
		}
	}
	if c.err != nil {
		return c.err
	}
	return boss.Err()
}

// end cancels the boss and waits until he is done, whatever happens to the caller
// meanwhile: a cancellation is repeated afterwards, so that the next wait delivers
// it, and the end of a scope will be met again anyway.
func (c *crew[E]) end(ctx context.Context, boss *task.Task[struct{}]) {
	c.made.ShutDown(true)
	boss.Cancel(nil)
	var interrupted *future.CanceledError
	for !boss.Done() {
		_, _, err := task.Wait(context.WithoutCancel(ctx), task.AllCompleted, boss)
		if errors.Is(err, loop.ErrClosed) {
			return // and the loop ends the others, too
		}
		if err != nil {
			interrupted = future.AsCanceled(err)
		}
	}
	_ = boss.Err() // what becomes of those who were sent home nobody asks
	if me := task.FromContext(ctx); interrupted != nil && me.Canceling() > 0 {
		me.Uncancel()
		me.Cancel(interrupted.Cause)
	}
}

// each calls fn for the values of src, and returns the error that ended them, or
// fn's. A panic is an error, too.
func each[T any](ctx context.Context, src Source[T], fn func(v T) error) (err error) {
	defer contain(&err)
	for v, err := range src(ctx) {
		if err == nil {
			err = fn(v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// contain makes a panic an error.
func contain(err *error) {
	if v := recover(); v != nil {
		*err = coro.NewPanicError(v)
	}
}
