package executor_test

import (
	"context"
	"errors"
	"io"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
)

// R59: 200 lookups that hang keep no file job waiting.
func TestR59_StuckLookupsDoNotKeepFilesWaitingTimed(t *testing.T) {
	const lookups, files, most = 200, 1000, 10 * time.Millisecond
	p := newPool(t, executor.Config{Name: "io"})
	dns := p.Lane("dns", executor.LaneConfig{Limit: 16, Queue: 100})
	best := time.Hour
	looptest.RunConfig(t, looptest.Config{Real: true}, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		open := make(chan struct{})
		defer close(open)
		var full int
		for range lookups {
			f := executor.Submit(l, dns, func(context.Context) (int, error) { <-open; return 0, nil })
			if f.Done() && f.Err() == executor.ErrQueueFull {
				full++
			}
		}
		if full != lookups-16-100 {
			t.Errorf("%d lookups were refused, want %d", full, lookups-16-100)
		}
		until(t, "lookups hang", func() bool { return dns.Stats().Running == 16 })
		for range 3 { // a busy machine may be late
			var took []time.Duration
			for range files {
				start := time.Now()
				if _, err := executor.DoIn(ctx, p, nothing); err != nil {
					return err
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			best = min(best, took[files*99/100])
		}
		return nil
	})
	if best > most {
		t.Errorf("the 99th percentile of file jobs is %v, want no more than %v", best, most)
	}
	t.Logf("p99 of file jobs %v", best)
}

func TestLane(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 1, Name: "io"})
	a := p.Lane("a", executor.LaneConfig{Limit: 2, Queue: 1})
	b := p.Lane("b", executor.LaneConfig{})
	if p.Lane("a", executor.LaneConfig{Limit: 5}) != a || !slices.Equal(p.Lanes(), []*executor.Lane{a, b}) {
		t.Errorf("lanes are %v", p.Lanes())
	}
	if p.Name() != "io" || a.Name() != "a" {
		t.Errorf("names are %q and %q", p.Name(), a.Name())
	}
	openA, openP := occupy(a, 2), occupy(p, 1)
	queued := executor.Go(a, nothing)
	if err := executor.Go(a, nothing).Err(); err != executor.ErrQueueFull {
		t.Errorf("error is %v, want ErrQueueFull", err)
	}
	if _, err := executor.Go(b, nothing).Result(t.Context()); err != nil {
		t.Error(err)
	}
	until(t, "that is counted", func() bool { return b.Stats().Running == 0 })
	if s := a.Stats(); s.Running != 2 || s.Queued != 1 || s.Rejected != 1 {
		t.Errorf("stats of the lane are %+v", s)
	}
	checkStats(t, p, executor.Stats{Running: 3, Queued: 1, Done: 1, Rejected: 1})

	// A lane may end alone.
	openA()
	if err := a.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if v, err := queued.Result(t.Context()); v != 1 || err != nil {
		t.Errorf("what was in the queue: %d, %v", v, err)
	}
	if err := executor.Go(a, nothing).Err(); err != executor.ErrClosed {
		t.Errorf("error is %v, want ErrClosed", err)
	}
	if _, err := executor.Go(b, nothing).Result(t.Context()); err != nil {
		t.Error(err)
	}

	// The pool ends its lanes, and those made afterwards.
	g := newGate()
	stuck := executor.Go(b, stuckJob(g))
	<-g.arrived
	over, cancel := context.WithCancelCause(t.Context())
	cancel(io.EOF)
	err := p.ShutdownNow(over)
	var s *executor.ShutdownError
	if !errors.As(err, &s) || len(s.Stuck) != 2 || s.Stuck[0].Lane != "" || s.Stuck[1].Lane != "b" {
		t.Errorf("error is %+v", err)
	}
	err = b.ShutdownNow(over)
	if !errors.As(err, &s) || s.Pool != "io/b" || len(s.Stuck) != 1 || !strings.Contains(string(s.Stuck[0].Stack), "(*gate).block") {
		t.Errorf("error is %+v", err)
	}
	for _, ex := range []executor.Executor{p, b, p.Lane("new", executor.LaneConfig{})} {
		if err := executor.Go(ex, nothing).Err(); err != executor.ErrClosed {
			t.Errorf("error is %v, want ErrClosed", err)
		}
	}
	close(g.open)
	openP()
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := stuck.Result(t.Context()); err != nil {
		t.Error(err)
	}
	testkit.WantPanic(t, "executor: LaneConfig.Limit is negative", func() { p.Lane("bad", executor.LaneConfig{Limit: -1}) })
}

func TestWaitStats(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 1})
	for range 300 { // one after the other: nobody waits, but those who come too early
		if _, err := executor.Go(p, nothing).Result(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all is counted", func() bool { return p.Stats().Running == 0 })
	before := p.Stats()
	open := occupy(p, 1)
	var jobs []*executor.Job[int]
	for range 100 {
		jobs = append(jobs, executor.Go(p, nothing))
	}
	time.Sleep(2 * time.Millisecond) // for them to have waited
	open()
	for _, j := range jobs {
		<-j.Done()
	}
	until(t, "all is counted", func() bool { return p.Stats().Running == 0 })
	s := p.Stats()
	const waited = 2 * time.Millisecond
	if s.Waited-before.Waited < 100*waited || s.WaitMax < waited || s.WaitP99 < waited || s.WaitP99 > s.WaitMax || s.WaitP50 >= waited {
		t.Errorf("100 of the last 256 jobs waited %v: %+v, before %+v", waited, s, before)
	}
	for range 256 {
		jobs = append(jobs, executor.Go(p, nothing))
		<-jobs[len(jobs)-1].Done()
		until(t, "it is counted", func() bool { return p.Stats().Running == 0 })
	}
	if s := p.Stats(); s.WaitP99 != 0 || s.WaitMax < waited {
		t.Errorf("256 jobs later: %+v", s)
	}
}

// Profiles name the pool and the lane of what runs.
func TestLabels(t *testing.T) {
	for _, tt := range []struct{ pool, lane, want string }{
		{"io", "", "io"}, {"io", "dns", "io/dns"}, {"", "dns", "dns"}, {"", "", ""},
	} {
		p := newPool(t, executor.Config{Name: tt.pool})
		var ex executor.Executor = p
		if tt.lane != "" {
			ex = p.Lane(tt.lane, executor.LaneConfig{})
		}
		open := occupy(ex, 1)
		var b strings.Builder
		if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
			t.Fatal(err)
		}
		if want := `{"executor":"` + tt.want + `"}`; strings.Contains(b.String(), want) != (tt.want != "") {
			t.Errorf("%q, %q: want labels %s in\n%s", tt.pool, tt.lane, want, b.String())
		}
		open()
	}
}

// An executor of another kind embeds a pool.
func TestEmbedded(t *testing.T) {
	type remote struct{ *executor.Pool }
	ex := remote{newPool(t, executor.Config{})}
	looptest.Run(t, func(ctx context.Context) error {
		if v, err := executor.DoIn(ctx, ex, nothing); v != 1 || err != nil {
			t.Errorf("got %d, %v", v, err)
		}
		var none *executor.Pool // the default pool
		_, err := executor.Submit(loop.FromContext(ctx), none, nothing).Await(ctx)
		return err
	})
	if s := ex.Stats(); s.Done+uint64(s.Running) != 1 {
		t.Errorf("stats are %+v", s)
	}
}

// A job that will not run lets go of its function and its values, though its future
// is kept.
func TestCanceledJobsKeepNothing(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 1, Queue: 4})
	open := occupy(p, 1)
	defer open()
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		var freed freeCount
		var kept []any
		keep := func(v any) { kept = append(kept, v) }

		f := executor.Submit(l, p, freed.fn())
		f.Cancel(nil)
		keep(f)
		j := executor.Go(p, freed.fn())
		j.Cancel()
		keep(j)
		cutOff := p.Lane("cut off", executor.LaneConfig{Limit: 1})
		openLane := occupy(cutOff, 1)
		posted := executor.Submit(l, cutOff, freed.fn())
		keep(posted)
		keep(executor.Go(cutOff, freed.fn()))
		over, cancel := context.WithCancel(context.Background())
		cancel()
		if err := cutOff.Shutdown(over); err == nil {
			t.Error("no job was cut off")
		}
		openLane()
		if _, err := posted.Await(ctx); !errors.Is(err, executor.ErrClosed) {
			t.Errorf("error is %v, want ErrClosed", err)
		}
		refused := executor.Submit(l, cutOff, freed.fn())
		if err := refused.Err(); err != executor.ErrClosed {
			t.Errorf("error is %v, want ErrClosed", err)
		}
		keep(refused)
		keep(executor.Go(cutOff, freed.fn()))
		done := executor.Go(p, freed.fn()) // waits
		open()
		if _, err := done.Await(ctx); err != nil {
			return err
		}
		keep(done)
		freed.want(t, 7)
		for _, v := range kept[:4] {
			if c, ok := v.(interface{ Canceled() bool }); !ok || !c.Canceled() {
				t.Errorf("%v is not canceled", v)
			}
		}
		return nil
	})
}
