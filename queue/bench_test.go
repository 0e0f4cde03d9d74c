package queue_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

func runBench(b *testing.B, fn func(ctx context.Context) error) {
	b.ReportAllocs()
	if err := task.Run(context.Background(), fn); err != nil {
		b.Fatal(err)
	}
}

// One puts, the other gets: tasks and a queue, goroutines and a channel. An
// operation is one item.
func BenchmarkPutGet(b *testing.B) {
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("queue %d", size), func(b *testing.B) {
			runBench(b, func(ctx context.Context) error {
				q := queue.New[int](size)
				return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
					g.Go(func(ctx context.Context) error {
						for i := range b.N {
							if err := q.Put(ctx, i); err != nil {
								return err
							}
						}
						return nil
					})
					g.Go(func(ctx context.Context) error {
						for range b.N {
							if _, err := q.Get(ctx); err != nil {
								return err
							}
						}
						return nil
					})
					return nil
				})
			})
		})
		b.Run(fmt.Sprintf("channel %d", size), func(b *testing.B) {
			b.ReportAllocs()
			c := make(chan int, size)
			go func() {
				for i := range b.N {
					c <- i
				}
			}()
			for range b.N {
				<-c
			}
		})
	}
}

// Nobody waits.
func BenchmarkTryPutTryGet(b *testing.B) {
	b.Run("queue", func(b *testing.B) {
		b.ReportAllocs()
		q := queue.New[int](8)
		for b.Loop() {
			_ = q.TryPut(1)
			_, _ = q.TryGet()
		}
	})
	b.Run("priority queue of 100", func(b *testing.B) {
		b.ReportAllocs()
		q := queue.NewPriority(0, less)
		for i := range 100 {
			_ = q.TryPut(i)
		}
		i := 0
		for b.Loop() {
			i = (i + 37) % 100
			_ = q.TryPut(i)
			_, _ = q.TryGet()
		}
	})
	b.Run("channel", func(b *testing.B) {
		b.ReportAllocs()
		c := make(chan int, 8)
		for b.Loop() {
			c <- 1
			<-c
		}
	})
}
