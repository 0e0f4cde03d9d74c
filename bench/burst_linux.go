package main

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/eddyloop/eddy/loop"
)

// burst_10k: 10,000 connections arrive at once, or as many as there may be
// descriptors, and each has 64 B echoed. ns is wall time for each, from the first
// connect to the last answer. Something is to be done every millisecond meanwhile, by a
// timer of the loop, or by a goroutine that sleeps: late_p99 is how late that was done,
// worst_late the worst of all rounds. What should have been done several times
// during a delay counts as often. The server has a core and GOMAXPROCS=1. cpu and waited
// are as in the echo rows: while another program has the server's core, everything is
// late, whoever serves.
var burst10K = bench{
	name: "burst_10k",
	ops:  10_000,
	pin:  true,
	impls: []impl{
		{"eddy-protocol", burstOn(serveProtocol), burstGoal},
		{"eddy-stream", burstOn(serveStream), burstGoal},
		{"eddy-ready", burstOn(serveReady), burstGoal},
		{"goroutine", burstOn(serveNet), goal{}},
	},
}

var burstGoal = goal{also: map[string]goal{"late_p99": {ns: 20e6}}}

func burstOn(s server) func(m *meter) {
	return func(m *meter) {
		var late lateness
		var r loadResult
		n := min(m.n, descriptors())
		withServer(s, serving{late: &late}, func(addr string) {
			j := loadJob{Kind: "burst", Addr: addr, Conns: n, Size: 64, Server: os.Getpid()}
			r = calm(m, j)
		})
		m.NS = float64(r.Wall) / float64(n)
		m.also("cpu", r.Server/time.Duration(n))
		m.also("waited", r.Waited/time.Duration(n))
		delays := late.between(r.Began, r.Ended)
		m.also("late_p99", delays[len(delays)*99/100])
		m.also("worst_late", delays[len(delays)-1])
	}
}

// lateness is how late what is to be done every millisecond is done. It is read when
// its server has ended.
type lateness struct {
	due   int64
	ticks []tick
}

type tick struct {
	due  int64 // on the clock of monotonic
	late time.Duration
}

const tickEvery = time.Millisecond

// tick records the times that have come, and returns how long it is to the next.
func (t *lateness) tick() time.Duration {
	now := monotonic()
	if t.due == 0 {
		t.due = now
	}
	for ; t.due <= now; t.due += int64(tickEvery) {
		t.ticks = append(t.ticks, tick{t.due, time.Duration(now - t.due)})
	}
	return time.Duration(t.due - now)
}

func (t *lateness) onLoop(l *loop.Loop) {
	l.CallLater(t.tick(), func() { t.onLoop(l) })
}

func (t *lateness) inGoroutine(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(t.tick())
	}
}

// between returns the delays of what was due in a while, sorted; at least one.
func (t *lateness) between(from, to int64) (delays []time.Duration) {
	for _, k := range t.ticks {
		if from <= k.due && k.due <= to {
			delays = append(delays, k.late)
		}
	}
	if delays == nil {
		delays = append(delays, 0) // over in less than a millisecond
	}
	slices.Sort(delays)
	return delays
}
