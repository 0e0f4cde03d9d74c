package task

import (
	"context"
	"sync"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/loop"
)

// Recv receives from a channel that goroutines send to: it returns at once what is
// there, and otherwise suspends the task. ok is false if the channel is closed and
// empty. The error is a cancellation or the end of a scope, also of one that came
// before; then nothing was received. Recv of a nil channel waits for ever. A task
// that finds the channel ready each time never suspends: see [Yield].
//
// A wait takes a goroutine, which does the receiving; for many items there is
// queue.Bridge. A virtual clock stands still meanwhile, as if Hold had been called:
// so what only tasks of the same loop send to should be a queue.Queue.
//
// Cancel safety: a value is never lost. If it was received at the same time as the
// task was canceled, it is returned without an error, and the cancellation is
// thrown by the next call that waits.
func Recv[T any](ctx context.Context, ch <-chan T) (v T, ok bool, err error) {
	t := current(ctx, "task: Recv")
	if t.flags&(mustCancel|closing) == 0 {
		if err = future.ScopeErr(ctx); err != nil {
			return v, false, err
		}
		select {
		case v, ok = <-ch:
			return v, ok, nil
		default:
		}
	}
	return recv(ctx, t, ch)
}

// recv is the part of Recv whose results escape.
func recv[T any](ctx context.Context, t *core, ch <-chan T) (v T, ok bool, err error) {
	err = t.errand(ctx, "a channel to receive from", func(stop <-chan struct{}) bool {
		select {
		case v, ok = <-ch:
			return true
		case <-stop:
			return false
		}
	})
	return v, ok, err
}

// Send sends to a channel that goroutines receive from: at once if it can, and
// otherwise it suspends the task. The error is a cancellation or the end of a scope,
// also of one that came before; then v was not sent. Send to a nil channel waits for
// ever. It panics if the channel is closed, also while it waits. For what a wait
// costs and for virtual time see [Recv].
//
// Cancel safety: no error means that v was sent, and an error that it was not. If v
// was received at the same time as the task was canceled, Send returns nil and the
// cancellation is thrown by the next call that waits.
func Send[T any](ctx context.Context, ch chan<- T, v T) error {
	t := current(ctx, "task: Send")
	if t.flags&(mustCancel|closing) == 0 {
		if err := future.ScopeErr(ctx); err != nil {
			return err
		}
		select {
		case ch <- v:
			return nil
		default:
		}
	}
	return t.errand(ctx, "a channel to send to", func(stop <-chan struct{}) bool {
		select {
		case ch <- v:
			return true
		case <-stop:
			return false
		}
	})
}

// An errand is a wait for a channel, done by a goroutine.
//
// The goroutine can be called back. It then either has done what it was sent for
// or never will, and that is known before the wait ends: who cancels waits for its
// answer, which takes as long as it takes the goroutine to run, since it does
// nothing but wait.
type errand struct {
	l    *loop.Loop
	fut  future.Future[struct{}]
	what string
	out  bool          // the goroutine has not been heard of; on the loop
	stop chan struct{} // closed to call the goroutine back

	// Written by the goroutine before it closes over.
	over     chan struct{}
	done     bool // what it was sent for
	panicked any  // the channel was closed
}

// errand sends a goroutine to do op and suspends the task until it has done it. op
// must do it, and report true, or return false soon after stop is closed.
func (t *core) errand(ctx context.Context, what string, op func(stop <-chan struct{}) bool) error {
	e := &errand{l: t.loop, what: what}
	future.Init(&e.fut, t.loop, e)
	if t.flags&(mustCancel|closing) == 0 { // else the wait below ends at once
		e.send(op)
	}
	defer e.callBack() // also when the body is unwound
	_, err := e.fut.Await(ctx)
	if err != nil {
		if !e.callBack() {
			return err
		}
		t.Postpone(err)
	}
	if e.panicked != nil {
		panic(e.panicked)
	}
	return nil
}

func (e *errand) send(op func(stop <-chan struct{}) bool) {
	e.stop, e.over = make(chan struct{}), make(chan struct{})
	e.out = true
	e.l.AddOutside(1)
	go func() {
		defer close(e.over)
		defer func() {
			if e.panicked = recover(); e.panicked != nil {
				e.done = true
			}
			if e.done {
				_ = e.l.QueueThreadsafe(e) // a closed loop has called it back
			}
		}()
		e.done = op(e.stop)
	}()
}

// callBack ends the goroutine and reports whether it has done what it was sent for.
func (e *errand) callBack() bool {
	if e.out {
		close(e.stop)
		<-e.over
		e.home()
	}
	return e.done
}

func (e *errand) home() {
	if e.out {
		e.out = false
		e.l.AddOutside(-1)
	}
}

// Run is posted by a goroutine that has done what it was sent for.
func (e *errand) Run() {
	e.home()
	future.Settle(&e.fut, struct{}{}, nil)
}

// CancelFuture implements future.Canceler. What is done is done: then the future
// settles when that is told.
func (e *errand) CancelFuture(cause error) bool {
	return !e.callBack() && future.SettleCanceled(&e.fut, cause)
}

// String says what is waited for.
func (e *errand) String() string { return e.what }

// Postpone makes the cancellation err, which came too late for a wait, that of the
// next wait. It is for packages whose waits have taken what they cannot give back.
func (t *core) Postpone(err error) {
	c := future.AsCanceled(err)
	if c == nil || t.flags&closing != 0 { // the end of the loop comes again by itself
		return
	}
	t.flags |= mustCancel
	t.cause = c.Cause
}

// WaitContext suspends the task until other is done. Its error is a cancellation
// or the end of a scope of ctx, never other's: that is other.Err and
// context.Cause(other). It needs no goroutine.
//
// A virtual clock stands still while other can end only by what happens outside: if
// it is not derived from a context of this loop.
//
// Cancel safety: nothing can be lost.
func WaitContext(ctx, other context.Context) error {
	t := current(ctx, "task: WaitContext")
	if other.Err() != nil {
		return nil
	}
	n := newNotice(t.loop, "the end of a context")
	if l, _ := other.Value(env.LoopKey).(*loop.Loop); l != t.loop && other.Done() != nil {
		n.hold()
	}
	// A virtual clock that does not stand still must not move on before we know.
	defer t.loop.BeforeIdle(&contextCheck{n, other})()
	defer context.AfterFunc(other, n.post)()
	return n.await(ctx)
}

// A contextCheck looks whether a context has ended.
type contextCheck struct {
	n     *notice
	other context.Context
}

func (c *contextCheck) Run() {
	if c.other.Err() != nil {
		c.n.Run()
	}
}

// WaitGroupDone suspends the task until the counter of wg is zero: wg.Wait without
// blocking the loop. Its error is a cancellation or the end of a scope. A virtual
// clock stands still meanwhile.
//
// Cancel safety: nothing can be lost; but the goroutine that it takes stays until
// the counter is zero, because nothing can end wg.Wait.
func WaitGroupDone(ctx context.Context, wg *sync.WaitGroup) error {
	t := current(ctx, "task: WaitGroupDone")
	if err := future.ScopeErr(ctx); err != nil {
		return err
	}
	n := newNotice(t.loop, "a sync.WaitGroup")
	n.hold()
	go func() {
		wg.Wait()
		n.post()
	}()
	return n.await(ctx)
}

// A notice is a wait for word from another goroutine.
type notice struct {
	l    *loop.Loop
	fut  future.Future[struct{}]
	held bool
	what string
}

func newNotice(l *loop.Loop, what string) *notice {
	n := &notice{l: l, what: what}
	future.Init(&n.fut, l, n)
	return n
}

func (n *notice) hold() {
	n.held = true
	n.l.AddOutside(1)
}

func (n *notice) release() {
	if n.held {
		n.held = false
		n.l.AddOutside(-1)
	}
}

// post gives word. It may be called from any goroutine, and when nobody waits any
// more.
func (n *notice) post() { _ = n.l.QueueThreadsafe(n) }

func (n *notice) await(ctx context.Context) error {
	defer n.release() // when the body is unwound
	_, err := n.fut.Await(ctx)
	return err
}

// Run ends the wait, on the loop.
func (n *notice) Run() {
	n.release()
	future.Settle(&n.fut, struct{}{}, nil)
}

// CancelFuture implements future.Canceler.
func (n *notice) CancelFuture(cause error) bool {
	n.release()
	return future.SettleCanceled(&n.fut, cause)
}

// String says what is waited for.
func (n *notice) String() string { return n.what }
