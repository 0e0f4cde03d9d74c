package task_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eddyloop/eddy/task"
)

// The example of the README.
func Example() {
	task.Main(func(ctx context.Context) error {
		words := task.Start(ctx, func(ctx context.Context) ([]string, error) {
			return []string{"hello", "world"}, task.Sleep(ctx, 20*time.Millisecond)
		})
		err := task.Timeout(ctx, time.Millisecond, func(ctx context.Context, _ *task.TimeoutScope) error {
			return task.Sleep(ctx, time.Hour)
		})
		fmt.Println("timed out:", errors.Is(err, context.DeadlineExceeded))
		return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			ws, err := words.Await(ctx)
			for _, w := range ws {
				g.Go(func(ctx context.Context) error {
					fmt.Println(w)
					return nil
				})
			}
			return err
		})
	})
	// Output:
	// timed out: true
	// hello
	// world
}
