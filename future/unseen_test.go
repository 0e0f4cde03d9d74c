package future_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

func TestEdge031_UnseenFailureIsReportedAtCloseOnce(t *testing.T) {
	got := runReporting(t, func(ctx context.Context, l *loop.Loop, _ *[]string) {
		var keep []any
		for i := range 3 {
			f, p := future.New[int](l)
			p.Fail(fmt.Errorf("f%d", i))
			keep = append(keep, f)
		}
		tk := task.Go(ctx, func(context.Context) error { return errBoom })
		tk.SetName("fetch")
		yield(ctx, 2)
		f, p := future.New[int](l) // in the last turn
		p.Fail(fmt.Errorf("last"))
		l.OnClose(func(context.Context) error { runtime.KeepAlive(keep); runtime.KeepAlive(f); return nil })
	})
	want := []string{
		"result never retrieved : f0", "result never retrieved : f1", "result never retrieved : f2",
		"result never retrieved fetch: boom", "result never retrieved : last",
	}
	if !slices.Equal(got, want) {
		t.Errorf("reported %q, want %q", got, want)
	}
}

func TestEdge031_UnseenFailureIsReportedWhenItIsUnreachable(t *testing.T) {
	got := runReporting(t, func(ctx context.Context, l *loop.Loop, reports *[]string) {
		func() {
			_, p := future.New[int](l)
			p.Fail(errBoom)
		}()
		yield(ctx, 2)
		release := l.Hold() // the runtime will post
		defer release()
		for i := 0; len(*reports) == 0 && i < 1000; i++ {
			runtime.GC()
			yield(ctx, 100) // the loop looks outside every 61 calls
			runtime.Gosched()
		}
		if want := []string{"result never retrieved : boom"}; !slices.Equal(*reports, want) {
			t.Errorf("while the loop runs: %q, want %q", *reports, want)
		}
	})
	if len(got) != 1 {
		t.Errorf("reported %q, want one", got)
	}
}

func TestEdge031_FailureThatWasSeenIsNotReported(t *testing.T) {
	for _, late := range []bool{false, true} { // looked at before or after it has been put on the list
		for name, look := range map[string]func(ctx context.Context, f *future.Future[int]){
			"Err":       func(_ context.Context, f *future.Future[int]) { _ = f.Err() },
			"Result":    func(_ context.Context, f *future.Future[int]) { _, _ = f.Result() },
			"Outcome":   func(_ context.Context, f *future.Future[int]) { _ = f.Outcome() },
			"Await":     func(ctx context.Context, f *future.Future[int]) { _, _ = f.Await(ctx) },
			"Gather":    func(ctx context.Context, f *future.Future[int]) { _, _ = task.Gather(ctx, f) },
			"GatherAll": func(ctx context.Context, f *future.Future[int]) { _, _ = task.GatherAll(ctx, f) },
			"WaitFor":   func(ctx context.Context, f *future.Future[int]) { _, _ = task.WaitFor(ctx, time.Second, f) },
			"Cancel":    func(_ context.Context, f *future.Future[int]) { f.Cancel(nil) },
		} {
			got := runReporting(t, func(ctx context.Context, l *loop.Loop, _ *[]string) {
				f, p := future.New[int](l)
				p.Fail(errBoom)
				if late {
					yield(ctx, 3)
				}
				look(ctx, f)
				if !f.Retrieved() {
					t.Errorf("%s: does not count", name)
				}
			})
			if len(got) != 0 {
				t.Errorf("%s, late %v: reported %q", name, late, got)
			}
		}
	}
}

func TestEdge031_LookingAtAFutureThatIsPendingIsNotSeeing(t *testing.T) {
	got := runReporting(t, func(ctx context.Context, l *loop.Loop, _ *[]string) {
		f, p := future.New[int](l)
		_ = f.Err()
		_, _ = f.Result()
		_, _, _ = f.Done(), f.State(), f.String()
		_, _, _ = task.WaitTimeout(ctx, time.Second, task.AllCompleted, f)
		stop := f.OnDone(func() {})
		stop()
		p.Fail(errBoom)
		if f.Retrieved() {
			t.Error("counts as seen")
		}
		_, _, _ = f.Done(), f.State(), f.String()
		l.OnClose(func(context.Context) error { runtime.KeepAlive(f); return nil })
	})
	if want := []string{"result never retrieved : boom"}; !slices.Equal(got, want) {
		t.Errorf("reported %q, want %q", got, want)
	}
}

func TestFailuresOfAGatherThatHasEndedCountAsSeen(t *testing.T) {
	got := runReporting(t, func(ctx context.Context, l *loop.Loop, _ *[]string) {
		f, p := future.New[int](l)
		g, q := future.New[int](l)
		gathered := future.Gather(l, f, g)
		p.Fail(errBoom)
		_ = task.Yield(ctx)
		q.Fail(fmt.Errorf("second"))
		yield(ctx, 2)
		_ = gathered.Err()
	})
	if len(got) != 0 {
		t.Errorf("reported %q", got)
	}
	got = runReporting(t, func(ctx context.Context, l *loop.Loop, _ *[]string) {
		f, p := future.New[int](l)
		gathered := future.Gather(l, f)
		p.Fail(errBoom)
		yield(ctx, 2)
		l.OnClose(func(context.Context) error { runtime.KeepAlive(gathered); return nil })
	})
	if want := []string{"result never retrieved : boom"}; len(got) != 1 {
		t.Errorf("of the gather itself: %q, want one such as %q", got, want)
	}
}

func TestLargeManyUnseenFailures(t *testing.T) {
	n := 10_000
	if raceEnabled {
		n = 500
	}
	got := runReporting(t, func(ctx context.Context, l *loop.Loop, _ *[]string) {
		for i := range n {
			_, p := future.New[int](l)
			p.Fail(errBoom)
			if i%1000 == 999 {
				runtime.GC()
				yield(ctx, 100)
			}
		}
	})
	if len(got) != n {
		t.Errorf("reported %d of %d", len(got), n)
	}
}
