package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// timers_fire: a million timers, due at random within one real second, fire. They
// are set before that second begins, and that is not counted. ns is processor
// time, because whoever is fast enough sleeps part of the second.
var timersFire = bench{
	name: "timers_fire",
	ops:  1_000_000,
	cold: true, // up to a million goroutines have yet to be made
	impls: []impl{
		{"eddy", fireCallLater, goal{ratio: 0.2}},
		{"eddy-timer", fireTimer, goal{}},
		{"goroutine", fireAfterFunc, goal{}},
	},
}

// A volley is when the timers of a round are due, from its beginning.
type volley struct {
	began  time.Time
	delays []time.Duration
	first  time.Duration
}

func newVolley(m *meter) *volley {
	rnd := rand.New(rand.NewPCG(3, 4))
	v := &volley{delays: make([]time.Duration, m.n), first: m.real(1500 * time.Millisecond)}
	for i := range v.delays {
		v.delays[i] = v.first + time.Duration(rnd.Int64N(int64(m.real(time.Second))))
	}
	v.began = time.Now()
	return v
}

func (v *volley) left(i int) time.Duration { return v.delays[i] - time.Since(v.began) }

// armed is called when all are set. It may be late only on a very slow machine.
func (v *volley) armed(m *meter) {
	m.startCPU()
	if late := time.Since(v.began) - v.first; late > 0 {
		m.also("set_late", late)
	}
}

func fireOnLoop(m *meter, set func(l *loop.Loop, v *volley, c *countdown)) {
	onLoop(func(ctx context.Context, l *loop.Loop) {
		c := newCountdown(l, m.n)
		v := newVolley(m)
		set(l, v, c)
		must(task.Yield(ctx)) // the loop's time is that before they were set
		v.armed(m)
		wait(ctx, c.f)
		m.stop()
	})
}

func fireCallLater(m *meter) {
	fireOnLoop(m, func(l *loop.Loop, v *volley, c *countdown) {
		fn := c.Run
		for i := range m.n {
			l.CallLater(v.left(i), fn)
		}
	})
}

func fireTimer(m *meter) {
	ts := make([]loop.Timer, m.n)
	fireOnLoop(m, func(l *loop.Loop, v *volley, c *countdown) {
		for i := range ts {
			l.StartTimer(&ts[i], v.left(i), c)
		}
	})
}

func fireAfterFunc(m *meter) {
	var wg sync.WaitGroup
	wg.Add(m.n)
	v := newVolley(m)
	for i := range m.n {
		time.AfterFunc(v.left(i), wg.Done)
	}
	v.armed(m)
	wg.Wait()
	m.stop()
}
