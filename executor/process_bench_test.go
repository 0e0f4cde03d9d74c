//go:build unix

package executor_test

import (
	"context"
	"iter"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/loop"
)

func benchPool(b *testing.B, cfg executor.ProcessConfig) *executor.ProcessPool {
	b.Helper()
	p := newProcesses(b, cfg)
	warm := make([]*executor.Job[int], 2*runtime.GOMAXPROCS(0))
	for i := range warm {
		warm[i] = procSpin.Go(p, 2*time.Millisecond)
	}
	for _, j := range warm {
		if _, err := j.Result(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	return p
}

// BenchmarkProcessRoundTrip has a worker process answer one call at a time.
func BenchmarkProcessRoundTrip(b *testing.B) {
	b.Run("result", func(b *testing.B) {
		p := benchPool(b, executor.ProcessConfig{Workers: 1})
		ctx := context.Background()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := procDouble.Go(p, 21).Result(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("do", func(b *testing.B) {
		p := benchPool(b, executor.ProcessConfig{Workers: 1})
		bench(b, func(ctx context.Context, _ *loop.Loop) error {
			for b.Loop() {
				if _, err := procDouble.Do(ctx, p, 21); err != nil {
					return err
				}
			}
			return nil
		})
	})
	b.Run("struct", func(b *testing.B) {
		p := benchPool(b, executor.ProcessConfig{Workers: 1})
		ctx := context.Background()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := procMove.Go(p, point{1, 2, "here"}).Result(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("struct in JSON", func(b *testing.B) {
		p := benchPool(b, executor.ProcessConfig{Workers: 1, Codec: executor.JSON()})
		ctx := context.Background()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := procMove.Go(p, point{1, 2, "here"}).Result(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkProcessMap has all workers at calls that do nothing; the time is that of
// one.
func BenchmarkProcessMap(b *testing.B) {
	for _, tt := range []struct {
		name            string
		prefetch, chunk int
	}{{"no prefetch", -1, 1}, {"prefetch", 0, 1}, {"prefetch 8", 8, 1}, {"chunks of 100", 0, 100}} {
		b.Run(tt.name, func(b *testing.B) {
			p := benchPool(b, executor.ProcessConfig{Prefetch: tt.prefetch})
			b.ReportAllocs()
			b.ResetTimer()
			for _, err := range procDouble.Map(context.Background(), p, upTo(b.N), executor.MapConfig{Chunk: tt.chunk}) {
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkProcessCPU has as many workers as processors at calls that compute, each
// for about 10 ms. goroutines/op is the time that the goroutines of a Pool take for
// the same, in turns with the processes, so that neighbors disturb both alike; the
// share of processes is that divided by theirs. busy/P is the processor time of the
// workers in terms of all processors for the whole time: it needs a machine that does
// nothing else.
func BenchmarkProcessCPU(b *testing.B) {
	const each = 10 * time.Millisecond
	p := benchPool(b, executor.ProcessConfig{})
	threads := executor.New(executor.Config{Limit: runtime.GOMAXPROCS(0)})
	loops := loopsIn(b, each)
	before := childrenTime(b)
	var theirs, ours time.Duration
	b.ResetTimer()
	for left := b.N; left > 0; {
		n := min(left, 50)
		left -= n
		ours += timeOf(b, procLoop.Map(context.Background(), p, repeat(loops, n), executor.MapConfig{}))
		theirs += timeOf(b, executor.Map(context.Background(), threads, repeat(loops, n), loopFor, executor.MapConfig{}))
	}
	b.StopTimer()
	if err := p.Shutdown(context.Background()); err != nil {
		b.Fatal(err)
	}
	procs := float64(min(runtime.GOMAXPROCS(0), runtime.NumCPU()))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N), "processes/op")
	b.ReportMetric(float64(theirs.Nanoseconds())/float64(b.N), "goroutines/op")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "share")
	b.ReportMetric((childrenTime(b)-before).Seconds()/ours.Seconds()/procs, "busy/P")
}

// timeOf returns how long a Map takes.
func timeOf(b *testing.B, seq iter.Seq2[int, error]) time.Duration {
	b.Helper()
	began := time.Now()
	for _, err := range seq {
		if err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}

// loopsIn returns an argument of loopFor that takes d, if nobody disturbs it.
func loopsIn(b *testing.B, d time.Duration) int {
	b.Helper()
	const loops = 1 << 22
	best := time.Hour
	for range 10 {
		began := time.Now()
		if _, err := loopFor(context.Background(), loops); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(began))
	}
	return int(float64(loops) * float64(d) / float64(best))
}

func childrenTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
