package queue_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/queue"
)

// A goroutine puts, a task gets; an operation is one item. The alternatives are what
// one would write without a Bridge: a post for each item, bounded by a channel of
// tokens, and two goroutines with a channel.
func BenchmarkBridge(b *testing.B) {
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("to a task, bridge %d", size), func(b *testing.B) {
			runBench(b, func(ctx context.Context) error {
				q := queue.NewBridge[int](loop.FromContext(ctx), size)
				go func() {
					for i := range b.N {
						_ = q.PutThreadsafe(context.Background(), i)
					}
				}()
				for range b.N {
					if _, err := q.Get(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		})
		b.Run(fmt.Sprintf("to a task, channel and posts %d", size), func(b *testing.B) {
			runBench(b, func(ctx context.Context) error { return channelAndPosts(ctx, size, b.N) })
		})
		b.Run(fmt.Sprintf("to a goroutine, bridge %d", size), func(b *testing.B) {
			runBench(b, func(ctx context.Context) error {
				q := queue.NewBridge[int](loop.FromContext(ctx), size)
				go func() {
					for range b.N {
						_, _ = q.GetThreadsafe(context.Background())
						q.Done()
					}
				}()
				for i := range b.N {
					if err := q.Put(ctx, i); err != nil {
						return err
					}
				}
				return q.Join(ctx)
			})
		})
		b.Run(fmt.Sprintf("goroutines, channel %d", size), func(b *testing.B) {
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

// channelAndPosts hands n items to a task's loop.
func channelAndPosts(ctx context.Context, size, n int) error {
	l := loop.FromContext(ctx)
	release := l.Hold()
	defer release()
	room := make(chan struct{}, size)
	items := queue.New[int](0)
	go func() {
		for i := range n {
			room <- struct{}{}
			_ = l.CallSoonThreadsafe(func() { _ = items.TryPut(i) })
		}
	}()
	for range n {
		if _, err := items.Get(ctx); err != nil {
			return err
		}
		<-room
	}
	_, err := future.Await(ctx, future.After(l, 0))
	return err
}

// Nobody waits.
func BenchmarkBridgeTryPutTryGet(b *testing.B) {
	b.ReportAllocs()
	runBench(b, func(ctx context.Context) error {
		q := queue.NewBridge[int](loop.FromContext(ctx), 8)
		for b.Loop() {
			_ = q.TryPut(1)
			_, _ = q.TryGet()
		}
		return nil
	})
}
