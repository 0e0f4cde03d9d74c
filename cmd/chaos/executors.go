//go:build linux

package main

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

const systemSection = "Executors, processes, signals"

func executorRows() []scenario {
	return in(systemSection, []scenario{
		{
			id: "R58", title: "jobs that block while their pool shuts down",
			naive:  "the exit hangs, or always waits for the whole deadline",
			target: "returns 20 ms after its deadline at most, and at once when all is done", parts: one(r58Shutdown),
		},
		{
			id: "R59", title: "lookups that hang fill the pool",
			naive:  "nothing else that blocks can be done",
			target: "200 stuck lookups: p99 of file jobs less than 10 ms", parts: one(r59Lanes),
		},
		{
			id: "R60", title: "handing in to a pool that is full",
			naive:  "it blocks the loop",
			target: "ErrQueueFull at once, or the task alone waits", parts: one(r60Full),
		},
		{
			id: "R61", title: "jobs that panic, leave by Goexit, or whose waiter has gone",
			naive:  "a worker is lost, or hangs where nobody receives",
			target: "10⁵ jobs, each accounted for", parts: one(r61Faulty),
		},
		{
			id: "R62", title: "worker processes that are killed, exit, hang or talk garbage",
			naive:  "the whole pool is of no use any more",
			target: "10³ kills, 10⁵ jobs: accounted = submitted", parts: []part{{run: r62Workers, limit: 4 * time.Minute}},
		},
	})
}

// r58Shutdown shuts pools down whose jobs do not end in time, and then do.
func r58Shutdown(r *run) {
	n := r.n(50, 2)
	const wait = 50 * time.Millisecond
	var late, early []time.Duration
	for range n {
		p := executor.New(executor.Config{Name: "disk", Limit: 10})
		open := make(chan struct{})
		for range 20 {
			executor.Go(p, func(context.Context) (int, error) { <-open; return 0, nil })
		}
		for p.Stats().Running < 10 {
			runtime.Gosched()
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(r.ctx, wait)
		err := p.Shutdown(ctx)
		cancel()
		late = append(late, time.Since(start)-wait)
		var s *executor.ShutdownError
		if !errors.As(err, &s) || len(s.Stuck) != 10 || s.Canceled != 10 || len(s.Stuck[0].Stack) == 0 {
			r.fail("Shutdown: %v", err)
		}
		r.faults.Add(10)
		time.AfterFunc(5*time.Millisecond, func() { close(open) })
		start = time.Now()
		ctx, cancel = context.WithTimeout(r.ctx, time.Minute)
		r.ok(p.Shutdown(ctx), "second Shutdown")
		cancel()
		early = append(early, time.Since(start)-5*time.Millisecond)
	}
	r.load("%d pools with 10 jobs that block and 10 that wait; a deadline of %v, then one of a minute", n, wait)
	r.found("late by %v at the median, %v at most; %v after the last job at the median, %v at most",
		quantile(late, 0.5).Round(time.Microsecond), quantile(late, 1).Round(time.Microsecond),
		quantile(early, 0.5).Round(time.Microsecond), quantile(early, 1).Round(time.Microsecond))
	r.check(quantile(late, 0.9) < 20*time.Millisecond, "late by %v (9 of 10, as the machine is shared)", quantile(late, 0.9))
	r.check(quantile(early, 0.9) < 20*time.Millisecond, "%v after the last job", quantile(early, 0.9))
}

func r59Lanes(r *run) {
	const lookups = 200
	files := r.n(20_000, 50)
	r.loop(func(ctx context.Context) error {
		p := executor.New(executor.Config{Name: "io"})
		dns := p.Lane("dns", executor.LaneConfig{Limit: 16, Queue: 100})
		open := make(chan struct{})
		full := 0
		for range lookups {
			f := executor.Submit(loop.FromContext(ctx), dns, func(context.Context) (int, error) { <-open; return 0, nil })
			if f.Done() && f.Err() == executor.ErrQueueFull {
				full++
			}
		}
		var took []time.Duration
		for range files {
			start := time.Now()
			if _, err := executor.DoIn(ctx, p, nothing); err != nil {
				return err
			}
			took = append(took, time.Since(start))
		}
		p99 := quantile(took, 0.99)
		close(open)
		r.faults.Add(lookups)
		r.load("%d lookups that hang, in a lane of 16 places and a queue of 100; %d file jobs", lookups, files)
		r.found("%d lookups refused; file jobs p50 %v p99 %v", full, quantile(took, 0.5), p99)
		r.check(full == lookups-116, "%d lookups were refused", full)
		r.check(p99 < 10*time.Millisecond, "p99 of file jobs is %v", p99)
		return shutDownPool(ctx, p)
	})
}

func nothing(context.Context) (int, error) { return 1, nil }

// shutDownPool shuts a pool down elsewhere, as the loop must not wait.
func shutDownPool(ctx context.Context, p *executor.Pool) error {
	_, err := executor.Do(ctx, func(ctx context.Context) (int, error) { return 0, p.Shutdown(ctx) })
	return err
}

func r60Full(r *run) {
	n, waiters := r.n(100_000, 100), r.n(1000, 10)
	r.loop(func(ctx context.Context) error {
		p := executor.New(executor.Config{Limit: 2, Queue: 2})
		open := make(chan struct{})
		for range 4 {
			executor.Go(p, func(context.Context) (int, error) { <-open; return 0, nil })
		}
		for p.Stats().Running < 2 {
			_ = task.Sleep(ctx, time.Millisecond)
		}
		l := loop.FromContext(ctx)
		refused := 0
		for range n {
			if executor.Submit(l, p, nothing).Err() == executor.ErrQueueFull {
				refused++
			}
			if err := task.Yield(ctx); err != nil {
				return err
			}
		}
		var waits []*task.Task[int]
		for range waiters {
			waits = append(waits, task.StartNow(ctx, func(ctx context.Context) (int, error) { return executor.DoIn(ctx, p, nothing) }))
		}
		for i := range waiters / 2 { // half of them give up
			waits[2*i].Cancel(nil)
		}
		if err := task.Sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
		close(open)
		canceled, done := 0, 0
		for _, w := range waits {
			if v, err := w.Await(ctx); err == nil && v == 1 {
				done++
			} else {
				canceled++
			}
		}
		r.faults.Add(int64(refused))
		r.lost.Add(int64(n-refused) + int64(waiters-done-canceled))
		r.check(canceled == waiters/2, "%d were canceled, want %d", canceled, waiters/2)
		r.load("%d jobs submitted to a full pool, %d tasks that wait for a place, half of them canceled", n, waiters)
		r.found("%d got ErrQueueFull, %d of the waiting had their turn", refused, done)
		return shutDownPool(ctx, p)
	})
}

// r61Faulty hands in jobs that return, panic, or call Goexit, and drops some futures.
func r61Faulty(r *run) {
	n := r.n(100_000, 40) / 4 * 4
	p := executor.New(executor.Config{Limit: 4, Queue: -1})
	var ran atomic.Uint64
	job := func(i int) func(context.Context) (int, error) {
		return func(context.Context) (int, error) {
			ran.Add(1)
			switch i % 4 {
			case 1:
				panic(i)
			case 2:
				runtime.Goexit()
			}
			return i, nil
		}
	}
	var jobs []*executor.Job[int]
	dropped := 0
	r.loop(func(ctx context.Context) error {
		for i := range n / 2 {
			jobs = append(jobs, executor.Go(p, job(i)))
			f := executor.Submit(loop.FromContext(ctx), p, job(3))
			if i%2 == 0 && f.Cancel(nil) {
				dropped++
			}
			if i%64 == 0 {
				_ = task.Yield(ctx)
			}
		}
		return shutDownPool(ctx, p)
	})
	for i, j := range jobs {
		v, err := j.Result(r.ctx)
		var pe *coro.PanicError
		ok := err == nil && v == i
		switch i % 4 {
		case 1:
			ok = errors.As(err, &pe) && pe.Value == i && len(pe.Stack) > 0
		case 2:
			ok = err == executor.ErrGoexit
		}
		if !ok {
			r.misdelivered.Add(1)
		}
	}
	s := p.Stats()
	r.faults.Add(int64(s.Panics) + int64(n/8) + int64(dropped))
	r.lost.Add(int64(n) - int64(s.Done) - int64(s.Canceled))
	r.load("%d jobs: of each 8 one panics, one leaves by Goexit, 2 lose their waiter", n)
	r.found("%d ran, %d were canceled before, %d came late, %d panics", s.Done, s.Canceled, s.Late, s.Panics)
	r.check(s.Done == ran.Load(), "%d are done, %d ran", s.Done, ran.Load())
	r.check(s.Panics == uint64(n/8), "%d panics", s.Panics)
}
