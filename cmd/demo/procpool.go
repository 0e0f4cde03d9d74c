package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

func runProcpool(fs *flag.FlagSet, args []string) int {
	d := &procpool{out: os.Stdout}
	fs.IntVar(&d.jobs, "jobs", 300, "how many sums to have worked out")
	fs.IntVar(&d.kills, "kills", 8, "how many workers to kill meanwhile")
	fs.IntVar(&d.size, "size", 20_000_000, "how many numbers make a sum")
	if !parse(fs, args) {
		return 2
	}
	if d.jobs < 1 || d.kills < 0 || d.size < 1 {
		fmt.Fprintln(os.Stderr, "demo procpool: needs jobs, and numbers")
		return 2
	}
	ctx, stop := untilSignal()
	defer stop()
	if err := task.Run(ctx, d.main); err != nil {
		fmt.Fprintln(os.Stderr, "demo procpool:", err)
		return 1
	}
	return 0
}

// A procpool is a run of the demo: jobs in worker processes, of which some are killed.
// Nothing in it is locked: it lives on one loop.
type procpool struct {
	out               io.Writer
	jobs, kills, size int

	pool                           *executor.ProcessPool
	right, died, wrong, unexpected int
	began                          time.Time
}

func (d *procpool) main(ctx context.Context) (err error) {
	d.began = time.Now()
	if d.pool, err = executor.NewProcessPool(executor.ProcessConfig{Name: "demo"}); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "%d sums of %d numbers each, in worker processes of process %d;\n", d.jobs, d.size, os.Getpid())
	fmt.Fprintln(d.out, "every other one may be made again if its worker dies")
	killer := task.Go(ctx, d.kill)
	outcomes, err := task.GatherAll(ctx, d.submit(loop.FromContext(ctx))...)
	killer.Cancel(nil)
	end := d.pool.Shutdown
	if err != nil { // interrupted
		end = d.pool.ShutdownNow
	}
	// To wait for processes would block the loop.
	_, downErr := executor.Do(context.WithoutCancel(ctx), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, end(ctx)
	})
	if err = errors.Join(err, downErr); err != nil {
		return err
	}
	d.count(outcomes)
	return d.summary()
}

// submit hands in the jobs.
func (d *procpool) submit(l *loop.Loop) []*future.Future[int] {
	again := sumBelow.With(executor.CallConfig{Retries: 10})
	fs := make([]*future.Future[int], d.jobs)
	for i := range fs {
		sum := sumBelow
		if i%2 == 1 {
			sum = again
		}
		fs[i] = sum.Submit(l, d.pool, d.size+i)
	}
	return fs
}

// kill kills a worker now and then.
func (d *procpool) kill(ctx context.Context) error {
	for range d.kills {
		if err := task.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
		pids := d.pool.PIDs()
		if len(pids) == 0 {
			continue
		}
		pid := pids[rand.IntN(len(pids))]
		if p, err := os.FindProcess(pid); err != nil || p.Kill() != nil {
			continue // it is over already
		}
		s := d.pool.Stats()
		fmt.Fprintf(d.out, "%6.2f s  kill -9 %d   %4d done, %d with workers, %d queued\n",
			time.Since(d.began).Seconds(), pid, s.Done, s.Running, s.Queued)
	}
	return nil
}

// count looks at what became of each job.
func (d *procpool) count(outcomes []future.Outcome[int]) {
	for i, o := range outcomes {
		n := d.size + i
		switch {
		case o.Err == nil && o.Value == n*(n-1)/2:
			d.right++
		case o.Err == nil:
			d.wrong++
		case errors.Is(o.Err, executor.ErrWorkerDied) && i%2 == 0:
			d.died++
			fmt.Fprintf(d.out, "          job %d: %v\n", i, o.Err)
		default:
			d.unexpected++
			fmt.Fprintf(d.out, "          job %d: %v, which nobody expected\n", i, o.Err)
		}
	}
}

// summary prints the account, and fails if it does not add up.
func (d *procpool) summary() error {
	s := d.pool.ProcessStats()
	fmt.Fprintf(d.out, "\nin %.2f s\n", time.Since(d.began).Seconds())
	fmt.Fprintf(d.out, "  %5d jobs: %d right, %d lost with their worker, %d wrong\n", d.jobs, d.right, d.died, d.wrong)
	fmt.Fprintf(d.out, "  %5d were made again, %d were waiting in a worker that died or was busy and went to another\n", s.Retried, s.Returned)
	fmt.Fprintf(d.out, "  %5d processes: %d died, %d ended when they were not needed any more\n", s.Started, s.Died, s.Retired+s.Killed)
	if d.right+d.died != d.jobs || s.Died+s.Retired+s.Killed != s.Started {
		return errors.New("not every job or process is accounted for")
	}
	fmt.Fprintln(d.out, "every job and every process is accounted for")
	return nil
}
