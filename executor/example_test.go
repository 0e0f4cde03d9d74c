package executor_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// A function that blocks runs elsewhere, and the loop goes on.
func ExampleDo() {
	task.Run(context.Background(), func(ctx context.Context) error {
		task.Go(ctx, func(ctx context.Context) error {
			fmt.Println("the loop goes on")
			return nil
		})
		sum, err := executor.Do(ctx, func(ctx context.Context) (int, error) {
			time.Sleep(10 * time.Millisecond) // blocks its goroutine, not the loop
			return 40 + 2, nil
		})
		fmt.Println(sum, err)
		return nil
	})
	// Output:
	// the loop goes on
	// 42 <nil>
}

// Submit returns a future: several jobs run at the same time, no more than the
// pool allows, and one that is not needed any more is canceled.
func ExampleSubmit() {
	task.Run(context.Background(), func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		pool := executor.New(executor.Config{Limit: 2, Name: "files"})
		size := func(name string) func(context.Context) (int, error) {
			return func(context.Context) (int, error) { return len(name), nil }
		}
		a := executor.Submit(l, pool, size("passwd"))
		b := executor.Submit(l, pool, size("hosts"))
		slow := executor.Submit(l, pool, func(ctx context.Context) (int, error) {
			<-ctx.Done() // listens
			return 0, ctx.Err()
		})
		sizes, err := task.Gather(ctx, a, b)
		fmt.Println(sizes, err)

		slow.Cancel(errors.New("not needed"))
		_, err = slow.Await(ctx)
		fmt.Println(err)
		return nil
	})
	// Output:
	// [6 5] <nil>
	// canceled: not needed
}

// A pool of one's own is shut down by whoever made it.
func ExamplePool_Shutdown() {
	pool := executor.New(executor.Config{Limit: 1})
	task.Run(context.Background(), func(ctx context.Context) error {
		_, err := executor.DoIn(ctx, pool, func(ctx context.Context) (int, error) { return 1, nil })
		return err
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	fmt.Println(pool.Shutdown(ctx), pool.Stats().Done)
	// Output:
	// <nil> 1
}
