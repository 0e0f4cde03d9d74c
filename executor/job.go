package executor

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/loop"
)

// A job is a call to be made elsewhere, without its type of result. It is the
// context of the function that it calls.
//
//	queued --a goroutine takes it--> running --returns--> gone
//	queued --canceled, or cut off by a shutdown--> gone
//
// Canceling a job that runs changes dropped, not its place: nothing can stop a
// function that does not listen.
type job struct {
	self    self
	pool    *Pool
	values  context.Context // of its context
	ending  atomic.Pointer[ending]
	since   atomic.Int64 // in its place, ns since the pool was made; 0: found one at once
	dropped atomic.Bool  // nobody wants the result
	out     bool         // among what the loop waits for; on the loop
	ran     bool         // its function was called

	// Under pool.mu.
	place      place
	prev, next *job // in the list of its place
}

type place uint8

const (
	queued place = iota
	running
	gone
)

// self is what a job needs of its typed half.
type self interface {
	call()          // calls the function and keeps its result
	fail(err error) // keeps err as the result
	post() error    // hands the result over, from any goroutine
	pc() uintptr    // of the function
}

// do runs the job to its end, unless it leaves by Goexit: then finish is left to
// the caller.
//
// It is not inlined because Shutdown finds a job's stack by this frame and its
// argument, which is printed rightly because it is still needed after the call.
//
//go:noinline
func (j *job) do() {
	j.run()
	j.finish()
}

// run calls the function and contains what it does.
func (j *job) run() {
	j.ran = true
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			j.pool.panics.Add(1)
			j.self.fail(coro.NewPanicError(v))
		} else {
			j.self.fail(ErrGoexit) // which goes on when this returns
		}
	}()
	j.self.call()
	returned = true
}

// finish ends the job's context and hands its result over, or drops it.
func (j *job) finish() {
	j.end(nil)
	if j.dropped.Load() || j.self.post() != nil {
		j.pool.late.Add(1)
	}
}

// An ending is the part of a job's context that ends, made when somebody asks for
// it: a context of package context, so that those derived from it find it without
// a goroutine.
type ending struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// ended stands for the ending of a job that was over before anybody asked.
var ended = func() *ending {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(nil)
	return &ending{ctx, cancel}
}()

func (j *job) makeEnding() *ending {
	if e := j.ending.Load(); e != nil {
		return e
	}
	e := new(ending)
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	if !j.ending.CompareAndSwap(nil, e) {
		return j.ending.Load()
	}
	return e
}

// interrupt ends the context while the job runs.
func (j *job) interrupt(cause error) { j.makeEnding().cancel(cause) }

// end ends the context of a job that is over.
func (j *job) end(cause error) {
	if !j.ending.CompareAndSwap(nil, ended) {
		j.ending.Load().cancel(cause)
	}
}

// Done implements context.Context.
func (j *job) Done() <-chan struct{} { return j.makeEnding().ctx.Done() }

// Err implements context.Context.
func (j *job) Err() error {
	if e := j.ending.Load(); e != nil {
		return e.ctx.Err()
	}
	return nil
}

// Deadline implements context.Context. There is none: that of Do's ctx is on the
// loop's clock, which need not be the one that the job lives by.
func (j *job) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context. Loop and task are hidden: a job runs on
// another goroutine, and whatever finds them would use them there.
func (j *job) Value(key any) any {
	switch key {
	case env.LoopKey, env.HolderKey, env.TaskKey, env.ScopeKey:
		return nil
	}
	if e := j.ending.Load(); e != nil {
		// Package context looks for its own kind of context by a key.
		if v := e.ctx.Value(key); v != nil {
			return v
		}
	}
	return context.WithoutCancel(j.values).Value(key)
}

// funcName returns the name of the job's function.
func (j *job) funcName() string {
	if f := runtime.FuncForPC(j.self.pc()); f != nil {
		return f.Name()
	}
	return "func"
}

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

// start hands fn to p. wait lets it into a queue that is full.
func start[T any](values context.Context, l *loop.Loop, p *Pool, fn func(ctx context.Context) (T, error), wait bool) *future.Future[T] {
	if fn == nil {
		panic("executor: job without a function")
	}
	l.CheckGoroutine("executor.Submit")
	j := &loopJob[T]{fn: fn, entry: reflect.ValueOf(fn).Pointer()}
	j.self, j.pool, j.values = j, p, values
	future.Init(&j.fut, l, j)
	if err := p.add(&j.job, wait); err != nil {
		j.fn = nil
		future.Settle(&j.fut, j.value, err)
		return &j.fut
	}
	j.out = true
	l.AddOutside(1)
	return &j.fut
}

func (j *loopJob[T]) call() {
	fn := j.fn
	j.fn = nil
	j.value, j.err = fn(&j.job)
	if j.err == nil || j.Err() == nil || !errors.Is(j.err, context.Canceled) {
		return
	}
	// A shutdown has ended the job, and the job says so in the words of package
	// context, which would be a failure.
	if future.AsCanceled(j.err) == nil {
		j.err = &future.CanceledError{Cause: context.Cause(&j.job)}
	}
}

func (j *loopJob[T]) fail(err error) { j.fn, j.err = nil, err }
func (j *loopJob[T]) pc() uintptr    { return j.entry }
func (j *loopJob[T]) post() error    { return j.fut.Loop().QueueThreadsafe(j) }

// Run delivers the result, on the loop.
func (j *loopJob[T]) Run() {
	if j.fut.Done() { // canceled after it was posted
		if j.ran {
			j.pool.late.Add(1)
		}
		return
	}
	j.home()
	value := j.value
	var zero T
	j.value = zero
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
	j.pool.drop(&j.job, cause)
	j.home()
	var zero T
	return future.Settle(&j.fut, zero, err)
}

// Name and String name the job in reports.
func (j *loopJob[T]) Name() string   { return "job " + j.funcName() }
func (j *loopJob[T]) String() string { return j.Name() }
