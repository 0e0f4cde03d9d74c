package main

import (
	"context"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
)

// threadsafe_roundtrip: a goroutine posts a call to a loop that has nothing else
// to do, and waits for the answer, which comes by a channel. Goroutines: the same
// with a goroutine that takes calls from a channel.
var threadsafeRoundtrip = bench{
	name:  "threadsafe_roundtrip",
	procs: []int{1, 2},
	impls: []impl{
		{"eddy", roundtripLoop, goal{ns: 500}},
		{"goroutine", roundtripChannel, goal{}},
	},
}

func roundtripLoop(m *meter) {
	onLoop(func(ctx context.Context, l *loop.Loop) {
		f, p := future.New[struct{}](l)
		go func() {
			answer := make(chan struct{}, 1)
			fn := func() { answer <- struct{}{} }
			m.start()
			for range m.n {
				must(l.CallSoonThreadsafe(fn))
				<-answer
			}
			m.stop()
			must(l.CallSoonThreadsafe(func() { p.Resolve(struct{}{}) }))
		}()
		wait(ctx, f)
	})
}

func roundtripChannel(m *meter) {
	calls := make(chan func(), 1)
	go func() {
		for fn := range calls {
			fn()
		}
	}()
	answer := make(chan struct{}, 1)
	fn := func() { answer <- struct{}{} }
	m.start()
	for range m.n {
		calls <- fn
		<-answer
	}
	m.stop()
	close(calls)
}
