// Package executor runs blocking functions elsewhere and answers on the loop.
//
// A callback or a task that blocks stalls everything else on its loop. So what
// must block, such as a DNS lookup, a database driver, a long computation, is
// handed to a [Pool] of goroutines as a job, and what comes back is a future.
//
//	row, err := executor.Do(ctx, func(ctx context.Context) (Row, error) {
//		return db.QueryRow(ctx, id) // may block: this is not the loop
//	})
//
// [Do] suspends the calling task until its job has ended; [Submit] returns the
// future and never waits. A job runs on a goroutine of its own, off the loop: it
// shares data with the loop only through what it is given and what it returns,
// and it cannot await. Its way back into the loop, before its end, is
// Loop.CallSoonThreadsafe or task.CallThreadsafe.
//
// # The context of a job
//
// It ends when the job's future is canceled, when the pool's Shutdown gives up,
// and when the job has ended; context.Cause says why. It has no deadline of its
// own. Under Do it has the values of the ctx that Do was called with; under
// Submit it has none. It never carries the loop or the task: a job that tries to
// wait as if it were the task panics.
//
// # Cancellation
//
// A job that has not started never runs. Of one that runs the ctx ends, and its
// future is settled at once: nobody waits for a job that does not listen. What it
// returns later is dropped, and counted in [Stats].Late. For Do this means that
// the function may still run when Do has returned.
package executor

import (
	"context"
	"errors"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

var (
	// ErrClosed is the failure of a job handed to a pool after Shutdown has begun,
	// and the cause of the cancellation of jobs that a shutdown cut off.
	ErrClosed = errors.New("executor: pool is closed")

	// ErrQueueFull is the failure of a job submitted to a pool whose queue is full.
	ErrQueueFull = errors.New("executor: queue is full")

	// ErrGoexit is the failure of a job that called [runtime.Goexit], as
	// testing.T.FailNow does.
	ErrGoexit = errors.New("executor: job called runtime.Goexit")
)

// Submit hands fn to p and returns the future of its result. p may be nil: the
// loop's [Default] pool. It never waits: if p's queue is full the future has
// failed with [ErrQueueFull], if p is closed with [ErrClosed]. Jobs of one pool
// start in the order they were handed in. See the package comment for fn's ctx,
// and for what canceling the future does.
//
// A panic of fn is a failure with a [*coro.PanicError]; runtime.Goexit in fn is
// [ErrGoexit]. Submit must be called on the loop, and panics if the loop is
// closed. (asyncio: run_in_executor)
func Submit[T any](l *loop.Loop, p *Pool, fn func(ctx context.Context) (T, error)) *future.Future[T] {
	if p == nil {
		p = Default(l)
	}
	return start(context.Background(), l, p, fn, false)
}

// Do runs fn on the loop's [Default] pool and suspends the calling task until it
// has ended. fn's ctx has the values of ctx, not its end. While the queue is full
// the task waits for a place, in the order of asking; see [Pool] for what this
// means. The error is fn's, one of Submit's except ErrQueueFull, or that of the
// interruption. Do panics outside of a task. (asyncio: to_thread)
//
// Cancel safety: if fn has not started it never will; if it has, its ctx ends, Do
// returns at once, and fn's result is lost.
func Do[T any](ctx context.Context, fn func(ctx context.Context) (T, error)) (T, error) {
	return DoIn(ctx, nil, fn)
}

// DoIn is [Do] on the pool p; nil is the loop's [Default] pool.
func DoIn[T any](ctx context.Context, p *Pool, fn func(ctx context.Context) (T, error)) (T, error) {
	t := park.From(ctx, "executor: Do")
	if ctx != context.Context(t) || t.Env().Scope != nil {
		// A scope that has ended already must not start anything.
		if err := future.ScopeErr(ctx); err != nil {
			var zero T
			return zero, err
		}
	}
	if p == nil {
		p = Default(t.Loop())
	}
	return start(ctx, t.Loop(), p, fn, true).Await(ctx)
}

var defaultKey = new(int)

// Default returns the loop's own pool, that of a zero [Config]. It is made at the
// first use, and ended by the loop's Close, as ShutdownNow does it, within
// loop.Config.CloseTimeout. It must be called on the loop.
func Default(l *loop.Loop) *Pool {
	return l.Local(defaultKey, func() any {
		p := New(Config{Name: "default"})
		l.OnClose(p.ShutdownNow)
		return p
	}).(*Pool)
}
