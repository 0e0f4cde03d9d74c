package thread

import (
	"context"
	"sync"
	"time"
)

// A Locker is a lock that a [Cond] can work with: [Lock] or [RLock].
type Locker interface {
	isHeld() bool
	// giveUp frees the lock altogether, and takeBack waits for it, whatever
	// happens, and restores what it was.
	giveUp() hold
	takeBack(h hold)
}

// A Cond lets goroutines that hold a lock wait until another says that something
// has changed. Make it with [NewCond]. (threading: Condition)
type Cond struct {
	lock Locker
	mu   sync.Mutex
	line line[struct{}]
}

// NewCond returns a Cond with the lock l, a [*Lock] or [*RLock], which it panics
// without. Several may share a lock.
func NewCond(l Locker) *Cond {
	if l == nil {
		panic("thread: Cond without a lock")
	}
	return &Cond{lock: l}
}

// Wait frees the lock, waits until it is notified, and takes the lock again: it
// does this also when it returns ctx.Err(), and takes as long for it as it takes.
// An RLock is freed however often it was taken, and then held as often again. Wait
// panics if the lock is free. Somebody else may have come first meanwhile: check
// what you wait for, or use WaitFor.
//
// Cancel safety: one who was notified has been, and returns nil; else the
// notification goes to the next one who waits.
func (c *Cond) Wait(ctx context.Context) error { return c.wait(ctx, forever) }

// WaitTimeout is Wait that waits to be notified for no longer than d; then it
// returns [ErrTimeout].
func (c *Cond) WaitTimeout(ctx context.Context, d time.Duration) error {
	return c.wait(ctx, max(d, 0))
}

func (c *Cond) wait(ctx context.Context, d time.Duration) error {
	c.mustBeHeld("Wait")
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	w := c.line.push(struct{}{}) // before the lock is free, so no notification is missed
	c.mu.Unlock()
	h := c.lock.giveUp()
	defer c.lock.takeBack(h)
	_, err := c.line.await(ctx, d, &c.mu, w)
	return err
}

// WaitFor waits until pred returns true; pred is called with the lock held. It
// returns the errors of Wait. (threading: wait_for)
func (c *Cond) WaitFor(ctx context.Context, pred func() bool) error {
	return c.waitFor(ctx, pred, forever)
}

// WaitForTimeout is WaitFor that waits for no longer than d, and to take the lock;
// if pred is still false then, it returns [ErrTimeout].
func (c *Cond) WaitForTimeout(ctx context.Context, pred func() bool, d time.Duration) error {
	return c.waitFor(ctx, pred, max(d, 0))
}

func (c *Cond) waitFor(ctx context.Context, pred func() bool, d time.Duration) error {
	c.mustBeHeld("WaitFor")
	if err := ctx.Err(); err != nil {
		return err
	}
	var end time.Time
	if d >= 0 {
		end = time.Now().Add(d)
	}
	for !pred() {
		rest := d
		if d >= 0 {
			rest = max(time.Until(end), 0)
		}
		if err := c.wait(ctx, rest); err != nil {
			if err == ErrTimeout && pred() {
				return nil
			}
			return err
		}
	}
	return nil
}

// Notify wakes up to n goroutines, those that have waited longest. It panics if the
// lock is free. It never waits; those who were woken take the lock when they get
// it. (threading: notify)
func (c *Cond) Notify(n int) {
	c.mustBeHeld("Notify")
	c.mu.Lock()
	w := c.line.take(n, nil)
	c.mu.Unlock()
	wakeAll(w)
}

// NotifyAll wakes all goroutines that wait. It panics if the lock is free.
// (threading: notify_all)
func (c *Cond) NotifyAll() {
	c.mustBeHeld("NotifyAll")
	c.mu.Lock()
	w := c.line.take(c.line.n, nil)
	c.mu.Unlock()
	wakeAll(w)
}

// Waiting returns how many goroutines wait to be notified.
func (c *Cond) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.line.n
}

func (c *Cond) mustBeHeld(method string) {
	if !c.lock.isHeld() {
		panic("thread: Cond." + method + " without the lock")
	}
}
