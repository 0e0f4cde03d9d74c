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

func fails(after time.Duration, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		if serr := task.Sleep(ctx, after); serr != nil {
			return serr
		}
		return err
	}
}

func TestScopeWaitsForItsTasks(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			for _, d := range []int{2, 1} {
				g.Go(func(ctx context.Context) error {
					defer j.Log("%d", d)
					return task.Sleep(ctx, time.Duration(d)*time.Second)
				})
			}
			v := task.StartIn(g, func(context.Context) (int, error) { return 5, nil })
			m := task.StartMachineIn(g, &waitMachine{})
			n := task.StartNowIn(g, func(context.Context) (int, error) { j.Log("now"); return 6, nil })
			vs, err := task.Gather(ctx, v, m, n)
			j.Log("%v %v", vs, err)
			return nil
		})
		j.Log("%s", outcome(err))
		j.Want(t, "now", "[5 7 6] <nil>", "1", "2", "ok")
	})
}

func TestEdge079_AFailingChildCancelsSiblingsAndBody(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.Go(func(ctx context.Context) error { err := sleepHour(ctx); j.Log("a %s", outcome(err)); return err })
			g.Go(func(ctx context.Context) error {
				err := sleepHour(ctx)
				j.Log("b %s", outcome(err))
				_ = task.Sleep(ctx, time.Second)
				return errors.New("clean-up of b")
			})
			g.Go(fails(time.Second, errBoom))
			g.Go(fails(2*time.Second, errors.New("too late")))
			err := sleepHour(ctx)
			j.Log("body %s", outcome(err))
			return err
		})
		j.Log("%s canceling %d", outcome(err), task.FromContext(ctx).Canceling())
		j.Want(t, "a Canceled", "b Canceled", "body Canceled", "Group[boom,clean-up of b] canceling 0")
		if !errors.Is(err, errBoom) || future.AsCanceled(err) != nil || errors.Is(err, context.Canceled) {
			t.Errorf("%v looks like a cancellation", err)
		}
	})
}

func TestEdge080_AFailingBodyCancelsItsTasks(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.Go(func(ctx context.Context) error {
				err := sleepHour(ctx)
				_ = task.Sleep(ctx, time.Second)
				j.Log("child %s", outcome(err))
				return errors.New("child")
			})
			yield(ctx, 1)
			return errBoom
		})
		j.Log("%s", outcome(err))
		j.Want(t, "child Canceled", "Group[child,boom]")
	})
}

func TestEdge081_AChildCanceledByHandDisturbsNobody(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			a := g.Go(sleepHour)
			b := g.Go(func(ctx context.Context) error { return task.Sleep(ctx, time.Minute) })
			yield(ctx, 1)
			a.Cancel(nil)
			_, err := b.Await(ctx)
			if !a.Canceled() {
				t.Error("not canceled")
			}
			return err
		})
		if err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestEdge082_ParentCanceledFromOutside(t *testing.T) {
	for _, where := range []string{"in the body", "while it waits"} {
		for _, childFails := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, child fails %v", where, childFails), func(t *testing.T) {
				run(t, func(ctx context.Context, l *loop.Loop) {
					var j journal
					a := task.Go(ctx, func(ctx context.Context) error {
						err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
							g.Go(func(ctx context.Context) error {
								err := sleepHour(ctx)
								if childFails {
									err = errors.New("child")
								}
								return err
							})
							if where == "in the body" {
								return sleepHour(ctx)
							}
							return nil
						})
						j.Log("%s, canceling %d", outcome(err), task.FromContext(ctx).Canceling())
						j.Log("next wait: %s", outcome(task.Yield(ctx)))
						return err
					})
					yield(ctx, 3)
					a.Cancel(errBoom)
					_, _ = a.Await(ctx)
					if childFails {
						j.Want(t, "Group[child], canceling 1", "next wait: Canceled")
					} else {
						j.Want(t, "Canceled(boom), canceling 1", "next wait: ok")
					}
				})
			})
		}
	}
}

func TestEdge083_CancelingIsLevelAcrossTheGroup(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		self := task.FromContext(ctx)
		for before := range 2 {
			for range before {
				self.Cancel(nil)
				_ = task.Yield(ctx) // swallow it
			}
			var inner error
			err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				g.Go(fails(time.Second, errBoom))
				inner = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
					g.Go(fails(time.Second, errors.New("inner")))
					return sleepHour(ctx)
				})
				return inner
			})
			if self.Canceling() != before {
				t.Errorf("canceling %d, was %d", self.Canceling(), before)
			}
			if outcome(err) != "Group[boom,Group[inner]]" {
				t.Errorf("got %s, inner %s", outcome(err), outcome(inner))
			}
			if before == 0 {
				if err := task.Yield(ctx); err != nil {
					t.Errorf("the next wait: %v", err)
				}
			}
		}
		_ = task.Yield(ctx)
		self.Uncancel()
	})
}

func TestEdge084_AParentCanceledAgainAndAgainKeepsWaiting(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		start := l.Now()
		a := task.Go(ctx, func(ctx context.Context) error {
			return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				g.Go(func(ctx context.Context) error {
					_ = sleepHour(ctx)
					return task.Sleep(ctx, time.Minute) // its clean-up
				})
				return nil
			})
		})
		for range 5 {
			_ = task.Sleep(ctx, time.Second)
			a.Cancel(nil)
		}
		if _, err := a.Await(ctx); outcome(err) != "Canceled" || l.Now().Sub(start) != time.Minute+time.Second {
			t.Errorf("%v after %v", err, l.Now().Sub(start))
		}
		// The body answers a cancel with another error.
		a = task.Go(ctx, func(ctx context.Context) error {
			return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				g.Go(sleepHour)
				_ = sleepHour(ctx)
				return errBoom
			})
		})
		yield(ctx, 2)
		a.Cancel(nil)
		if _, err := a.Await(ctx); outcome(err) != "Group[boom]" {
			t.Errorf("got %v", err)
		}
	})
}

func TestEdge086_StartingInAGroup(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		ran := false
		body := func(context.Context) error { ran = true; return nil }
		refused := func(what string, tk *task.Task[struct{}]) {
			if !tk.Done() || tk.Err() != task.ErrGroupClosed {
				t.Errorf("%s: %v, want ErrGroupClosed", what, tk)
			}
		}
		var g *task.Group
		late := false
		err := task.Scope(ctx, func(ctx context.Context, gr *task.Group) error {
			g = gr
			g.Go(func(ctx context.Context) error {
				yield(ctx, 2) // the body has returned
				g.Go(func(context.Context) error { late = true; return nil })
				return nil
			})
			return nil
		})
		if err != nil || !late {
			t.Errorf("a sibling added while the group waits: %v, ran %v", err, late)
		}
		refused("after the end", g.Go(body))
		err = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.Go(fails(0, errBoom))
			_ = sleepHour(ctx)
			refused("while aborting", g.Go(body))
			return nil
		})
		yield(ctx, 2)
		if outcome(err) != "Group[boom]" || ran {
			t.Errorf("%v, ran: %v", err, ran)
		}
	})
}

func TestEdge087_AFailingFirstStepFailsTheGroupATurnLater(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			task.StartNowIn(g, func(context.Context) (int, error) { return 0, errBoom })
			j.Log("canceling %d", task.FromContext(ctx).Canceling())
			g.Go(sleepHour) // still let in
			j.Log("%s", outcome(sleepHour(ctx)))
			return nil
		})
		j.Log("%s", outcome(err))
		j.Want(t, "canceling 0", "Canceled", "Group[boom]")
	})
}

func TestEdge088_GroupCancel(t *testing.T) {
	for _, tt := range []struct {
		name string
		body func(ctx context.Context, g *task.Group, j *journal) error
		want []string
	}{
		{"by the body", func(ctx context.Context, g *task.Group, j *journal) error {
			g.Cancel()
			g.Cancel()
			j.Log("body %s", outcome(sleepHour(ctx)))
			return nil
		}, []string{"body Canceled", "child never ran", "ok"}},
		{"by the body, which does not wait", func(ctx context.Context, g *task.Group, j *journal) error {
			g.Cancel()
			return nil
		}, []string{"child never ran", "ok"}},
		{"by the body, which returns the cancellation", func(ctx context.Context, g *task.Group, j *journal) error {
			yield(ctx, 1)
			g.Cancel()
			return sleepHour(ctx)
		}, []string{"child Canceled", "ok"}},
		{"by a child, while the group waits", func(ctx context.Context, g *task.Group, j *journal) error {
			g.Go(func(ctx context.Context) error { yield(ctx, 2); g.Cancel(); return nil })
			return nil
		}, []string{"child Canceled", "ok"}},
		{"by a child, while the body runs", func(ctx context.Context, g *task.Group, j *journal) error {
			g.Go(func(ctx context.Context) error { yield(ctx, 2); g.Cancel(); return nil })
			err := sleepHour(ctx)
			j.Log("body %s", outcome(err))
			return err
		}, []string{"child Canceled", "body Canceled", "ok"}},
		{"and a failure", func(ctx context.Context, g *task.Group, j *journal) error {
			yield(ctx, 1)
			g.Cancel()
			return errBoom
		}, []string{"child Canceled", "Group[boom]"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				var j journal
				err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
					ran := false
					g.Go(func(ctx context.Context) error {
						ran = true
						err := sleepHour(ctx)
						j.Log("child %s", outcome(err))
						return err
					}).OnDone(func() {
						if !ran {
							j.Log("child never ran")
						}
					})
					return tt.body(ctx, g, &j)
				})
				j.Log("%s", outcome(err))
				j.Want(t, tt.want...)
				if n := task.FromContext(ctx).Canceling(); n != 0 {
					t.Errorf("canceling %d", n)
				}
				if err := task.Yield(ctx); err != nil {
					t.Errorf("the next wait: %v", err)
				}
			})
		})
	}
	// An outside cancel is not swallowed by the group's own.
	run(t, func(ctx context.Context, l *loop.Loop) {
		a := task.Go(ctx, func(ctx context.Context) error {
			return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				g.Cancel()
				task.FromContext(ctx).Cancel(errBoom)
				return sleepHour(ctx)
			})
		})
		if _, err := a.Await(ctx); !a.Canceled() || a.Canceling() != 1 {
			t.Errorf("got %v, canceling %d", err, a.Canceling())
		}
	})
}

func TestGroupErrorKeepsTheOrderOfEnds(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		late := func(d time.Duration, err error) func(context.Context) error {
			return func(ctx context.Context) error {
				_ = sleepHour(ctx)
				_ = task.Sleep(ctx, d)
				return err
			}
		}
		e1, e2 := errors.New("1"), &future.CanceledError{}
		joined := errors.Join(e2, errors.New("2"))
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.Go(late(3*time.Second, e1))
			g.Go(late(time.Second, joined))
			g.Go(late(2*time.Second, task.ErrTimeout))
			g.Go(fails(time.Second, errBoom))
			return nil
		})
		var ge *task.GroupError
		if !errors.As(err, &ge) || !slices.Equal(ge.Errors(), []error{errBoom, joined, task.ErrTimeout, e1}) {
			t.Fatalf("got %v", err)
		}
		if want := "task: group failed with 4 errors, the first: boom"; err.Error() != want {
			t.Errorf("Error: %q, want %q", err, want)
		}
		if !errors.Is(err, e1) || !errors.Is(err, errBoom) || future.AsCanceled(err) != nil {
			t.Errorf("classification of %v", err)
		}
	})
}

// What holds a timeout or a cancellation among others is a failure.
func TestGroupErrorIsNeverACancellation(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		tk := task.Go(ctx, func(ctx context.Context) error {
			return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				g.Go(func(context.Context) error { return errors.Join(&future.CanceledError{}) })
				return nil
			})
		})
		if _, err := tk.Await(ctx); tk.State() != future.Failed {
			t.Errorf("%v: %v", tk, err)
		}
		err := task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error {
			return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				g.Go(func(ctx context.Context) error { _ = sleepHour(ctx); return errBoom })
				return sleepHour(ctx)
			})
		})
		if outcome(err) != "Group[boom]" || task.FromContext(ctx).Canceling() != 0 {
			t.Errorf("a failure during a timeout: %v", err)
		}
		_ = task.Yield(ctx)
	})
}

func TestPanicsInAGroup(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		for _, who := range []string{"body", "child", "machine"} {
			var j journal
			err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				g.Go(func(ctx context.Context) error { err := sleepHour(ctx); j.Log("sibling %s", outcome(err)); return err })
				yield(ctx, 1)
				switch who {
				case "body":
					panic(errBoom)
				case "child":
					g.Go(func(context.Context) error { panic(errBoom) })
				case "machine":
					task.StartMachineIn(g, explodingMachine{})
				}
				return sleepHour(ctx)
			})
			var p *coro.PanicError
			if !errors.As(err, &p) || !strings.Contains(string(p.Stack), "task_test") {
				t.Errorf("%s: %v", who, err)
			}
			j.Want(t, "sibling Canceled")
		}
	})
}

func TestSetLimit(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		running, most := 0, 0
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.SetLimit(2)
			for i := range 6 {
				g.Go(func(ctx context.Context) error {
					running++
					most = max(most, running)
					j.Log("%d", i)
					defer func() { running-- }()
					return task.Sleep(ctx, time.Duration(6-i)*time.Second)
				})
			}
			wantPanic(t, "SetLimit", func() { g.SetLimit(3) })
			return nil
		})
		if err != nil || most != 2 {
			t.Errorf("%v, %d at a time, want 2", err, most)
		}
		j.Want(t, "0", "1", "2", "3", "4", "5")
	})
}

func TestLimitedGroupThatFailsRunsNoneOfThoseHeldBack(t *testing.T) {
	for _, how := range []string{"fails", "Cancel"} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			ran := 0
			var held []*task.Task[struct{}]
			err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				g.SetLimit(1)
				if how == "fails" {
					g.Go(fails(time.Second, errBoom))
				} else {
					g.Go(func(ctx context.Context) error { _ = task.Sleep(ctx, time.Second); g.Cancel(); return nil })
				}
				for range 3 {
					held = append(held, g.Go(func(context.Context) error { ran++; return nil }))
				}
				return nil
			})
			if want := map[string]string{"fails": "Group[boom]", "Cancel": "ok"}[how]; outcome(err) != want || ran != 0 {
				t.Errorf("%s: %v, ran %d", how, err, ran)
			}
			for _, h := range held {
				if !h.Canceled() {
					t.Errorf("%s: held back: %v", how, h)
				}
			}
		})
	}
}

func TestCancelOfATaskHeldBackEndsItAtOnce(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		start := l.Now()
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.SetLimit(1)
			g.Go(sleepHour)
			ran := false
			held := g.Go(func(context.Context) error { ran = true; return nil })
			last := g.Go(func(context.Context) error { return nil })
			held.Cancel(nil)
			if _, err := held.Await(ctx); outcome(err) != "Canceled" || ran || l.Now() != start {
				t.Errorf("ended with %v after %v, ran %v", err, l.Now().Sub(start), ran)
			}
			_, err := last.Await(ctx)
			if l.Now().Sub(start) != time.Hour {
				t.Errorf("its place was given away: the next ran after %v", l.Now().Sub(start))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestNestedGroupsUnwindFromTheOutside(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		a := task.Go(ctx, func(ctx context.Context) error {
			err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
					g.Go(func(ctx context.Context) error {
						err := sleepHour(ctx)
						j.Log("innermost %s", outcome(err))
						return err
					})
					return sleepHour(ctx)
				})
				j.Log("inner %s", outcome(err))
				return err
			})
			j.Log("outer %s", outcome(err))
			return err
		})
		yield(ctx, 3)
		a.Cancel(errBoom)
		_, _ = a.Await(ctx)
		j.Want(t, "innermost Canceled", "inner Canceled(boom)", "outer Canceled(boom)")
	})
}
