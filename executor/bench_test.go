package executor_test

import (
	"context"
	"iter"
	"runtime"
	"runtime/pprof"
	"sync"
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

// BenchmarkGo hands in one job at a time from a goroutine and waits for its result.
func BenchmarkGo(b *testing.B) {
	ctx := context.Background()
	for _, tt := range []struct {
		name string
		cfg  executor.Config
	}{
		{"pool", executor.Config{}},
		{"goroutines stay", executor.Config{Init: func(context.Context) (any, error) { return nil, nil }}},
		{"thread", executor.Config{LockThread: true}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			p := newPool(b, tt.cfg)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := executor.Go(p, nothing).Result(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAwait is BenchmarkGo from a task.
func BenchmarkAwait(b *testing.B) {
	p := newPool(b, executor.Config{})
	bench(b, func(ctx context.Context, l *loop.Loop) error {
		for b.Loop() {
			if _, err := executor.Go(p, nothing).Await(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkLabels is what pprof labels cost: none, that of the pool, and one of its
// own for each job.
func BenchmarkLabels(b *testing.B) {
	labeled := func(ctx context.Context) (v int, err error) {
		pprof.Do(ctx, pprof.Labels("job", "nothing"), func(ctx context.Context) { v, err = nothing(ctx) })
		return v, err
	}
	for _, tt := range []struct {
		name, pool string
		fn         func(context.Context) (int, error)
	}{{"none", "", nothing}, {"pool", "name", nothing}, {"job", "", labeled}} {
		b.Run(tt.name, func(b *testing.B) {
			bench(b, func(ctx context.Context, l *loop.Loop) error {
				p := executor.New(executor.Config{Name: tt.pool})
				for b.Loop() {
					if _, err := executor.Submit(l, p, tt.fn).Await(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

// tiny is a call of some nanoseconds.
func tiny(_ context.Context, v int) (int, error) { return v*v + 1, nil }

// BenchmarkMap makes a million tiny calls in chunks, with their results in order; the
// time is that of all.
func BenchmarkMap(b *testing.B) {
	const n, chunk = 1_000_000, 1000
	input := make([]int, n)
	for i := range input {
		input[i] = i
	}
	values := func(yield func(int) bool) {
		for _, v := range input {
			if !yield(v) {
				return
			}
		}
	}
	want := 0
	for _, v := range input {
		want += v*v + 1
	}
	check := func(b *testing.B, sum int, err error) {
		b.Helper()
		if sum != want || err != nil {
			b.Fatalf("the sum is %d, %v, want %d", sum, err, want)
		}
	}
	workers := runtime.GOMAXPROCS(0)
	b.Run("map", func(b *testing.B) {
		p := newPool(b, executor.Config{Limit: workers})
		b.ReportAllocs()
		for b.Loop() {
			sum := 0
			for v, err := range executor.Map(b.Context(), p, values, tiny, executor.MapConfig{Chunk: chunk}) {
				if err != nil {
					b.Fatal(err)
				}
				sum += v
			}
			check(b, sum, nil)
		}
	})
	b.Run("by hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sum, err := mapByHand(b.Context(), values, tiny, workers, chunk)
			check(b, sum, err)
		}
	})
}

// mapByHand is what a Go programmer would write in place of Map: workers on a
// channel of chunks, and a channel for the results of each, in the order of input.
func mapByHand(ctx context.Context, values iter.Seq[int], fn func(context.Context, int) (int, error), workers, size int) (sum int, err error) {
	type chunk struct {
		in, out []int
		done    chan error
	}
	todo, order := make(chan *chunk, 2*workers), make(chan *chunk, 2*workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for c := range todo {
				var err error
				for _, v := range c.in {
					var r int
					if r, err = fn(ctx, v); err != nil {
						break
					}
					c.out = append(c.out, r)
				}
				c.done <- err
			}
		})
	}
	wg.Go(func() {
		hand := func(in []int) {
			c := &chunk{in, make([]int, 0, len(in)), make(chan error, 1)}
			order <- c
			todo <- c
		}
		in := make([]int, 0, size)
		for v := range values {
			if in = append(in, v); len(in) == size {
				hand(in)
				in = make([]int, 0, size)
			}
		}
		hand(in)
		close(todo)
		close(order)
	})
	for c := range order {
		if e := <-c.done; e != nil && err == nil {
			err = e
		}
		for _, v := range c.out {
			sum += v
		}
	}
	wg.Wait()
	return sum, err
}
