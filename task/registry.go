package task

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/loop"
)

// A registry holds a loop's tasks, oldest first, from start to end. So no task
// vanishes because nobody refers to it, and Close can end them all.
type registry struct {
	l      *loop.Loop
	head   core // of a circular list; head.next is the oldest
	lastID uint64
	graves *graveyard

	cancelers map[*core]string // who canceled a task that is not done, last
	machines  map[any]*core    // in debug mode: the machines that run
	ending    bool
	late      int // tasks started since
}

var registryKey = new(int)

func registryOf(l *loop.Loop) *registry {
	return l.Local(registryKey, func() any {
		r := &registry{l: l, graves: &graveyard{l: l}}
		r.head.prev, r.head.next = &r.head, &r.head
		l.Coroutines().Next = func(w *coro.Worker) coro.Body { return follow(w, l) }
		return r
	}).(*registry)
}

func (r *registry) add(t *core) {
	r.lastID++
	t.id = r.lastID
	t.prev, t.next = r.head.prev, &r.head
	t.prev.next, r.head.prev = t, t
	if r.ending {
		r.late++
		t.flags |= mustCancel
		t.cause = loop.ErrClosed
	}
}

// noteCancel remembers for dumps who cancels t: the task that runs, or "" in a
// callback.
func (r *registry) noteCancel(t *core) {
	by := ""
	if c, ok := r.l.Current().(*core); ok {
		by = c.Name()
	}
	if r.cancelers == nil {
		r.cancelers = make(map[*core]string)
	}
	r.cancelers[t] = by
}

func (r *registry) forgetCancel(t *core) { delete(r.cancelers, t) }

// startSite returns where a task is being started: the first caller outside of
// this package.
func startSite() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if !more || !strings.Contains(f.Function, "eddy/task.") {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
	}
}

// noteMachine panics in debug mode if a machine is to run twice at a time.
func (r *registry) noteMachine(m any, t *core) {
	if other := r.machines[m]; other != nil && other.flags&finished == 0 {
		panic("task: the machine of " + other.Name() + " is started a second time")
	}
	if r.machines == nil {
		r.machines = make(map[any]*core)
	}
	r.machines[m] = t
}

// all returns the tasks that are not done, oldest first.
func (r *registry) all() []*core {
	var ts []*core
	for t := r.head.next; t != &r.head; t = t.next {
		ts = append(ts, t)
	}
	return ts
}

// All returns the loop's tasks that are not done, in the order they were
// started. It must be called on the loop. (asyncio: all_tasks)
func All(l *loop.Loop) []Any {
	cs := registryOf(l).all()
	ts := make([]Any, len(cs))
	for i, c := range cs {
		ts[i] = c.self
	}
	return ts
}

// FromContext returns the task whose body ctx came from, or nil in a callback.
// It panics if ctx carries no loop. (asyncio: current_task)
func FromContext(ctx context.Context) Any {
	if t, ok := ctx.Value(env.TaskKey).(*core); ok {
		return t.self
	}
	loop.FromContext(ctx)
	return nil
}

// How hard Unwind tries.
const (
	politeRounds = 3   // waits that are refused before a body is unwound
	unwindTries  = 100 // panics that a body may recover from
)

// maxLate bounds the tasks that bodies may start while the loop closes.
const maxLate = 1 << 16

// Unwind ends the oldest task when the loop closes, on the goroutine that closes
// it, and reports whether there was one. From the first call on no wait succeeds: a
// body that waits gets a CanceledError, three times; then its wait panics, and
// panics again, until the body has ended and its deferred calls have run. A machine
// is stepped with the same error three times and then dropped. The loop calls
// Unwind until nothing is left.
func (r *registry) Unwind() (more bool) {
	r.ending = true
	t := r.head.next
	switch {
	case t == &r.head:
		return false
	case r.late > maxLate || t.flags&closing != 0: // the latter: its end called Goexit
		t.self.fail(&future.CanceledError{Cause: loop.ErrClosed})
	default:
		t.close()
	}
	return true
}

// close ends one task.
func (t *core) close() {
	if t.loop.Debug() {
		t.reportPending()
	}
	t.flags |= closing
	if w := t.waiting; w != nil {
		w.Unwatch(t)
		t.waiting = nil
		t.drop(w)
	}
	t.flags &^= mustCancel
	thrown := &future.CanceledError{Cause: loop.ErrClosed}
	before := t.loop.Enter(t)
	defer t.loop.Leave(before)
	if t.flags&machine != 0 {
		t.closeMachine(thrown)
		return
	}
	for range politeRounds {
		t.resume(thrown)
		if t.flags&finished != 0 {
			return
		}
	}
	w := t.worker
	w.Chain = false
	if w.Unwind(unwindTries) {
		t.ended(w)
		return
	}
	t.loop.Report(&loop.CallError{Op: "close", Name: t.Name(), Err: errStubborn})
	t.self.fail(&future.CanceledError{Cause: loop.ErrClosed})
}

// drop cancels what a task that is closed waited for, unless it is another task, so
// that no timer or job is kept for it.
func (t *core) drop(w *future.Cell) {
	if coreOf(w) != nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			t.loop.Report(&loop.CallError{Op: "OnCancel", Name: t.Name(), Err: coro.NewPanicError(v)})
		}
	}()
	w.Cancel(loop.ErrClosed)
}

// errPending is reported in debug mode.
var errPending = errors.New("task: pending when the loop was closed")

// A PendingError is reported in debug mode for a task that was pending when the
// loop was closed.
type PendingError struct {
	Task  string // name, state and what it waited for
	Where []byte // its stack, if it is a function that has begun
}

// Error says what was pending.
func (e *PendingError) Error() string {
	return fmt.Sprintf("%v: %s\n%s", errPending, e.Task, e.Where)
}

func (t *core) reportPending() {
	t.loop.Report(&loop.CallError{
		Op: "close", Name: t.Name(),
		Err: &PendingError{Task: t.String(), Where: Stacks(t.loop)[t.id]},
	})
}

var errStubborn = fmt.Errorf("task: body recovered from being unwound %d times; its stack is lost", unwindTries)

func (t *core) closeMachine(thrown error) {
	for range politeRounds {
		if t.stepContained(thrown); t.flags&finished != 0 {
			return
		}
		t.waiting = nil
	}
	t.loop.Report(&loop.CallError{Op: "close", Name: t.Name(), Err: errDropped})
	t.self.fail(thrown)
}

// stepContained steps a machine outside of a turn.
func (t *core) stepContained(thrown error) {
	defer func() {
		if v := recover(); v != nil {
			t.self.fail(coro.NewPanicError(v))
		}
	}()
	t.self.stepMachine(thrown)
}

var errDropped = fmt.Errorf("task: machine ignored %d cancellations at close and was dropped", politeRounds)

// refuse answers a wait when the loop is closing: no, and after a few times a
// panic, thrown by the worker.
func (t *core) refuse(w *future.Cell) error {
	if w != nil {
		t.drop(w)
	}
	t.worker.Suspend()
	return t.takeCause()
}
