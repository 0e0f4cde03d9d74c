package main

import (
	"context"
	"sync"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
)

// call_soon_burst: queue a million calls on a new loop, then run them; the memory
// of the queue is part of it. The goroutines need 2.6 GB.
var callSoonBurst = bench{
	name: "call_soon_burst",
	ops:  1_000_000,
	cold: true,
	impls: []impl{
		{"eddy", burstCallSoon, goal{}},
		{"eddy-queue", burstQueue, goal{}},
		{"goroutine", burstGoroutine, goal{}},
	},
}

func burstCallSoon(m *meter) {
	onLoop(func(ctx context.Context, l *loop.Loop) {
		c := newCountdown(l, m.n)
		m.start()
		for range m.n {
			l.CallSoon(func() { c.Run() })
		}
		wait(ctx, c.f)
		m.stop()
	})
}

func burstQueue(m *meter) {
	onLoop(func(ctx context.Context, l *loop.Loop) {
		c := newCountdown(l, m.n)
		m.start()
		for range m.n {
			l.Queue(c)
		}
		wait(ctx, c.f)
		m.stop()
	})
}

func burstGoroutine(m *meter) {
	var wg sync.WaitGroup
	m.start()
	for range m.n {
		wg.Go(func() {})
	}
	wg.Wait()
	m.stop()
}

// A countdown resolves a future when it was run so many times.
type countdown struct {
	left int
	f    *future.Future[struct{}]
	p    future.Promise[struct{}]
}

func newCountdown(l *loop.Loop, n int) *countdown {
	f, p := future.New[struct{}](l)
	return &countdown{n, f, p}
}

func (c *countdown) Run() {
	if c.left--; c.left == 0 {
		c.p.Resolve(struct{}{})
	}
}
