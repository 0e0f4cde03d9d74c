package task_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
	"github.com/eddyloop/eddy/task"
)

func TestRunLoopsRunsOneMainOnEachLoop(t *testing.T) {
	for _, n := range []int{-1, 0, 1, 5} {
		want := n
		if n <= 0 {
			want = runtime.GOMAXPROCS(0)
		}
		type key struct{}
		ctx := context.WithValue(t.Context(), key{}, "v")
		loops := make([]*loop.Loop, want)
		met := make(chan struct{})
		var here atomic.Int32
		err := task.RunLoops(ctx, n, func(ctx context.Context, i int, all *task.Loops) error {
			loops[i] = loop.FromContext(ctx)
			if all.Len() != want || all.Loop(i) != loops[i] || ctx.Value(key{}) != "v" || task.FromContext(ctx).Name() != "main" {
				t.Errorf("loop %d of %d: value %v", i, all.Len(), ctx.Value(key{}))
			}
			if int(here.Add(1)) == want {
				close(met)
			}
			<-met // all run at the same time
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		for i, l := range loops {
			if slices.Index(loops, l) != i {
				t.Error("two mains on one loop")
			}
			if !l.Closed() {
				t.Error("a loop is not closed")
			}
		}
	}
}

func TestRunLoopsErrors(t *testing.T) {
	errOther := errors.New("other")
	canceled := &future.CanceledError{Cause: errBoom}
	// mains are what three loops do; each returns.
	fails := func(err error) func(ctx context.Context) error {
		return func(context.Context) error { return err }
	}
	cleansUp := func(to error) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			err := sleepHour(ctx)
			_ = task.Sleep(ctx, time.Millisecond) // in peace
			if to != nil {
				return to
			}
			return err
		}
	}
	swallows := func(ctx context.Context) error { _ = sleepHour(ctx); return nil }
	briefly := func(ctx context.Context) error { return task.Sleep(ctx, 5*time.Millisecond) }
	for _, tt := range []struct {
		name  string
		mains [3]func(ctx context.Context) error
		want  string
	}{
		{"one fails", [3]func(context.Context) error{cleansUp(nil), fails(errBoom), swallows}, "boom"},
		{"one fails, another at that", [3]func(context.Context) error{cleansUp(errOther), fails(errBoom), swallows}, "other\nboom"},
		{"one is canceled", [3]func(context.Context) error{briefly, fails(canceled), briefly}, "Canceled(boom)"},
		{"one panics", [3]func(context.Context) error{cleansUp(nil), func(context.Context) error { panic("boom") }, swallows}, "panic: boom"},
		{"none fails", [3]func(context.Context) error{briefly, fails(nil), briefly}, "ok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var begun sync.WaitGroup
			begun.Add(3)
			err := task.RunLoops(t.Context(), 3, func(ctx context.Context, i int, _ *task.Loops) error {
				begun.Done()
				begun.Wait()
				return tt.mains[i](ctx)
			})
			if got := outcome(err); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// One failure is returned as it is, and is the cause for the others.
func TestRunLoopsFirstFailureIsTheCause(t *testing.T) {
	var cause error
	begun := make(chan struct{})
	err := task.RunLoops(t.Context(), 2, func(ctx context.Context, i int, _ *task.Loops) error {
		if i == 0 {
			<-begun
			return errBoom
		}
		close(begun)
		err := sleepHour(ctx)
		cause = future.AsCanceled(err).Cause
		return err
	})
	if err != errBoom || cause != errBoom {
		t.Errorf("got %v, cause %v", err, cause)
	}
}

// The others hear of a failure before its loop is closed, which may take its time.
func TestRunLoopsCancelsBeforeItCloses(t *testing.T) {
	heard := make(chan struct{})
	err := task.RunLoops(t.Context(), 2, func(ctx context.Context, i int, all *task.Loops) error {
		if i == 0 {
			all.Loop(0).OnClose(func(ctx context.Context) error {
				select {
				case <-heard:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			// Fails when the other waits.
			began := make(chan struct{})
			if err := all.Loop(1).CallSoonThreadsafe(func() { close(began) }); err != nil {
				return err
			}
			if _, _, err := task.Recv(ctx, began); err != nil {
				return err
			}
			return errBoom
		}
		defer close(heard)
		return sleepHour(ctx)
	})
	if err != errBoom {
		t.Errorf("got %v", err)
	}
}

func TestRunLoopsCtxCancelsAll(t *testing.T) {
	for _, when := range []string{"before", "during"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		if when == "before" {
			cancel(errBoom)
		} else {
			time.AfterFunc(5*time.Millisecond, func() { cancel(errBoom) })
		}
		err := task.RunLoops(ctx, 3, func(ctx context.Context, i int, _ *task.Loops) error {
			err := sleepHour(ctx)
			if i == 1 {
				return nil
			}
			return err
		})
		if outcome(err) != "Canceled(boom)" {
			t.Errorf("%s: %v", when, err)
		}
	}
}

// Goexit, which t.FailNow calls, goes on where RunLoops was called, when all loops
// are closed and deferred calls have run.
func TestRunLoopsGoexit(t *testing.T) {
	var loops *task.Loops
	var cleaned atomic.Int32
	returned := false
	ended := make(chan struct{})
	var begun sync.WaitGroup
	begun.Add(3)
	go func() {
		defer close(ended)
		_ = task.RunLoops(context.Background(), 3, func(ctx context.Context, i int, all *task.Loops) error {
			defer cleaned.Add(1)
			begun.Done()
			begun.Wait()
			if i == 1 {
				loops = all
				runtime.Goexit()
			}
			err := sleepHour(ctx)
			if !errors.Is(err, coro.ErrGoexit) {
				t.Errorf("cause %v", err)
			}
			return err
		})
		returned = true
	}()
	<-ended
	if returned || cleaned.Load() != 3 {
		t.Errorf("returned %v, %d mains have ended", returned, cleaned.Load())
	}
	for i := range loops.Len() {
		if !loops.Loop(i).Closed() {
			t.Errorf("loop %d is not closed", i)
		}
	}
}

func TestRunLoopsConfig(t *testing.T) {
	// Each loop has its own.
	var reported [2]atomic.Int32
	cfg := task.LoopsConfig{N: 2, Loop: func(i int) loop.Config {
		return loop.Config{OnError: func(*loop.CallError) { reported[i].Add(1) }}
	}}
	err := task.RunLoopsConfig(t.Context(), cfg, func(ctx context.Context, i int, _ *task.Loops) error {
		for range i + 1 {
			loop.FromContext(ctx).CallSoon(func() { panic("contained") })
		}
		return task.Sleep(ctx, time.Millisecond)
	})
	if err != nil || reported[0].Load() != 1 || reported[1].Load() != 2 {
		t.Errorf("%v, reported %d and %d", err, reported[0].Load(), reported[1].Load())
	}
	// The second loop cannot be made: nothing runs, and the first is closed.
	cfg.Loop = func(i int) loop.Config {
		if i == 0 {
			return loop.Config{}
		}
		return loop.Config{Poller: func() (poller.Poller, error) { return nil, errBoom }}
	}
	err = task.RunLoopsConfig(t.Context(), cfg, func(context.Context, int, *task.Loops) error {
		t.Error("main runs")
		return nil
	})
	if !errors.Is(err, errBoom) {
		t.Errorf("got %v", err)
	}
	run(t, func(ctx context.Context, _ *loop.Loop) {
		wantPanic(t, "RunLoops on a loop", func() { _ = task.RunLoops(ctx, 1, nil) })
	})
}

// Two loops post to each other at the same time, as fast as they can. Neither ever
// waits for the other; each post is run once, in order.
func TestRunLoopsPostToEachOther(t *testing.T) {
	const n = 100_000
	for _, wait := range []loop.WaitPolicy{loop.WaitSleep, loop.WaitDoze, loop.WaitAuto} {
		cfg := task.LoopsConfig{N: 2, Loop: func(int) loop.Config { return loop.Config{Wait: wait} }}
		var got [2]int // each touched by one loop
		var full [2]future.Promise[struct{}]
		var begun sync.WaitGroup // nobody posts before both are there
		begun.Add(2)
		err := task.RunLoopsConfig(t.Context(), cfg, func(ctx context.Context, i int, all *task.Loops) error {
			other := all.Loop(1 - i)
			mine, p := future.New[struct{}](all.Loop(i))
			full[i] = p
			begun.Done()
			if err := task.WaitGroupDone(ctx, &begun); err != nil {
				return err
			}
			for k := range n {
				if err := other.CallSoonThreadsafe(func() {
					if got[1-i] != k {
						t.Errorf("post %d came as number %d", k, got[1-i])
					}
					if got[1-i]++; got[1-i] == n {
						full[1-i].Resolve(struct{}{})
					}
				}); err != nil {
					return err
				}
				if k%1000 == 0 {
					yield(ctx, 1)
				}
			}
			_, err := mine.Await(ctx)
			return err
		})
		if err != nil || got != [2]int{n, n} {
			t.Errorf("%v, received %v", err, got)
		}
	}
}

// A loop that is busy, or has ended, holds nobody up.
func TestRunLoopsPostToALoopThatIsBlocked(t *testing.T) {
	blocked, unblock := make(chan struct{}), make(chan struct{})
	ran := 0
	var late error
	err := task.RunLoops(t.Context(), 2, func(ctx context.Context, i int, all *task.Loops) error {
		if i == 0 {
			close(blocked)
			<-unblock // which a main must not do
			return nil
		}
		<-blocked
		for range 10_000 {
			if err := all.Loop(0).CallSoonThreadsafe(func() { ran++ }); err != nil {
				return err
			}
		}
		close(unblock)
		<-all.Loop(0).Ended()
		late = all.Loop(0).CallSoonThreadsafe(func() {})
		return nil
	})
	if err != nil || ran != 10_000 || late != loop.ErrClosed {
		t.Errorf("%v, %d posts were run, a late one: %v", err, ran, late)
	}
}

// A message from one loop to another, with the loops busy.
func BenchmarkPostBetweenLoops(b *testing.B) {
	b.ReportAllocs()
	_ = task.RunLoops(context.Background(), 2, func(ctx context.Context, i int, all *task.Loops) error {
		l := loop.FromContext(ctx)
		done, p := future.New[struct{}](l)
		left := b.N
		var back func()
		back = func() { // ping-pong: one message is on its way
			if left--; left <= 0 {
				_ = all.Loop(1 - i).CallSoonThreadsafe(func() {})
				p.Resolve(struct{}{})
				return
			}
			_ = all.Loop(1 - i).CallSoonThreadsafe(func() { _ = l.CallSoonThreadsafe(back) })
		}
		if i == 1 { // answers until the other has ended
			release := l.Hold()
			go func() {
				<-all.Loop(0).Ended()
				_ = l.CallSoonThreadsafe(func() { p.Resolve(struct{}{}) })
				release()
			}()
		} else {
			back()
		}
		_, err := done.Await(ctx)
		return err
	})
}
