package aiter_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"testing"

	"github.com/eddyloop/eddy/aiter"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

// below returns the numbers below n.
func below(n int) iter.Seq2[int, error] { return aiter.Take(aiter.Count(0, 1), n) }

func runBench(b *testing.B, fn func(ctx context.Context) error) {
	b.Helper()
	b.ReportAllocs()
	if err := task.Run(context.Background(), fn); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkMap is a call of a function that waits one turn, eight at a time, beside
// eight goroutines that do it.
func BenchmarkMap(b *testing.B) {
	fn := func(ctx context.Context, v int) (int, error) { return v, task.Yield(ctx) }
	quick := func(_ context.Context, v int) (int, error) { return v, nil }
	type mapping = func(ctx context.Context, src aiter.Source[int], limit int, fn func(ctx context.Context, v int) (int, error)) iter.Seq2[int, error]
	for name, m := range map[string]mapping{"ordered": aiter.Map[int, int], "unordered": aiter.MapUnordered[int, int]} {
		for _, f := range []struct {
			name string
			fn   func(ctx context.Context, v int) (int, error)
		}{{"waiting", fn}, {"not waiting", quick}} {
			b.Run(fmt.Sprint(name, "/", f.name), func(b *testing.B) {
				runBench(b, func(ctx context.Context) error {
					for _, err := range m(ctx, aiter.Ready(below(b.N)), 8, f.fn) {
						if err != nil {
							return err
						}
					}
					return nil
				})
			})
		}
	}
	for name, work := range map[string]func(){"waiting": runtime.Gosched, "not waiting": func() {}} {
		b.Run("goroutines/"+name, func(b *testing.B) { mapByGoroutines(b, work) })
	}
}

func mapByGoroutines(b *testing.B, work func()) {
	b.ReportAllocs()
	in, out := make(chan int), make(chan int)
	go func() {
		for i := range b.N {
			in <- i
		}
		close(in)
	}()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for v := range in {
				work()
				out <- v
			}
		})
	}
	go func() { wg.Wait(); close(out) }()
	for range out {
	}
}

// BenchmarkSeq is a value through a producer that waits a turn for each, and two
// stages after it: in one task as a Seq2, by Pull2, through queues between three
// tasks, and through channels between three goroutines.
func BenchmarkSeq(b *testing.B) {
	producer := func(ctx context.Context, n int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				if err := task.Yield(ctx); err != nil {
					yield(0, err)
					return
				}
				if !yield(i, nil) {
					return
				}
			}
		}
	}
	stages := func(seq iter.Seq2[int, error]) iter.Seq2[int, error] {
		return aiter.Accumulate(aiter.Filter(seq, func(int) bool { return true }), add)
	}
	b.Run("range", func(b *testing.B) {
		runBench(b, func(ctx context.Context) error {
			for _, err := range stages(producer(ctx, b.N)) {
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	b.Run("Pull2", func(b *testing.B) {
		runBench(b, func(ctx context.Context) error {
			next, stop := iter.Pull2(stages(producer(ctx, b.N)))
			defer stop()
			for {
				if _, err, ok := next(); !ok || err != nil {
					return err
				}
			}
		})
	})
	b.Run("Merge", func(b *testing.B) {
		runBench(b, func(ctx context.Context) error {
			for _, err := range stages(aiter.Merge(ctx, func(ctx context.Context) iter.Seq2[int, error] { return producer(ctx, b.N) })) {
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	b.Run("queues", func(b *testing.B) {
		runBench(b, func(ctx context.Context) error {
			q1, q2 := queue.New[int](1), queue.New[int](1)
			stage := func(from, to *queue.Queue[int]) func(ctx context.Context) error {
				return func(ctx context.Context) error {
					for v, err := range from.All(ctx) {
						if err != nil {
							return err
						}
						if err := to.Put(ctx, v); err != nil {
							return err
						}
					}
					to.ShutDown(false)
					return nil
				}
			}
			task.Go(ctx, stage(q1, q2))
			task.Go(ctx, func(ctx context.Context) error {
				for v := range producer(ctx, b.N) {
					if err := q1.Put(ctx, v); err != nil {
						return err
					}
				}
				q1.ShutDown(false)
				return nil
			})
			for _, err := range q2.All(ctx) {
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	b.Run("channels", func(b *testing.B) {
		b.ReportAllocs()
		c1, c2 := make(chan int), make(chan int)
		go func() {
			for i := range b.N {
				c1 <- i
			}
			close(c1)
		}()
		go func() {
			for v := range c1 {
				c2 <- v
			}
			close(c2)
		}()
		for range c2 {
		}
	})
}
