package executor

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/eddyloop/eddy/future"
)

// Shutdown closes the pool and waits until all its jobs have ended, those in the
// queue and of its lanes included, or ctx has. It returns nil at once when all have
// ended. When ctx ends first, jobs that have not started are canceled, the ctx of
// those that run ends with [ErrClosed] as its cause, and Shutdown returns a
// [*ShutdownError]; a job that then returns its ctx's error is canceled. Shutdown
// may be called several times.
//
// It blocks its goroutine. Called on a loop it stalls that loop, so that jobs
// which wait for the loop never end: there, call it in a job of another pool.
// Called in a job of the same pool it waits for that job.
// (concurrent.futures: shutdown; asyncio: shutdown_default_executor)
func (p *Pool) Shutdown(ctx context.Context) error {
	return shutdown(ctx, p.cfg.Name, p.close(ErrClosed), false)
}

// ShutdownNow is [Pool.Shutdown] for those who do not want the results: jobs that
// have not started are canceled, and the ctx of those that run ends, at once
// rather than when ctx ends. (concurrent.futures: shutdown(cancel_futures=True))
func (p *Pool) ShutdownNow(ctx context.Context) error {
	return shutdown(ctx, p.cfg.Name, p.close(ErrClosed), true)
}

// Shutdown closes the lane, and only that, as [Pool.Shutdown] closes a pool.
func (n *Lane) Shutdown(ctx context.Context) error {
	n.close(ErrClosed)
	return shutdown(ctx, n.label(), []*Lane{n}, false)
}

// ShutdownNow closes the lane, and only that, as [Pool.ShutdownNow] closes a pool.
func (n *Lane) ShutdownNow(ctx context.Context) error {
	n.close(ErrClosed)
	return shutdown(ctx, n.label(), []*Lane{n}, true)
}

// close refuses new jobs with err, also those of lanes not made yet, and returns
// all lanes.
func (p *Pool) close(err error) []*Lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := append([]*Lane{&p.main}, p.lanes...)
	for _, n := range all {
		n.close(err)
	}
	return all
}

func (n *Lane) close(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse == nil {
		n.refuse = err
	}
	n.checkEnded()
	if n.wake != nil {
		n.wake.Broadcast()
	}
}

// shutdown waits for lanes that are closed.
func shutdown(ctx context.Context, name string, lanes []*Lane, now bool) error {
	e := &ShutdownError{Pool: name}
	if now {
		for _, n := range lanes {
			canceled, _ := n.cut()
			e.Canceled += canceled
		}
	}
	if awaitEnd(ctx, lanes) {
		return nil
	}
	more, stuck := 0, []*job(nil)
	for _, n := range lanes {
		canceled, jobs := n.cut()
		more += canceled
		stuck = append(stuck, jobs...)
	}
	if more == 0 && len(stuck) == 0 {
		return nil // all has ended, or is between the end of a job and that of its goroutine
	}
	e.Canceled += more
	e.Stuck = describe(stuck)
	e.Cause = context.Cause(ctx)
	return e
}

// awaitEnd waits until nothing runs on lanes, or ctx has ended, and reports whether
// nothing does.
func awaitEnd(ctx context.Context, lanes []*Lane) bool {
	for _, n := range lanes {
		select {
		case <-n.ended:
			continue
		default:
		}
		select {
		case <-n.ended:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// cut cancels the jobs that have not started, ends the contexts of those that
// run, and returns the number of the former and the latter, oldest first.
func (n *Lane) cut() (canceled int, stuck []*job) {
	canceled = n.flush(&future.CanceledError{Cause: ErrClosed})
	n.mu.Lock()
	for _, l := range []*list{&n.running, &n.aside} {
		for j := l.head; j != nil; j = j.next {
			stuck = append(stuck, j)
		}
	}
	n.mu.Unlock()
	for _, j := range stuck {
		j.interrupt(ErrClosed)
	}
	return canceled, stuck
}

// flush ends the jobs that have not started with err, and returns their number.
func (n *Lane) flush(err error) int {
	n.mu.Lock()
	left := n.waiting
	n.waiting = list{}
	n.counts.canceled += uint64(left.n)
	for j := left.head; j != nil; j = j.next {
		j.place = gone
	}
	n.mu.Unlock()
	for j := left.head; j != nil; {
		next := j.next
		j.prev, j.next = nil, nil
		j.values = context.Background()
		j.self.fail(err)
		_ = j.self.post() // on a closed loop nobody waits
		j = next
	}
	return left.n
}

// A ShutdownError tells what a shutdown did not wait for.
type ShutdownError struct {
	Pool     string     // Config.Name; of a lane its label
	Stuck    []StuckJob // jobs that still run, in the order they started
	Canceled int        // jobs that never ran
	Cause    error      // why it did not wait any longer: its ctx's cause
}

// A StuckJob is a job that did not end when its ctx did.
type StuckJob struct {
	Func  string    // name of the function; it may be Config.Init or Exit
	Lane  string    // Lane.Name; "": none
	Since time.Time // when it started
	Stack []byte    // as runtime.Stack prints it; nil if it was too costly to get
}

// Error names the functions that still run and says for how long.
func (e *ShutdownError) Error() string {
	var b strings.Builder
	b.WriteString("executor: shutdown")
	if e.Pool != "" {
		fmt.Fprintf(&b, " of pool %s", e.Pool)
	}
	fmt.Fprintf(&b, ": %v", e.Cause)
	if e.Canceled > 0 {
		fmt.Fprintf(&b, "; %d queued canceled", e.Canceled)
	}
	if len(e.Stuck) > 0 {
		fmt.Fprintf(&b, "; %d still running:", len(e.Stuck))
	}
	const most = 5
	for i, s := range e.Stuck {
		if i == most {
			b.WriteString(", …")
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %s for %v", s.Func, time.Since(s.Since).Round(time.Millisecond))
	}
	return b.String()
}

// Unwrap returns Cause.
func (e *ShutdownError) Unwrap() error { return e.Cause }

func describe(stuck []*job) []StuckJob {
	if len(stuck) == 0 {
		return nil
	}
	stacks := stacksOf(stuck)
	jobs := make([]StuckJob, len(stuck))
	for i, j := range stuck {
		p := j.lane.pool
		jobs[i] = StuckJob{
			Func:  j.funcName(),
			Since: p.base.Add(time.Duration(j.since.Load())),
			Stack: stacks[j],
		}
		if j.lane != &p.main {
			jobs[i].Lane = j.lane.name
		}
	}
	return jobs
}

// maxGoroutines bounds the stop of the program that printing all stacks costs:
// some 10 µs each.
const maxGoroutines = 1000

// stacksOf returns the stacks of jobs that run. The runtime prints only all
// stacks or one's own; a job's is the one with its do on it, whose receiver the
// traceback prints.
func stacksOf(jobs []*job) map[*job][]byte {
	n := runtime.NumGoroutine()
	if n > maxGoroutines {
		return nil
	}
	byAddr := make(map[string]*job, len(jobs))
	for _, j := range jobs {
		byAddr[fmt.Sprintf("%p", j)] = j
	}
	buf := make([]byte, (n+8)<<12)
	buf = buf[:runtime.Stack(buf, true)]
	stacks := make(map[*job][]byte, len(jobs))
	call := []byte("executor.(*job).do(")
	for g := range bytes.SplitSeq(buf, []byte("\n\n")) {
		_, arg, ok := bytes.Cut(g, call)
		if !ok {
			continue
		}
		if i := bytes.IndexAny(arg, ",)?"); i >= 0 {
			if j := byAddr[string(arg[:i])]; j != nil {
				stacks[j] = bytes.Clone(g)
			}
		}
	}
	return stacks
}
