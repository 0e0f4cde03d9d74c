package main

import (
	"context"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/loop"
)

// executor_roundtrip: jobs that do nothing, one after the other: from handing one
// in to having its result.
//
//	eddy            executor.Submit, and Watch to be told
//	eddy-coroutine  executor.Do in a task
//	goroutine       a go statement for each, and a channel for the result
//	goroutine-pool  a goroutine that takes jobs from a channel, which knows no
//	                panics, no contexts and no cancellation
var executorRoundtrip = bench{
	name:  "executor_roundtrip",
	procs: []int{1, 2},
	impls: []impl{
		{"eddy", func(m *meter) { jobsOnLoop(m, 1) }, goal{ns: 700}},
		{"eddy-coroutine", jobsInTask, goal{ns: 700}},
		{"goroutine", jobsGo, goal{}},
		{"goroutine-pool", func(m *meter) { jobsChannel(m, 1) }, goal{}},
	},
}

func noJob(context.Context) (int, error) { return 1, nil }

// A submitter hands in the next job when it is told that one has ended.
type submitter struct {
	l    *loop.Loop
	p    *executor.Pool
	left int // to be handed in
	all  *countdown
}

func (s *submitter) Run() {
	s.all.Run()
	s.submit()
}

func (s *submitter) submit() {
	if s.left == 0 {
		return
	}
	s.left--
	executor.Submit(s.l, s.p, noJob).Watch(s)
}

// jobsOnLoop keeps some jobs in flight, by callbacks.
func jobsOnLoop(m *meter, inFlight int) {
	onLoop(func(ctx context.Context, l *loop.Loop) {
		s := &submitter{l: l, p: executor.Default(l), left: m.n, all: newCountdown(l, m.n)}
		m.start()
		for range inFlight {
			s.submit()
		}
		wait(ctx, s.all.f)
		m.stop()
	})
}

func jobsInTask(m *meter) {
	onLoop(func(ctx context.Context, l *loop.Loop) {
		m.start()
		for range m.n {
			_, err := executor.Do(ctx, noJob)
			must(err)
		}
		m.stop()
	})
}

func jobsGo(m *meter) {
	ctx := context.Background()
	results := make(chan int, 1)
	m.start()
	for range m.n {
		go func() {
			v, _ := noJob(ctx)
			results <- v
		}()
		<-results
	}
	m.stop()
}

// jobsChannel keeps some jobs in flight on as many goroutines, at most 6: the
// limit of a pool here.
func jobsChannel(m *meter, inFlight int) {
	ctx := context.Background()
	jobs, results := make(chan func(context.Context) (int, error), inFlight), make(chan int, inFlight)
	for range min(inFlight, 6) {
		go func() {
			for fn := range jobs {
				v, _ := fn(ctx)
				results <- v
			}
		}()
	}
	m.start()
	for i := range m.n {
		if i >= inFlight {
			<-results
		}
		jobs <- noJob
	}
	for range min(m.n, inFlight) {
		<-results
	}
	m.stop()
	close(jobs)
}
