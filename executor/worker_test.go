package executor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/looptest"
)

// freeCount counts functions that were collected.
type freeCount struct {
	made int
	n    atomic.Int32
}

// fn returns a job's function that is counted when nothing refers to it.
func (c *freeCount) fn() func(context.Context) (int, error) {
	c.made++
	held := new([100]int)
	runtime.AddCleanup(held, func(n *atomic.Int32) { n.Add(1) }, &c.n)
	return func(context.Context) (int, error) { return held[0], nil }
}

func (c *freeCount) want(t *testing.T, made int) {
	t.Helper()
	if c.made != made {
		t.Errorf("%d functions were made, want %d", c.made, made)
	}
	until(t, "functions are collected", func() bool { runtime.GC(); return int(c.n.Load()) == made })
}

// A conn is what jobs on one worker share.
type conn struct{ id, uses int }

func TestInit(t *testing.T) {
	const limit, jobs = 3, 300
	var made, ended, uses atomic.Int32
	p := executor.New(executor.Config{
		Limit: limit,
		Init: func(ctx context.Context) (any, error) {
			if ctx.Err() != nil {
				t.Errorf("in Init the ctx has ended: %v", ctx.Err())
			}
			return &conn{id: int(made.Add(1))}, nil
		},
		Exit: func(ctx context.Context, v any) {
			ended.Add(1)
			uses.Add(int32(v.(*conn).uses))
		},
	})
	lane := p.Lane("lane", executor.LaneConfig{Limit: 1})
	use := func(ctx context.Context) (int, error) {
		c, ok := executor.Local[*conn](ctx)
		if !ok {
			return 0, errors.New("no value")
		}
		if _, ok := executor.Local[string](ctx); ok {
			t.Error("the value has another type")
		}
		c.uses++ // one job at a time, so no race
		return c.id, nil
	}
	var all []*executor.Job[int]
	for range jobs - 2 {
		all = append(all, executor.Go(p, use))
	}
	all = append(all, executor.Go(lane, use))
	seen := make(map[int]bool)
	for _, j := range all {
		id, err := j.Result(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen[id] = true
	}
	looptest.Run(t, func(ctx context.Context) error {
		ctx = context.WithValue(ctx, ctxKey{}, "kept")
		_, err := executor.DoIn(ctx, p, func(ctx context.Context) (int, error) {
			if ctx.Value(ctxKey{}) != "kept" {
				t.Error("the values of Do are lost")
			}
			return use(ctx)
		})
		return err
	})
	if n := int(made.Load()); n > limit+1 || n < 2 || len(seen) > n {
		t.Errorf("Init was called %d times, for %d values seen", n, len(seen))
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if ended.Load() != made.Load() || uses.Load() != jobs {
		t.Errorf("Exit was called for %d of %d, with %d uses, want %d", ended.Load(), made.Load(), uses.Load(), jobs)
	}
	checkStats(t, p, executor.Stats{Done: jobs})
	if _, ok := executor.Local[*conn](t.Context()); ok {
		t.Error("a value outside of a job")
	}
}

// An idle goroutine is reused before another is made, and stays.
func TestWorkersAreReused(t *testing.T) {
	var made atomic.Int32
	p := newPool(t, executor.Config{Init: func(context.Context) (any, error) { return made.Add(1), nil }})
	for range 100 {
		if _, err := executor.Go(p, nothing).Result(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, "it is idle", func() bool { return p.Stats().Running == 0 })
	}
	// One that has ended its job may come for the next a moment late.
	if n := made.Load(); n > 2 {
		t.Errorf("%d goroutines were made for jobs one after the other", n)
	}
}

// A shutdown wakes all that are idle.
func TestIdleWorkersEnd(t *testing.T) {
	const limit = 4
	var ended atomic.Int32
	p := executor.New(executor.Config{
		Limit: limit,
		Init:  func(context.Context) (any, error) { return nil, nil },
		Exit:  func(context.Context, any) { ended.Add(1) },
	})
	occupy(p, limit)()
	until(t, "all are idle", func() bool { return p.Stats().Running == 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Shutdown(ctx); err != nil || ended.Load() != limit || ctx.Err() != nil {
		t.Errorf("%d of %d have ended: %v, %v", ended.Load(), limit, err, ctx.Err())
	}
}

func TestInitFails(t *testing.T) {
	for name, tt := range map[string]struct {
		init func() error
		is   error
	}{
		"error":  {func() error { return io.EOF }, io.EOF},
		"panic":  {func() error { panic(io.EOF) }, io.EOF},
		"Goexit": {func() error { runtime.Goexit(); return nil }, executor.ErrGoexit},
	} {
		t.Run(name, func(t *testing.T) {
			var calls, exits atomic.Int32
			hold := make(chan struct{})
			p := executor.New(executor.Config{
				Limit: 2,
				Init: func(context.Context) (any, error) {
					if calls.Add(1) == 1 {
						return 1, nil
					}
					<-hold
					return nil, tt.init()
				},
				Exit: func(context.Context, any) { exits.Add(1) },
			})
			lane := p.Lane("lane", executor.LaneConfig{})
			open := occupy(p, 1)
			var queued []*executor.Job[int]
			for range 3 {
				queued = append(queued, executor.Go(p, nothing))
			}
			close(hold)
			for _, j := range queued {
				_, err := j.Result(t.Context())
				if !errors.Is(err, executor.ErrBroken) || !errors.Is(err, tt.is) || j.Canceled() {
					t.Errorf("in the queue: %v", j)
				}
			}
			for _, ex := range []executor.Executor{p, lane, p.Lane("new", executor.LaneConfig{})} {
				if err := executor.Go(ex, nothing).Err(); !errors.Is(err, executor.ErrBroken) || !errors.Is(err, tt.is) {
					t.Errorf("afterwards the error is %v, want ErrBroken", err)
				}
			}
			open() // one that ran goes on
			if err := p.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if exits.Load() != 1 {
				t.Errorf("Exit was called %d times, want once", exits.Load())
			}
			checkStats(t, p, executor.Stats{Done: 1, Canceled: 3, Rejected: 3})
		})
	}
}

// A goroutine that is lost to Goexit is replaced, with an Init of its own; a panic
// loses none.
func TestWorkerFaults(t *testing.T) {
	for _, lock := range []bool{false, true} {
		t.Run(fmt.Sprintf("LockThread %v", lock), func(t *testing.T) {
			const jobs = 90
			var made, ended atomic.Int32
			p := executor.New(executor.Config{
				Limit: 2, LockThread: lock,
				Init: func(context.Context) (any, error) { return made.Add(1), nil },
				Exit: func(context.Context, any) { ended.Add(1) },
			})
			var all []*executor.Job[int]
			for i := range jobs {
				all = append(all, executor.Go(p, func(context.Context) (int, error) {
					switch i % 3 {
					case 1:
						runtime.Goexit()
					case 2:
						panic(i)
					}
					return i, nil
				}))
			}
			for i, j := range all {
				_, err := j.Result(t.Context())
				var pe *coro.PanicError
				if (err == nil) != (i%3 == 0) || (err == executor.ErrGoexit) != (i%3 == 1) || errors.As(err, &pe) != (i%3 == 2) {
					t.Errorf("job %d: %v", i, err)
				}
			}
			if err := p.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if n := int(made.Load()); n < jobs/3 || n > jobs/3+2 || ended.Load() != made.Load() {
				t.Errorf("%d were made and %d ended, want %d or so", n, ended.Load(), jobs/3)
			}
			checkStats(t, p, executor.Stats{Done: jobs, Panics: jobs / 3})
		})
	}
}

func TestLockThread(t *testing.T) {
	p := executor.New(executor.Config{Limit: 2, LockThread: true})
	for range 20 {
		if _, err := executor.Go(p, func(context.Context) (int, error) {
			runtime.LockOSThread() // which a job may undo as often as it does
			runtime.UnlockOSThread()
			return 1, nil
		}).Result(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	// An idle pool that never had a job ends too.
	if err := executor.New(executor.Config{LockThread: true}).Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// A shutdown names an Init and an Exit that hang, and ends their ctx.
func TestShutdownFindsInitAndExit(t *testing.T) {
	hang := func(ctx context.Context, open chan struct{}) {
		<-ctx.Done()
		<-open
	}
	for _, where := range []string{"Init", "Exit"} {
		t.Run(where, func(t *testing.T) {
			open, there := make(chan struct{}), make(chan struct{})
			var cfg executor.Config
			cfg.Init = func(ctx context.Context) (any, error) {
				if where == "Init" {
					close(there)
					hang(ctx, open)
				}
				return nil, nil
			}
			cfg.Exit = func(ctx context.Context, _ any) {
				if where == "Exit" {
					close(there)
					hang(ctx, open)
				}
			}
			p := executor.New(cfg)
			j := executor.Go(p, nothing)
			over, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if where == "Exit" {
				<-j.Done()
			} else {
				<-there
			}
			err := p.Shutdown(over)
			<-there
			var s *executor.ShutdownError
			if !errors.As(err, &s) || len(s.Stuck) != 1 || !strings.Contains(s.Stuck[0].Func, "TestShutdownFindsInitAndExit") ||
				!strings.Contains(string(s.Stuck[0].Stack), "TestShutdownFindsInitAndExit") {
				t.Errorf("error is %+v", err)
			}
			close(open)
			if err := p.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestExitFaults(t *testing.T) {
	var log lockedBuilder
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(old)
	for _, fault := range []func(){func() { panic("ouch") }, runtime.Goexit} {
		p := executor.New(executor.Config{
			Init: func(context.Context) (any, error) { return nil, nil },
			Exit: func(context.Context, any) { fault() },
		})
		if _, err := executor.Go(p, nothing).Result(t.Context()); err != nil {
			t.Error(err)
		}
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		checkStats(t, p, executor.Stats{Done: 1})
	}
	if s := log.String(); strings.Count(s, "executor: Config.Exit") != 1 || !strings.Contains(s, "ouch") {
		t.Errorf("logged %q", s)
	}
	testkit.WantPanic(t, "executor: Config.Exit without Init", func() {
		executor.New(executor.Config{Exit: func(context.Context, any) {}})
	})
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
