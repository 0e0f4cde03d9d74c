//go:build unix

package executor_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eddyloop/eddy/executor"
)

// R62: workers are killed at random while jobs run. Each job ends, with its own
// result or with the death of its worker, and nothing is left.
func TestR62_KilledWorkersAreAccountedForLarge(t *testing.T) {
	jobs, kills := 100_000, 1000
	if raceEnabled {
		jobs, kills = 2000, 20
	}
	for _, tt := range []struct {
		name    string
		retries int
	}{{"not idempotent", 0}, {"idempotent", 1000}} {
		t.Run(tt.name, func(t *testing.T) { killAtRandom(t, jobs/2, kills/2, tt.retries) })
	}
}

func killAtRandom(t *testing.T, jobs, kills, retries int) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 2, Queue: -1})
	double := procDouble.With(executor.CallConfig{Retries: retries})
	var right, died, wrong, killed, out atomic.Int64
	var all sync.WaitGroup
	ended := func() int64 { return right.Load() + died.Load() }
	all.Go(func() { killWorkers(p, kills, jobs/kills, &killed, ended) })
	submitted := 0
	for ; submitted < jobs || killed.Load() < int64(kills); submitted++ {
		for out.Load() > 100 {
			time.Sleep(100 * time.Microsecond)
		}
		out.Add(1)
		n := submitted
		j := double.Go(p, n)
		all.Add(1)
		j.OnDone(func() {
			defer all.Done()
			out.Add(-1)
			switch v, err := j.Result(context.Background()); {
			case err == nil && v == 2*n:
				right.Add(1)
			case errors.Is(err, executor.ErrWorkerDied):
				died.Add(1)
			default:
				wrong.Add(1)
				t.Errorf("job %d: %d, %v", n, v, err)
			}
		})
	}
	all.Wait()
	if err := p.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	s, ps := p.Stats(), p.ProcessStats()
	t.Logf("%d jobs: %d right, %d died; %d kills; %+v", submitted, right.Load(), died.Load(), killed.Load(), ps)
	switch {
	case ended() != int64(submitted) || wrong.Load() != 0:
		t.Errorf("%d right, %d died, %d wrong of %d", right.Load(), died.Load(), wrong.Load(), submitted)
	case s.Done != uint64(submitted) || s.Running+s.Queued != 0 || s.Canceled+s.Rejected != 0:
		t.Errorf("stats %+v of %d jobs", s, submitted)
	case died.Load() > killed.Load():
		t.Errorf("%d jobs died of %d kills", died.Load(), killed.Load())
	case retries > 0 && died.Load() != 0:
		t.Errorf("%d jobs died that may be made again", died.Load())
	case ps.Died > uint64(killed.Load()):
		t.Errorf("%d workers died of %d kills", ps.Died, killed.Load())
	}
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("there is a child left: %d, %v", pid, err)
	}
}

// killWorkers kills a worker whenever so many jobs more have ended.
func killWorkers(p *executor.ProcessPool, kills, every int, killed *atomic.Int64, ended func() int64) {
	last := 0
	for killed.Load() < int64(kills) {
		pids := p.PIDs()
		if len(pids) == 0 || ended() < killed.Load()*int64(every) {
			time.Sleep(100 * time.Microsecond)
			continue
		}
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond) // in the middle of anything
		pid := pids[rand.IntN(len(pids))]
		if pid != last && syscall.Kill(pid, syscall.SIGKILL) == nil {
			last = pid
			killed.Add(1)
		}
	}
}
