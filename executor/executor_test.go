package executor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

func TestMain(m *testing.M) {
	runHelper(os.Getenv("EDDY_TEST_HELPER"))
	// A worker under -race would take a second to exit.
	_ = os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	executor.WorkerMain() // the workers of the tests of ProcessPool are this test
	goleak.VerifyTestMain(m)
}

// A gate is what a blocked job waits for; it says when the job has come to it.
type gate struct{ arrived, open chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}, 1), make(chan struct{})} }

// block is a job that ends when the gate opens, whatever its ctx says.
func (g *gate) block(context.Context) (string, error) {
	g.arrived <- struct{}{}
	<-g.open
	return "late", nil
}

// until waits, off the loop or blocking it, for what other goroutines will do.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func checkStats(t *testing.T, p *executor.Pool, want executor.Stats) {
	t.Helper()
	got := p.Stats()
	got.Waited, got.WaitMax, got.WaitP50, got.WaitP99 = 0, 0, 0, 0
	if got != want {
		t.Errorf("stats are %+v, want %+v", got, want)
	}
}

func TestOutcome(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct {
		name  string
		fn    func(ctx context.Context) (int, error)
		want  int
		is    error
		state future.State
		panic string
	}{
		{name: "value", fn: func(context.Context) (int, error) { return 7, nil }, want: 7, state: future.Resolved},
		{name: "error", fn: func(context.Context) (int, error) { return 0, fmt.Errorf("x: %w", boom) }, is: boom, state: future.Failed},
		{name: "value and error", fn: func(context.Context) (int, error) { return 7, boom }, is: boom, state: future.Failed},
		{name: "panic", fn: func(context.Context) (int, error) { panic("ouch") }, state: future.Failed, panic: "ouch"},
		{name: "panic with an error", fn: func(context.Context) (int, error) { panic(boom) }, is: boom, state: future.Failed, panic: "boom"},
		{name: "Goexit", fn: func(context.Context) (int, error) { runtime.Goexit(); return 1, nil }, is: executor.ErrGoexit, state: future.Failed},
		{name: "FailNow", fn: func(context.Context) (int, error) { new(testing.T).FailNow(); return 1, nil }, is: executor.ErrGoexit, state: future.Failed},
		{name: "cancellation", fn: func(context.Context) (int, error) { return 0, &future.CanceledError{Cause: boom} }, is: boom, state: future.Canceled},
		{name: "foreign context error", fn: func(context.Context) (int, error) { return 0, context.Canceled }, is: context.Canceled, state: future.Failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check := func(got int, err error) {
				t.Helper()
				if tt.state == future.Resolved && (got != tt.want || err != nil) {
					t.Errorf("got %d, %v, want %d", got, err, tt.want)
				}
				if tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("error is %v, want %v", err, tt.is)
				}
				var p *coro.PanicError
				if errors.As(err, &p) != (tt.panic != "") {
					t.Fatalf("error is %#v, want a panic: %v", err, tt.panic != "")
				}
				if p != nil && (fmt.Sprint(p.Value) != tt.panic || !strings.Contains(string(p.Stack), "TestOutcome")) {
					t.Errorf("panic is %v, want %v, with a stack of the job:\n%s", p.Value, tt.panic, p.Stack)
				}
			}
			looptest.Run(t, func(ctx context.Context) error {
				// Limit 1 shows that a place is not lost.
				p := executor.New(executor.Config{Limit: 1})
				for range 3 {
					f := executor.Submit(loop.FromContext(ctx), p, tt.fn)
					check(f.Await(ctx))
					if f.State() != tt.state {
						t.Errorf("state is %v, want %v", f.State(), tt.state)
					}
					check(executor.DoIn(ctx, p, tt.fn))
					check(executor.Do(ctx, tt.fn))
				}
				var panics uint64
				if tt.panic != "" {
					panics = 6
				}
				until(t, "the last job is counted", func() bool { return p.Stats().Done == 6 })
				checkStats(t, p, executor.Stats{Done: 6, Panics: panics})
				return nil
			})
		})
	}
}

// A queue behind jobs that leave by Goexit goes on.
func TestGoexitInTheMiddle(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		p := executor.New(executor.Config{Limit: 2})
		var fs []*future.Future[int]
		for i := range 100 {
			fs = append(fs, executor.Submit(loop.FromContext(ctx), p, func(context.Context) (int, error) {
				if i%3 == 0 {
					runtime.Goexit()
				}
				return i, nil
			}))
		}
		for i, f := range fs {
			v, err := f.Await(ctx)
			if i%3 == 0 && err != executor.ErrGoexit || i%3 != 0 && v != i {
				t.Errorf("job %d: %d, %v", i, v, err)
			}
		}
		return nil
	})
}

func TestStartOrder(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		p := executor.New(executor.Config{Limit: 1})
		g := newGate()
		executor.Submit(l, p, g.block)
		var got, want []int
		note := func(i int) func(context.Context) (int, error) {
			want = append(want, i)
			return func(context.Context) (int, error) {
				got = append(got, i) // one at a time, so no race
				return i, nil
			}
		}
		err := task.Scope(ctx, func(ctx context.Context, gr *task.Group) error {
			for i := 0; i < 100; i += 2 {
				executor.Submit(l, p, note(i))
				fn := note(i + 1)
				task.StartNow(ctx, func(ctx context.Context) (int, error) { return executor.DoIn(ctx, p, fn) })
			}
			close(g.open)
			_, err := executor.DoIn(ctx, p, note(100))
			return err
		})
		if !slices.Equal(got, want) {
			t.Errorf("started in order %v, want %v", got, want)
		}
		return err
	})
}

func TestLimit(t *testing.T) {
	const limit = 3
	looptest.Run(t, func(ctx context.Context) error {
		p := executor.New(executor.Config{Limit: limit})
		var now, most atomic.Int32
		full := make(chan struct{})
		var fs []*future.Future[int]
		for range 50 {
			fs = append(fs, executor.Submit(loop.FromContext(ctx), p, func(context.Context) (int, error) {
				n := now.Add(1)
				defer now.Add(-1)
				if n > most.Load() {
					most.Store(n)
				}
				if n == limit {
					select {
					case <-full:
					default:
						close(full)
					}
				}
				<-full
				return 0, nil
			}))
		}
		_, err := task.Gather(ctx, fs...)
		if most.Load() != limit {
			t.Errorf("%d jobs ran at a time, want %d", most.Load(), limit)
		}
		return err
	})
}

func TestConfig(t *testing.T) {
	mustPanic(t, "executor: Config.Limit is negative", func() { executor.New(executor.Config{Limit: -1}) })
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		for _, tt := range []struct {
			cfg     executor.Config
			running int
			queued  int // of 200,000
		}{
			{executor.Config{}, min(32, runtime.NumCPU()+4), 1 << 16},
			{executor.Config{Limit: 2, Queue: 3}, 2, 3},
			{executor.Config{Limit: 1, Queue: -1}, 1, 200_000 - 1},
		} {
			p := executor.New(tt.cfg)
			open := make(chan struct{})
			var kept []*future.Future[int]
			for range 200_000 {
				f := executor.Submit(l, p, func(context.Context) (int, error) { <-open; return 0, nil })
				if f.Done() {
					if err := f.Err(); err != executor.ErrQueueFull {
						t.Fatalf("error is %v, want ErrQueueFull", err)
					}
					continue
				}
				kept = append(kept, f)
			}
			until(t, "jobs run", func() bool { return p.Stats().Running == tt.running })
			checkStats(t, p, executor.Stats{
				Running: tt.running, Queued: tt.queued, Rejected: uint64(200_000 - tt.running - tt.queued),
			})
			for _, f := range kept[tt.running:] {
				f.Cancel(nil)
			}
			close(open)
			for _, f := range kept[:tt.running] {
				f.Await(ctx)
			}
		}
		return nil
	})
}

func TestQueueFullAndDo(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		p := executor.New(executor.Config{Limit: 1, Queue: 1})
		g := newGate()
		first := executor.Submit(l, p, g.block)
		second := executor.Submit(l, p, func(context.Context) (string, error) { return "second", nil })
		if err := executor.Submit(l, p, g.block).Err(); err != executor.ErrQueueFull {
			t.Errorf("error is %v, want ErrQueueFull", err)
		}
		waits := task.StartNow(ctx, func(ctx context.Context) (string, error) {
			return executor.DoIn(ctx, p, func(context.Context) (string, error) { return "third", nil })
		})
		gone := task.StartNow(ctx, func(ctx context.Context) (string, error) {
			return executor.DoIn(ctx, p, func(context.Context) (string, error) {
				t.Error("a canceled job ran")
				return "", nil
			})
		})
		gone.Cancel(io.EOF)
		if _, err := gone.Await(ctx); future.AsCanceled(err) == nil || !errors.Is(err, io.EOF) {
			t.Errorf("error is %v, want a cancellation by EOF", err)
		}
		if waits.Done() {
			t.Error("Do did not wait")
		}
		<-g.arrived
		checkStats(t, p, executor.Stats{Running: 1, Queued: 2, Canceled: 1, Rejected: 1})
		close(g.open)
		got, err := task.Gather(ctx, first, second, waits.Future)
		if want := []string{"late", "second", "third"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if p.Stats().Waited <= 0 {
			t.Error("nobody has waited")
		}
		return err
	})
}

func TestCancelQueued(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		p := executor.New(executor.Config{Limit: 1})
		g := newGate()
		first := executor.Submit(l, p, g.block)
		<-g.arrived
		var fs []*future.Future[int]
		for i := range 5 {
			fs = append(fs, executor.Submit(l, p, func(context.Context) (int, error) { return i, nil }))
		}
		for _, i := range []int{2, 0, 4} { // in the middle and at both ends
			if !fs[i].Cancel(io.EOF) || !fs[i].Canceled() || fs[i].Cancel(nil) {
				t.Errorf("job %d was not canceled, once", i)
			}
		}
		checkStats(t, p, executor.Stats{Running: 1, Queued: 2, Canceled: 3})
		close(g.open)
		if v, err := first.Await(ctx); v != "late" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
		got, err := task.Gather(ctx, fs[1], fs[3])
		if !slices.Equal(got, []int{1, 3}) {
			t.Errorf("got %v, want [1 3]", got)
		}
		until(t, "all is counted", func() bool { return p.Stats().Done == 3 })
		checkStats(t, p, executor.Stats{Done: 3, Canceled: 3})
		return err
	})
}

func TestCancelRunning(t *testing.T) {
	for _, cause := range []error{io.EOF, nil} {
		t.Run(fmt.Sprint(cause), func(t *testing.T) {
			looptest.Run(t, func(ctx context.Context) error {
				p := executor.New(executor.Config{})
				started, told, open := make(chan struct{}), make(chan error, 1), make(chan struct{})
				f := executor.Submit(loop.FromContext(ctx), p, func(ctx context.Context) (int, error) {
					close(started)
					<-ctx.Done()
					if ctx.Err() != context.Canceled {
						t.Errorf("Err is %v", ctx.Err())
					}
					told <- context.Cause(ctx)
					<-open
					return 1, errors.New("late")
				})
				<-started
				if !f.Cancel(cause) || !f.Canceled() {
					t.Error("the future is not canceled at once")
				}
				if got := <-told; cause != nil && got != cause || !errors.Is(got, cmpOr(cause, context.Canceled)) {
					t.Errorf("the job was told %v, want %v", got, cause)
				}
				if f.Cancel(nil) {
					t.Error("canceled twice")
				}
				// It is still there, but the loop does not wait for it.
				checkStats(t, p, executor.Stats{Running: 1})
				if n := loop.FromContext(ctx).Stats().Outside; n != 0 {
					t.Errorf("%d outside, want 0", n)
				}
				close(open)
				until(t, "the job ends", func() bool { return p.Stats().Done == 1 })
				checkStats(t, p, executor.Stats{Done: 1, Late: 1})
				return nil
			})
		})
	}
}

func cmpOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func TestCancelDone(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		p := executor.New(executor.Config{})
		f := executor.Submit(loop.FromContext(ctx), p, nothing)
		if _, err := f.Await(ctx); err != nil {
			return err
		}
		if f.Cancel(nil) || f.Canceled() {
			t.Error("a job that is done was canceled")
		}
		// One that has ended, but whose end the loop has not seen, can be.
		f = executor.Submit(loop.FromContext(ctx), p, nothing)
		until(t, "the job ends", func() bool { return p.Stats().Done == 2 })
		if !f.Cancel(nil) {
			t.Error("not canceled")
		}
		if err := task.Yield(ctx); err != nil {
			return err
		}
		for p.Stats().Late == 0 {
			if err := task.Yield(ctx); err != nil {
				return err
			}
		}
		checkStats(t, p, executor.Stats{Done: 2, Late: 1})
		return nil
	})
}

func TestCancelDo(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		g := newGate()
		p := executor.New(executor.Config{})
		tk := task.StartNow(ctx, func(ctx context.Context) (string, error) { return executor.DoIn(ctx, p, g.block) })
		<-g.arrived
		tk.Cancel(io.EOF)
		if _, err := tk.Await(ctx); future.AsCanceled(err) == nil || !errors.Is(err, io.EOF) {
			t.Errorf("error is %v, want a cancellation by EOF", err)
		}
		close(g.open)
		until(t, "the job ends", func() bool { return p.Stats().Done == 1 })
		checkStats(t, p, executor.Stats{Done: 1, Late: 1})
		return nil
	})
}

func TestScopes(t *testing.T) {
	looptest.RunConfig(t, looptest.Config{Real: true}, func(ctx context.Context) error {
		p := executor.New(executor.Config{})
		told := make(chan error, 1)
		listen := func(ctx context.Context) (int, error) {
			<-ctx.Done()
			told <- context.Cause(ctx)
			return 1, nil
		}
		for _, tt := range []struct {
			name string
			do   func() error
		}{
			{"WithTimeout", func() error {
				sub, cancel := task.WithTimeout(ctx, 5*time.Millisecond)
				defer cancel()
				_, err := executor.DoIn(sub, p, listen)
				before := p.Stats()
				// Its scope has ended: nothing starts.
				if _, err := executor.DoIn(sub, p, nothing); err != task.ErrTimeout {
					t.Errorf("error is %v, want ErrTimeout", err)
				}
				if after := p.Stats(); after.Canceled != before.Canceled || after.Queued > 0 {
					t.Errorf("a job was handed in: %+v", after)
				}
				return err
			}},
			{"Timeout", func() error {
				return task.Timeout(ctx, 5*time.Millisecond, func(ctx context.Context, _ *task.TimeoutScope) error {
					_, err := executor.DoIn(ctx, p, listen)
					return err
				})
			}},
		} {
			for { // until the job starts in time
				canceled := p.Stats().Canceled
				if err := tt.do(); err != task.ErrTimeout {
					t.Errorf("%s: error is %v, want ErrTimeout", tt.name, err)
				}
				if p.Stats().Canceled == canceled {
					break
				}
			}
			if err := <-told; err != task.ErrTimeout {
				t.Errorf("%s: the job was told %v, want ErrTimeout", tt.name, err)
			}
		}
		until(t, "the jobs end", func() bool { return p.Stats().Done == 2 })
		if late := p.Stats().Late; late != 2 {
			t.Errorf("%d jobs were late, want 2", late)
		}
		return nil
	})
}

// 10,000 jobs of two loops, canceled at random: each is accounted for.
func TestAllAccounted(t *testing.T) {
	const each = 5000
	p := executor.New(executor.Config{Limit: 4, Queue: 500})
	var ran atomic.Uint64
	var counts [2]map[string]int
	var wg sync.WaitGroup
	for i := range counts {
		wg.Go(func() {
			count := make(map[string]int)
			counts[i] = count
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			err := task.Run(context.Background(), func(ctx context.Context) error {
				l := loop.FromContext(ctx)
				var fs []*future.Future[int]
				for n := range each {
					fs = append(fs, executor.Submit(l, p, func(context.Context) (int, error) {
						ran.Add(1)
						switch n % 10 {
						case 0:
							panic(n)
						case 1:
							runtime.Goexit()
						}
						return n, nil
					}))
					if rng.IntN(4) == 0 {
						fs[rng.IntN(n+1)].Cancel(nil)
					}
					if rng.IntN(10) == 0 {
						task.Yield(ctx)
					}
				}
				for n, f := range fs {
					v, err := f.Await(ctx)
					var p *coro.PanicError
					switch {
					case err == nil && v == n:
						count["value"]++
					case f.Canceled():
						count["canceled"]++
					case err == executor.ErrQueueFull:
						count["full"]++
					case err == executor.ErrGoexit && n%10 == 1:
						count["goexit"]++
					case errors.As(err, &p) && p.Value == n && n%10 == 0:
						count["panic"]++
					default:
						t.Errorf("job %d: %d, %v", n, v, err)
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := p.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	s := p.Stats()
	sum := func(what ...string) (n uint64) {
		for _, c := range counts {
			for _, w := range what {
				n += uint64(c[w])
			}
		}
		return n
	}
	if s.Running != 0 || s.Queued != 0 || s.Done+s.Canceled+s.Rejected != 2*each || s.Done != ran.Load() ||
		s.Rejected != sum("full") || s.Done-s.Late != sum("value", "goexit", "panic") ||
		s.Canceled+s.Late != sum("canceled") || s.Panics < sum("panic") {
		t.Errorf("%d ran; stats %+v do not agree with outcomes %v", ran.Load(), s, counts)
	}
}

func TestShutdown(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		p := executor.New(executor.Config{Limit: 1})
		g := newGate()
		first := executor.Submit(l, p, g.block)
		second := executor.Submit(l, p, nothing)
		down := task.StartNow(ctx, func(ctx context.Context) (int, error) {
			return executor.Do(ctx, func(context.Context) (int, error) { return 0, p.Shutdown(context.Background()) })
		})
		until(t, "the pool is closed", func() bool {
			return executor.Submit(l, p, nothing).Err() == executor.ErrClosed
		})
		if _, err := executor.DoIn(ctx, p, nothing); err != executor.ErrClosed {
			t.Errorf("error is %v, want ErrClosed", err)
		}
		if down.Done() {
			t.Error("Shutdown did not wait")
		}
		close(g.open)
		if _, err := down.Await(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		// What was in the queue has run.
		if v, err := first.Await(ctx); v != "late" || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
		if v, err := second.Await(ctx); v != 1 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
		canceled, cancel := context.WithCancel(context.Background())
		cancel()
		for _, again := range []func(context.Context) error{p.Shutdown, p.ShutdownNow} {
			if err := again(canceled); err != nil {
				t.Errorf("once more: %v", err)
			}
		}
		return nil
	})
	if err := executor.New(executor.Config{}).Shutdown(context.Background()); err != nil {
		t.Errorf("a pool never used: %v", err)
	}
}

func stuckJob(g *gate) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return g.block(ctx) }
}

func TestShutdownGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name string
		down func(p *executor.Pool, ctx context.Context) error
	}{
		{"Shutdown", (*executor.Pool).Shutdown},
		{"ShutdownNow", (*executor.Pool).ShutdownNow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			looptest.Run(t, func(ctx context.Context) error {
				l := loop.FromContext(ctx)
				p := executor.New(executor.Config{Limit: 2, Name: "disk"})
				g := newGate()
				stuck := executor.Submit(l, p, stuckJob(g))
				<-g.arrived
				told := make(chan error, 1)
				listens := executor.Submit(l, p, func(ctx context.Context) (string, error) {
					<-ctx.Done()
					told <- context.Cause(ctx)
					return "", ctx.Err()
				})
				until(t, "both run", func() bool { return p.Stats().Running == 2 })
				waits := executor.Submit(l, p, func(context.Context) (string, error) {
					t.Error("a job ran after Shutdown had given up")
					return "", nil
				})
				over, cancel := context.WithCancelCause(context.Background())
				cancel(io.EOF)
				err := tt.down(p, over)
				var s *executor.ShutdownError
				if !errors.As(err, &s) || !errors.Is(err, io.EOF) {
					t.Fatalf("error is %v, want a ShutdownError by EOF", err)
				}
				if s.Pool != "disk" || s.Canceled != 1 || len(s.Stuck) == 0 {
					t.Fatalf("error is %+v", s)
				}
				j := s.Stuck[0]
				if !strings.Contains(j.Func, "stuckJob") || !strings.Contains(string(j.Stack), "(*gate).block") ||
					time.Since(j.Since) > time.Minute || time.Since(j.Since) <= 0 {
					t.Errorf("stuck is %s since %v\n%s", j.Func, j.Since, j.Stack)
				}
				for _, want := range []string{"executor: shutdown of pool disk: EOF; 1 queued canceled; ", " still running: ", "stuckJob"} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("message is %q, want %q in it", err, want)
					}
				}
				if err := <-told; err != executor.ErrClosed {
					t.Errorf("a running job was told %v, want ErrClosed", err)
				}
				for _, f := range []*future.Future[string]{listens, waits} {
					if _, err := f.Await(ctx); future.AsCanceled(err) == nil || !errors.Is(err, executor.ErrClosed) {
						t.Errorf("error is %v, want a cancellation by ErrClosed", err)
					}
				}
				close(g.open)
				if err := p.Shutdown(context.Background()); err != nil {
					t.Errorf("once more: %v", err)
				}
				if v, err := stuck.Await(ctx); v != "late" || err != nil {
					t.Errorf("got %q, %v", v, err)
				}
				checkStats(t, p, executor.Stats{Done: 2, Canceled: 1})
				return nil
			})
		})
	}
}

func TestTimedShutdown(t *testing.T) {
	const patience, grace = 50 * time.Millisecond, 20 * time.Millisecond
	best := time.Hour
	for range 5 { // a busy machine may be late
		looptest.Run(t, func(ctx context.Context) error {
			p := executor.New(executor.Config{})
			g := newGate()
			f := executor.Submit(loop.FromContext(ctx), p, g.block)
			<-g.arrived
			start := time.Now()
			end, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			err := p.Shutdown(end)
			took := time.Since(start)
			if !errors.Is(err, context.DeadlineExceeded) || took < patience {
				t.Errorf("error is %v after %v", err, took)
			}
			best = min(best, took)
			close(g.open)
			_, err = f.Await(ctx)
			return err
		})
	}
	if best > patience+grace {
		t.Errorf("Shutdown took %v, want no more than %v", best, patience+grace)
	}
}

// Nothing is left when Run returns: main's TestMain looks for goroutines.
func TestDefaultPool(t *testing.T) {
	var started, ended, queued atomic.Int32
	limit := min(32, runtime.NumCPU()+4)
	err := task.RunConfig(context.Background(), loop.Config{
		OnError: func(e *loop.CallError) { t.Error(e) },
	}, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		p := executor.Default(l)
		if executor.Default(l) != p {
			t.Error("a loop has two default pools")
		}
		for range limit {
			executor.Submit(l, nil, func(ctx context.Context) (int, error) {
				started.Add(1)
				defer ended.Add(1)
				<-ctx.Done()
				return 0, ctx.Err()
			})
		}
		until(t, "jobs run", func() bool { return started.Load() == int32(limit) })
		for range 10 {
			executor.Submit(l, nil, func(ctx context.Context) (int, error) {
				queued.Add(1)
				return 0, nil
			})
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if ended.Load() != int32(limit) || queued.Load() != 0 {
		t.Errorf("%d jobs ended and %d queued ones ran, want %d and 0", ended.Load(), queued.Load(), limit)
	}
}

func TestDefaultPoolStuck(t *testing.T) {
	g := newGate()
	err := task.RunConfig(context.Background(), loop.Config{CloseTimeout: 10 * time.Millisecond}, func(ctx context.Context) error {
		executor.Submit(loop.FromContext(ctx), nil, g.block)
		<-g.arrived
		return nil
	})
	var s *executor.ShutdownError
	if !errors.As(err, &s) || len(s.Stuck) != 1 || s.Pool != "default" {
		t.Errorf("error is %v, want a ShutdownError with a job", err)
	}
	close(g.open)
}

// A job may outlive its loop in a pool of the user's.
func TestLoopClosedBeforeTheEnd(t *testing.T) {
	p := executor.New(executor.Config{})
	g := newGate()
	looptest.Run(t, func(ctx context.Context) error {
		executor.Submit(loop.FromContext(ctx), p, g.block)
		<-g.arrived
		return nil
	})
	close(g.open)
	if err := p.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	checkStats(t, p, executor.Stats{Done: 1, Late: 1})
}

func TestVirtualTimeStandsStill(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		start := l.Now()
		l.CallLater(time.Hour, func() {})
		g := newGate()
		f := executor.Submit(l, nil, g.block)
		go func() {
			<-g.arrived
			time.Sleep(5 * time.Millisecond) // so that the loop has nothing to do
			close(g.open)
		}()
		if _, err := f.Await(ctx); err != nil {
			return err
		}
		if d := l.Now().Sub(start); d != 0 {
			t.Errorf("%v passed while a job was out", d)
		}
		// A job that nobody waits for any more does not hold it up.
		g = newGate()
		f = executor.Submit(l, nil, g.block)
		<-g.arrived
		f.Cancel(nil)
		if err := task.Sleep(ctx, 2*time.Hour); err != nil {
			return err
		}
		if d := l.Now().Sub(start); d != 2*time.Hour {
			t.Errorf("%v passed, want 2h", d)
		}
		close(g.open)
		return nil
	})
}

type ctxKey struct{}

func TestJobContext(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		outer := context.WithValue(ctx, ctxKey{}, "kept")
		var kept context.Context
		inspect := func(ctx context.Context) (any, error) {
			kept = ctx
			if ctx.Err() != nil {
				t.Errorf("Err is %v", ctx.Err())
			}
			if d, ok := ctx.Deadline(); ok {
				t.Errorf("deadline is %v", d)
			}
			if err := context.Cause(ctx); err != nil {
				t.Errorf("Cause is %v", err)
			}
			return ctx.Value(ctxKey{}), nil
		}
		if v, err := executor.Do(outer, inspect); v != "kept" || err != nil {
			t.Errorf("in Do the value is %v, %v", v, err)
		}
		select {
		case <-kept.Done():
		default:
			t.Error("the ctx has not ended with the job")
		}
		if kept.Err() != context.Canceled || kept.Value(ctxKey{}) != "kept" {
			t.Errorf("afterwards Err is %v, the value %v", kept.Err(), kept.Value(ctxKey{}))
		}
		if v, err := executor.Submit(l, nil, inspect).Await(outer); v != nil || err != nil {
			t.Errorf("in Submit the value is %v, %v", v, err)
		}

		// Contexts derived from it end with it, without goroutines of their own.
		var derived context.Context
		var cancel context.CancelFunc
		_, err := executor.Do(outer, func(ctx context.Context) (int, error) {
			n := runtime.NumGoroutine()
			derived, cancel = context.WithCancel(ctx)
			if m := runtime.NumGoroutine(); m > n {
				t.Errorf("deriving a context made %d goroutines", m-n)
			}
			return 0, nil
		})
		<-derived.Done()
		cancel()
		return err
	})
}

// A job that tries to be the task is told so.
func TestJobCannotAwait(t *testing.T) {
	for _, tt := range []struct {
		name string
		fn   func(ctx context.Context)
		want string
	}{
		{"Sleep", func(ctx context.Context) { task.Sleep(ctx, time.Second) }, "task: Sleep outside of a task"},
		{"Yield", func(ctx context.Context) { task.Yield(ctx) }, "outside of a task"},
		{"Do", func(ctx context.Context) { executor.Do(ctx, nothing) }, "executor: Do outside of a task"},
		{"Start", func(ctx context.Context) {
			task.Go(ctx, func(context.Context) error { return nil })
		}, "without a loop"},
		{"FromContext", func(ctx context.Context) { loop.FromContext(ctx) }, "without a loop"},
		{"derived", func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			task.Sleep(ctx, time.Second)
		}, "task: Sleep outside of a task"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			looptest.Run(t, func(ctx context.Context) error {
				sub, cancel := task.WithTimeout(ctx, time.Hour)
				defer cancel()
				for _, c := range []context.Context{ctx, sub} {
					_, err := executor.Do(c, func(ctx context.Context) (int, error) { tt.fn(ctx); return 0, nil })
					var p *coro.PanicError
					if !errors.As(err, &p) || !strings.Contains(err.Error(), tt.want) {
						t.Errorf("error is %v, want a panic with %q", err, tt.want)
					}
				}
				return nil
			})
		})
	}
}

// A job's ways back to the loop, before its end.
func TestJobCallsLoop(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		n := 0
		got, err := executor.Do(ctx, func(ctx context.Context) (int, error) {
			if err := l.CallSoonThreadsafe(func() { n = 20 }); err != nil {
				return 0, err
			}
			return task.CallThreadsafe(ctx, l, func(ctx context.Context) (int, error) {
				return n + 1, task.Sleep(ctx, 0)
			})
		})
		if got != 21 {
			t.Errorf("got %d, want 21", got)
		}
		return err
	})
}

// An error that nobody looks at is reported with the name of its function.
func TestUnseenFailure(t *testing.T) {
	var got []string
	looptest.RunConfig(t, looptest.Config{Loop: loop.Config{
		OnError: func(e *loop.CallError) { got = append(got, e.Error()) },
	}}, func(ctx context.Context) error {
		f := executor.Submit(loop.FromContext(ctx), nil, failing)
		for !f.Done() {
			task.Yield(ctx)
		}
		return nil
	})
	if len(got) != 1 || !strings.Contains(got[0], "job ") || !strings.Contains(got[0], "executor_test.failing: failed") {
		t.Errorf("reported %q", got)
	}
}

func failing(context.Context) (int, error) { return 0, errors.New("failed") }

func TestMisuse(t *testing.T) {
	mustPanic(t, "executor: Do outside of a task", func() { executor.Do(context.Background(), nothing) })
	l, err := loop.New(loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	mustPanic(t, "executor: job without a function", func() {
		executor.Submit[int](l, executor.New(executor.Config{}), nil)
	})
	l.CallSoon(func() {
		mustPanic(t, "executor: Do outside of a task", func() { executor.Do(l.Context(), nothing) })
		l.Stop()
	})
	l.Run()
	l.Close()
	mustPanic(t, "on a closed loop", func() { executor.Submit(l, nil, nothing) })
}

func mustPanic(t *testing.T, want string, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if v := recover(); !strings.Contains(fmt.Sprint(v), want) {
			t.Errorf("panic is %v, want %q", v, want)
		}
	}()
	fn()
}

func TestAllocs(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		least := 100.0
		for range 10 { // the runtime may be busy with what other tests have left
			least = min(least, testing.AllocsPerRun(100, func() {
				if _, err := executor.Do(ctx, nothing); err != nil {
					t.Error(err)
				}
			}))
		}
		if least > 1 {
			t.Errorf("Do allocates %v times, want once", least)
		}
		return nil
	})
}
