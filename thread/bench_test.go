package thread_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/eddyloop/eddy/thread"
)

// One goroutine puts, another gets. An operation is one item.
func BenchmarkPutGet(b *testing.B) {
	ctx := context.Background()
	for _, size := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("queue/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			q := thread.NewQueue[int](size)
			go func() {
				for i := range b.N {
					_ = q.Put(ctx, i)
				}
			}()
			for range b.N {
				_, _ = q.Get(ctx)
			}
		})
		b.Run(fmt.Sprintf("channel/%d", size), func(b *testing.B) {
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

// The same goroutine puts and gets: nothing waits.
func BenchmarkPutGetAlone(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	queue := func(q *thread.Queue[int]) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_ = q.Put(ctx, i)
				_, _ = q.Get(ctx)
			}
		}
	}
	b.Run("queue", queue(thread.NewQueue[int](64)))
	b.Run("lifo", queue(thread.NewLIFO[int](64)))
	b.Run("priority", queue(thread.NewPriority(64, func(a, b int) bool { return a < b })))
	b.Run("simple", func(b *testing.B) {
		b.ReportAllocs()
		var q thread.SimpleQueue[int]
		for i := 0; b.Loop(); i++ {
			q.Put(i)
			_, _ = q.Get(ctx)
		}
	})
	b.Run("channel", func(b *testing.B) {
		b.ReportAllocs()
		c := make(chan int, 64)
		for i := 0; b.Loop(); i++ {
			c <- i
			<-c
		}
	})
	b.Run("channel with select", func(b *testing.B) {
		b.ReportAllocs()
		c := make(chan int, 64)
		for i := 0; b.Loop(); i++ {
			select {
			case c <- i:
			case <-ctx.Done():
			}
			select {
			case <-c:
			case <-ctx.Done():
			}
		}
	})
}

// Four put, four get.
func BenchmarkPutGetMany(b *testing.B) {
	ctx := context.Background()
	many := func(b *testing.B, put func(i int), get func()) {
		b.ReportAllocs()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := range b.N / 4 {
					put(i)
				}
			})
			wg.Go(func() {
				for range b.N / 4 {
					get()
				}
			})
		}
		wg.Wait()
	}
	b.Run("queue", func(b *testing.B) {
		q := thread.NewQueue[int](64)
		many(b, func(i int) { _ = q.Put(ctx, i) }, func() { _, _ = q.Get(ctx) })
	})
	b.Run("channel", func(b *testing.B) {
		c := make(chan int, 64)
		many(b, func(i int) { c <- i }, func() { <-c })
	})
}

// To and fro between two goroutines: two hand-overs each, with the three ways to
// wait.
func BenchmarkPingPong(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pingPong := func(get func(q *thread.SimpleQueue[int]) (int, error)) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			var there, back thread.SimpleQueue[int]
			go func() {
				for range b.N {
					v, _ := get(&there)
					back.Put(v)
				}
			}()
			for i := range b.N {
				there.Put(i)
				_, _ = get(&back)
			}
		}
	}
	b.Run("background", pingPong(func(q *thread.SimpleQueue[int]) (int, error) { return q.Get(context.Background()) }))
	b.Run("ctx", pingPong(func(q *thread.SimpleQueue[int]) (int, error) { return q.Get(ctx) }))
	b.Run("timeout", pingPong(func(q *thread.SimpleQueue[int]) (int, error) {
		return q.GetTimeout(context.Background(), time.Hour)
	}))
	b.Run("channel", func(b *testing.B) {
		b.ReportAllocs()
		there, back := make(chan int, 1), make(chan int, 1)
		go func() {
			for range b.N {
				back <- <-there
			}
		}()
		for i := range b.N {
			there <- i
			<-back
		}
	})
}

func BenchmarkUncontended(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.Run("Lock", func(b *testing.B) {
		b.ReportAllocs()
		var l thread.Lock
		for b.Loop() {
			_ = l.Acquire(ctx)
			l.Release()
		}
	})
	b.Run("RLock", func(b *testing.B) {
		b.ReportAllocs()
		var l thread.RLock
		who := thread.NewOwner("bench")
		for b.Loop() {
			_ = l.Acquire(ctx, who)
			l.Release(who)
		}
	})
	b.Run("Semaphore", func(b *testing.B) {
		b.ReportAllocs()
		s := thread.NewSemaphore(1)
		for b.Loop() {
			_ = s.Acquire(ctx)
			s.Release()
		}
	})
	b.Run("sync.Mutex", func(b *testing.B) {
		b.ReportAllocs()
		var m sync.Mutex
		for b.Loop() {
			m.Lock()
			//lint:ignore SA2001 this is what is measured
			m.Unlock()
		}
	})
	b.Run("channel", func(b *testing.B) {
		b.ReportAllocs()
		c := make(chan struct{}, 1)
		for b.Loop() {
			c <- struct{}{}
			<-c
		}
	})
}
