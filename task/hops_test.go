package task_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// A hops counts the turns of a loop from a cause to its effect.
type hops struct {
	l       *loop.Loop
	n       int
	effects []int
	stopped bool
}

// cause begins to count. It must come before what it counts from: then the
// count goes up as the first thing in every turn that follows.
func (h *hops) cause() { h.l.Queue(h) }

// effect notes how many turns have passed.
func (h *hops) effect() { h.effects = append(h.effects, h.n) }

func (h *hops) Run() {
	if !h.stopped {
		h.n++
		h.l.Queue(h)
	}
}

// A waitMachine waits for futures, one after another.
type waitMachine struct {
	ws     []future.Waiter
	before func(thrown error) // called in each step
}

func (m *waitMachine) Step(_ context.Context, thrown error) (future.Waiter, error) {
	if m.before != nil {
		m.before(thrown)
	}
	if len(m.ws) == 0 {
		return task.Done, thrown
	}
	w := m.ws[0]
	m.ws = m.ws[1:]
	return w, nil
}

func (m *waitMachine) Result() int { return 7 }

// The numbers are those of the table of hops in package conformance; they were
// compared with CPython 3.13 by the same programs for its oracle.
func TestHops(t *testing.T) {
	type scene struct {
		*hops
		ctx context.Context
		f   *future.Future[int]
		p   future.Promise[int]
	}
	// in starts a task, and lets it run until it waits.
	in := func(s *scene, fn func(ctx context.Context)) task.Any {
		t := task.Go(s.ctx, func(ctx context.Context) error { fn(ctx); return nil })
		yield(s.ctx, 2)
		return t
	}
	awaitF := func(s *scene) task.Any {
		return in(s, func(ctx context.Context) { _, _ = s.f.Await(ctx); s.effect() })
	}
	// endOnF starts a task that ends when f is resolved; the count begins there.
	endOnF := func(s *scene) *task.Task[int] {
		t := task.Start(s.ctx, func(ctx context.Context) (int, error) {
			defer s.cause()
			return s.f.Await(ctx)
		})
		yield(s.ctx, 1)
		return t
	}
	link := func(s *scene, inner *task.Task[int]) *task.Task[int] {
		t := task.Start(s.ctx, func(ctx context.Context) (int, error) {
			defer s.effect()
			return inner.Await(ctx)
		})
		yield(s.ctx, 1)
		return t
	}
	leaf := func(s *scene) *task.Task[int] {
		t := task.Start(s.ctx, func(ctx context.Context) (int, error) {
			defer s.effect()
			return s.f.Await(ctx)
		})
		yield(s.ctx, 1)
		return t
	}

	for _, tt := range []struct {
		name string
		play func(s *scene)
		want []int
	}{
		{"Resolve -> Await", func(s *scene) { awaitF(s); s.cause(); s.p.Resolve(1) }, []int{1}},
		{"Fail -> Await", func(s *scene) { awaitF(s); s.cause(); s.p.Fail(errBoom) }, []int{1}},
		{"Cancel -> Await", func(s *scene) { awaitF(s); s.cause(); s.f.Cancel(nil) }, []int{1}},
		{"Resolve -> all who await", func(s *scene) { awaitF(s); awaitF(s); s.cause(); s.p.Resolve(1) }, []int{1, 1}},
		{"Resolve -> OnDone", func(s *scene) { s.f.OnDone(s.effect); s.cause(); s.p.Resolve(1) }, []int{1}},
		{"OnDone of a settled future", func(s *scene) { s.p.Resolve(1); s.cause(); s.f.OnDone(s.effect) }, []int{1}},
		{"CallSoon -> callback", func(s *scene) { s.cause(); s.l.CallSoon(s.effect) }, []int{1}},
		{"Start -> first step", func(s *scene) { s.cause(); in(s, func(context.Context) { s.effect() }) }, []int{1}},
		{"StartNow -> first step", func(s *scene) {
			s.cause()
			task.StartNow(s.ctx, func(context.Context) (int, error) { s.effect(); return 0, nil })
		}, []int{0}},
		{"task ends -> Await", func(s *scene) { link(s, endOnF(s)); s.p.Resolve(1) }, []int{1}},
		{"task ends -> OnDone", func(s *scene) { endOnF(s).OnDone(s.effect); s.p.Resolve(1) }, []int{1}},
		{"Resolve -> Gather", func(s *scene) {
			in(s, func(ctx context.Context) { _, _ = task.Gather(ctx, s.f); s.effect() })
			s.cause()
			s.p.Resolve(1)
		}, []int{2}},
		{"Resolve of the last -> Gather of which some is done", func(s *scene) {
			g, p := future.New[int](s.l)
			p.Resolve(1)
			in(s, func(ctx context.Context) { _, _ = task.Gather(ctx, g, s.f); s.effect() })
			s.cause()
			s.p.Resolve(1)
		}, []int{2}},
		{"Fail -> Gather, the others pending", func(s *scene) {
			g, _ := future.New[int](s.l)
			in(s, func(ctx context.Context) { _, _ = task.Gather(ctx, g, s.f); s.effect() })
			s.cause()
			s.p.Fail(errBoom)
		}, []int{2}},
		{"Fail -> GatherAll", func(s *scene) {
			in(s, func(ctx context.Context) { _, _ = task.GatherAll(ctx, s.f); s.effect() })
			s.cause()
			s.p.Fail(errBoom)
		}, []int{2}},
		{"Gather of all done", func(s *scene) {
			s.p.Resolve(1)
			s.cause()
			_, _ = task.Gather(s.ctx, s.f, s.f)
			s.effect()
		}, []int{0}},
		{"Gather of nothing", func(s *scene) {
			s.cause()
			_, _ = task.Gather[*future.Future[int]](s.ctx)
			s.effect()
		}, []int{0}},
		{"Resolve -> Wait", func(s *scene) {
			in(s, func(ctx context.Context) { _, _, _ = task.Wait(ctx, task.AllCompleted, s.f); s.effect() })
			s.cause()
			s.p.Resolve(1)
		}, []int{2}},
		{"Resolve -> Wait for the first", func(s *scene) {
			g, _ := future.New[int](s.l)
			in(s, func(ctx context.Context) { _, _, _ = task.Wait(ctx, task.FirstCompleted, g, s.f); s.effect() })
			s.cause()
			s.p.Resolve(1)
		}, []int{2}},
		{"Wait for what is done", func(s *scene) {
			s.p.Resolve(1)
			s.cause()
			_, _, _ = task.Wait(s.ctx, task.AllCompleted, s.f)
			s.effect()
		}, []int{2}},
		{"Wait's timer -> Wait", func(s *scene) {
			s.l.CallLater(time.Second, s.cause)
			_, _, _ = task.WaitTimeout(s.ctx, time.Second, task.AllCompleted, s.f)
			s.effect()
		}, []int{1}},
		{"Resolve -> Shield", func(s *scene) {
			in(s, func(ctx context.Context) { _, _ = future.Shield(s.f).Await(ctx); s.effect() })
			s.cause()
			s.p.Resolve(1)
		}, []int{2}},
		{"Shield of what is done", func(s *scene) {
			s.p.Resolve(1)
			s.cause()
			_, _ = future.Shield(s.f).Await(s.ctx)
			s.effect()
		}, []int{0}},
		{"Resolve -> WaitFor", func(s *scene) {
			in(s, func(ctx context.Context) { _, _ = task.WaitFor(ctx, time.Second, s.f); s.effect() })
			s.cause()
			s.p.Resolve(1)
		}, []int{1}},
		{"WaitFor 0 of what is done", func(s *scene) {
			s.p.Resolve(1)
			s.cause()
			_, _ = task.WaitFor(s.ctx, 0, s.f)
			s.effect()
		}, []int{0}},
		{"WaitFor 0 cancels a future: it ends -> WaitFor", func(s *scene) {
			s.cause()
			_, _ = task.WaitFor(s.ctx, 0, s.f)
			s.effect()
		}, []int{2}},
		{"WaitFor 0 cancels a task: it ends -> WaitFor", func(s *scene) {
			_, _ = task.WaitFor(s.ctx, 0, endOnF(s))
			s.effect()
		}, []int{2}},
		{"the last child ends -> Scope", func(s *scene) {
			in(s, func(ctx context.Context) {
				_ = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
					g.Go(func(ctx context.Context) error {
						defer s.cause()
						_, err := s.f.Await(ctx)
						return err
					})
					return nil
				})
				s.effect()
			})
			s.p.Resolve(1)
		}, []int{2}},
		{"child fails -> body of the Scope", func(s *scene) {
			_ = task.Scope(s.ctx, func(ctx context.Context, g *task.Group) error {
				g.Go(func(ctx context.Context) error { s.cause(); return errBoom })
				defer s.effect()
				return task.Sleep(ctx, time.Hour)
			})
		}, []int{2}},
		{"Group.Cancel -> body of the Scope", func(s *scene) {
			_ = task.Scope(s.ctx, func(ctx context.Context, g *task.Group) error {
				g.Go(func(ctx context.Context) error { s.cause(); g.Cancel(); return nil })
				defer s.effect()
				return task.Sleep(ctx, time.Hour)
			})
		}, []int{1}},
		{"Scope without tasks", func(s *scene) {
			s.cause()
			_ = task.Scope(s.ctx, func(context.Context, *task.Group) error { return nil })
			s.effect()
		}, []int{0}},
		{"Scope whose tasks have ended", func(s *scene) {
			_ = task.Scope(s.ctx, func(ctx context.Context, g *task.Group) error {
				g.Go(func(context.Context) error { return nil })
				yield(ctx, 2)
				s.cause()
				return nil
			})
			s.effect()
		}, []int{0}},
		{"Cancel -> Await of a future", func(s *scene) { w := awaitF(s); s.cause(); w.Cancel(nil) }, []int{1}},
		{"Cancel -> Sleep", func(s *scene) {
			w := in(s, func(ctx context.Context) { _ = task.Sleep(ctx, time.Hour); s.effect() })
			s.cause()
			w.Cancel(nil)
		}, []int{1}},
		{"Cancel -> Yield", func(s *scene) {
			w := task.Go(s.ctx, func(ctx context.Context) error { _ = task.Yield(ctx); s.effect(); return nil })
			yield(s.ctx, 1)
			s.cause() // in the turn after its first step: the second is in this batch
			w.Cancel(nil)
		}, []int{0}},
		{"Cancel -> Wait", func(s *scene) {
			w := in(s, func(ctx context.Context) { _, _, _ = task.Wait(ctx, task.AllCompleted, s.f); s.effect() })
			s.cause()
			w.Cancel(nil)
		}, []int{1}},
		{"Cancel -> Shield", func(s *scene) {
			w := in(s, func(ctx context.Context) { _, _ = future.Shield(s.f).Await(ctx); s.effect() })
			s.cause()
			w.Cancel(nil)
		}, []int{1}},
		{"Cancel -> Gather of a future", func(s *scene) {
			w := in(s, func(ctx context.Context) { _, _ = task.Gather(ctx, s.f); s.effect() })
			s.cause()
			w.Cancel(nil)
		}, []int{2}},
		{"Cancel -> every link of a chain", func(s *scene) {
			w := link(s, link(s, link(s, leaf(s))))
			s.cause()
			w.Cancel(nil)
		}, []int{1, 2, 3, 4}},
		{"Cancel -> task -> Gather of it", func(s *scene) {
			inner := leaf(s)
			w := in(s, func(ctx context.Context) { _, _ = task.Gather(ctx, inner); s.effect() })
			s.cause()
			w.Cancel(nil)
		}, []int{1, 3}},
		{"Cancel before the first step -> Await of the task", func(s *scene) {
			s.cause()
			inner := task.Start(s.ctx, func(context.Context) (int, error) { return 0, nil })
			inner.Cancel(nil)
			_, _ = inner.Await(s.ctx)
			s.effect()
		}, []int{2}},
		{"Timeout's timer -> body, and out of the scope", func(s *scene) {
			s.l.CallLater(time.Second, s.cause)
			_ = task.Timeout(s.ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error {
				defer s.effect()
				return task.Sleep(ctx, time.Hour)
			})
			s.effect()
		}, []int{1, 1}},
		{"Timeout of 0", func(s *scene) {
			s.cause()
			_ = task.Timeout(s.ctx, 0, func(ctx context.Context, _ *task.TimeoutScope) error {
				defer s.effect()
				return task.Sleep(ctx, time.Hour)
			})
			s.effect()
		}, []int{2, 2}},
		{"Reschedule to now", func(s *scene) {
			_ = task.Timeout(s.ctx, time.Hour, func(ctx context.Context, sc *task.TimeoutScope) error {
				s.cause()
				_ = sc.Reschedule(s.l.Now())
				defer s.effect()
				return task.Sleep(ctx, time.Hour)
			})
		}, []int{2}},
		{"timer -> CallLater's callback", func(s *scene) {
			s.l.CallLater(time.Second, s.cause)
			s.l.CallLater(time.Second, s.effect)
			_ = task.Sleep(s.ctx, time.Second)
		}, []int{0}},
		{"Sleep's timer -> Sleep", func(s *scene) {
			s.l.CallLater(time.Second, s.cause)
			_ = task.Sleep(s.ctx, time.Second)
			s.effect()
		}, []int{1}},
		{"Sleep of 0", func(s *scene) { s.cause(); _ = task.Sleep(s.ctx, 0); s.effect() }, []int{1}},
		{"Sleep of less", func(s *scene) { s.cause(); _ = task.Sleep(s.ctx, -time.Hour); s.effect() }, []int{1}},
		{"Yield", func(s *scene) { s.cause(); _ = task.Yield(s.ctx); s.effect() }, []int{1}},
		{"Await of what is done", func(s *scene) {
			s.p.Resolve(1)
			s.cause()
			_, _ = s.f.Await(s.ctx)
			s.effect()
		}, []int{0}},

		{"machine: Resolve -> Step", func(s *scene) {
			steps := 0
			task.StartMachine(s.ctx, &waitMachine{ws: []future.Waiter{s.f}, before: func(error) {
				if steps++; steps == 2 {
					s.effect()
				}
			}})
			yield(s.ctx, 1)
			s.cause()
			s.p.Resolve(1)
		}, []int{1}},
		{"machine: start, what is done, Yielded, task after it", func(s *scene) {
			s.p.Resolve(1)
			s.cause()
			m := task.StartMachine(s.ctx, &waitMachine{
				ws:     []future.Waiter{s.f, task.Yielded, s.f},
				before: func(error) { s.effect() },
			})
			_, _ = m.Await(s.ctx)
			s.effect()
		}, []int{1, 1, 2, 2, 3}},
		{"machine: Cancel -> Step", func(s *scene) {
			m := task.StartMachine(s.ctx, &waitMachine{ws: []future.Waiter{s.f}, before: func(thrown error) {
				if thrown != nil {
					s.effect()
				}
			}})
			yield(s.ctx, 1)
			s.cause()
			m.Cancel(nil)
		}, []int{1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				s := &scene{hops: &hops{l: l}, ctx: ctx}
				s.f, s.p = future.New[int](l)
				tt.play(s)
				yield(ctx, 10) // the count keeps the loop busy: time stands still
				s.stopped = true
				if got := s.effects; !slices.Equal(got, tt.want) {
					t.Errorf("effects after %v turns, want %v", got, tt.want)
				}
				s.f.Cancel(nil) // an end to who waits on
			})
		})
	}
}
