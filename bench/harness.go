package main

import (
	"context"
	"runtime"
	"syscall"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// baseline is the impl that ratios are to.
const baseline = "goroutine"

// A bench is a scenario and the ways to do it.
type bench struct {
	name  string
	procs []int  // values of GOMAXPROCS. Default nil: 1
	ops   int    // operations of a round. Default 0: as many as take a while
	fresh bool   // each round in a process of its own
	cold  bool   // the first round of a process counts apart, as row cold
	pin   bool   // the process has one core, and what puts load on it another
	unit  string // "bytes" if that is what is compared. Default: ns
	impls []impl
}

// An impl is one way to do what a bench is about.
type impl struct {
	name string
	run  func(m *meter) // m.n operations
	goal goal
}

// A goal is a figure to reach: at most, except for rate and share. Zero is none.
type goal struct {
	ns, bytes float64
	ratio     float64 // to goroutines or, if to is set, to the row of that name
	to        string
	rate      float64 // at least: requests per second, as a ratio to goroutines
	share     float64 // at least: of the processors, by the row cpu
	also      map[string]goal
}

func (b *bench) gomaxprocs() []int {
	if b.procs == nil {
		return []int{1}
	}
	return b.procs
}

// A meter measures a round. What is before start and after stop does not count.
type meter struct {
	n     int   // operations to do
	quick bool  // a smoke test: make real waits short
	cores []int // that of this process and that of its load. Nil: any

	sample
	onCPU   bool
	cpu     time.Duration
	began   time.Time
	memory  runtime.MemStats
	elapsed time.Duration // for calibration
}

// A sample is what a round measured, each for one operation.
type sample struct {
	NS, Bytes, Allocs float64
	Also              map[string]float64 // ns, of further rows
}

// start begins to measure wall time and allocations. It collects the garbage of
// others first.
func (m *meter) start() {
	runtime.GC()
	runtime.ReadMemStats(&m.memory)
	m.cpu, m.began = cpuTime(), time.Now()
}

// startCPU is start, for work that has pauses: it measures the processor time of
// the whole process, that of the garbage collector included.
func (m *meter) startCPU() {
	m.onCPU = true
	m.start()
}

func (m *meter) stop() {
	d, cpu := time.Since(m.began), cpuTime()-m.cpu
	m.elapsed = d
	if m.onCPU {
		d = cpu
	}
	before := m.memory
	runtime.ReadMemStats(&m.memory)
	n := float64(m.n)
	m.NS = float64(d) / n
	m.Bytes = float64(m.memory.TotalAlloc-before.TotalAlloc) / n
	m.Allocs = float64(m.memory.Mallocs-before.Mallocs) / n
}

// also adds a row of its own, called after the bench.
func (m *meter) also(name string, d time.Duration) {
	if m.Also == nil {
		m.Also = map[string]float64{}
	}
	m.Also[name] = float64(d)
}

// real returns d, a real wait, or less in a smoke test.
func (m *meter) real(d time.Duration) time.Duration {
	if m.quick {
		return d / 20
	}
	return d
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// calibrate returns how many operations take about target.
func calibrate(run func(m *meter), target time.Duration) int {
	for n := 1; ; n *= 4 {
		m := &meter{n: n}
		run(m)
		if m.elapsed >= target/8 || n > 1<<30 {
			return max(1, int(float64(n)*float64(target)/float64(max(m.elapsed, 1))))
		}
	}
}

// onLoop calls fn as the main task of a new loop, and closes that.
func onLoop(fn func(ctx context.Context, l *loop.Loop)) {
	must(task.RunConfig(context.Background(), loop.Config{Wait: waiting}, func(ctx context.Context) error {
		fn(ctx, loop.FromContext(ctx))
		return nil
	}))
}

// wait suspends the task until f is resolved.
func wait[F future.Of[T], T any](ctx context.Context, f F) T {
	v, err := future.Await(ctx, f)
	must(err)
	return v
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
