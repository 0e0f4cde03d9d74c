// Package executor runs blocking functions elsewhere and answers on the loop, or
// to any goroutine.
//
// A callback or a task that blocks stalls everything else on its loop. So what
// must block, such as a DNS lookup, a database driver, a long computation, is
// handed to an [Executor] as a job, and what comes back is a future.
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
// # Without a loop
//
// [Go] returns a [Job], for goroutines what a future is for tasks: any goroutine
// may wait for it, with Result, [Wait], [AsCompleted]; and a task may, with
// Job.Await. [Map] calls a function for the values of a sequence, some at a time,
// and keeps their order. What waits without suspending a task would block its
// loop, and panics when its ctx is that of a task or a callback.
//
// # Executors
//
// A [Pool] has goroutines, a limited number of them. A [Lane] is a part of a pool
// with a limit of its own, for jobs that must not keep others waiting. A
// [ProcessPool] has processes, for functions that were registered. What a package
// needs of an executor is the interface; whoever hands in a job has the choice.
//
// # The context of a job
//
// It ends when the job's future is canceled, when the pool's Shutdown gives up,
// and when the job has ended; context.Cause says why. It has no deadline of its
// own. Under Do and Map it has the values of the ctx that they were called with;
// under Submit and Go it has none. It never carries the loop, the task, or
// task-local variables: a job that tries to wait as if it were the task panics.
//
// # Cancellation
//
// A job that has not started never runs. Of one that runs the ctx ends, and its
// future is settled at once: nobody waits for a job that does not listen. What it
// returns later is dropped, and counted in [Stats].Late. For Do this means that
// the function may still run when Do has returned. A [Job] belongs to all who
// wait for it, so their cancellation does not cancel it; Job.Cancel does.
//
// # Jobs that wait for jobs
//
// A job keeps its place while it waits. If every place of a lane is taken by a job
// that waits for another of that lane, none can ever end. The last to begin such a
// wait gets [ErrDeadlock] in place of hanging, if it waits with its own ctx or one
// derived from it: that is how it is recognized. A circle through several lanes,
// pools, or channels is not found.
package executor

import (
	"context"
	"errors"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
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

	// ErrBroken is the failure of jobs handed to a pool whose Config.Init has
	// failed, and of those that waited in it then. The error of Init is in it. So it is
	// of a ProcessPool that is Strict and has lost a worker.
	// (concurrent.futures: BrokenExecutor)
	ErrBroken = errors.New("executor: pool is broken")

	// ErrDeadlock is the error of a job that begins to wait for another of its own
	// lane while all places of that lane are taken by jobs that wait so.
	ErrDeadlock = errors.New("executor: deadlock: every place of the lane is taken by a job that waits for another of the lane")

	// ErrTimeout is the error of waits whose time is up. To errors.Is it is
	// context.DeadlineExceeded.
	ErrTimeout error = timeoutError{}
)

type timeoutError struct{}

func (timeoutError) Error() string        { return "executor: timeout" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// An Executor runs jobs: a [Pool], a [Lane] of one, a [ProcessPool], or what embeds
// them. Its
// methods may be called from any goroutine. Jobs are handed to it by functions of
// this package, because methods cannot have type parameters: [Submit] and [DoIn]
// on a loop, [Go] and [Map] anywhere. (concurrent.futures: Executor)
//
// An executor of another kind embeds a Pool. Its functions find what they work
// with, such as a connection, in the ctx of their job: see Config.Init.
type Executor interface {
	// Shutdown closes the executor and waits for its jobs; see [Pool.Shutdown].
	Shutdown(ctx context.Context) error
	// ShutdownNow closes it and cancels its jobs; see [Pool.ShutdownNow].
	ShutdownNow(ctx context.Context) error
	// Stats returns what it does and has done.
	Stats() Stats

	// lane returns where jobs are handed in, nil for a nil pointer.
	lane() *Lane
}

// laneOf returns the lane of ex, or nil if ex is nil.
func laneOf(ex Executor) *Lane {
	if ex == nil {
		return nil
	}
	return ex.lane()
}

// Submit hands fn to ex and returns the future of its result. ex may be nil: the
// loop's [Default] pool. It never waits: if ex's queue is full the future has
// failed with [ErrQueueFull], if ex is closed with [ErrClosed]. Jobs of one lane
// start in the order they were handed in. See the package comment for fn's ctx,
// and for what canceling the future does.
//
// A panic of fn is a failure with a [*coro.PanicError]; runtime.Goexit in fn is
// [ErrGoexit]. Submit must be called on the loop, and panics if the loop is
// closed. (asyncio: run_in_executor)
func Submit[T any](l *loop.Loop, ex Executor, fn func(ctx context.Context) (T, error)) *future.Future[T] {
	n := laneOf(ex)
	if n == nil {
		n = Default(l).lane()
	}
	return start(context.Background(), l, n, fn, pcOf(fn), false)
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

// DoIn is [Do] on the executor ex; nil is the loop's [Default] pool.
func DoIn[T any](ctx context.Context, ex Executor, fn func(ctx context.Context) (T, error)) (T, error) {
	return do(ctx, ex, fn, pcOf(fn))
}

// do is DoIn; entry names the job.
func do[T any](ctx context.Context, ex Executor, fn func(ctx context.Context) (T, error), entry uintptr) (T, error) {
	t := park.From(ctx, "executor: Do")
	if ctx != context.Context(t) || t.Env().Scope != nil {
		// A scope that has ended already must not start anything.
		if err := future.ScopeErr(ctx); err != nil {
			var zero T
			return zero, err
		}
	}
	n := laneOf(ex)
	if n == nil {
		n = Default(t.Loop()).lane()
	}
	return start(env.Vars(ctx, t.Env()), t.Loop(), n, fn, entry, true).Await(ctx)
}

// With makes a pool, calls fn with it, and shuts it down. If fn returns nil, With
// waits until all jobs have ended, or ctx has; if fn fails or panics, or calls
// Goexit, jobs that have not started are canceled and the ctx of those that run
// ends, as [Pool.ShutdownNow] does it. The error is fn's joined to that of the
// shutdown. It blocks its goroutine, and panics with the ctx of a task.
// (concurrent.futures: with ThreadPoolExecutor(...) as pool)
func With(ctx context.Context, cfg Config, fn func(p *Pool) error) (err error) {
	mayBlock(ctx, "executor: With")
	p := New(cfg)
	down := p.ShutdownNow
	defer func() {
		if more := down(ctx); err == nil {
			err = more
		} else if more != nil {
			err = errors.Join(err, more)
		}
	}()
	if err = fn(p); err == nil {
		down = p.Shutdown
	}
	return err
}

var defaultKey = new(int)

// Default returns the loop's own pool, that of a zero [Config]. It is made at the
// first use, and ended by the loop's Close, as ShutdownNow does it, within
// loop.Config.CloseTimeout. When it is made so late in Close that no answer could
// come home, it is closed from the beginning. It must be called on the loop.
func Default(l *loop.Loop) *Pool {
	return l.Local(defaultKey, func() any {
		p := New(Config{Name: "default"})
		l.OnClose(p.ShutdownNow)
		if l.QueueThreadsafe(nop{}) != nil {
			p.close(ErrClosed) // the functions of OnClose have been called
		}
		return p
	}).(*Pool)
}

// nop asks whether posts are taken.
type nop struct{}

func (nop) Run() {}
