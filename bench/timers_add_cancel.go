package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/eddyloop/eddy/loop"
)

// timers_add_cancel: a million timers over 1000 s are set, and 90 % of them
// canceled in random order; ns is for setting one and for 0.9 of canceling one.
var timersAddCancel = bench{
	name: "timers_add_cancel",
	ops:  1_000_000,
	impls: []impl{
		{"eddy", addCancelCallLater, goal{ratio: 0.5}},
		{"eddy-timer", addCancelTimer, goal{}},
		{"goroutine", addCancelAfterFunc, goal{}},
	},
}

// draw returns the delays of the timers, and which to cancel, in order.
func draw(n int) (delays []time.Duration, victims []int) {
	rnd := rand.New(rand.NewPCG(1, 2))
	delays = make([]time.Duration, n)
	for i := range delays {
		// Far enough that none fires meanwhile.
		delays[i] = 100*time.Second + time.Duration(rnd.Int64N(int64(1000*time.Second)))
	}
	return delays, rnd.Perm(n)[:n*9/10]
}

func addCancelCallLater(m *meter) {
	delays, victims := draw(m.n)
	hs := make([]*loop.Handle, m.n)
	fn := func() {}
	onLoop(func(_ context.Context, l *loop.Loop) {
		m.start()
		for i, d := range delays {
			hs[i] = l.CallLater(d, fn)
		}
		for _, i := range victims {
			hs[i].Cancel()
		}
		m.stop()
	})
}

// addCancelTimer has the timers in one array, as those have who embed them.
func addCancelTimer(m *meter) {
	delays, victims := draw(m.n)
	ts := make([]loop.Timer, m.n)
	fn := new(countdown)
	onLoop(func(_ context.Context, l *loop.Loop) {
		m.start()
		for i, d := range delays {
			l.StartTimer(&ts[i], d, fn)
		}
		for _, i := range victims {
			l.StopTimer(&ts[i])
		}
		m.stop()
	})
}

func addCancelAfterFunc(m *meter) {
	delays, victims := draw(m.n)
	ts := make([]*time.Timer, m.n)
	fn := func() {}
	m.start()
	for i, d := range delays {
		ts[i] = time.AfterFunc(d, fn)
	}
	for _, i := range victims {
		ts[i].Stop()
	}
	m.stop()
	for _, t := range ts {
		t.Stop()
	}
}
