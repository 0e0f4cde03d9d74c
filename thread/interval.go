package thread

import (
	"context"
	"sync"
	"time"
)

// Missed says what an [Interval] does about the beats that have passed while a call
// ran longer than the interval, or nothing could run. In any case one call is made
// at once; the policy is about what comes then. With an interval of 1 s and a call
// that began at 1 s and ran until 3.5 s:
//
//	Skip    3.5  4    5
//	Burst   3.5  3.5  4    5      (for 2 s, for 3 s)
//	Delay   3.5  4.5  5.5
type Missed uint8

const (
	// Skip drops them and keeps to the beat, whole intervals from the start.
	Skip Missed = iota
	// Burst makes up for them, one call after the other, and keeps to the beat: the
	// number of calls comes out right.
	Burst
	// Delay drops them and lets a new beat begin: each call comes a whole interval
	// after the one before it began.
	Delay
)

// EveryConfig configures an Interval. The zero value is right for production.
type EveryConfig struct {
	// Missed says what becomes of missed beats. Default: Skip.
	Missed Missed
	// OnError is told, on the goroutine of the call, when the function panics (a
	// [*PanicError]) or calls runtime.Goexit ([ErrGoexit]). The interval goes on.
	// Default nil: log by package log/slog.
	OnError func(err error)
}

// An Interval calls a function again and again until it is stopped: set_interval.
// Its methods may be called from any goroutine, the function included. Make it with
// [Every]. Between two calls it is a timer and no goroutine.
type Interval struct {
	cfg EveryConfig
	d   time.Duration
	fn  func(*Interval)

	mu      sync.Mutex
	timer   *time.Timer
	due     time.Time // of the next call
	calling bool
	stopped bool
	missed  uint64
	ended   chan struct{}
}

// Every starts an interval that calls fn each time d has passed, the first time d
// from now, by the monotonic clock. One call ends before the next begins; fn is given
// the interval, so that it can stop it. Every panics if d is not positive.
func Every(cfg EveryConfig, d time.Duration, fn func(i *Interval)) *Interval {
	switch {
	case fn == nil:
		panic("thread: Interval without a function")
	case d <= 0:
		panic("thread: Interval that is not positive")
	case cfg.Missed > Delay:
		panic("thread: EveryConfig.Missed is none of Skip, Burst, Delay")
	}
	i := &Interval{cfg: cfg, d: d, fn: fn, ended: make(chan struct{})}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.due = time.Now().Add(d)
	i.timer = time.AfterFunc(d, i.beat)
	return i
}

// beat makes one call. The next is arranged when it has ended, however it has.
func (i *Interval) beat() {
	i.mu.Lock()
	if i.stopped {
		i.mu.Unlock()
		return
	}
	i.calling = true
	i.advance(time.Now())
	i.mu.Unlock()
	call(func() { i.fn(i) }, i.cfg.OnError, "thread: Interval", i.rest)
}

// advance sets when the call after the one that begins now is due.
func (i *Interval) advance(now time.Time) {
	switch i.cfg.Missed {
	case Skip:
		missed := max(now.Sub(i.due), 0) / i.d
		i.missed += uint64(missed)
		i.due = i.due.Add((missed + 1) * i.d)
	case Burst:
		i.due = i.due.Add(i.d)
	case Delay:
		i.missed += uint64(max(now.Sub(i.due), 0) / i.d)
		i.due = now.Add(i.d)
	}
}

// rest waits for the next beat, if there is to be one.
func (i *Interval) rest() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calling = false
	if i.stopped {
		close(i.ended)
		return
	}
	i.timer.Reset(time.Until(i.due))
}

// Stop makes no call begin any more, and reports whether this call of it did. It
// does not wait for a call that has begun: see Join. Once Stop has returned, no
// other call begins.
func (i *Interval) Stop() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stopped {
		return false
	}
	i.stopped = true
	i.timer.Stop()
	if !i.calling {
		close(i.ended)
	}
	return true
}

// Join waits until the interval was stopped and its last call has ended. It returns
// ctx.Err() when ctx is done. The function itself must not call it.
func (i *Interval) Join(ctx context.Context) error { return awaitClosed(ctx, forever, i.ended) }

// JoinTimeout is Join that waits for no longer than d; then it returns
// [ErrTimeout].
func (i *Interval) JoinTimeout(ctx context.Context, d time.Duration) error {
	return awaitClosed(ctx, max(d, 0), i.ended)
}

// Missed returns how many beats were dropped so far.
func (i *Interval) Missed() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.missed
}
