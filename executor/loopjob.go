package executor

import (
	"context"
	"reflect"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
)

// A loopJob is a job whose result is a future's. It is all that a job allocates:
// the future, its Canceler, and what is posted to the loop.
type loopJob[T any] struct {
	job
	fut   future.Future[T]
	fn    func(ctx context.Context) (T, error)
	entry uintptr // fn's pc; fn itself is let go as soon as possible

	// Written by the goroutine that runs fn, read on the loop once posted.
	value T
	err   error
}

// pcOf returns what names a job with fn, 0 without fn.
func pcOf[T any](fn func(ctx context.Context) (T, error)) uintptr {
	return reflect.ValueOf(fn).Pointer()
}

// start hands fn to n. entry names the job; wait lets it into a queue that is full.
func start[T any](values context.Context, l *loop.Loop, n *Lane, fn func(ctx context.Context) (T, error), entry uintptr, wait bool) *future.Future[T] {
	if fn == nil {
		panic("executor: job without a function")
	}
	l.CheckGoroutine("executor.Submit")
	j := &loopJob[T]{fn: fn, entry: entry}
	j.self, j.lane, j.values = j, n, values
	future.Init(&j.fut, l, j)
	if err := n.add(&j.job, wait); err != nil {
		j.letGo()
		future.Settle(&j.fut, j.value, err)
		return &j.fut
	}
	j.out = true
	l.AddOutside(1)
	return &j.fut
}

// letGo forgets what only a run would need, for a job that will not run: its future
// may be kept for long.
func (j *loopJob[T]) letGo() { j.fn, j.values = nil, context.Background() }

func (j *loopJob[T]) call() {
	fn := j.fn
	j.fn = nil
	value, err := fn(&j.job)
	if j.dropped.Load() {
		return // which the future of a job that came late must not keep
	}
	j.value, j.err = value, j.outcome(err)
}

func (j *loopJob[T]) fail(err error) { j.fn, j.err = nil, err }
func (j *loopJob[T]) pc() uintptr    { return j.entry }
func (j *loopJob[T]) post() error    { return j.fut.Loop().QueueThreadsafe(j) }

// Run delivers the result, on the loop.
func (j *loopJob[T]) Run() {
	value := j.value
	var zero T
	j.value = zero
	if j.fut.Done() { // canceled after it was posted
		if j.ran {
			j.lane.late.Add(1)
		}
		return
	}
	j.home()
	future.Settle(&j.fut, value, j.err)
}

// home tells the loop that it need not wait for the job any more.
func (j *loopJob[T]) home() {
	if j.out {
		j.out = false
		j.fut.Loop().AddOutside(-1)
	}
}

// CancelFuture implements future.Canceler.
func (j *loopJob[T]) CancelFuture(cause error) bool {
	err := &future.CanceledError{Cause: cause}
	if cause == nil {
		cause = err
	}
	if j.lane.unqueue(&j.job) {
		j.letGo()
	} else {
		j.dropped.Store(true)
		j.interrupt(cause)
	}
	j.home()
	var zero T
	return future.Settle(&j.fut, zero, err)
}

// Name and String name the job in reports.
func (j *loopJob[T]) Name() string   { return "job " + j.funcName() }
func (j *loopJob[T]) String() string { return j.Name() }
