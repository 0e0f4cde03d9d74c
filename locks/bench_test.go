package locks_test

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/eddyloop/eddy/locks"
	"github.com/eddyloop/eddy/task"
)

func runBench(b *testing.B, fn func(ctx context.Context) error) {
	b.ReportAllocs()
	if err := task.Run(context.Background(), fn); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkUncontended(b *testing.B) {
	b.Run("locks.Mutex", func(b *testing.B) {
		runBench(b, func(ctx context.Context) error {
			var m locks.Mutex
			for b.Loop() {
				if err := m.Lock(ctx); err != nil {
					return err
				}
				m.Unlock()
			}
			return nil
		})
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
	b.Run("locks.Semaphore", func(b *testing.B) {
		runBench(b, func(ctx context.Context) error {
			s := locks.NewSemaphore(1)
			for b.Loop() {
				if err := s.Acquire(ctx); err != nil {
					return err
				}
				s.Release()
			}
			return nil
		})
	})
}

// Two of them take turns: each holds the lock over one yield, so the other waits.
// An operation is one Lock, yield, Unlock.
func BenchmarkHandOver(b *testing.B) {
	b.Run("locks.Mutex", func(b *testing.B) {
		runBench(b, func(ctx context.Context) error {
			var m locks.Mutex
			return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				for range 2 {
					g.Go(func(ctx context.Context) error {
						for range b.N / 2 {
							if err := m.Lock(ctx); err != nil {
								return err
							}
							if err := task.Yield(ctx); err != nil {
								return err
							}
							m.Unlock()
						}
						return nil
					})
				}
				return nil
			})
		})
	})
	goroutines := func(lock, unlock func()) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					for range b.N / 2 {
						lock()
						runtime.Gosched()
						unlock()
					}
				})
			}
			wg.Wait()
		}
	}
	var m sync.Mutex
	b.Run("sync.Mutex", goroutines(m.Lock, m.Unlock))
	c := make(chan struct{}, 1)
	b.Run("channel", goroutines(func() { c <- struct{}{} }, func() { <-c }))
}
