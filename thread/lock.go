package thread

import (
	"context"
	"sync"
	"time"
)

// A Lock is a lock for goroutines that one of them holds at a time. The zero value
// is free. It is not owned: any goroutine may release it. Who waits gets it in the
// order of coming. (threading: Lock)
type Lock struct {
	mu   sync.Mutex
	held bool
	line line[struct{}]
}

// Acquire waits until the lock is free and takes it. It returns ctx.Err() when ctx
// is done; then the lock is not taken.
//
// Cancel safety: the turn passes to the next one who waits.
func (l *Lock) Acquire(ctx context.Context) error { return l.acquire(ctx, forever) }

// AcquireTimeout is Acquire that waits for no longer than d; then it returns
// [ErrTimeout].
func (l *Lock) AcquireTimeout(ctx context.Context, d time.Duration) error {
	return l.acquire(ctx, max(d, 0))
}

// TryAcquire takes the lock if it is free, and reports whether it did.
func (l *Lock) TryAcquire() bool { return l.acquire(context.Background(), 0) == nil }

func (l *Lock) acquire(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	if !l.held {
		l.held = true
		l.mu.Unlock()
		return nil
	}
	if d == 0 {
		l.mu.Unlock()
		return ErrTimeout
	}
	w := l.line.push(struct{}{})
	l.mu.Unlock()
	_, err := l.line.await(ctx, d, &l.mu, w)
	return err
}

// Release gives the lock to the goroutine that has waited longest, or frees it. It
// panics if the lock is free. It never waits.
func (l *Lock) Release() {
	l.mu.Lock()
	if !l.held {
		l.mu.Unlock()
		panic("thread: Release of a Lock that is free")
	}
	w := l.line.pop()
	l.held = w != nil
	l.mu.Unlock()
	wakeOne(w)
}

// Locked reports whether the lock is taken.
func (l *Lock) Locked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// Waiting returns how many goroutines wait.
func (l *Lock) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.line.n
}

func (l *Lock) isHeld() bool  { return l.Locked() }
func (l *Lock) takeBack(hold) { _ = l.Acquire(context.Background()) }

func (l *Lock) giveUp() hold {
	l.Release()
	return hold{}
}

// An Owner is somebody who can hold an [RLock]. Go does not tell goroutines from
// each other, so who asks for the lock says who he is: a [Thread] is an Owner, and
// for another goroutine, or a chain of calls that goes through several, [NewOwner]
// makes one. One Owner must not be used by two goroutines at the same time: the
// lock would let in both.
type Owner interface {
	// Name is what the owner is called. It need not be unique.
	Name() string

	owner()
}

// NewOwner returns an Owner that is the same as no other.
func NewOwner(name string) Owner { return &token{name} }

// A token is an Owner that is nothing else.
type token struct{ name string }

func (t *token) Name() string   { return t.name }
func (t *token) String() string { return t.name }
func (*token) owner()           {}

// An RLock is a lock for goroutines that one [Owner] holds at a time, and that its
// owner may take again while holding it; it is free when it was released as often
// as it was taken. The zero value is free. Who waits gets it in the order of
// coming. Use it where code that holds the lock must call code that takes it; see
// Owner for why it is passed along. (threading: RLock)
//
//	func (a *Account) Deposit(ctx context.Context, who thread.Owner, n int) error {
//		if err := a.lock.Acquire(ctx, who); err != nil {
//			return err
//		}
//		defer a.lock.Release(who)
//		return a.log(ctx, who, n) // which takes a.lock, too
//	}
type RLock struct {
	mu   sync.Mutex
	hold hold
	line line[hold]
}

// A hold is who holds an RLock, and how often.
type hold struct {
	owner Owner // nil: nobody
	count int
}

// Acquire waits until the lock is free, or who's already, and takes it once more.
// It returns ctx.Err() when ctx is done; then the lock is not taken. It panics if
// who is nil.
//
// Cancel safety: the turn passes to the next one who waits.
func (l *RLock) Acquire(ctx context.Context, who Owner) error {
	return l.acquire(ctx, hold{who, 1}, forever)
}

// AcquireTimeout is Acquire that waits for no longer than d; then it returns
// [ErrTimeout].
func (l *RLock) AcquireTimeout(ctx context.Context, who Owner, d time.Duration) error {
	return l.acquire(ctx, hold{who, 1}, max(d, 0))
}

// TryAcquire takes the lock if it is free or who's already, and reports whether it
// did.
func (l *RLock) TryAcquire(who Owner) bool {
	return l.acquire(context.Background(), hold{who, 1}, 0) == nil
}

func (l *RLock) acquire(ctx context.Context, h hold, d time.Duration) error {
	if h.owner == nil {
		panic("thread: RLock acquired for a nil Owner")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	switch {
	case l.hold.owner == nil:
		l.hold = h
	case l.hold.owner == h.owner:
		l.hold.count += h.count
	case d == 0:
		l.mu.Unlock()
		return ErrTimeout
	default:
		w := l.line.push(h)
		l.mu.Unlock()
		_, err := l.line.await(ctx, d, &l.mu, w)
		return err
	}
	l.mu.Unlock()
	return nil
}

// Release undoes one Acquire of who. With the last it gives the lock to the
// goroutine that has waited longest, or frees it. It panics if who does not hold
// the lock. It never waits.
func (l *RLock) Release(who Owner) {
	l.mu.Lock()
	if who == nil || l.hold.owner != who {
		l.mu.Unlock()
		panic("thread: Release of an RLock by one who does not hold it")
	}
	var w *waiter[hold]
	if l.hold.count--; l.hold.count == 0 {
		w = l.pass()
	}
	l.mu.Unlock()
	wakeOne(w)
}

// pass gives the lock to the next waiter, which must be woken, or frees it. l.mu is
// held.
func (l *RLock) pass() *waiter[hold] {
	w := l.line.pop()
	if w == nil {
		l.hold = hold{}
	} else {
		l.hold = w.v
	}
	return w
}

// Holder returns who holds the lock and how often, or nil and 0.
func (l *RLock) Holder() (who Owner, times int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hold.owner, l.hold.count
}

// Waiting returns how many goroutines wait.
func (l *RLock) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.line.n
}

func (l *RLock) isHeld() bool {
	_, times := l.Holder()
	return times > 0
}

func (l *RLock) giveUp() hold {
	l.mu.Lock()
	h := l.hold
	w := l.pass()
	l.mu.Unlock()
	wakeOne(w)
	return h
}

func (l *RLock) takeBack(h hold) { _ = l.acquire(context.Background(), h, forever) }
