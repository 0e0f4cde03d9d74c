package main

import (
	"context"

	"github.com/eddyloop/eddy/loop"
)

// threadsafe_post: another goroutine floods the loop with calls, without waiting;
// the end is when the last was made. Goroutines: a channel of functions, with room
// for 1024, and a goroutine that calls them.
var threadsafePost = bench{
	name:  "threadsafe_post",
	procs: []int{1, 2},
	impls: []impl{
		{"eddy", postLoop, goal{}},
		{"goroutine", postChannel, goal{}},
	},
}

func postLoop(m *meter) {
	onLoop(func(ctx context.Context, l *loop.Loop) {
		c := newCountdown(l, m.n)
		fn := c.Run
		m.start()
		go func() {
			for range m.n {
				must(l.CallSoonThreadsafe(fn))
			}
		}()
		wait(ctx, c.f)
		m.stop()
	})
}

func postChannel(m *meter) {
	calls := make(chan func(), 1024)
	left := m.n
	fn := func() { left-- }
	m.start()
	go func() {
		for range m.n {
			calls <- fn
		}
	}()
	for left > 0 {
		(<-calls)()
	}
	m.stop()
}
