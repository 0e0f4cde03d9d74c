package task_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// A stepFunc is a machine of one function.
type stepFunc func(ctx context.Context, thrown error) (future.Waiter, error)

func (f stepFunc) Step(ctx context.Context, thrown error) (future.Waiter, error) {
	return f(ctx, thrown)
}
func (stepFunc) Result() string { return "result" }

func TestMachines(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		f, p := future.New[int](l)
		p.Resolve(1)
		bad, q := future.New[int](l)
		q.Fail(errBoom)
		child := after(ctx, time.Second, 3, nil)
		n := 0
		m := task.StartMachine(ctx, stepFunc(func(ctx context.Context, thrown error) (future.Waiter, error) {
			n++
			j.Log("%d %v %v", n, thrown, l.Now().Second())
			if task.FromContext(ctx) == nil || l.Context() != ctx {
				t.Error("its ctx has no task")
			}
			switch n {
			case 1:
				return task.Yielded, nil
			case 2:
				return f, nil
			case 3:
				return bad, nil // a failure is read from the future
			case 4:
				j.Log("%v", bad.Err())
				return child, nil
			case 5:
				return future.After(l, time.Second), nil
			}
			return task.Done, nil
		}))
		v, err := m.Await(ctx)
		j.Log("%q %v", v, err)
		j.Want(t, "1 <nil> 0", "2 <nil> 0", "3 <nil> 0", "4 <nil> 0", "boom", "5 <nil> 1", "6 <nil> 2", `"result" <nil>`)
	})
}

func TestMachineIsThrownCancellations(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		f, _ := future.New[int](l)
		n := 0
		m := task.StartMachine(ctx, stepFunc(func(ctx context.Context, thrown error) (future.Waiter, error) {
			n++
			j.Log("%s", outcome(thrown))
			switch n {
			case 1, 2:
				return future.After(l, time.Hour), nil // ignores what was thrown
			case 3:
				return f, nil
			case 4:
				return task.Yielded, nil
			case 5:
				task.FromContext(ctx).Cancel(errors.New("self"))
				return future.After(l, time.Hour), nil
			}
			return task.Done, thrown
		}))
		yield(ctx, 1)
		m.Cancel(errors.New("task"))
		_ = task.Sleep(ctx, 90*time.Minute) // the second hour passes
		f.Cancel(errors.New("future"))
		_, err := m.Await(ctx)
		j.Log("%s", outcome(err))
		j.Want(t, "ok", "Canceled(task)", "ok", "Canceled(future)", "ok", "Canceled(self)", "Canceled(self)")
	})
}

func TestMachineThatWasCanceledAndIsDoneIsCanceled(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		m := task.StartMachine(ctx, stepFunc(func(ctx context.Context, _ error) (future.Waiter, error) {
			task.FromContext(ctx).Cancel(errBoom)
			return task.Done, nil
		}))
		if _, err := m.Await(ctx); outcome(err) != "Canceled(boom)" {
			t.Errorf("got %v", err)
		}
		m = task.StartMachine(ctx, stepFunc(func(context.Context, error) (future.Waiter, error) { return task.Done, errBoom }))
		if _, err := m.Await(ctx); err != errBoom {
			t.Errorf("failing: %v", err)
		}
		m = task.StartMachine(ctx, stepFunc(func(context.Context, error) (future.Waiter, error) { return nil, nil }))
		if _, err := m.Await(ctx); err == nil || !strings.Contains(err.Error(), "nil Waiter") {
			t.Errorf("nil Waiter: %v", err)
		}
	})
}

// Cancellations of what it asked for are never lost, however many in one turn.
func TestMachineOnCanceledFuturesIsThrownEach(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, _ := future.New[int](l)
		f.Cancel(nil)
		const steps = 5000
		n, thrown := 0, 0
		m := task.StartMachine(ctx, stepFunc(func(_ context.Context, err error) (future.Waiter, error) {
			if err != nil {
				thrown++
			}
			if n++; n == steps {
				return task.Done, nil
			}
			return f, nil
		}))
		others := 0
		task.Go(ctx, func(ctx context.Context) error {
			for !m.Done() {
				others++
				yield(ctx, 1)
			}
			return nil
		})
		if _, err := m.Await(ctx); err != nil || thrown != steps-1 {
			t.Errorf("%v, %d of %d were thrown", err, thrown, steps-1)
		}
		if others < 3 {
			t.Errorf("others had %d turns meanwhile", others)
		}
	})
}

func TestMachineThatIgnoresCloseIsDropped(t *testing.T) {
	var reports []*loop.CallError
	l := newLoop(t, loop.Config{OnError: func(e *loop.CallError) { reports = append(reports, e) }})
	throws, begun := 0, 0
	m := task.StartMachine(l.Context(), stepFunc(func(_ context.Context, thrown error) (future.Waiter, error) {
		begun++
		if thrown != nil {
			throws++
		}
		f, _ := future.New[int](l)
		return f, nil
	}))
	m.SetName("deaf")
	bomb := task.StartMachine(l.Context(), stepFunc(func(_ context.Context, thrown error) (future.Waiter, error) {
		if thrown != nil {
			panic(errBoom)
		}
		g, _ := future.New[int](l)
		return g, nil
	}))
	bomb.SetName("bomb")
	l.CallSoon(l.Stop)
	_ = l.Run()
	_ = l.Close()
	if throws != 3 || begun != 4 || !m.Canceled() {
		t.Errorf("%d throws in %d steps; %v", throws, begun, m)
	}
	if len(reports) != 2 || reports[0].Name != "deaf" || reports[0].Op != "close" || !errors.Is(reports[1], errBoom) || reports[1].Name != "bomb" {
		t.Errorf("reported %v", reports)
	}
}
