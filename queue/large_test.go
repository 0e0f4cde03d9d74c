package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

func largeCrowd() int {
	if raceEnabled {
		return 1000
	}
	return 100_000
}

// Waking, canceling and shutting down take time in proportion to those who wait.
func TestLargeCrowd(t *testing.T) {
	get := func(q *queue.Queue[int]) func(ctx context.Context) error {
		return func(ctx context.Context) error { _, err := q.Get(ctx); return err }
	}
	put := func(q *queue.Queue[int]) func(ctx context.Context) error {
		return func(ctx context.Context) error { return q.Put(ctx, 1) }
	}
	shut := func(ctx context.Context, q *queue.Queue[int], ts []*task.Task[struct{}]) { q.ShutDown(false) }
	cancel := func(ctx context.Context, q *queue.Queue[int], ts []*task.Task[struct{}]) {
		for _, tk := range ts {
			tk.Cancel(errBoom)
		}
	}
	for _, tt := range []struct {
		name string
		wait func(q *queue.Queue[int]) func(ctx context.Context) error
		full bool
		end  func(ctx context.Context, q *queue.Queue[int], ts []*task.Task[struct{}])
		want string
	}{
		{"getters, shut down", get, false, shut, "queue: shut down"},
		{"putters, shut down", put, true, shut, "queue: shut down"},
		{"getters, canceled", get, false, cancel, "Canceled(boom)"},
		{"putters, canceled", put, true, cancel, "Canceled(boom)"},
		{"getters, served", get, false, func(ctx context.Context, q *queue.Queue[int], ts []*task.Task[struct{}]) {
			for i := range ts {
				_ = q.TryPut(i)
			}
		}, "ok"},
		{"putters, served", put, true, func(ctx context.Context, q *queue.Queue[int], ts []*task.Task[struct{}]) {
			for range ts {
				_, _ = q.Get(ctx)
			}
		}, "ok"},
		{
			"joiners", func(q *queue.Queue[int]) func(ctx context.Context) error { return q.Join }, true,
			func(ctx context.Context, q *queue.Queue[int], ts []*task.Task[struct{}]) { q.Done() }, "ok",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) {
				q := queue.New[int](1)
				if !tt.full {
					q = queue.New[int](0)
				} else {
					must(t, q.TryPut(0))
				}
				n := largeCrowd()
				ended := 0
				ts := make([]*task.Task[struct{}], n)
				body := tt.wait(q)
				for i := range ts {
					ts[i] = task.Go(ctx, func(ctx context.Context) error {
						if got := outcome(body(ctx)); got != tt.want {
							t.Errorf("%d ended with %s, want %s", i, got, tt.want)
						}
						ended++
						return nil
					})
				}
				idle(t, ctx)
				began := time.Now()
				tt.end(ctx, q, ts)
				idle(t, ctx)
				d := time.Since(began)
				t.Logf("%d: %v, %v each", n, d, d/time.Duration(n))
				if ended != n {
					t.Errorf("%d of %d have ended", ended, n)
				}
				if d > 5*time.Second && !raceEnabled { // quadratic would be minutes
					t.Errorf("took %v", d)
				}
			})
		})
	}
}
