package executor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

// Go hands fn to ex and returns the job at once; it may be called from any
// goroutine. If ex's queue is full the job has failed with [ErrQueueFull], if ex is
// closed with [ErrClosed]. Jobs of one lane start in the order they were handed in.
// See the package comment for fn's ctx. A panic of fn is a failure with a
// [*coro.PanicError]; runtime.Goexit in fn is [ErrGoexit].
// (concurrent.futures: submit)
func Go[T any](ex Executor, fn func(ctx context.Context) (T, error)) *Job[T] {
	switch {
	case laneOf(ex) == nil:
		panic("executor: Go without an executor: only a loop has a default one")
	case fn == nil:
		panic("executor: job without a function")
	}
	return hand(context.Background(), laneOf(ex), fn, pcOf(fn), false)
}

// hand hands fn to n. entry names the job; wait lets it into a queue that is full.
func hand[T any](values context.Context, n *Lane, fn func(ctx context.Context) (T, error), entry uintptr, wait bool) *Job[T] {
	j := &Job[T]{fn: fn, entry: entry}
	j.j.self, j.j.lane, j.j.values = j, n, values
	if err := n.add(&j.j, wait); err != nil {
		j.j.values = context.Background()
		j.fail(err)
		j.settle()
	}
	return j
}

// A Job is a call that an executor makes, and its outcome. Its methods may be
// called from any goroutine, those that take a loop or suspend a task on the loop.
// Make it with [Go]. (concurrent.futures: Future)
//
//	queued --a goroutine takes it--> running --returns--> done
//	queued --Cancel, or cut off by a shutdown--> done, canceled
type Job[T any] struct {
	handle
	fn    func(ctx context.Context) (T, error) // nil once called, or never to be
	entry uintptr                              // fn's pc

	value T // before done
}

// An AnyJob is a *[Job] whose type of result does not matter.
type AnyJob interface {
	Done() <-chan struct{}
	Err() error
	Canceled() bool
	Running() bool
	Cancel() bool
	Interrupt(cause error) bool
	OnDone(fn func()) (stop func() bool)
	String() string
	base() *handle
}

// A handle is the part of a Job that does not depend on the type of its result.
type handle struct {
	j    job
	done atomic.Bool
	err  error // before done

	mu       sync.Mutex
	ch       chan struct{} // closed when done; made when asked for
	watchers []watcher     // oldest first
}

// A watcher is told once that a job is done, by the goroutine that ends it, or at
// once.
type watcher interface{ told() }

func (h *handle) base() *handle { return h }

func (j *Job[T]) call() {
	fn := j.fn
	j.fn = nil
	value, err := fn(&j.j)
	j.value, j.err = value, j.j.outcome(err)
}

func (j *Job[T]) fail(err error) { j.fn, j.err = nil, err }
func (j *Job[T]) pc() uintptr    { return j.entry }
func (j *Job[T]) post() error    { j.settle(); return nil }

// settle makes the outcome known. It goes on telling when it is called again,
// because a watcher called Goexit.
func (h *handle) settle() {
	h.mu.Lock()
	if !h.done.Swap(true) && h.ch != nil {
		close(h.ch)
	}
	h.mu.Unlock()
	h.tell()
}

func (h *handle) tell() {
	through := false
	defer func() {
		if !through {
			h.tell() // and then Goexit goes on
		}
	}()
	for w := h.nextWatcher(); w != nil; w = h.nextWatcher() {
		w.told()
	}
	through = true
}

func (h *handle) nextWatcher() watcher {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.watchers) == 0 {
		h.watchers = nil
		return nil
	}
	w := h.watchers[0]
	h.watchers[0] = nil
	h.watchers = h.watchers[1:]
	return w
}

// watch has w told when the job is done, now if it is.
func (h *handle) watch(w watcher) {
	h.mu.Lock()
	if !h.done.Load() {
		h.watchers = append(h.watchers, w)
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	w.told()
}

// unwatch reports whether it prevented w from being told.
func (h *handle) unwatch(w watcher) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.Index(h.watchers, w)
	if i >= 0 {
		h.watchers = slices.Delete(h.watchers, i, i+1)
	}
	return i >= 0
}

// Done returns a channel that is closed when the job is done.
func (h *handle) Done() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ch == nil {
		h.ch = make(chan struct{})
		if h.done.Load() {
			close(h.ch)
		}
	}
	return h.ch
}

// Err returns the error of a job that has failed or was canceled, nil for one that
// has a result, and [future.ErrNotDone] for one that is not done. It does not wait.
// (concurrent.futures: exception)
func (h *handle) Err() error {
	if !h.done.Load() {
		return future.ErrNotDone
	}
	return h.err
}

// Canceled reports whether the job is done and was canceled: by Cancel, by a
// shutdown, or by its function, which returned a cancellation.
func (h *handle) Canceled() bool { return h.done.Load() && future.AsCanceled(h.err) != nil }

// Running reports whether the job has started and is not done.
func (h *handle) Running() bool {
	n := h.j.lane
	n.mu.Lock()
	defer n.mu.Unlock()
	return h.j.place == running && !h.done.Load()
}

// Cancel cancels a job that has not started, so that it never will, and reports
// whether it did. It does nothing to one that runs: see Interrupt.
func (h *handle) Cancel() bool {
	if !h.j.lane.unqueue(&h.j) {
		return false
	}
	h.j.values = context.Background()
	h.j.self.fail(&future.CanceledError{})
	h.settle()
	return true
}

// Interrupt ends the ctx of a job that runs, with cause, and reports whether it
// did: not if the job has not started, nor if its ctx had ended. What becomes of
// the job is its function's affair; one that returns its ctx's error is canceled.
func (h *handle) Interrupt(cause error) bool {
	if !h.Running() {
		return false
	}
	if cause == nil {
		cause = &future.CanceledError{}
	}
	return h.j.interrupt(cause)
}

// OnDone arranges for fn to be called when the job is done, by the goroutine that
// ends it: a goroutine of the pool, or the caller of Cancel or of a shutdown. If the
// job is done, fn is called at once. Functions are called in the order they were
// handed in; they should not block, as they keep the job's place. stop reports
// whether it prevented the call. A panic of fn goes to log/slog.
// (concurrent.futures: add_done_callback)
func (h *handle) OnDone(fn func()) (stop func() bool) {
	if fn == nil {
		panic("executor: OnDone with a nil function")
	}
	w := &callback{fn, h}
	h.watch(w)
	return func() bool { return h.unwatch(w) }
}

type callback struct {
	fn func()
	h  *handle
}

func (c *callback) told() {
	defer func() {
		if v := recover(); v != nil {
			slog.Error("executor: panic in OnDone", "job", c.h.j.funcName(), "error", coro.NewPanicError(v))
		}
	}()
	c.fn()
}

// String returns the name of the function and where the job stands.
func (h *handle) String() string {
	state := "queued"
	switch {
	case h.Canceled():
		state = "canceled"
	case h.done.Load() && h.err != nil:
		state = "failed: " + h.err.Error()
	case h.done.Load():
		state = "done"
	case h.Running():
		state = "running"
	}
	return fmt.Sprintf("job %s %s", h.j.funcName(), state)
}

// Result waits until the job is done, or ctx has ended, and returns its result. It
// blocks its goroutine; with the ctx of a task or a callback it panics, unless the
// job is done: there, use [Job.Await]. In a job, pass the job's own ctx: Result then
// returns [ErrDeadlock] if it would wait for ever. See the package comment.
//
// Cancel safety: the end of ctx does not cancel the job. The error is ctx's then,
// and its cause is in it.
func (j *Job[T]) Result(ctx context.Context) (T, error) {
	if !j.done.Load() {
		mayBlock(ctx, "executor: Job.Result")
		if err := await(ctx, &j.handle); err != nil {
			var zero T
			return zero, err
		}
	}
	return j.value, j.err
}

// mayBlock panics if ctx says that the caller is on a loop.
func mayBlock(ctx context.Context, what string) {
	if ctx.Value(env.LoopKey) != nil {
		panic(what + " blocks its goroutine, which by its ctx is that of a loop")
	}
}

// ctxError returns why ctx has ended, as an error that is ctx.Err() too.
func ctxError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// Await suspends the calling task until the job is done, and returns its result. If
// the job is done it returns at once, without suspending. It panics outside of a
// task. (asyncio: await wrap_future(job), behind a shield)
//
// Cancel safety: canceling the task ends the wait. It does not cancel the job, which
// others may wait for: use Future or Cancel for that.
func (j *Job[T]) Await(ctx context.Context) (T, error) {
	if j.done.Load() {
		return j.value, j.err
	}
	return j.future(park.From(ctx, "executor: Job.Await").Loop(), true).Await(ctx)
}

// Future returns a future on l that is settled as the job is, for gathering and the
// like. If the job is done, the future is settled already. Canceling the future
// settles it, and cancels the job as Cancel does: one that runs goes on. It must be
// called on the loop. (asyncio: wrap_future)
func (j *Job[T]) Future(l *loop.Loop) *future.Future[T] {
	l.CheckGoroutine("executor.Job.Future")
	return j.future(l, false)
}

func (j *Job[T]) future(l *loop.Loop, shield bool) *future.Future[T] {
	f := &jobFuture[T]{job: j, shield: shield}
	future.Init(&f.fut, l, f)
	if j.done.Load() {
		future.Settle(&f.fut, j.value, j.err)
		return &f.fut
	}
	l.AddOutside(1)
	j.watch(f)
	return &f.fut
}

// A jobFuture is a job as a future.
type jobFuture[T any] struct {
	fut    future.Future[T]
	job    *Job[T]
	shield bool // canceling the future leaves the job alone
}

// told has the loop look at the job.
func (f *jobFuture[T]) told() { _ = f.fut.Loop().QueueThreadsafe(f) } // on a closed loop nobody waits

// Run settles the future, on the loop.
func (f *jobFuture[T]) Run() {
	if f.fut.Done() {
		return
	}
	f.fut.Loop().AddOutside(-1)
	future.Settle(&f.fut, f.job.value, f.job.err)
}

// CancelFuture implements future.Canceler.
func (f *jobFuture[T]) CancelFuture(cause error) bool {
	f.job.unwatch(f)
	if !f.shield {
		f.job.Cancel()
	}
	f.fut.Loop().AddOutside(-1)
	return future.SettleCanceled(&f.fut, cause)
}

// String names what is waited for.
func (f *jobFuture[T]) String() string { return f.job.String() }
