package future_test

import (
	"context"
	"fmt"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/task"
)

func ExampleShield() {
	task.Run(context.Background(), func(ctx context.Context) error {
		save := task.Start(ctx, func(ctx context.Context) (string, error) {
			return "saved", task.Sleep(ctx, 2*time.Millisecond)
		})
		// The caller loses patience; the save goes on.
		_, err := task.WaitFor(ctx, time.Millisecond, future.Shield(save.Future))
		fmt.Println(err)
		s, err := save.Await(ctx)
		fmt.Println(s)
		return err
	})
	// Output:
	// task: timeout
	// saved
}
