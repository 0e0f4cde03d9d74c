package main

import (
	"context"
	"slices"
	"time"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/loop"
)

// executor_wake: the median time from the end of a job of 1 ms to the callback on
// the loop, which has nothing else to do: the price of waking it. The job sleeps,
// or computes. Goroutines: the result goes through a channel to one that waits.
var (
	executorWakeSleep   = bench{name: "executor_wake_sleep", procs: []int{1, 2}, ops: 100, impls: wakeImpls(sleepJob)}
	executorWakeCompute = bench{name: "executor_wake_compute", procs: []int{1, 2}, ops: 100, impls: wakeImpls(computeJob)}
)

// A job returns when it ended.
type endingJob func(context.Context) (time.Time, error)

func sleepJob(context.Context) (time.Time, error) {
	time.Sleep(time.Millisecond)
	return time.Now(), nil
}

func computeJob(context.Context) (time.Time, error) {
	end := time.Now().Add(time.Millisecond)
	for {
		if now := time.Now(); now.After(end) {
			return now, nil
		}
	}
}

func wakeImpls(job endingJob) []impl {
	return []impl{
		{"eddy", wakeLoop(job), goal{}},
		{"eddy-coroutine", wakeTask(job), goal{}},
		{"goroutine", wakeGoroutine(job), goal{}},
	}
}

func wakeLoop(job endingJob) func(m *meter) {
	return func(m *meter) {
		var late []time.Duration
		onLoop(func(ctx context.Context, l *loop.Loop) {
			all := newCountdown(l, m.n)
			var next func()
			next = func() {
				f := executor.Submit(l, nil, job)
				f.OnDone(func() {
					ended, err := f.Result()
					must(err)
					late = append(late, time.Since(ended))
					if all.Run(); len(late) < m.n {
						next()
					}
				})
			}
			next()
			wait(ctx, all.f)
		})
		m.p50(late)
	}
}

func wakeTask(job endingJob) func(m *meter) {
	return func(m *meter) {
		var late []time.Duration
		onLoop(func(ctx context.Context, l *loop.Loop) {
			for range m.n {
				ended, err := executor.Do(ctx, job)
				must(err)
				late = append(late, time.Since(ended))
			}
		})
		m.p50(late)
	}
}

func wakeGoroutine(job endingJob) func(m *meter) {
	return func(m *meter) {
		var late []time.Duration
		results := make(chan time.Time, 1)
		for range m.n {
			go func() {
				ended, _ := job(context.Background())
				results <- ended
			}()
			late = append(late, time.Since(<-results))
		}
		m.p50(late)
	}
}

// p50 makes the median of late what was measured.
func (m *meter) p50(late []time.Duration) {
	slices.Sort(late)
	m.NS = float64(late[len(late)/2])
}
