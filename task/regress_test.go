package task_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

// Each of these was a bug.

func TestScopeUnderAScopeThatHasEndedHasEnded(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(ctx context.Context) context.Context
		want error
	}{
		{"canceled", func(ctx context.Context) context.Context {
			outer, cancel := task.WithTimeout(ctx, time.Hour)
			cancel()
			return outer
		}, context.Canceled},
		{"of package context", func(ctx context.Context) context.Context {
			outer, cancel := context.WithCancel(ctx)
			cancel()
			return outer
		}, context.Canceled},
		{"timed out", func(ctx context.Context) context.Context {
			outer, cancel := task.WithTimeout(ctx, 0)
			defer cancel()
			return outer
		}, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			looptest.Run(t, func(ctx context.Context) error {
				start := loop.FromContext(ctx).Now()
				inner, cancel := task.WithTimeout(tt.end(ctx), 2*time.Hour)
				defer cancel()
				if !errors.Is(inner.Err(), tt.want) {
					t.Errorf("Err = %v, want %v", inner.Err(), tt.want)
				}
				if err := task.Sleep(inner, 30*time.Minute); !errors.Is(err, tt.want) {
					t.Errorf("Sleep = %v, want %v", err, tt.want)
				}
				if d := loop.FromContext(ctx).Now().Sub(start); d != 0 {
					t.Errorf("it took %v", d)
				}
				return nil
			})
		})
	}
}

func TestScopeIsCanceledFromAnotherGoroutineWhileWaitsEnd(t *testing.T) {
	looptest.RunConfig(t, looptest.Config{Real: true}, func(ctx context.Context) error {
		for range 20 {
			sub, cancel := task.WithTimeout(ctx, time.Hour)
			inner, cancelInner := task.WithTimeout(sub, time.Hour)
			var ts []*task.Task[struct{}]
			for i := range 100 {
				ts = append(ts, task.Go(ctx, func(context.Context) error { return nil }))
				_ = i
				task.Go(inner, func(ctx context.Context) error {
					_ = task.Sleep(ctx, time.Duration(i)*time.Microsecond)
					return nil
				})
			}
			var wg sync.WaitGroup
			wg.Go(cancel)
			wg.Go(func() { <-inner.Done() })
			if _, err := task.Gather(ctx, ts...); err != nil {
				return err
			}
			if err := task.Sleep(inner, time.Hour); !errors.Is(err, context.Canceled) {
				t.Errorf("Sleep = %v", err)
			}
			wg.Wait()
			cancelInner()
		}
		return nil
	})
}

func TestDoneOfANestedScopeEndsWithTheTask(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		var done <-chan struct{}
		nested := task.Go(ctx, func(ctx context.Context) error {
			outer, _ := task.WithTimeout(ctx, time.Hour) //nolint:govet // the task's end is what is tested
			inner, _ := task.WithTimeout(outer, time.Hour)
			done = inner.Done()
			return nil
		})
		_, err := nested.Await(ctx)
		defer loop.FromContext(ctx).Hold()()
		<-done // on a goroutine of package context
		return err
	})
}

// A gexit is a machine that calls Goexit in its every step.
type gexit struct{ f future.Waiter }

func (m *gexit) Step(_ context.Context, thrown error) (future.Waiter, error) {
	if thrown != nil {
		runtime.Goexit()
	}
	return m.f, nil
}
func (*gexit) Result() int { return 0 }

func TestOneBadTaskDoesNotKeepOthersFromBeingUnwound(t *testing.T) {
	for _, tt := range []struct {
		name string
		bad  func(ctx context.Context, l *loop.Loop)
	}{
		{"OnCancel panics", func(ctx context.Context, l *loop.Loop) {
			f, p := future.New[int](l)
			p.OnCancel(func(error) bool { panic("hook") })
			task.Start(ctx, func(ctx context.Context) (int, error) { return f.Await(ctx) })
		}},
		{"a machine's step calls Goexit", func(ctx context.Context, l *loop.Loop) {
			f, _ := future.New[int](l)
			task.StartMachine(ctx, &gexit{f})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan bool)
			deferred := false
			go func() {
				defer close(ended) // Goexit goes on here
				l, err := loop.New(loop.Config{OnError: func(*loop.CallError) {}})
				if err != nil {
					t.Error(err)
					return
				}
				ctx := l.Context()
				tt.bad(ctx, l)
				task.Go(ctx, func(ctx context.Context) error {
					defer func() { deferred = true }()
					return task.Sleep(ctx, time.Hour)
				})
				l.CallLater(time.Millisecond, l.Stop)
				_ = l.Run()
				_ = l.Close()
			}()
			<-ended
			if !deferred {
				t.Error("the other task's deferred call did not run")
			}
		})
	}
}

func TestCallThreadsafeReturnsAResultOfTheLastTurn(t *testing.T) {
	started, result := make(chan *loop.Loop), make(chan error, 1)
	var release future.Promise[int]
	go func() {
		l := <-started
		v, err := task.CallThreadsafe(context.Background(), l, func(ctx context.Context) (int, error) {
			f, p := future.New[int](l)
			release = p
			return f.Await(ctx)
		})
		if err == nil && v != 7 {
			err = errors.New("wrong result")
		}
		result <- err
	}()
	err := task.Run(context.Background(), func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		started <- l
		for release.Future() == nil {
			if err := task.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		release.Resolve(7)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Errorf("CallThreadsafe = %v", err)
	}
}

func TestMisusedSleepLeavesNoTimer(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		var other context.Context
		parked := task.Go(ctx, func(ctx context.Context) error { other = ctx; return task.Sleep(ctx, time.Second) })
		if err := task.Yield(ctx); err != nil {
			return err
		}
		wantPanic(t, "outside of the task", func() { _ = task.Sleep(other, time.Hour) })
		if n := l.Stats().Pending; n != 1 {
			t.Errorf("%d timers are pending, want the other task's", n)
		}
		_, err := parked.Await(ctx)
		return err
	})
}

func TestPanicWithACancellationIsAFailure(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.Go(func(context.Context) error { panic(&future.CanceledError{}) })
			return nil
		})
		var p *coro.PanicError
		if !errors.As(err, &p) {
			t.Errorf("Scope = %v, want the panic", err)
		}
		return nil
	})
}

func TestMachineInAScopeThatTimesOutHasItsReason(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		sub, cancel := task.WithTimeout(ctx, time.Second)
		defer cancel()
		f, _ := future.New[int](loop.FromContext(ctx))
		m := task.StartMachine(sub, &awaiter{f: f})
		if _, err := m.Await(ctx); !errors.Is(err, task.ErrTimeout) {
			t.Errorf("Await = %v, want ErrTimeout", err)
		}
		return nil
	})
}

// An awaiter is a machine that waits for f and ends with what it is thrown.
type awaiter struct{ f *future.Future[int] }

func (m *awaiter) Step(_ context.Context, thrown error) (future.Waiter, error) {
	if thrown != nil || m.f.Done() {
		return task.Done, thrown
	}
	return m.f, nil
}
func (m *awaiter) Result() int { v, _ := m.f.Result(); return v }
