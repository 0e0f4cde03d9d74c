package main

import (
	"net"

	"github.com/eddyloop/eddy/loop"
)

// waits: the ways in which a loop can wait, side by side. Each row runs in a
// process of its own, so a variable will do.
//
//	auto   the default: doze while jobs are out, else sleep
//	sleep  block a thread in epoll_wait, after yielding twice if that may pay
//	doze   park the goroutine in the Go runtime's poller
var waiting loop.WaitPolicy

func waitImpls(fn func(m *meter)) []impl {
	with := func(w loop.WaitPolicy) func(m *meter) {
		return func(m *meter) {
			waiting = w
			fn(m)
		}
	}
	return []impl{
		{"auto", with(loop.WaitAuto), goal{}},
		{"sleep", with(loop.WaitSleep), goal{}},
		{"doze", with(loop.WaitDoze), goal{}},
	}
}

var (
	waitsRoundtrip   = bench{name: "waits_job_0", procs: []int{1, 2}, impls: waitImpls(func(m *meter) { jobsOnLoop(m, 1) })}
	waitsWakeSleep   = bench{name: "waits_job_sleeps_1ms", procs: []int{1, 2}, ops: 100, impls: waitImpls(wakeLoop(sleepJob))}
	waitsWakeCompute = bench{name: "waits_job_computes_1ms", procs: []int{1, 2}, ops: 100, impls: waitImpls(wakeLoop(computeJob))}
	waitsHog         = bench{name: "waits_hog", procs: []int{1, 2}, ops: 1, impls: waitImpls(hogBeside(func(c *net.TCPConn) { echoReader(c) }))}
)
