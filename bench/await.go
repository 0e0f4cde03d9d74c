package main

import (
	"context"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// await: a queued callback resolves a future, the waiting task resumes. The future
// is a new one each time, but for eddy-machine: there it is a part of the machine.
var await = bench{
	name: "await",
	impls: []impl{
		{"eddy-coroutine", awaitCoroutine, goal{ns: 130}},
		{"eddy-machine", awaitMachine(false), goal{ns: 15}},
		{"eddy-machine-fresh", awaitMachine(true), goal{}},
		{"goroutine", awaitGoroutine, goal{}},
	},
}

// A resolver resolves when it is run.
type resolver struct{ p future.Promise[int] }

func (r *resolver) Run() { r.p.Resolve(1) }

func awaitCoroutine(m *meter) {
	onLoop(func(ctx context.Context, l *loop.Loop) {
		var r resolver
		m.start()
		for range m.n {
			var f *future.Future[int]
			f, r.p = future.New[int](l)
			l.Queue(&r)
			_, err := f.Await(ctx)
			must(err)
		}
		m.stop()
	})
}

// An awaiter is the same as a machine.
type awaiter struct {
	resolver
	l     *loop.Loop
	left  int
	fresh bool
	f     future.Future[int]
}

func (a *awaiter) Step(_ context.Context, thrown error) (future.Waiter, error) {
	if a.left == 0 || thrown != nil {
		return task.Done, thrown
	}
	a.left--
	a.l.Queue(&a.resolver)
	if a.fresh {
		var f *future.Future[int]
		f, a.p = future.New[int](a.l)
		return f, nil
	}
	a.p = future.Init(&a.f, a.l, nil)
	return &a.f, nil
}

func (a *awaiter) Result() int { return 0 }

func awaitMachine(fresh bool) func(m *meter) {
	return func(m *meter) {
		onLoop(func(ctx context.Context, l *loop.Loop) {
			m.start()
			wait(ctx, task.StartMachine(ctx, &awaiter{l: l, left: m.n, fresh: fresh}))
			m.stop()
		})
	}
}

// awaitGoroutine asks another goroutine, with a channel for the answer.
func awaitGoroutine(m *meter) {
	asked := make(chan chan int, 1)
	go func() {
		for answer := range asked {
			answer <- 1
		}
	}()
	m.start()
	for range m.n {
		answer := make(chan int, 1)
		asked <- answer
		<-answer
	}
	m.stop()
	close(asked)
}
