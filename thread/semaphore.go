package thread

import (
	"context"
	"sync"
	"time"
)

// A Semaphore holds permits for goroutines. Make it with [NewSemaphore] or
// [NewBoundedSemaphore]. Who waits gets one in the order of coming. (threading:
// Semaphore, BoundedSemaphore)
type Semaphore struct {
	mu    sync.Mutex
	value int // more than 0 only if nobody waits
	bound int // negative: none
	line  line[struct{}]
}

// NewSemaphore returns a semaphore with n permits, to which Release may add. It
// panics if n is negative.
func NewSemaphore(n int) *Semaphore {
	if n < 0 {
		panic("thread: semaphore with a negative number of permits")
	}
	return &Semaphore{value: n, bound: -1}
}

// NewBoundedSemaphore returns a semaphore with n permits that never has more.
func NewBoundedSemaphore(n int) *Semaphore {
	s := NewSemaphore(n)
	s.bound = n
	return s
}

// Acquire waits until there is a permit and takes it. It returns ctx.Err() when ctx
// is done; then no permit is taken.
//
// Cancel safety: the turn passes to the next one who waits.
func (s *Semaphore) Acquire(ctx context.Context) error { return s.acquire(ctx, forever) }

// AcquireTimeout is Acquire that waits for no longer than d; then it returns
// [ErrTimeout].
func (s *Semaphore) AcquireTimeout(ctx context.Context, d time.Duration) error {
	return s.acquire(ctx, max(d, 0))
}

// TryAcquire takes a permit if there is one, and reports whether it did.
func (s *Semaphore) TryAcquire() bool { return s.acquire(context.Background(), 0) == nil }

func (s *Semaphore) acquire(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.value > 0 {
		s.value--
		s.mu.Unlock()
		return nil
	}
	if d == 0 {
		s.mu.Unlock()
		return ErrTimeout
	}
	w := s.line.push(struct{}{})
	s.mu.Unlock()
	_, err := s.line.await(ctx, d, &s.mu, w)
	return err
}

// Release gives a permit to the goroutine that has waited longest, or adds it. It
// panics if a bounded semaphore has all its permits. It never waits.
func (s *Semaphore) Release() { s.ReleaseN(1) }

// ReleaseN is n times Release at once; if that is too often it panics and does
// nothing. It also panics if n is less than 1. (threading: release(n))
func (s *Semaphore) ReleaseN(n int) {
	if n < 1 {
		panic("thread: Release of fewer than one permit")
	}
	s.mu.Lock()
	if s.bound >= 0 && n > s.bound-s.value {
		s.mu.Unlock()
		panic("thread: Release of a bounded semaphore that has all its permits")
	}
	s.value += max(n-s.line.n, 0)
	w := s.line.take(n, nil)
	s.mu.Unlock()
	wakeAll(w)
}

// Value returns the number of permits that are not taken.
func (s *Semaphore) Value() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value
}

// Waiting returns how many goroutines wait.
func (s *Semaphore) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.line.n
}
