package task

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

// core is a task without its type of result: what is queued and stepped. It is
// the context of the body.
//
// A task that is not done is in exactly one of three places:
//
//	queued   in the loop's queue: new, yielded, or woken; waiting may be set
//	running  l.Current() is the task
//	waiting  a watcher of waiting
//
//	queued --its turn--> running --Park--> waiting --settled--> queued
//	running --Yield--> queued; running --body ends--> done
//
// Cancel while waiting cancels what it waits for, and the wait ends with that.
// Cancel in the other places, or when that is settled already, sets mustCancel:
// the next step throws.
type core struct {
	loop    *loop.Loop
	env     atomic.Pointer[env.Env]
	self    self         // the *Task[T]
	waiting *future.Cell // what it waits for, until its next step
	worker  *coro.Worker // of a stackful body that has begun
	cause   error        // of the last Cancel that was not delivered at once
	flags   flags
	cancels int32 // Canceling
	id      uint64
	name    *string // nil: Task-id
	prev    *core   // in the registry, while not done
	next    *core
	over    atomic.Bool            // finished, for other goroutines
	ending  atomic.Pointer[ending] // made when the context's Done is asked for
}

type flags uint32

const (
	machine    flags = 1 << iota // steps, has no stack
	begun                        // the body has run
	mustCancel                   // throw at the next step
	throwing                     // Park returns a cancellation
	finished
	walking // a cancellation passes through: awaits in a circle come back here
	closing // the loop ends: the answer to every wait is no
	held    // by a group's limit: not queued yet
	eager   // only for startIn: run the first step at once
)

// self is what the core needs of the typed task.
type self interface {
	Any
	coro.Body
	stepMachine(thrown error)
	fail(err error)
	future.Canceler
	taskCore() *core
}

// Run is a step: the loop calls it when the task is queued. Between it and the
// switch of stacks stands nothing that returns: see the loop's run.
func (t *core) Run() {
	if t.flags&(machine|mustCancel|finished) != 0 {
		if f := t.waiting; t.flags&(mustCancel|finished) == 0 && (f == nil || !f.Canceled()) {
			t.waiting = nil
			t.trace(loop.TaskStep)
			before := t.loop.Enter(t)
			t.self.stepMachine(nil)
			t.loop.Leave(before)
			return
		}
		t.runSlow()
		return
	}
	w := t.worker
	if w == nil {
		w = t.begin()
	}
	t.waiting = nil
	t.trace(loop.TaskStep)
	l := t.loop
	before := l.Enter(t)
	w.Chain = before == nil // not in StartNow, whose caller waits
	alive := w.Resume()
	t = l.Current().(*core) // another, if bodies followed each other on w
	l.Leave(before)
	if alive {
		t.suspended()
	} else {
		t.ended(w)
	}
}

// follow returns the body of the task that is next in the queue, if it has not
// begun, to run where the body of the current task has just returned: spawning a
// task that does not wait then takes no switch of stacks of its own.
func follow(w *coro.Worker, l *loop.Loop) coro.Body {
	t, ok := l.NextCall().(*core)
	if !ok || t.flags != 0 {
		return nil
	}
	l.TakeCall()
	l.Current().(*core).worker = nil
	t.worker = w
	t.flags = begun
	t.trace(loop.TaskStep)
	l.Enter(t)
	return t.self
}

// runSlow is Run for a cancellation and for a machine.
func (t *core) runSlow() {
	if t.flags&finished != 0 {
		return
	}
	t.trace(loop.TaskStep)
	thrown := t.takeThrown()
	before := t.loop.Enter(t)
	if t.flags&machine != 0 {
		t.self.stepMachine(thrown)
	} else {
		t.resume(thrown)
	}
	t.loop.Leave(before)
}

// begin gives the body a stack.
func (t *core) begin() *coro.Worker {
	w := t.loop.Coroutines().Get()
	t.worker = w
	t.flags |= begun
	w.Begin(t.self)
	return w
}

// takeThrown ends the wait and returns the cancellation that the step shall
// throw, if there is one. Of a stackful body that is only a cancellation of the
// task not yet delivered: Await itself returns what became of the future, and if
// that was canceled, too, this is said once. A machine is thrown both.
func (t *core) takeThrown() (thrown error) {
	w := t.waiting
	t.waiting = nil
	if t.flags&(mustCancel|machine) == 0 {
		return nil
	}
	canceled := w != nil && w.Canceled()
	if canceled && t.flags&machine != 0 {
		thrown = w.Err()
	} else if w != nil && !canceled && t.flags&mustCancel != 0 {
		_ = w.Err() // its failure counts as seen, although the body never sees it
	}
	if t.flags&mustCancel != 0 {
		t.flags &^= mustCancel
		if !canceled {
			thrown = &future.CanceledError{Cause: t.cause}
		}
	}
	return thrown
}

// resume runs the body to its next suspension, throwing. A body that is canceled
// before its first step never runs.
func (t *core) resume(thrown error) {
	w := t.worker
	if w == nil {
		t.self.fail(thrown)
		return
	}
	if thrown != nil {
		t.flags |= throwing
		t.cause = future.AsCanceled(thrown).Cause
	}
	w.Chain = false
	if w.Resume() {
		t.suspended()
	} else {
		t.ended(w)
	}
}

// ended attends to a body that has not ended by returning.
func (t *core) ended(w *coro.Worker) {
	t.worker = nil
	switch w.How() {
	case coro.Panicked:
		t.self.fail(w.Panic())
	case coro.Unwound:
		t.self.fail(&future.CanceledError{Cause: loop.ErrClosed})
	case coro.Exited:
		t.loop.Exit(w)
		t.Fault(coro.ErrGoexit)
	}
}

// suspended arranges for the next step. A cancellation that came while the body
// ran, and was not delivered, is delivered to what it waits for now.
func (t *core) suspended() {
	t.trace(loop.TaskSuspend)
	if t.flags&closing != 0 {
		return
	}
	w := t.waiting
	if w == nil {
		t.loop.Queue(t) // a bare yield
		return
	}
	w.Watch(t)
	if t.flags&mustCancel != 0 && w.Cancel(t.cause) {
		t.flags &^= mustCancel
	}
}

// CheckCurrent implements park.Parker.
func (t *core) CheckCurrent() {
	if t.loop.Current() != loop.Running(t) {
		t.misuse()
	}
}

// Park implements park.Parker.
func (t *core) Park(f park.Waitable) error {
	w := f.(*future.Cell)
	if t.loop.Current() != loop.Running(t) || t.flags&machine != 0 {
		t.misuse()
	}
	t.checkAwait(w)
	t.loop.CheckGoroutine("Await")
	if t.flags&closing != 0 {
		return t.refuse(w)
	}
	t.waiting = w
	t.worker.Suspend()
	return t.takeCause()
}

// checkAwait panics if t cannot wait for w.
func (t *core) checkAwait(w *future.Cell) {
	if w.Loop() != t.loop {
		panic("task: " + t.Name() + " awaits a future of another loop")
	}
	if p := w.Producer(); p != nil && p == future.Canceler(t.self) {
		panic("task: " + t.Name() + " awaits itself")
	}
}

// Yield implements park.Parker.
func (t *core) Yield() error {
	if t.loop.Current() != loop.Running(t) || t.flags&machine != 0 {
		t.misuse()
	}
	t.loop.CheckGoroutine("Yield")
	if t.flags&closing != 0 {
		return t.refuse(nil)
	}
	t.worker.Suspend()
	return t.takeCause()
}

// takeCause returns what the step threw.
func (t *core) takeCause() error {
	if t.flags&throwing == 0 {
		return nil
	}
	t.flags &^= throwing
	return &future.CanceledError{Cause: t.cause}
}

func (t *core) misuse() {
	switch {
	case t.flags&finished != 0:
		panic("task: ctx of " + t.Name() + " was used to wait after the task was done")
	case t.loop.Current() == loop.Running(t):
		panic("task: Await in the Step of a machine: return the future instead")
	}
	panic("task: ctx of " + t.Name() + " was used to wait outside of the task: by another task, by a callback, or from another goroutine")
}

// cancel is Cancel: see Task.Cancel.
func (t *core) cancel(cause error) bool {
	if t.flags&finished != 0 {
		return false
	}
	t.cancels++
	registryOf(t.loop).noteCancel(t)
	if t.flags&walking != 0 {
		// We came back by a circle of awaits. Nobody else will end it.
		t.breakCircle(cause)
		return true
	}
	if t.waiting != nil {
		t.flags |= walking
		ok := t.waiting.Cancel(cause)
		t.flags &^= walking
		if ok {
			return true
		}
	}
	t.flags |= mustCancel
	t.cause = cause
	if t.flags&held != 0 {
		t.flags &^= held
		t.loop.Queue(t) // to end without having run
	}
	return true
}

// An AwaitCycleError is the cause of the cancellation that ends a circle of tasks
// that await each other, once one of them is canceled.
type AwaitCycleError struct {
	Tasks []string // names, each awaiting the next and the last the first
	Cause error    // of the Cancel that found the circle; may be nil
}

// Error lists the tasks.
func (e *AwaitCycleError) Error() string {
	return "task: tasks await each other in a circle: " + strings.Join(e.Tasks, " → ")
}

// Unwrap returns the cause.
func (e *AwaitCycleError) Unwrap() error { return e.Cause }

// breakCircle ends the wait of t, which is part of a circle of awaits that a
// cancellation has walked round once.
func (t *core) breakCircle(cause error) {
	e := &AwaitCycleError{Tasks: []string{t.Name()}, Cause: cause}
	for c := coreOf(t.waiting); c != nil && c != t && c.waiting != nil; c = coreOf(c.waiting) {
		e.Tasks = append(e.Tasks, c.Name())
	}
	t.flags |= mustCancel
	t.cause = e
	if t.waiting.Unwatch(t) {
		t.waiting = nil
		t.loop.Queue(t)
	}
}

// Loop implements park.Parker.
func (t *core) Loop() *loop.Loop { return t.loop }

// Stopped tells the future that the task waited for not to wake it: the loop
// ends.
func (t *core) Stopped() bool { return t.flags&(closing|finished) != 0 }

// Env and SetEnv implement env.Holder.
func (t *core) Env() *env.Env     { return t.env.Load() }
func (t *core) SetEnv(e *env.Env) { t.env.Store(e) }

// Fault implements loop.Running: the step panicked, or left by Goexit.
func (t *core) Fault(err error) {
	if t.flags&finished == 0 {
		t.self.fail(err)
		if err == coro.ErrGoexit {
			_ = t.self.Err() // seen: it ends the loop and goes on in Run's goroutine
		}
	}
}

// finish takes the task off the books. What waits for it is told by the future.
func (t *core) finish() {
	t.flags |= finished
	t.waiting = nil
	if t.cancels > 0 {
		registryOf(t.loop).forgetCancel(t)
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.prev, t.next = nil, nil
	t.end()
	t.trace(loop.TaskDone)
}

func (t *core) trace(kind loop.TaskEventKind) {
	if t.loop.TracesTasks() {
		t.loop.TraceTask(t.id, t.Name, kind)
	}
}

// Site returns where the task was started, in debug mode.
func (t *core) Site() string { return t.Env().Site }

// Name returns the task's name.
func (t *core) Name() string {
	if t.name != nil {
		return *t.name
	}
	return "Task-" + strconv.FormatUint(t.id, 10)
}

// String returns the task's name, state, and what it waits for.
func (t *core) String() string {
	w := t.waiting
	switch {
	case t.flags&finished != 0:
		return fmt.Sprintf("%s (%v)", t.Name(), t.self.State())
	case t.loop.Current() == loop.Running(t):
		return t.Name() + " (running)"
	case w == nil || w.Done():
		return t.Name() + " (ready)"
	}
	return t.Name() + " (awaits " + describe(w) + ")"
}

// describe says what w is, without saying what that waits for in turn.
func describe(w *future.Cell) string {
	switch p := w.Producer().(type) {
	case nil:
		return "a future"
	case self:
		return p.Name()
	case fmt.Stringer:
		return p.String()
	default:
		return fmt.Sprintf("%T", p)
	}
}

// coreOf returns the task that w is the future of, or nil.
func coreOf(w *future.Cell) *core {
	if t, ok := w.Producer().(self); ok {
		return t.taskCore()
	}
	return nil
}

// An ending is the part of a task's context that ends: a context of package
// context, so that those derived from it find it without a goroutine.
type ending struct {
	ctx    context.Context
	cancel context.CancelFunc
}

// end ends the context. It and Done both write before they read, so one of them
// sees the other.
func (t *core) end() {
	t.over.Store(true)
	if e := t.ending.Load(); e != nil {
		e.cancel()
	}
}

// Done implements context.Context. It is closed when the task is done, or when
// the scope that it was started in is. It may be called from any goroutine.
func (t *core) Done() <-chan struct{} {
	e := t.ending.Load()
	if e == nil {
		parent := context.Background()
		if s := t.Env().Scope; s != nil {
			parent = s
		}
		e = new(ending)
		e.ctx, e.cancel = context.WithCancel(parent)
		if !t.ending.CompareAndSwap(nil, e) {
			e.cancel()
			e = t.ending.Load()
		}
		if t.over.Load() {
			e.cancel()
		}
	}
	return e.ctx.Done()
}

// Err implements context.Context: nil until Done is closed.
func (t *core) Err() error {
	if e := t.ending.Load(); e != nil {
		return e.ctx.Err()
	}
	if t.over.Load() {
		return context.Canceled
	}
	if s := t.Env().Scope; s != nil {
		return s.Err()
	}
	return nil
}

// Deadline implements context.Context.
func (t *core) Deadline() (time.Time, bool) {
	if s := t.Env().Scope; s != nil {
		return s.Deadline()
	}
	return time.Time{}, false
}

// Value implements context.Context: the values of the ctx that the task was
// started with, and the keys of this module.
func (t *core) Value(key any) any {
	switch key {
	case env.LoopKey:
		return t.loop
	case env.HolderKey, env.TaskKey:
		return t
	}
	if e := t.ending.Load(); e != nil {
		// Package context looks for its own kind of context by a key.
		if v, ok := e.ctx.Value(key).(context.Context); ok && v == e.ctx {
			return v
		}
	}
	return t.Env().Values.Value(key)
}
