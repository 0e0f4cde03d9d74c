package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/eddyloop/eddy/executor"
)

// sumBelow adds up the numbers below n, one by one. Worker processes know it by name.
var sumBelow = executor.Register("sum below", addUp)

func addUp(ctx context.Context, n int) (int, error) {
	const stretch = 1 << 20 // between looks whether the sum is still wanted
	sum := 0
	for i := range n {
		if i%stretch == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		sum += i
	}
	return sum, nil
}

// summands are what the sums go up to.
var summands = []int{100_000, 1_000_000, 10_000_000, 10_000_000}

func runSums(fs *flag.FlagSet, args []string) int {
	times := fs.Int("times", 10, "how often to add up each")
	if !parse(fs, args) {
		return 2
	}
	if *times < 1 {
		fmt.Fprintln(os.Stderr, "demo sums: -times is at least 1")
		return 2
	}
	if err := sums(context.Background(), os.Stdout, *times); err != nil {
		fmt.Fprintln(os.Stderr, "demo sums:", err)
		return 1
	}
	return 0
}

// sums adds up with goroutines and with processes, and says how long each took.
func sums(ctx context.Context, out io.Writer, times int) error {
	fmt.Fprintf(out, "sums of the numbers below %v, %d times, on %d processors\n", summands, times, runtime.GOMAXPROCS(0))
	began := time.Now()
	for n := range repeated(times) {
		if _, err := addUp(ctx, n); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "  %-36s %8.1f ms\n", "one after another:", ms(time.Since(began)))

	limit := executor.Config{Limit: runtime.GOMAXPROCS(0), Name: "threads"}
	err := executor.With(ctx, limit, func(p *executor.Pool) error {
		return timed(out, "a pool of goroutines:", executor.Map(ctx, p, repeated(times), addUp, executor.MapConfig{}))
	})
	if err != nil {
		return err
	}
	return executor.WithProcesses(ctx, executor.ProcessConfig{Name: "processes"}, func(p *executor.ProcessPool) error {
		for _, how := range []string{"a pool of processes, to be started:", "the same processes again:"} {
			if err := timed(out, how, sumBelow.Map(ctx, p, repeated(times), executor.MapConfig{})); err != nil {
				return err
			}
		}
		fmt.Fprintf(out, "the processes were %v; this one is %d\n", p.PIDs(), os.Getpid())
		return nil
	})
}

// repeated returns the summands so many times.
func repeated(times int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for range times {
			for _, n := range summands {
				if !yield(n) {
					return
				}
			}
		}
	}
}

// timed prints how long the sums took, after the last of them was checked.
func timed(out io.Writer, how string, seq iter.Seq2[int, error]) error {
	began := time.Now()
	var got []int
	for sum, err := range seq {
		if err != nil {
			return err
		}
		got = append(got, sum)
	}
	fmt.Fprintf(out, "  %-36s %8.1f ms\n", how, ms(time.Since(began)))
	for i, sum := range got {
		if n := summands[i%len(summands)]; sum != n*(n-1)/2 {
			return fmt.Errorf("the sum of the numbers below %d is not %d", n, sum)
		}
	}
	if len(got)%len(summands) != 0 || !slices.Contains(got, summands[0]*(summands[0]-1)/2) {
		return fmt.Errorf("%d sums are not all", len(got))
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
