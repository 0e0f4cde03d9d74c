package main

import (
	"context"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
)

// call_soon_chain: each callback queues the next. Meanwhile a timer fires every
// millisecond and writes to a socket that AddReader watches: the worst lateness of
// either is the row worst_delay. It must stay under 5 ms, busy as the loop is.
var callSoonChain = bench{
	name: "call_soon_chain",
	impls: []impl{
		{"eddy", chainCallSoon, goal{ns: 40}},
		{"eddy-queue", chainQueue, goal{ns: 15}},
		{"goroutine", chainGoroutine, goal{}},
	},
}

func chainCallSoon(m *meter) {
	chainOnLoop(m, func(l *loop.Loop, done future.Promise[struct{}]) {
		left := m.n
		var next func()
		next = func() {
			if left--; left <= 0 {
				done.Resolve(struct{}{})
				return
			}
			l.CallSoon(next)
		}
		l.CallSoon(next)
	})
}

// A link is a Runnable that queues itself.
type link struct {
	l    *loop.Loop
	left int
	done future.Promise[struct{}]
}

func (c *link) Run() {
	if c.left--; c.left <= 0 {
		c.done.Resolve(struct{}{})
		return
	}
	c.l.Queue(c)
}

func chainQueue(m *meter) {
	chainOnLoop(m, func(l *loop.Loop, done future.Promise[struct{}]) {
		l.Queue(&link{l, m.n, done})
	})
}

func chainOnLoop(m *meter, begin func(*loop.Loop, future.Promise[struct{}])) {
	onLoop(func(ctx context.Context, l *loop.Loop) {
		bg := newBackground(l)
		f, done := future.New[struct{}](l)
		m.start()
		bg.arm()
		begin(l, done)
		wait(ctx, f)
		m.stop()
		m.also("worst_delay", bg.close())
	})
}

// chainGoroutine: each goroutine starts the next.
func chainGoroutine(m *meter) {
	left, done := m.n, make(chan struct{})
	var next func()
	next = func() {
		if left--; left <= 0 {
			close(done)
			return
		}
		go next()
	}
	m.start()
	go next()
	<-done
	m.stop()
}
