// Package loop runs callbacks, one at a time, in the order they became due.
//
// A [Loop] takes turns. In each turn it sleeps until a descriptor is ready, a
// timer is due or another goroutine calls in; then it runs what is queued.
//
// # On the loop
//
// Code is on the loop while it runs in a callback or in the body of a task, and
// on the goroutine of Run before and after [Loop.Run]. Methods must be called on
// the loop unless their comment says from any goroutine. Nothing is locked; run
// your tests with -race, and with [Config.Debug].
//
// # Order
//
// Calls are made in the order they were queued, each exactly once. A call queued
// by a callback is made in the next turn, so no callback keeps the loop from its
// timers and descriptors. A timer never fires early; timers of the same instant
// fire in the order they were set. Within a turn come first what was queued
// already, then descriptors, then posts from other goroutines, then timers.
//
// # Blocking
//
// A callback that blocks or computes stalls everything else on its loop. Blocking
// calls belong in package executor.
package loop

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/poller"
	"github.com/eddyloop/eddy/timerheap"
)

var (
	// ErrClosed is returned when something is asked of a loop that is closed.
	ErrClosed = errors.New("loop: closed")
	// ErrRunning is returned by Run and Close on a loop that is running.
	ErrRunning = errors.New("loop: already running")
	// ErrStopped is returned by RunUntil when Stop came before the end.
	ErrStopped = errors.New("loop: stopped before the future was done")
)

// A PanicPolicy says what a panic in a callback does.
type PanicPolicy uint8

const (
	// Recover reports the panic to Config.OnError; the loop goes on.
	Recover PanicPolicy = iota
	// Crash lets the panic end the process, with its stack. A panic in a task is
	// its error all the same.
	Crash
)

// A WaitPolicy says how a loop waits when it has nothing to run.
type WaitPolicy uint8

const (
	// WaitAuto dozes while jobs or other Holds are out, so that their results are
	// there at once, and sleeps otherwise.
	WaitAuto WaitPolicy = iota
	// WaitSleep always blocks a thread in the loop's poller: the least work for
	// sockets, and punctual beside goroutines that compute.
	WaitSleep
	// WaitDoze always parks the goroutine in the Go runtime's poller where that
	// can be done, on Linux: the fastest to hear from other goroutines.
	WaitDoze
)

// Config configures a Loop. The zero value is right for production.
type Config struct {
	// Clock replaces the system's clock. Default nil: the system's.
	Clock Clock
	// Poller opens the poller. Default nil: [poller.New].
	Poller func() (poller.Poller, error)
	// OnError is called on the loop with failures that no caller can receive:
	// panics of callbacks, failed tasks that nobody looked at. If it panics, that
	// is logged. Default nil: log by package log/slog. (asyncio: exception handler)
	OnError func(*CallError)
	// Panic says what a panic in a callback does. Default Recover.
	Panic PanicPolicy
	// Debug makes the loop report calls slower than SlowCall, and tasks pending
	// at Close with their stacks; panic when a method that arranges a call or a
	// wait is used off the loop; and remember where calls were arranged. It costs
	// about 2 µs a call. The environment variable EDDY_DEBUG=1 sets it.
	Debug bool
	// SlowCall is how long a call may take before debug mode reports it, while
	// it is still running, by OnSlow. Default 0: 100 ms.
	SlowCall time.Duration
	// OnSlow is called by a goroutine of the loop's own, in debug mode. Default
	// nil: log by package log/slog.
	OnSlow func(SlowCall)
	// LockThread locks the goroutine of Run to its thread (runtime.LockOSThread)
	// from the first Run to Close, for libraries that want this. Run and Close
	// must then always be called by the same goroutine.
	// Switching to other goroutines becomes some ten times slower. Default false.
	LockThread bool
	// Wait says how the loop waits when it has nothing to run. Default WaitAuto.
	Wait WaitPolicy
	// Trace is called at points of the loop's life. Default nil.
	Trace *Trace
	// CloseTimeout bounds what Close waits for: jobs of executors and other
	// OnClose functions. Default 0: 10 s; negative: no bound.
	CloseTimeout time.Duration
}

// A Loop runs calls one at a time. Make it with [New], and close it.
//
//	new --Run--> running <--Stop / Run--> stopped --Close--> closed
type Loop struct {
	cfg   Config
	clock source

	// The turn.
	ready    queue
	handles  []Handle // for CallSoon
	batch    int      // calls left of the batch that runs
	now      int64    // ns since the loop was made; read when the loop looks
	timers   timerheap.Heap[Runnable]
	due      int64 // no timer is due earlier than this
	ran      int   // calls since the last look
	checkAt  int   // value of ran at which the clock is read
	stride   int   // calls between two readings of the clock
	lookedAt int64 // ns, the end of the last look
	polledAt int64 // ns, the end of the last poll
	stopping bool
	turned   bool // Run has begun a turn
	inTurn   bool // Run is on the stack
	err      error

	// What runs.
	running  Running
	root     *env.Env // of the loop itself
	env      *env.Env // of the callback that runs, else root
	callback *callbackContext

	// The outside.
	inbox   inbox
	spare   []Runnable // the inbox' other slice
	poller  poller.Poller
	bell    atomic.Pointer[poller.Poller] // the same, for other goroutines
	events  []poller.Event
	fds     descriptors
	outside outsideCount
	nap     nap
	doze    doze
	quiet   int // looks since the last post

	idleChecks []*idleCheck // with a virtual clock

	// Life.
	closed  bool
	ending  *ending       // Close has begun
	ended   chan struct{} // closed when the loop is
	locked  bool          // to the thread, by LockThread
	locals  []local
	onClose []*closer
	exits   []*coro.Worker // workers whose bodies called Goexit
	exiting bool           // Goexit is on its way
	coros   coro.Pool
	signals []*signalWatch
	wanted  signalSet

	// Watching.
	strict   bool // closed or debug: check calls
	debug    *debugger
	stats    Stats
	panicked bool // a panic is being reported

	tracesTasks bool
}

// New returns a loop. Its errors are those of opening a poller: too many open
// files, mostly.
func New(cfg Config) (*Loop, error) {
	l := &Loop{cfg: cfg, stride: maxStride, checkAt: maxStride, due: math.MaxInt64, ended: make(chan struct{})}
	if cfg.Clock != nil {
		l.clock = source{base: cfg.Clock.Now(), virtual: cfg.Clock}
	} else {
		l.clock = source{base: time.Now()}
		// With a virtual clock most loops never wait for the kernel.
		if err := l.openPoller(); err != nil {
			return nil, err
		}
	}
	l.root = &env.Env{Loop: l, Values: context.Background()}
	l.env = l.root
	l.tracesTasks = cfg.Trace != nil && cfg.Trace.Task != nil
	if cfg.Debug || debugByEnvironment() {
		l.strict = true
		l.debug = newDebugger(l)
	}
	return l, nil
}

func (l *Loop) openPoller() (err error) {
	if l.poller != nil {
		return nil
	}
	open := l.cfg.Poller
	if open == nil {
		open = poller.New
	}
	if l.poller, err = open(); err != nil {
		l.poller = nil
		return fmt.Errorf("loop: %w", err)
	}
	p := l.poller
	l.bell.Store(&p)
	l.events = make([]poller.Event, eventsPerPoll)
	return nil
}

// Run runs the loop until Stop is called; then it can be run again. It returns
// [ErrRunning] if the loop is running, [ErrClosed] if it is closed or being closed,
// [ErrDeadlock] from a virtual clock, and an error of the poller.
//
// A callback or a task that calls runtime.Goexit, as testing.T.FailNow does, ends
// the loop: tasks are unwound, the loop is closed, and Goexit goes on in the
// goroutine that called Run. (asyncio: run_forever)
func (l *Loop) Run() error {
	switch {
	case l.inTurn:
		return ErrRunning
	case l.closed || l.ending != nil:
		return ErrClosed
	}
	if l.cfg.LockThread && !l.locked {
		// Until Close: stacks made on a locked thread can be resumed, and freed,
		// only there.
		runtime.LockOSThread()
		l.locked = true
	}
	l.inTurn, l.turned, l.err = true, false, nil
	l.callback = nil
	l.lookedAt = l.clock.now()
	l.debug.start()
	defer l.leaveRun()
	for !l.run() {
	}
	return l.err
}

// leaveRun is deferred, because Goexit may pass.
func (l *Loop) leaveRun() {
	l.inTurn, l.stopping = false, false
	l.debug.stop()
}

// run takes turns until the loop is stopped. A turn: sleep until something is
// due, queue all that is, then run what is queued.
//
// Only the first loop runs user code, and only calls queued before the batch was
// counted: a call that queues another waits a turn, so no callback can keep the
// loop from looking at its timers and descriptors.
//
// A panic or Goexit of a call ends in contain; after a panic run returns false,
// to be called again, and begins with what is left of the batch. It is all one
// function because a task's switch of stacks makes the processor mispredict every
// return between here and the task, 5 ns each.
func (l *Loop) run() (stopped bool) {
	defer l.contain(&stopped)
	for {
		for l.batch > 0 {
			l.batch--
			r := l.ready.pop()
			if l.debug != nil {
				l.debug.run(r)
			} else {
				r.Run()
			}
			l.callback = nil // one call's context is not the next one's
		}
		if l.stopping && l.turned {
			return true
		}
		l.turned = true
		l.stats.Turns++
		if l.ready.n == 0 || l.ran >= l.checkAt && l.mustLook() {
			l.look()
		}
		if l.due <= l.now {
			l.queueDueTimers()
		}
		l.batch = l.ready.n
		l.ran += l.batch
	}
}

func (l *Loop) queueDueTimers() {
	for n := l.timers.PopDue(l.now); n != nil; n = l.timers.PopDue(l.now) {
		l.stats.Timers++
		l.ready.push(n.Value)
	}
	l.due = math.MaxInt64
	if when, ok := l.timers.Min(); ok {
		l.due = when
	}
}

// setTimer adds a timer.
func (l *Loop) setTimer(when int64, n *timerheap.Node[Runnable]) {
	l.timers.Push(when, n)
	l.due = min(l.due, when)
}

// Looking at the kernel costs 190 ns, reading the clock 30, a call 7. So a
// busy loop looks after maxRan calls or maxSlice, whichever is first, and reads
// the clock only once in a stride of calls: as many as lately took a quarter of
// a slice, so slow calls are timed one by one.
const (
	maxRan    = 61
	maxStride = 31
	maxSlice  = int64(100 * time.Microsecond)
)

// mustLook decides, every stride calls, whether a busy loop looks outside.
func (l *Loop) mustLook() bool {
	if l.ran >= maxRan {
		return true
	}
	now := l.clock.now()
	if now-l.lookedAt >= maxSlice {
		return true
	}
	l.now = now
	l.checkAt = min(l.ran+l.stride, maxRan)
	return false
}

// look waits until something is due, queues what has happened outside, and reads
// the clock.
func (l *Loop) look() {
	start := l.clock.now()
	l.endSlice(start)
	d, err := l.patience(start)
	if l.clock.virtual != nil {
		start = l.clock.now() // it may have jumped
	}
	if err == nil {
		err = l.wait(d, start)
	}
	if err != nil {
		l.err, l.stopping = err, true
	}
	l.queueInbox()
}

// endSlice notes how long the loop has not looked outside, and how often it
// should read the clock from now on.
func (l *Loop) endSlice(now int64) {
	slice := now - l.lookedAt
	l.stats.slice(l.ran, slice)
	if perStride := int64(l.ran) * maxSlice / 4; slice > 0 {
		l.stride = int(min(max(perStride/slice, 1), maxStride))
	}
	l.ran, l.checkAt = 0, l.stride
}

// patience returns how long the loop may sleep, in ns; negative for ever.
func (l *Loop) patience(now int64) (int64, error) {
	if l.ready.n > 0 || l.stopping || l.inbox.posted.Load() {
		return 0, nil
	}
	next, timed := l.timers.Min()
	switch {
	case timed && next <= now:
		return 0, nil
	case l.clock.virtual != nil:
		return l.idle(next, timed)
	case !timed:
		return -1, nil
	}
	return next - now, nil
}

// idle asks a virtual clock.
func (l *Loop) idle(next int64, timed bool) (int64, error) {
	l.runIdleChecks()
	if l.ready.n > 0 || l.inbox.posted.Load() {
		return 0, nil
	}
	var t time.Time
	if timed {
		t = l.time(next)
	}
	wait, err := l.clock.virtual.Idle(t, l.Outside())
	if l.ready.n > 0 || l.stopping || l.inbox.posted.Load() {
		return 0, err
	}
	return int64(wait), err
}

// Stop ends Run after the batch of calls that runs now; calls queued since are
// made by the next Run. Before Run it makes the next Run a single turn that does
// not wait. (asyncio: stop)
func (l *Loop) Stop() {
	if l.strict {
		l.check("Stop")
	}
	l.stopping = true
}

// A Completer is something that ends once: a future, a task.
type Completer interface {
	// OnDone arranges for fn to be called by the loop after the end.
	OnDone(fn func()) (stop func() bool)
}

// RunUntil runs the loop until c is done. It returns the errors of Run, and
// [ErrStopped] if the loop was stopped before. (asyncio: run_until_complete)
func (l *Loop) RunUntil(c Completer) error {
	if l.inTurn {
		return ErrRunning
	}
	if l.closed || l.ending != nil {
		return ErrClosed
	}
	done := false
	stop := c.OnDone(func() {
		done = true
		l.Stop()
	})
	defer stop()
	err := l.Run()
	if err == nil && !done {
		// It may be done all the same, its callback waiting for the next turn.
		if d, ok := c.(interface{ Done() bool }); !ok || !d.Done() {
			err = ErrStopped
		}
	}
	return err
}

// Running reports whether Run is on the stack. (asyncio: is_running)
func (l *Loop) Running() bool { return l.inTurn }

// Closed reports whether the loop is closed. (asyncio: is_closed)
func (l *Loop) Closed() bool { return l.closed }

// Ended returns a channel that is closed when the loop is. It may be called from
// any goroutine.
func (l *Loop) Ended() <-chan struct{} { return l.ended }

// Coroutines returns the loop's pool of coroutine stacks.
func (l *Loop) Coroutines() *coro.Pool { return &l.coros }
