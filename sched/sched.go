// Package sched runs actions at their times, one after the other, in the goroutine or
// task that calls Run: Python's sched.scheduler, on any clock.
//
//	s := sched.New(nil)
//	s.After(2*time.Second, 0, func(ctx context.Context) error { … })
//	s.At(noon, 0, ring)
//	err := s.Run(ctx) // until nothing is left to do
//
// Actions are ordered by time, then by priority, the lower number first, then in the
// order they were entered. An action may enter and cancel others. One that fails ends
// Run, which can be called again: what it had not begun is still there.
//
// A [Scheduler] may be used by several goroutines. What one of them enters or cancels
// is seen at once by another that sleeps in Run. (CPython's sleeps until the time that
// was next when it fell asleep.)
package sched

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/eddyloop/eddy/internal/env"
)

// A Clock tells a scheduler the time and how to wait: timefunc and delayfunc of
// Python's. It must fit whoever calls Run: for a task on a loop the clock is that of
// the loop, and Sleep is task.Sleep.
type Clock interface {
	// Now returns the time. It must not go backwards.
	Now() time.Time

	// Sleep waits until d has passed or ctx is done; then it returns ctx.Err(), or an
	// error that is ctx's cause to errors.Is. It may return early, and is called again
	// then. It is called with a d of zero after each action, so that others can run.
	// Its errors end Run, which returns them.
	Sleep(ctx context.Context, d time.Duration) error
}

// system is the clock of the machine: monotonic.
type system struct{}

func (system) Now() time.Time { return time.Now() }

func (system) Sleep(ctx context.Context, d time.Duration) error {
	if d > 0 && ctx.Value(env.LoopKey) != nil {
		panic("sched: Run with the system's clock and the ctx of a loop would block all that runs there: give New a Clock whose Sleep is task.Sleep")
	}
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A PanicError is a panic of an action, made into an error.
type PanicError struct {
	Value any    // what panic was called with
	Stack []byte // of the goroutine that panicked, as debug.Stack prints it
}

// Error returns the panic's value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// A Scheduler runs actions at their times. Its methods may be called from any
// goroutine, and from actions. Make it with [New]. (sched: scheduler)
type Scheduler struct {
	clock Clock
	base  time.Time // what times count from

	mu       sync.Mutex
	events   []*Event // a heap: none comes before that at half its index
	entered  uint64   // events so far
	changes  uint64   // of which event comes first
	sleepers map[*sleeper]struct{}
}

// A sleeper is a call of Run that waits for the time of an event.
type sleeper struct{ wake context.CancelCauseFunc }

// New returns a scheduler without events. A nil clock is the system's.
func New(clock Clock) *Scheduler {
	if clock == nil {
		clock = system{}
	}
	return &Scheduler{clock: clock, base: clock.Now(), sleepers: make(map[*sleeper]struct{})}
}

// An Event is an action that was entered. (sched: Event)
type Event struct {
	s        *Scheduler
	at       time.Time
	nanos    int64 // at, since s.base: a total order, whatever the clocks
	priority int
	number   uint64 // in the order of entering
	action   func(ctx context.Context) error
	index    int // in s.events; negative: not there
}

// When returns the time of the event.
func (e *Event) When() time.Time { return e.at }

// Priority returns the priority of the event: the lower number comes first.
func (e *Event) Priority() int { return e.priority }

func (e *Event) before(f *Event) bool {
	switch {
	case e.nanos != f.nanos:
		return e.nanos < f.nanos
	case e.priority != f.priority:
		return e.priority < f.priority
	}
	return e.number < f.number
}

// At enters an action that is due at a time; if that has passed, at once. Among
// actions of the same time that of the lower priority number comes first. The action
// is given the ctx of the Run or RunDue that calls it. (sched: enterabs)
func (s *Scheduler) At(t time.Time, priority int, action func(ctx context.Context) error) *Event {
	if action == nil {
		panic("sched: event without an action")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entered++
	e := &Event{
		s: s, at: t, nanos: s.nanos(t), priority: priority, number: s.entered,
		action: action, index: len(s.events),
	}
	s.events = append(s.events, e)
	s.up(e.index)
	if e.index == 0 {
		s.change()
	}
	return e
}

// After enters an action that is due when d has passed. See At. (sched: enter)
func (s *Scheduler) After(d time.Duration, priority int, action func(ctx context.Context) error) *Event {
	return s.At(s.clock.Now().Add(d), priority, action)
}

// Cancel removes an event, and reports whether this call did: false says that its
// action has been called or is being called, that it was canceled before, or that it
// is another scheduler's. (CPython raises ValueError then.)
func (s *Scheduler) Cancel(e *Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e == nil || e.s != s || e.index < 0 {
		return false
	}
	first := e.index == 0
	s.remove(e)
	if first {
		s.change()
	}
	return true
}

// Empty reports whether there is no event.
func (s *Scheduler) Empty() bool { return s.Len() == 0 }

// Len returns the number of events.
func (s *Scheduler) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events)
}

// Pending returns the events in the order in which they will run. (sched: queue)
func (s *Scheduler) Pending() []*Event {
	s.mu.Lock()
	es := slices.Clone(s.events)
	s.mu.Unlock()
	slices.SortFunc(es, func(a, b *Event) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	return es
}

// Run waits for the times of the events and calls their actions, until there is no
// event left. It returns ctx.Err() when ctx is done, also between two actions that are
// due; what an action has returned, or a [*PanicError] if it panicked; or an error of
// the clock. In each case the events whose actions it has not called are still there.
// Several goroutines may call it: each event runs once. (sched: run)
//
// Cancel safety: an action that has begun is not interrupted, except by its ctx.
func (s *Scheduler) Run(ctx context.Context) error {
	for {
		wait, changes, err := s.runDue(ctx)
		if wait == 0 || err != nil {
			return err
		}
		if err := s.sleep(ctx, wait, changes); err != nil {
			return err
		}
	}
}

// RunDue calls the actions that are due, those that become due meanwhile included, and
// does not wait for others: it returns how long it is until the next, and true, or
// false if there is no event left. Its errors are those of Run. (sched: run with
// blocking false)
func (s *Scheduler) RunDue(ctx context.Context) (next time.Duration, ok bool, err error) {
	next, _, err = s.runDue(ctx)
	return next, next > 0, err
}

// runDue returns how long it is until the next event, or 0 if there is none or an
// action has failed, and which change of the scheduler this was true after.
func (s *Scheduler) runDue(ctx context.Context) (wait time.Duration, changes uint64, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		now := s.nanos(s.clock.Now())
		s.mu.Lock()
		if len(s.events) == 0 || s.events[0].nanos > now {
			if len(s.events) > 0 {
				wait = time.Duration(s.events[0].nanos - now)
			}
			changes = s.changes
			s.mu.Unlock()
			return wait, changes, nil
		}
		e := s.events[0]
		s.remove(e)
		s.mu.Unlock()
		if err := e.call(ctx); err != nil {
			return 0, 0, err
		}
		if err := s.clock.Sleep(ctx, 0); err != nil {
			return 0, 0, err
		}
	}
}

// call calls the action.
func (e *Event) call(ctx context.Context) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil { // else it is a Goexit, which goes on
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	err = e.action(ctx)
	returned = true
	return err
}

// errChanged wakes a Run that sleeps, because another event comes first now.
var errChanged = errors.New("sched: the next event has changed")

// sleep waits until d has passed, or until what comes first is not what it was at
// that change.
func (s *Scheduler) sleep(ctx context.Context, d time.Duration, changes uint64) error {
	sleeping, wake := context.WithCancelCause(ctx)
	defer wake(nil)
	s.mu.Lock()
	if s.changes != changes {
		s.mu.Unlock()
		return nil
	}
	sl := &sleeper{wake}
	s.sleepers[sl] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.sleepers, sl)
		s.mu.Unlock()
	}()
	err := s.clock.Sleep(sleeping, d)
	if context.Cause(sleeping) == errChanged && (err == context.Canceled || errors.Is(err, errChanged)) {
		return nil // and if ctx is done too, that is looked at next
	}
	return err
}

// change says that another event comes first now. s.mu is held.
func (s *Scheduler) change() {
	s.changes++
	for sl := range s.sleepers {
		sl.wake(errChanged)
	}
}

// nanos saturates, as Sub does.
func (s *Scheduler) nanos(t time.Time) int64 { return int64(t.Sub(s.base)) }
