package task

import (
	"context"
	"reflect"
	"runtime"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/loop"
)

// A Machine is a computation that advances in steps.
type Machine[T any] interface {
	// Step advances to the next point where the machine must wait, and returns
	// what it waits for: a future or a task, [Yielded] to go on in the next turn,
	// or [Done] when it has finished, with its error. A settled future goes on at
	// once.
	//
	// ctx is the task's context. thrown is nil, or the cancellation to resume
	// with: a *future.CanceledError, because the task was canceled or because
	// what it waited for was. Other failures are read from what it waited for.
	// A machine may ignore thrown and wait again. Canceled before its first step,
	// a machine never steps.
	Step(ctx context.Context, thrown error) (future.Waiter, error)

	// Result is asked for once, after Done without an error.
	Result() T
}

// A mark is a Waiter that is not one.
type mark struct{ future.Future[struct{}] }

var (
	done, yielded mark

	// Done is what Step returns when a machine has finished.
	Done future.Waiter = &done
	// Yielded is what Step returns to be called again in the next turn.
	Yielded future.Waiter = &yielded
)

// Any is a task whatever the type of its result. (asyncio: what all_tasks and
// current_task return)
type Any interface {
	future.Waiter
	// ID returns a number that is unique in the loop, from 1, in order of start.
	ID() uint64
	// Name, SetName, String, Canceling, Uncancel and Body are those of Task.
	Name() string
	SetName(name string)
	String() string
	Canceling() int
	Uncancel() int
	Body() string
	// Awaits returns what the task waits for, or nil if it is ready or done.
	Awaits() future.Waiter
	// CanceledBy returns the name of the task that last canceled this one, ""
	// for a callback, and false if it was not canceled or is done.
	CanceledBy() (name string, ok bool)
}

// A Task is a computation on a loop, and the future of its result: Await, Result,
// OnDone and the like are the future's. Start it with [Start], [Go], [StartNow] or
// [StartMachine]. It must be used on its loop.
//
// The loop keeps every task until it is done; nobody else needs to.
type Task[T any] struct {
	*future.Future[T] // &fut
	c                 core
	fut               future.Future[T]
	m                 Machine[T]
}

// A bodyFunc is a function body, in the place of the machine.
type bodyFunc[T any] func(ctx context.Context) (T, error)

func (bodyFunc[T]) Step(context.Context, error) (future.Waiter, error) { panic("task: not a machine") }

func (bodyFunc[T]) Result() T { panic("task: not a machine") }

// A procFunc is a function body without a result, in the place of the machine.
type procFunc func(ctx context.Context) error

func (procFunc) Step(context.Context, error) (future.Waiter, error) { panic("task: not a machine") }
func (procFunc) Result() struct{}                                   { panic("task: not a machine") }

// Start makes a task that runs fn, and returns before fn runs: its first step is
// queued. ctx is only handed on: fn's ctx has its values, its task-local variables
// and the scopes that the caller derived, but does not end when the caller's task
// is canceled or done. ctx must carry a loop: a task's, or [loop.Loop.Context] in
// a callback. It must be called on the loop. (asyncio: create_task)
//
// A panic in fn fails the task with a [*coro.PanicError]; see [coro] for
// runtime.Goexit. An error that nobody retrieves is reported to the loop's OnError.
func Start[T any](ctx context.Context, fn func(ctx context.Context) (T, error)) *Task[T] {
	if fn == nil {
		panic("task: Start with a nil function")
	}
	t := newTask[T](ctx, bodyFunc[T](fn), 0)
	t.c.loop.Queue(&t.c)
	return t
}

// Go is [Start] for a body without a result.
func Go(ctx context.Context, fn func(ctx context.Context) error) *Task[struct{}] {
	if fn == nil {
		panic("task: Go with a nil function")
	}
	t := newTask[struct{}](ctx, procFunc(fn), 0)
	t.c.loop.Queue(&t.c)
	return t
}

// StartMachine makes a task that steps m. See [Start]. When a scope that it was
// started in ends, the machine is canceled, once.
func StartMachine[T any](ctx context.Context, m Machine[T]) *Task[T] {
	t := newTask(ctx, m, machine)
	t.c.loop.Queue(&t.c)
	return t
}

// StartNow is [Start] with the first step run before it returns: a body that
// need not wait is done then and never enters the queue. It must be called while
// the loop runs. (asyncio: eager_start=True)
func StartNow[T any](ctx context.Context, fn func(ctx context.Context) (T, error)) *Task[T] {
	t := newTask[T](ctx, bodyFunc[T](fn), 0)
	if !t.c.loop.Running() {
		t.c.loop.Queue(&t.c)
		return t
	}
	t.c.Run()
	return t
}

func newTask[T any](ctx context.Context, m Machine[T], fl flags) *Task[T] {
	h := holder(ctx)
	e := env.Inherit(ctx, h)
	l := e.Loop.(*loop.Loop)
	if l.Closed() {
		panic("task: Start on a closed loop")
	}
	l.CheckGoroutine("task.Start")
	t := &Task[T]{m: m}
	t.Future = &t.fut
	t.c.loop, t.c.self, t.c.flags = l, t, fl
	t.c.env.Store(e)
	future.Init(&t.fut, l, t)
	r := registryOf(l)
	if l.Debug() {
		if fl&machine != 0 && reflect.TypeOf(m).Kind() == reflect.Pointer {
			r.noteMachine(m, &t.c)
		}
		own := *e
		own.Site = startSite()
		t.c.env.Store(&own)
	}
	r.add(&t.c)
	if fl&machine != 0 && e.Scope != nil {
		followScope(t, l, e.Scope)
	}
	t.c.trace(loop.TaskStart)
	return t
}

// followScope cancels a machine when the scope that it was started in ends. A
// function's waits see the scope themselves.
func followScope(t Any, l *loop.Loop, s context.Context) {
	f := &canceler{ctx: s, t: t}
	stop := context.AfterFunc(s, func() { _ = l.QueueThreadsafe(f) }) // a closed loop has ended the task
	unwatch := l.BeforeIdle(f)                                        // a virtual clock does not wait for that
	t.OnDone(func() { stop(); unwatch() })
}

// holder returns the innermost context of this module that ctx has.
func holder(ctx context.Context) env.Holder {
	if t, ok := ctx.(*core); ok {
		return t
	}
	if h, ok := ctx.Value(env.HolderKey).(env.Holder); ok {
		return h
	}
	panic("task: context without a loop: pass the ctx of a task's body, or Loop.Context in a callback")
}

// RunBody runs the body on its stack. It is for package coro.
func (t *Task[T]) RunBody() {
	if fn, ok := t.m.(bodyFunc[T]); ok {
		t.finish(fn(&t.c))
		return
	}
	var none T
	t.finish(none, any(t.m).(procFunc)(&t.c))
}

// maxSteps bounds the steps that a machine may take in one turn.
const maxSteps = 1 << 10

// stepMachine steps until the machine has to wait.
func (t *Task[T]) stepMachine(thrown error) {
	c := &t.c
	if thrown != nil && c.flags&begun == 0 {
		t.fail(thrown)
		return
	}
	c.flags |= begun
	for steps := 1; ; steps++ {
		w, err := t.m.Step(c, thrown)
		if w == nil {
			panic("task: Step returned a nil Waiter")
		}
		f := future.CellOf(w)
		switch f {
		case &done.Cell:
			t.stopMachine(err)
			return
		case &yielded.Cell:
			c.suspended()
			return
		}
		c.checkAwait(f)
		c.waiting = f
		if !f.Done() || c.flags&mustCancel != 0 {
			c.suspended()
			return
		}
		if steps == maxSteps {
			c.loop.Queue(c) // everything it asks for is there already: let others run
			return
		}
		thrown = c.takeThrown()
	}
}

func (t *Task[T]) stopMachine(err error) {
	if err != nil {
		t.fail(err)
		return
	}
	t.finish(t.m.Result(), nil)
}

// finish settles the task with what its body returned. A task that was canceled
// and did not wait again ends canceled even if its body returned a value.
func (t *Task[T]) finish(v T, err error) {
	switch {
	case err != nil:
		t.fail(err)
	case t.c.flags&mustCancel != 0:
		t.c.flags &^= mustCancel
		t.c.finish()
		t.m = nil
		future.SettleCanceled(&t.fut, t.c.cause)
	default:
		t.c.finish()
		t.m = nil
		future.Settle(&t.fut, v, nil)
	}
}

func (t *Task[T]) fail(err error) {
	if t.c.flags&finished != 0 {
		return
	}
	t.c.finish()
	t.m = nil
	var zero T
	future.Settle(&t.fut, zero, err)
}

func (t *Task[T]) taskCore() *core { return &t.c }

// Settling reports whether the task is settling its future. It is for package
// future.
func (t *Task[T]) Settling() bool { return t.c.flags&finished != 0 }

// Site returns where the task was started, as file:line, in debug mode, else "".
func (t *Task[T]) Site() string { return t.c.Site() }

// CancelFuture is Cancel of the task's future. It is for package future.
func (t *Task[T]) CancelFuture(cause error) bool { return t.c.cancel(cause) }

// CancelCause returns the cause of the last Cancel that was not delivered at
// once. It is for package future.
func (t *Task[T]) CancelCause() error { return t.c.cause }

// ID returns a number that is unique in the loop, from 1, in order of start.
func (t *Task[T]) ID() uint64 { return t.c.id }

// Name returns the task's name. The default is Task-ID.
func (t *Task[T]) Name() string { return t.c.Name() }

// SetName sets the task's name. Names need not be unique.
func (t *Task[T]) SetName(name string) { t.c.name = &name }

// Canceling returns how many calls of Cancel have not been taken back by
// Uncancel. (asyncio: cancelling)
func (t *Task[T]) Canceling() int { return int(t.c.cancels) }

// Uncancel takes one call of Cancel back and returns Canceling. When that
// reaches zero a cancellation not yet delivered is dropped. It is for constructs
// that cancel a task themselves, such as timeouts. (asyncio: uncancel)
func (t *Task[T]) Uncancel() int { return int(t.c.uncancel()) }

func (t *core) uncancel() int32 {
	if t.cancels > 0 {
		t.cancels--
		if t.cancels == 0 && t.flags&mustCancel != 0 {
			t.flags &^= mustCancel
		}
	}
	return t.cancels
}

// Awaits returns what the task waits for, or nil if it is ready or done.
func (t *Task[T]) Awaits() future.Waiter {
	if w := t.c.waiting; w != nil && !w.Done() {
		return w
	}
	return nil
}

// CanceledBy returns the name of the task that last called Cancel on this one, ""
// if a callback did, and false if nobody has or if the task is done.
func (t *Task[T]) CanceledBy() (name string, ok bool) {
	name, ok = registryOf(t.c.loop).cancelers[&t.c]
	return name, ok
}

// String returns the task's name, state, and what it waits for.
func (t *Task[T]) String() string { return t.c.String() }

// Body names the function or the machine that the task runs.
func (t *Task[T]) Body() string {
	switch m := t.m.(type) {
	case nil:
		return ""
	case bodyFunc[T]:
		return funcName(m)
	default:
		if fn, ok := any(m).(procFunc); ok {
			return funcName(fn)
		}
		return reflect.TypeOf(m).String()
	}
}

func funcName(fn any) string {
	if f := runtime.FuncForPC(reflect.ValueOf(fn).Pointer()); f != nil {
		return f.Name()
	}
	return "func"
}

var _ coro.Body = (*Task[int])(nil)
