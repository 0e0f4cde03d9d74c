package task

import (
	"context"
	"errors"
	"fmt"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/loop"
)

// ErrGroupClosed is the outcome of a task that was started in a group that is
// shutting down or has ended; its body never runs.
var ErrGroupClosed = errors.New("task: group is shutting down")

// A GroupError is what a [Scope] fails with: the failures of its tasks and of its
// body. errors.Is and errors.As look through it. It is never a cancellation or a
// timeout itself, even if all that it holds are.
type GroupError struct{ errs []error }

// Errors returns the failures in the order they were recorded, at least one.
func (e *GroupError) Errors() []error { return e.errs }

// Error counts the failures and shows the first.
func (e *GroupError) Error() string {
	if len(e.errs) == 1 {
		return "task: group failed: " + e.errs[0].Error()
	}
	return fmt.Sprintf("task: group failed with %d errors, the first: %v", len(e.errs), e.errs[0])
}

// Unwrap lets errors.Is and errors.As look through.
func (e *GroupError) Unwrap() []error { return e.errs }

// A Group is a set of tasks that end before the [Scope] that made it returns. It
// must be used on the loop, by the scope's body and its tasks.
//
//	open --body returns--> exiting --last task done--> closed
//	open or exiting --a task or the body fails, or a cancellation--> aborting --last task done--> closed
type Group struct {
	ctx       context.Context
	l         *loop.Loop
	parent    *core
	tasks     groupList
	n         int // tasks not done
	completed future.Future[struct{}]
	awaiting  bool // completed is awaited
	errs      []error
	limit     int
	running   int       // tasks that were let run and are not done
	pending   []*member // not started because of the limit

	exiting         bool
	aborting        bool
	parentRequested bool // we have canceled the parent
}

// Scope calls fn with a new group and returns when fn has returned and every task
// of the group is done, however they were started and whatever happens.
//
// When a task or fn fails, the other tasks are canceled, and fn too if it is still
// running; then Scope returns a [*GroupError] with all failures. A task that is
// canceled from elsewhere disturbs nobody. When the calling task is canceled, the
// tasks are canceled and Scope returns that cancellation; if a task fails then,
// the failures win and the cancellation is delivered at the next wait.
// (asyncio: TaskGroup; trio: nursery)
func Scope(ctx context.Context, fn func(ctx context.Context, g *Group) error) error {
	t := current(ctx, "task: Scope")
	g := &Group{ctx: ctx, l: t.loop, parent: t}
	g.tasks.init()
	returned := false
	defer func() {
		if !returned { // fn panicked, or the loop ends
			g.abort()
		}
	}()
	err := g.call(fn)
	returned = true
	return g.leave(err)
}

// call runs the body. A panic of it is a failure like any other: the tasks must
// end first.
func (g *Group) call(fn func(ctx context.Context, g *Group) error) (err error) {
	defer recoverInto(&err, g.parent)
	return fn(g.ctx, g)
}

// leave waits for the tasks and decides what the scope returns.
func (g *Group) leave(err error) error {
	g.exiting = true
	var propagate error
	if future.AsCanceled(err) != nil {
		propagate = err
	}
	if err != nil && !g.aborting {
		g.abort()
	}
	ctx := g.ctx
	for g.n > 0 {
		if g.aborting {
			ctx = context.WithoutCancel(g.parent) // a scope that has ended has had its say
		}
		future.Init(&g.completed, g.l, g)
		g.awaiting = true
		_, interrupted := g.completed.Await(ctx)
		g.awaiting = false
		if interrupted != nil && !g.aborting {
			// Whoever cancels the parent while it waits cancels the tasks; it goes
			// on waiting for them, however often it is canceled.
			propagate = interrupted
			g.abort()
		}
		if interrupted != nil && g.parent.flags&closing != 0 {
			return interrupted
		}
	}
	if g.parentRequested && g.parent.uncancel() == 0 {
		propagate = nil
	}
	if propagate != nil && len(g.errs) == 0 {
		return propagate
	}
	if err != nil && future.AsCanceled(err) == nil {
		g.errs = append(g.errs, err)
	}
	if len(g.errs) == 0 {
		return nil
	}
	if g.parent.cancels > 0 {
		// A cancellation from outside came too: take it back and repeat it, so
		// that the next wait delivers it and the count stays.
		g.parent.uncancel()
		g.parent.cancel(nil)
	}
	return &GroupError{g.errs}
}

// Go starts a task of the group; ctx of fn is as with [Start] by the scope's
// caller. In a group that is shutting down fn never runs, and the task fails with
// [ErrGroupClosed]; that failure is not the group's. (asyncio: create_task)
func (g *Group) Go(fn func(ctx context.Context) error) *Task[struct{}] {
	return startIn[struct{}](g, procFunc(fn), 0)
}

// StartIn is [Group.Go] for a body with a result.
func StartIn[T any](g *Group, fn func(ctx context.Context) (T, error)) *Task[T] {
	return startIn[T](g, bodyFunc[T](fn), 0)
}

// StartMachineIn is [StartMachine] in a group.
func StartMachineIn[T any](g *Group, m Machine[T]) *Task[T] { return startIn(g, m, machine) }

// StartNowIn is [StartNow] in a group. A task that fails in its first step fails
// the group one turn later.
func StartNowIn[T any](g *Group, fn func(ctx context.Context) (T, error)) *Task[T] {
	return startIn[T](g, bodyFunc[T](fn), eager)
}

func startIn[T any](g *Group, m Machine[T], fl flags) *Task[T] {
	t := newTask(g.caller(), m, fl&machine)
	if !g.Open() {
		refuse(t)
		return t
	}
	g.add(&t.c, fl&eager != 0 && g.l.Running())
	return t
}

// caller returns the context that a new task inherits from: of the task that
// starts it, if it is one, because variables are the starter's.
func (g *Group) caller() context.Context {
	cur, ok := g.l.Current().(*core)
	if !ok || cur == g.parent {
		return g.ctx
	}
	if h := holder(g.ctx); h.Env() == cur.Env() {
		return g.ctx
	}
	// The scope's values and scopes, with the starter's variables.
	e := *env.Inherit(g.ctx, holder(g.ctx))
	e.Vars = cur.Env().Vars
	return &groupContext{Context: g.ctx, env: &e}
}

// A groupContext is a scope's context with another task's variables.
type groupContext struct {
	context.Context
	env *env.Env
}

func (c *groupContext) Env() *env.Env     { return c.env }
func (c *groupContext) SetEnv(e *env.Env) { c.env = e }
func (c *groupContext) Value(key any) any {
	if key == env.HolderKey {
		return c
	}
	return c.Context.Value(key)
}

// Open reports whether the group takes tasks: not once it is shutting down, and
// not after its scope has returned.
func (g *Group) Open() bool { return !g.aborting && (!g.exiting || g.n > 0) }

// refuse ends a task that was not let in. Its failure counts as seen: the group
// has its own to report.
func refuse[T any](t *Task[T]) {
	t.fail(ErrGroupClosed)
	_ = t.Err()
}

func (g *Group) add(c *core, now bool) {
	m := &member{g: g, c: c}
	g.n++
	g.tasks.push(m)
	if g.limit > 0 && g.running >= g.limit {
		c.flags |= held
		g.pending = append(g.pending, m)
		c.self.Watch(m)
		return
	}
	m.ran = true
	g.running++
	if now {
		c.Run()
	} else {
		c.loop.Queue(c)
	}
	// Also for a task that is done already: told by the loop, it does not cancel
	// the body in the middle of Go.
	c.self.Watch(m)
}

// SetLimit bounds how many tasks of the group run at a time; n <= 0 means no
// bound, which is the default. Those beyond it start when others end, in the
// order they were made. It panics if the group has tasks.
func (g *Group) SetLimit(n int) {
	if g.n > 0 {
		panic("task: SetLimit of a group with tasks")
	}
	g.limit = n
}

// Cancel ends the group early: its tasks are canceled and the scope returns when
// they are done, without an error of its own; the body is canceled too if it is
// still running, and that cancellation stays inside the scope. Calling it again
// does nothing. (asyncio: TaskGroup.cancel, 3.15)
func (g *Group) Cancel() {
	if g.aborting {
		return
	}
	g.abort()
	if !g.exiting && !g.parentRequested {
		g.parentRequested = true
		g.parent.cancel(nil)
	}
}

// CancelFuture ends the scope's wait for its tasks. It is for package future.
func (g *Group) CancelFuture(cause error) bool { return future.SettleCanceled(&g.completed, cause) }

// String says how many tasks the group has.
func (g *Group) String() string { return fmt.Sprintf("group of %d", g.n) }

// abort cancels the tasks, oldest first.
func (g *Group) abort() {
	g.aborting = true
	for m := g.tasks.next; m != &g.tasks.member; {
		next := m.next // canceling one may end others, not take this one out
		if !m.c.self.Done() {
			m.c.self.Cancel(nil)
		}
		m = next
	}
	g.pending = nil // canceling them has let them go
}

// A member is a task of a group; it is what the task's future tells.
type member struct {
	g          *Group
	c          *core
	prev, next *member
	ran        bool // counted in running
}

// startPending lets tasks run that the limit held back.
func (g *Group) startPending() {
	for len(g.pending) > 0 && g.running < g.limit {
		m := g.pending[0]
		g.pending = g.pending[1:]
		if m.c.flags&held == 0 {
			continue // canceled meanwhile
		}
		m.c.flags &^= held
		m.ran = true
		g.running++
		m.c.loop.Queue(m.c)
	}
}

type groupList struct{ member }

func (l *groupList) init() { l.prev, l.next = &l.member, &l.member }

func (l *groupList) push(m *member) {
	m.prev, m.next = l.prev, &l.member
	m.prev.next, l.prev = m, m
}

// Run is told that a task is done.
func (m *member) Run() {
	g, t := m.g, m.c.self
	m.prev.next, m.next.prev = m.next, m.prev
	g.n--
	if g.awaiting && g.n == 0 {
		future.Settle(&g.completed, struct{}{}, nil)
	}
	if m.ran {
		g.running--
	}
	g.startPending()
	if t.Canceled() {
		return
	}
	err := t.Err()
	if err == nil {
		return
	}
	g.errs = append(g.errs, err)
	if g.parent.flags&finished != 0 {
		g.l.Report(&loop.CallError{Op: "task of a group that has ended", Name: t.Name(), Err: err})
		return
	}
	if !g.aborting && !g.parentRequested {
		g.abort()
		g.parentRequested = true
		g.parent.cancel(nil)
	}
}
