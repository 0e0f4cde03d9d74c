package task

import (
	"context"
	"fmt"

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
	n      int
	lastID uint64
	ending bool
}

var registryKey = new(int)

func registryOf(l *loop.Loop) *registry {
	return l.Local(registryKey, func() any {
		r := &registry{l: l}
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
		t.flags |= mustCancel
		t.cause = loop.ErrClosed
	}
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

// Unwind ends every task when the loop closes, on the goroutine that closes it,
// oldest first. From here on no wait succeeds: a body that waits gets a
// CanceledError, three times; then its wait panics, and panics again, until the
// body has ended and its deferred calls have run. A machine is stepped with the
// same error three times and then dropped. The loop calls Unwind.
func (r *registry) Unwind() {
	r.ending = true
	for range 1 << 10 { // bodies may start tasks while they end
		ts := r.all()
		if len(ts) == 0 {
			return
		}
		for _, t := range ts {
			t.close()
		}
	}
	for _, t := range r.all() {
		t.self.fail(&future.CanceledError{Cause: loop.ErrClosed})
	}
}

// close ends one task.
func (t *core) close() {
	if t.flags&finished != 0 {
		return
	}
	t.flags |= closing
	if w := t.waiting; w != nil {
		w.Unwatch(t)
		if coreOf(w) == nil {
			w.Cancel(loop.ErrClosed) // so that a timer or a job is not kept for it
		}
	}
	t.waiting = nil
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
	if w != nil && coreOf(w) == nil {
		w.Cancel(loop.ErrClosed)
	}
	t.waiting = nil
	t.worker.Suspend()
	return t.takeCause()
}
