package future_test

import (
	"context"
	"fmt"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// A future is set by one task, while another looks at it from time to time and a
// third awaits it.
func ExampleFuture() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		answer, promise := future.New[int](loop.FromContext(ctx))

		polls := 0
		monitor := task.Go(ctx, func(ctx context.Context) error {
			for !answer.Done() {
				polls++
				if err := task.Sleep(ctx, time.Millisecond); err != nil {
					return err
				}
			}
			return nil
		})
		task.Go(ctx, func(ctx context.Context) error {
			if err := task.Sleep(ctx, 10*time.Millisecond); err != nil {
				return err
			}
			promise.Resolve(42)
			return nil
		})

		v, err := answer.Await(ctx)
		fmt.Println("awaited:", v, err)
		_, err = monitor.Await(ctx)
		fmt.Println("monitor:", answer.State(), "and looked at before:", polls > 0)
		return err
	})
	// Output:
	// awaited: 42 <nil>
	// monitor: resolved and looked at before: true
}
