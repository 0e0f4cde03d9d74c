package looptest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

// A recorder is a testing.TB that only takes down what it is told.
type recorder struct {
	testing.TB // nil: what is not here must not be called
	log        []string
	failed     bool
	ended      bool // by FailNow or SkipNow
}

func (r *recorder) Helper()           {}
func (r *recorder) Name() string      { return "recorder" }
func (r *recorder) Fail()             { r.failed = true }
func (r *recorder) Failed() bool      { return r.failed }
func (r *recorder) Log(args ...any)   { r.log = append(r.log, fmt.Sprint(args...)) }
func (r *recorder) Error(args ...any) { r.Log(args...); r.Fail() }
func (r *recorder) Fatal(args ...any) { r.Log(args...); r.FailNow() }
func (r *recorder) FailNow()          { r.failed, r.ended = true, true; runtime.Goexit() }
func (r *recorder) SkipNow()          { r.ended = true; runtime.Goexit() }
func (r *recorder) Logf(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf(format, args...))
}
func (r *recorder) Errorf(format string, args ...any) { r.Logf(format, args...); r.Fail() }
func (r *recorder) Fatalf(format string, args ...any) { r.Logf(format, args...); r.FailNow() }

// record runs a test on a goroutine of its own, as package testing does.
func record(test func(t testing.TB)) *recorder {
	r := new(recorder)
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(r)
	}()
	<-done
	return r
}

func TestRunJumpsOverTime(t *testing.T) {
	real := time.Now()
	var got []time.Duration
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		start := l.Now()
		if want := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC); !start.Equal(want) {
			t.Errorf("starts at %v, want %v", start, want)
		}
		for _, d := range []time.Duration{time.Hour, time.Nanosecond, 1000 * time.Hour} {
			if err := task.Sleep(ctx, d); err != nil {
				return err
			}
			got = append(got, l.Now().Sub(start))
		}
		return nil
	})
	if want := []time.Duration{time.Hour, time.Hour + 1, 1001*time.Hour + 1}; !slices.Equal(got, want) {
		t.Errorf("woke after %v, want %v", got, want)
	}
	if d := time.Since(real); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestTimeStandsStillWhileAnythingIsReady(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		start := l.Now()
		l.CallLater(1, func() { t.Error("called") })
		for range 1000 {
			if err := task.Yield(ctx); err != nil {
				return err
			}
		}
		if !l.Now().Equal(start) {
			t.Errorf("%v have passed", l.Now().Sub(start))
		}
		return nil
	})
}

func TestTimeStandsStillWhileSomethingIsOut(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		start := l.Now()
		late := task.Go(ctx, func(ctx context.Context) error { return task.Sleep(ctx, time.Second) })
		f, p := future.New[time.Time](l)
		release := l.Hold()
		go func() {
			defer release()
			_ = l.CallSoonThreadsafe(func() { p.Resolve(l.Now()) })
		}()
		if at, err := f.Await(ctx); !at.Equal(start) || err != nil {
			t.Errorf("the answer came after %v, %v", at.Sub(start), err)
		}
		_, err := late.Await(ctx) // and moves on afterwards
		return err
	})
}

func TestRunConfigStartAndReal(t *testing.T) {
	start := time.Date(2030, 5, 6, 7, 8, 9, 10, time.UTC)
	looptest.RunConfig(t, looptest.Config{Start: start}, func(ctx context.Context) error {
		if now := loop.FromContext(ctx).Now(); !now.Equal(start) {
			t.Errorf("starts at %v, want %v", now, start)
		}
		return nil
	})
	looptest.RunConfig(t, looptest.Config{Real: true}, func(ctx context.Context) error {
		if d := time.Since(loop.FromContext(ctx).Now()); d < 0 || d > time.Hour {
			t.Errorf("the system's clock is off by %v", d)
		}
		return task.Sleep(ctx, time.Microsecond)
	})
}

func TestDeadlockIsReportedWithTasksAndStacks(t *testing.T) {
	cleaned := false
	r := record(func(t testing.TB) {
		looptest.Run(t, func(ctx context.Context) error {
			l := loop.FromContext(ctx)
			f, _ := future.New[int](l)
			stuck := task.Start(ctx, func(ctx context.Context) (int, error) { return waitForever(ctx, f) })
			stuck.SetName("stuck")
			task.StartMachine(ctx, machine{f}).SetName("robot")
			_ = task.Sleep(ctx, time.Hour) // time still passes
			defer func() { cleaned = true }()
			_, err := stuck.Await(ctx)
			return err
		})
	})
	if !r.failed || len(r.log) != 1 {
		t.Fatalf("failed %v, said %q", r.failed, r.log)
	}
	for _, part := range []string{
		"deadlock: nothing can run again",
		"main (awaits stuck)", "TestDeadlockIsReportedWithTasksAndStacks",
		"stuck (awaits a future)", "waitForever",
		"robot (awaits a future)", "looptest_test.machine",
		"run_test.go:",
	} {
		if !strings.Contains(r.log[0], part) {
			t.Errorf("the report does not say %q", part)
		}
	}
	if main, stuck := strings.Index(r.log[0], "main (awaits"), strings.Index(r.log[0], "stuck (awaits"); main > stuck {
		t.Error("the tasks are not listed in the order they were started")
	}
	if t.Failed() {
		t.Logf("the report:\n%s", r.log[0])
	}
	if !cleaned {
		t.Error("main's deferred calls did not run")
	}
}

func waitForever(ctx context.Context, f *future.Future[int]) (int, error) { return f.Await(ctx) }

type machine struct{ f *future.Future[int] }

func (m machine) Step(_ context.Context, thrown error) (future.Waiter, error) {
	if thrown != nil {
		return task.Done, thrown
	}
	return m.f, nil
}
func (machine) Result() int { return 0 }

// Tasks that do not end when they are canceled do not change what is reported.
func TestDeadlockReportIsOfTheFirstDeadlock(t *testing.T) {
	r := record(func(t testing.TB) {
		looptest.Run(t, func(ctx context.Context) error {
			f, _ := future.New[int](loop.FromContext(ctx))
			task.Go(ctx, func(ctx context.Context) error {
				_, _ = f.Await(ctx)
				g, _ := future.New[int](loop.FromContext(ctx))
				_, err := g.Await(ctx)
				return err
			}).SetName("deaf")
			_, err := waitForever(ctx, f)
			return err
		})
	})
	if s := strings.Join(r.log, "\n"); !strings.Contains(s, "main (awaits a future)") {
		t.Errorf("the report has lost main:\n%s", s)
	}
}

func TestRunFailsWithTheErrorOfItsFunction(t *testing.T) {
	r := record(func(t testing.TB) {
		looptest.Run(t, func(ctx context.Context) error { return errors.New("boom") })
	})
	if !r.ended || !slices.Equal(r.log, []string{"boom"}) {
		t.Errorf("ended %v, said %q", r.ended, r.log)
	}
}

func TestRunFailsWhenAnErrorIsReported(t *testing.T) {
	r := record(func(t testing.TB) {
		looptest.Run(t, func(ctx context.Context) error {
			task.Go(ctx, func(context.Context) error { return errors.New("nobody looks") }).SetName("lonely")
			loop.FromContext(ctx).CallSoon(func() { panic("callback") })
			return task.Yield(ctx)
		})
	})
	s := strings.Join(r.log, "\n")
	if !r.failed || len(r.log) != 2 || !strings.Contains(s, "lonely: nobody looks") ||
		!strings.Contains(s, "panic: callback") || !strings.Contains(s, "run_test.go") {
		t.Errorf("failed %v, said %q", r.failed, r.log)
	}
}

func TestFailNowInATaskEndsTheTest(t *testing.T) {
	for name, fail := range map[string]func(ctx context.Context, t testing.TB){
		"main": func(_ context.Context, t testing.TB) { t.Fatal("stop") },
		"task": func(ctx context.Context, t testing.TB) {
			_, _ = task.Go(ctx, func(context.Context) error { t.Fatal("stop"); return nil }).Await(ctx)
		},
		"group": func(ctx context.Context, t testing.TB) {
			_ = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				g.Go(func(context.Context) error { t.Fatal("stop"); return nil })
				return task.Sleep(ctx, time.Hour)
			})
		},
		"callback": func(ctx context.Context, t testing.TB) {
			loop.FromContext(ctx).CallSoon(func() { t.Fatal("stop") })
			_ = task.Sleep(ctx, time.Hour)
		},
	} {
		bystander, after := false, false
		r := record(func(t testing.TB) {
			looptest.Run(t, func(ctx context.Context) error {
				task.Go(ctx, func(ctx context.Context) error {
					defer func() { bystander = true }()
					return task.Sleep(ctx, time.Hour)
				})
				_ = task.Yield(ctx)
				fail(ctx, t)
				return nil
			})
			after = true
		})
		if !r.ended || after || !bystander || r.log[0] != "stop" {
			t.Errorf("%s: ended %v, went on %v, others unwound %v, said %q", name, r.ended, after, bystander, r.log)
		}
		if len(r.log) != 1 {
			t.Errorf("%s: said more than its sentence: %q", name, r.log)
		}
	}
}

// It is Goexit, too, and must not become a failure.
func TestSkipNowInATaskSkipsTheTest(t *testing.T) {
	r := record(func(skipped testing.TB) {
		looptest.Run(skipped, func(ctx context.Context) error {
			_, err := task.Go(ctx, func(context.Context) error { skipped.SkipNow(); return nil }).Await(ctx)
			return err
		})
	})
	if !r.ended || r.failed {
		t.Errorf("ended %v, failed %v, said %q", r.ended, r.failed, r.log)
	}
}

func TestWaitIdle(t *testing.T) {
	var got []string
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		log := func(format string, args ...any) { got = append(got, fmt.Sprintf(format, args...)) }
		start := l.Now()
		busy := func(name string, turns int) {
			task.Go(ctx, func(ctx context.Context) error {
				for range turns {
					_ = task.Yield(ctx)
				}
				log("%s is idle", name)
				return task.Sleep(ctx, time.Minute)
			})
		}
		busy("a", 10)
		busy("b", 5)
		task.Go(ctx, func(ctx context.Context) error { _ = looptest.WaitIdle(ctx); log("second"); return nil })
		_ = task.Yield(ctx)
		task.Go(ctx, func(ctx context.Context) error {
			_ = looptest.WaitIdle(ctx)
			log("third")
			_ = looptest.WaitIdle(ctx)
			log("again, after %v", l.Now().Sub(start))
			return nil
		})
		if err := looptest.WaitIdle(ctx); err != nil {
			return err
		}
		log("first after %v", l.Now().Sub(start))
		return task.Sleep(ctx, time.Second)
	})
	want := []string{"b is idle", "a is idle", "second", "first after 0s", "third", "again, after 0s"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestWaitIdleCanceled(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		a := task.Go(ctx, looptest.WaitIdle)
		b := task.Go(ctx, looptest.WaitIdle)
		_ = task.Yield(ctx)
		a.Cancel(nil)
		_, err := b.Await(ctx)
		if !a.Canceled() {
			t.Errorf("a: %v", a)
		}
		return err
	})
}

func TestWaitIdleNeedsAVirtualClock(t *testing.T) {
	err := task.Run(t.Context(), func(ctx context.Context) error {
		defer func() {
			if s := fmt.Sprint(recover()); !strings.Contains(s, "virtual clock") {
				t.Errorf("panicked with %q", s)
			}
		}()
		return looptest.WaitIdle(ctx)
	})
	if err != nil {
		t.Error(err)
	}
}
