package thread

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// An Event is a flag that goroutines wait for. The zero value is clear.
// (threading: Event)
type Event struct {
	mu   sync.Mutex
	set  atomic.Bool // written under mu
	line line[struct{}]
}

// Wait waits until the event is set. It returns ctx.Err() when ctx is done.
func (e *Event) Wait(ctx context.Context) error { return e.wait(ctx, forever) }

// WaitTimeout is Wait that waits for no longer than d; then it returns
// [ErrTimeout].
func (e *Event) WaitTimeout(ctx context.Context, d time.Duration) error {
	return e.wait(ctx, max(d, 0))
}

func (e *Event) wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	if e.set.Load() {
		e.mu.Unlock()
		return nil
	}
	if d == 0 {
		e.mu.Unlock()
		return ErrTimeout
	}
	w := e.line.push(struct{}{})
	e.mu.Unlock()
	_, err := e.line.await(ctx, d, &e.mu, w)
	return err
}

// Set sets the event and wakes all who wait now, even if Clear follows at once.
func (e *Event) Set() {
	e.mu.Lock()
	e.set.Store(true)
	w := e.line.take(e.line.n, nil)
	e.mu.Unlock()
	wakeAll(w)
}

// Clear makes further calls of Wait wait.
func (e *Event) Clear() {
	e.mu.Lock()
	e.set.Store(false)
	e.mu.Unlock()
}

// IsSet reports whether the event is set.
func (e *Event) IsSet() bool { return e.set.Load() }

// Waiting returns how many goroutines wait.
func (e *Event) Waiting() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.line.n
}
