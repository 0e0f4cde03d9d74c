package aiter_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/eddyloop/eddy/aiter"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

const s = time.Second

// napping is a fn for Map: it sleeps for as many seconds as v says, and fails where
// it is told to.
func napping(fails map[int]error) func(ctx context.Context, v int) (string, error) {
	return func(ctx context.Context, v int) (string, error) {
		if err := task.Sleep(ctx, time.Duration(v)*s); err != nil {
			return "", err
		}
		return fmt.Sprint("r", v), fails[v]
	}
}

type mapFunc = func(ctx context.Context, src aiter.Source[int], limit int, fn func(ctx context.Context, v int) (string, error)) iter.Seq2[string, error]

func ready(vs ...int) aiter.Source[int] { return aiter.Ready(of(vs...)) }

func TestMap(t *testing.T) {
	boom := map[int]error{2: errBoom}
	for _, tt := range []struct {
		name      string
		src       aiter.Source[int]
		limit     int
		fails     map[int]error
		ordered   []string
		unordered []string
	}{
		{"nothing", ready(), 2, nil, []string{"0s end"}, []string{"0s end"}},
		{
			"one at a time", ready(3, 1, 2), 1, nil,
			[]string{"3s r3", "4s r1", "6s r2", "6s end"},
			[]string{"3s r3", "4s r1", "6s r2", "6s end"},
		},
		{
			"two at a time", ready(3, 1, 2), 2, nil,
			[]string{"3s r3", "3s r1", "5s r2", "5s end"},
			[]string{"1s r1", "3s r3", "3s r2", "3s end"},
		},
		{
			"all at a time", ready(3, 1, 2), 0, nil,
			[]string{"3s r3", "3s r1", "3s r2", "3s end"},
			[]string{"1s r1", "2s r2", "3s r3", "3s end"},
		},
		{
			"fn that does not wait", ready(0, 0, 0), 2, nil,
			[]string{"0s r0", "0s r0", "0s r0", "0s end"},
			[]string{"0s r0", "0s r0", "0s r0", "0s end"},
		},
		{
			"fn fails", ready(3, 2, 1, 5), 0, boom,
			[]string{"3s r3", "3s boom", "3s end"},
			[]string{"1s r1", "2s boom", "2s end"},
		},
		{
			"fn fails, one at a time", ready(3, 2, 1, 5), 1, boom,
			[]string{"3s r3", "5s boom", "5s end"},
			[]string{"3s r3", "5s boom", "5s end"},
		},
		{
			"src fails", aiter.Ready(failing(errBoom, 3, 1)), 0, nil,
			[]string{"3s r3", "3s r1", "3s boom", "3s end"},
			[]string{"0s boom", "0s end"},
		},
		{
			"src panics", func(context.Context) iter.Seq2[int, error] { panic("oh") }, 0, nil,
			[]string{"0s panic: oh", "0s end"},
			[]string{"0s panic: oh", "0s end"},
		},
		{
			"src is canceled", aiter.Ready(failing[int](&future.CanceledError{Cause: errBoom}, 1)), 0, nil,
			[]string{"1s r1", "1s canceled boom", "1s end"},
			[]string{"0s canceled boom", "0s end"},
		},
		{
			"fn is canceled", ready(1, 2, 3), 0,
			map[int]error{2: &future.CanceledError{Cause: errBoom}},
			[]string{"1s r1", "2s canceled boom", "2s end"},
			[]string{"1s r1", "2s canceled boom", "2s end"},
		},
	} {
		for _, m := range []struct {
			name string
			m    mapFunc
			want []string
		}{{"Map", aiter.Map[int, string], tt.ordered}, {"MapUnordered", aiter.MapUnordered[int, string], tt.unordered}} {
			t.Run(m.name+" "+tt.name, func(t *testing.T) {
				run(t, func(ctx context.Context, j *journal) {
					seq := m.m(ctx, tt.src, tt.limit, napping(tt.fails))
					for range 2 { // each loop begins anew
						for v, err := range seq {
							if err != nil {
								wantNoTasks(t, ctx) // all have ended before the last pair
								j.log("%s", said(err))
								continue
							}
							j.log("%s", v)
						}
						j.log("end")
						j.want(t, m.want...)
						j.begin = j.l.Now()
					}
				})
			})
		}
	}
}

func TestMapOfAPanic(t *testing.T) {
	run(t, func(ctx context.Context, j *journal) {
		for v, err := range aiter.Map(ctx, ready(1, 2, 3), 0, func(ctx context.Context, v int) (int, error) {
			if v == 2 {
				panic("oh")
			}
			return v, task.Sleep(ctx, s)
		}) {
			j.log("%v %s", v, said(err))
		}
		j.want(t, "1s 1 <nil>", "1s 0 panic: oh")
	})
}

// TestMapKeepsItsLimit counts what was taken and not returned.
func TestMapKeepsItsLimit(t *testing.T) {
	for name, m := range map[string]mapFunc{"Map": aiter.Map[int, string], "MapUnordered": aiter.MapUnordered[int, string]} {
		for _, limit := range []int{1, 2, 3, 7} {
			t.Run(fmt.Sprint(name, " ", limit), func(t *testing.T) {
				run(t, func(ctx context.Context, j *journal) {
					taken, running, most, returned := 0, 0, 0, 0
					src := func(context.Context) iter.Seq2[int, error] {
						return func(yield func(int, error) bool) {
							for i := range 40 {
								if taken++; taken-returned > limit {
									t.Errorf("%d taken, %d returned", taken, returned)
								}
								if !yield(i*7%5, nil) {
									return
								}
							}
						}
					}
					for _, err := range m(ctx, src, limit, func(ctx context.Context, v int) (string, error) {
						running++
						most = max(most, running)
						defer func() { running-- }()
						return "", task.Sleep(ctx, time.Duration(v)*s)
					}) {
						if err != nil {
							t.Error(err)
						}
						returned++
						if returned%5 == 0 { // a slow consumer
							_ = task.Sleep(ctx, 10*s)
						}
					}
					if most != limit || returned != 40 {
						t.Errorf("at most %d at a time, %d returned; want %d, 40", most, returned, limit)
					}
				})
			})
		}
	}
}

// TestMapReturnsWhatIsThereWhileTheSourceWaits: a result does not wait for the next
// value.
func TestMapReturnsWhatIsThereWhileTheSourceWaits(t *testing.T) {
	run(t, func(ctx context.Context, j *journal) {
		urls := queue.New[int](0)
		j.l.CallLater(s, func() { urls.TryPut(1) })
		j.l.CallLater(time.Hour, func() { urls.TryPut(2); urls.ShutDown(false) })
		for v, err := range aiter.Map(ctx, urls.All, 4, napping(nil)) {
			j.log("%s %v", v, err)
		}
		j.want(t, "2s r1 <nil>", "1h0m2s r2 <nil>")
	})
}

func TestMerge(t *testing.T) {
	for _, tt := range []struct {
		name string
		srcs func(j *journal) []aiter.Source[int]
		want []string
	}{
		{"nothing", func(*journal) []aiter.Source[int] { return nil }, []string{"0s end"}},
		{
			"one", func(*journal) []aiter.Source[int] { return []aiter.Source[int]{ready(1, 2, 3)} },
			[]string{"0s 1", "0s 2", "0s 3", "0s end"},
		},
		{"as they come", func(j *journal) []aiter.Source[int] {
			return []aiter.Source[int]{every(j, "a", 2*s, 3), every(j, "b", 3*s, 2), ready(7, 8)}
		}, []string{"0s 7", "0s 8", "2s 0", "3s 0", "4s 1", "6s b ended", "6s 1", "6s a ended", "6s 2", "6s end"}},
		{"the first error ends all", func(j *journal) []aiter.Source[int] {
			return []aiter.Source[int]{every(j, "a", s, 9), func(ctx context.Context) iter.Seq2[int, error] {
				return aiter.Chain(every(j, "b", 5*s/2, 1)(ctx), failing[int](errBoom))
			}}
		}, []string{"1s 0", "2s 1", "2.5s b ended", "2.5s 0", "2.5s a ended", "2.5s boom", "2.5s end"}},
		{"a cancellation of a source's own", func(j *journal) []aiter.Source[int] {
			return []aiter.Source[int]{every(j, "a", s, 9), aiter.Ready(failing[int](&future.CanceledError{}))}
		}, []string{"0s a ended", "0s canceled", "0s end"}},
		{"a panic", func(j *journal) []aiter.Source[int] {
			return []aiter.Source[int]{every(j, "a", s, 9), func(context.Context) iter.Seq2[int, error] { panic("oh") }}
		}, []string{"0s a ended", "0s panic: oh", "0s end"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context, j *journal) {
				for v, err := range aiter.Merge(ctx, tt.srcs(j)...) {
					if err != nil {
						wantNoTasks(t, ctx)
						j.log("%s", said(err))
						continue
					}
					j.log("%d", v)
				}
				j.log("end")
				j.want(t, tt.want...)
			})
		})
	}
}

func TestMergeIsOnlySoFarAhead(t *testing.T) {
	run(t, func(ctx context.Context, j *journal) {
		made := 0
		src := func(context.Context) iter.Seq2[int, error] {
			return func(yield func(int, error) bool) {
				for made < 100 {
					made++
					if !yield(made, nil) {
						return
					}
				}
			}
		}
		n := 0
		for range aiter.Merge(ctx, src, src, src) {
			n++
			if err := task.Sleep(ctx, s); err != nil {
				t.Error(err)
			}
			if made > n+1+3 {
				t.Fatalf("%d made, %d taken", made, n)
			}
			if n == 20 {
				break
			}
		}
	})
}

// The ways in which the tests below run tasks: each makes numbers, one each second
// and each of its tasks takes a second to clean up.
func slowly(j *journal, name string) aiter.Source[int] {
	return func(ctx context.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			defer func() {
				if err := task.Sleep(ctx, s); err != nil {
					j.log("%s could not clean up", name)
				}
				j.log("%s ended", name)
			}()
			for i := 0; ; i++ {
				if err := task.Sleep(ctx, s); err != nil {
					yield(i, err)
					return
				}
				if !yield(i, nil) {
					return
				}
			}
		}
	}
}

var tasked = map[string]struct {
	seq  func(ctx context.Context, j *journal) iter.Seq2[int, error]
	ends []string // who ends a second after the sequence was left, between two values
}{
	"Map": {func(ctx context.Context, j *journal) iter.Seq2[int, error] {
		return aiter.Map(ctx, slowly(j, "src"), 3, slowFn(j))
	}, []string{"fn 2 ended", "src ended"}},
	"MapUnordered": {func(ctx context.Context, j *journal) iter.Seq2[int, error] {
		return aiter.MapUnordered(ctx, slowly(j, "src"), 3, slowFn(j))
	}, []string{"fn 2 ended", "src ended"}},
	"Merge": {func(ctx context.Context, j *journal) iter.Seq2[int, error] {
		return aiter.Merge(ctx, slowly(j, "a"), func(ctx context.Context) iter.Seq2[int, error] {
			return aiter.Filter(slowly(j, "b")(ctx), func(int) bool { return false })
		})
	}, []string{"a ended", "b ended"}},
}

// slowFn takes what is left of the second, and a second to clean up when it is
// canceled.
func slowFn(j *journal) func(ctx context.Context, v int) (int, error) {
	return func(ctx context.Context, v int) (int, error) {
		if err := task.Sleep(ctx, 700*time.Millisecond); err != nil {
			if err := task.Sleep(ctx, s); err != nil {
				j.log("fn %d could not clean up", v)
			}
			j.log("fn %d ended", v)
			return 0, err
		}
		return v, nil
	}
}

// ended drops the times, and sorts: who ended.
func (j *journal) ended(t testing.TB, at time.Duration, want []string) {
	t.Helper()
	var w []string
	for _, name := range want {
		w = append(w, fmt.Sprint(at, " ", name))
	}
	slices.Sort(j.lines)
	j.want(t, w...)
}

// TestLeavingALoopAwaitsItsTasks: by break, return and panic, the tasks are canceled
// and have ended when the loop has, having been canceled just once.
func TestLeavingALoopAwaitsItsTasks(t *testing.T) {
	for name, h := range tasked {
		for _, how := range []string{"break", "return", "panic", "pull"} {
			t.Run(name+" "+how, func(t *testing.T) {
				run(t, func(ctx context.Context, j *journal) {
					func() {
						defer func() {
							if v := recover(); (v != nil) != (how == "panic") || v != nil && v != errBoom {
								t.Errorf("recovered %v", v)
							}
						}()
						if how == "pull" {
							next, stop := iter.Pull2(h.seq(ctx, j))
							defer stop()
							for range 2 {
								next()
							}
							_ = task.Sleep(ctx, at(j, 3200*time.Millisecond))
							return
						}
						for v, err := range h.seq(ctx, j) {
							if err != nil {
								t.Error(err)
							}
							if v == 0 {
								continue
							}
							_ = task.Sleep(ctx, at(j, 3200*time.Millisecond))
							switch how {
							case "return":
								return
							case "panic":
								panic(errBoom)
							}
							break
						}
					}()
					wantNoTasks(t, ctx)
					j.ended(t, 4200*time.Millisecond, h.ends)
				})
			})
		}
	}
}

// at returns how long it is until d after the begin of the test.
func at(j *journal, d time.Duration) time.Duration { return j.begin.Add(d).Sub(j.l.Now()) }

// TestCancelingTheLoopEndsItsTasks, which have ended before the loop is told.
func TestCancelingTheLoopEndsItsTasks(t *testing.T) {
	for name, h := range tasked {
		t.Run(name, func(t *testing.T) {
			run(t, func(ctx context.Context, j *journal) {
				got := ""
				consumer := task.Go(ctx, func(ctx context.Context) error {
					for v, err := range h.seq(ctx, j) {
						if err != nil {
							if n := len(task.All(j.l)); n != 2 { // the test's and this one
								t.Errorf("%d tasks are left", n)
							}
							got += fmt.Sprint(j.l.Now().Sub(j.begin), " ", said(err))
							return err
						}
						got += fmt.Sprint(v, " ")
						if v == 1 {
							// Let the wait be between two values.
							if err := task.Sleep(ctx, at(j, 3100*time.Millisecond)); err != nil {
								t.Error(err)
							}
						}
					}
					return nil
				})
				j.l.CallAt(j.begin.Add(3200*time.Millisecond), func() { consumer.Cancel(errBoom) })
				_, _, _ = task.Wait(ctx, task.AllCompleted, consumer)
				want := "0 1 4.2s canceled boom"
				if name == "Merge" { // which had 2 ahead
					want = "0 1 2 4.2s canceled boom"
				}
				if got != want || !consumer.Canceled() {
					t.Errorf("got %q, %v; want %q", got, consumer, want)
				}
				j.ended(t, 4200*time.Millisecond, h.ends)
			})
		})
	}
}

// TestAScopeEndsTheLoopAndItsTasks: the tasks are in the scope, too, so that their
// cleaning up is cut short; the loop is told why.
func TestAScopeEndsTheLoopAndItsTasks(t *testing.T) {
	for name, h := range tasked {
		t.Run(name, func(t *testing.T) {
			run(t, func(ctx context.Context, j *journal) {
				sub, cancel := task.WithTimeout(ctx, 1500*time.Millisecond)
				defer cancel()
				var last error
				for _, err := range h.seq(sub, j) {
					last = err
				}
				if last != task.ErrTimeout || j.l.Now().Sub(j.begin) != 1500*time.Millisecond {
					t.Errorf("the last error is %v after %v", last, j.l.Now().Sub(j.begin))
				}
			})
		})
	}
}

// TestACancellationWhileTheTasksEndIsNotLost: nor does it hurry them.
func TestACancellationWhileTheTasksEndIsNotLost(t *testing.T) {
	for name, h := range tasked {
		for _, tt := range []struct {
			name    string
			cancels []time.Duration
		}{
			{"while they end", []time.Duration{3700 * time.Millisecond}},
			{"twice", []time.Duration{3700 * time.Millisecond, 3800 * time.Millisecond}},
			{"before", nil},
		} {
			t.Run(name+" "+tt.name, func(t *testing.T) {
				run(t, func(ctx context.Context, j *journal) {
					consumer := task.Go(ctx, func(ctx context.Context) error {
						for v := range h.seq(ctx, j) {
							if v == 1 {
								_ = task.Sleep(ctx, at(j, 3200*time.Millisecond))
								if tt.cancels == nil {
									task.FromContext(ctx).Cancel(errBoom)
								}
								break
							}
						}
						if d := j.l.Now().Sub(j.begin); d != 4200*time.Millisecond {
							t.Errorf("the loop ended after %v", d)
						}
						if n := task.FromContext(ctx).Canceling(); n != max(1, len(tt.cancels)) {
							t.Errorf("Canceling = %d", n)
						}
						err := task.Sleep(ctx, time.Hour)
						if second := task.Sleep(ctx, s); second != nil {
							t.Errorf("delivered twice: %v", second)
						}
						return err
					})
					for _, d := range tt.cancels {
						j.l.CallLater(d, func() { consumer.Cancel(errBoom) })
					}
					_, _, _ = task.Wait(ctx, task.AllCompleted, consumer)
					if err := consumer.Err(); said(err) != "canceled boom" {
						t.Errorf("the consumer ended with %v, want its cancellation", err)
					}
					j.ended(t, 4200*time.Millisecond, h.ends)
				})
			})
		}
	}
}

// TestATimeoutWhileTheTasksEnd: the cancellation that is repeated is still the
// timeout's.
func TestATimeoutWhileTheTasksEnd(t *testing.T) {
	for name, h := range tasked {
		t.Run(name, func(t *testing.T) {
			run(t, func(ctx context.Context, j *journal) {
				for _, wait := range []bool{true, false} {
					j.begin, j.lines = j.l.Now(), nil
					err := task.Timeout(ctx, 3700*time.Millisecond, func(ctx context.Context, _ *task.TimeoutScope) error {
						for v := range h.seq(ctx, j) {
							if v == 1 {
								_ = task.Sleep(ctx, at(j, 3200*time.Millisecond))
								break
							}
						}
						if wait {
							return task.Sleep(ctx, time.Hour)
						}
						return nil
					})
					if wait != (err == task.ErrTimeout) {
						t.Errorf("Timeout = %v", err)
					}
					if err := task.Yield(ctx); err != nil {
						t.Errorf("a cancellation is left: %v", err)
					}
				}
			})
		})
	}
}

// TestAFailureDoesNotInterruptTheLoopsBody: it is the last pair.
func TestAFailureDoesNotInterruptTheLoopsBody(t *testing.T) {
	boom := func(j *journal) aiter.Source[int] {
		return func(ctx context.Context) iter.Seq2[int, error] {
			return aiter.Chain(of(1), func(yield func(int, error) bool) {
				_ = task.Sleep(ctx, s)
				yield(0, errBoom)
			})
		}
	}
	same := func(_ context.Context, v int) (int, error) { return v, nil }
	for name, of := range map[string]func(ctx context.Context, j *journal) iter.Seq2[int, error]{
		"Map": func(ctx context.Context, j *journal) iter.Seq2[int, error] { return aiter.Map(ctx, boom(j), 3, same) },
		"MapUnordered": func(ctx context.Context, j *journal) iter.Seq2[int, error] {
			return aiter.MapUnordered(ctx, boom(j), 3, same)
		},
		"Merge": func(ctx context.Context, j *journal) iter.Seq2[int, error] { return aiter.Merge(ctx, boom(j)) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(ctx context.Context, j *journal) {
				for v, err := range of(ctx, j) {
					j.log("%d %s", v, said(err))
					j.log("body %s", said(task.Sleep(ctx, 5*s)))
				}
				j.want(t, "0s 1 <nil>", "5s body <nil>", "5s 0 boom", "10s body <nil>")
			})
		})
	}
}

func TestTheFirstFailureEndsTheSequence(t *testing.T) {
	run(t, func(ctx context.Context, j *journal) {
		late := func(ctx context.Context) iter.Seq2[int, error] {
			_ = task.Sleep(ctx, 2*s)
			return failing[int](errors.New("later"), 1)
		}
		boom := func(ctx context.Context) iter.Seq2[int, error] {
			_ = task.Sleep(ctx, s)
			return failing[int](errBoom)
		}
		// While the body waits, boom fails, ready's put is refused, late fails.
		for v, err := range aiter.Merge(ctx, ready(1, 2, 3), boom, late) {
			j.log("%d %s", v, said(err))
			_ = task.Sleep(ctx, 5*s)
		}
		j.want(t, "0s 1 <nil>", "5s 2 <nil>", "10s 0 boom")
	})
}

// TestTasksCanceledByOthers: whoever of the tasks is canceled by somebody else, the
// loop is told, and ends.
func TestTasksCanceledByOthers(t *testing.T) {
	for name, h := range tasked {
		for _, when := range []time.Duration{0, 1300 * time.Millisecond} {
			for i := range 3 {
				t.Run(fmt.Sprint(name, " ", when, " ", i), func(t *testing.T) {
					run(t, func(ctx context.Context, j *journal) {
						me := task.FromContext(ctx)
						hit := false
						cancel := func() {
							ts := slices.DeleteFunc(task.All(j.l), func(t task.Any) bool { return t.ID() == me.ID() })
							if hit = i < len(ts); hit {
								ts[i].Cancel(errBoom)
							}
						}
						if when == 0 {
							j.l.CallSoon(func() { j.l.CallSoon(cancel) })
						} else {
							j.l.CallLater(when, cancel)
						}
						var last error
						n := 0
						for _, err := range h.seq(ctx, j) {
							last = err
							if n++; n == 5 {
								break
							}
						}
						want := "canceled boom"
						if i == 0 { // the boss: his group cancels the others, without a cause
							want = "canceled"
						}
						if hit && said(last) != want {
							t.Errorf("the last error is %v, want %s", last, want)
						}
					})
				})
			}
		}
	}
}

func TestABossCanceledBeforeHeBegins(t *testing.T) {
	run(t, func(ctx context.Context, j *journal) {
		me := task.FromContext(ctx)
		j.l.CallSoon(func() {
			for _, tk := range task.All(j.l) {
				if tk.ID() != me.ID() {
					tk.Cancel(errBoom)
				}
			}
		})
		// The callback is first in the queue.
		got := show(aiter.Merge(ctx, ready(1, 2)))
		if got != "0!canceled boom" {
			t.Errorf("got %q", got)
		}
	})
}

// TestASourceThatIgnoresItsCancellation is not asked for more.
func TestASourceThatIgnoresItsCancellation(t *testing.T) {
	deaf := func(ctx context.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := 0; yield(i, nil); i++ {
				_ = task.Sleep(ctx, s)
			}
		}
	}
	same := func(_ context.Context, v int) (int, error) { return v, nil }
	for name, of := range map[string]func(ctx context.Context) iter.Seq2[int, error]{
		"Map":          func(ctx context.Context) iter.Seq2[int, error] { return aiter.Map(ctx, deaf, 1, same) },
		"MapUnordered": func(ctx context.Context) iter.Seq2[int, error] { return aiter.MapUnordered(ctx, deaf, 0, same) },
		"Merge":        func(ctx context.Context) iter.Seq2[int, error] { return aiter.Merge(ctx, deaf, deaf) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(ctx context.Context, j *journal) {
				for v := range of(ctx) {
					if v == 2 {
						break
					}
				}
				wantNoTasks(t, ctx)
				// And if it is the boss who is canceled, by somebody else.
				me := task.FromContext(ctx).ID()
				j.l.CallLater(5*s/2, func() {
					for _, tk := range task.All(j.l) {
						if tk.ID() != me {
							tk.Cancel(errBoom)
							return
						}
					}
				})
				n := 0
				for range of(ctx) {
					if n++; n == 10 {
						break
					}
				}
				if name != "Merge" && n != 4 { // three values and an error
					t.Errorf("%d values of a boss who was canceled", n)
				}
				wantNoTasks(t, ctx)
			})
		})
	}
}

func TestErrorsOfTheOthersAreNotReported(t *testing.T) {
	run(t, func(ctx context.Context, j *journal) { // looptest fails on a report
		for _, err := range aiter.Map(ctx, ready(1, 2, 3), 0, func(ctx context.Context, v int) (int, error) {
			if err := task.Sleep(ctx, time.Duration(v)*s); err != nil {
				return 0, errors.New("cleaning up failed")
			}
			return 0, errBoom
		}) {
			j.log("%s", said(err))
		}
		j.want(t, "1s boom")
	})
}

func TestAPipeline(t *testing.T) {
	run(t, func(ctx context.Context, j *journal) {
		// A Map of a Map: a Source is made of anything.
		twice := func(ctx context.Context) iter.Seq2[int, error] {
			return aiter.Map(ctx, aiter.Ready(ints(10)), 4, func(ctx context.Context, v int) (int, error) {
				return 2 * v, task.Sleep(ctx, s)
			})
		}
		got, err := aiter.Collect(aiter.Take(aiter.Map(ctx, twice, 2, func(ctx context.Context, v int) (int, error) {
			return v + 1, task.Sleep(ctx, s)
		}), 5))
		if fmt.Sprint(got, err) != "[1 3 5 7 9] <nil>" {
			t.Errorf("got %v, %v", got, err)
		}
		wantNoTasks(t, ctx)
	})
}

func TestTasksInheritTheVariables(t *testing.T) {
	v := task.NewVar[string]("v")
	run(t, func(ctx context.Context, j *journal) {
		v.Set(ctx, "mine")
		got := show(aiter.Map(ctx, ready(1), 1, func(ctx context.Context, _ int) (string, error) {
			defer v.Set(ctx, "theirs")
			return v.Get(ctx), nil
		}))
		if got != "mine" || v.Get(ctx) != "mine" {
			t.Errorf("fn had %s, then there is %s", got, v.Get(ctx))
		}
	})
}

func TestALoopOutsideOfATask(t *testing.T) {
	run(t, func(ctx context.Context, j *journal) {
		j.l.CallSoon(func() {
			wantPanic(t, "aiter: loop over a sequence outside of a task", func() {
				show(aiter.Merge(j.l.Context(), ready(1)))
			})
		})
		_ = task.Sleep(ctx, s)
	})
}

// TestALoopThatIsOpenWhenTheLoopCloses: tasks of both kinds are unwound.
func TestALoopThatIsOpenWhenTheEventLoopCloses(t *testing.T) {
	for name, h := range tasked {
		t.Run(name, func(t *testing.T) {
			l, err := loop.New(loop.Config{Clock: looptest.NewClock(time.Time{})})
			if err != nil {
				t.Fatal(err)
			}
			f, p := future.New[struct{}](l)
			ended := ""
			task.Go(l.Context(), func(ctx context.Context) error {
				defer func() { ended += "task" }()
				j := &journal{l: l, begin: l.Now()}
				for v, err := range h.seq(ctx, j) {
					if err != nil {
						ended += said(err) + ", "
						return err
					}
					if v == 1 {
						p.Resolve(struct{}{})
					}
				}
				return nil
			})
			if err := l.RunUntil(f); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			if want := "canceled loop: closed, task"; ended != want {
				t.Errorf("ended %q, want %q", ended, want)
			}
		})
	}
}
