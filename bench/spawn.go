package main

import (
	"context"
	"sync"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// spawn: start a task that returns at once, and have it finish. A hundred are
// started before the last of them is awaited.
var spawn = bench{
	name: "spawn",
	impls: []impl{
		{"eddy-coroutine", spawnCoroutine, goal{ns: 150}},
		{"eddy-eager", spawnEager, goal{}},
		{"eddy-machine", spawnMachine, goal{}},
		{"goroutine", spawnGoroutine, goal{}},
	},
}

const spawnBatch = 100

func spawnOnLoop(m *meter, start func(ctx context.Context) *task.Task[int]) {
	onLoop(func(ctx context.Context, l *loop.Loop) {
		m.start()
		for left := m.n; left > 0; left -= spawnBatch {
			var last *task.Task[int]
			for range min(left, spawnBatch) {
				last = start(ctx)
			}
			wait(ctx, last)
		}
		m.stop()
	})
}

func one(context.Context) (int, error) { return 1, nil }

func spawnCoroutine(m *meter) {
	spawnOnLoop(m, func(ctx context.Context) *task.Task[int] { return task.Start(ctx, one) })
}

func spawnEager(m *meter) {
	spawnOnLoop(m, func(ctx context.Context) *task.Task[int] { return task.StartNow(ctx, one) })
}

// A once is done in its first step.
type once struct{ v int }

func (o *once) Step(context.Context, error) (future.Waiter, error) {
	o.v = 1
	return task.Done, nil
}

func (o *once) Result() int { return o.v }

func spawnMachine(m *meter) {
	spawnOnLoop(m, func(ctx context.Context) *task.Task[int] { return task.StartMachine(ctx, new(once)) })
}

func spawnGoroutine(m *meter) {
	results := make([]int, spawnBatch)
	var wg sync.WaitGroup
	m.start()
	for left := m.n; left > 0; left -= spawnBatch {
		for i := range min(left, spawnBatch) {
			wg.Go(func() { results[i] = 1 })
		}
		wg.Wait()
	}
	m.stop()
}
