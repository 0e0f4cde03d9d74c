package main

import (
	"context"
	"runtime"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// parked_bytes: the memory of a task that waits, heap and stack after a
// collection, with what it waits for: a future of its own (a part of the machine,
// if it is one), and for a goroutine a channel of its own.
var parkedBytes = bench{
	name:  "parked_bytes",
	ops:   50_000,
	fresh: true, // the runtime keeps the descriptors of goroutines for ever
	unit:  "bytes",
	impls: []impl{
		{"eddy-machine", parkMachine, goal{bytes: 256}},
		{"eddy-coroutine", parkCoroutine, goal{}},
		{"goroutine", parkGoroutine, goal{}},
	},
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc + s.StackInuse
}

// A parked machine waits once.
type parked struct {
	f      future.Future[struct{}]
	l      *loop.Loop
	waited bool
}

func (p *parked) Step(_ context.Context, thrown error) (future.Waiter, error) {
	if p.waited || thrown != nil {
		return task.Done, thrown
	}
	p.waited = true
	future.Init(&p.f, p.l, nil)
	return &p.f, nil
}

func (p *parked) Result() struct{} { return struct{}{} }

func parkOnLoop(m *meter, start func(ctx context.Context, l *loop.Loop)) {
	onLoop(func(ctx context.Context, l *loop.Loop) {
		before := inUse()
		for range m.n {
			start(ctx, l)
		}
		for range 3 {
			must(task.Yield(ctx)) // now all have begun, and wait
		}
		m.Bytes = float64(inUse()-before) / float64(m.n)
	}) // cancels the tasks
}

func parkMachine(m *meter) {
	parkOnLoop(m, func(ctx context.Context, l *loop.Loop) {
		task.StartMachine(ctx, &parked{l: l})
	})
}

func parkCoroutine(m *meter) {
	parkOnLoop(m, func(ctx context.Context, l *loop.Loop) {
		task.Go(ctx, func(ctx context.Context) error {
			f, _ := future.New[struct{}](l)
			_, err := f.Await(ctx)
			return err
		})
	})
}

func parkGoroutine(m *meter) {
	wake := make([]chan struct{}, m.n)
	before := inUse()
	for i := range wake {
		c := make(chan struct{})
		wake[i] = c
		go func() { <-c }()
	}
	runtime.Gosched()
	m.Bytes = float64(inUse()-before) / float64(m.n)
	for _, c := range wake {
		close(c)
	}
}
