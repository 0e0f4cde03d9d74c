package task_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

func virtual(onError func(*loop.CallError)) loop.Config {
	return loop.Config{Clock: looptest.NewClock(time.Time{}), OnError: onError}
}

func TestRunReturnsMainsErrorItself(t *testing.T) {
	canceled := &future.CanceledError{Cause: errBoom}
	for _, want := range []error{nil, errBoom, canceled, task.ErrTimeout} {
		if err := task.Run(t.Context(), func(context.Context) error { return want }); err != want {
			t.Errorf("got %T %v, want %T %v", err, err, want, want)
		}
		l := newLoop(t, loop.Config{})
		if err := task.RunOn(t.Context(), l, func(context.Context) error { return want }); err != want {
			t.Errorf("RunOn: got %T %v, want %T %v", err, err, want, want)
		}
	}
	err := task.Run(t.Context(), func(context.Context) error { return canceled })
	if future.AsCanceled(err) == nil {
		t.Errorf("a canceled main is no cancellation any more: %T", err)
	}
}

func TestRunGivesMainTheValuesOfCtx(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "v")
	_ = task.Run(ctx, func(ctx context.Context) error {
		if ctx.Value(key{}) != "v" || task.FromContext(ctx).Name() != "main" {
			t.Errorf("value %v in %v", ctx.Value(key{}), task.FromContext(ctx))
		}
		return nil
	})
}

func TestEdge104_LeftoversAreCanceledOldestFirstAndAwaited(t *testing.T) {
	var j journal
	cfg := virtual(func(e *loop.CallError) { j.Log("report %s %s: %v", e.Op, e.Name, e.Err) })
	err := task.RunConfig(t.Context(), cfg, func(ctx context.Context) error {
		for _, name := range []string{"a", "b", "c"} {
			task.Go(ctx, func(ctx context.Context) error {
				err := sleepHour(ctx)
				j.Log("%s %s", name, outcome(err))
				_ = task.Sleep(ctx, time.Second)
				j.Log("%s has cleaned up", name)
				if name == "b" {
					return errBoom
				}
				return err
			}).SetName(name)
		}
		task.Go(ctx, func(context.Context) error { j.Log("never"); return nil })
		late := task.Go(ctx, func(context.Context) error { return errors.New("early") })
		late.SetName("early")
		yield(ctx, 1)
		defer j.Log("main ends")
		return nil
	})
	j.Log("%s", outcome(err))
	j.Want(t, "never", "main ends", "a Canceled", "b Canceled", "c Canceled",
		"a has cleaned up", "b has cleaned up", "c has cleaned up",
		"report shutdown b: boom", "report result never retrieved early: early", "ok")
}

func TestRunsCtxCancelsMainOnce(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var j journal
	err := task.Run(ctx, func(ctx context.Context) error {
		release := loop.FromContext(ctx).Hold()
		defer release()
		cancel(errBoom)
		err := sleepHour(ctx)
		j.Log("%s, ctx %v", outcome(err), ctx.Err())
		j.Log("%s", outcome(task.Sleep(ctx, time.Millisecond))) // cleans up
		return err
	})
	j.Log("%s", outcome(err))
	j.Want(t, "Canceled(boom), ctx <nil>", "ok", "Canceled(boom)")
}

func TestRunWithACtxThatHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBoom)
	for range 20 {
		err := task.RunConfig(ctx, virtual(nil), sleepHour) // the hour must not pass
		if future.AsCanceled(err) == nil || !errors.Is(err, errBoom) {
			t.Fatalf("got %v", err)
		}
	}
}

func TestEdge106_RunOnALoopPanics(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		wantPanic(t, "Run on a loop", func() { _ = task.Run(ctx, sleepHour) })
		if err := task.RunOn(t.Context(), l, sleepHour); err != loop.ErrRunning {
			t.Errorf("RunOn of a running loop: %v", err)
		}
		if err := l.Close(); err != loop.ErrRunning {
			t.Errorf("Close of a running loop: %v", err)
		}
		// On a goroutine of its own, with a ctx of its own, it may.
		release := l.Hold()
		f, p := future.New[error](l)
		go func() {
			err := task.Run(context.Background(), func(ctx context.Context) error { return task.Yield(ctx) })
			_ = l.CallSoonThreadsafe(func() { p.Resolve(err) })
		}()
		if err, werr := f.Await(ctx); err != nil || werr != nil {
			t.Errorf("on another goroutine: %v, %v", err, werr)
		}
		release()
	})
}

func TestEdge106_RunOnSeveralTimes(t *testing.T) {
	var j journal
	l := newLoop(t, virtual(func(e *loop.CallError) { j.Log("%v", e) }))
	for i := range 3 {
		err := task.RunOn(t.Context(), l, func(ctx context.Context) error {
			task.Go(ctx, func(ctx context.Context) error {
				err := sleepHour(ctx)
				j.Log("leftover of %d %s", i, outcome(err))
				return err
			})
			yield(ctx, 1)
			if i == 1 {
				return errBoom
			}
			return task.Sleep(ctx, time.Second)
		})
		j.Log("%d %s, %d tasks", i, outcome(err), len(task.All(l)))
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := task.RunOn(t.Context(), l, sleepHour); err != loop.ErrClosed {
		t.Errorf("on a closed loop: %v", err)
	}
	j.Want(t, "leftover of 0 Canceled", "0 ok, 0 tasks", "leftover of 1 Canceled", "1 boom, 0 tasks",
		"leftover of 2 Canceled", "2 ok, 0 tasks")
}

func TestRunStoppedBeforeTheEnd(t *testing.T) {
	cleaned := false
	err := task.RunConfig(t.Context(), virtual(nil), func(ctx context.Context) error {
		loop.FromContext(ctx).Stop()
		defer func() { cleaned = true }()
		return sleepHour(ctx)
	})
	if !errors.Is(err, loop.ErrStopped) || !cleaned {
		t.Errorf("%v, cleaned up %v", err, cleaned)
	}
}

func TestCallThreadsafe(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		const n = 8
		release := l.Hold()
		type answer struct {
			v   int
			err error
		}
		answers := make(chan answer, n)
		left, p := future.New[struct{}](l)
		count := 0
		for i := range n {
			go func() {
				v, err := task.CallThreadsafe(context.Background(), l, func(ctx context.Context) (int, error) {
					if loop.FromContext(ctx) != l {
						t.Error("on another loop")
					}
					yield(ctx, i)
					if i == 0 {
						return 0, errBoom
					}
					return i, nil
				})
				answers <- answer{v, err}
				_ = l.CallSoonThreadsafe(func() {
					if count++; count == n {
						p.Resolve(struct{}{})
					}
				})
			}()
		}
		_, _ = left.Await(ctx)
		release()
		sum, failed := 0, 0
		for range n {
			a := <-answers
			sum += a.v
			if a.err == errBoom {
				failed++
			}
		}
		if sum != n*(n-1)/2 || failed != 1 {
			t.Errorf("sum %d, failed %d", sum, failed)
		}
		wantPanic(t, "same loop", func() {
			_, _ = task.CallThreadsafe(ctx, l, func(context.Context) (int, error) { return 0, nil })
		})
	})
}

func TestCallThreadsafeWhoseCtxEndsCancelsAndWaits(t *testing.T) {
	for _, when := range []string{"before", "during"} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			release := l.Hold()
			f, p := future.New[string](l)
			caller, cancel := context.WithCancelCause(context.Background())
			if when == "before" {
				cancel(errBoom)
			}
			var cleaned bool
			go func() {
				_, err := task.CallThreadsafe(caller, l, func(ctx context.Context) (int, error) {
					cancel(errBoom)
					g, _ := future.New[int](l)
					v, err := g.Await(ctx)
					yield(ctx, 3)
					cleaned = true
					return v, err
				})
				_ = l.CallSoonThreadsafe(func() { p.Resolve(outcome(err)) })
			}()
			got, err := f.Await(ctx)
			release()
			if got != "Canceled(boom)" || err != nil || when == "during" && !cleaned {
				t.Errorf("%s: %s, %v, cleaned up %v", when, got, err, cleaned)
			}
		})
	}
}

func TestCallThreadsafeOfALoopThatCloses(t *testing.T) {
	l, err := loop.New(loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{})
	answer := make(chan error)
	go func() {
		_, err := task.CallThreadsafe(context.Background(), l, func(ctx context.Context) (int, error) {
			close(begun)
			return 0, sleepHour(ctx)
		})
		answer <- err
	}()
	go func() {
		<-begun
		_ = l.CallSoonThreadsafe(l.Stop)
	}()
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; !errors.Is(err, loop.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := task.CallThreadsafe(context.Background(), l, func(context.Context) (int, error) { return 0, nil }); err != loop.ErrClosed {
		t.Errorf("closed: %v", err)
	}
}

// Posted but never run, because the loop is closed first.
func TestCallThreadsafeOfALoopThatNeverRuns(t *testing.T) {
	l, err := loop.New(loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan error)
	posted := make(chan struct{})
	go func() {
		_ = l.CallSoonThreadsafe(func() {})
		close(posted)
		_, err := task.CallThreadsafe(context.Background(), l, func(context.Context) (int, error) { return 1, nil })
		answer <- err
	}()
	<-posted
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; !errors.Is(err, loop.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func init() {
	// Signals itself once it sleeps: virtual time would leave no room for signals.
	interrupted := func(times int, body func(ctx context.Context) error) func() {
		return func() {
			task.Main(func(ctx context.Context) error {
				seen := make(chan os.Signal, times) // paces: equal signals merge
				signal.Notify(seen, os.Interrupt)
				go func() {
					for range times {
						_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
						<-seen
					}
				}()
				return body(ctx)
			})
			fmt.Println("Main returned")
		}
	}
	children["main, no error"] = func() {
		task.Main(func(ctx context.Context) error { return task.Yield(ctx) })
		fmt.Println("Main returned")
	}
	children["main, error"] = func() {
		task.Main(func(context.Context) error { return errBoom })
	}
	children["main, one SIGINT"] = interrupted(1, func(ctx context.Context) error {
		err := sleepHour(ctx)
		_ = task.Sleep(ctx, 10*time.Millisecond)
		fmt.Println("cleaned up after", err)
		return err
	})
	children["main, one SIGINT, wrapped"] = interrupted(1, func(ctx context.Context) error {
		return fmt.Errorf("serve: %w", sleepHour(ctx))
	})
	children["main, one SIGINT, swallowed"] = interrupted(1, func(ctx context.Context) error {
		_ = sleepHour(ctx)
		return nil
	})
	children["main, one SIGINT, other error"] = interrupted(1, func(ctx context.Context) error {
		_ = sleepHour(ctx)
		return errBoom
	})
	children["main, two SIGINT"] = interrupted(2, func(ctx context.Context) error {
		_ = sleepHour(ctx)
		fmt.Println("cleaning up")
		_ = sleepHour(ctx)
		fmt.Println("never")
		return nil
	})
}

func TestEdge105_Main(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		says   string // contained in the output
		not    string // not contained
	}{
		{"main, no error", 0, "Main returned", ""},
		{"main, error", 1, "boom\n", "Main returned"},
		{"main, one SIGINT", 130, "cleaned up after canceled: signal: interrupt", "Main returned"},
		{"main, one SIGINT, wrapped", 130, "", "Main returned"},
		{"main, one SIGINT, swallowed", 0, "Main returned", ""},
		{"main, one SIGINT, other error", 1, "boom\n", "Main returned"},
		{"main, two SIGINT", 130, "", "never"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := child(ctx, tt.name)
			out, err := cmd.CombinedOutput()
			if status := cmd.ProcessState.ExitCode(); status != tt.status || ctx.Err() != nil {
				t.Errorf("status %d, want %d (%v)\n%s", status, tt.status, err, out)
			}
			if !strings.Contains(string(out), tt.says) || tt.not != "" && strings.Contains(string(out), tt.not) {
				t.Errorf("output %q, want %q in it and not %q", out, tt.says, tt.not)
			}
		})
	}
}
