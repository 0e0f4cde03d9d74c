package loop

import (
	"runtime"
	"time"
)

// eventsPerPoll bounds the work that one look can bring.
const eventsPerPoll = 256

// wait sleeps for up to d ns, for ever if d is negative, until something is
// ready outside; it queues what is and sets the loop's time.
func (l *Loop) wait(d, start int64) error {
	if d == 0 {
		if l.fds.n == 0 {
			// Nothing to ask the kernel for, and posts are seen without it.
			l.settle(start)
			return nil
		}
		return l.poll()
	}
	if err := l.openPoller(); err != nil {
		return err
	}
	if l.nap.take(l, start) {
		// As in a busy loop: the kernel is asked once a slice.
		now := l.clock.now()
		if l.fds.n == 0 || now-l.polledAt < maxSlice {
			l.settle(now)
			return nil
		}
		return l.poll()
	}
	var err error
	if l.dozes(d) {
		err = l.rest(dozing, d)
	} else {
		err = l.rest(asleep, d)
	}
	l.stats.Waiting += time.Duration(l.now - start)
	return err
}

// dozes decides whether the loop dozes rather than sleeps.
func (l *Loop) dozes(d int64) bool {
	switch l.cfg.Wait {
	case WaitSleep:
		return false
	case WaitAuto:
		// After a slow yield somebody computes: then a thread of our own that
		// the kernel wakes is sooner there than a goroutine.
		if l.outside.Load() == 0 || 0 <= d && d < minDoze || l.nap.skip > 0 {
			return false
		}
	}
	return l.doze.open(l)
}

// minDoze is the time under which a timer's precision counts.
const minDoze = int64(5 * time.Millisecond)

// minSleep is the shortest time to sleep for. The kernel's own slack is as much;
// timers that are closer together are served by one wake-up.
const minSleep = int64(50 * time.Microsecond)

// rest waits in one of the two ways.
func (l *Loop) rest(how int32, d int64) error {
	if 0 < d && d < minSleep {
		d = minSleep
	}
	l.inbox.state.Store(how)
	if l.inbox.posted.Load() {
		// Posted before it could see the state: nobody will wake us.
		d, how = 0, asleep
	}
	var n int
	var err error
	t := l.cfg.Trace
	if t != nil && t.Wait != nil {
		t.Wait(time.Duration(d))
	}
	if how == dozing {
		n, err = l.doze.take(d)
	} else {
		n, _, err = l.poller.Wait(l.events, time.Duration(d))
	}
	l.inbox.state.Store(awake)
	l.handle(n)
	return err
}

// poll asks the kernel without waiting.
func (l *Loop) poll() error {
	if t := l.cfg.Trace; t != nil && t.Wait != nil {
		t.Wait(0)
	}
	n, _, err := l.poller.Wait(l.events, 0)
	l.handle(n)
	return err
}

// handle queues the calls for n events.
func (l *Loop) handle(n int) {
	l.settle(l.clock.now())
	l.polledAt = l.now
	stale := l.fds.stale
	for i := range l.events[:n] {
		l.fds.dispatch(l, &l.events[i])
	}
	l.fds.exorcise(l, n > 0 && l.fds.stale-stale == uint64(n))
	l.stats.Polls++
	l.stats.Events += uint64(n)
	if t := l.cfg.Trace; t != nil && t.Wake != nil {
		t.Wake(n)
	}
}

// settle takes the time at which the next slice of calls begins.
func (l *Loop) settle(now int64) { l.now, l.lookedAt = now, now }

// A nap is a yield before a sleep. A goroutine that the loop made ready sits in
// the loop's own P, and a blocking system call holds that P until the runtime's
// monitor notices, tens of microseconds later. So before it blocks, the loop
// lets others run, if it has reason to believe that there are others: work is
// out, or someone posted lately. It yields twice, because one yield in 61 comes
// straight back.
//
// Beside a goroutine that computes, a yield takes 10 ms and more: after a slow
// one that brought nothing, naps are skipped for a while, twice as long each
// time.
type nap struct {
	skip    int // naps to skip
	backoff int // how many to skip after the next slow one
}

const (
	slowNap    = int64(50 * time.Microsecond)
	maxBackoff = 1 << 10
	quietLooks = 4 // looks without a post after which nobody is expected
)

// take yields if that may pay, and reports whether something was posted.
func (n *nap) take(l *Loop, start int64) (posted bool) {
	if l.quiet >= quietLooks && l.outside.Load() == 0 {
		return false
	}
	if n.skip > 0 {
		n.skip--
		return false
	}
	for range 2 {
		runtime.Gosched()
		if l.inbox.posted.Load() {
			n.backoff = 0
			return true
		}
	}
	if l.clock.now()-start > slowNap {
		n.backoff = min(max(2*n.backoff, 8), maxBackoff)
		n.skip = n.backoff
	}
	return false
}
