package executor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eddyloop/eddy/internal/frame"
)

// ProcessConfig configures a ProcessPool. The zero value is right for production.
type ProcessConfig struct {
	// Workers is how many worker processes there are at most. They are started when
	// calls need them, and stay. Default 0: GOMAXPROCS.
	Workers int
	// Prefetch is how many calls a worker has waiting beside the one that it runs, so
	// that it need not wait for the pool between them. A call that waits so is taken
	// back when another worker has had nothing to do for a millisecond, and when its
	// worker dies. So calls may begin in another order than they were handed in; with
	// one worker and no prefetch they do not. Default 0: 1; negative: none.
	Prefetch int
	// Queue is how many calls may wait for others to end before Go and Submit refuse
	// more, beyond those that workers have waiting. Default 0: 65,536; negative: no
	// bound.
	Queue int
	// MaxJobs is after how many jobs a worker is replaced: against functions that leak.
	// Default 0: never. (concurrent.futures: max_tasks_per_child)
	MaxJobs int
	// Init is called in each worker before its first job. If it fails the pool is
	// broken, for good: see [ErrBroken]. Default: no such call. (initializer)
	Init Bound
	// Name is what errors and profiles call the pool. Default "": no name.
	Name string

	// Env is the environment of the workers, as in os.ProcAttr. Default nil: that of
	// this process at the time.
	Env []string
	// Dir is their working directory. Default "": that of this process.
	Dir string
	// Codec turns arguments and results into bytes. Default nil: [Gob]. For small structs
	// JSON is quicker, because gob describes their type in every message.
	Codec Codec
	// MaxRequest and MaxResult limit the encoded argument and result of a job, in
	// bytes. Default 0: 64 MiB; at most 2 GiB.
	MaxRequest, MaxResult int

	// Grace is how long a call that was canceled, or whose Timeout is over, may take to
	// answer before its worker is killed, and how long workers may take to exit at a
	// shutdown. Default 0: 1 s.
	Grace time.Duration
	// StartTimeout is how long a worker may take from its start until it is ready,
	// Init included, before it is killed. Default 0: 30 s.
	StartTimeout time.Duration
	// Heartbeat is how often a worker with a call is asked for a sign of life, which
	// does not depend on what the function does. One that has given none three times
	// in a row is killed. Default 0: 10 s; negative: never.
	Heartbeat time.Duration
	// Strict makes the death of a worker break the pool, as Python's does: all calls
	// fail with ErrBroken, for good, and all workers are killed. Workers that the pool
	// kills because of a Timeout or a cancellation do not count. Default false: the
	// call fails, and there will be another worker.
	Strict bool
}

const (
	defaultGrace        = time.Second
	defaultStartTimeout = 30 * time.Second
	defaultHeartbeat    = 10 * time.Second
	defaultMessage      = 64 << 20

	missedBeats = 3 // after which a worker hangs
)

// A ProcessPool calls registered functions in worker processes, which are this
// program started again. It is for what must not share this process: computations
// that should not stop its garbage collector or fill its memory, code that crashes,
// code that does not end when it should. Its methods may be called from any
// goroutine. Make it with [NewProcessPool], end it with Shutdown. (concurrent.futures:
// ProcessPoolExecutor; multiprocessing: Pool)
//
//	var sum = executor.Register("sum", func(ctx context.Context, n int) (int, error) { ... })
//
//	func main() {
//		executor.WorkerMain() // does not return in a worker
//		pool, err := executor.NewProcessPool(executor.ProcessConfig{})
//		...
//		job := sum.Go(pool, 1000000)
//
// It is an [Executor]: [Wait], [AsCompleted] and the like work with its jobs, and
// functions that take an executor and a function with Func.Call. Any other function
// that is handed to it runs in this process, in a place of the pool.
//
// # Workers that die
//
// A worker may be killed, exit, hang, or write garbage to the pool's pipe. Then the
// call that it was at fails with [ErrWorkerDied], or is made again if its CallConfig
// allows; calls that it had waiting go to another worker. A new worker is started when
// there is need; when workers die in a row without one answer, after a delay that
// doubles from 10 ms to a second. After six that died before they were ready, calls
// that wait for a worker fail with [ErrNoWorker], and later ones after one attempt
// each, until an attempt succeeds.
//
// A call counts as begun when it was sent to a worker that had no other, even if
// that has died before it read it.
//
// # The end of this process
//
// Workers exit at once when the pool's process ends, however it does: their pipe
// does, and on Linux the kernel kills them. They are in process groups of their own,
// so that Ctrl-C in a terminal is the pool's affair.
//
// On systems that are not Unix, NewProcessPool fails with errors.ErrUnsupported.
type ProcessPool struct {
	pool  *Pool // its places are those of workers, its queue is the queue
	cfg   ProcessConfig
	codec Codec
	depth int   // calls that a worker may have
	setup setup // of workers

	buffers sync.Pool // of *[]byte, for requests
	nextID  atomic.Uint64
	spawn   chan struct{}
	gone    chan struct{} // closed when all is over

	mu       sync.Mutex
	closed   error   // of calls that need a worker; nil: open
	ready    []*proc // may be given calls, in the order they came
	all      map[*proc]struct{}
	starting int      // asked for, and not ready yet
	waiting  []*pcall // for a place, those to be made again first
	spawner  bool     // runs

	deaths      int // in a row without an answer
	startDeaths int // in a row without a worker that is ready
	notBefore   time.Time
	retry       *time.Timer // until notBefore; nil: none
	stealing    bool        // a look for calls to take back is due

	counts procCounts
}

// NewProcessPool returns a pool that is open and has no worker yet. The program must
// have called [WorkerMain]: the error is [ErrNoWorkerMain] if not, and
// errors.ErrUnsupported on systems that are not Unix. It panics if cfg is wrong.
func NewProcessPool(cfg ProcessConfig) (*ProcessPool, error) {
	switch {
	case !processesSupported:
		return nil, fmt.Errorf("executor: process pool: %w", errors.ErrUnsupported)
	case !hooked.Load():
		return nil, ErrNoWorkerMain
	}
	cfg.setDefaults()
	p := &ProcessPool{
		cfg:   cfg,
		codec: cfg.Codec,
		depth: 1 + cfg.Prefetch,
		spawn: make(chan struct{}, cfg.Workers),
		gone:  make(chan struct{}),
		all:   make(map[*proc]struct{}),
	}
	p.setup = setup{Codec: cfg.Codec.Name(), MaxRequest: cfg.MaxRequest, MaxResult: cfg.MaxResult}
	if cfg.Init.name != "" {
		m := newMessage(nil, cfg.MaxRequest)
		if err := cfg.Init.encode(&m, p.codec); err != nil {
			return nil, fmt.Errorf("argument of %s: %w", cfg.Init.name, err)
		}
		p.setup.Init, p.setup.InitArg = cfg.Init.name, m.buf[frame.HeaderLen:]
	}
	p.pool = New(Config{Limit: cfg.Workers * p.depth, Queue: cfg.Queue, Name: cfg.Name})
	p.pool.procs = p
	return p, nil
}

func (cfg *ProcessConfig) setDefaults() {
	for name, v := range map[string]int64{
		"Workers": int64(cfg.Workers), "MaxJobs": int64(cfg.MaxJobs), "Grace": int64(cfg.Grace),
		"MaxRequest": int64(cfg.MaxRequest), "MaxResult": int64(cfg.MaxResult), "StartTimeout": int64(cfg.StartTimeout),
	} {
		if v < 0 {
			panic("executor: ProcessConfig." + name + " is negative")
		}
	}
	orDefault(&cfg.Workers, runtime.GOMAXPROCS(0))
	orDefault(&cfg.Prefetch, 1)
	cfg.Prefetch = max(cfg.Prefetch, 0)
	orDefault(&cfg.MaxRequest, defaultMessage)
	orDefault(&cfg.MaxResult, defaultMessage)
	if max(cfg.MaxRequest, cfg.MaxResult) > frame.MaxPayload-frameSlack {
		panic("executor: ProcessConfig.MaxRequest or MaxResult is over 2 GiB")
	}
	orDefault(&cfg.Grace, defaultGrace)
	orDefault(&cfg.StartTimeout, defaultStartTimeout)
	orDefault(&cfg.Heartbeat, defaultHeartbeat)
	if cfg.Codec == nil {
		cfg.Codec = gobCodec{}
	}
	if codecNamed(cfg.Codec.Name()) == nil {
		panic("executor: codec " + cfg.Codec.Name() + " is not registered: see RegisterCodec")
	}
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Name returns the pool's ProcessConfig.Name.
func (p *ProcessPool) Name() string { return p.cfg.Name }

func (p *ProcessPool) lane() *Lane {
	if p == nil {
		return nil
	}
	return p.pool.lane()
}

// Shutdown closes the pool, waits until all its calls have ended, or ctx has, and
// ends the workers. It returns nil when all calls have ended. When ctx ends first,
// calls that have not started are canceled, workers are killed, so that the calls in
// them end as canceled with the cause [ErrClosed], and Shutdown returns a
// [*ShutdownError]. In either case it leaves no worker behind, waiting some
// milliseconds for those that it has killed; a call that was cut off may become done
// a moment later. Shutdown may be called several times.
//
// It blocks its goroutine, as [Pool.Shutdown] does. (concurrent.futures: shutdown)
func (p *ProcessPool) Shutdown(ctx context.Context) error {
	return p.shutdown(ctx, p.pool.Shutdown(ctx))
}

// ShutdownNow is Shutdown for those who do not want the results: calls that have not
// started are canceled, and the ctx of those that run ends, at once rather than when
// ctx ends. Workers that do not listen are killed after ProcessConfig.Grace.
// (concurrent.futures: shutdown(cancel_futures=True))
func (p *ProcessPool) ShutdownNow(ctx context.Context) error {
	return p.shutdown(ctx, p.pool.ShutdownNow(ctx))
}

// Kill closes the pool, cancels all calls and kills all workers, without waiting for
// either. Shutdown waits. (concurrent.futures: kill_workers; multiprocessing:
// terminate)
func (p *ProcessPool) Kill() {
	for _, n := range p.pool.close(ErrClosed) {
		n.cut()
	}
	p.killAll(ErrClosed)
}

// Terminate is Kill with a request in place of force: workers get SIGTERM, which ends
// them unless the program handles it, and are killed after ProcessConfig.Grace.
// (concurrent.futures: terminate_workers)
func (p *ProcessPool) Terminate() {
	for _, n := range p.pool.close(ErrClosed) {
		n.cut()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.close(ErrClosed)
	for w := range p.all {
		terminate(w.os)
	}
	time.AfterFunc(p.cfg.Grace, func() { p.killAll(ErrClosed) })
}

// WithProcesses is [With] for a ProcessPool. (concurrent.futures: with
// ProcessPoolExecutor(...) as pool)
func WithProcesses(ctx context.Context, cfg ProcessConfig, fn func(p *ProcessPool) error) (err error) {
	mayBlock(ctx, "executor: WithProcesses")
	p, err := NewProcessPool(cfg)
	if err != nil {
		return err
	}
	down := p.ShutdownNow
	defer func() { err = joined(err, down(ctx)) }()
	if err = fn(p); err == nil {
		down = p.Shutdown
	}
	return err
}

// joined is errors.Join that leaves a single error as it is.
func joined(err, more error) error {
	switch {
	case err == nil:
		return more
	case more == nil:
		return err
	}
	return errors.Join(err, more)
}

// reapTime is how long a shutdown whose ctx has ended waits for what it has killed.
const reapTime = 10 * time.Millisecond

// shutdown ends the workers, after the places of the pool were closed with the outcome
// err.
func (p *ProcessPool) shutdown(ctx context.Context, err error) error {
	if err == nil {
		p.retireAll()
		if p.awaitGone(ctx, p.cfg.Grace) {
			return nil
		}
	}
	p.killAll(ErrClosed)
	if !p.awaitGone(ctx, 2*exitTime) {
		p.awaitGone(context.Background(), reapTime)
	}
	return err
}

// awaitGone waits until all workers are, but not after ctx has ended, nor for longer
// than d, and reports whether they are.
func (p *ProcessPool) awaitGone(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.gone:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// retireAll ends workers that have no calls by closing their pipes.
func (p *ProcessPool) retireAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.close(ErrClosed)
	for w := range p.all {
		w.retire()
	}
}

// killAll ends workers by force, and what waits for one.
func (p *ProcessPool) killAll(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.close(cause)
	for w := range p.all {
		w.kill(nil, cause)
	}
}

// close refuses to hand out workers, with err. p.mu is held.
func (p *ProcessPool) close(err error) {
	if p.closed == nil {
		p.closed = err
	}
	p.refuseWaiting(p.closed)
	if p.retry != nil {
		p.retry.Stop()
		p.retry = nil
	}
	p.checkGone()
}

// breakDown ends a pool for good. p.mu is held.
func (p *ProcessPool) breakDown(err error) {
	if p.closed != nil {
		return
	}
	p.close(err)
	for w := range p.all {
		w.kill(nil, err)
	}
	go p.pool.breakDown(err) // not under p.mu: it tells whoever waits for the jobs
}

// checkGone tells shutdowns when all is over. p.mu is held.
func (p *ProcessPool) checkGone() {
	if p.closed == nil || len(p.all) > 0 || p.starting > 0 {
		return
	}
	select {
	case <-p.gone:
	default:
		close(p.gone)
	}
}

// Stats returns what the pool's jobs do and have done. Running includes the calls
// that workers have waiting.
func (p *ProcessPool) Stats() Stats { return p.pool.Stats() }

// procCounts are under the pool's lock.
type procCounts struct {
	started, died, killed, retired, retried, returned uint64
}

// ProcessStats is what the workers of a ProcessPool do now and have done.
type ProcessStats struct {
	Workers  int    // that are ready
	Starting int    // that are not yet
	Calls    int    // that workers have, waiting ones included
	Started  uint64 // processes
	Died     uint64 // of these, of themselves or by another's hand
	Killed   uint64 // of these, by the pool: after a timeout or a cancellation, hanging, or at the end
	Retired  uint64 // of these, by the pool, because of MaxJobs or at the end
	Retried  uint64 // calls made again after a death, by CallConfig.Retries
	Returned uint64 // calls that a worker had waiting and that went to another
}

// ProcessStats returns what the workers do and have done.
func (p *ProcessPool) ProcessStats() ProcessStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	s := ProcessStats{
		Workers: len(p.ready), Starting: p.starting,
		Started: c.started, Died: c.died, Killed: c.killed, Retired: c.retired,
		Retried: c.retried, Returned: c.returned,
	}
	for _, w := range p.ready {
		s.Calls += w.taken
	}
	return s
}

// PIDs returns the process ids of the workers that are ready, in ascending order.
func (p *ProcessPool) PIDs() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	pids := make([]int, len(p.ready))
	for i, w := range p.ready {
		pids[i] = w.os.Pid
	}
	slices.Sort(pids)
	return pids
}
