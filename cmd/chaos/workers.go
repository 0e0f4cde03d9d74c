//go:build linux

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/executor"
)

// What the workers of R62 do: most calls double a number, a few misbehave.
var double = executor.Register("double", func(ctx context.Context, n int) (int, error) {
	switch n % 1000 {
	case 501:
		os.Exit(3)
	case 502:
		_, _ = unix.Write(4, []byte("garbage"))
	case 503:
		select {} // until its time is over
	case 504:
		panic("on purpose")
	}
	return 2 * n, nil
})

// r62Workers calls workers that exit, write garbage, hang or panic, and kills others
// at random.
func r62Workers(r *run) {
	for _, tt := range []struct {
		name    string
		retries int
	}{{"each call once", 0}, {"calls made again", 1000}} {
		w := &workers{run: r, retries: tt.retries, kills: int64(r.n(500, 5))}
		w.calls(r.n(50_000, 200))
		r.load("%s: %d calls, of each 1,000 one exits, writes garbage, hangs, panics; %d workers killed", tt.name, w.submitted, w.killed.Load())
		r.found("%s: %d right, %d ErrWorkerDied, %d panics, %d timeouts", tt.name, w.right.Load(), w.died.Load(), w.panics.Load(), w.late.Load())
	}
}

type workers struct {
	*run
	retries                                int
	kills                                  int64
	submitted                              int
	right, died, panics, late, killed, out atomic.Int64
	all                                    sync.WaitGroup
}

func (w *workers) calls(n int) {
	p, err := executor.NewProcessPool(executor.ProcessConfig{Workers: 2, Queue: -1, Grace: 10 * time.Millisecond})
	if !w.ok(err, "pool") {
		return
	}
	once := double.With(executor.CallConfig{Timeout: 200 * time.Millisecond})
	again := double.With(executor.CallConfig{Timeout: 200 * time.Millisecond, Retries: w.retries})
	w.all.Go(func() { w.kill(p) })
	for ; w.submitted < n || w.killed.Load() < w.kills; w.submitted++ {
		for w.out.Load() > 100 {
			time.Sleep(100 * time.Microsecond)
		}
		i := w.submitted
		f := again
		if k := i % 1000; k == 501 || k == 502 {
			f = once // would do it again for ever
		}
		w.out.Add(1)
		w.all.Add(1)
		j := f.Go(p, i)
		j.OnDone(func() { defer w.all.Done(); w.out.Add(-1); w.judge(i, j) })
	}
	w.all.Wait()
	w.ok(p.Shutdown(w.ctx), "Shutdown")
	accounted := w.right.Load() + w.died.Load() + w.panics.Load() + w.late.Load()
	w.faults.Add(w.killed.Load() + 4*int64(w.submitted/1000))
	w.lost.Add(int64(w.submitted) - accounted)
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		w.fail("a worker is left: %d, %v", pid, err)
	}
	if w.retries > 0 {
		w.check(w.died.Load() <= 2*int64(w.submitted/1000+1), "%d calls died that may be made again", w.died.Load())
	}
}

func (w *workers) judge(i int, j *executor.Job[int]) {
	v, err := j.Result(context.Background())
	var pe *coro.PanicError
	switch {
	case err == nil && v == 2*i:
		w.right.Add(1)
	case err == nil:
		w.misdelivered.Add(1)
	case errors.Is(err, context.DeadlineExceeded) && i%1000 == 503:
		w.late.Add(1)
	case errors.Is(err, executor.ErrWorkerDied):
		w.died.Add(1)
	case errors.As(err, &pe) && i%1000 == 504 && len(pe.Stack) > 0:
		w.panics.Add(1)
	default:
		w.fail("call %d: %d, %v", i, v, err)
	}
}

// kill kills workers that are ready, one after another.
func (w *workers) kill(p *executor.ProcessPool) {
	for w.killed.Load() < w.kills {
		if pids := p.PIDs(); len(pids) > 0 && syscall.Kill(pids[rand.IntN(len(pids))], syscall.SIGKILL) == nil {
			w.killed.Add(1)
		}
		time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
	}
}
