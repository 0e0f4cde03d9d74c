package task_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

func sleepHour(ctx context.Context) error { return task.Sleep(ctx, time.Hour) }

func TestTasksReturnWhatTheirBodiesReturn(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		if v, err := task.Start(ctx, func(context.Context) (string, error) { return "v", nil }).Await(ctx); v != "v" || err != nil {
			t.Errorf("Start: %q, %v", v, err)
		}
		if v, err := task.Start(ctx, func(context.Context) (string, error) { return "v", errBoom }).Await(ctx); v != "" || err != errBoom {
			t.Errorf("Start of a failing body: %q, %v", v, err)
		}
		if _, err := task.Go(ctx, func(context.Context) error { return errBoom }).Await(ctx); err != errBoom {
			t.Errorf("Go: %v", err)
		}
		now := task.StartNow(ctx, func(context.Context) (int, error) { return 5, nil })
		if !now.Done() {
			t.Error("StartNow: a body that need not wait is not done")
		}
		if v, err := now.Result(); v != 5 || err != nil {
			t.Errorf("StartNow: %v, %v", v, err)
		}
		if v, err := task.StartMachine(ctx, &waitMachine{}).Await(ctx); v != 7 || err != nil {
			t.Errorf("StartMachine: %v, %v", v, err)
		}
	})
}

func TestEdge036_FirstStepIsQueued(t *testing.T) {
	var j journal
	run(t, func(ctx context.Context, l *loop.Loop) {
		a := task.Go(ctx, func(context.Context) error { j.Log("a"); return nil })
		b := task.Go(ctx, func(context.Context) error { j.Log("b"); return nil })
		l.CallSoon(func() { j.Log("callback") })
		j.Log("starter")
		_, _ = task.Gather(ctx, a, b)
		j.Want(t, "starter", "a", "b", "callback")
	})
}

func TestEdge054_AllHasThisLoopsTasksOldestFirst(t *testing.T) {
	names := func(l *loop.Loop) (s []string) {
		for _, t := range task.All(l) {
			s = append(s, t.Name())
		}
		return s
	}
	run(t, func(ctx context.Context, l *loop.Loop) {
		a := task.Go(ctx, sleepHour)
		a.SetName("a")
		b := task.StartNow(ctx, func(ctx context.Context) (int, error) { return 0, sleepHour(ctx) })
		b.SetName("b")
		task.StartNow(ctx, func(ctx context.Context) (int, error) { return 0, nil })
		task.StartMachine(ctx, &waitMachine{ws: []future.Waiter{a}}).SetName("c")
		if got, want := names(l), []string{"main", "a", "b", "c"}; !slices.Equal(got, want) {
			t.Errorf("All: %q, want %q", got, want)
		}
		if len(task.All(newLoop(t, loop.Config{}))) != 0 {
			t.Error("another loop has tasks of this one")
		}
		a.Cancel(nil)
		yield(ctx, 3)
		if got, want := names(l), []string{"main", "b"}; !slices.Equal(got, want) {
			t.Errorf("All: %q, want %q", got, want)
		}
	})
}

func TestEdge054_FromContextIsTheTaskOfTheBody(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		main := task.FromContext(ctx)
		sub, cancel := context.WithCancel(ctx)
		defer cancel()
		if main.Name() != "main" || task.FromContext(sub) != main {
			t.Errorf("main: %v, derived: %v", main, task.FromContext(sub))
		}
		var inner task.Any
		own := task.Start(sub, func(ctx context.Context) (int, error) { inner = task.FromContext(ctx); return 0, nil })
		_, _ = own.Await(ctx)
		if inner != task.Any(own) {
			t.Errorf("in a task: %v, want %v", inner, own)
		}
		now := task.StartNow(ctx, func(ctx context.Context) (int, error) {
			inner = task.FromContext(l.Context())
			return 0, nil
		})
		if inner != task.Any(now) || task.FromContext(l.Context()) != main {
			t.Error("StartNow does not give the creator's context back")
		}
		called := false
		l.CallSoon(func() {
			called = true
			if got := task.FromContext(l.Context()); got != nil {
				t.Errorf("in a callback: %v, want nil", got)
			}
		})
		yield(ctx, 2)
		if !called {
			t.Error("not called")
		}
		wantPanic(t, "without a loop", func() { task.FromContext(context.Background()) })
	})
}

func TestEdge055_NamesCountFromTheFirstTask(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		a, b := task.Go(ctx, sleepHour), task.Go(ctx, sleepHour)
		if a.ID() != 2 || a.Name() != "Task-2" || b.Name() != "Task-3" {
			t.Errorf("ID %d, names %s, %s", a.ID(), a.Name(), b.Name())
		}
		a.SetName("")
		b.SetName("fetch")
		if a.Name() != "" || b.Name() != "fetch" {
			t.Errorf("names %q, %q", a.Name(), b.Name())
		}
	})
}

func TestTaskStringSaysWhereItIs(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var got []string
		say := func(t fmt.Stringer) { got = append(got, t.String()) }
		f, p := future.New[int](l)
		a := task.Start(ctx, func(ctx context.Context) (int, error) {
			say(task.FromContext(ctx))
			return f.Await(ctx)
		})
		a.SetName("a")
		b := task.Start(ctx, func(ctx context.Context) (int, error) { return a.Await(ctx) })
		b.SetName("b")
		say(a)
		yield(ctx, 1)
		say(a)
		say(b)
		p.Resolve(1)
		say(a)
		_, _ = b.Await(ctx)
		say(a)
		c := task.Go(ctx, func(context.Context) error { return errBoom })
		c.SetName("c")
		_, _ = c.Await(ctx)
		say(c)
		d := task.Go(ctx, sleepHour)
		d.SetName("d")
		d.Cancel(nil)
		_, _ = d.Await(ctx)
		say(d)
		want := []string{
			"a (ready)", "a (running)", "a (awaits a future)", "b (awaits a)",
			"a (ready)", "a (resolved)", "c (failed)", "d (canceled)",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
	})
}

func TestTaskAwaitsAndBody(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, p := future.New[int](l)
		a := task.Start(ctx, func(ctx context.Context) (int, error) { return f.Await(ctx) })
		if a.Awaits() != nil {
			t.Errorf("before its first step it awaits %v", a.Awaits())
		}
		yield(ctx, 1)
		if w := a.Awaits(); w == nil || future.CellOf(w) != future.CellOf(f) {
			t.Errorf("awaits %v, want %v", w, f)
		}
		p.Resolve(1)
		if a.Awaits() != nil {
			t.Errorf("ready, it awaits %v", a.Awaits())
		}
		if got := a.Body(); !strings.Contains(got, "TestTaskAwaitsAndBody") {
			t.Errorf("Body of a function: %q", got)
		}
		if got := task.Go(ctx, sleepHour).Body(); !strings.HasSuffix(got, "sleepHour") {
			t.Errorf("Body of a function without a result: %q", got)
		}
		if got := task.StartMachine(ctx, &waitMachine{}).Body(); got != "*task_test.waitMachine" {
			t.Errorf("Body of a machine: %q", got)
		}
	})
}

func TestEdge058_StartNowRunsTheFirstStepInside(t *testing.T) {
	var j journal
	run(t, func(ctx context.Context, l *loop.Loop) {
		outer := task.StartNow(ctx, func(ctx context.Context) (int, error) {
			j.Log("outer begins")
			inner := task.StartNow(ctx, func(ctx context.Context) (int, error) {
				j.Log("inner begins")
				yield(ctx, 1)
				j.Log("inner ends")
				return 1, nil
			})
			j.Log("outer goes on as %v", l.Current().(fmt.Stringer))
			v, err := inner.Await(ctx)
			j.Log("outer ends")
			return v + 1, err
		})
		j.Log("starter")
		v, err := outer.Await(ctx)
		j.Log("%d %v", v, err)
		j.Want(t, "outer begins", "inner begins", "outer goes on as Task-2 (running)", "starter",
			"inner ends", "outer ends", "2 <nil>")

		waits := task.StartNow(ctx, func(ctx context.Context) (int, error) { return 0, sleepHour(ctx) })
		waits.Cancel(nil)
		if _, err := waits.Await(ctx); outcome(err) != "Canceled" {
			t.Errorf("canceled after its first step: %v", err)
		}
		bad := task.StartNow(ctx, func(ctx context.Context) (int, error) { panic("now") })
		var p *coro.PanicError
		if !errors.As(bad.Err(), &p) || l.Current() != loop.Running(ctx.(loop.Running)) {
			t.Errorf("panic in a first step: %v, and %v runs", bad.Err(), l.Current())
		}
	})
}

func TestStartNowBeforeTheLoopRunsIsStart(t *testing.T) {
	l := newLoop(t, loop.Config{})
	tk := task.StartNow(l.Context(), func(context.Context) (int, error) { return 1, nil })
	if tk.Done() {
		t.Error("it ran without a loop")
	}
	if err := l.RunUntil(tk); err != nil || tk.State() != future.Resolved {
		t.Errorf("%v, %v", err, tk)
	}
}

func TestEdge050_AwaitingOneselfPanics(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var self *task.Task[int]
		self = task.Start(ctx, func(ctx context.Context) (int, error) { return self.Await(ctx) })
		self.SetName("ouroboros")
		_, err := self.Await(ctx)
		var p *coro.PanicError
		if !errors.As(err, &p) || p.Value != "task: ouroboros awaits itself" {
			t.Errorf("got %v", err)
		}
		m := &waitMachine{}
		mt := task.StartMachine(ctx, m)
		m.ws = []future.Waiter{mt.Future}
		if _, err := mt.Await(ctx); !errors.As(err, &p) || !strings.Contains(err.Error(), "awaits itself") {
			t.Errorf("machine: got %v", err)
		}
	})
}

// A machine may also hand out itself as the task that it is.
func TestMachineAwaitingItsOwnTaskPanics(t *testing.T) {
	if out := childOutput(t, "machine awaits its task"); !strings.Contains(out, "awaits itself") {
		t.Errorf("got %q", out)
	}
}

func init() {
	children["machine awaits its task"] = func() {
		err := task.Run(context.Background(), func(ctx context.Context) error {
			m := &waitMachine{}
			mt := task.StartMachine(ctx, m)
			m.ws = []future.Waiter{mt}
			_, err := task.WaitFor(ctx, 5*time.Second, mt)
			return err
		})
		fmt.Println(err)
	}
}

func TestPanicInABodyFailsTheTaskWithItsStack(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		_, err := task.Go(ctx, explodingBody).Await(ctx)
		var p *coro.PanicError
		if !errors.As(err, &p) || p.Value != errBoom || !errors.Is(err, errBoom) {
			t.Fatalf("got %v", err)
		}
		if !strings.Contains(string(p.Stack), "explodingBody") {
			t.Errorf("the stack does not name the body:\n%s", p.Stack)
		}
		_, err = task.StartMachine(ctx, explodingMachine{}).Await(ctx)
		if !errors.As(err, &p) || p.Value != "step" || !strings.Contains(string(p.Stack), "explodingMachine") {
			t.Errorf("machine: got %v", err)
		}
		_, err = task.StartMachine(ctx, explodingMachine{result: true}).Await(ctx)
		if !errors.As(err, &p) || p.Value != "result" {
			t.Errorf("machine's Result: got %v", err)
		}
		if err := task.Sleep(ctx, time.Second); err != nil {
			t.Errorf("the loop does not go on: %v", err)
		}
	})
}

func explodingBody(context.Context) error { panic(errBoom) }

type explodingMachine struct{ result bool }

func (m explodingMachine) Step(context.Context, error) (future.Waiter, error) {
	if m.result {
		return task.Done, nil
	}
	panic("step")
}
func (explodingMachine) Result() int { panic("result") }

func TestStartPanicsWithoutALoop(t *testing.T) {
	l := newLoop(t, loop.Config{})
	ctx := l.Context()
	wantPanic(t, "without a loop", func() { task.Go(t.Context(), sleepHour) })
	_ = l.Close()
	wantPanic(t, "closed loop", func() { task.Go(ctx, sleepHour) })
}

func TestTasksInACallback(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		type key struct{}
		f, p := future.New[any](l)
		l.WithValues(ctx)
		sub := context.WithValue(ctx, key{}, "v")
		_, _ = task.Go(sub, func(ctx context.Context) error {
			l.CallLater(time.Second, func() {
				task.Go(l.Context(), func(ctx context.Context) error { p.Resolve(ctx.Value(key{})); return nil })
			})
			return nil
		}).Await(ctx)
		if v, err := f.Await(ctx); v != "v" || err != nil {
			t.Errorf("a task started in a callback finds %v, %v", v, err)
		}
	})
}

func TestUseOfATasksContextElsewherePanics(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, _ := future.New[int](l)
		wantPanic(t, "outside of a task", func() { _, _ = f.Await(t.Context()) })
		wantPanic(t, "outside of a task", func() { _ = task.Sleep(t.Context(), time.Second) })
		wantPanic(t, "outside of a task", func() { _ = task.Scope(t.Context(), nil) })
		var other context.Context
		done := task.Go(ctx, func(ctx context.Context) error { other = ctx; return nil })
		_, _ = done.Await(ctx)
		wantPanic(t, "after the task was done", func() { _, _ = f.Await(other) })
		sleeper := task.Go(ctx, func(ctx context.Context) error { other = ctx; return sleepHour(ctx) })
		sleeper.SetName("sleeper")
		yield(ctx, 1)
		wantPanic(t, "ctx of sleeper was used to wait outside of the task", func() { _, _ = f.Await(other) })
		wantPanic(t, "ctx of sleeper was used to wait outside of the task", func() { _ = task.Yield(other) })
		wantPanic(t, "outside of the task", func() { _ = task.Timeout(other, 1, nil) })
		wantPanic(t, "outside of the task", func() { _ = task.Scope(other, nil) })
		called := false
		l.CallSoon(func() {
			called = true
			wantPanic(t, "outside of a task", func() { _, _ = f.Await(l.Context()) })
			wantPanic(t, "outside of the task", func() { _, _ = f.Await(other) })
		})
		yield(ctx, 2)
		if !called {
			t.Error("not called")
		}
		_, err := task.StartMachine(ctx, awaitingMachine{f}).Await(ctx)
		if err == nil || !strings.Contains(err.Error(), "return the future instead") {
			t.Errorf("Await in a Step: %v", err)
		}
	})
}

type awaitingMachine struct{ f *future.Future[int] }

func (m awaitingMachine) Step(ctx context.Context, _ error) (future.Waiter, error) {
	_, err := m.f.Await(ctx)
	return task.Done, err
}
func (awaitingMachine) Result() int { return 0 }

func TestAwaitFromAForeignGoroutinePanics(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, _ := future.New[int](l)
		var theirs context.Context
		task.Go(ctx, func(ctx context.Context) error { theirs = ctx; return sleepHour(ctx) })
		yield(ctx, 1)
		said := make(chan any) // also keeps the loop, and so the race detector, still
		go func() {
			defer func() { said <- recover() }()
			_, _ = f.Await(theirs)
		}()
		if s := fmt.Sprint(<-said); !strings.Contains(s, "from another goroutine") {
			t.Errorf("panicked with %q", s)
		}
	})
}

func TestEdge032_FutureOfAnotherLoop(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, _ := future.New[int](newLoop(t, loop.Config{}))
		wantPanic(t, "main awaits a future of another loop", func() { _, _ = f.Await(ctx) })
		_, err := task.StartMachine(ctx, &waitMachine{ws: []future.Waiter{f}}).Await(ctx)
		if err == nil || !strings.Contains(err.Error(), "future of another loop") {
			t.Errorf("machine: %v", err)
		}
		if err := task.Sleep(ctx, time.Second); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}
