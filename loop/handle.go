package loop

import (
	"math"
	"time"

	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/timerheap"
)

// A Runnable is a call that can be queued as it is, without allocating.
type Runnable interface {
	// Run makes the call, on the loop. It must not block.
	Run()
}

// A Handle is a call that a loop has promised to make, once. It must be used on
// the loop. (asyncio: Handle and TimerHandle)
//
//	waiting for its time --due--> queued --its turn--> made
//	waiting or queued --Cancel--> canceled
type Handle struct {
	fn   func()                   // nil once the call was made or canceled
	env  *env.Env                 // the context that the call was arranged in
	node timerheap.Node[Runnable] // in the heap while waiting; Value is canceledCall after Cancel
	when int64                    // ns on the loop's clock, noTime for CallSoon
}

const noTime = math.MinInt64

// canceledCall marks a canceled handle, in a word that is free then: with a flag
// of its own a Handle would not fit 48 bytes.
var canceledCall Runnable = funcCall(nil)

// Run makes the call. It is for the loop.
func (h *Handle) Run() {
	fn := h.fn
	if fn == nil {
		return
	}
	h.fn = nil
	l := h.env.Loop.(*Loop)
	l.env = h.env // the loop has seen to it that callback is nil
	fn()
	l.env = l.root
}

// Cancel prevents the call and reports whether it did: false if the call was
// made, is being made, or was canceled before. What fn holds is released.
func (h *Handle) Cancel() bool {
	if h.fn == nil {
		return false
	}
	l := h.env.Loop.(*Loop)
	if l.strict {
		l.check("Handle.Cancel")
	}
	h.fn = nil
	l.timers.Remove(&h.node)
	h.node.Value = canceledCall
	return true
}

// Canceled reports whether Cancel prevented the call.
func (h *Handle) Canceled() bool {
	f, ok := h.node.Value.(funcCall)
	return ok && f == nil
}

// When returns the time for which the call was arranged, and false for a call
// of CallSoon.
func (h *Handle) When() (time.Time, bool) {
	if h.when == noTime {
		return time.Time{}, false
	}
	return h.env.Loop.(*Loop).time(h.when), true
}

// handleChunk is how many handles CallSoon allocates at a time: most are made soon
// after each other, die soon, and hold nothing after their call. A timer's handle may
// live long, and is allocated by itself.
const handleChunk = 10 // 480 bytes, the largest size of object without a header

// CallSoon queues fn for the next turn of the loop. Calls are made in the order
// queued, each once. A fn that panics does not stop the loop: see
// [Config.OnError]. It panics if the loop is closed. (asyncio: call_soon)
func (l *Loop) CallSoon(fn func()) *Handle {
	if fn == nil {
		panic("loop: CallSoon of a nil function")
	}
	if l.strict {
		l.check("CallSoon")
		fn = l.site(fn)
	}
	e := l.env
	if l.running != nil || l.callback != nil {
		e = l.capture()
	}
	if len(l.handles) == 0 {
		l.handles = make([]Handle, handleChunk)
	}
	h := &l.handles[0]
	l.handles = l.handles[1:]
	h.fn, h.env, h.when = fn, e, noTime
	l.ready.push(h)
	return h
}

// Queue queues r for the next turn: CallSoon without a Handle, a context or an
// allocation. (asyncio: call_soon)
func (l *Loop) Queue(r Runnable) {
	if l.strict {
		l.check("Queue")
	}
	l.ready.push(r)
}

// CallLater arranges for fn to be called on the loop when d has passed on the
// loop's clock, never early. A d of zero or less means the next turn.
// Calls due at the same time are made in the order they were arranged.
// (asyncio: call_later)
func (l *Loop) CallLater(d time.Duration, fn func()) *Handle {
	if fn == nil {
		panic("loop: CallLater of a nil function")
	}
	if l.strict {
		l.check("CallLater")
		fn = l.site(fn)
	}
	return l.callAt(l.after(d), fn)
}

// CallAt arranges for fn to be called when the loop's clock reads t, or in the
// next turn if it does already. See CallLater. (asyncio: call_at)
func (l *Loop) CallAt(t time.Time, fn func()) *Handle {
	if fn == nil {
		panic("loop: CallAt of a nil function")
	}
	if l.strict {
		l.check("CallAt")
		fn = l.site(fn)
	}
	return l.callAt(l.at(t), fn)
}

func (l *Loop) callAt(when int64, fn func()) *Handle {
	h := &Handle{fn: fn, env: l.capture(), when: when}
	h.node.Value = h
	l.setTimer(when, &h.node)
	return h
}

// A Timer queues a [Runnable] at a time: CallLater for those who bring the
// memory. The zero value is ready. It must be used on the loop.
type Timer struct{ node timerheap.Node[Runnable] }

// StartTimer queues r when d has passed on the loop's clock; see CallLater.
// It panics if t is running.
func (l *Loop) StartTimer(t *Timer, d time.Duration, r Runnable) {
	if l.strict {
		l.check("StartTimer")
	}
	t.start(r)
	l.setTimer(l.after(d), &t.node)
}

// StartTimerAt queues r when the loop's clock reads at; see CallAt.
func (l *Loop) StartTimerAt(t *Timer, at time.Time, r Runnable) {
	if l.strict {
		l.check("StartTimer")
	}
	t.start(r)
	l.setTimer(l.at(at), &t.node)
}

func (t *Timer) start(r Runnable) {
	if t.node.Queued() {
		panic("loop: StartTimer of a running Timer")
	}
	t.node.Value = r
}

// StopTimer stops t and reports whether it did: false if t was not running or
// its Runnable is queued already.
func (l *Loop) StopTimer(t *Timer) bool { return l.timers.Remove(&t.node) }

// at returns the loop time t. If that has come the loop's cached time is brought up
// to date, so that it is due in the next turn.
func (l *Loop) at(t time.Time) int64 {
	when := l.nanos(t)
	if when > l.now {
		if now := l.clock.now(); when <= now {
			l.now = now
		}
	}
	return when
}

// after returns the loop time d from now. What is due at once is due by the time
// the loop has cached, so that it is due in the next turn; anything else counts
// from the real time, so that a long callback makes no timer early.
func (l *Loop) after(d time.Duration) int64 {
	if d <= 0 {
		return max(l.now+int64(d), noTime+1)
	}
	now := l.clock.now()
	if when := now + int64(d); when >= now {
		return when
	}
	return math.MaxInt64
}
