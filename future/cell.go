package future

import (
	"slices"

	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/loop"
)

// Done reports whether the future is settled.
func (c *Cell) Done() bool { return c.state != Pending }

// Canceled reports whether the future is settled and canceled.
func (c *Cell) Canceled() bool { return c.state == Canceled }

// State returns where the future stands. It does not count as having looked at
// a failure.
func (c *Cell) State() State { return c.state }

// Err returns nil for a resolved future, the error of a failed or canceled one,
// and [ErrNotDone] for one that is pending. (asyncio: exception)
func (c *Cell) Err() error {
	if c.state == Pending {
		return ErrNotDone
	}
	return c.take()
}

// take returns the error for somebody who looks. When a task's body returns a
// cancellation, the first to look gets that very error; each later one gets a
// CanceledError of its own, caused by it.
func (c *Cell) take() error {
	c.look()
	if !c.raised {
		return c.err
	}
	return c.takeRaised()
}

func (c *Cell) takeRaised() error {
	if c.taken {
		return &CanceledError{Cause: c.err}
	}
	c.taken = true
	return c.err
}

// peek is take for somebody who sums up what became of others.
func (c *Cell) peek() error {
	c.look()
	if c.raised {
		return &CanceledError{Cause: c.err}
	}
	return c.err
}

// Retrieved reports whether a failure of the future has been seen: by Await,
// Result or Err. One that nobody sees is reported to the loop's OnError, once.
func (c *Cell) Retrieved() bool { return c.state != Failed || c.looked }

// Loop returns the loop that the future belongs to.
func (c *Cell) Loop() *loop.Loop { return c.loop }

// Cancel settles a pending future as canceled; cause, which may be nil, is kept
// in the [*CanceledError]. If the producer has said so (see [Promise.OnCancel];
// a task has), the cancellation is left to it. Cancel reports whether it has an
// effect: false if the future is settled. (asyncio: cancel)
func (c *Cell) Cancel(cause error) bool {
	if c.state != Pending {
		c.look() // whoever cancels it later does not care for its failure
		return false
	}
	if c.canceler != nil {
		return c.canceler.CancelFuture(cause)
	}
	c.settle(Canceled, &CanceledError{Cause: cause})
	return true
}

// OnDone arranges for fn to be called by the loop, in the turn after c is
// settled; if it is settled already, in the next turn. fn runs in the context
// that OnDone was called in: see [loop.Loop.Context]. stop prevents the call and
// reports whether it did. (asyncio: add_done_callback)
func (c *Cell) OnDone(fn func()) (stop func() bool) {
	d := &doneCall{fn: c.loop.Sited(fn), env: c.loop.Capture()}
	c.Watch(d)
	return func() bool {
		if d.fn == nil {
			return false
		}
		d.fn = nil
		c.Unwatch(d)
		return true
	}
}

// Watch queues r in the loop as soon as c is settled, or at once if it is: OnDone
// for those who bring their own [loop.Runnable]. If r has a method Stopped() bool
// that returns true by then, it is dropped.
func (c *Cell) Watch(r loop.Runnable) {
	if c.watchers == nil && c.state == Pending {
		c.watchers = r
		return
	}
	c.watchMore(r)
}

func (c *Cell) watchMore(r loop.Runnable) {
	if c.state != Pending {
		c.loop.Queue(r)
		return
	}
	list, ok := c.watchers.(*watchList)
	if !ok {
		list = &watchList{calls: []loop.Runnable{c.watchers}}
		c.watchers = list
	}
	list.calls = append(list.calls, r)
}

// Unwatch undoes Watch, and reports whether r had not been queued yet. Among
// many watchers one with a method Stopped() bool that returns true is cheaper to
// remove.
func (c *Cell) Unwatch(r loop.Runnable) bool {
	switch w := c.watchers.(type) {
	case nil:
		return false
	case *watchList:
		return w.remove(r)
	default:
		if w != r {
			return false
		}
		c.watchers = nil
		return true
	}
}

func (c *Cell) cell() *Cell { return c }

// cancellation returns the error of a canceled future, or the one it would have
// if its producer, which was asked to cancel, had not ended otherwise.
func (c *Cell) cancellation() error {
	if c.state == Canceled {
		return c.take()
	}
	e := new(CanceledError)
	if p, ok := c.canceler.(interface{ CancelCause() error }); ok {
		e.Cause = p.CancelCause()
	}
	return e
}

// settle ends the future and queues all that watch it, in order.
func (c *Cell) settle(s State, err error) {
	c.state, c.err = s, err
	if _, ok := c.canceler.(cancelFunc); ok {
		c.canceler = nil // it may hold much; other cancelers hold the future
	}
	if w := c.watchers; w != nil {
		c.watchers = nil
		if c.loop.Closed() {
			return // nobody is told any more
		}
		if list, ok := w.(*watchList); ok {
			list.queue(c.loop)
		} else {
			c.loop.Queue(w)
		}
	}
	if s == Failed {
		c.record()
	}
}

// A watchList holds the watchers when there are several.
type watchList struct {
	calls []loop.Runnable // nil where one was removed
	dead  int             // stopped ones, still in calls
}

// Run makes a watchList fit in the place of its only element. It is never queued.
func (*watchList) Run() {}

// A stopper is a watcher that knows that it is not needed any more.
type stopper interface{ Stopped() bool }

func stopped(r loop.Runnable) bool {
	if r == nil {
		return true
	}
	s, ok := r.(stopper)
	return ok && s.Stopped()
}

func (w *watchList) queue(l *loop.Loop) {
	for _, r := range w.calls {
		if !stopped(r) {
			l.Queue(r)
		}
	}
}

// remove takes one watcher out: at once if it has to be found, in bulk if it
// knows itself that it is stopped.
func (w *watchList) remove(r loop.Runnable) bool {
	if !stopped(r) {
		i := slices.Index(w.calls, r)
		if i < 0 {
			return false
		}
		w.calls[i] = nil
	}
	if w.dead++; w.dead > len(w.calls)/2 {
		w.calls = slices.DeleteFunc(w.calls, stopped)
		w.dead = 0
	}
	return true
}

// A doneCall is a callback of OnDone.
type doneCall struct {
	fn  func() // nil once called or stopped
	env *env.Env
}

func (d *doneCall) Stopped() bool { return d.fn == nil }

func (d *doneCall) Run() {
	if fn := d.fn; fn != nil {
		d.fn = nil
		d.env.Loop.(*loop.Loop).CallIn(d.env, fn)
	}
}

// Producer returns who was made the future's Canceler, or nil: a task, if it is a
// task's future.
func (c *Cell) Producer() Canceler { return c.canceler }

// describe names the producer of a future, or the future.
func describe(c *Cell) string {
	if n, ok := c.canceler.(interface{ Name() string }); ok {
		return n.Name()
	}
	return c.String()
}
