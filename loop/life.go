package loop

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/eddyloop/eddy/coro"
)

// outsideCount counts what will post to the loop.
type outsideCount struct{ atomic.Int64 }

// Hold tells the loop that something outside of it will post: virtual time
// stands still, and the loop yields before it sleeps, until release is called,
// from any goroutine. A second call of release does nothing. Executors do this
// for their jobs.
func (l *Loop) Hold() (release func()) {
	l.outside.Add(1)
	var once atomic.Bool
	return func() {
		if once.CompareAndSwap(false, true) {
			l.outside.Add(-1)
			if l.clock.virtual != nil {
				// A loop that waits only because of this must look again.
				_ = l.QueueThreadsafe(funcCall(func() {}))
			}
		}
	}
}

// AddOutside adds n to the number of Holds, for those who count themselves. When
// it falls, a post must follow. It may be called from any goroutine.
func (l *Loop) AddOutside(n int) { l.outside.Add(int64(n)) }

// Outside reports whether anything outside may bring work: a Hold, a descriptor, a
// signal that is waited for.
func (l *Loop) Outside() bool { return l.outside.Load() > 0 || l.fds.n > 0 || len(l.signals) > 0 }

type local struct{ key, value any }

// Local returns the value that a package keeps for this loop, and makes it if
// there is none. key must be comparable and the package's own, such as a pointer
// to one of its variables. A value with a method Unwind() bool has it called when
// Close begins, to end what runs, one thing a call, until it returns false; one
// with a method Closed() is told when all else is closed.
func (l *Loop) Local(key any, create func() any) any {
	for i := range l.locals {
		if l.locals[i].key == key {
			return l.locals[i].value
		}
	}
	v := create()
	l.locals = append(l.locals, local{key, v})
	return v
}

type closer struct{ fn func(context.Context) error }

// OnClose arranges for fn to be called by Close, after all tasks have ended, the
// last arranged first. Its ctx ends after Config.CloseTimeout. stop reports
// whether it prevented the call. It must be called on the loop.
func (l *Loop) OnClose(fn func(context.Context) error) (stop func() bool) {
	c := &closer{fn}
	l.onClose = append(l.onClose, c)
	return func() bool {
		ok := c.fn != nil
		c.fn = nil
		l.onClose = slices.DeleteFunc(l.onClose, func(x *closer) bool { return x == c })
		return ok
	}
}

// Close ends every task, waits for executors and other OnClose functions up to
// Config.CloseTimeout, makes the calls that other goroutines had posted, and
// frees descriptors and goroutines. Calls of CallSoon and timers that are still
// waiting are dropped. It returns the errors of the OnClose functions,
// [ErrRunning] if the loop is running, and nil if it is closed already.
// It must be called on the goroutine that ran the loop. (asyncio: close)
func (l *Loop) Close() error {
	switch {
	case l.inTurn:
		return ErrRunning
	case l.closed || l.ending != nil:
		return nil
	}
	l.ending = &ending{}
	l.ending.run(l)
	err := errors.Join(l.ending.errs...)
	if !l.exiting {
		l.reap()
	}
	return err
}

// An ending is what Close has done and has to do. It goes on, step by step, also
// when a step calls runtime.Goexit.
type ending struct {
	phase  int             // index in phases
	next   int             // of the phase's own
	ctx    context.Context // of the OnClose functions
	cancel context.CancelFunc
	posts  []Runnable
	errs   []error
}

func (e *ending) run(l *Loop) {
	through := false
	defer func() {
		if !through {
			e.run(l) // and then Goexit goes on
		}
	}()
	for e.phase < len(phases) {
		if !phases[e.phase](e, l) {
			e.phase++
			e.next = 0
		}
	}
	through = true
}

// phases are the steps of Close. Each does one thing at a time, and reports
// whether there may be more to do.
var phases = [...]func(*ending, *Loop) bool{
	(*ending).unwind, (*ending).callOnClose, (*ending).takePosts, (*ending).drain,
	(*ending).tellClosed, (*ending).free,
}

// unwind ends what runs. More may be added meanwhile.
func (e *ending) unwind(l *Loop) bool {
	if e.next >= len(l.locals) {
		return false
	}
	u, ok := l.locals[e.next].value.(interface{ Unwind() bool })
	more := ok
	if ok {
		l.protect("close", func() { more = u.Unwind() })
	}
	if !more {
		e.next++
	}
	return true
}

func (e *ending) callOnClose(l *Loop) bool {
	if len(l.onClose) == 0 {
		return false
	}
	if e.ctx == nil {
		e.ctx = context.Background()
		if d := l.cfg.CloseTimeout; d >= 0 {
			if d == 0 {
				d = defaultCloseTimeout
			}
			e.ctx, e.cancel = context.WithTimeout(e.ctx, d)
		}
	}
	c := l.onClose[len(l.onClose)-1]
	l.onClose = l.onClose[:len(l.onClose)-1]
	if fn := c.fn; fn != nil {
		c.fn = nil
		l.protect("close", func() {
			if err := fn(e.ctx); err != nil {
				e.errs = append(e.errs, err)
			}
		})
	}
	return true
}

const defaultCloseTimeout = 10 * time.Second

// takePosts refuses posts from now on. Signals are given back first: one has been
// posted, and its calls are made, or has its default action.
func (e *ending) takePosts(l *Loop) bool {
	l.endSignals()
	e.posts = l.inbox.close()
	l.inbox.total += uint64(len(e.posts))
	return false
}

// drain makes the calls that were posted. What a batch cut short by Goexit has
// left comes first: posts are among it.
func (e *ending) drain(l *Loop) bool {
	if l.batch > 0 {
		l.batch--
		l.protect("callback", l.ready.pop().Run)
		return true
	}
	if e.next >= len(e.posts) {
		return false
	}
	r := e.posts[e.next]
	e.next++
	l.protect("callback", r.Run)
	return true
}

func (e *ending) tellClosed(l *Loop) bool {
	if e.next >= len(l.locals) {
		return false
	}
	v := l.locals[e.next].value
	e.next++
	if c, ok := v.(interface{ Closed() }); ok {
		l.protect("close", c.Closed)
	}
	return true
}

func (e *ending) free(l *Loop) bool {
	if e.cancel != nil {
		e.cancel()
	}
	l.endSignals() // of those who asked during the end
	l.coros.Close()
	if l.locked {
		runtime.UnlockOSThread()
		l.locked = false
	}
	l.doze.close()
	if l.poller != nil {
		if err := l.poller.Close(); err != nil {
			e.errs = append(e.errs, fmt.Errorf("loop: %w", err))
		}
	}
	l.closed, l.strict = true, true
	l.ready, l.batch = queue{}, 0
	close(l.ended)
	return false
}

// protect calls fn outside of a turn.
func (l *Loop) protect(op string, fn func()) {
	defer func() {
		l.running, l.env, l.callback = nil, l.root, nil
		if v := recover(); v != nil {
			l.report(&CallError{Op: op, Err: coro.NewPanicError(v)})
		}
	}()
	fn()
}
