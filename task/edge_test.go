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

// goexits runs main, which ends the loop by runtime.Goexit, and reports whether
// Run returned all the same.
func goexits(main func(ctx context.Context) error) (returned bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = task.RunConfig(context.Background(), virtual(func(*loop.CallError) {}), main)
		returned = true
	}()
	<-done
	return returned
}

// What KeyboardInterrupt is to asyncio, runtime.Goexit is here: it ends more than
// the task. A panic is an error like any other.
func TestEdge048_GoexitIsStoredInTheTaskAndLeavesRun(t *testing.T) {
	var tk *task.Task[struct{}]
	var stored error
	if goexits(func(ctx context.Context) error {
		tk = task.Go(ctx, func(ctx context.Context) error { yield(ctx, 1); runtime.Goexit(); return nil })
		defer func() { stored = tk.Err() }()
		return sleepHour(ctx)
	}) {
		t.Error("Run returned")
	}
	if stored != coro.ErrGoexit {
		t.Errorf("the task has %v", stored)
	}
	run(t, func(ctx context.Context, l *loop.Loop) {
		var p *coro.PanicError
		if _, err := task.Go(ctx, explodingBody).Await(ctx); !errors.As(err, &p) {
			t.Errorf("a panic: %v", err)
		}
	})
}

// asyncio refuses set_result and set_exception of a task; a Task does not have them.
func TestEdge049_ATaskHasNoWriteSide(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var tk any = task.Start(ctx, func(context.Context) (int, error) { return 1, nil })
		for name, has := range map[string]bool{
			"Resolve": is[interface{ Resolve(int) bool }](tk),
			"Fail":    is[interface{ Fail(error) bool }](tk),
			"Promise": is[interface{ Promise() future.Promise[int] }](tk),
		} {
			if has {
				t.Errorf("Task has a method %s", name)
			}
		}
	})
}

func is[I any](v any) bool { _, ok := v.(I); return ok }

func TestEdge052_TheLoopKeepsTasksThatNobodyRefersTo(t *testing.T) {
	const n = 10
	ended := 0
	run(t, func(ctx context.Context, l *loop.Loop) {
		for range n {
			task.Go(ctx, func(ctx context.Context) error {
				defer func() { ended++ }()
				f, p := future.New[int](l) // known to nobody else
				_, err := f.Await(ctx)
				runtime.KeepAlive(p)
				return err
			})
			task.StartMachine(ctx, &waitMachine{ws: []future.Waiter{future.After(l, time.Minute)}}).OnDone(func() { ended++ })
		}
		yield(ctx, 2)
		for range 3 {
			runtime.GC()
		}
		if got := len(task.All(l)); got != 2*n+1 {
			t.Errorf("%d tasks are left, want %d", got, 2*n+1)
		}
		_ = task.Sleep(ctx, time.Hour)
		if ended != n {
			t.Errorf("%d machines went on, want %d", ended, n)
		}
	})
	if ended != 2*n {
		t.Errorf("%d tasks were told of the end, want %d", ended, 2*n)
	}
}

func TestEdge056_StartThatIsRefusedLeavesNothing(t *testing.T) {
	ran := false
	body := func(context.Context) (int, error) { ran = true; return 0, nil }
	closed := newLoop(t, loop.Config{})
	after := closed.Context()
	_ = closed.Close()
	run(t, func(ctx context.Context, l *loop.Loop) {
		for name, start := range map[string]func(ctx context.Context){
			"Start":        func(ctx context.Context) { task.Start(ctx, body) },
			"StartNow":     func(ctx context.Context) { task.StartNow(ctx, body) },
			"StartMachine": func(ctx context.Context) { task.StartMachine(ctx, &waitMachine{}) },
		} {
			if v := panics(t, func() { start(context.Background()) }); !strings.Contains(fmt.Sprint(v), "without a loop") {
				t.Errorf("%s without a loop panicked with %v", name, v)
			}
			if v := panics(t, func() { start(after) }); !strings.Contains(fmt.Sprint(v), "closed loop") {
				t.Errorf("%s on a closed loop panicked with %v", name, v)
			}
		}
		yield(ctx, 2)
		if got := len(task.All(l)); ran || got != 1 {
			t.Errorf("ran %v, %d tasks", ran, got)
		}
		// Whatever can be awaited is awaited alike.
		f, p := future.New[int](l)
		p.Resolve(1)
		for _, await := range []func() (int, error){
			func() (int, error) { return future.Await(ctx, f) },
			func() (int, error) {
				return future.Await(ctx, task.Start(ctx, func(context.Context) (int, error) { return 1, nil }))
			},
		} {
			if v, err := await(); v != 1 || err != nil {
				t.Errorf("Await: %v, %v", v, err)
			}
		}
	})
}

func TestEdge053_TaskLocalVariables(t *testing.T) {
	v, other := task.NewVarDefault("v", "default"), task.NewVar[int]("other")
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		say := func(who string, ctx context.Context) { j.Log("%s %s", who, v.Get(ctx)) }
		say("main", ctx)
		tok := v.Set(ctx, "1")
		child := task.Go(ctx, func(ctx context.Context) error {
			say("child", ctx)
			v.Set(ctx, "child's")
			l.CallLater(time.Second, func() { say("callback", l.Context()); v.Set(l.Context(), "nobody's") })
			sub, cancel := context.WithCancel(ctx)
			defer cancel()
			say("derived", sub)
			v.Set(ctx, "child's later")
			grandchild := task.StartNow(sub, func(ctx context.Context) (int, error) { say("grandchild", ctx); return other.Get(ctx), nil })
			_, err := grandchild.Await(ctx)
			return err
		})
		v.Set(ctx, "2") // after the child was started
		_, _ = child.Await(ctx)
		_ = task.Sleep(ctx, time.Minute)
		say("main", ctx)
		v.Reset(tok)
		say("main", ctx)
		wantPanic(t, "another Var", func() { task.NewVar[string]("w").Reset(tok) })
		if _, ok := v.Lookup(ctx); ok || other.Get(ctx) != 0 {
			t.Error("a variable that was not set has a value")
		}
		j.Want(t, "main default", "child 1", "derived child's", "grandchild child's later", "callback child's",
			"main 2", "main default")
	})
}

func waitsInside(ctx context.Context, f *future.Future[int]) (int, error) { return f.Await(ctx) }

func TestEdge057_Stacks(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, p := future.New[int](l)
		tk := task.Start(ctx, func(ctx context.Context) (int, error) { return waitsInside(ctx, f) })
		unstarted := task.Go(ctx, sleepHour)
		if s := task.Stacks(l); len(s[unstarted.ID()]) != 0 {
			t.Errorf("before its first step:\n%s", s[unstarted.ID()])
		}
		yield(ctx, 1)
		s := task.Stacks(l)
		for _, part := range []string{"waitsInside", "TestEdge057_Stacks.func"} { // all frames, not one
			if !strings.Contains(string(s[tk.ID()]), part) {
				t.Errorf("%s is not on the stack:\n%s", part, s[tk.ID()])
			}
		}
		p.Resolve(1)
		yield(ctx, 1)
		if s := task.Stacks(l)[tk.ID()]; len(s) != 0 {
			t.Errorf("done:\n%s", s)
		}
		bad := task.Go(ctx, explodingBody)
		_, err := bad.Await(ctx)
		var pe *coro.PanicError
		if !errors.As(err, &pe) || !strings.Contains(string(pe.Stack), "explodingBody") || len(task.Stacks(l)[bad.ID()]) != 0 {
			t.Errorf("failed: %v", err)
		}
	})
}

func TestEdge059_CallThreadsafe(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		release := l.Hold()
		defer release()
		for _, tt := range []struct {
			name string
			body func(ctx context.Context, stop context.CancelCauseFunc) (int, error)
			want string
		}{
			{"result", func(context.Context, context.CancelCauseFunc) (int, error) { return 7, nil }, "7 ok"},
			{"error", func(context.Context, context.CancelCauseFunc) (int, error) { return 0, errBoom }, "0 boom"},
			{"panic", func(context.Context, context.CancelCauseFunc) (int, error) { panic("boom") }, "0 panic: boom"},
			{"caller stops", func(ctx context.Context, stop context.CancelCauseFunc) (int, error) {
				stop(errBoom)
				f, _ := future.New[int](l)
				return f.Await(ctx)
			}, "0 Canceled(boom)"},
			{"caller stops, the task answers", func(ctx context.Context, stop context.CancelCauseFunc) (int, error) {
				stop(errBoom)
				f, _ := future.New[int](l)
				_, _ = f.Await(ctx)
				return 0, errors.New("answer")
			}, "0 answer"},
		} {
			f, p := future.New[string](l)
			go func() {
				caller, stop := context.WithCancelCause(context.Background())
				defer stop(nil)
				v, err := task.CallThreadsafe(caller, l, func(ctx context.Context) (int, error) { return tt.body(ctx, stop) })
				_ = l.CallSoonThreadsafe(func() { p.Resolve(fmt.Sprintf("%d %s", v, outcome(err))) })
			}()
			if got, err := f.Await(ctx); got != tt.want || err != nil {
				t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
			}
		}
	})
	l := newLoop(t, loop.Config{})
	_ = l.Close()
	if _, err := task.CallThreadsafe(context.Background(), l, func(context.Context) (int, error) { return 0, nil }); err != loop.ErrClosed {
		t.Errorf("on a closed loop: %v", err)
	}
}

func TestEdge073_AsCompleted(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name string
		fn   func(ctx context.Context, l *loop.Loop, log func(format string, args ...any))
		want []string
	}{
		{"what is done first, then as they end, each once", func(ctx context.Context, l *loop.Loop, log func(string, ...any)) {
			a, b := after(ctx, 3*s, 1, nil), after(ctx, s, 2, errBoom)
			c, d := after(ctx, 0, 3, nil), after(ctx, 0, 4, nil)
			e := after(ctx, 2*s, 5, nil)
			l.CallLater(2*s, func() { e.Cancel(nil) })
			yield(ctx, 3)
			name := map[*task.Task[int]]string{a: "a", b: "b", c: "c", d: "d", e: "e"}
			start := l.Now()
			for f, err := range task.AsCompleted(ctx, a, b, d, a, c, e, d) {
				log("%v %s %v %v", l.Now().Sub(start), name[f], err, f.State())
				_ = f.Err()
			}
		}, []string{"0s d <nil> resolved", "0s c <nil> resolved", "1s b <nil> failed", "2s e <nil> canceled", "3s a <nil> resolved"}},
		{"of nothing", func(ctx context.Context, l *loop.Loop, log func(string, ...any)) {
			for range task.AsCompleted[*task.Task[int]](ctx) {
				log("something")
			}
		}, nil},
		{"timeout", func(ctx context.Context, l *loop.Loop, log func(string, ...any)) {
			a, b, c := after(ctx, s, 1, nil), after(ctx, 3*s, 2, nil), after(ctx, 4*s, 3, nil)
			for f, err := range task.AsCompletedTimeout(ctx, 2*s, c, b, a) {
				log("%v %v", f == a, err == task.ErrTimeout)
			}
			_, err := task.Gather(ctx, b, c)
			log("%v", err) // it canceled neither
		}, []string{"true false", "false true", "<nil>"}},
		{"timeout of zero", func(ctx context.Context, l *loop.Loop, log func(string, ...any)) {
			done, never := after(ctx, 0, 1, nil), after(ctx, s, 2, nil)
			yield(ctx, 2)
			for f, err := range task.AsCompletedTimeout(ctx, 0, never, done) {
				log("%v %v", f == done, err == task.ErrTimeout)
			}
		}, []string{"true false", "false true"}},
		{"leaving cancels nothing", func(ctx context.Context, l *loop.Loop, log func(string, ...any)) {
			a, b := after(ctx, s, 1, nil), after(ctx, 2*s, 2, nil)
			for f := range task.AsCompleted(ctx, a, b) {
				log("%v", f == a)
				break
			}
			v, err := b.Await(ctx)
			log("%v %v", v, err)
		}, []string{"true", "2 <nil>"}},
		{"a consumer that is canceled", func(ctx context.Context, l *loop.Loop, log func(string, ...any)) {
			a, b := after(ctx, s, 1, nil), after(ctx, 3*s, 2, nil)
			consumer := task.Go(ctx, func(ctx context.Context) error {
				for f, err := range task.AsCompleted(ctx, b, a) {
					log("%v %s", f == a, outcome(err))
				}
				return nil
			})
			l.CallLater(2*s, func() { consumer.Cancel(errBoom) })
			_, _ = consumer.Await(ctx)
			v, err := b.Await(ctx)
			log("%v %v", v, err)
		}, []string{"true ok", "false Canceled(boom)", "2 <nil>"}},
		{"several consumers", func(ctx context.Context, l *loop.Loop, log func(string, ...any)) {
			seq := task.AsCompleted(ctx, after(ctx, 2*s, 2, nil), after(ctx, s, 1, nil))
			for f := range seq {
				v, _ := f.Result()
				log("x %d", v)
			}
			for f := range seq { // again
				v, _ := f.Result()
				log("y %d", v)
			}
			b, c := after(ctx, s, 1, nil), after(ctx, 2*s, 2, nil)
			for _, name := range []string{"p", "q"} {
				task.Go(ctx, func(ctx context.Context) error {
					for f := range task.AsCompleted(ctx, c, b) {
						v, _ := f.Result()
						log("%s %d", name, v)
					}
					return nil
				})
			}
			_ = task.Sleep(ctx, time.Hour)
		}, []string{"x 1", "x 2", "y 2", "y 1", "p 1", "q 1", "p 2", "q 2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				var j journal
				tt.fn(ctx, l, j.Log)
				j.Want(t, tt.want...)
			})
		})
	}
}

func TestEdge085_GoexitOfAChildComesOutWhenAllHaveEnded(t *testing.T) {
	var j journal
	if goexits(func(ctx context.Context) error {
		defer j.Log("main ends")
		return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			defer j.Log("body ends")
			for _, name := range []string{"a", "b"} {
				g.Go(func(ctx context.Context) error { defer j.Log("%s ends", name); return sleepHour(ctx) })
			}
			g.Go(func(ctx context.Context) error {
				yield(ctx, 1)
				defer j.Log("child exits")
				runtime.Goexit()
				return nil
			})
			return sleepHour(ctx)
		})
	}) {
		t.Error("Run returned")
	}
	// The loop is closed, which ends its tasks oldest first; then Goexit goes on.
	j.Want(t, "child exits", "body ends", "main ends", "a ends", "b ends")
}

func TestEdge088_GroupCancelWithEagerChildren(t *testing.T) {
	for name, body := range map[string]func(ctx context.Context, g *task.Group, child func(ctx context.Context) (int, error)){
		"children wait": func(ctx context.Context, g *task.Group, child func(ctx context.Context) (int, error)) {
			task.StartNowIn(g, child)
			task.StartNowIn(g, child)
			g.Cancel()
		},
		"a child cancels in its first step": func(ctx context.Context, g *task.Group, child func(ctx context.Context) (int, error)) {
			task.StartNowIn(g, child)
			task.StartNowIn(g, func(ctx context.Context) (int, error) { g.Cancel(); return 0, nil })
		},
		"the last child is done at once": func(ctx context.Context, g *task.Group, child func(ctx context.Context) (int, error)) {
			task.StartNowIn(g, func(ctx context.Context) (int, error) { return 0, nil })
			g.Cancel()
		},
		"the creator is canceled in its wait": func(ctx context.Context, g *task.Group, child func(ctx context.Context) (int, error)) {
			task.StartNowIn(g, func(ctx context.Context) (int, error) { yield(ctx, 1); g.Cancel(); return child(ctx) })
			_ = sleepHour(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				start := l.Now()
				err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
					body(ctx, g, func(ctx context.Context) (int, error) { return 0, sleepHour(ctx) })
					return nil
				})
				if err != nil || l.Now() != start || task.FromContext(ctx).Canceling() != 0 {
					t.Errorf("%v after %v, canceling %d", err, l.Now().Sub(start), task.FromContext(ctx).Canceling())
				}
				if err := task.Yield(ctx); err != nil {
					t.Errorf("the next wait: %v", err)
				}
			})
		})
	}
}
