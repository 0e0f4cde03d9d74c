package waitq_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/waitq"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A waiting is a waiter in the model.
type waiting struct {
	w        *waitq.Waiter
	t        *task.Task[struct{}]
	woken    bool
	canceled bool
}

func (w *waiting) pending() bool { return !w.woken && !w.canceled }

// The queue does what a slice does, whatever the order of Push, Wake, Cancel and
// Remove: first come, first woken, and the canceled ones are passed over.
func TestQueueModel(t *testing.T) {
	for seed := range uint64(500) {
		looptest.Run(t, func(ctx context.Context) error {
			r := rand.New(rand.NewPCG(seed, 4))
			var q waitq.Queue
			var model []*waiting // in the queue
			first := func() *waiting {
				for _, w := range model {
					if w.pending() {
						return w
					}
				}
				return nil
			}
			var all []*waiting
			for step := range 100 {
				switch op := r.IntN(12); {
				case op < 4:
					w := new(waiting)
					w.t = task.Go(ctx, func(ctx context.Context) error {
						w.w = q.Push(ctx, "test")
						model = append(model, w)
						all = append(all, w)
						err := w.w.Await(ctx)
						if (err != nil) != w.canceled && !w.woken {
							return fmt.Errorf("woken %v, canceled %v: %w", w.woken, w.canceled, err)
						}
						if w.w.Woken() != w.woken || w.w.Canceled() == w.woken {
							return fmt.Errorf("Woken %v, want %v", w.w.Woken(), w.woken)
						}
						w.w.Remove()
						w.w.Remove() // does nothing
						for i := range model {
							if model[i] == w {
								model = append(model[:i:i], model[i+1:]...)
								break
							}
						}
						return nil
					})
					if r.IntN(3) > 0 {
						_ = task.Yield(ctx)
					}
				case op < 6:
					want := first()
					if got := q.WakeNext(); got != (want != nil) {
						return fmt.Errorf("seed %d, step %d: WakeNext %v, want %v", seed, step, got, want != nil)
					}
					if want != nil {
						if want.woken = true; !want.w.Woken() {
							return fmt.Errorf("seed %d, step %d: another was woken", seed, step)
						}
					}
				case op == 6:
					if len(model) > 0 {
						w := model[r.IntN(len(model))]
						if got := w.w.Wake(); got != w.pending() {
							return fmt.Errorf("seed %d, step %d: Wake %v", seed, step, got)
						}
						w.woken = w.woken || w.pending()
					}
				case op < 9:
					if len(model) > 0 {
						w := model[r.IntN(len(model))]
						w.t.Cancel(nil)
						w.canceled = w.canceled || w.pending()
					}
				case op == 9:
					if r.IntN(5) == 0 {
						q.WakeAll()
						for _, w := range model {
							w.woken = w.woken || w.pending()
						}
					}
				case op == 10 && len(model) > 0: // as package queue does: out first, then woken
					w := model[0]
					if q.First() != w.w {
						return fmt.Errorf("seed %d, step %d: First is another", seed, step)
					}
					w.w.Remove()
					model = model[1:]
					w.w.Wake()
					w.woken = w.woken || w.pending()
				default:
					_ = task.Yield(ctx)
				}
				allCanceled := true
				for _, w := range model {
					allCanceled = allCanceled && w.canceled
				}
				if q.Len() != len(model) || q.AllCanceled() != allCanceled || (q.First() == nil) != (len(model) == 0) {
					return fmt.Errorf("seed %d, step %d: %d wait, want %d; all canceled %v, want %v",
						seed, step, q.Len(), len(model), q.AllCanceled(), allCanceled)
				}
			}
			if err := looptest.WaitIdle(ctx); err != nil {
				return err
			}
			q.WakeAll()
			for _, w := range model {
				w.woken = w.woken || w.pending()
			}
			for _, w := range all {
				if _, err := w.t.Await(ctx); err != nil && future.AsCanceled(err) == nil {
					return fmt.Errorf("seed %d: %w", seed, err)
				}
			}
			if q.Len() != 0 || q.First() != nil || !q.AllCanceled() {
				return fmt.Errorf("seed %d: %d are left", seed, q.Len())
			}
			return nil
		})
		if t.Failed() {
			return
		}
	}
}

// A wait that panics leaves nobody behind whose turn would never be taken.
func TestAwaitThatPanics(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		var q waitq.Queue
		_, err := task.Go(ctx, func(context.Context) error {
			return q.Push(ctx, "test").Await(ctx) // ctx of another task
		}).Await(ctx)
		if err == nil || errors.Is(err, future.ErrCanceled) {
			t.Errorf("ended with %v, want a panic", err)
		}
		if q.Len() != 0 {
			t.Errorf("%d wait", q.Len())
		}
		return nil
	})
}
