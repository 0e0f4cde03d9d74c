//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/internal/cputime"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// A run is a part of a scenario under way. Its methods may be called from any
// goroutine, unless they say otherwise.
type run struct {
	ctx   context.Context
	opt   options
	rng   *rand.Rand  // for the scenario's own goroutine
	quiet atomic.Bool // tick slowly, measure no lag
	busy  atomic.Bool // measure no lag: the scenario itself blocks the loop

	lost, duplicated, misdelivered, faults atomic.Int64

	mu      sync.Mutex
	row     row
	lags    []time.Duration
	reports []string // by the loops' OnError
	ignore  []string // parts of reports that are meant to come
}

// rowFD is the descriptor that a child sends its row by.
const rowFD = 3

// runChild runs a part and sends its row to the parent.
func runChild(name string, o options) int {
	_, p, err := find(name)
	exitOn(err)
	unix.CloseOnExec(rowFD)
	r := newRun(o)
	exitOn(warmUp())
	base := measure()
	stop := r.watchRSS(base.rss)
	start := time.Now()
	func() {
		defer func() {
			if v := recover(); v != nil {
				r.fail("panic: %v\n%s", v, debug.Stack())
			}
		}()
		p.run(r)
	}()
	seconds := time.Since(start).Seconds()
	stop()
	w := r.finish(base)
	w.Seconds = seconds
	b, err := json.Marshal(w)
	exitOn(err)
	out := os.NewFile(rowFD, "row")
	_, err = out.Write(b)
	exitOn(err)
	return 0
}

func newRun(o options) *run {
	return &run{
		ctx: context.Background(), opt: o, rng: rand.New(rand.NewPCG(o.seed, 1)),
		row: row{Verdict: held, Load: []string{}},
	}
}

// n scales a number that counts the load, to no less than least.
func (r *run) n(full, least int) int {
	return max(min(least, full), int(float64(full)*r.opt.scale))
}

func (r *run) load(format string, args ...any)  { r.say(&r.row.Load, format, args...) }
func (r *run) found(format string, args ...any) { r.say(&r.row.Measured, format, args...) }

func (r *run) say(to *[]string, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*to = append(*to, fmt.Sprintf(format, args...))
}

// fail says that the scenario is broken; of many reasons the first are kept.
func (r *run) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.row.Verdict = broken
	if len(r.row.Reasons) < 10 {
		r.row.Reasons = append(r.row.Reasons, fmt.Sprintf(format, args...))
	}
}

// skip says that the part cannot be run.
func (r *run) skip(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.row.Verdict == held {
		r.row.Verdict = notRun
	}
	r.row.Reasons = append(r.row.Reasons, "not run: "+fmt.Sprintf(format, args...))
}

func (r *run) check(ok bool, format string, args ...any) {
	if !ok {
		r.fail(format, args...)
	}
}

// ok is check for an error.
func (r *run) ok(err error, what string) bool {
	if err != nil {
		r.fail("%s: %v", what, err)
	}
	return err == nil
}

// loop runs body on a loop of its own, and looks at what it leaves.
func (r *run) loop(body func(ctx context.Context) error) {
	r.loopConfig(loop.Config{}, body)
}

func (r *run) loopConfig(cfg loop.Config, body func(ctx context.Context) error) {
	err := task.RunConfig(r.ctx, r.config(cfg), func(ctx context.Context) error { return r.body(ctx, body) })
	r.ok(err, "run")
}

func (r *run) config(cfg loop.Config) loop.Config {
	cfg.OnError = func(e *loop.CallError) { r.say(&r.reports, "%v", e) }
	return cfg
}

// body runs fn beside the ticking of the lag, and counts what fn leaves.
func (r *run) body(ctx context.Context, fn func(ctx context.Context) error) error {
	l := loop.FromContext(ctx)
	stop := r.tick(l)
	err := fn(ctx)
	stop()
	for range 100 { // what has been told to end does so
		// The timers of scopes that were left are stopped when the next is made, whose
		// own is then the only one.
		_, cancel := task.WithTimeout(ctx, time.Hour)
		cancel()
		if len(task.All(l)) == 1 && l.Stats().Pending == 1 {
			break
		}
		if task.Sleep(ctx, 2*time.Millisecond) != nil {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.row.LeakedTimers += l.Stats().Pending - 1
	for _, t := range task.All(l) {
		if t != task.FromContext(ctx) {
			r.row.LeakedTasks++
			r.row.Reasons = append(r.row.Reasons, "a task is left: "+t.String())
		}
	}
	return err
}

// tick measures how late a timer of a millisecond is, again and again, unless the
// run is quiet.
func (r *run) tick(l *loop.Loop) (stop func()) {
	const every = time.Millisecond
	var due time.Time
	var h *loop.Handle
	var tick func()
	tick = func() {
		now := l.Now()
		if !r.quiet.Load() && !r.busy.Load() {
			r.mu.Lock()
			r.lags = append(r.lags, now.Sub(due))
			r.mu.Unlock()
		}
		wait := every
		if r.quiet.Load() {
			wait = 250 * every
		}
		due = now.Add(wait)
		h = l.CallAt(due, tick)
	}
	due = l.Now().Add(every)
	h = l.CallAt(due, tick)
	return func() { h.Cancel() }
}

// blocking runs fn on the loop, whose delays are the scenario's own.
func (r *run) blocking(ctx context.Context, fn func() error) error {
	r.busy.Store(true)
	defer r.busy.Store(false)
	return errors.Join(fn(), task.Sleep(ctx, 5*time.Millisecond)) // the late tick has been
}

// lagBelow wants the p99 of the lag to be below an aim; but as the processors are
// shared, with the peers too, it breaks the scenario only from five times that.
func (r *run) lagBelow(aim time.Duration) {
	r.mu.Lock()
	lag := quantile(r.lags, 0.99)
	r.mu.Unlock()
	r.found("lag p99 %v; the aim is %v, broken is five times that", lag.Round(10*time.Microsecond), aim)
	r.check(lag < 5*aim, "lag p99 is %v, the aim is %v", lag, aim)
}

// expect names a part of reports of OnError that are meant to come. Others break
// the scenario.
func (r *run) expect(part string) { r.ignore = append(r.ignore, part) }

// finish fills in the row.
func (r *run) finish(base state) row {
	now := settle(base)
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &r.row
	w.Lost, w.Duplicated, w.Misdelivered = r.lost.Load(), r.duplicated.Load(), r.misdelivered.Load()
	w.Faults += r.faults.Load()
	w.LeakedFDs = max(0, now.fds-base.fds)
	w.LeakedGoroutines = max(0, now.goroutines-base.goroutines)
	w.HeapLeftKB = max(0, (now.heap-base.heap)>>10)
	w.CPU = cputime.Used().Seconds()
	slices.Sort(r.lags)
	if n := len(r.lags); n > 0 {
		w.Ticks = n
		w.LagP50, w.LagP99, w.LagMax = r.lags[n/2].Microseconds(), r.lags[n*99/100].Microseconds(), r.lags[n-1].Microseconds()
	}
	for _, s := range r.reports {
		if !slices.ContainsFunc(r.ignore, func(part string) bool { return strings.Contains(s, part) }) {
			w.Reasons, w.Verdict = append(w.Reasons, "reported: "+s), broken
			break
		}
	}
	if w.Lost+w.Duplicated+w.Misdelivered != 0 {
		w.Reasons, w.Verdict = append(w.Reasons, w.counts()), broken
	}
	if w.LeakedFDs+w.LeakedGoroutines+w.LeakedTimers+w.LeakedTasks != 0 {
		w.Reasons, w.Verdict = append(w.Reasons, "leaked "+w.leaks()), broken
	}
	if w.LeakedGoroutines > 0 {
		w.Reasons = append(w.Reasons, stacks())
	}
	return *w
}

func stacks() string {
	buf := make([]byte, 64<<10)
	return string(buf[:min(3000, runtime.Stack(buf, true))])
}

// A state is what a process has.
type state struct {
	fds, goroutines int
	rss, heap       int64
}

func measure() state {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return state{countFDs(), runtime.NumGoroutine(), rssKB(), int64(m.HeapAlloc + m.StackInuse)}
}

// settle waits until what is about to end has ended.
func settle(base state) state {
	now := measure()
	for range 40 {
		if now.fds <= base.fds && now.goroutines <= base.goroutines {
			break
		}
		time.Sleep(50 * time.Millisecond)
		now = measure()
	}
	return now
}

func countFDs() int {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(names) - 1 // the directory itself
}

var statm = sync.OnceValue(func() *os.File {
	fd, err := unix.Open("/proc/self/statm", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "statm")
})

// rssKB does not open a descriptor, whose number scenarios may be about.
func rssKB() int64 {
	var b [128]byte
	n, _ := statm().ReadAt(b[:], 0)
	var size, resident int64
	_, _ = fmt.Sscan(string(b[:n]), &size, &resident)
	return resident * int64(os.Getpagesize()) >> 10
}

// watchRSS notes the highest RSS above base.
func (r *run) watchRSS(base int64) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	look := func() {
		r.mu.Lock()
		r.row.RSSPeakKB = max(r.row.RSSPeakKB, rssKB()-base)
		r.mu.Unlock()
	}
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			case <-time.After(50 * time.Millisecond):
				look()
			}
		}
	}()
	return func() { close(end); <-done; look() }
}

// warmUp uses what is there for the rest of the process once it was used: the
// runtime's poller, signals, threads.
func warmUp() error {
	_ = statm()
	return task.Run(context.Background(), func(ctx context.Context) error {
		ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		c, err := dialFrom(0, ln.Addr().String())
		if err != nil {
			return err
		}
		s, err := ln.Accept(ctx)
		if err != nil {
			return err
		}
		stop := loop.FromContext(ctx).OnSignal(unix.SIGUSR2, func() {})
		stop()
		return errors.Join(s.Close(), c.Close(), ln.Close())
	})
}

func kernel() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
