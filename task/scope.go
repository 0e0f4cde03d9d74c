package task

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/loop"
)

// WithTimeout returns a copy of ctx that is done when d has passed on the loop's
// clock, when cancel is called, or when ctx is done: a scope. Every wait that a
// function body makes with it ends then, each time, with [ErrTimeout] or, after
// cancel, a *future.CanceledError; a machine that was started in it is canceled
// once. It must be called on the loop. cancel may be called from any goroutine and
// should be called when the context is not needed any more. WithTimeout has the
// shape of context.WithTimeout, whose clock a test cannot set.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return WithDeadline(ctx, loop.FromContext(ctx).Now().Add(d))
}

// WithDeadline is [WithTimeout] with a time on the loop's clock. One that has
// passed ends the context at once.
func WithDeadline(ctx context.Context, t time.Time) (context.Context, context.CancelFunc) {
	h := holder(ctx)
	l := h.Env().Loop.(*loop.Loop)
	l.CheckGoroutine("task.WithDeadline")
	s := &scope{parent: ctx, l: l, deadline: t}
	if d, ok := ctx.Deadline(); ok && d.Before(t) {
		s.deadline = d
	}
	s.follow(ctx, h)
	switch {
	case s.Err() != nil:
	case !t.After(l.Now()):
		s.end(context.DeadlineExceeded, ErrTimeout)
	default:
		graveyardOf(l).bury()
		s.timed = true
		l.StartTimerAt(&s.timer, t, s)
	}
	return s, s.cancel
}

// A scope is a context on the loop's clock.
type scope struct {
	parent   context.Context
	l        *loop.Loop
	deadline time.Time
	timer    loop.Timer // on the loop
	timed    bool       // timer was started

	// foreign is nil, or a context of another kind whose end ends the scope, soon:
	// package context tells of it on a goroutine of its own.
	foreign context.Context

	mu       sync.Mutex
	err      error // nil until it has ended
	cause    error
	done     chan struct{} // nil until asked for
	watchers []*scopeWatcher
	dead     int      // of them
	stops    []func() // what to stop when it has ended
}

// A scopeWatcher is told of the end: a wait on the loop, or a derived context.
type scopeWatcher struct {
	queue loop.Runnable
	call  func()
	taken atomic.Bool // told, or stopped: whoever sets it
}

// follow makes the end of the scope in which this one was made end this one.
func (s *scope) follow(ctx context.Context, h env.Holder) {
	outer := h.Env().Scope
	if ctx != context.Context(h) {
		if o := env.Scope(ctx, h); o != nil {
			outer = o
		}
	}
	switch o := outer.(type) {
	case nil:
	case *scope:
		s.foreign = o.foreign
		if err := o.Err(); err != nil {
			s.end(err, o.Reason())
			return
		}
		stop := o.watch(&scopeWatcher{call: func() { s.end(o.Err(), o.Reason()) }})
		s.atEnd(func() { stop() })
	default:
		s.foreign = o
		if s.Err() != nil {
			return
		}
		stop := context.AfterFunc(o, func() { s.end(o.Err(), context.Cause(o)) })
		s.atEnd(func() { stop() })
	}
}

// atEnd arranges for stop to be called when the scope has ended.
func (s *scope) atEnd(stop func()) {
	s.mu.Lock()
	ended := s.err != nil
	if !ended {
		s.stops = append(s.stops, stop)
	}
	s.mu.Unlock()
	if ended {
		stop()
	}
}

// Run ends the scope at its deadline.
func (s *scope) Run() { s.end(context.DeadlineExceeded, ErrTimeout) }

// cancel is the scope's CancelFunc.
func (s *scope) cancel() { s.end(context.Canceled, context.Canceled) }

// end ends the scope, once. It may be called from any goroutine.
func (s *scope) end(err, cause error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err, s.cause = err, cause
	if s.done != nil {
		close(s.done)
	}
	watchers, stops := s.watchers, s.stops
	s.watchers, s.stops = nil, nil
	s.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	for _, w := range watchers {
		switch {
		case !w.taken.CompareAndSwap(false, true): // stopped
		case w.call != nil:
			w.call()
		default:
			_ = s.l.QueueThreadsafe(w.queue) // a closed loop has ended the wait
		}
	}
	if s.timed && err != context.DeadlineExceeded {
		graveyardOf(s.l).add(s)
	}
}

// watch arranges for w to be told of the end. stop reports whether it prevented
// that.
func (s *scope) watch(w *scopeWatcher) (stop func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.watchers = append(s.watchers, w)
	} else if w.call != nil {
		go func() { // package context calls AfterFunc with locks held
			if w.taken.CompareAndSwap(false, true) {
				w.call()
			}
		}()
	} else {
		_ = s.l.QueueThreadsafe(w.queue)
	}
	return func() bool { return s.unwatch(w) }
}

// unwatch takes watchers out in bulk: finding one among many costs too much.
func (s *scope) unwatch(w *scopeWatcher) bool {
	if !w.taken.CompareAndSwap(false, true) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead++; s.dead > len(s.watchers)/2 {
		s.watchers = slices.DeleteFunc(s.watchers, func(w *scopeWatcher) bool { return w.taken.Load() })
		s.dead = 0
	}
	return true
}

// OnEnd implements future's loopScope.
func (s *scope) OnEnd(r loop.Runnable) (stop func()) {
	unwatch := s.watch(&scopeWatcher{queue: r})
	if s.foreign == nil {
		return func() { unwatch() }
	}
	// A virtual clock must not move on before the end is known.
	uncheck := s.l.BeforeIdle(checkScope{s})
	return func() { unwatch(); uncheck() }
}

// checkScope looks whether the scope has ended.
type checkScope struct{ s *scope }

func (c checkScope) Run() { _ = c.s.Err() }

// AfterFunc lets package context derive from s without a goroutine.
func (s *scope) AfterFunc(f func()) (stop func() bool) { return s.watch(&scopeWatcher{call: f}) }

// Reason implements env.LoopScope.
func (s *scope) Reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// Deadline implements context.Context.
func (s *scope) Deadline() (time.Time, bool) { return s.deadline, true }

// Done implements context.Context. From here on the end of the task ends s, too.
func (s *scope) Done() <-chan struct{} {
	s.mu.Lock()
	done, first := s.done, s.done == nil
	if first {
		s.done = make(chan struct{})
		done = s.done
		if s.err != nil {
			close(done)
		}
	}
	s.mu.Unlock()
	if first && s.parent.Done() != nil {
		stop := context.AfterFunc(s.parent, func() { s.end(s.parent.Err(), context.Cause(s.parent)) })
		s.atEnd(func() { stop() })
	}
	return done
}

// Err implements context.Context.
func (s *scope) Err() error {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if err != nil || s.foreign == nil {
		return err
	}
	if err = s.foreign.Err(); err != nil {
		s.end(err, context.Cause(s.foreign))
	}
	return err
}

// Value implements context.Context.
func (s *scope) Value(key any) any {
	if key == env.ScopeKey {
		return env.LoopScope(s)
	}
	return s.parent.Value(key)
}

// A graveyard holds scopes that were canceled, from any goroutine, and whose
// timers must be stopped on the loop. That is not urgent, and a post for each would
// make the loop expect company: they wait for the next scope to be made, or for
// each other.
type graveyard struct {
	l    *loop.Loop
	mu   sync.Mutex
	dead []*scope
}

const maxDead = 64

func graveyardOf(l *loop.Loop) *graveyard { return registryOf(l).graves }

func (g *graveyard) add(s *scope) {
	g.mu.Lock()
	g.dead = append(g.dead, s)
	n := len(g.dead)
	g.mu.Unlock()
	if n == maxDead || g.l.Virtual() { // a virtual clock would run to the deadline
		_ = g.l.QueueThreadsafe(g)
	}
}

// Run buries what is there.
func (g *graveyard) Run() { g.bury() }

func (g *graveyard) bury() {
	g.mu.Lock()
	dead := g.dead
	g.dead = nil
	g.mu.Unlock()
	for _, s := range dead {
		g.l.StopTimer(&s.timer)
	}
}
