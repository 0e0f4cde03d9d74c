package executor_test

import (
	"context"
	"testing"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
)

func bench(b *testing.B, fn func(ctx context.Context, l *loop.Loop) error) {
	b.ReportAllocs()
	looptest.RunConfig(b, looptest.Config{Real: true}, func(ctx context.Context) error {
		return fn(ctx, loop.FromContext(ctx))
	})
}

func nothing(context.Context) (int, error) { return 1, nil }

// BenchmarkRoundTrip runs one job at a time that does nothing.
func BenchmarkRoundTrip(b *testing.B) {
	b.Run("do", func(b *testing.B) {
		bench(b, func(ctx context.Context, l *loop.Loop) error {
			for b.Loop() {
				if _, err := executor.Do(ctx, nothing); err != nil {
					return err
				}
			}
			return nil
		})
	})
	b.Run("submit", func(b *testing.B) {
		bench(b, func(ctx context.Context, l *loop.Loop) error {
			p := executor.New(executor.Config{})
			for b.Loop() {
				if _, err := executor.Submit(l, p, nothing).Await(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	})
	b.Run("goroutine", func(b *testing.B) {
		b.ReportAllocs()
		ctx := context.Background()
		results := make(chan int)
		for b.Loop() {
			go func() {
				v, _ := nothing(ctx)
				results <- v
			}()
			<-results
		}
	})
}

// BenchmarkInFlight has 64 jobs out that do nothing; the time is that of one.
func BenchmarkInFlight(b *testing.B) {
	const flight = 64
	b.Run("submit", func(b *testing.B) {
		bench(b, func(ctx context.Context, l *loop.Loop) error {
			p := executor.New(executor.Config{})
			all := &pipeline{l: l, p: p, left: b.N}
			f, done := future.New[struct{}](l)
			all.done = done
			b.ResetTimer()
			for range min(flight, b.N) {
				all.submit()
			}
			_, err := f.Await(ctx)
			return err
		})
	})
	b.Run("await", func(b *testing.B) {
		bench(b, func(ctx context.Context, l *loop.Loop) error {
			p := executor.New(executor.Config{})
			var ring [flight]*future.Future[int]
			b.ResetTimer()
			for i := range b.N {
				f := &ring[i%flight]
				if *f != nil {
					if _, err := (*f).Await(ctx); err != nil {
						return err
					}
				}
				*f = executor.Submit(l, p, nothing)
			}
			for _, f := range ring {
				if f != nil {
					f.Await(ctx)
				}
			}
			return nil
		})
	})
	b.Run("goroutines", func(b *testing.B) {
		b.ReportAllocs()
		ctx := context.Background()
		results := make(chan int, flight)
		out := 0
		for range b.N {
			if out == flight {
				<-results
				out--
			}
			out++
			go func() {
				v, _ := nothing(ctx)
				results <- v
			}()
		}
		for ; out > 0; out-- {
			<-results
		}
	})
}

// A pipeline submits a job for each that is done, by callbacks.
type pipeline struct {
	l    *loop.Loop
	p    *executor.Pool
	left int // to submit
	out  int
	done future.Promise[struct{}]
}

func (a *pipeline) submit() {
	a.left--
	a.out++
	executor.Submit(a.l, a.p, nothing).Watch(a)
}

func (a *pipeline) Run() {
	a.out--
	switch {
	case a.left > 0:
		a.submit()
	case a.out == 0:
		a.done.Resolve(struct{}{})
	}
}
