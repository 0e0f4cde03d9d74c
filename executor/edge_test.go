package executor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

func TestEdge137_CancelingAFutureDoesNotStopItsFunction(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 1})
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		g := newGate()
		ended := make(chan struct{})
		runs := executor.Submit(l, p, func(ctx context.Context) (string, error) {
			defer close(ended)
			return g.block(ctx)
		})
		<-g.arrived
		never := executor.Submit(l, p, func(context.Context) (int, error) {
			t.Error("a job that was canceled before it started ran")
			return 0, nil
		})
		for _, f := range []future.Waiter{runs, never} {
			if !f.Cancel(nil) || !f.Canceled() {
				t.Errorf("%v is not canceled", f)
			}
		}
		checkStats(t, p, executor.Stats{Running: 1, Canceled: 1})
		close(g.open)
		<-ended // it went on to its end
		until(t, "it is counted", func() bool { return p.Stats().Done == 1 })
		checkStats(t, p, executor.Stats{Done: 1, Late: 1, Canceled: 1})
		return nil
	})
}

// who is a task-local variable.
var who = task.NewVarDefault("who", "nobody")

func TestEdge138_DoCarriesTheContextAndSubmitDoesNot(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		p := newPool(t, executor.Config{})
		ctx = context.WithValue(ctx, ctxKey{}, "kept")
		who.Set(ctx, "me")
		see := func(ctx context.Context) (string, error) {
			return fmt.Sprint(ctx.Value(ctxKey{}), " ", who.Get(ctx)), nil
		}
		for what, tt := range map[string]struct {
			got  func() (string, error)
			want string
		}{
			"Do":     {func() (string, error) { return executor.Do(ctx, see) }, "kept me"},
			"DoIn":   {func() (string, error) { return executor.DoIn(ctx, p, see) }, "kept me"},
			"Submit": {func() (string, error) { return executor.Submit(l, p, see).Await(ctx) }, "<nil> nobody"},
			"Go":     {func() (string, error) { return executor.Go(p, see).Await(ctx) }, "<nil> nobody"},
		} {
			if got, err := tt.got(); got != tt.want || err != nil {
				t.Errorf("%s: the value is %s, %v, want %s", what, got, err, tt.want)
			}
		}
		return nil
	})
}

func TestEdge139_Executors(t *testing.T) {
	t.Run("refuse after a shutdown", func(t *testing.T) {
		p := executor.New(executor.Config{})
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := executor.Go(p, nothing).Err(); err != executor.ErrClosed {
			t.Errorf("error is %v, want ErrClosed", err)
		}
	})
	t.Run("cancel what is queued", func(t *testing.T) {
		p := executor.New(executor.Config{Limit: 1})
		open := occupy(p, 1)
		j := executor.Go(p, nothing)
		j.OnDone(open) // the shutdown waits for the other
		if err := p.ShutdownNow(t.Context()); err != nil {
			t.Error(err)
		}
		if !j.Canceled() || !errors.Is(j.Err(), executor.ErrClosed) {
			t.Errorf("%v, want it canceled by ErrClosed", j)
		}
	})
	t.Run("reuse idle workers", func(t *testing.T) {
		var made atomic.Int32
		p := newPool(t, executor.Config{Limit: 8, Init: func(context.Context) (any, error) { return made.Add(1), nil }})
		for range 50 {
			if _, err := executor.Go(p, nothing).Result(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := made.Load(); n > 2 {
			t.Errorf("%d workers for jobs one after the other", n)
		}
	})
	t.Run("break with the initializer", func(t *testing.T) {
		p := executor.New(executor.Config{Init: func(context.Context) (any, error) { return nil, io.EOF }})
		for range 2 {
			if _, err := executor.Go(p, nothing).Result(t.Context()); !errors.Is(err, executor.ErrBroken) || !errors.Is(err, io.EOF) {
				t.Errorf("error is %v, want ErrBroken by EOF", err)
			}
		}
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// R58: a shutdown returns when its time is up, with the stuck jobs' stacks, and at
// once when all is done, whatever its deadline.
func TestR58_ShutdownKeepsItsDeadlineAndReturnsEarlyTimed(t *testing.T) {
	const patience, grace = 50 * time.Millisecond, 20 * time.Millisecond
	late, early := time.Hour, time.Hour
	for range 5 { // a busy machine may be late
		p := executor.New(executor.Config{Name: "disk"})
		lane := p.Lane("lane", executor.LaneConfig{Limit: 10})
		var opens []func()
		for range 10 {
			opens = append(opens, occupy(lane, 1))
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := p.Shutdown(ctx)
		cancel()
		late = min(late, time.Since(start)-patience)
		var s *executor.ShutdownError
		if !errors.As(err, &s) || !errors.Is(err, context.DeadlineExceeded) || len(s.Stuck) != 10 || time.Since(start) < patience {
			t.Fatalf("error is %v", err)
		}
		for _, j := range s.Stuck {
			if len(j.Stack) == 0 || j.Lane != "lane" {
				t.Errorf("stuck is %+v", j)
			}
		}
		go func() {
			time.Sleep(5 * time.Millisecond) // it waits
			for _, open := range opens {
				open()
			}
		}()
		start = time.Now()
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		if err := p.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		early = min(early, time.Since(start)-5*time.Millisecond)
	}
	if late > grace || early > grace {
		t.Errorf("a shutdown was %v late, and took %v after the last job, want no more than %v", late, early, grace)
	}
	t.Logf("late by %v; %v after the last job", late, early)
}

// R60: handing in never blocks: with a full queue there is an error, or the task,
// and only the task, waits.
func TestR60_AFullPoolNeverBlocksTheLoop(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 1, Queue: 1})
	lane := p.Lane("lane", executor.LaneConfig{Limit: 1, Queue: 1})
	for _, ex := range []executor.Executor{p, lane} {
		looptest.Run(t, func(ctx context.Context) error {
			l := loop.FromContext(ctx)
			open := occupy(ex, 1)
			queued := executor.Go(ex, nothing)
			for range 100 {
				if err := executor.Submit(l, ex, nothing).Err(); err != executor.ErrQueueFull {
					t.Errorf("error is %v, want ErrQueueFull", err)
				}
				if err := executor.Go(ex, nothing).Err(); err != executor.ErrQueueFull {
					t.Errorf("error is %v, want ErrQueueFull", err)
				}
			}
			waits := task.StartNow(ctx, func(ctx context.Context) (int, error) { return executor.DoIn(ctx, ex, nothing) })
			gives := task.StartNow(ctx, func(ctx context.Context) (int, error) {
				ctx, cancel := task.WithTimeout(ctx, time.Second)
				defer cancel()
				return executor.DoIn(ctx, ex, nothing)
			})
			for range 100 { // the loop goes on
				if err := task.Yield(ctx); err != nil {
					return err
				}
			}
			if waits.Done() || gives.Done() {
				t.Error("Do did not wait")
			}
			gives.Cancel(nil)
			if _, err := gives.Await(ctx); future.AsCanceled(err) == nil {
				t.Errorf("error is %v, want a cancellation", err)
			}
			open()
			if v, err := waits.Await(ctx); v != 1 || err != nil {
				t.Errorf("got %d, %v", v, err)
			}
			_, err := queued.Await(ctx)
			return err
		})
	}
}

// R61: 100,000 jobs that panic, leave by Goexit, or come too late: each is accounted
// for, and the pool is as good as new.
func TestR61_FaultyAndLateJobsAreAccountedFor(t *testing.T) {
	n := 100_000
	if raceEnabled {
		n = 20_000
	}
	for _, kept := range []bool{false, true} {
		t.Run(fmt.Sprintf("goroutines stay %v", kept), func(t *testing.T) {
			cfg := executor.Config{Limit: 4, Queue: -1}
			if kept {
				cfg.Init = func(context.Context) (any, error) { return nil, nil }
			}
			p := executor.New(cfg)
			var ran [4]atomic.Uint64
			job := func(i int) func(context.Context) (int, error) {
				return func(context.Context) (int, error) {
					ran[i%4].Add(1)
					switch i % 4 {
					case 1:
						panic(i)
					case 2:
						runtime.Goexit()
					}
					return i, nil
				}
			}
			jobs := make([]*executor.Job[int], 0, n/2)
			gone := 0
			looptest.RunConfig(t, looptest.Config{Real: true}, func(ctx context.Context) error {
				for i := range n / 2 {
					jobs = append(jobs, executor.Go(p, job(i)))
					f := executor.Submit(loop.FromContext(ctx), p, job(3))
					if i%2 == 0 && f.Cancel(nil) {
						gone++ // whoever waited has gone
					}
				}
				return nil // and so has the loop
			})
			if err := p.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i, j := range jobs {
				v, err := j.Result(t.Context())
				var pe *coro.PanicError
				ok := err == nil && v == i
				switch i % 4 {
				case 1:
					ok = errors.As(err, &pe) && pe.Value == i && len(pe.Stack) > 0
				case 2:
					ok = err == executor.ErrGoexit
				}
				if !ok {
					t.Fatalf("job %d: %d, %v", i, v, err)
				}
			}
			s := p.Stats()
			total := ran[0].Load() + ran[1].Load() + ran[2].Load() + ran[3].Load()
			if s.Done != total || s.Done+s.Canceled != uint64(n) || s.Panics != uint64(n/8) || s.Canceled > uint64(gone) {
				t.Errorf("of %d jobs %d ran, %d lost their waiter; stats %+v", n, total, gone, s)
			}
		})
	}
}

// What is handed in when the loop is past closing its executors is refused, and
// leaves nothing: TestMain looks for goroutines.
func TestDefaultPoolMadeTooLate(t *testing.T) {
	l, err := loop.New(loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var late error
	var p *executor.Pool
	hang := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
	l.OnClose(func(context.Context) error { // posts are still taken, and this one is made last
		return l.CallSoonThreadsafe(func() {
			late = executor.Submit(l, nil, hang).Err()
			p = executor.Default(l)
		})
	})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if late != executor.ErrClosed {
		t.Errorf("error is %v, want ErrClosed", late)
	}
	checkStats(t, p, executor.Stats{Rejected: 1})
}

// One that is made by another function of OnClose is shut down.
func TestDefaultPoolMadeWhileClosing(t *testing.T) {
	l, err := loop.New(loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var p *executor.Pool
	l.OnClose(func(context.Context) error {
		p = executor.Default(l)
		g := newGate()
		executor.Submit(l, nil, func(ctx context.Context) (int, error) { g.arrived <- struct{}{}; <-ctx.Done(); return 0, nil })
		<-g.arrived
		return nil
	})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	checkStats(t, p, executor.Stats{Done: 1})
}
