package task_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

func TestEdge037_CancelBeforeTheFirstStep(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		ran := false
		body := func(context.Context) error { ran = true; return nil }
		a := task.Go(ctx, body)
		if !a.Cancel(errBoom) || a.Done() {
			t.Error("Cancel has no effect, or an early one")
		}
		_, err := a.Await(ctx)
		if outcome(err) != "Canceled(boom)" || ran || !a.Canceled() {
			t.Errorf("ended with %v, ran: %v", err, ran)
		}
		m := task.StartMachine(ctx, &waitMachine{before: func(error) { ran = true }})
		m.Cancel(errBoom)
		if _, err := m.Await(ctx); outcome(err) != "Canceled(boom)" || ran {
			t.Errorf("machine ended with %v, ran: %v", err, ran)
		}
	})
}

func TestEdge038_CancelGoesDownTheWholeChain(t *testing.T) {
	var j journal
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, _ := future.New[int](l)
		var prev *task.Task[int]
		for i := range 4 {
			inner := prev
			prev = task.Start(ctx, func(ctx context.Context) (v int, err error) {
				if inner == nil {
					v, err = f.Await(ctx)
				} else {
					v, err = inner.Await(ctx)
				}
				j.Log("%d %s", i, outcome(err))
				return v, err
			})
		}
		yield(ctx, 4)
		prev.Cancel(errBoom)
		if !f.Canceled() {
			t.Error("Cancel did not reach what the last one waits for")
		}
		_, err := prev.Await(ctx)
		j.Log("main %s", outcome(err))
		j.Want(t, "0 Canceled(boom)", "1 Canceled(boom)", "2 Canceled(boom)", "3 Canceled(boom)", "main Canceled(boom)")
	})
}

func TestEdge039_CanceledByAnInnerFutureCountsNothing(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, _ := future.New[int](l)
		var got string
		a := task.Go(ctx, func(ctx context.Context) error {
			_, err := f.Await(ctx)
			got = fmt.Sprint(outcome(err), " ", task.FromContext(ctx).Canceling())
			return err
		})
		yield(ctx, 1)
		f.Cancel(errBoom)
		_, err := a.Await(ctx)
		if got != "Canceled(boom) 0" || !a.Canceled() {
			t.Errorf("the body saw %q, its awaiter %v", got, err)
		}
		// Both at once: told once.
		f, _ = future.New[int](l)
		n := 0
		a = task.Go(ctx, func(ctx context.Context) error {
			for range 2 {
				if _, err := f.Await(ctx); err != nil && task.Yield(ctx) != nil {
					n++
				}
			}
			return nil
		})
		yield(ctx, 1)
		f.Cancel(nil)
		a.Cancel(nil)
		if _, err := a.Await(ctx); err != nil || n != 0 {
			t.Errorf("%v; %d cancellations beyond the first", err, n)
		}
	})
}

func TestEdge040_CancelOfTheCurrentTask(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, _ := future.New[int](l)
		var j journal
		a := task.Go(ctx, func(ctx context.Context) error {
			task.FromContext(ctx).Cancel(errBoom)
			j.Log("goes on")
			_, err := f.Await(ctx)
			j.Log("%s, future %v", outcome(err), f.State())
			return nil
		})
		_, err := a.Await(ctx)
		j.Log("main %s", outcome(err))
		j.Want(t, "goes on", "Canceled(boom), future canceled", "main ok")
	})
}

func TestEdge041_CancelWithNoWaitToFollow(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		a := task.Start(ctx, func(ctx context.Context) (int, error) {
			task.FromContext(ctx).Cancel(errBoom)
			return 1, nil
		})
		if v, err := a.Await(ctx); v != 0 || outcome(err) != "Canceled(boom)" {
			t.Errorf("got %v, %v", v, err)
		}
		b := task.Go(ctx, func(ctx context.Context) error {
			task.FromContext(ctx).Cancel(nil)
			return errBoom
		})
		if _, err := b.Await(ctx); err != errBoom {
			t.Errorf("a failure after the cancel: %v", err)
		}
		done, p := future.New[int](l)
		p.Resolve(3)
		c := task.Start(ctx, func(ctx context.Context) (int, error) {
			task.FromContext(ctx).Cancel(nil)
			return done.Await(ctx) // need not wait
		})
		if _, err := c.Await(ctx); outcome(err) != "Canceled" {
			t.Errorf("after an Await that did not wait: %v", err)
		}
	})
}

func TestEdge042_CancelAfterTheFutureSettledBeforeTheStep(t *testing.T) {
	for _, first := range []string{"Resolve", "Cancel"} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			f, p := future.New[int](l)
			a := task.Start(ctx, func(ctx context.Context) (int, error) { return f.Await(ctx) })
			yield(ctx, 1)
			if first == "Resolve" {
				p.Resolve(1)
				a.Cancel(errBoom)
			} else {
				a.Cancel(errBoom)
				if p.Resolve(1) {
					t.Error("the canceled future could be resolved")
				}
			}
			if _, err := a.Await(ctx); outcome(err) != "Canceled(boom)" {
				t.Errorf("%s first: %v", first, err)
			}
			if first == "Resolve" {
				if v, err := f.Result(); v != 1 || err != nil {
					t.Errorf("the future's result is gone: %v, %v", v, err)
				}
			}
		})
	}
}

func TestEdge043_SwallowingACancelIsAllowed(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		a := task.Start(ctx, func(ctx context.Context) (int, error) {
			for range 3 {
				j.Log("%s", outcome(sleepHour(ctx)))
			}
			return 5, ctx.Err()
		})
		yield(ctx, 1)
		a.Cancel(errors.New("one"))
		yield(ctx, 3)
		a.Cancel(errors.New("two"))
		v, err := a.Await(ctx)
		j.Log("%d %v, canceling %d", v, err, a.Canceling())
		j.Want(t, "Canceled(one)", "Canceled(two)", "ok", "5 <nil>, canceling 2")
	})
}

func TestEdge044_EveryCancelCounts(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		n := 0
		a := task.Go(ctx, func(ctx context.Context) error {
			for range 2 {
				if task.Yield(ctx) != nil {
					n++
				}
			}
			return nil
		})
		yield(ctx, 1)
		first, second := a.Cancel(nil), a.Cancel(nil)
		if !first || !second || a.Canceling() != 2 {
			t.Errorf("canceling %d, want 2", a.Canceling())
		}
		_, _ = a.Await(ctx)
		if n != 1 {
			t.Errorf("two cancels before a step are delivered %d times, want once", n)
		}
		if a.Cancel(nil) || a.Canceling() != 2 {
			t.Error("Cancel of a task that is done has an effect")
		}
	})
}

func TestEdge045_UncancelTakesBackWhatIsNotDelivered(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		a := task.Start(ctx, func(ctx context.Context) (int, error) {
			self := task.FromContext(ctx)
			self.Cancel(nil)
			self.Cancel(nil)
			j.Log("%d", self.Uncancel())
			j.Log("%s", outcome(task.Yield(ctx))) // one is left
			self.Cancel(nil)
			j.Log("%d", self.Uncancel())
			j.Log("%d", self.Uncancel())
			j.Log("%d", self.Uncancel())
			j.Log("%s", outcome(task.Yield(ctx)))
			self.Cancel(nil)
			self.Uncancel()
			return 1, nil // not canceled any more
		})
		v, err := a.Await(ctx)
		j.Log("%d %v", v, err)
		j.Want(t, "1", "Canceled", "1", "0", "0", "ok", "1 <nil>")
	})
}

func TestEdge046_CauseReachesTheWaiterAndItsAwaiters(t *testing.T) {
	for _, tt := range []struct {
		name string
		wait func(ctx context.Context, f *future.Future[int]) error
	}{
		{"a future", func(ctx context.Context, f *future.Future[int]) error { _, err := f.Await(ctx); return err }},
		{"Sleep", func(ctx context.Context, _ *future.Future[int]) error { return sleepHour(ctx) }},
		{"Yield", func(ctx context.Context, _ *future.Future[int]) error {
			task.FromContext(ctx).Cancel(errBoom)
			return task.Yield(ctx)
		}},
		{"Gather", func(ctx context.Context, f *future.Future[int]) error { _, err := task.Gather(ctx, f, f); return err }},
		{"GatherAll", func(ctx context.Context, f *future.Future[int]) error { _, err := task.GatherAll(ctx, f); return err }},
		{"Wait", func(ctx context.Context, f *future.Future[int]) error {
			_, _, err := task.Wait(ctx, task.AllCompleted, f)
			return err
		}},
		{"Shield", func(ctx context.Context, f *future.Future[int]) error {
			_, err := future.Shield(f).Await(ctx)
			return err
		}},
		{"WaitFor", func(ctx context.Context, f *future.Future[int]) error {
			_, err := task.WaitFor(ctx, time.Minute, f)
			return err
		}},
		{"Timeout", func(ctx context.Context, _ *future.Future[int]) error {
			return task.Timeout(ctx, 2*time.Hour, func(ctx context.Context, _ *task.TimeoutScope) error { return sleepHour(ctx) })
		}},
		{"Scope", func(ctx context.Context, _ *future.Future[int]) error {
			return task.Scope(ctx, func(ctx context.Context, g *task.Group) error { g.Go(sleepHour); return nil })
		}},
		{"a machine", func(ctx context.Context, f *future.Future[int]) error {
			_, err := task.StartMachine(ctx, &waitMachine{ws: []future.Waiter{f}}).Await(ctx)
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				f, _ := future.New[int](l)
				a := task.Go(ctx, func(ctx context.Context) error {
					err := tt.wait(ctx, f)
					if outcome(err) != "Canceled(boom)" || !errors.Is(err, errBoom) ||
						!errors.Is(err, future.ErrCanceled) || !errors.Is(err, context.Canceled) {
						t.Errorf("the wait returned %v", err)
					}
					return fmt.Errorf("wrapped: %w", err)
				})
				yield(ctx, 3)
				a.Cancel(errBoom)
				_, err := a.Await(ctx)
				if outcome(err) != "Canceled(boom)" || err.Error() != "wrapped: canceled: boom" || !a.Canceled() {
					t.Errorf("the awaiter got %v; %v", err, a)
				}
			})
		})
	}
}

func TestEdge047_BodyReturningACancellationIsCanceled(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want future.State
	}{
		{"CanceledError", &future.CanceledError{}, future.Canceled},
		{"wrapped", fmt.Errorf("a: %w", fmt.Errorf("b: %w", &future.CanceledError{Cause: errBoom})), future.Canceled},
		{"joined", errors.Join(&future.CanceledError{}, errBoom), future.Failed},
		{"joined alone", errors.Join(&future.CanceledError{}), future.Failed},
		{"two %w", fmt.Errorf("%w %w", &future.CanceledError{}, errBoom), future.Failed},
		{"context.Canceled", context.Canceled, future.Failed},
		{"ErrCanceled", future.ErrCanceled, future.Failed},
		{"context.DeadlineExceeded", context.DeadlineExceeded, future.Failed},
		{"ErrTimeout", task.ErrTimeout, future.Failed},
	} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			a := task.Go(ctx, func(context.Context) error { return tt.err })
			if _, err := a.Await(ctx); err != tt.err || a.State() != tt.want || a.Canceled() != (tt.want == future.Canceled) {
				t.Errorf("%s: %v, %v, want %v", tt.name, err, a.State(), tt.want)
			}
		})
	}
}

func TestEdge051_CircleOfAwaitsIsBroken(t *testing.T) {
	for n := 2; n <= 4; n++ {
		for from := range n {
			run(t, func(ctx context.Context, l *loop.Loop) {
				ts := make([]*task.Task[int], n)
				for i := range ts {
					ts[i] = task.Start(ctx, func(ctx context.Context) (int, error) { return ts[(i+1)%n].Await(ctx) })
					ts[i].SetName(fmt.Sprint("t", i))
				}
				yield(ctx, 2)
				ts[from].Cancel(errBoom)
				for i, tk := range ts {
					_, err := tk.Await(ctx)
					var c *task.AwaitCycleError
					if !tk.Canceled() || !errors.As(err, &c) || len(c.Tasks) != n || !errors.Is(err, errBoom) {
						t.Errorf("circle of %d canceled at %d: task %d ended with %v", n, from, i, err)
					}
				}
			})
		}
	}
	// The end of Run finds circles, too.
	run(t, func(ctx context.Context, l *loop.Loop) {
		var a, b *task.Task[int]
		a = task.Start(ctx, func(ctx context.Context) (int, error) { return b.Await(ctx) })
		b = task.Start(ctx, func(ctx context.Context) (int, error) { return future.Shield(a.Future).Await(ctx) })
		yield(ctx, 2)
	})
}

func TestEdge051_CircleThroughGatherIsBroken(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var a, b *task.Task[int]
		a = task.Start(ctx, func(ctx context.Context) (int, error) { _, err := task.Gather(ctx, b); return 0, err })
		b = task.Start(ctx, func(ctx context.Context) (int, error) { _, err := task.Gather(ctx, a); return 0, err })
		yield(ctx, 2)
		a.Cancel(nil)
		done, pending, err := task.WaitTimeout(ctx, time.Second, task.AllCompleted, a, b)
		if err != nil || len(done) != 2 || !a.Canceled() || !b.Canceled() {
			t.Errorf("done %v, pending %v, %v", done, pending, err)
		}
	})
}

func TestCancelingAnAwaitedFutureCancelsTheBody(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		cleaned := false
		a := task.Start(ctx, func(ctx context.Context) (int, error) {
			err := sleepHour(ctx)
			_ = task.Sleep(ctx, time.Second) // clean-up may wait
			cleaned = true
			return 0, err
		})
		yield(ctx, 1)
		f := a.Future // somebody who has only the future
		f.Cancel(errBoom)
		if f.Done() {
			t.Error("settled before the body has ended")
		}
		if _, err := f.Await(ctx); outcome(err) != "Canceled(boom)" || !cleaned {
			t.Errorf("%v, cleaned up: %v", err, cleaned)
		}
	})
}

// Hop by hop: what was queued is not lost by a cancel that has no effect.
func TestCancelOfAProducerThatRefuses(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, p := future.New[int](l)
		asked := 0
		p.OnCancel(func(cause error) bool { asked++; return false })
		a := task.Start(ctx, func(ctx context.Context) (int, error) { return f.Await(ctx) })
		yield(ctx, 1)
		if !a.Cancel(errBoom) || asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		yield(ctx, 3)
		if a.Done() {
			t.Fatal("the wait ended before its future")
		}
		p.Resolve(1)
		if _, err := a.Await(ctx); outcome(err) != "Canceled(boom)" {
			t.Errorf("ended with %v", err)
		}
	})
}
