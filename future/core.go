package future

import (
	"slices"

	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/loop"
)

// settle ends the future and queues all that watch it, in order.
func (c *core) settle(s State, err error) {
	c.state, c.err = s, err
	if _, ok := c.canceler.(cancelFunc); ok {
		c.canceler = nil // it may hold much; other cancelers hold the future
	}
	if w := c.watchers; w != nil {
		c.watchers = nil
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

func (c *core) cancel(cause error) bool {
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

func (c *core) watch(r loop.Runnable) {
	switch {
	case c.state != Pending:
		c.loop.Queue(r)
	case c.watchers == nil:
		c.watchers = r
	default:
		list, ok := c.watchers.(*watchList)
		if !ok {
			list = &watchList{calls: []loop.Runnable{c.watchers}}
			c.watchers = list
		}
		list.calls = append(list.calls, r)
	}
}

func (c *core) unwatch(r loop.Runnable) bool {
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

func (c *core) onDone(fn func()) (stop func() bool) {
	d := &doneCall{fn: c.loop.Sited(fn), env: c.loop.Capture()}
	c.watch(d)
	return func() bool {
		if d.fn == nil {
			return false
		}
		d.fn = nil
		c.unwatch(d)
		return true
	}
}

// Producer returns who was made w's Canceler, or nil: a task, for a task's future.
func Producer(w any) any {
	if c, ok := w.(interface{ producer() any }); ok {
		return c.producer()
	}
	return nil
}

func (c *core) producer() any { return c.canceler }
