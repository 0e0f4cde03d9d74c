package executor

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
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
	self     self
	lane     *Lane
	values   context.Context // of its context
	ending   atomic.Pointer[ending]
	since    atomic.Int64 // in its place, ns since the pool was made; 0: found one at once
	dropped  atomic.Bool  // nobody wants the result
	out      bool         // among what the loop waits for; on the loop
	ran      bool         // its function was called
	panicked bool

	// Under lane.mu.
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
	fail(err error) // keeps err as the result, and lets the function go
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
			j.panicked = true
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
		j.lane.late.Add(1)
	}
}

// outcome returns what err means for a job whose function has returned it. When
// the context has ended before, and the function says so in the words of package
// context, which would be a failure, the job is canceled.
func (j *job) outcome(err error) error {
	if err == nil || j.Err() == nil || !errors.Is(err, context.Canceled) || future.AsCanceled(err) != nil {
		return err
	}
	return &future.CanceledError{Cause: context.Cause(j)}
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

// interrupt ends the context while the job runs, and reports whether it had not
// ended before.
func (j *job) interrupt(cause error) bool {
	e := j.makeEnding()
	before := e.ctx.Err() == nil
	e.cancel(cause)
	return before
}

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

// jobKey finds the job that a ctx belongs to.
var jobKey = new(int)

// jobOf returns the job that ctx is of or was derived from, or nil.
func jobOf(ctx context.Context) *job {
	j, _ := ctx.Value(jobKey).(*job)
	return j
}

// Value implements context.Context. Loop and task are hidden: a job runs on
// another goroutine, and whatever finds them would use them there.
func (j *job) Value(key any) any {
	switch key {
	case jobKey:
		return j
	case env.LoopKey, env.HolderKey, env.TaskKey, env.ScopeKey:
		return nil
	case env.VarsKey:
		if v := j.values.Value(key); v != nil {
			return v
		}
		return noVars
	}
	if e := j.ending.Load(); e != nil {
		// Package context looks for its own kind of context by a key.
		if v := e.ctx.Value(key); v != nil {
			return v
		}
	}
	return context.WithoutCancel(j.values).Value(key)
}

// noVars is what a job sees of task-local variables that nobody has set, or that it
// was not given.
var noVars = new(env.Env)

// funcName returns the name of the job's function.
func (j *job) funcName() string {
	if f := runtime.FuncForPC(j.self.pc()); f != nil {
		return f.Name()
	}
	return "func"
}
