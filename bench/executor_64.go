package main

import (
	"context"
	"sync"
)

// executor_64: jobs that do nothing, 64 of them in flight; the end of one hands in
// the next. ns is for each.
var executor64 = bench{
	name:  "executor_64",
	procs: []int{1, 2},
	impls: []impl{
		{"eddy", func(m *meter) { jobsOnLoop(m, 64) }, goal{}},
		{"goroutine", jobsGo64, goal{}},
		{"goroutine-pool", func(m *meter) { jobsChannel(m, 64) }, goal{}},
	},
}

// jobsGo64 has a goroutine for each job, and a semaphore.
func jobsGo64(m *meter) {
	ctx := context.Background()
	places := make(chan struct{}, 64)
	var wg sync.WaitGroup
	m.start()
	for range m.n {
		places <- struct{}{}
		wg.Go(func() {
			_, _ = noJob(ctx)
			<-places
		})
	}
	wg.Wait()
	m.stop()
}
