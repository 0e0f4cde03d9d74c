package task_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// after returns a task that ends after d with v, or with err.
func after(ctx context.Context, d time.Duration, v int, err error) *task.Task[int] {
	return task.Start(ctx, func(ctx context.Context) (int, error) {
		if serr := task.Sleep(ctx, d); serr != nil {
			return 0, serr
		}
		return v, err
	})
}

func TestEdge061_Gather(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		vs, err := task.Gather(ctx, after(ctx, 3*time.Second, 1, nil), after(ctx, time.Second, 2, nil))
		if err != nil || !slices.Equal(vs, []int{1, 2}) {
			t.Errorf("in the order of arguments: %v, %v", vs, err)
		}
		start := l.Now()
		slow, late := after(ctx, time.Minute, 1, nil), after(ctx, 2*time.Second, 0, errors.New("late"))
		_, err = task.Gather(ctx, slow, after(ctx, time.Second, 0, errBoom), late)
		if err != errBoom || l.Now().Sub(start) != time.Second || slow.Done() {
			t.Errorf("the first error at once: %v after %v, the others %v", err, l.Now().Sub(start), slow)
		}
		if v, err := slow.Await(ctx); v != 1 || err != nil {
			t.Errorf("the others go on: %v, %v", v, err)
		}
		if !late.Retrieved() {
			t.Error("a later error does not count as seen")
		}
	})
}

func TestEdge062_GatherOfNothingAndOfTheSameTwice(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		if vs, err := task.Gather[*task.Task[int]](ctx); len(vs) != 0 || err != nil {
			t.Errorf("of nothing: %v, %v", vs, err)
		}
		a := after(ctx, time.Second, 1, nil)
		if vs, err := task.Gather(ctx, a, a); !slices.Equal(vs, []int{1, 1}) || err != nil {
			t.Errorf("of the same twice: %v, %v", vs, err)
		}
	})
}

func TestEdge063_CanceledGather(t *testing.T) {
	for _, all := range []bool{false, true} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			start := l.Now()
			quick := after(ctx, time.Hour, 1, nil)
			slow := task.Start(ctx, func(ctx context.Context) (int, error) {
				err := sleepHour(ctx)
				_ = task.Sleep(ctx, time.Second)
				return 0, err
			})
			a := task.Go(ctx, func(ctx context.Context) (err error) {
				if all {
					_, err = task.GatherAll(ctx, quick, slow)
				} else {
					_, err = task.Gather(ctx, quick, slow)
				}
				return err
			})
			yield(ctx, 2)
			a.Cancel(errBoom)
			_, err := a.Await(ctx)
			// As in CPython 3.13, where gather ends with its first canceled child.
			want := time.Duration(0)
			if all {
				want = time.Second
			}
			if outcome(err) != "Canceled(boom)" || !quick.Canceled() || l.Now().Sub(start) != want {
				t.Errorf("all %v: %v after %v, want %v", all, err, l.Now().Sub(start), want)
			}
			if _, err := slow.Await(ctx); outcome(err) != "Canceled(boom)" {
				t.Errorf("the slow one: %v", err)
			}
		})
	}
}

func TestEdge064_OneCanceledChildIsAnErrorAsAnyOther(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		a, b := after(ctx, time.Hour, 1, nil), after(ctx, time.Hour, 2, nil)
		g := task.Go(ctx, func(ctx context.Context) error { _, err := task.Gather(ctx, a, b); return err })
		yield(ctx, 2)
		a.Cancel(errBoom)
		if _, err := g.Await(ctx); outcome(err) != "Canceled(boom)" || g.Canceling() != 0 || b.Canceling() != 0 {
			t.Errorf("%v, sibling %v", err, b)
		}
		os, err := task.GatherAll(ctx, a, b)
		if err != nil || outcome(os[0].Err) != "Canceled(boom)" || os[1].Value != 2 || os[1].Err != nil {
			t.Errorf("GatherAll: %v, %v", os, err)
		}
	})
}

func TestEdge066_Wait(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		start := l.Now()
		ws := map[string]future.Waiter{
			"a": after(ctx, 3*time.Second, 1, nil), "b": after(ctx, 2*time.Second, 0, errBoom),
			"c": after(ctx, time.Second, 3, nil), "never": after(ctx, 1000*time.Hour, 0, nil),
		}
		names := func(got []future.Waiter) (s []string) {
			for _, w := range got {
				for name, x := range ws {
					if x == w {
						s = append(s, name)
					}
				}
			}
			return s
		}
		for _, tt := range []struct {
			name          string
			d             time.Duration
			when          task.When
			of            []string
			done, pending []string
			at            time.Duration
		}{
			{"zero", 0, task.AllCompleted, []string{"a", "b"}, nil, []string{"a", "b"}, 0},
			{"timeout", time.Second / 2, task.AllCompleted, []string{"a", "b"}, nil, []string{"a", "b"}, time.Second / 2},
			{"first completed, the same twice", -1, task.FirstCompleted, []string{"never", "c", "a", "c"}, []string{"c"}, []string{"never", "a"}, time.Second},
			{"first exception", -1, task.FirstException, []string{"a", "b", "c"}, []string{"b", "c"}, []string{"a"}, 2 * time.Second},
			{"all", -1, task.AllCompleted, []string{"a", "b", "c"}, []string{"a", "b", "c"}, nil, 3 * time.Second},
			{"all, in time", time.Hour, task.AllCompleted, []string{"c", "a"}, []string{"c", "a"}, nil, 3 * time.Second},
			{"first exception of those done", -1, task.FirstException, []string{"never", "b"}, []string{"b"}, []string{"never"}, 3 * time.Second},
		} {
			var of []future.Waiter
			for _, name := range tt.of {
				of = append(of, ws[name])
			}
			done, pending, err := task.WaitTimeout(ctx, tt.d, tt.when, of...)
			if err != nil || !slices.Equal(names(done), tt.done) || !slices.Equal(names(pending), tt.pending) || l.Now().Sub(start) != tt.at {
				t.Errorf("%s: done %v, pending %v, %v, after %v", tt.name, names(done), names(pending), err, l.Now().Sub(start))
			}
		}
		wantPanic(t, "Wait for nothing", func() { _, _, _ = task.Wait[future.Waiter](ctx, task.AllCompleted) })

		w := task.Go(ctx, func(ctx context.Context) error {
			_, _, err := task.WaitTimeout(ctx, time.Hour, task.AllCompleted, ws["never"])
			return err
		})
		yield(ctx, 1)
		w.Cancel(errBoom)
		if _, err := w.Await(ctx); outcome(err) != "Canceled(boom)" || ws["never"].(task.Any).Canceling() != 0 {
			t.Errorf("canceled: %v; it reached %v", err, ws["never"])
		}
		if n := l.Stats().Pending; n != 1 { // of never
			t.Errorf("%d timers are left", n)
		}
	})
}

func TestEdge067_FirstException_ACanceledChildIsNone(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		a, b := after(ctx, time.Hour, 1, nil), after(ctx, time.Second, 2, nil)
		l.CallLater(time.Second/2, func() { a.Cancel(nil) })
		done, pending, err := task.Wait(ctx, task.FirstException, a, b)
		if len(done) != 2 || len(pending) != 0 || err != nil {
			t.Errorf("done %v, pending %v, %v", done, pending, err)
		}
	})
}

func TestEdge068_WaitForZero(t *testing.T) {
	for _, d := range []time.Duration{0, -time.Second} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			ran := false
			a := task.Start(ctx, func(context.Context) (int, error) { ran = true; return 1, nil })
			if _, err := task.WaitFor(ctx, d, a); err != task.ErrTimeout || ran || !a.Canceled() {
				t.Errorf("a task that has not started: %v, ran %v, %v", err, ran, a)
			}
			f, p := future.New[int](l)
			p.Resolve(5)
			if v, err := task.WaitFor(ctx, d, f); v != 5 || err != nil {
				t.Errorf("a result that is there: %v, %v", v, err)
			}
			f, p = future.New[int](l)
			p.Fail(errBoom)
			if _, err := task.WaitFor(ctx, d, f); err != errBoom {
				t.Errorf("a failure that is there: %v", err)
			}
			for want, end := range map[string]func() (int, error){
				"9 ok":   func() (int, error) { return 9, nil },
				"0 boom": func() (int, error) { return 0, errBoom },
			} {
				stubborn := task.Start(ctx, func(ctx context.Context) (int, error) {
					_ = sleepHour(ctx)
					_ = task.Sleep(ctx, time.Second)
					return end()
				})
				yield(ctx, 1)
				if v, err := task.WaitFor(ctx, d, stubborn); fmt.Sprint(v, " ", outcome(err)) != want {
					t.Errorf("one that ends otherwise: %v, %v, want %s", v, err, want)
				}
			}
		})
	}
}

func TestEdge069_WaitForWaitsForTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(err error) (int, error)
		want string
	}{
		{"canceled", func(err error) (int, error) { return 0, err }, "0 Timeout"},
		{"its failure wins", func(error) (int, error) { return 0, errBoom }, "0 boom"},
		{"its value wins", func(error) (int, error) { return 3, nil }, "3 ok"},
	} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			start := l.Now()
			a := task.Start(ctx, func(ctx context.Context) (int, error) {
				err := sleepHour(ctx)
				_ = task.Sleep(ctx, time.Minute)
				return tt.end(err)
			})
			v, err := task.WaitFor(ctx, time.Second, a)
			if got := fmt.Sprint(v, " ", outcome(err)); got != tt.want || l.Now().Sub(start) != time.Minute+time.Second || !a.Done() {
				t.Errorf("%s: got %s after %v, want %s", tt.name, got, l.Now().Sub(start), tt.want)
			}
			if task.FromContext(ctx).Canceling() != 0 {
				t.Errorf("%s: canceling %d", tt.name, task.FromContext(ctx).Canceling())
			}
		})
	}
}

// R50: value, deadline and cancel in one instant, in every order.
func TestEdge070_WaitForRaces(t *testing.T) {
	const at = time.Second
	for _, tt := range []struct {
		order string // in one turn: v resolves, c cancels, t is the deadline
		want  string
	}{
		{"v", "5 ok"},
		{"t", "0 Timeout"},
		{"c", "0 Canceled(boom)"},
		{"vc", "0 Canceled(boom)"},
		{"cv", "0 Canceled(boom)"},
		{"vt", "0 Timeout"},
		{"tv", "0 Timeout"},
		{"ct", "0 Canceled(boom)"},
		{"tc", "0 Canceled(Timeout)"},
		{"vct", "0 Canceled(Timeout)"},
		{"vtc", "0 Canceled(boom)"}, // the last cause stands, as in CPython
	} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			f, p := future.New[int](l)
			var a *task.Task[int]
			d := time.Hour
			arrange := func(order string) {
				for _, c := range order {
					switch c {
					case 'v':
						l.CallLater(at, func() { p.Resolve(5) })
					case 'c':
						l.CallLater(at, func() { a.Cancel(errBoom) })
					}
				}
			}
			before, behind := tt.order, ""
			if i := slices.Index([]byte(tt.order), 't'); i >= 0 {
				before, behind, d = tt.order[:i], tt.order[i+1:], at
			}
			arrange(before)
			a = task.Start(ctx, func(ctx context.Context) (int, error) { return task.WaitFor(ctx, d, f) })
			yield(ctx, 1)
			arrange(behind)
			v, err := a.Await(ctx)
			if got := fmt.Sprint(v, " ", outcome(err)); got != tt.want {
				t.Errorf("order %s: got %s, want %s", tt.order, got, tt.want)
			}
			if canceled := slices.Contains([]byte(tt.order), 'c'); a.Canceled() != canceled {
				t.Errorf("order %s: canceled %v, want %v: an outside cancel was swallowed", tt.order, a.Canceled(), canceled)
			}
		})
	}
}

func TestEdge071_Shield(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		inner := after(ctx, time.Minute, 5, nil)
		a := task.Start(ctx, func(ctx context.Context) (int, error) { return future.Shield(inner.Future).Await(ctx) })
		yield(ctx, 1)
		a.Cancel(errBoom)
		if _, err := a.Await(ctx); outcome(err) != "Canceled(boom)" || inner.Done() || inner.Canceling() != 0 {
			t.Errorf("outer canceled: %v, inner %v", err, inner)
		}
		if v, err := inner.Await(ctx); v != 5 || err != nil {
			t.Errorf("inner goes on: %v, %v", v, err)
		}
		inner = after(ctx, time.Minute, 5, nil)
		s := future.Shield(inner.Future)
		yield(ctx, 1)
		inner.Cancel(errBoom)
		if _, err := s.Await(ctx); outcome(err) != "Canceled(boom)" {
			t.Errorf("inner canceled: %v", err)
		}
		if future.Shield(inner.Future) != inner.Future {
			t.Error("a settled inner is not returned itself")
		}
	})
}

func TestEdge072_ShieldedFailureAfterItsWaiterHasGone(t *testing.T) {
	for _, looked := range []bool{false, true} {
		reports := runReporting(t, func(ctx context.Context, l *loop.Loop) {
			inner := after(ctx, time.Minute, 0, errBoom)
			inner.SetName("inner")
			s := future.Shield(inner.Future)
			yield(ctx, 1)
			s.Cancel(nil)
			if looked {
				_, _ = inner.Await(ctx)
			}
			_ = sleepHour(ctx)
		})
		if looked {
			wantReports(t, reports)
		} else {
			wantReports(t, reports, "result never retrieved inner: boom")
		}
	}
}
