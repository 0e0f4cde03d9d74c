//go:build unix

package executor_test

import (
	"context"
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

// BenchmarkProcessCPU has all workers at calls that compute for 10 ms each, in
// processor time of the worker. busy/P is how much processor time the workers had, measured
// when they are reaped, in terms of all processors for the whole time; work/P is how
// much of it were calls.
func BenchmarkProcessCPU(b *testing.B) {
	const each = 10 * time.Millisecond
	p := benchPool(b, executor.ProcessConfig{})
	before := childrenTime(b)
	b.ResetTimer()
	began := time.Now()
	for _, err := range procSpin.Map(context.Background(), p, repeat(each, b.N), executor.MapConfig{}) {
		if err != nil {
			b.Fatal(err)
		}
	}
	wall := time.Since(began)
	b.StopTimer()
	if err := p.Shutdown(context.Background()); err != nil {
		b.Fatal(err)
	}
	procs := float64(min(runtime.GOMAXPROCS(0), runtime.NumCPU()))
	b.ReportMetric((childrenTime(b)-before).Seconds()/wall.Seconds()/procs, "busy/P")
	b.ReportMetric(float64(b.N)*each.Seconds()/wall.Seconds()/procs, "work/P")
}

func childrenTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
