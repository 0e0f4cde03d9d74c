package main

import (
	"context"
	"iter"
	"time"

	"github.com/eddyloop/eddy/executor"
)

// process_cpu: jobs that compute for 10 ms, on two workers. ns is for each, so 5 ms
// is the best that two cores can do. The row cpu is the processor time of a job,
// measured in the worker: with ns it gives the share of both cores that was used for
// jobs. Where other programs run that share is small for everybody; then the ratio
// tells.
//
//	eddy       ProcessPool, Func.Map
//	goroutine  Pool, executor.Map: goroutines of one process
var processCPU = bench{
	name:  "process_cpu",
	procs: []int{2},
	ops:   60,
	impls: []impl{
		{"eddy", cpuInProcesses, goal{share: 0.8}},
		{"goroutine", cpuInGoroutines, goal{}},
	},
}

const cpuWorkers = 2

// compute computes, and returns the processor time that its process has used
// meanwhile.
func compute(_ context.Context, loops int) (int64, error) {
	before := cpuTime()
	x := uint64(loops)
	for range loops {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	if x == 0 { // never, but the compiler does not know
		return 0, nil
	}
	return int64(cpuTime() - before), nil
}

var processCompute = executor.Register("bench.compute", compute)

// loopsIn returns an argument of compute that takes d, if nobody disturbs it.
func loopsIn(d time.Duration) int {
	const loops = 1 << 20
	best := time.Hour
	for range 20 {
		began := time.Now()
		_, err := compute(context.Background(), loops)
		must(err)
		best = min(best, time.Since(began))
	}
	return int(loops * float64(d) / float64(best))
}

func repeat(v, n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for range n {
			if !yield(v) {
				return
			}
		}
	}
}

func cpuInProcesses(m *meter) {
	loops := loopsIn(10 * time.Millisecond)
	withProcesses(cpuWorkers, func(ctx context.Context, p *executor.ProcessPool) {
		var cpu int64
		m.start()
		for ns, err := range processCompute.Map(ctx, p, repeat(loops, m.n), executor.MapConfig{}) {
			must(err)
			cpu += ns
		}
		m.stop()
		m.also("cpu", time.Duration(cpu)/time.Duration(m.n))
	})
}

func cpuInGoroutines(m *meter) {
	loops := loopsIn(10 * time.Millisecond)
	ctx := context.Background()
	p := executor.New(executor.Config{Limit: cpuWorkers})
	m.start()
	before := cpuTime()
	for _, err := range executor.Map(ctx, p, repeat(loops, m.n), compute, executor.MapConfig{}) {
		must(err)
	}
	cpu := cpuTime() - before
	m.stop()
	m.also("cpu", cpu/time.Duration(m.n))
	must(p.Shutdown(ctx))
}
