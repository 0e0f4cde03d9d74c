package loop

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/eddyloop/eddy/internal/env"
)

// FromContext returns the loop that ctx belongs to: ctx must come from a task's
// body, from [Loop.Context], or be derived from such a context. It panics if it
// does not. It may be called from any goroutine.
// (asyncio: get_running_loop)
func FromContext(ctx context.Context) *Loop {
	if l, ok := ctx.Value(env.LoopKey).(*Loop); ok {
		return l
	}
	panic("loop: context without a loop: pass the ctx of a task's body, or Loop.Context in a callback")
}

// Context returns the context of what runs now: in a task's body the task's; in
// a callback a copy of the context in which the callback was arranged, without a
// task; otherwise the loop's own. It is what to start a task with in a callback.
// It must be called on the loop.
func (l *Loop) Context() context.Context {
	if l.running != nil {
		return l.running
	}
	if l.callback == nil {
		l.callback = newCallbackContext(l.env)
	}
	return l.callback
}

// WithValues makes ctx the context whose values the loop's own callbacks, and
// the tasks started from them, find. It must be called on the loop.
func (l *Loop) WithValues(ctx context.Context) {
	e := *l.root
	e.Values = ctx
	if l.env == l.root {
		l.env, l.callback = &e, nil
	}
	l.root = &e
}

// capture returns the environment for what is arranged now.
func (l *Loop) capture() *env.Env {
	if l.running != nil {
		return l.running.Env()
	}
	if l.callback != nil {
		return l.callback.Env()
	}
	return l.env
}

// A callbackContext is the context of a callback. It does not end, unless with
// the scope it was arranged in.
type callbackContext struct{ env atomic.Pointer[env.Env] }

func newCallbackContext(e *env.Env) *callbackContext {
	c := new(callbackContext)
	c.env.Store(e)
	return c
}

func (c *callbackContext) Env() *env.Env     { return c.env.Load() }
func (c *callbackContext) SetEnv(e *env.Env) { c.env.Store(e) }

func (c *callbackContext) Deadline() (time.Time, bool) {
	if c.Env().Scope != nil {
		return c.Env().Scope.Deadline()
	}
	return time.Time{}, false
}

func (c *callbackContext) Done() <-chan struct{} {
	if c.Env().Scope != nil {
		return c.Env().Scope.Done()
	}
	return nil
}

func (c *callbackContext) Err() error {
	if c.Env().Scope != nil {
		return c.Env().Scope.Err()
	}
	return nil
}

func (c *callbackContext) Value(key any) any {
	switch key {
	case env.LoopKey:
		return c.Env().Loop
	case env.HolderKey:
		return env.Holder(c)
	case env.TaskKey:
		return nil
	}
	return c.Env().Values.Value(key)
}

// Running is what runs on a loop in place of a callback: a task. It is the
// context of the code it runs. It is for packages that run computations.
type Running interface {
	env.Holder
	// Fault ends the computation after its step panicked or left by Goexit.
	Fault(err error)
	// String names it in reports.
	String() string
}

// Enter makes r what runs on the loop, and returns what ran before, for Leave.
// It is for packages that run computations.
func (l *Loop) Enter(r Running) (before Running) {
	before, l.running = l.running, r
	return before
}

// Leave ends what Enter began.
func (l *Loop) Leave(before Running) { l.running = before }

// Current returns the computation that runs now, or nil in a callback or when
// the loop does not run.
func (l *Loop) Current() Running { return l.running }

// Capture returns the environment of what runs now, for a call to be made later.
// It is for packages that keep callbacks of their own.
func (l *Loop) Capture() *env.Env { return l.capture() }

// CallIn calls fn as a callback that was arranged in e. It must itself be called
// from a queued call, and is for packages that keep callbacks of their own.
func (l *Loop) CallIn(e *env.Env, fn func()) {
	l.env, l.callback = e, nil
	fn()
	l.env, l.callback = l.root, nil
}

// Sited returns fn or, in debug mode, fn with the place of its registration: the
// caller of the caller's caller.
func (l *Loop) Sited(fn func()) func() {
	if l.debug == nil {
		return fn
	}
	return l.siteAt(3, fn)
}

// NextCall returns the call that is to be made after the one that runs, or nil if
// the batch has no more, or each call is watched: in debug mode. It is for packages
// that run computations, to make the call themselves after TakeCall.
func (l *Loop) NextCall() Runnable {
	if l.batch == 0 || l.debug != nil {
		return nil
	}
	return l.ready.peek()
}

// TakeCall takes what NextCall returned out of the queue.
func (l *Loop) TakeCall() {
	l.batch--
	l.ready.pop()
	l.callback = nil
}
