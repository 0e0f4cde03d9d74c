// Package locks has the locks of tasks: they suspend a task where those of
// package sync would block the loop.
//
// All of them are first come, first served. A task that is canceled while it
// waits, or after it was woken, passes its turn on: no wake-up is lost. They
// belong to the loop of their first wait and must be used on it; between two
// waits nothing else runs, so state that is not held across a wait needs no lock.
package locks

import (
	"context"
	"errors"

	"github.com/eddyloop/eddy/internal/waitq"
)

// A Mutex is a lock that one task holds at a time. The zero value is unlocked. It
// is not owned: any task may unlock it. (asyncio: Lock)
type Mutex struct {
	locked  bool
	unwound int // tasks that will call Unlock without holding the lock: see Cond.Wait
	q       waitq.Queue
}

// Lock suspends the task until the lock is free and takes it. A newcomer never
// overtakes a task that waits, or that was woken and has not run yet. Its error is
// a cancellation or the end of a scope; then the lock is not taken.
//
// Cancel safety: the turn passes to the next task.
func (m *Mutex) Lock(ctx context.Context) error {
	if m.TryLock() {
		return nil
	}
	w := m.q.Push(ctx, "locks: Lock")
	err := w.Await(ctx)
	w.Remove()
	if err != nil {
		if !m.locked {
			m.wakeFirst()
		}
		return err
	}
	m.locked = true
	return nil
}

// TryLock takes the lock if it is free and nobody waits, and reports whether it
// did.
func (m *Mutex) TryLock() bool {
	if m.locked || !m.q.AllCanceled() {
		return false
	}
	m.locked = true
	return true
}

// Unlock frees the lock and wakes the task that has waited longest. It panics if
// the lock is free.
func (m *Mutex) Unlock() {
	if !m.locked {
		panic("locks: Unlock of an unlocked Mutex")
	}
	if m.unwound > 0 {
		m.unwound--
		return
	}
	m.locked = false
	m.wakeFirst()
}

// wakeFirst wakes the first of those who wait. If that one is canceled and has
// not run yet, it will do this itself.
func (m *Mutex) wakeFirst() {
	if w := m.q.First(); w != nil {
		w.Wake()
	}
}

// Locked reports whether the lock is taken. Right after Unlock it is not, even if
// a task was woken for it.
func (m *Mutex) Locked() bool { return m.locked }

// Waiting returns how many tasks wait.
func (m *Mutex) Waiting() int { return m.q.Len() }

// An Event is a flag that tasks wait for. The zero value is clear. (asyncio: Event)
type Event struct {
	set bool
	q   waitq.Queue
}

// Wait suspends the task until the event is set; if it is, Wait returns at once.
// Its error is a cancellation or the end of a scope.
func (e *Event) Wait(ctx context.Context) error {
	if e.set {
		return nil
	}
	w := e.q.Push(ctx, "locks: Wait")
	err := w.Await(ctx)
	w.Remove()
	return err
}

// Set sets the event and wakes all who wait now, even if Clear follows at once.
func (e *Event) Set() {
	if !e.set {
		e.set = true
		e.q.WakeAll()
	}
}

// Clear makes further calls of Wait wait.
func (e *Event) Clear() { e.set = false }

// IsSet reports whether the event is set.
func (e *Event) IsSet() bool { return e.set }

// Waiting returns how many tasks wait.
func (e *Event) Waiting() int { return e.q.Len() }

// A Cond lets tasks that hold a lock wait until another says that something has
// changed. Make it with [NewCond]. (asyncio: Condition)
type Cond struct {
	// L is held while the state is looked at or changed.
	L *Mutex
	q waitq.Queue
}

// NewCond returns a Cond with the lock m, or with a lock of its own if m is nil.
func NewCond(m *Mutex) *Cond {
	if m == nil {
		m = new(Mutex)
	}
	return &Cond{L: m}
}

// Wait unlocks c.L, suspends the task until it is woken, and locks c.L again: it
// does this also when it returns an error, a cancellation or the end of a scope.
// A task may be woken without need; check what you wait for, or use WaitUntil. It
// panics if c.L is not locked.
//
// Cancel safety: a wake-up that came is passed on.
func (c *Cond) Wait(ctx context.Context) error {
	if !c.L.locked {
		panic("locks: Cond.Wait without the lock")
	}
	w := c.q.Push(ctx, "locks: Cond.Wait")
	c.L.Unlock()
	returned := false
	defer func() {
		if !returned {
			// The body is being unwound. Its deferred Unlock must find the lock
			// locked, and so must that of the task that really holds it.
			w.Remove()
			if c.L.locked {
				c.L.unwound++
			}
			c.L.locked = true
		}
	}()
	err := w.Await(ctx)
	w.Remove()
	// The lock must be held again whatever happens: a scope that has ended does
	// not count, and a cancellation is kept for later, the last one.
	locking := context.WithoutCancel(ctx)
	for {
		interrupted := c.L.Lock(locking)
		if interrupted == nil {
			break
		}
		err = interrupted
	}
	if err != nil {
		// We may have been woken before we were interrupted. If another is woken
		// without need, it checks and waits again.
		c.q.WakeNext()
	}
	returned = true
	return err
}

// WaitUntil waits until pred returns true; pred is called with the lock held. It
// returns the errors of Wait. (asyncio: wait_for)
func (c *Cond) WaitUntil(ctx context.Context, pred func() bool) error {
	for !pred() {
		if err := c.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Signal wakes the task that has waited longest, if there is one. It panics if c.L
// is not locked. (asyncio: notify)
func (c *Cond) Signal() { c.SignalN(1) }

// SignalN wakes up to n tasks. It panics if c.L is not locked. (asyncio: notify(n))
func (c *Cond) SignalN(n int) {
	if !c.L.locked {
		panic("locks: Cond.Signal without the lock")
	}
	for ; n > 0 && c.q.WakeNext(); n-- {
	}
}

// Broadcast wakes all tasks that wait. It panics if c.L is not locked.
// (asyncio: notify_all)
func (c *Cond) Broadcast() { c.SignalN(c.q.Len()) }

// Waiting returns how many tasks wait to be woken.
func (c *Cond) Waiting() int { return c.q.Len() }

// A Semaphore holds permits. Make it with [NewSemaphore] or
// [NewBoundedSemaphore]. (asyncio: Semaphore, BoundedSemaphore)
type Semaphore struct {
	value int
	bound int // negative: none
	q     waitq.Queue
}

// NewSemaphore returns a semaphore with n permits, to which Release may add. It
// panics if n is negative.
func NewSemaphore(n int) *Semaphore {
	if n < 0 {
		panic("locks: semaphore with a negative number of permits")
	}
	return &Semaphore{value: n, bound: -1}
}

// NewBoundedSemaphore returns a semaphore with n permits that never has more.
func NewBoundedSemaphore(n int) *Semaphore {
	s := NewSemaphore(n)
	s.bound = n
	return s
}

// Acquire suspends the task until there is a permit for it and takes it. A
// newcomer never overtakes a task that waits. Its error is a cancellation or the
// end of a scope; then no permit is taken.
//
// Cancel safety: a permit that was set aside goes to the next task.
func (s *Semaphore) Acquire(ctx context.Context) error {
	if s.TryAcquire() {
		return nil
	}
	w := s.q.Push(ctx, "locks: Acquire")
	err := w.Await(ctx)
	w.Remove()
	if err != nil && w.Woken() {
		s.value++
	}
	// Those who came while permits were set aside had to wait: wake as many as
	// there are permits for.
	for s.value > 0 && s.wakeNext() {
	}
	return err
}

// TryAcquire takes a permit if there is one and nobody waits, and reports whether
// it did.
func (s *Semaphore) TryAcquire() bool {
	if s.Locked() {
		return false
	}
	s.value--
	return true
}

// Release adds a permit, and sets it aside for the task that has waited longest.
// A bounded semaphore panics when it has all its permits already.
func (s *Semaphore) Release() {
	if s.bound >= 0 && s.value >= s.bound {
		panic("locks: Release of a bounded semaphore that has all its permits")
	}
	s.value++
	s.wakeNext()
}

// wakeNext sets a permit aside for the next task, if one waits.
func (s *Semaphore) wakeNext() bool {
	if !s.q.WakeNext() {
		return false
	}
	s.value--
	return true
}

// Locked reports whether Acquire would wait: there is no permit, or others wait.
func (s *Semaphore) Locked() bool { return s.value == 0 || !s.q.AllCanceled() }

// Value returns the number of permits that are neither taken nor set aside.
func (s *Semaphore) Value() int { return s.value }

// Waiting returns how many tasks wait.
func (s *Semaphore) Waiting() int { return s.q.Len() }

// ErrBroken is returned by [Barrier.Wait] when the barrier was reset or aborted.
// (asyncio: BrokenBarrierError)
var ErrBroken = errors.New("locks: barrier broken")

// A Barrier makes tasks wait for each other: the n-th lets all n go on. Then it
// can be used again. Make it with [NewBarrier]. (asyncio: Barrier)
//
//	filling --n-th Wait--> draining --all have left--> filling
//	filling, draining --Reset--> resetting --all have left--> filling
//	any --Abort--> broken --Reset--> resetting or filling
type Barrier struct {
	cond    *Cond
	parties int
	count   int // tasks inside
	state   barrierState
}

type barrierState uint8

const (
	filling barrierState = iota
	draining
	resetting
	broken
)

// NewBarrier returns a barrier for n tasks. It panics if n is not positive.
func NewBarrier(n int) *Barrier {
	if n < 1 {
		panic("locks: barrier for fewer than one task")
	}
	return &Barrier{cond: NewCond(nil), parties: n}
}

// Wait suspends the task until n tasks wait, and returns this one's index among
// them, in order of arrival. While the last n are leaving, newcomers wait to be
// let in. It returns [ErrBroken] if the barrier is reset or aborted meanwhile, or
// is aborted already, a cancellation, or the end of a scope; a task that leaves
// so leaves the others waiting.
func (b *Barrier) Wait(ctx context.Context) (int, error) {
	if err := b.cond.L.Lock(ctx); err != nil {
		return 0, err
	}
	defer b.cond.L.Unlock()
	err := b.cond.WaitUntil(ctx, func() bool { return b.state != draining && b.state != resetting })
	if err != nil {
		return 0, err
	}
	if b.state == broken {
		return 0, ErrBroken
	}
	index := b.count
	b.count++
	defer b.exit()
	if index+1 == b.parties {
		b.state = draining
		b.cond.Broadcast()
		return index, nil
	}
	err = b.cond.WaitUntil(ctx, func() bool { return b.state != filling })
	if err != nil {
		return 0, err
	}
	if b.state == broken || b.state == resetting {
		return 0, ErrBroken
	}
	return index, nil
}

// exit lets newcomers in when the last task has left.
func (b *Barrier) exit() {
	b.count--
	if b.count == 0 {
		if b.state == resetting || b.state == draining {
			b.state = filling
		}
		b.cond.Broadcast()
	}
}

// Reset makes the tasks that wait return ErrBroken, and the barrier usable again.
// It waits for the barrier's own lock; its error is a cancellation or the end of a
// scope.
func (b *Barrier) Reset(ctx context.Context) error {
	if err := b.cond.L.Lock(ctx); err != nil {
		return err
	}
	defer b.cond.L.Unlock()
	if b.count > 0 {
		b.state = resetting
	} else {
		b.state = filling
	}
	b.cond.Broadcast()
	return nil
}

// Abort makes the tasks that wait, and all that come, return ErrBroken, until
// Reset. It waits for the barrier's own lock; its error is a cancellation or the
// end of a scope.
func (b *Barrier) Abort(ctx context.Context) error {
	if err := b.cond.L.Lock(ctx); err != nil {
		return err
	}
	defer b.cond.L.Unlock()
	b.state = broken
	b.cond.Broadcast()
	return nil
}

// Parties returns n.
func (b *Barrier) Parties() int { return b.parties }

// Waiting returns how many tasks wait to be joined by the rest.
func (b *Barrier) Waiting() int {
	if b.state != filling {
		return 0
	}
	return b.count
}

// Broken reports whether the barrier was aborted.
func (b *Barrier) Broken() bool { return b.state == broken }
