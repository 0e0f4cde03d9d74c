package task_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// turnsOf runs l for some turns, and stops it in the middle of things.
func turnsOf(t testing.TB, l *loop.Loop, n int) {
	t.Helper()
	for range n {
		l.Stop()
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloseEndsEveryTaskOldestFirst(t *testing.T) {
	var j journal
	l := newLoop(t, virtual(func(e *loop.CallError) { j.Log("report %v", e) }))
	f, _ := future.New[int](l)
	start := func(name string, wait func(ctx context.Context) error) *task.Task[struct{}] {
		tk := task.Go(l.Context(), func(ctx context.Context) error {
			defer j.Log("%s deferred", name)
			err := wait(ctx)
			j.Log("%s %v", name, errors.Is(err, loop.ErrClosed) && errors.Is(err, future.ErrCanceled))
			return err
		})
		tk.SetName(name)
		return tk
	}
	inner := start("await", func(ctx context.Context) error { _, err := f.Await(ctx); return err })
	start("await a task", func(ctx context.Context) error { _, err := inner.Await(ctx); return err })
	start("sleep", sleepHour)
	start("yield", func(ctx context.Context) error {
		for {
			if err := task.Yield(ctx); err != nil {
				return err
			}
		}
	})
	start("wait", func(ctx context.Context) error {
		_, _, err := task.WaitTimeout(ctx, time.Hour, task.AllCompleted, f)
		return err
	})
	start("gather", func(ctx context.Context) error { _, err := task.Gather(ctx, f, f); return err })
	start("timeout", func(ctx context.Context) error { return task.Timeout(ctx, time.Minute, timedSleep(time.Hour)) })
	start("scope", func(ctx context.Context) error {
		return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.Go(func(ctx context.Context) error { defer j.Log("child deferred"); return sleepHour(ctx) })
			return nil
		})
	})
	start("level scope", func(ctx context.Context) error {
		sub, cancel := task.WithTimeout(ctx, time.Minute)
		defer cancel()
		return task.Sleep(sub, time.Hour)
	})
	turnsOf(t, l, 3)
	start("not begun", sleepHour)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	var want []string
	for _, name := range []string{"await", "await a task", "sleep", "yield", "wait", "gather", "timeout", "scope", "level scope"} {
		want = append(want, name+" true", name+" deferred")
	}
	j.Want(t, append(want, "child deferred")...)
	if n := len(task.All(l)); n != 0 {
		t.Errorf("%d tasks are left", n)
	}
}

func TestTasksThatIgnoreCloseAreUnwound(t *testing.T) {
	var j journal
	l := newLoop(t, virtual(func(e *loop.CallError) { j.Log("report %s %s", e.Op, e.Name) }))
	refused, recovered := 0, 0
	task.Go(l.Context(), func(ctx context.Context) error {
		defer j.Log("deaf: deferred")
		for {
			if sleepHour(ctx) != nil {
				refused++
			}
		}
	}).SetName("deaf")
	task.Go(l.Context(), func(ctx context.Context) error {
		defer j.Log("recovers: deferred")
		for recovered < 3 {
			func() {
				defer func() {
					if recover() != nil {
						recovered++
					}
				}()
				_ = sleepHour(ctx)
			}()
		}
		return nil
	}).SetName("recovers")
	task.Go(l.Context(), func(ctx context.Context) error {
		defer j.Log("scope: deferred")
		for {
			_ = task.Timeout(ctx, time.Hour, func(ctx context.Context, _ *task.TimeoutScope) error {
				return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
					g.Go(sleepHour)
					return sleepHour(ctx)
				})
			})
		}
	}).SetName("scope")
	task.Go(l.Context(), func(ctx context.Context) error {
		defer j.Log("starts: deferred")
		err := sleepHour(ctx)
		task.Go(ctx, func(ctx context.Context) error { j.Log("never runs"); return nil })
		return err
	}).SetName("starts")
	turnsOf(t, l, 2)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if refused != 3 || recovered != 3 {
		t.Errorf("refused %d waits, recovered %d times; want 3 and 3", refused, recovered)
	}
	j.Want(t, "deaf: deferred", "recovers: deferred", "scope: deferred", "starts: deferred")
}

// The stack is lost, so it happens in a process that ends.
func TestTaskThatAlwaysRecoversIsReported(t *testing.T) {
	if out := childOutput(t, "recovers always"); !strings.Contains(out, "close stubborn") || !strings.Contains(out, "closed <nil>") {
		t.Errorf("said %q", out)
	}
}

func init() {
	children["recovers always"] = func() {
		cfg := virtual(func(e *loop.CallError) { fmt.Println(e.Op, e.Name, e.Err) })
		l, _ := loop.New(cfg)
		task.Go(l.Context(), func(ctx context.Context) error {
			for {
				func() {
					defer func() { _ = recover() }()
					_ = sleepHour(ctx)
				}()
			}
		}).SetName("stubborn")
		l.Stop()
		_ = l.Run()
		fmt.Println("closed", l.Close())
	}
}

// A deferred call that fails while the body is unwound has nobody else to tell.
func TestPanicWhileUnwindingIsNotLost(t *testing.T) {
	for _, rounds := range []int{0, 10} {
		var reports []*loop.CallError
		l := newLoop(t, virtual(func(e *loop.CallError) { reports = append(reports, e) }))
		task.Go(l.Context(), func(ctx context.Context) error {
			defer func() { panic(errBoom) }()
			for range rounds {
				_ = sleepHour(ctx)
			}
			return sleepHour(ctx)
		}).SetName("fragile")
		turnsOf(t, l, 2)
		_ = l.Close()
		if len(reports) != 1 || !errors.Is(reports[0], errBoom) || !strings.HasPrefix(reports[0].Name, "fragile") {
			t.Errorf("after %d ignored refusals: reported %v", rounds, reports)
		}
	}
}

// settledGoroutines waits until the number of goroutines falls to n: those that
// end need a moment.
func settledGoroutines(n int) int {
	for range 1000 {
		if runtime.NumGoroutine() <= n {
			break
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
	return runtime.NumGoroutine()
}

func TestGoexitEndsTheLoopAndItsGoroutine(t *testing.T) {
	const bystanders = 3
	for _, tt := range []struct {
		name string
		exit func(ctx context.Context, l *loop.Loop)
	}{
		{"in a task", func(ctx context.Context, l *loop.Loop) {
			task.Go(ctx, func(context.Context) error { runtime.Goexit(); return nil })
		}},
		{"in a task that has waited", func(ctx context.Context, l *loop.Loop) {
			task.Go(ctx, func(ctx context.Context) error { yield(ctx, 2); runtime.Goexit(); return nil })
		}},
		{"in two tasks of one turn", func(ctx context.Context, l *loop.Loop) {
			for range 2 {
				task.Go(ctx, func(context.Context) error { runtime.Goexit(); return nil })
			}
		}},
		{"in a first step", func(ctx context.Context, l *loop.Loop) {
			task.StartNow(ctx, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		}},
		{"in a deferred function", func(ctx context.Context, l *loop.Loop) {
			task.Go(ctx, func(context.Context) error { defer runtime.Goexit(); return nil })
		}},
		{"in a deferred function, panicking", func(ctx context.Context, l *loop.Loop) {
			task.Go(ctx, func(context.Context) error { defer runtime.Goexit(); panic(errBoom) })
		}},
		{"in a machine's Step", func(ctx context.Context, l *loop.Loop) {
			task.StartMachine(ctx, stepFunc(func(context.Context, error) (future.Waiter, error) {
				runtime.Goexit()
				return nil, nil
			}))
		}},
		{"in a callback", func(ctx context.Context, l *loop.Loop) { l.CallSoon(runtime.Goexit) }},
		{"in main", func(context.Context, *loop.Loop) { runtime.Goexit() }},
		{"in a group", func(ctx context.Context, l *loop.Loop) {
			_ = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				g.Go(func(context.Context) error { runtime.Goexit(); return nil })
				return sleepHour(ctx)
			})
		}},
		{"in the body of a scope", func(ctx context.Context, l *loop.Loop) {
			_ = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				g.Go(sleepHour)
				runtime.Goexit()
				return nil
			})
		}},
		{"in a clean-up after main", func(ctx context.Context, l *loop.Loop) {
			task.Go(ctx, func(ctx context.Context) error { defer runtime.Goexit(); return sleepHour(ctx) })
			yield(ctx, 1)
			runtime.Goexit()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			var l *loop.Loop
			deferred, returned := 0, false
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = task.RunConfig(context.Background(), virtual(func(*loop.CallError) {}), func(ctx context.Context) error {
					l = loop.FromContext(ctx)
					for range bystanders {
						task.Go(ctx, func(ctx context.Context) error { defer func() { deferred++ }(); return sleepHour(ctx) })
					}
					yield(ctx, 1)
					tt.exit(ctx, l)
					return sleepHour(ctx)
				})
				returned = true
			}()
			<-ended
			if returned {
				t.Error("Run returned: Goexit did not go on")
			}
			if !l.Closed() || deferred != bystanders {
				t.Errorf("closed %v, %d of %d tasks were unwound", l.Closed(), deferred, bystanders)
			}
			if n := settledGoroutines(before); n > before {
				t.Errorf("%d goroutines, were %d", n, before)
			}
		})
	}
}

// Close is what runs the clean-up: the worker must not be left behind.
func TestGoexitWhileTheLoopCloses(t *testing.T) {
	for _, rounds := range []int{1, 10} {
		before := runtime.NumGoroutine()
		ended := make(chan struct{})
		var l *loop.Loop
		unwound := false
		go func() {
			defer close(ended)
			l, _ = loop.New(virtual(func(*loop.CallError) {}))
			task.Go(l.Context(), func(ctx context.Context) error {
				defer runtime.Goexit()
				for range rounds {
					_ = sleepHour(ctx)
				}
				return nil
			})
			task.Go(l.Context(), func(ctx context.Context) error { defer func() { unwound = true }(); return sleepHour(ctx) })
			l.Stop()
			_ = l.Run()
			_ = l.Close()
		}()
		<-ended
		if !l.Closed() || !unwound {
			t.Errorf("closed %v, the other task was unwound %v", l.Closed(), unwound)
		}
		if n := settledGoroutines(before); n > before {
			t.Errorf("after %d waits: %d goroutines, were %d", rounds, n, before)
		}
	}
}

func TestGoexitIsTheTasksError(t *testing.T) {
	ended := make(chan error, 1)
	go func() {
		var err error
		defer func() { ended <- err }()
		_ = task.RunConfig(context.Background(), virtual(func(*loop.CallError) {}), func(ctx context.Context) error {
			tk := task.Go(ctx, func(context.Context) error { runtime.Goexit(); return nil })
			tk.OnDone(func() {})
			defer func() { err = tk.Err() }()
			return sleepHour(ctx)
		})
	}()
	if err := <-ended; err != coro.ErrGoexit {
		t.Errorf("got %v", err)
	}
}
