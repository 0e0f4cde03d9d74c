package locks_test

import (
	"context"
	"testing"
	"time"

	"github.com/eddyloop/eddy/locks"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// When a loop is closed its tasks end in the middle of what they do, oldest first,
// and their deferred calls run. None of those may find a lock in a state that
// makes it panic. A polite body returns the error of its wait; a deaf one ignores
// it until it is unwound.
func TestCloseWithDeferredUnlock(t *testing.T) {
	type body = func(ctx context.Context) error
	hour := func(ctx context.Context) error { return task.Sleep(ctx, time.Hour) }
	deaf := func(wait body) body {
		return func(ctx context.Context) error {
			for {
				_ = wait(ctx)
			}
		}
	}
	locked := func(m *locks.Mutex, then body) body {
		return func(ctx context.Context) error {
			if err := m.Lock(ctx); err != nil {
				return err
			}
			defer m.Unlock()
			return then(ctx)
		}
	}
	permitted := func(s *locks.Semaphore, then body) body {
		return func(ctx context.Context) error {
			if err := s.Acquire(ctx); err != nil {
				return err
			}
			defer s.Release()
			return then(ctx)
		}
	}
	for _, tt := range []struct {
		name   string
		bodies func() []body
	}{
		{"mutex", func() []body {
			m := new(locks.Mutex)
			return []body{locked(m, hour), locked(m, hour), locked(m, hour)}
		}},
		{"deaf holder", func() []body {
			m := new(locks.Mutex)
			return []body{locked(m, deaf(hour)), locked(m, hour), locked(m, hour)}
		}},
		{"deaf locker", func() []body {
			m := new(locks.Mutex)
			return []body{locked(m, hour), deaf(m.Lock), deaf(locked(m, hour)), locked(m, hour)}
		}},
		{"semaphore", func() []body {
			s := locks.NewBoundedSemaphore(2)
			p := permitted(s, hour)
			return []body{p, permitted(s, deaf(hour)), p, p, deaf(s.Acquire), p}
		}},
		{"cond", func() []body {
			c := locks.NewCond(nil)
			w := locked(c.L, c.Wait)
			return []body{w, w, locked(c.L, deaf(c.Wait)), w}
		}},
		{"cond, a younger task has the lock", func() []body {
			c := locks.NewCond(nil)
			w := locked(c.L, c.Wait)
			return []body{w, w, locked(c.L, hour), w}
		}},
		{"cond, deaf, a younger task has the lock", func() []body {
			c := locks.NewCond(nil)
			return []body{locked(c.L, deaf(c.Wait)), locked(c.L, deaf(c.Wait)), locked(c.L, deaf(hour)), locked(c.L, hour)}
		}},
		{"cond, an older task has the lock", func() []body {
			c := locks.NewCond(nil)
			ready := new(locks.Event)
			return []body{
				func(ctx context.Context) error {
					if err := ready.Wait(ctx); err != nil {
						return err
					}
					return locked(c.L, hour)(ctx)
				},
				locked(c.L, c.Wait),
				locked(c.L, func(ctx context.Context) error { ready.Set(); return c.Wait(ctx) }),
			}
		}},
		{"cond, woken and retaking the lock", func() []body {
			c := locks.NewCond(nil)
			w := locked(c.L, c.Wait)
			return []body{w, w, locked(c.L, func(ctx context.Context) error { c.Broadcast(); return hour(ctx) })}
		}},
		{"barrier", func() []body {
			b := locks.NewBarrier(4)
			w := func(ctx context.Context) error { _, err := b.Wait(ctx); return err }
			return []body{w, deaf(w), w}
		}},
		{"event", func() []body {
			e := new(locks.Event)
			return []body{e.Wait, deaf(e.Wait), e.Wait}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var reports []string
			l := newLoop(t, func(e *loop.CallError) { reports = append(reports, e.Error()) })
			ended := 0
			bodies := tt.bodies()
			for _, b := range bodies {
				task.Go(l.Context(), func(ctx context.Context) error {
					defer func() { ended++ }()
					return b(ctx)
				})
			}
			turnsOf(t, l, 8)
			must(t, l.Close())
			if ended != len(bodies) || len(task.All(l)) != 0 {
				t.Errorf("%d bodies of %d have ended", ended, len(bodies))
			}
			for _, r := range reports {
				t.Errorf("reported: %s", r)
			}
		})
	}
}
