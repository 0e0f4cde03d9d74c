package thread_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eddyloop/eddy/thread"
)

// A turnstile lets one in at a time.
type turnstile struct {
	acquire func(ctx context.Context, d time.Duration) error
	release func()
}

var turnstiles = map[string]func() turnstile{
	"Lock": func() turnstile {
		l := new(thread.Lock)
		return turnstile{l.AcquireTimeout, l.Release}
	},
	"RLock": func() turnstile {
		l := new(thread.RLock)
		acquire := func(ctx context.Context, d time.Duration) error {
			return l.AcquireTimeout(ctx, thread.NewOwner("somebody"), d)
		}
		return turnstile{acquire, func() { who, _ := l.Holder(); l.Release(who) }}
	},
	"Semaphore": func() turnstile {
		s := thread.NewBoundedSemaphore(1)
		return turnstile{s.AcquireTimeout, s.Release}
	},
	"Queue.Get": func() turnstile {
		q := thread.NewLIFO[int](1)
		_ = q.TryPut(1)
		acquire := func(ctx context.Context, d time.Duration) error { _, err := q.GetTimeout(ctx, d); return err }
		return turnstile{acquire, func() { _ = q.TryPut(1) }}
	},
	"Queue.Put": func() turnstile {
		q := thread.NewLIFO[int](1)
		acquire := func(ctx context.Context, d time.Duration) error { return q.PutTimeout(ctx, 1, d) }
		return turnstile{acquire, func() { _, _ = q.TryGet() }}
	},
	"SimpleQueue.Get": func() turnstile {
		q := new(thread.SimpleQueue[int])
		q.Put(1)
		acquire := func(ctx context.Context, d time.Duration) error { _, err := q.GetTimeout(ctx, d); return err }
		return turnstile{acquire, func() { q.Put(1) }}
	},
}

func eachTurnstile(t *testing.T, fn func(t *testing.T, s turnstile)) {
	for name, make := range turnstiles {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { fn(t, make()) })
		})
	}
}

// Those who give up, at the front, in the middle and at the end of the line, do not
// disturb the order of the others.
func TestFirstComeFirstServed(t *testing.T) {
	eachTurnstile(t, func(t *testing.T, s turnstile) {
		j := newJournal()
		must(t, s.acquire(bg, 0))
		enter := func(name string, d time.Duration) {
			go func() {
				if s.acquire(bg, d) == nil {
					j.log("%s", name)
					return
				}
				j.log("%s gives up", name)
			}()
			synctest.Wait()
		}
		for _, w := range []struct {
			name string
			d    time.Duration
		}{
			{"a", 1 * time.Second},
			{"b", time.Hour},
			{"c", 2 * time.Second},
			{"d", time.Hour},
			{"e", 3 * time.Second},
			{"f", time.Hour},
			{"g", 4 * time.Second},
		} {
			enter(w.name, w.d)
		}
		time.Sleep(time.Minute)
		j.want(t, "a gives up", "c gives up", "e gives up", "g gives up")
		enter("h", time.Hour)
		for _, name := range []string{"b", "d", "f", "h"} {
			s.release()
			wantErr(t, s.acquire(bg, 0), thread.ErrTimeout) // it was handed over
			j.want(t, name)
		}
		s.release()
		must(t, s.acquire(bg, 0))
	})
}

// Waiters are used again: the one that has left must not get what is for the next
// one that uses it.
func TestManyRoundsOfWaiting(t *testing.T) {
	eachTurnstile(t, func(t *testing.T, s turnstile) {
		const n, rounds = 8, 50
		inside, times := 0, 0
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				for round := range rounds {
					ctx, cancel := context.WithTimeout(bg, time.Duration(1+(i*round)%7)*time.Millisecond)
					if s.acquire(ctx, time.Duration(1+(i+round)%5)*time.Millisecond) == nil {
						inside++
						if inside != 1 {
							t.Errorf("%d are inside", inside)
						}
						time.Sleep(time.Millisecond)
						inside--
						times++
						s.release()
					}
					cancel()
				}
			})
		}
		wg.Wait()
		if times < rounds {
			t.Errorf("only %d times anybody got in", times)
		}
		must(t, s.acquire(bg, 0))
	})
}

func TestTryAcquire(t *testing.T) {
	for name, l := range map[string]interface {
		TryAcquire() bool
		Release()
	}{"Lock": new(thread.Lock), "Semaphore": thread.NewSemaphore(1)} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				if !l.TryAcquire() {
					t.Error("not when it is free")
				}
				if l.TryAcquire() {
					t.Error("though it is taken")
				}
				l.Release()
			}
		})
	}
}

func TestLockIsNotOwned(t *testing.T) {
	var l thread.Lock
	must(t, l.Acquire(bg))
	var wg sync.WaitGroup
	wg.Go(l.Release)
	wg.Wait()
	if l.Locked() {
		t.Error("locked")
	}
	wantPanic(t, "thread: Release of a Lock that is free", l.Release)
	must(t, l.AcquireTimeout(bg, 0)) // the panic has left it as it was
}

func TestRLockIsTakenAgainByItsOwner(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var l thread.RLock
		a, b := thread.NewOwner("a"), thread.NewOwner("b")
		j := newJournal()
		must(t, l.Acquire(bg, a))
		j.run("b", func() error { return l.Acquire(bg, b) })
		must(t, l.Acquire(bg, a)) // overtakes b: it must
		if !l.TryAcquire(a) || l.TryAcquire(b) {
			t.Error("TryAcquire: not for the owner, or for another")
		}
		must(t, l.AcquireTimeout(bg, a, 0))
		if who, n := l.Holder(); who != a || n != 4 {
			t.Errorf("%v has it %d times, want a, 4", who, n)
		}
		for range 3 {
			l.Release(a)
		}
		j.want(t)
		l.Release(a)
		j.want(t, "b ok")
		if who, n := l.Holder(); who != b || n != 1 {
			t.Errorf("%v has it %d times, want b, 1", who, n)
		}
		wantPanic(t, "by one who does not hold it", func() { l.Release(a) })
		l.Release(b)
		wantPanic(t, "by one who does not hold it", func() { l.Release(b) })
		if who, n := l.Holder(); who != nil || n != 0 {
			t.Errorf("%v has it %d times", who, n)
		}
	})
}

func TestRLockNeedsAnOwner(t *testing.T) {
	var l thread.RLock
	wantPanic(t, "thread: RLock acquired for a nil Owner", func() { _ = l.Acquire(bg, nil) })
	wantPanic(t, "by one who does not hold it", func() { l.Release(nil) })
}

// Two owners of the same name are two; a Thread is one.
func TestOwners(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var l thread.RLock
		must(t, l.Acquire(bg, thread.NewOwner("x")))
		if l.TryAcquire(thread.NewOwner("x")) {
			t.Error("another owner of the same name has got it")
		}
		var m thread.RLock
		done := make(chan error, 1)
		th := thread.New(thread.Config{Name: "worker"}, func(ctx context.Context) error {
			me := thread.FromContext(ctx)
			must(t, m.Acquire(ctx, me))
			must(t, m.Acquire(ctx, me))
			who, n := m.Holder()
			if who.Name() != "worker" || n != 2 {
				t.Errorf("%v has it %d times", who, n)
			}
			m.Release(me)
			m.Release(me)
			done <- nil
			return nil
		})
		th.Start(bg)
		must(t, th.Join(bg))
		if len(done) != 1 || !m.TryAcquire(thread.NewOwner("y")) {
			t.Error("not free")
		}
	})
}
