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
// queue included, or ctx has. It returns nil at once when all have ended. When
// ctx ends first, jobs that have not started are canceled, the ctx of those that
// run ends with [ErrClosed] as its cause, and Shutdown returns a
// [*ShutdownError]; the future of a job that then returns its ctx's error is
// canceled. Shutdown may be called several times.
//
// It blocks its goroutine. Called on a loop it stalls that loop, so that jobs
// which wait for the loop never end: there, call it in a job of another pool.
// (concurrent.futures: shutdown; asyncio: shutdown_default_executor)
func (p *Pool) Shutdown(ctx context.Context) error { return p.shutdown(ctx, false) }

// ShutdownNow is [Pool.Shutdown] for those who do not want the results: jobs that
// have not started are canceled, and the ctx of those that run ends, at once
// rather than when ctx ends. (concurrent.futures: shutdown(cancel_futures=True))
func (p *Pool) ShutdownNow(ctx context.Context) error { return p.shutdown(ctx, true) }

func (p *Pool) shutdown(ctx context.Context, now bool) error {
	p.mu.Lock()
	p.closed = true
	p.checkEnded()
	p.mu.Unlock()
	n := 0
	if now {
		n, _ = p.cut()
	}
	select {
	case <-p.ended:
		return nil
	default:
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
	}
	more, stuck := p.cut()
	if more == 0 && len(stuck) == 0 {
		return nil // all has ended, or is between the end of a job and that of its goroutine
	}
	n += more
	return &ShutdownError{Pool: p.name, Stuck: p.describe(stuck), Canceled: n, Cause: context.Cause(ctx)}
}

// cut cancels the jobs that have not started, ends the contexts of those that
// run, and returns the number of the former and the latter, oldest first.
func (p *Pool) cut() (canceled int, stuck []*job) {
	p.mu.Lock()
	left := p.waiting
	p.waiting = list{}
	p.canceled += uint64(left.n)
	for j := left.head; j != nil; j = j.next {
		j.place = gone
	}
	for j := p.running.head; j != nil; j = j.next {
		stuck = append(stuck, j)
	}
	p.mu.Unlock()
	for j := left.head; j != nil; {
		next := j.next
		j.prev, j.next = nil, nil
		j.self.fail(&future.CanceledError{Cause: ErrClosed})
		_ = j.self.post() // on a closed loop nobody waits
		j = next
	}
	for _, j := range stuck {
		j.interrupt(ErrClosed)
	}
	return left.n, stuck
}

// A ShutdownError tells what a shutdown did not wait for.
type ShutdownError struct {
	Pool     string     // Config.Name
	Stuck    []StuckJob // jobs that still run, in the order they started
	Canceled int        // jobs that never ran
	Cause    error      // why it did not wait any longer: its ctx's cause
}

// A StuckJob is a job that did not end when its ctx did.
type StuckJob struct {
	Func  string    // name of the function
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

func (p *Pool) describe(stuck []*job) []StuckJob {
	if len(stuck) == 0 {
		return nil
	}
	stacks := stacksOf(stuck)
	jobs := make([]StuckJob, len(stuck))
	for i, j := range stuck {
		jobs[i] = StuckJob{
			Func:  j.funcName(),
			Since: p.base.Add(time.Duration(j.since.Load())),
			Stack: stacks[j],
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
