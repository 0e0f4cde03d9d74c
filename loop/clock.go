package loop

import (
	"errors"
	"time"
)

// ErrDeadlock is returned by Run when nothing can ever run again: nothing is
// queued, no timer is set and nothing outside will post. Only a virtual clock
// can tell.
var ErrDeadlock = errors.New("loop: deadlock: nothing can run again")

// A Clock tells a loop the time, and what to do when it has nothing to run. The
// default is the system's monotonic clock, and sleeping until something is due.
// A clock for tests is in package looptest.
type Clock interface {
	// Now returns the time. It must not go backwards.
	Now() time.Time

	// Idle is called on the loop, outside of any callback, when nothing is
	// queued. next is the time of the earliest timer, or the zero time if there
	// is none. outside reports whether anything but timers may bring work: jobs
	// of an executor, descriptors, a Hold.
	//
	// It may set the time, and it may queue calls. It returns how long the loop
	// shall wait for the outside: negative for as long as it takes, zero not at
	// all. An error ends Run, which returns it.
	Idle(next time.Time, outside bool) (wait time.Duration, err error)
}

// A source reads time as nanoseconds since the loop was made.
type source struct {
	base    time.Time
	virtual Clock // nil for the system's
}

func (s *source) now() int64 {
	if s.virtual != nil {
		return int64(s.virtual.Now().Sub(s.base))
	}
	return int64(time.Since(s.base))
}

// Now returns the time on the loop's clock: monotonic, and read anew each call.
// (asyncio: time)
func (l *Loop) Now() time.Time { return l.time(l.clock.now()) }

func (l *Loop) time(nanos int64) time.Time { return l.clock.base.Add(time.Duration(nanos)) }

// nanos saturates, as Sub does.
func (l *Loop) nanos(t time.Time) int64 { return max(int64(t.Sub(l.clock.base)), noTime+1) }

// Virtual reports whether the loop has a clock of its own: Config.Clock.
func (l *Loop) Virtual() bool { return l.clock.virtual != nil }

// BeforeIdle arranges for r to run, on the loop, each time before a virtual
// clock is asked, to queue what the loop could not know of: contexts that ended.
// With the system's clock it does nothing.
func (l *Loop) BeforeIdle(r Runnable) (stop func()) {
	if l.clock.virtual == nil {
		return func() {}
	}
	c := &idleCheck{r: r}
	l.idleChecks = append(l.idleChecks, c)
	return func() { c.r = nil }
}

// An idleCheck is a registration of BeforeIdle.
type idleCheck struct{ r Runnable }

// runIdleChecks runs what is registered, in order, and drops what is not any more.
func (l *Loop) runIdleChecks() {
	kept := l.idleChecks[:0]
	for _, c := range l.idleChecks {
		if c.r != nil {
			c.r.Run()
			kept = append(kept, c)
		}
	}
	clear(l.idleChecks[len(kept):])
	l.idleChecks = kept
}
