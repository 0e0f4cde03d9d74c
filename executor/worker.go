package executor

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
)

// A worker is a goroutine that stays, for pools with Init or LockThread.
type worker struct {
	lane  *Lane
	value any  // Init's
	ready bool // Init has succeeded
	job   *job // that runs
}

// serve is such a goroutine: it runs jobs until the lane is closed and there is
// none.
func (n *Lane) serve() {
	w := &worker{lane: n}
	defer w.leave()
	if n.pool.cfg.LockThread {
		runtime.LockOSThread() // never undone: jobs may have changed the thread
	}
	n.setLabels()
	if !w.init() {
		return
	}
	for w.next() {
		w.job.do()
	}
}

// next has the worker take a job, when there is one, and reports whether it did.
func (w *worker) next() bool {
	n := w.lane
	n.mu.Lock()
	defer n.mu.Unlock()
	if w.job != nil {
		n.remove(w.job)
		w.job = nil
	}
	for n.waiting.head == nil {
		if n.refuse != nil {
			return false
		}
		n.idle++
		n.wake.Wait()
		n.idle--
	}
	w.job = n.begin()
	w.job.values = &workerValues{w.job.values, w}
	return true
}

// leave ends the worker, also when its job or Init has called Goexit.
func (w *worker) leave() {
	n := w.lane
	defer func() { // Exit may call Goexit too
		if n.leave(w.job) {
			go n.body()
		}
	}()
	if w.job != nil {
		w.job.finish()
	}
	exit := n.pool.cfg.Exit
	if !w.ready || exit == nil {
		return
	}
	err := n.callAside(reflect.ValueOf(exit).Pointer(), func(ctx context.Context) error {
		exit(ctx, w.value)
		return nil
	})
	if err != nil {
		slog.Error("executor: Config.Exit", "pool", n.label(), "error", err)
	}
}

// init calls Config.Init and reports whether the worker can go on.
func (w *worker) init() bool {
	n := w.lane
	init := n.pool.cfg.Init
	if init == nil {
		return true
	}
	n.mu.Lock()
	wanted := n.waiting.n > 0
	n.mu.Unlock()
	if !wanted { // any more
		return false
	}
	err := ErrGoexit
	defer func() {
		if w.ready = err == nil; !w.ready {
			n.pool.breakDown(fmt.Errorf("%w: Config.Init: %w", ErrBroken, err))
		}
	}()
	err = n.callAside(reflect.ValueOf(init).Pointer(), func(ctx context.Context) (err error) {
		w.value, err = init(ctx)
		return err
	})
	return err == nil
}

// breakDown ends a pool that cannot make workers.
func (p *Pool) breakDown(err error) {
	for _, n := range p.close(err) {
		n.flush(err)
	}
}

// workerValues are the values of the ctx of a job on a worker.
type workerValues struct {
	context.Context
	w *worker
}

var workerKey = new(int)

// Value implements context.Context.
func (v *workerValues) Value(key any) any {
	if key == workerKey {
		return v.w
	}
	return v.Context.Value(key)
}

// Local returns what Config.Init has returned on the goroutine of the job that ctx
// belongs to, and whether that is a T. It must not be kept when the job has ended.
// (concurrent.futures: initializer, with threading.local)
func Local[T any](ctx context.Context) (T, bool) {
	if w, ok := ctx.Value(workerKey).(*worker); ok {
		v, ok := w.value.(T)
		return v, ok
	}
	var zero T
	return zero, false
}

// An asideCall is a call of Init or Exit in the shape of a job, so that a shutdown
// ends its ctx and finds its stack. Nobody counts it.
type asideCall struct {
	job
	fn    func(ctx context.Context) error
	entry uintptr
	err   error
}

// callAside calls fn, which has the name of the function at entry.
func (n *Lane) callAside(entry uintptr, fn func(ctx context.Context) error) error {
	c := &asideCall{fn: fn, entry: entry}
	c.self, c.lane, c.values = c, n, context.Background()
	c.since.Store(n.pool.now())
	n.mu.Lock()
	n.aside.push(&c.job)
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.aside.remove(&c.job)
		n.mu.Unlock()
		c.end(nil)
	}()
	c.do()
	return c.err
}

func (c *asideCall) call()          { c.err = c.fn(&c.job) }
func (c *asideCall) fail(err error) { c.err = err }
func (c *asideCall) post() error    { return nil }
func (c *asideCall) pc() uintptr    { return c.entry }
