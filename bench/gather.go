package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// gather_sleep0 and gather_random: make 100,000 things that sleep, and await all.
//
//	eddy            future.Gather of future.After
//	eddy-machine    future.Gather of machine tasks that wait once: for
//	                future.After, or in gather_sleep0 by Yielded
//	eddy-coroutine  future.Gather of tasks in task.Sleep, each with its own stack
//	goroutine       WaitGroup.Go and time.Sleep, which for 0 returns at once
//
// gather_random sleeps 0 to 1 s. ns is processor time for each.
var (
	gatherSleep0 = bench{name: "gather_sleep0", ops: 100_000, impls: gatherImpls(0, goal{ns: 150})}
	gatherRandom = bench{name: "gather_random", ops: 100_000, impls: gatherImpls(time.Second, goal{})}
)

func gatherImpls(longest time.Duration, g goal) []impl {
	return []impl{
		{"eddy", gatherOnLoop(longest, func(_ context.Context, l *loop.Loop, d time.Duration) *future.Future[struct{}] {
			return future.After(l, d)
		}), g},
		{"eddy-machine", gatherOnLoop(longest, func(ctx context.Context, l *loop.Loop, d time.Duration) *task.Task[struct{}] {
			return task.StartMachine(ctx, &sleeper{l: l, d: d})
		}), goal{}},
		{"eddy-coroutine", gatherOnLoop(longest, func(ctx context.Context, l *loop.Loop, d time.Duration) *task.Task[struct{}] {
			return task.Go(ctx, func(ctx context.Context) error { return task.Sleep(ctx, d) })
		}), goal{}},
		{"goroutine", gatherGoroutine(longest), goal{}},
	}
}

// A sleeper waits once.
type sleeper struct {
	l     *loop.Loop
	d     time.Duration
	slept bool
}

func (s *sleeper) Step(_ context.Context, thrown error) (future.Waiter, error) {
	if s.slept || thrown != nil {
		return task.Done, thrown
	}
	s.slept = true
	if s.d == 0 {
		return task.Yielded, nil
	}
	return future.After(s.l, s.d), nil
}

func (s *sleeper) Result() struct{} { return struct{}{} }

func sleeps(m *meter, longest time.Duration) []time.Duration {
	ds := make([]time.Duration, m.n)
	rnd := rand.New(rand.NewPCG(5, 6))
	if longest = m.real(longest); longest > 0 {
		for i := range ds {
			ds[i] = 1 + time.Duration(rnd.Int64N(int64(longest)))
		}
	}
	return ds
}

func gatherOnLoop[F future.Of[struct{}]](longest time.Duration, start func(context.Context, *loop.Loop, time.Duration) F) func(m *meter) {
	return func(m *meter) {
		ds := sleeps(m, longest)
		onLoop(func(ctx context.Context, l *loop.Loop) {
			m.startCPU()
			fs := make([]F, m.n)
			for i, d := range ds {
				fs[i] = start(ctx, l, d)
			}
			wait(ctx, future.Gather(l, fs...))
			m.stop()
		})
	}
}

func gatherGoroutine(longest time.Duration) func(m *meter) {
	return func(m *meter) {
		ds := sleeps(m, longest)
		m.startCPU()
		var wg sync.WaitGroup
		for _, d := range ds {
			wg.Go(func() { time.Sleep(d) })
		}
		wg.Wait()
		m.stop()
	}
}
