package queue_test

import (
	"context"
	"fmt"

	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

func ExampleQueue() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		q := queue.New[string](1)
		worker := task.Go(ctx, func(ctx context.Context) error {
			for {
				job, err := q.Get(ctx)
				if err != nil {
					return err
				}
				fmt.Println("doing", job)
				q.Done()
			}
		})
		for _, job := range []string{"wash", "dry", "fold"} {
			if err := q.Put(ctx, job); err != nil { // waits while the worker is behind
				return err
			}
		}
		if err := q.Join(ctx); err != nil {
			return err
		}
		q.ShutDown(false)
		_, err := worker.Await(ctx)
		fmt.Println(err)
		return nil
	})
	// Output:
	// doing wash
	// doing dry
	// doing fold
	// queue: shut down
}

func ExampleQueue_All() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		q := queue.New[int](2)
		task.Go(ctx, func(ctx context.Context) error {
			defer q.ShutDown(false) // ends the range below, once it has had all
			for i := range 4 {
				if err := q.Put(ctx, i*i); err != nil {
					return err
				}
			}
			return nil
		})
		for v, err := range q.All(ctx) {
			if err != nil {
				return err
			}
			fmt.Println(v)
		}
		return nil
	})
	// Output:
	// 0
	// 1
	// 4
	// 9
}
