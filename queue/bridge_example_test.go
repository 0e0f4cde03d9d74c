package queue_test

import (
	"context"
	"fmt"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

// Goroutines do the work, a task hands it out and waits for all of it.
func ExampleBridge() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		jobs := queue.NewBridge[int](l, 2)
		results := queue.NewBridge[int](l, 0)
		for range 3 {
			go func() {
				for {
					n, err := jobs.GetThreadsafe(context.Background())
					if err != nil { // shut down
						return
					}
					_ = results.TryPut(n * n)
					jobs.Done()
				}
			}()
		}
		for n := range 10 {
			if err := jobs.Put(ctx, n); err != nil { // waits while they are behind
				return err
			}
		}
		if err := jobs.Join(ctx); err != nil {
			return err
		}
		jobs.ShutDown(false)
		sum := 0
		for !results.Empty() {
			n, err := results.Get(ctx)
			if err != nil {
				return err
			}
			sum += n
		}
		fmt.Println(sum)
		return nil
	})
	// Output: 285
}
