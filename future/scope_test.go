package future_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/cputime"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

var errCause = errors.New("cause")

// left is a scope that is left to end by itself.
func left(sub context.Context, _ context.CancelFunc) (context.Context, func()) { return sub, nil }

// Whatever ends a scope, each wait with it ends, and its future is canceled.
func TestScopeEndsEveryWait(t *testing.T) {
	for _, tt := range []struct {
		name string
		// derive returns a scope, and what ends it unless time does.
		derive func(ctx context.Context) (context.Context, func())
		want   string
		is     error
	}{
		{"task.WithTimeout", func(ctx context.Context) (context.Context, func()) {
			sub, _ := task.WithTimeout(ctx, time.Second)
			return sub, nil
		}, "task: timeout", task.ErrTimeout},
		{"task.WithDeadline", func(ctx context.Context) (context.Context, func()) {
			sub, _ := task.WithDeadline(ctx, loop.FromContext(ctx).Now().Add(time.Second))
			return sub, nil
		}, "task: timeout", context.DeadlineExceeded},
		{"task.WithTimeout that has passed", func(ctx context.Context) (context.Context, func()) {
			sub, _ := task.WithTimeout(ctx, -time.Second)
			return sub, nil
		}, "task: timeout", task.ErrTimeout},
		{"task.WithTimeout canceled", func(ctx context.Context) (context.Context, func()) {
			sub, cancel := task.WithTimeout(ctx, time.Hour)
			return sub, cancel
		}, "Canceled(context canceled)", future.ErrCanceled},
		{"nested, the outer is shorter", func(ctx context.Context) (context.Context, func()) {
			sub, _ := task.WithTimeout(ctx, time.Second)
			sub, _ = task.WithTimeout(sub, time.Hour)
			return sub, nil
		}, "task: timeout", task.ErrTimeout},
		{"nested, the inner is shorter", func(ctx context.Context) (context.Context, func()) {
			sub, _ := task.WithTimeout(ctx, time.Hour)
			sub, _ = task.WithTimeout(sub, time.Second)
			return sub, nil
		}, "task: timeout", task.ErrTimeout},
		{"nested, the outer is canceled", func(ctx context.Context) (context.Context, func()) {
			sub, cancel := task.WithTimeout(ctx, time.Hour)
			sub, _ = task.WithTimeout(sub, time.Hour)
			return sub, cancel
		}, "Canceled(context canceled)", context.Canceled},
		{"context.WithCancel", func(ctx context.Context) (context.Context, func()) {
			sub, cancel := context.WithCancel(ctx)
			return sub, cancel
		}, "Canceled(context canceled)", context.Canceled},
		{"context.WithCancelCause", func(ctx context.Context) (context.Context, func()) {
			sub, cancel := context.WithCancelCause(ctx)
			return sub, func() { cancel(errCause) }
		}, "Canceled(cause)", errCause},
		{"context.WithTimeout that has passed", func(ctx context.Context) (context.Context, func()) {
			return left(context.WithTimeout(ctx, -time.Second))
		}, "context deadline exceeded", context.DeadlineExceeded},
		{"context.WithTimeoutCause that has passed", func(ctx context.Context) (context.Context, func()) {
			return left(context.WithTimeoutCause(ctx, -time.Second, errCause))
		}, "cause", context.DeadlineExceeded},
		{"a value over a scope", func(ctx context.Context) (context.Context, func()) {
			sub, _ := task.WithTimeout(ctx, time.Second)
			return context.WithValue(sub, errCause, 1), nil
		}, "task: timeout", task.ErrTimeout},
		{"a value over context.WithCancel", func(ctx context.Context) (context.Context, func()) {
			sub, cancel := context.WithCancel(ctx)
			return context.WithValue(sub, errCause, 1), cancel
		}, "Canceled(context canceled)", context.Canceled},
		{"task.WithTimeout over context.WithCancel", func(ctx context.Context) (context.Context, func()) {
			sub, cancel := context.WithCancel(ctx)
			sub, _ = task.WithTimeout(sub, time.Hour)
			return sub, cancel
		}, "Canceled(context canceled)", context.Canceled},
		{"context.WithCancel over task.WithTimeout", func(ctx context.Context) (context.Context, func()) {
			sub, _ := task.WithTimeout(ctx, time.Second)
			return left(context.WithCancel(sub))
		}, "context deadline exceeded", context.DeadlineExceeded}, // package context keeps no cause of a foreign parent

	} {
		for _, how := range []string{"own ctx", "inherited", "by a callback", "on another goroutine"} {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				run(t, func(ctx context.Context, l *loop.Loop) {
					sub, end := tt.derive(ctx)
					f, _ := future.New[int](l)
					body := func(ctx context.Context) error {
						if end != nil {
							switch how {
							case "own ctx", "inherited":
								l.CallSoon(end)
							case "by a callback":
								l.CallLater(time.Minute, end)
							default:
								release := l.Hold()
								go func() { end(); release() }()
							}
						}
						for i := range 3 { // level: every time
							_, err := f.Await(ctx)
							if i > 0 {
								_, err = future.After(l, time.Hour).Await(ctx)
							}
							if outcome(err) != tt.want || !errors.Is(err, tt.is) {
								t.Errorf("wait %d: %v, want %s", i, err, tt.want)
							}
							if got := future.AsCanceled(err) != nil; got == errors.Is(err, context.DeadlineExceeded) {
								t.Errorf("wait %d: is a cancellation %v, a timeout %v", i, got, !got)
							}
							if err := task.Yield(ctx); outcome(err) != tt.want {
								t.Errorf("Yield %d: %v, want %s", i, err, tt.want)
							}
							if l.Stats().Pending > 2 {
								t.Errorf("%d timers", l.Stats().Pending)
							}
						}
						if !f.Canceled() || ctx.Err() == nil {
							t.Errorf("%v, ctx.Err %v", f, ctx.Err())
						}
						if self := task.FromContext(ctx); self.Canceling() != 0 {
							t.Errorf("canceling %d", self.Canceling())
						}
						return nil
					}
					if how == "inherited" {
						if _, err := task.Go(sub, body).Await(ctx); err != nil {
							t.Error(err)
						}
					} else {
						_ = body(sub)
					}
					if _, err := future.After(l, time.Second).Await(ctx); err != nil {
						t.Errorf("outside of the scope: %v", err)
					}
				})
			})
		}
	}
}

func TestScopeThatDoesNotEndChangesNothing(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		start := l.Now()
		sub, cancel := task.WithTimeout(ctx, time.Minute)
		std, cancelStd := context.WithCancel(sub)
		for _, c := range []context.Context{sub, std, context.WithValue(ctx, errCause, 1)} {
			if err := task.Sleep(c, time.Second); err != nil {
				t.Error(err)
			}
			tk := task.Start(c, func(ctx context.Context) (int, error) { return 5, task.Sleep(ctx, time.Second) })
			if v, err := tk.Await(c); v != 5 || err != nil {
				t.Errorf("%v, %v", v, err)
			}
		}
		if d := l.Now().Sub(start); d != 6*time.Second {
			t.Errorf("took %v", d)
		}
		cancelStd()
		cancel()
		yield(ctx, 1)
		if l.Stats().Pending != 0 {
			yield(ctx, 100) // cancel may come from any goroutine, so its timer stops a look later
			if n := l.Stats().Pending; n != 0 {
				t.Errorf("%d timers are left", n)
			}
		}
	})
}

func TestScopeDeadline(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		now := l.Now()
		if _, ok := ctx.Deadline(); ok {
			t.Error("a task has a deadline")
		}
		outer, cancel := task.WithTimeout(ctx, time.Minute)
		defer cancel()
		inner, cancel := task.WithTimeout(outer, time.Hour)
		defer cancel()
		if d, ok := inner.Deadline(); !ok || !d.Equal(now.Add(time.Minute)) {
			t.Errorf("inner: %v, %v", d.Sub(now), ok)
		}
		_, _ = task.Go(outer, func(ctx context.Context) error {
			if d, ok := ctx.Deadline(); !ok || !d.Equal(now.Add(time.Minute)) {
				t.Errorf("inherited: %v, %v", d.Sub(now), ok)
			}
			return nil
		}).Await(ctx)
	})
}

func TestAwaitingATaskUnderAScopeCancelsIt(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(err error) (int, error)
		want string
	}{
		{"ends canceled", func(err error) (int, error) { return 0, err }, "0 task: timeout"},
		{"ends with a value", func(error) (int, error) { return 5, nil }, "5 ok"},
		{"fails", func(error) (int, error) { return 0, errBoom }, "0 boom"},
	} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			start := l.Now()
			tk := task.Start(ctx, func(ctx context.Context) (int, error) {
				err := task.Sleep(ctx, time.Hour)
				_ = task.Sleep(ctx, time.Minute) // cleans up
				return tt.end(err)
			})
			sub, cancel := task.WithTimeout(ctx, time.Second)
			defer cancel()
			v, err := tk.Await(sub)
			if got := fmt.Sprint(v, " ", outcome(err)); got != tt.want || l.Now().Sub(start) != time.Minute+time.Second {
				t.Errorf("%s: %s after %v, want %s", tt.name, got, l.Now().Sub(start), tt.want)
			}
			if tk.Canceling() != 1 {
				t.Errorf("%s: canceled %d times", tt.name, tk.Canceling())
			}
			if v2, err2 := tk.Await(sub); v2 != v || tt.name == "fails" && err2 != err {
				t.Errorf("%s: again, settled: %v, %v", tt.name, v2, err2)
			}
		})
	}
}

func TestScopeEndsInTheTurnInWhichTheFutureSettles(t *testing.T) {
	for _, first := range []string{"future", "scope"} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			f, p := future.New[int](l)
			sub, cancel := task.WithTimeout(ctx, time.Hour)
			defer cancel()
			l.CallLater(time.Second, func() {
				if first == "future" {
					p.Resolve(5)
					cancel()
				} else {
					cancel()
					p.Resolve(5) // the scope's end is told in the next turn
				}
			})
			if v, err := f.Await(sub); v != 5 || err != nil {
				t.Errorf("%s first: %v, %v", first, v, err)
			}
			if _, err := future.After(l, time.Second).Await(sub); future.AsCanceled(err) == nil {
				t.Errorf("%s first: the next wait: %v", first, err)
			}
		})
	}
}

func TestCancelOfTheTaskUnderAScopeIsACancel(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		tk := task.Go(ctx, func(ctx context.Context) error {
			sub, cancel := task.WithTimeout(ctx, time.Minute)
			defer cancel()
			err := task.Sleep(sub, time.Hour)
			if outcome(err) != "Canceled(boom)" {
				t.Errorf("got %v", err)
			}
			if sub.Err() != nil || ctx.Err() != nil {
				t.Errorf("the cancel closed a ctx: %v, %v", sub.Err(), ctx.Err())
			}
			err = task.Sleep(sub, time.Hour) // an edge: once; then the scope ends
			if err != task.ErrTimeout {
				t.Errorf("the next wait: %v", err)
			}
			return err
		})
		yield(ctx, 1)
		tk.Cancel(errBoom)
		if _, err := tk.Await(ctx); err != task.ErrTimeout {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheBodysDoneClosesWhenTheTaskEnds(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		closed := func(c context.Context) bool {
			select {
			case <-c.Done():
				return true
			default:
				return false
			}
		}
		var own context.Context
		tk := task.Go(ctx, func(ctx context.Context) error {
			own = ctx
			err := task.Sleep(ctx, time.Hour)
			if closed(ctx) || ctx.Err() != nil {
				t.Error("Cancel closes the body's ctx")
			}
			_ = task.Sleep(ctx, time.Minute)
			return err
		})
		yield(ctx, 1)
		sub, cancel := context.WithCancel(own)
		defer cancel()
		told := make(chan struct{})
		stop := context.AfterFunc(own, func() { close(told) })
		never := context.AfterFunc(own, func() { t.Error("called although stopped") })
		if !never() {
			t.Error("not stopped")
		}
		tk.Cancel(nil)
		yield(ctx, 1)
		if closed(own) || closed(sub) {
			t.Error("closed before the task has ended")
		}
		_, _ = tk.Await(ctx)
		<-told
		if !closed(own) || !closed(sub) || own.Err() != context.Canceled || stop() {
			t.Errorf("after the end: closed %v, %v, %v", closed(own), closed(sub), own.Err())
		}
		// Asked for only after the end.
		quick := task.Go(ctx, func(ctx context.Context) error { own = ctx; return nil })
		_, _ = quick.Await(ctx)
		sub, cancel = context.WithCancel(own)
		defer cancel()
		if !closed(own) || !closed(sub) || own.Err() == nil {
			t.Errorf("after the end: %v, %v", own.Err(), sub.Err())
		}
	})
}

func TestTaskStartedFromADerivedCtxOutlivesItsStarter(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var inner *task.Task[struct{}]
		starter := task.Go(ctx, func(ctx context.Context) error {
			inner = task.Go(context.WithValue(ctx, errCause, "v"), func(ctx context.Context) error {
				if err := task.Sleep(ctx, time.Hour); err != nil {
					return err
				}
				if ctx.Value(errCause) != "v" || ctx.Err() != nil {
					t.Errorf("value %v, err %v", ctx.Value(errCause), ctx.Err())
				}
				return nil
			})
			return nil
		})
		_, _ = starter.Await(ctx)
		if _, err := inner.Await(ctx); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestWithoutCancelIsNoScope(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		sub, cancel := task.WithTimeout(ctx, time.Second)
		defer cancel()
		_, _ = task.Go(sub, func(ctx context.Context) error {
			_ = task.Sleep(ctx, time.Hour)
			if err := task.Sleep(context.WithoutCancel(ctx), time.Second); err != nil {
				t.Errorf("a clean-up without the scope: %v", err)
			}
			return nil
		}).Await(ctx)
	})
}

func TestLargeManyWaitsUnderOneScope(t *testing.T) {
	n := 50_000
	if raceEnabled {
		n = 500
	}
	for name, delay := range map[string]func(i int) time.Duration{
		"ending in order":         func(i int) time.Duration { return time.Duration(1+i) * time.Microsecond },
		"ending from behind":      func(i int) time.Duration { return time.Duration(1+n-i) * time.Microsecond },
		"ended by the scope":      func(int) time.Duration { return 2 * time.Hour },
		"ending at the same time": func(int) time.Duration { return time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				start := cputime.Used()
				sub, cancel := task.WithTimeout(ctx, time.Hour)
				defer cancel()
				ended := 0
				for i := range n {
					task.Go(sub, func(ctx context.Context) error { defer func() { ended++ }(); return task.Sleep(ctx, delay(i)) })
				}
				for _, tk := range task.All(l)[1:] {
					stop := tk.OnDone(func() { _ = tk.Err() })
					defer stop()
				}
				_ = task.Sleep(ctx, 2*time.Hour)
				if ended != n {
					t.Errorf("%d of %d ended", ended, n)
				}
				if d := cputime.Used() - start; d > 2*time.Second && !raceEnabled {
					t.Errorf("took %v", d)
				} else {
					t.Logf("%d waits: %v", n, d)
				}
			})
		})
	}
}
