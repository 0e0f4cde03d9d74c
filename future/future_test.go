package future_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/cputime"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

func TestEdge027_EveryVerbInEveryState(t *testing.T) {
	type promise = future.Promise[int]
	settle := map[string]func(promise) bool{
		"pending":  func(promise) bool { return true },
		"resolved": func(p promise) bool { return p.Resolve(1) },
		"failed":   func(p promise) bool { return p.Fail(errBoom) },
		"canceled": func(p promise) bool { return p.Future().Cancel(errBoom) },
	}
	verbs := map[string]func(promise) bool{
		"Resolve":        func(p promise) bool { return p.Resolve(2) },
		"Fail":           func(p promise) bool { return p.Fail(errors.New("other")) },
		"Fail canceled":  func(p promise) bool { return p.Fail(fmt.Errorf("x: %w", &future.CanceledError{})) },
		"Promise.Cancel": func(p promise) bool { return p.Cancel(nil) },
		"Cancel":         func(p promise) bool { return p.Future().Cancel(nil) },
	}
	after := map[string]string{ // in a pending future
		"Resolve": "2 ok resolved", "Fail": "0 other failed", "Fail canceled": "0 Canceled canceled",
		"Promise.Cancel": "0 Canceled canceled", "Cancel": "0 Canceled canceled",
	}
	stays := map[string]string{
		"resolved": "1 ok resolved", "failed": "0 boom failed", "canceled": "0 Canceled(boom) canceled",
	}
	run(t, func(ctx context.Context, l *loop.Loop) {
		for state, enter := range settle {
			for verb, do := range verbs {
				f, p := future.New[int](l)
				if p.Future() != f || f.Loop() != l {
					t.Fatal("not the same future, or loop")
				}
				enter(p)
				if got := f.State().String(); got != state {
					t.Fatalf("state %s, want %s", got, state)
				}
				_, err := f.Result()
				if state == "pending" && (err != future.ErrNotDone || f.Err() != future.ErrNotDone || f.Outcome().Err != future.ErrNotDone) {
					t.Errorf("result of a pending future: %v, %v", err, f.Err())
				}
				did := do(p)
				want := stays[state]
				if state == "pending" {
					want = after[verb]
				}
				v, err := f.Result()
				if got := fmt.Sprintf("%d %s %s", v, outcome(err), f.State()); got != want || did != (state == "pending") {
					t.Errorf("%s of a future %s: %q, %v; want %q", verb, state, got, did, want)
				}
				if f.Done() != (f.State() != future.Pending) || f.Canceled() != (f.State() == future.Canceled) || f.Outcome().Value != v {
					t.Errorf("%s of a future %s: Done %v, Canceled %v", verb, state, f.Done(), f.Canceled())
				}
				if v2, err2 := f.Await(ctx); v2 != v || outcome(err2) != outcome(err) {
					t.Errorf("Await: %v, %v; Result: %v, %v", v2, err2, v, err)
				}
			}
		}
		_, p := future.New[int](l)
		wantPanic(t, "nil error", func() { p.Fail(nil) })
	})
}

func TestEdge028_CancelOnlyWhenPending(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, _ := future.New[int](l)
		if !f.Cancel(errBoom) || f.Cancel(nil) {
			t.Error("the first Cancel has no effect, or the second has one")
		}
		if _, err := f.Result(); outcome(err) != "Canceled(boom)" {
			t.Errorf("got %v", err)
		}
	})
}

func TestOnCancelLeavesItToTheProducer(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		for _, tt := range []struct {
			name string
			hook func(p future.Promise[int]) bool
			want string
		}{
			{"refuses", func(future.Promise[int]) bool { return false }, "false, future pending"},
			{"later", func(future.Promise[int]) bool { return true }, "true, future pending"},
			{"settles", func(p future.Promise[int]) bool { return p.Cancel(errBoom) }, "true, future canceled: canceled: boom"},
			{"resolves", func(p future.Promise[int]) bool { return !p.Resolve(5) }, "false, future resolved 5"},
		} {
			f, p := future.New[int](l)
			p.OnCancel(func(cause error) bool { j.Log("%s asked: %v", tt.name, cause); return tt.hook(p) })
			if got := fmt.Sprintf("%v, %v", f.Cancel(errBoom), f); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
			p.Cancel(nil) // whatever the hook says
			if !f.Done() || f.Cancel(nil) {
				t.Errorf("%s: %v after Promise.Cancel, or Cancel has an effect", tt.name, f)
			}
		}
		j.Want(t, "refuses asked: boom", "later asked: boom", "settles asked: boom", "resolves asked: boom")
	})
}

func TestEdge025_CallbacksAreQueuedInOrder(t *testing.T) {
	for how, settle := range map[string]func(p future.Promise[int]){
		"Resolve": func(p future.Promise[int]) { p.Resolve(1) },
		"Fail":    func(p future.Promise[int]) { p.Fail(errBoom) },
		"Cancel":  func(p future.Promise[int]) { p.Future().Cancel(nil) },
	} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			var j journal
			f, p := future.New[int](l)
			log := func(s string) func() { return func() { j.Log("%s", s) } }
			f.OnDone(func() {
				j.Log("a")
				f.OnDone(log("added by a"))
			})
			task.Go(ctx, func(ctx context.Context) error { _, _ = f.Await(ctx); j.Log("task"); return nil })
			yield(ctx, 1)
			f.OnDone(log("b"))
			same := log("same")
			f.OnDone(same)
			f.OnDone(same)
			l.CallSoon(log("queued before"))
			settle(p)
			f.OnDone(log("on a settled one"))
			l.CallSoon(log("queued after"))
			j.Log("settled")
			yield(ctx, 3)
			j.Want(t, "settled", "queued before", "a", "task", "b", "same", "same", "on a settled one", "queued after", "added by a")
			_ = how
		})
	}
}

func TestEdge026_StoppedCallbacks(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		f, p := future.New[int](l)
		log := func(s string) func() { return func() { j.Log("%s", s) } }
		stopA := f.OnDone(log("a"))
		stopB := f.OnDone(log("b"))
		stopC := f.OnDone(log("c"))
		f.OnDone(log("d"))
		j.Log("before %v %v", stopA(), stopA())
		p.Resolve(1)
		stopE := f.OnDone(log("e"))
		j.Log("queued %v %v", stopB(), stopE())
		yield(ctx, 2)
		j.Log("after %v", stopC())
		j.Want(t, "before true false", "queued true true", "c", "d", "after false")

		// A callback that stops those behind it, and itself.
		f, p = future.New[int](l)
		var stop []func() bool
		for i := range 3 {
			stop = append(stop, f.OnDone(func() {
				j.Log("%d", i)
				for k := range stop {
					j.Log("%v", stop[k]())
				}
			}))
		}
		p.Resolve(1)
		yield(ctx, 2)
		j.Want(t, "0", "false", "true", "true")

		// The only one, and all of several.
		f, p = future.New[int](l)
		if s := f.OnDone(log("only")); !s() {
			t.Error("the only one could not be stopped")
		}
		for range 5 {
			if s := f.OnDone(log("one of several")); !s() {
				t.Error("one of several could not be stopped")
			}
		}
		p.Resolve(1)
		yield(ctx, 2)
		j.Want(t)
	})
}

func TestEdge053_CallbacksRunInTheContextTheyWereMadeIn(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		type key struct{}
		var j journal
		f, p := future.New[int](l)
		say := func() {
			j.Log("%v, task %v", l.Context().Value(key{}), task.FromContext(l.Context()))
		}
		for _, v := range []string{"a", "b"} {
			tk := task.Go(context.WithValue(ctx, key{}, v), func(context.Context) error { f.OnDone(say); return nil })
			_, _ = tk.Await(ctx)
		}
		task.Go(context.WithValue(ctx, key{}, "resolver"), func(context.Context) error { p.Resolve(1); return nil })
		yield(ctx, 3)
		f.OnDone(say)
		yield(ctx, 2)
		j.Want(t, "a, task <nil>", "b, task <nil>", "<nil>, task <nil>")
	})
}

func TestEdge010_PanicOfACallbackIsReported(t *testing.T) {
	got := runReporting(t, func(ctx context.Context, l *loop.Loop, _ *[]string) {
		f, p := future.New[int](l)
		called := false
		f.OnDone(func() { panic("first") })
		f.OnDone(func() { called = true })
		p.Resolve(1)
		yield(ctx, 3)
		if !called {
			t.Error("the second callback was not called")
		}
	})
	if want := []string{"callback : panic: first"}; !slices.Equal(got, want) {
		t.Errorf("reported %q, want %q", got, want)
	}
}

func TestCanceledOrFailed(t *testing.T) {
	c := &future.CanceledError{Cause: errBoom}
	deep := error(c)
	for i := range 100 {
		deep = fmt.Errorf("%d: %w", i, deep)
	}
	for _, tt := range []struct {
		name string
		err  error
		want future.State
	}{
		{"CanceledError", c, future.Canceled},
		{"without a cause", &future.CanceledError{}, future.Canceled},
		{"wrapped", fmt.Errorf("fetch: %w", c), future.Canceled},
		{"wrapped a hundred times", deep, future.Canceled},
		{"caused by another", &future.CanceledError{Cause: c}, future.Canceled},
		{"caused by a timeout", &future.CanceledError{Cause: context.DeadlineExceeded}, future.Canceled},
		{"joined with a failure", errors.Join(c, errBoom), future.Failed},
		{"joined alone", errors.Join(c), future.Failed},
		{"joined, then wrapped", fmt.Errorf("x: %w", errors.Join(c)), future.Failed},
		{"two of %w", fmt.Errorf("%w %w", c, c), future.Failed},
		{"context.Canceled", context.Canceled, future.Failed},
		{"ErrCanceled", future.ErrCanceled, future.Failed},
		{"context.DeadlineExceeded", context.DeadlineExceeded, future.Failed},
		{"any other", errBoom, future.Failed},
		{"formatted, not wrapped", fmt.Errorf("%v", c), future.Failed},
	} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			f, p := future.New[int](l)
			p.Fail(tt.err)
			if _, err := f.Await(ctx); err != tt.err || f.State() != tt.want {
				t.Errorf("%s: %v, %v, want %v", tt.name, f.State(), err, tt.want)
			}
			if got := future.AsCanceled(tt.err) != nil; got != (tt.want == future.Canceled) {
				t.Errorf("%s: AsCanceled %v", tt.name, got)
			}
		})
	}
	if future.AsCanceled(nil) != nil || future.AsCanceled(deep) != c {
		t.Error("AsCanceled of nil, or of a deep one")
	}
}

func TestCanceledErrorMatches(t *testing.T) {
	for _, tt := range []struct {
		err, target error
		want        bool
	}{
		{&future.CanceledError{}, future.ErrCanceled, true},
		{&future.CanceledError{}, context.Canceled, true},
		{&future.CanceledError{}, context.DeadlineExceeded, false},
		{&future.CanceledError{Cause: errBoom}, errBoom, true},
		{&future.CanceledError{Cause: errBoom}, context.Canceled, true},
		{&future.CanceledError{Cause: task.ErrTimeout}, context.DeadlineExceeded, true},
		{errors.Join(&future.CanceledError{}), context.Canceled, true},
		{context.Canceled, future.ErrCanceled, false},
		{future.ErrCanceled, context.Canceled, false},
		{future.ErrNotDone, future.ErrCanceled, false},
	} {
		if got := errors.Is(tt.err, tt.target); got != tt.want {
			t.Errorf("errors.Is(%v, %v) = %v", tt.err, tt.target, got)
		}
	}
	if s := (&future.CanceledError{}).Error(); s != "canceled" {
		t.Errorf("Error: %q", s)
	}
	if s := (&future.CanceledError{Cause: errBoom}).Error(); s != "canceled: boom" {
		t.Errorf("Error: %q", s)
	}
}

func TestEdge030_AwaitOfASettledFutureDoesNotSuspend(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		turn := 0
		l.CallSoon(func() { turn++ })
		f, p := future.New[int](l)
		p.Resolve(5)
		for range 3 {
			if v, err := f.Await(ctx); v != 5 || err != nil || turn != 0 {
				t.Errorf("%v, %v in turn %d", v, err, turn)
			}
		}
		// A settled one needs no task either.
		if v, err := f.Await(context.Background()); v != 5 || err != nil {
			t.Errorf("without a task: %v, %v", v, err)
		}
	})
}

func TestFutureString(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, p := future.New[int](l)
		g, q := future.New[int](l)
		got := []string{f.String()}
		p.Resolve(1)
		q.Fail(errBoom)
		got = append(got, f.String(), g.String())
		_ = g.Err()
		g, _ = future.New[int](l)
		g.Cancel(nil)
		got = append(got, g.String())
		if want := []string{"future pending", "future resolved 1", "future failed: boom", "future canceled: canceled"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestAfter(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		start := l.Now()
		if _, err := future.After(l, time.Hour).Await(ctx); err != nil || l.Now().Sub(start) != time.Hour {
			t.Errorf("%v after %v", err, l.Now().Sub(start))
		}
		for _, d := range []time.Duration{0, -time.Hour} {
			start = l.Now()
			f := future.After(l, d)
			if f.Done() {
				t.Errorf("After(%v) is done at once", d)
			}
			if _, err := f.Await(ctx); err != nil || l.Now() != start {
				t.Errorf("After(%v): %v after %v", d, err, l.Now().Sub(start))
			}
		}
		f := future.After(l, time.Hour)
		if !f.Cancel(errBoom) || l.Stats().Pending != 0 {
			t.Errorf("canceled, it leaves %d timers", l.Stats().Pending)
		}
		if _, err := f.Await(ctx); outcome(err) != "Canceled(boom)" {
			t.Errorf("got %v", err)
		}
		// Canceled in the turn in which it is due.
		start = l.Now()
		var early *future.Future[struct{}]
		l.CallLater(time.Second, func() { early.Cancel(nil) })
		early = future.After(l, time.Second)
		if _, err := early.Await(ctx); outcome(err) != "Canceled" || l.Now().Sub(start) != time.Second {
			t.Errorf("canceled when due: %v", err)
		}
		yield(ctx, 2)
	})
}

func TestInitOfAFutureThatIsWaitedForPanics(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var f future.Future[int]
		p := future.Init(&f, l, nil)
		stop := f.OnDone(func() {})
		wantPanic(t, "Init of a future that is waited for", func() { future.Init(&f, l, nil) })
		stop()
		p.Resolve(1)
		p = future.Init(&f, l, nil)
		if f.Done() {
			t.Error("not new")
		}
		p.Resolve(2)
		if v, err := f.Await(ctx); v != 2 || err != nil {
			t.Errorf("%v, %v", v, err)
		}
	})
}

// A watcher is a Runnable that knows whether it is needed.
type watcher struct {
	j       *journal
	name    string
	stopped bool
}

func (w *watcher) Run()          { w.j.Log("%s", w.name) }
func (w *watcher) Stopped() bool { return w.stopped }

func TestWatchAndUnwatch(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		f, p := future.New[int](l)
		ws := make([]*watcher, 6)
		for i := range ws {
			ws[i] = &watcher{j: &j, name: fmt.Sprint(i)}
			f.Watch(ws[i])
		}
		ws[1].stopped = true // and never unwatched
		ws[2].stopped = true
		j.Log("%v %v %v", f.Unwatch(ws[2]), f.Unwatch(ws[4]), f.Unwatch(&watcher{}))
		p.Resolve(1)
		j.Log("%v", f.Unwatch(ws[0]))
		yield(ctx, 2)
		j.Want(t, "true true false", "false", "0", "3", "5")
		g, q := future.New[int](l)
		g.Watch(ws[0])
		j.Log("%v %v %v", g.Unwatch(ws[3]), g.Unwatch(ws[0]), g.Unwatch(ws[0]))
		q.Resolve(1)
		yield(ctx, 2)
		j.Want(t, "false true false")
	})
}

// R49: whatever the order of leaving, and whoever waits.
func TestLargeManyWatchers(t *testing.T) {
	n := 100_000
	if raceEnabled {
		n = 2_000
	}
	orders := map[string]func(i int) int{
		"in order":    func(i int) int { return i },
		"from behind": func(i int) int { return n - 1 - i },
		"scattered":   func(i int) int { return int(uint64(i) * 7919 % uint64(n)) },
	}
	run(t, func(ctx context.Context, l *loop.Loop) {
		start := cputime.Used()
		f, p := future.New[int](l)
		called := 0
		for range n {
			f.OnDone(func() { called++ })
		}
		p.Resolve(1)
		yield(ctx, 2)
		if called != n {
			t.Errorf("%d of %d were called", called, n)
		}
		for name, order := range orders {
			f, p := future.New[int](l)
			stops := make([]func() bool, n)
			for i := range stops {
				stops[i] = f.OnDone(func() { t.Error("called") })
			}
			for i := range n {
				if !stops[order(i)]() {
					t.Fatalf("%s: not stopped", name)
				}
			}
			p.Resolve(1)
			yield(ctx, 2)
		}
		if d := cputime.Used() - start; d > 2*time.Second && !raceEnabled {
			t.Errorf("took %v", d)
		}
	})
}
