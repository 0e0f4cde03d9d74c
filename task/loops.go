package task

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
)

// Loops are the loops of a [RunLoops]. It may be used from any goroutine.
//
// From one loop to another lead only methods of Loop with Threadsafe in the name:
// CallSoonThreadsafe and QueueThreadsafe, which never block, whatever the other
// loop does. They return [loop.ErrClosed] when that one's main has ended. Posts of
// one loop to another are run in order, each once. [CallThreadsafe] blocks its
// goroutine, so a task calls it in an executor.
type Loops struct{ loops []*loop.Loop }

// Len returns how many there are.
func (s *Loops) Len() int { return len(s.loops) }

// Loop returns loop i, from 0 to Len-1.
func (s *Loops) Loop(i int) *loop.Loop { return s.loops[i] }

// LoopsConfig configures [RunLoopsConfig]. The zero value is right for production.
type LoopsConfig struct {
	// N is how many loops run. Default 0, and if negative: runtime.GOMAXPROCS.
	N int
	// Loop returns the configuration of loop i. It is called before any loop runs.
	// The loops run at the same time, each on a goroutine of its own, so what they
	// share (OnError, Trace) must bear that; a Clock cannot be shared. Default nil:
	// the zero Config for each.
	Loop func(i int) loop.Config
}

// RunLoops makes n loops, runs main on each as [Run] does, and returns when all are
// closed. The loops run in parallel, each on a goroutine of its own; i is the number
// of main's loop, from 0. If n is zero or negative there are runtime.GOMAXPROCS of
// them.
//
// The first main that fails cancels the others, with its error as the cause; so does
// the end of ctx, with ctx's cause. The error is that of the mains that failed and of
// closing their loops, joined in the order of loops, and as it is if there is one; if
// none failed it is the first cancellation. A main that ends without an error, or
// canceled, leaves the others alone; one that is canceled before it begins never
// runs.
//
// A panic of a main is its error, as in Run. runtime.Goexit in one of them
// (t.FailNow) ends its loop, cancels the others, and goes on in the goroutine of
// RunLoops when all have ended. RunLoops must not be called on a loop.
func RunLoops(ctx context.Context, n int, main func(ctx context.Context, i int, all *Loops) error) error {
	return RunLoopsConfig(ctx, LoopsConfig{N: n}, main)
}

// RunLoopsConfig is [RunLoops] with a configuration. It returns the errors of
// [loop.New] before any main has begun.
func RunLoopsConfig(ctx context.Context, cfg LoopsConfig, main func(ctx context.Context, i int, all *Loops) error) error {
	checkNotOnLoop(ctx, "task: RunLoops")
	all, err := cfg.open()
	if err != nil {
		return err
	}
	r := &loopsRun{all: all, errs: make([]error, all.Len())}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	defer r.cancel(nil)
	var running sync.WaitGroup
	for i, l := range all.loops {
		running.Go(func() { r.run(i, l, main) })
	}
	running.Wait()
	if r.exited {
		runtime.Goexit()
	}
	return r.err()
}

// open makes the loops.
func (cfg *LoopsConfig) open() (*Loops, error) {
	n := cfg.N
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	all := &Loops{loops: make([]*loop.Loop, 0, n)}
	for i := range n {
		var c loop.Config
		if cfg.Loop != nil {
			c = cfg.Loop(i)
		}
		l, err := loop.New(c)
		if err != nil {
			for _, l := range all.loops {
				err = join(err, l.Close())
			}
			return nil, err
		}
		all.loops = append(all.loops, l)
	}
	return all, nil
}

// A loopsRun is a call of RunLoops.
type loopsRun struct {
	all    *Loops
	ctx    context.Context // of all mains
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	errs   []error // of each loop
	exited bool    // by Goexit
}

// run runs one loop to its end.
func (r *loopsRun) run(i int, l *loop.Loop, main func(ctx context.Context, i int, all *Loops) error) {
	returned := false
	defer func() {
		if !returned { // Goexit, which has closed the loop
			r.mu.Lock()
			r.exited = true
			r.mu.Unlock()
			r.cancel(coro.ErrGoexit)
		}
	}()
	err := RunOn(r.ctx, l, func(ctx context.Context) error { return main(ctx, i, r.all) })
	if failed(err) {
		r.cancel(err) // before closing, which may take its time
	}
	err = join(err, l.Close())
	if failed(err) {
		r.cancel(err)
	}
	r.mu.Lock()
	r.errs[i] = err
	r.mu.Unlock()
	returned = true
}

// err sums up the errors of the loops.
func (r *loopsRun) err() error {
	var failures []error
	var canceled error
	for _, err := range r.errs {
		switch {
		case failed(err):
			failures = append(failures, err)
		case canceled == nil:
			canceled = err
		}
	}
	switch len(failures) {
	case 0:
		return canceled
	case 1:
		return failures[0]
	}
	return errors.Join(failures...)
}

func failed(err error) bool { return err != nil && future.AsCanceled(err) == nil }
