package main

import (
	"context"
	"runtime"
	"sync"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// machine_step: a task goes through the queue, doing nothing. The goroutines are
// two, because one alone need not be switched to.
var machineStep = bench{
	name: "machine_step",
	impls: []impl{
		{"eddy-machine", stepMachine, goal{}},
		{"eddy-coroutine", stepCoroutine, goal{}},
		{"goroutine", stepGoroutine, goal{}},
	},
}

// A stepper yields so many times.
type stepper struct{ left int }

func (s *stepper) Step(context.Context, error) (future.Waiter, error) {
	if s.left == 0 {
		return task.Done, nil
	}
	s.left--
	return task.Yielded, nil
}

func (s *stepper) Result() struct{} { return struct{}{} }

func stepMachine(m *meter) {
	onLoop(func(ctx context.Context, l *loop.Loop) {
		m.start()
		wait(ctx, task.StartMachine(ctx, &stepper{m.n}))
		m.stop()
	})
}

func stepCoroutine(m *meter) {
	onLoop(func(ctx context.Context, l *loop.Loop) {
		m.start()
		for range m.n {
			must(task.Yield(ctx))
		}
		m.stop()
	})
}

func stepGoroutine(m *meter) {
	var wg sync.WaitGroup
	m.start()
	for _, n := range []int{m.n / 2, m.n - m.n/2} {
		wg.Go(func() {
			for range n {
				runtime.Gosched()
			}
		})
	}
	wg.Wait()
	m.stop()
}
