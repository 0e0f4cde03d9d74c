package coro_test

import (
	"testing"

	"github.com/eddyloop/eddy/coro"
)

// BenchmarkNext is a switch there and back, beside what goroutines have for it.
func BenchmarkNext(b *testing.B) {
	b.Run("coro", func(b *testing.B) {
		c := coro.New(parrotOfInts)
		c.Next()
		b.ReportAllocs()
		for b.Loop() {
			c.Send(1)
		}
		_ = c.Close()
	})
	b.Run("worker", func(b *testing.B) {
		var w coro.Worker
		w.Begin(body(func() {
			for {
				w.Suspend()
			}
		}))
		w.Resume()
		b.ReportAllocs()
		for b.Loop() {
			w.Resume()
		}
		w.Unwind(1)
	})
	b.Run("channels", func(b *testing.B) {
		in, out := make(chan int), make(chan int)
		go func() {
			defer close(out)
			for v := range in {
				out <- v
			}
		}()
		b.ReportAllocs()
		for b.Loop() {
			in <- 1
			<-out
		}
		close(in)
		<-out
	})
}

// BenchmarkSpawn makes a computation, suspends it once and ends it.
func BenchmarkSpawn(b *testing.B) {
	once := func(yield func(int) (int, error)) (int, error) { return yield(1) }
	b.Run("pooled", func(b *testing.B) {
		pool := new(coro.Pool)
		defer pool.Close()
		b.ReportAllocs()
		for b.Loop() {
			c := coro.NewIn(pool, once)
			c.Next()
			c.Next()
		}
	})
	b.Run("fresh", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c := coro.New(once)
			c.Next()
			c.Next()
		}
	})
	b.Run("goroutine", func(b *testing.B) {
		in, out := make(chan int), make(chan int)
		b.ReportAllocs()
		for b.Loop() {
			go func() {
				out <- 1
				out <- <-in
			}()
			<-out
			in <- 1
			<-out
		}
	})
}
