package thread

import (
	"context"
	"time"
)

// TimerConfig configures a Timer. The zero value is right for production.
type TimerConfig struct {
	// OnError is told, on the timer's goroutine, when the function panics (a
	// [*PanicError]) or calls runtime.Goexit ([ErrGoexit]). Default nil: log by
	// package log/slog.
	OnError func(err error)
}

// A Timer calls a function once, when its time has come, on a goroutine that is made
// then. Its methods may be called from any goroutine. Make it with [After].
// (threading: Timer)
type Timer struct {
	cfg   TimerConfig
	fn    func()
	timer *time.Timer
	ended chan struct{}
}

// After starts a timer that calls fn when d has passed, and never early; at once if
// d is zero or less.
func After(cfg TimerConfig, d time.Duration, fn func()) *Timer {
	if fn == nil {
		panic("thread: Timer without a function")
	}
	t := &Timer{cfg: cfg, fn: fn, ended: make(chan struct{})}
	t.timer = time.AfterFunc(d, t.run)
	return t
}

func (t *Timer) run() {
	defer close(t.ended)
	call(t.fn, t.cfg.OnError, "thread: Timer", func() {})
}

// call calls fn, tells hook if it fails, and then calls after.
func call(fn func(), hook func(err error), who string, after func()) {
	defer after()
	guard(func() error { fn(); return nil }, func(err error) {
		if err != nil {
			tell(hook, who, err)
		}
	})
}

// Cancel reports whether this call has prevented the call of the function. It does
// not wait for one that has begun: see Join.
func (t *Timer) Cancel() bool {
	if !t.timer.Stop() {
		return false
	}
	close(t.ended)
	return true
}

// Join waits until the function has returned or was prevented. It returns ctx.Err()
// when ctx is done. The function itself must not call it.
func (t *Timer) Join(ctx context.Context) error { return awaitClosed(ctx, forever, t.ended) }

// JoinTimeout is Join that waits for no longer than d; then it returns
// [ErrTimeout].
func (t *Timer) JoinTimeout(ctx context.Context, d time.Duration) error {
	return awaitClosed(ctx, max(d, 0), t.ended)
}

// Alive reports whether the function has not returned yet, and was not prevented.
func (t *Timer) Alive() bool {
	select {
	case <-t.ended:
		return false
	default:
		return true
	}
}
