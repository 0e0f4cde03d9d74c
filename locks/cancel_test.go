package locks_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/locks"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// A subject is a primitive that two tasks wait for and one wake-up is enough for:
// who gets it gives it on.
type subject struct {
	wait func(ctx context.Context) error // and give it on at once
	wake func()
	idle func() bool // nobody waits, nothing is taken
}

// subjects makes them, in a state in which wait waits.
var subjects = []struct {
	name string
	make func(t testing.TB, ctx context.Context) subject
}{
	{"Mutex", func(t testing.TB, ctx context.Context) subject {
		m := new(locks.Mutex)
		must(t, m.Lock(ctx))
		return subject{lockUnlock(m), m.Unlock, func() bool { return !m.Locked() && m.Waiting() == 0 }}
	}},
	{"Semaphore", func(t testing.TB, ctx context.Context) subject {
		s := locks.NewSemaphore(0)
		wait := func(ctx context.Context) error {
			if err := s.Acquire(ctx); err != nil {
				return err
			}
			s.Release()
			return nil
		}
		return subject{wait, s.Release, func() bool { return s.Value() == 1 && s.Waiting() == 0 }}
	}},
	{"bounded Semaphore", func(t testing.TB, ctx context.Context) subject {
		s := locks.NewBoundedSemaphore(1)
		must(t, s.Acquire(ctx))
		wait := func(ctx context.Context) error {
			if err := s.Acquire(ctx); err != nil {
				return err
			}
			s.Release()
			return nil
		}
		return subject{wait, s.Release, func() bool { return s.Value() == 1 && s.Waiting() == 0 }}
	}},
	{"Event", func(t testing.TB, ctx context.Context) subject {
		e := new(locks.Event)
		return subject{e.Wait, e.Set, func() bool { return e.IsSet() && e.Waiting() == 0 }}
	}},
	{"Cond", func(t testing.TB, ctx context.Context) subject {
		c := locks.NewCond(nil)
		there := false
		wait := func(ctx context.Context) error {
			if err := c.L.Lock(ctx); err != nil {
				return err
			}
			defer c.L.Unlock()
			if err := c.WaitUntil(ctx, func() bool { return there }); err != nil {
				return err
			}
			there = true
			c.Signal()
			return nil
		}
		wake := func() {
			with(t, c, func() {
				there = true
				c.Signal()
			})
		}
		return subject{wait, wake, func() bool { return c.Waiting() == 0 && !c.L.Locked() && c.L.Waiting() == 0 }}
	}},
	{"Barrier", func(t testing.TB, ctx context.Context) subject {
		b := locks.NewBarrier(3)
		late := func() {
			for range 3 { // enough, whoever was canceled
				task.Go(ctx, func(ctx context.Context) error {
					sub, cancel := task.WithTimeout(ctx, time.Second)
					defer cancel()
					_, _ = b.Wait(sub)
					return nil
				})
			}
		}
		wait := func(ctx context.Context) error {
			_, err := b.Wait(ctx)
			return err
		}
		return subject{wait, late, func() bool { return b.Waiting() == 0 }}
	}},
}

// Every primitive, canceled in every state of the wait: the canceled one says so,
// and the other gets what it waits for.
func TestCancelAtEveryStep(t *testing.T) {
	canceled := []string{"a Canceled(boom)", "b ok"}
	for _, tt := range []struct {
		name string
		do   func(ctx context.Context, s subject, cancel func() bool)
		want []string
	}{
		{"waiting", func(ctx context.Context, s subject, cancel func() bool) {
			cancel()
			yield(ctx, 4)
			s.wake()
		}, canceled},
		{"waiting, woken in the next turn", func(ctx context.Context, s subject, cancel func() bool) {
			cancel()
			yield(ctx, 1)
			s.wake()
		}, canceled},
		{"waiting, woken in the same turn", func(ctx context.Context, s subject, cancel func() bool) {
			cancel()
			s.wake()
		}, canceled},
		{"woken, in the same turn", func(ctx context.Context, s subject, cancel func() bool) {
			s.wake()
			cancel()
		}, canceled},
		{"woken, in the same turn, twice", func(ctx context.Context, s subject, cancel func() bool) {
			s.wake()
			cancel()
			cancel()
		}, canceled},
		{"done", func(ctx context.Context, s subject, cancel func() bool) {
			s.wake()
			sleep(ctx, time.Second)
			if cancel() {
				panic("it is not done")
			}
		}, []string{"a ok", "b ok"}},
	} {
		for _, sub := range subjects {
			if sub.name == "Barrier" && strings.HasPrefix(tt.name, "woken") {
				continue // the wake-up is a task: see TestEdge097_CancelWhileItDrains
			}
			t.Run(sub.name+"/"+tt.name, func(t *testing.T) {
				run(t, func(ctx context.Context) {
					var j journal
					s := sub.make(t, ctx)
					a := j.Logs(ctx, "a", s.wait)
					j.Logs(ctx, "b", s.wait)
					idle(t, ctx)
					tt.do(ctx, s, func() bool { return a.Cancel(errBoom) })
					sleep(ctx, time.Minute)
					j.Want(t, tt.want...)
					if !s.idle() {
						t.Error("something is still taken, or waited for")
					}
				})
			})
		}
	}
}

// The same with the end of a scope: it ends a wait, and is too late for one that
// was woken.
func TestScopeEndsAtEveryStep(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(ctx context.Context, s subject)
		want []string
	}{
		{"before the wake-up", func(ctx context.Context, s subject) {
			sleep(ctx, 2*time.Second)
			s.wake()
		}, []string{"a task: timeout", "b ok"}},
		{"just before the wake-up", func(ctx context.Context, s subject) {
			sleep(ctx, time.Second+1)
			s.wake()
		}, []string{"a task: timeout", "b ok"}},
		{"after the wake-up", func(ctx context.Context, s subject) {
			sleep(ctx, time.Second-1)
			s.wake()
		}, []string{"a ok", "b ok"}},
	} {
		for _, how := range []string{"own", "inherited"} {
			for _, sub := range subjects {
				t.Run(sub.name+"/"+tt.name+"/"+how, func(t *testing.T) {
					run(t, func(ctx context.Context) {
						var j journal
						s := sub.make(t, ctx)
						j.Logs(ctx, "a", func(ctx context.Context) error {
							sub, cancel := task.WithTimeout(ctx, time.Second)
							defer cancel()
							if how == "own" {
								return s.wait(sub)
							}
							_, err := task.Go(sub, s.wait).Await(ctx)
							return err
						})
						j.Logs(ctx, "b", s.wait)
						idle(t, ctx)
						tt.do(ctx, s)
						sleep(ctx, time.Minute)
						if sub.name == "Barrier" && tt.want[0] != "a ok" || how == "inherited" {
							// b first: others had to come, or a has another to wait for.
							for i := range j.Lines {
								if i > 0 && j.Lines[i] < j.Lines[i-1] {
									j.Lines[i], j.Lines[i-1] = j.Lines[i-1], j.Lines[i]
								}
							}
						}
						j.Want(t, tt.want...)
						if !s.idle() {
							t.Error("something is still taken, or waited for")
						}
					})
				})
			}
		}
	}
}

// A wake-up and the deadline at one instant: whatever a gets, b gets its turn. The
// end of a scope is told a turn later, so the wake-up wins in either order.
func TestScopeEndMeetsTheWakeUp(t *testing.T) {
	for _, sub := range subjects {
		if sub.name == "Barrier" {
			continue
		}
		t.Run(sub.name, func(t *testing.T) {
			for _, wakeFirst := range []bool{true, false} {
				run(t, func(ctx context.Context) {
					var j journal
					s := sub.make(t, ctx)
					l := loop.FromContext(ctx)
					at := l.Now().Add(time.Second)
					if wakeFirst {
						l.CallAt(at, s.wake)
					}
					j.Logs(ctx, "a", func(ctx context.Context) error {
						sub, cancel := task.WithDeadline(ctx, at)
						defer cancel()
						return s.wait(sub)
					})
					j.Logs(ctx, "b", s.wait)
					idle(t, ctx)
					if !wakeFirst {
						l.CallAt(at, s.wake)
					}
					sleep(ctx, time.Minute)
					j.Want(t, "a ok", "b ok")
					if !s.idle() {
						t.Error("something is still taken, or waited for")
					}
				})
			}
		})
	}
}

// A scope that has ended already ends the wait at once, without a turn.
func TestScopeThatHasEnded(t *testing.T) {
	for _, sub := range subjects {
		run(t, func(ctx context.Context) {
			s := sub.make(t, ctx)
			ended, cancel := task.WithTimeout(ctx, time.Hour)
			cancel()
			if err := s.wait(ended); outcome(err) != "Canceled(context canceled)" {
				t.Errorf("%s: %v", sub.name, err)
			}
			s.wake()
			sleep(ctx, time.Minute)
			if !s.idle() {
				t.Errorf("%s: something is still taken, or waited for", sub.name)
			}
		})
	}
}

func TestTimeoutAroundEveryWait(t *testing.T) {
	for _, sub := range subjects {
		run(t, func(ctx context.Context) {
			s := sub.make(t, ctx)
			for range 3 {
				err := task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error { return s.wait(ctx) })
				if err != task.ErrTimeout {
					t.Errorf("%s: %v", sub.name, err)
				}
			}
			s.wake()
			if sub.name != "Barrier" {
				must(t, s.wait(ctx))
			}
			sleep(ctx, time.Minute)
			if !s.idle() {
				t.Errorf("%s: something is still taken, or waited for", sub.name)
			}
		})
	}
}

func TestEdge098_SecondLoop(t *testing.T) {
	m, s, e, c := new(locks.Mutex), locks.NewSemaphore(1), new(locks.Event), locks.NewCond(nil)
	b := locks.NewBarrier(2)
	// What does not wait does not bind.
	run(t, func(ctx context.Context) {
		must(t, m.Lock(ctx))
		m.Unlock()
		must(t, s.Acquire(ctx))
	})
	run(t, func(ctx context.Context) {
		must(t, m.Lock(ctx))
		for _, wait := range []func(ctx context.Context) error{m.Lock, s.Acquire, e.Wait, waitOnce(c)} {
			err := task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error { return wait(ctx) })
			if err != task.ErrTimeout {
				t.Error(err)
			}
		}
		err := task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error { _, err := b.Wait(ctx); return err })
		if err != task.ErrTimeout {
			t.Error(err)
		}
	})
	run(t, func(ctx context.Context) {
		wantPanic(t, "locks: Lock on a second loop", func() { _ = m.Lock(ctx) })
		wantPanic(t, "locks: Acquire on a second loop", func() { _ = s.Acquire(ctx) })
		wantPanic(t, "locks: Wait on a second loop", func() { _ = e.Wait(ctx) })
		wantPanic(t, "locks: Cond.Wait on a second loop", func() { _ = waitOnce(c)(ctx) })
		wantPanic(t, "locks: Cond.Wait on a second loop", func() { _, _ = b.Wait(ctx) })
		if c.L.Locked() || b.Waiting() != 0 || m.Waiting()+s.Waiting()+e.Waiting()+c.Waiting() != 0 {
			t.Error("the panic leaves something taken or waiting")
		}
	})
}

// A wait where none is possible panics, and those who wait rightly go on.
func TestWaitOutsideOfATask(t *testing.T) {
	for _, sub := range subjects {
		t.Run(sub.name, func(t *testing.T) {
			run(t, func(ctx context.Context) {
				var j journal
				s := sub.make(t, ctx)
				l := loop.FromContext(ctx)
				panicked := func(name string, ctx context.Context) func() {
					return func() {
						defer func() {
							if recover() != nil {
								j.Log("%s panicked", name)
							}
						}()
						_ = s.wait(ctx)
					}
				}
				own := l.Context()
				l.CallSoon(panicked("callback", own))
				l.CallSoon(panicked("callback with a task's ctx", ctx))
				j.Logs(ctx, "a", func(own context.Context) error {
					panicked("task with another's ctx", ctx)()
					return s.wait(own)
				})
				idle(t, ctx)
				j.Want(t, "callback panicked", "callback with a task's ctx panicked", "task with another's ctx panicked")
				if sub.name == "Barrier" {
					return
				}
				s.wake()
				idle(t, ctx)
				j.Want(t, "a ok")
				if !s.idle() {
					t.Error("something is still taken, or waited for")
				}
			})
		})
	}
}
