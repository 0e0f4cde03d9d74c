package thread

import (
	"context"
	"math"
	"sync"
	"time"
)

// BarrierConfig configures a Barrier. The zero value is right for production.
type BarrierConfig struct {
	// Action is called each time all have come, by the one that came last, before
	// any goes on. If it fails or panics the barrier breaks. Default nil: nothing.
	Action func() error
	// Timeout is how long Wait waits for the others. Default 0: for as long as it
	// takes.
	Timeout time.Duration
}

// A Barrier makes goroutines wait for each other: the n-th lets all n go on. Then it
// can be used again. Make it with [NewBarrier]. (threading: Barrier)
//
// If one gives up, because its time is over or its ctx done, the others would wait
// in vain: so the barrier breaks, and all who wait, and all who come, get
// [ErrBroken] until Reset. (So it is with CPython's timeouts. The barrier of package
// locks stays whole when a task is canceled, as asyncio's does.)
//
//	filling --n-th Wait--> acting --action has returned--> filling
//	filling --one gives up, Abort--> broken --Reset--> filling
//	acting --action fails, Abort--> broken
type Barrier struct {
	parties int
	cfg     BarrierConfig

	mu     sync.Mutex
	state  barrierState
	inside line[struct{}] // have come
	coming line[struct{}] // came while the action ran
	reset  bool           // Reset was called while the action ran
	abort  bool           // Abort was
}

type barrierState uint8

const (
	filling barrierState = iota
	acting
	broke
)

// NewBarrier returns a barrier for n goroutines. It panics if n is not positive.
func NewBarrier(n int, cfg BarrierConfig) *Barrier {
	if n < 1 {
		panic("thread: barrier for fewer than one goroutine")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = forever
	}
	return &Barrier{parties: n, cfg: cfg}
}

// Wait waits until n goroutines wait, and returns this one's index among them, in
// the order they came. It returns [ErrBroken] if the barrier is broken, or breaks,
// or is reset meanwhile. When ctx is done, or BarrierConfig.Timeout over, it breaks
// the barrier and returns an error that is both ErrBroken and ctx.Err() or
// [ErrTimeout]. The one who came last calls the action, and returns its error.
//
// Cancel safety: once all have come nobody can give up any more; the end of the
// action is waited for, and decides.
func (b *Barrier) Wait(ctx context.Context) (int, error) { return b.wait(ctx, b.cfg.Timeout) }

// WaitTimeout is Wait with a timeout of d in place of BarrierConfig.Timeout.
func (b *Barrier) WaitTimeout(ctx context.Context, d time.Duration) (int, error) {
	return b.wait(ctx, max(d, 0))
}

func (b *Barrier) wait(ctx context.Context, d time.Duration) (int, error) {
	b.mu.Lock()
	for b.state == acting {
		w := b.coming.push(struct{}{})
		b.mu.Unlock()
		_, _ = b.coming.await(context.Background(), forever, &b.mu, w)
		b.mu.Lock()
	}
	index := b.inside.n
	switch err := ctx.Err(); {
	case b.state == broke:
		b.mu.Unlock()
		return 0, ErrBroken
	case err != nil:
		return 0, b.giveUp(err)
	case index+1 == b.parties:
		b.state = acting
		b.mu.Unlock()
		return index, b.act()
	case d == 0:
		return 0, b.giveUp(ErrTimeout)
	}
	w := b.inside.push(struct{}{})
	b.mu.Unlock()
	if err := b.await(ctx, d, w); err != nil {
		return 0, err
	}
	return index, nil
}

// await waits for the outcome of the round that w is in.
func (b *Barrier) await(ctx context.Context, d time.Duration, w *waiter[struct{}]) error {
	if err := w.park(ctx, d); err != nil {
		b.mu.Lock()
		if w.queued && b.state == filling {
			b.inside.remove(w)
			_, _ = b.inside.leave(w)
			return b.giveUp(err)
		}
		b.mu.Unlock()
		<-w.wake
	}
	_, err := b.inside.leave(w)
	return err
}

// giveUp breaks the barrier, because of cause. b.mu is held, and released.
func (b *Barrier) giveUp(cause error) error {
	b.state = broke
	b.free(ErrBroken)
	return broken(cause)
}

// free lets all go whose round is over, with err, and those in who could not come
// in. b.mu is held, and released.
func (b *Barrier) free(err error) {
	inside := b.inside.take(math.MaxInt, err)
	coming := b.coming.take(math.MaxInt, nil)
	b.mu.Unlock()
	wakeAll(inside)
	wakeAll(coming)
}

// act calls the action, without the lock, and ends the round. It does so also if
// the action panics or calls Goexit, and lets that go on.
func (b *Barrier) act() (err error) {
	returned := false
	defer func() {
		if !b.endRound(returned && err == nil) && err == nil {
			err = ErrBroken
		}
	}()
	if b.cfg.Action != nil {
		err = b.cfg.Action()
	}
	returned = true
	return err
}

// endRound lets all go when the action has ended, and reports whether the round was
// a good one.
func (b *Barrier) endRound(acted bool) (good bool) {
	b.mu.Lock()
	good = acted && !b.abort
	b.state = filling
	if !good && !b.reset {
		b.state = broke
	}
	b.abort, b.reset = false, false
	if good {
		b.free(nil)
	} else {
		b.free(ErrBroken)
	}
	return good
}

// Reset makes the goroutines that wait return [ErrBroken], and the barrier usable
// again. While the action runs it lets this round end as it will. It never waits.
func (b *Barrier) Reset() {
	b.mu.Lock()
	if b.state == acting {
		b.reset = true
		b.mu.Unlock()
		return
	}
	b.state = filling
	b.free(ErrBroken)
}

// Abort makes the goroutines that wait, and all that come, return [ErrBroken], until
// Reset. While the action runs this is put off until it has ended. It never waits.
func (b *Barrier) Abort() {
	b.mu.Lock()
	if b.state == acting {
		b.abort, b.reset = true, false
		b.mu.Unlock()
		return
	}
	b.state = broke
	b.free(ErrBroken)
}

// Parties returns n.
func (b *Barrier) Parties() int { return b.parties }

// Waiting returns how many goroutines wait to be joined by the rest.
func (b *Barrier) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != filling {
		return 0
	}
	return b.inside.n
}

// Broken reports whether the barrier is broken.
func (b *Barrier) Broken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state == broke
}
