package task_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

func ExampleStart() {
	task.Run(context.Background(), func(ctx context.Context) error {
		t := task.Start(ctx, func(ctx context.Context) (string, error) {
			return "slow", task.Sleep(ctx, time.Millisecond)
		})
		fmt.Println("first")
		s, err := t.Await(ctx)
		fmt.Println(s)
		return err
	})
	// Output:
	// first
	// slow
}

func ExampleGather() {
	square := func(n int) func(ctx context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			return n * n, task.Sleep(ctx, time.Duration(10-n)*time.Millisecond)
		}
	}
	task.Run(context.Background(), func(ctx context.Context) error {
		squares, err := task.Gather(ctx,
			task.Start(ctx, square(2)),
			task.Start(ctx, square(3)),
			task.Start(ctx, square(4)))
		fmt.Println(squares, err)
		return nil
	})
	// Output: [4 9 16] <nil>
}

func ExampleScope() {
	task.Run(context.Background(), func(ctx context.Context) error {
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.Go(func(ctx context.Context) error {
				err := task.Sleep(ctx, time.Hour)
				fmt.Println("worker:", err)
				return err
			})
			g.Go(func(ctx context.Context) error { return errors.New("disk full") })
			return nil
		})
		fmt.Println(err)
		return nil
	})
	// Output:
	// worker: canceled
	// task: group failed: disk full
}

func ExampleTimeout() {
	task.Run(context.Background(), func(ctx context.Context) error {
		err := task.Timeout(ctx, time.Millisecond, func(ctx context.Context, _ *task.TimeoutScope) error {
			return task.Sleep(ctx, time.Hour)
		})
		fmt.Println(err, errors.Is(err, context.DeadlineExceeded))
		return nil
	})
	// Output: task: timeout true
}

func ExampleRun() {
	err := task.Run(context.Background(), func(ctx context.Context) error {
		task.Go(ctx, func(ctx context.Context) error {
			err := task.Sleep(ctx, time.Hour)
			fmt.Println("left behind:", err)
			return err
		})
		if err := task.Yield(ctx); err != nil {
			return err
		}
		fmt.Println("main is done")
		return nil
	})
	fmt.Println(err)
	// Output:
	// main is done
	// left behind: canceled
	// <nil>
}

// A countdown is a machine: it needs no stack while it waits.
type countdown struct {
	l *loop.Loop
	n int
}

func (c *countdown) Step(ctx context.Context, thrown error) (future.Waiter, error) {
	if thrown != nil || c.n == 0 {
		return task.Done, thrown
	}
	fmt.Println(c.n)
	c.n--
	return future.After(c.l, time.Millisecond), nil
}

func (c *countdown) Result() string { return "lift-off" }

func ExampleStartMachine() {
	task.Run(context.Background(), func(ctx context.Context) error {
		s, err := task.StartMachine(ctx, &countdown{loop.FromContext(ctx), 2}).Await(ctx)
		fmt.Println(s)
		return err
	})
	// Output:
	// 2
	// 1
	// lift-off
}

func ExampleWaitFor() {
	task.Run(context.Background(), func(ctx context.Context) error {
		slow := task.Start(ctx, func(ctx context.Context) (string, error) {
			return "never", task.Sleep(ctx, time.Hour)
		})
		_, err := task.WaitFor(ctx, time.Millisecond, slow)
		fmt.Println(err)
		fmt.Println(slow)
		return nil
	})
	// Output:
	// task: timeout
	// Task-2 (canceled)
}
