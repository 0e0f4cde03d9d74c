package task

import (
	"context"
	"errors"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/loop"
)

// recoverInto makes a panic an error, except the one that unwinds a body when
// the loop closes.
func recoverInto(err *error, t *core) {
	if t.flags&closing != 0 {
		return
	}
	if v := recover(); v != nil {
		*err = coro.NewPanicError(v)
	}
}

// Run makes a loop, runs main on it as a task until it is done, and closes the
// loop: the tasks that are left are canceled, oldest first, and awaited; then
// executors are shut down. It returns main's error, joined with those of closing.
// main's ctx has the values of ctx; when ctx ends, main is canceled, once, with
// ctx's cause, and may clean up. Run blocks its goroutine, and must not be called
// on a loop. It touches no signals: see [Main]. (asyncio: run)
func Run(ctx context.Context, main func(ctx context.Context) error) error {
	return RunConfig(ctx, loop.Config{}, main)
}

// RunConfig is [Run] with a configured loop.
func RunConfig(ctx context.Context, cfg loop.Config, main func(ctx context.Context) error) error {
	checkNotOnLoop(ctx, "task: Run")
	l, err := loop.New(cfg)
	if err != nil {
		return err
	}
	// Not deferred: Goexit has closed the loop already, and a panic that is to end
	// the process must not wait for that.
	err = RunOn(ctx, l, main)
	return join(err, l.Close())
}

// checkNotOnLoop panics if ctx says that it is a loop that would be blocked.
func checkNotOnLoop(ctx context.Context, what string) {
	if l, ok := ctx.Value(env.LoopKey).(*loop.Loop); ok && l.Running() {
		panic(what + " on a loop: it would block it; use Start, or a goroutine with another ctx")
	}
}

// RunOn is [Run] on a loop of the caller's, which it does not close: it may be
// called several times. Tasks that main leaves are canceled and awaited.
// (asyncio: Runner.run)
func RunOn(ctx context.Context, l *loop.Loop, main func(ctx context.Context) error) error {
	if l.Closed() {
		return loop.ErrClosed
	}
	if l.Running() {
		return loop.ErrRunning
	}
	l.WithValues(ctx)
	t := Go(l.Context(), main)
	t.SetName("main")
	end := &canceler{ctx: ctx, t: t}
	end.Run() // it may have ended already
	stop := context.AfterFunc(ctx, func() {
		_ = l.QueueThreadsafe(end) // if the loop is closed main has ended
	})
	defer stop()
	defer l.BeforeIdle(end)()
	err := l.RunUntil(t)
	if err == nil {
		err = t.Err()
	} else {
		t.Cancel(err)
	}
	err = join(err, CancelAll(l))
	// As many turns as asyncio takes to shut down asynchronous generators and the
	// executor: callbacks of what has just ended are made in them.
	for range 2 {
		if nothing := Go(l.Context(), func(context.Context) error { return nil }); l.RunUntil(nothing) != nil {
			break
		}
	}
	return err
}

// A canceler cancels a task when a context has ended, once.
type canceler struct {
	ctx  context.Context
	t    Any
	over bool
}

func (c *canceler) Run() {
	if !c.over && c.ctx.Err() != nil {
		c.over = true
		c.t.Cancel(causeOf(c.ctx))
	}
}

// causeOf returns why a context has ended.
func causeOf(ctx context.Context) error {
	if s, ok := ctx.(env.LoopScope); ok {
		return s.Reason()
	}
	return context.Cause(ctx)
}

// join is errors.Join that leaves a single error as it is: a joined cancellation
// is none.
func join(err, other error) error {
	switch {
	case other == nil:
		return err
	case err == nil:
		return other
	}
	return errors.Join(err, other)
}

// CancelAll cancels the loop's tasks, oldest first, and runs the loop until all
// are done. Their failures are reported to the loop's OnError. The loop must not
// be running. It is what Run does when main is done.
func CancelAll(l *loop.Loop) error {
	ts := All(l)
	if len(ts) == 0 {
		return nil
	}
	ws := make([]waiterOf, len(ts))
	for i, t := range ts {
		t.Cancel(nil)
		ws[i] = waiterOf{t}
	}
	if err := l.RunUntil(future.GatherAll(l, ws...)); err != nil {
		return err
	}
	for _, t := range ts {
		if t.State() == future.Failed {
			l.Report(&loop.CallError{Op: "shutdown", Name: t.Name(), Err: t.Err()})
		}
	}
	return nil
}

// waiterOf gives a Waiter a result, for gather.
type waiterOf struct{ Any }

func (w waiterOf) Result() (struct{}, error) { return struct{}{}, w.Err() }

// CallThreadsafe runs fn as a task on l and waits, blocking its goroutine, for the
// result. When ctx ends it cancels the task and waits for it. It may be called
// from any goroutine but the loop's own, which it would block for ever: then it
// panics if ctx says so. On another loop it would block that one, and two loops that
// call each other block both: there it belongs in executor.Do. It returns
// [loop.ErrClosed] if the loop is closed.
// (asyncio: run_coroutine_threadsafe)
func CallThreadsafe[T any](ctx context.Context, l *loop.Loop, fn func(ctx context.Context) (T, error)) (T, error) {
	var zero T
	if l2, ok := ctx.Value(env.LoopKey).(*loop.Loop); ok && l2 == l {
		panic("task: CallThreadsafe with a ctx of the same loop: it would wait for itself")
	}
	c := &call[T]{done: make(chan struct{})}
	err := l.CallSoonThreadsafe(func() {
		values := l.Context()
		c.t = Start(values, fn)
		c.t.OnDone(func() {
			c.v, c.err = c.t.Result()
			close(c.done)
		})
	})
	if err != nil {
		return zero, err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = l.CallSoonThreadsafe(func() { c.t.Cancel(context.Cause(ctx)) })
	})
	defer stop()
	select {
	case <-c.done:
		return c.v, c.err
	case <-l.Ended():
		select {
		case <-c.done:
			return c.v, c.err
		default:
		}
		if c.t != nil && c.t.Done() { // nobody was left to tell us
			return c.t.Result()
		}
		return zero, loop.ErrClosed
	}
}

// A call is a task started from another goroutine.
type call[T any] struct {
	t    *Task[T]
	v    T
	err  error
	done chan struct{}
}
