package task_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

func TestDebugModeReportsTasksPendingAtCloseWithTheirStacks(t *testing.T) {
	var got []*task.PendingError
	l, err := loop.New(loop.Config{
		Clock: looptest.NewClock(time.Time{}), Debug: true,
		OnError: func(e *loop.CallError) {
			var p *task.PendingError
			if errors.As(e, &p) {
				got = append(got, p)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	task.Go(l.Context(), sleepsForAnHour).SetName("sleeper")
	l.CallSoon(func() { l.CallSoon(l.Stop) })
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || !strings.Contains(got[0].Task, "sleeper (awaits") ||
		!strings.Contains(string(got[0].Where), "sleepsForAnHour") {
		t.Errorf("reported %v", got)
	}
}

func sleepsForAnHour(ctx context.Context) error { return task.Sleep(ctx, time.Hour) }

func TestDebugModeFindsAMachineThatIsStartedTwice(t *testing.T) {
	looptest.RunConfig(t, looptest.Config{Loop: loop.Config{Debug: true}}, func(ctx context.Context) error {
		f, p := future.New[int](loop.FromContext(ctx))
		m := &awaiter{f: f}
		first := task.StartMachine(ctx, m)
		wantPanic(t, "started a second time", func() { task.StartMachine(ctx, m) })
		p.Resolve(3)
		v, err := first.Await(ctx)
		if v != 3 {
			t.Errorf("Await = %d", v)
		}
		return err
	})
}

func TestWhoCanceledWhomIsKept(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		victim := task.Go(ctx, func(ctx context.Context) error {
			_ = task.Sleep(ctx, time.Hour)
			return task.Sleep(ctx, time.Second)
		})
		if err := task.Yield(ctx); err != nil {
			return err
		}
		if _, ok := victim.CanceledBy(); ok {
			t.Error("somebody has canceled it")
		}
		killer := task.Go(ctx, func(ctx context.Context) error { victim.Cancel(nil); return nil })
		killer.SetName("killer")
		if _, err := killer.Await(ctx); err != nil {
			return err
		}
		if by, ok := victim.CanceledBy(); !ok || by != "killer" {
			t.Errorf("CanceledBy = %q, %v", by, ok)
		}
		if _, err := victim.Await(ctx); err != nil {
			return err
		}
		if _, ok := victim.CanceledBy(); ok {
			t.Error("kept after the end")
		}
		return nil
	})
}

func TestDebugModeTellsWhereAFailedTaskWasStarted(t *testing.T) {
	var site string
	looptest.RunConfig(t, looptest.Config{Loop: loop.Config{
		Debug:   true,
		OnError: func(e *loop.CallError) { site = e.Site },
	}}, func(ctx context.Context) error {
		failing := task.Go(ctx, func(context.Context) error { return errors.New("failed") })
		if !strings.Contains(failing.Site(), "debug_test.go:") {
			t.Errorf("Site = %q", failing.Site())
		}
		return task.Sleep(ctx, time.Second)
	})
	if !strings.Contains(site, "debug_test.go:") {
		t.Errorf("the report's Site = %q", site)
	}
}

func TestVarOfAnInterfaceTypeHoldsNil(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		v := task.NewVar[error]("err")
		v.Set(ctx, nil)
		if err, ok := v.Lookup(ctx); err != nil || !ok {
			t.Errorf("Lookup = %v, %v", err, ok)
		}
		return nil
	})
}

func TestOnlyATaskSettlesItsFuture(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		w := task.Start(ctx, func(ctx context.Context) (int, error) { return 1, task.Sleep(ctx, 1) })
		wantPanic(t, "of a task", func() { future.Settle(w.Future, 2, nil) })
		v, err := w.Await(ctx)
		if v != 1 {
			t.Errorf("Await = %d", v)
		}
		return err
	})
}
