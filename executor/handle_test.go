package executor_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

// newPool returns a pool that must be able to end with the test.
func newPool(t testing.TB, cfg executor.Config) *executor.Pool {
	p := executor.New(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.ShutdownNow(ctx); err != nil {
			t.Errorf("the pool does not end: %v", err)
		}
	})
	return p
}

// occupy fills n places of ex until open is called.
func occupy(ex executor.Executor, n int) (open func()) {
	g := &gate{make(chan struct{}, n), make(chan struct{})}
	for range n {
		executor.Go(ex, g.block)
	}
	for range n {
		<-g.arrived
	}
	return sync.OnceFunc(func() { close(g.open) })
}

func TestJobOutcome(t *testing.T) {
	boom := errors.New("boom")
	bg := context.Background()
	p := newPool(t, executor.Config{Limit: 1}) // shows that a place is not lost
	for _, tt := range []struct {
		name     string
		fn       func(ctx context.Context) (int, error)
		want     int
		is       error
		canceled bool
		text     string
	}{
		{"value", nothing, 1, nil, false, " done"},
		{"error", func(context.Context) (int, error) { return 3, boom }, 3, boom, false, " failed: boom"},
		{"panic", func(context.Context) (int, error) { panic(boom) }, 0, boom, false, " failed: "},
		{"Goexit", func(context.Context) (int, error) { runtime.Goexit(); return 1, nil }, 0, executor.ErrGoexit, false, " failed: "},
		{"cancellation", func(context.Context) (int, error) { return 0, &future.CanceledError{Cause: boom} }, 0, boom, true, " canceled"},
		{"foreign context error", func(context.Context) (int, error) { return 0, context.Canceled }, 0, context.Canceled, false, " failed: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := executor.Go(p, tt.fn)
			v, err := j.Result(bg)
			if v != tt.want || !errors.Is(err, tt.is) {
				t.Errorf("got %d, %v, want %d, %v", v, err, tt.want, tt.is)
			}
			if j.Err() != err || j.Canceled() != tt.canceled || j.Running() || j.Cancel() || j.Interrupt(nil) {
				t.Errorf("afterwards: Err %v, Canceled %v, Running %v", j.Err(), j.Canceled(), j.Running())
			}
			if s := j.String(); !strings.HasPrefix(s, "job ") || !strings.Contains(s, tt.text) {
				t.Errorf("String is %q, want %q in it", s, tt.text)
			}
			select {
			case <-j.Done():
			default:
				t.Error("the channel is not closed")
			}
			called := false
			if j.OnDone(func() { called = true })() || !called {
				t.Error("OnDone of a job that is done did not call at once")
			}
		})
	}
}

func TestJobStates(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 1})
	g := newGate()
	first := executor.Go(p, g.block)
	second := executor.Go(p, nothing)
	<-g.arrived
	for _, tt := range []struct {
		job     executor.AnyJob
		running bool
		text    string
	}{{first, true, "running"}, {second, false, "queued"}} {
		if tt.job.Running() != tt.running || tt.job.Err() != future.ErrNotDone || tt.job.Canceled() || !strings.HasSuffix(tt.job.String(), tt.text) {
			t.Errorf("%v: Running %v, Err %v", tt.job, tt.job.Running(), tt.job.Err())
		}
	}
	if first.Cancel() {
		t.Error("a job that runs was canceled")
	}
	if second.Interrupt(io.EOF) {
		t.Error("a job that has not started was interrupted")
	}
	if !second.Cancel() || second.Cancel() || !second.Canceled() {
		t.Error("a job in the queue was not canceled, once")
	}
	if _, err := second.Result(context.Background()); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want a cancellation", err)
	}
	close(g.open)
	if v, err := first.Result(context.Background()); v != "late" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	until(t, "all is counted", func() bool { return p.Stats().Done == 1 })
	checkStats(t, p, executor.Stats{Done: 1, Canceled: 1})
}

func TestJobInterrupt(t *testing.T) {
	p := newPool(t, executor.Config{})
	for _, cause := range []error{io.EOF, nil} {
		started := make(chan struct{})
		j := executor.Go(p, func(ctx context.Context) (error, error) {
			close(started)
			<-ctx.Done()
			return context.Cause(ctx), ctx.Err()
		})
		<-started
		if !j.Interrupt(cause) || j.Interrupt(cause) {
			t.Error("not interrupted, once")
		}
		told, err := j.Result(context.Background())
		if !j.Canceled() || !errors.Is(err, cmpOr(cause, context.Canceled)) || !errors.Is(told, cmpOr(cause, context.Canceled)) {
			t.Errorf("the job was told %v and ended with %v, want %v", told, err, cause)
		}
	}
}

// The end of the ctx of Result ends the wait, and nothing else.
func TestResultContext(t *testing.T) {
	p := newPool(t, executor.Config{})
	g := newGate()
	j := executor.Go(p, g.block)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(io.EOF)
	if _, err := j.Result(ctx); !errors.Is(err, io.EOF) || !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want EOF and Canceled", err)
	}
	late, stop := context.WithTimeout(context.Background(), time.Millisecond)
	defer stop()
	if _, err := j.Result(late); err != context.DeadlineExceeded {
		t.Errorf("error is %v, want DeadlineExceeded", err)
	}
	close(g.open)
	<-j.Done()
	if v, err := j.Result(ctx); v != "late" || err != nil {
		t.Errorf("a job that is done: %q, %v", v, err)
	}
}

func TestOnDone(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 1})
	open := occupy(p, 1)
	j := executor.Go(p, nothing)
	var mu sync.Mutex
	var got []int
	note := func(i int) func() {
		return func() {
			mu.Lock()
			defer mu.Unlock()
			if j.Err() != nil {
				t.Errorf("in the callback Err is %v", j.Err())
			}
			got = append(got, i)
		}
	}
	j.OnDone(note(0))
	stop := j.OnDone(note(1))
	j.OnDone(note(2))
	if !stop() || stop() {
		t.Error("stop did not prevent the call, once")
	}
	open()
	<-j.Done()
	until(t, "all were called", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 2 })
	if got[0] != 0 || got[1] != 2 {
		t.Errorf("called in order %v, want [0 2]", got)
	}
}

// A callback that panics or leaves by Goexit keeps nobody from being told, and the
// pool from nothing.
func TestOnDoneFaults(t *testing.T) {
	var log lockedBuilder
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(old)
	p := executor.New(executor.Config{Limit: 1})
	for _, queued := range []bool{false, true} {
		open := occupy(p, 1)
		j := executor.Go(p, nothing)
		var n atomic.Int32
		j.OnDone(func() { n.Add(1); panic("ouch") })
		j.OnDone(func() { n.Add(1); runtime.Goexit() })
		j.OnDone(func() { n.Add(1) })
		if queued {
			left := make(chan bool)
			go func() {
				defer close(left)
				j.Cancel()
				t.Error("Goexit did not go on")
			}()
			<-left
		}
		open()
		until(t, "all were called", func() bool { return n.Load() == 3 })
	}
	if _, err := executor.Go(p, nothing).Result(context.Background()); err != nil {
		t.Error(err)
	}
	if err := p.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	checkStats(t, p, executor.Stats{Done: 4, Canceled: 1})
	if s := log.String(); strings.Count(s, "panic in OnDone") != 2 || !strings.Contains(s, "ouch") {
		t.Errorf("logged %q", s)
	}
}

// Many goroutines wait for one job and try to cancel it: one outcome, one winner.
func TestJobRaces(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 2})
	for range 500 {
		j := executor.Go(p, nothing)
		var wg sync.WaitGroup
		var canceled, told atomic.Int32
		for i := range 4 {
			wg.Go(func() {
				if i == 0 && j.Cancel() {
					canceled.Add(1)
				}
				j.OnDone(func() { told.Add(1) })
				v, err := j.Result(context.Background())
				if j.Canceled() != errors.Is(err, context.Canceled) || err == nil && v != 1 {
					t.Errorf("got %d, %v", v, err)
				}
			})
		}
		wg.Wait()
		if j.Canceled() != (canceled.Load() == 1) {
			t.Error("Cancel and Canceled do not agree")
		}
		until(t, "all are told", func() bool { return told.Load() == 4 })
	}
}

func TestJobAwait(t *testing.T) {
	p := newPool(t, executor.Config{})
	looptest.Run(t, func(ctx context.Context) error {
		g := newGate()
		j := executor.Go(p, g.block)
		<-g.arrived
		waits := task.StartNow(ctx, j.Await)
		gives := task.StartNow(ctx, j.Await)
		gives.Cancel(io.EOF)
		if _, err := gives.Await(ctx); future.AsCanceled(err) == nil || !errors.Is(err, io.EOF) {
			t.Errorf("error is %v, want a cancellation by EOF", err)
		}
		if j.Err() != future.ErrNotDone || waits.Done() {
			t.Error("the cancellation of one who waits has ended the job")
		}
		close(g.open)
		if v, err := waits.Await(ctx); v != "late" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
		if n := loop.FromContext(ctx).Stats().Outside; n != 0 {
			t.Errorf("%d outside, want 0", n)
		}
		v, err := j.Await(ctx)
		if v != "late" {
			t.Errorf("once more: %q, %v", v, err)
		}
		return err
	})
}

// An await of a job that runs holds virtual time, as any job does.
func TestJobAwaitHoldsTime(t *testing.T) {
	p := newPool(t, executor.Config{})
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		l.CallLater(time.Hour, func() {})
		start, g := l.Now(), newGate()
		go func() {
			<-g.arrived
			time.Sleep(5 * time.Millisecond) // so that the loop has nothing to do
			close(g.open)
		}()
		_, err := executor.Go(p, g.block).Await(ctx)
		if d := l.Now().Sub(start); d != 0 {
			t.Errorf("%v passed while a job was awaited", d)
		}
		return err
	})
}

func TestJobFuture(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 1})
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		g := newGate()
		first, second := executor.Go(p, g.block), executor.Go(p, g.block)
		<-g.arrived
		runs, waits, other := first.Future(l), second.Future(l), second.Future(l)
		for _, f := range []*future.Future[string]{runs, waits} {
			if !f.Cancel(io.EOF) || !f.Canceled() || f.Cancel(nil) {
				t.Errorf("%v: not canceled at once, once", f)
			}
		}
		if first.Err() != future.ErrNotDone || !second.Canceled() {
			t.Errorf("after the cancellation: %v, %v", first, second)
		}
		if _, err := other.Await(ctx); future.AsCanceled(err) == nil {
			t.Errorf("error is %v, want a cancellation", err)
		}
		close(g.open)
		if v, err := first.Future(l).Await(ctx); v != "late" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
		if f := first.Future(l); !f.Done() {
			t.Error("the future of a job that is done is not settled")
		}
		failed := executor.Go(p, failing)
		<-failed.Done()
		if f := failed.Future(l); f.State() != future.Failed || f.Err() != failed.Err() {
			t.Errorf("future is %v", f)
		}
		if n := l.Stats().Outside; n != 0 {
			t.Errorf("%d outside, want 0", n)
		}
		return nil
	})
}

// A job whose loop is closed when it ends hurts nobody.
func TestJobAfterItsLoop(t *testing.T) {
	p := newPool(t, executor.Config{})
	g := newGate()
	j := executor.Go(p, g.block)
	looptest.Run(t, func(ctx context.Context) error {
		task.StartNow(ctx, j.Await)
		j.Future(loop.FromContext(ctx))
		return nil
	})
	close(g.open)
	if v, err := j.Result(context.Background()); v != "late" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
}

func TestJobMisuse(t *testing.T) {
	p := newPool(t, executor.Config{})
	bg := context.Background()
	testkit.WantPanic(t, "executor: Go without an executor", func() { executor.Go(nil, nothing) })
	testkit.WantPanic(t, "executor: Go without an executor", func() { executor.Go((*executor.Pool)(nil), nothing) })
	testkit.WantPanic(t, "executor: job without a function", func() { executor.Go[int](p, nil) })
	j := executor.Go(p, nothing)
	<-j.Done()
	testkit.WantPanic(t, "executor: OnDone with a nil function", func() { j.OnDone(nil) })
	g := newGate()
	slow := executor.Go(p, g.block)
	defer close(g.open)
	testkit.WantPanic(t, "executor: Job.Await outside of a task", func() { slow.Await(bg) })
	looptest.Run(t, func(ctx context.Context) error {
		for what, fn := range map[string]func(context.Context){
			"executor: Job.Result blocks":  func(ctx context.Context) { slow.Result(ctx) },
			"executor: Wait blocks":        func(ctx context.Context) { executor.Wait(ctx, executor.AllCompleted, slow) },
			"executor: AsCompleted blocks": func(ctx context.Context) { executor.AsCompleted(ctx, slow)(nil) },
			"executor: With blocks":        func(ctx context.Context) { executor.With(ctx, executor.Config{}, nil) },
			"executor: Map blocks": func(ctx context.Context) {
				executor.Map(ctx, p, func(func(int) bool) {}, square, executor.MapConfig{})(nil)
			},
		} {
			sub, cancel := context.WithTimeout(ctx, time.Hour)
			testkit.WantPanic(t, what, func() { fn(ctx) })
			testkit.WantPanic(t, what, func() { fn(sub) })
			cancel()
			loop.FromContext(ctx).CallSoon(func() {
				testkit.WantPanic(t, what, func() { fn(loop.FromContext(ctx).Context()) })
			})
		}
		if v, err := j.Result(ctx); v != 1 || err != nil {
			t.Errorf("a job that is done: %d, %v", v, err)
		}
		return task.Sleep(ctx, 0)
	})
}

func square(_ context.Context, v int) (int, error) { return v * v, nil }

func TestWith(t *testing.T) {
	bg := context.Background()
	for _, tt := range []struct {
		name   string
		fn     func(p *executor.Pool) error
		is     error
		panics any
		ran    bool // what was in the queue
	}{
		{"returns", func(*executor.Pool) error { return nil }, nil, nil, true},
		{"fails", func(*executor.Pool) error { return io.EOF }, io.EOF, nil, false},
		{"panics", func(*executor.Pool) error { panic("ouch") }, nil, "ouch", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var pool *executor.Pool
			var told, last executor.AnyJob
			var err error
			func() {
				defer func() {
					if v := recover(); v != tt.panics {
						t.Errorf("panic is %v, want %v", v, tt.panics)
					}
				}()
				err = executor.With(bg, executor.Config{Limit: 1}, func(p *executor.Pool) error {
					pool = p
					started := make(chan struct{})
					told = executor.Go(p, func(ctx context.Context) (int, error) {
						close(started)
						if tt.ran {
							return 1, nil
						}
						<-ctx.Done()
						return 0, ctx.Err()
					})
					<-started
					last = executor.Go(p, nothing)
					return tt.fn(p)
				})
			}()
			if err != tt.is {
				t.Errorf("error is %v, want %v", err, tt.is)
			}
			if told.Canceled() == tt.ran || last.Canceled() == tt.ran {
				t.Errorf("afterwards: %v, %v", told, last)
			}
			if err := executor.Go(pool, nothing).Err(); err != executor.ErrClosed {
				t.Errorf("afterwards Go fails with %v, want ErrClosed", err)
			}
		})
	}
	// Both errors are kept.
	ctx, cancel := context.WithCancel(bg)
	g := newGate()
	err := executor.With(ctx, executor.Config{}, func(p *executor.Pool) error {
		executor.Go(p, g.block)
		<-g.arrived
		cancel()
		return io.EOF
	})
	var s *executor.ShutdownError
	if !errors.Is(err, io.EOF) || !errors.As(err, &s) {
		t.Errorf("error is %v, want EOF and a ShutdownError", err)
	}
	close(g.open)
}

func TestJobAllocs(t *testing.T) {
	p := newPool(t, executor.Config{})
	bg := context.Background()
	least := 100.0
	for range 10 { // the runtime may be busy with what other tests have left
		least = min(least, testing.AllocsPerRun(100, func() {
			j := executor.Go(p, nothing)
			for j.Err() == future.ErrNotDone {
				runtime.Gosched()
			}
			if _, err := j.Result(bg); err != nil {
				t.Error(err)
			}
		}))
	}
	if least > 1 {
		t.Errorf("Go allocates %v times, want once", least)
	}
}
