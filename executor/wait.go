package executor

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"
)

// When says when [Wait] returns.
type When uint8

const (
	// AllCompleted: when all are done.
	AllCompleted When = iota
	// FirstCompleted: when one is done.
	FirstCompleted
	// FirstException: when one has failed, or all are done. A canceled one has
	// not failed.
	FirstException
)

// Wait blocks the goroutine until some or all of jobs are done, or ctx has ended, and
// returns those that are done and those that are not, each in the order of jobs
// without repetitions. It cancels nothing. Its error is only that of ctx, or
// [ErrDeadlock]; done and pending are right all the same. Without jobs it returns at
// once. It panics with the ctx of a task or a callback: there, use task.Wait on
// futures. (concurrent.futures: wait)
func Wait[J AnyJob](ctx context.Context, when When, jobs ...J) (done, pending []J, err error) {
	return WaitTimeout(ctx, -1, when, jobs...)
}

// WaitTimeout is [Wait] that returns after d in any case. The end of d is no error.
// A negative d sets no limit.
func WaitTimeout[J AnyJob](ctx context.Context, d time.Duration, when When, jobs ...J) (done, pending []J, err error) {
	mayBlock(ctx, "executor: Wait")
	jobs = distinct(jobs)
	handles := make([]*handle, len(jobs))
	for i, j := range jobs {
		handles[i] = j.base()
	}
	err = waitFor(ctx, d, when, handles)
	for _, j := range jobs {
		if j.base().done.Load() {
			done = append(done, j)
		} else {
			pending = append(pending, j)
		}
	}
	return done, pending, err
}

func waitFor(ctx context.Context, d time.Duration, when When, handles []*handle) error {
	if len(handles) == 0 {
		return nil
	}
	w := &waiting{when: when, left: len(handles), over: make(chan struct{})}
	members := make([]waitMember, len(handles))
	for i, h := range handles {
		members[i] = waitMember{w, h}
		h.watch(&members[i])
	}
	timer := newTimer(d)
	defer timer.stop()
	err := block(ctx, w.over, timer, handles)
	for i, h := range handles {
		h.unwatch(&members[i])
	}
	if err == ErrTimeout {
		return nil
	}
	return err
}

// distinct drops repetitions, keeping the first of each.
func distinct[J AnyJob](jobs []J) []J {
	seen := make(map[*handle]bool, len(jobs))
	out := make([]J, 0, len(jobs))
	for _, j := range jobs {
		if h := j.base(); !seen[h] {
			seen[h] = true
			out = append(out, j)
		}
	}
	return out
}

// waiting is a Wait that has not returned.
type waiting struct {
	when When
	over chan struct{} // closed when it may return

	mu   sync.Mutex
	left int // not done yet; -1: over is closed
}

// A waitMember is one of the jobs of a Wait.
type waitMember struct {
	w *waiting
	h *handle
}

func (m *waitMember) told() {
	w := m.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left < 0 {
		return
	}
	w.left--
	if w.left == 0 || w.when == FirstCompleted ||
		w.when == FirstException && m.h.err != nil && !m.h.Canceled() {
		w.left = -1
		close(w.over)
	}
}

// AsCompleted returns jobs as they are done, each once, for range: those that are
// done already first, in the order of jobs, and then in order of finishing. It
// blocks the goroutine in between. When ctx ends, the error of the last pair says
// so; it may also be [ErrDeadlock]. The error is nil otherwise, and what became of a
// job is asked of the job. Leaving the loop cancels nothing. It panics with the ctx
// of a task or a callback. (concurrent.futures: as_completed)
func AsCompleted[J AnyJob](ctx context.Context, jobs ...J) iter.Seq2[J, error] {
	return AsCompletedTimeout(ctx, -1, jobs...)
}

// AsCompletedTimeout is [AsCompleted] with a limit: when d has passed since the
// loop began and not all are done, the error of the last pair is [ErrTimeout]. A
// negative d sets no limit.
func AsCompletedTimeout[J AnyJob](ctx context.Context, d time.Duration, jobs ...J) iter.Seq2[J, error] {
	return func(yield func(J, error) bool) {
		mayBlock(ctx, "executor: AsCompleted")
		jobs := distinct(jobs)
		a := newArrivals(jobs)
		defer a.stop()
		timer := newTimer(d)
		defer timer.stop()
		for range jobs {
			i, err := a.next(ctx, timer)
			if err != nil {
				var none J
				yield(none, err)
				return
			}
			if !yield(jobs[i], nil) {
				return
			}
		}
	}
}

// arrivals is a queue of jobs that are done, as indexes.
type arrivals struct {
	members []arrival
	handles []*handle

	mu    sync.Mutex
	done  []int
	ready chan struct{} // closed while done is not empty
}

// An arrival tells that a job is done.
type arrival struct {
	a *arrivals
	i int
	h *handle
}

func newArrivals[J AnyJob](jobs []J) *arrivals {
	a := &arrivals{ready: make(chan struct{}), members: make([]arrival, len(jobs))}
	for i, j := range jobs {
		a.handles = append(a.handles, j.base())
		a.members[i] = arrival{a, i, j.base()}
	}
	for i := range a.members {
		m := &a.members[i]
		m.h.watch(m)
	}
	return a
}

func (m *arrival) told() {
	a := m.a
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.done) == 0 {
		close(a.ready)
	}
	a.done = append(a.done, m.i)
}

func (a *arrivals) next(ctx context.Context, timer *timer) (int, error) {
	a.mu.Lock()
	ready := a.ready
	a.mu.Unlock()
	if err := block(ctx, ready, timer, a.handles); err != nil {
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.done[0]
	a.done = a.done[1:]
	if len(a.done) == 0 {
		a.ready = make(chan struct{})
	}
	return i, nil
}

func (a *arrivals) stop() {
	for i := range a.members {
		m := &a.members[i]
		if !m.h.done.Load() {
			m.h.unwatch(m)
		}
	}
}

// A timer is a limit to several waits. nil sets none.
type timer struct{ *time.Timer }

func newTimer(d time.Duration) *timer {
	if d < 0 {
		return nil
	}
	return &timer{time.NewTimer(d)}
}

func (t *timer) stop() {
	if t != nil {
		t.Stop()
	}
}

// await blocks the goroutine until h is done.
func await(ctx context.Context, h *handle) error {
	return block(ctx, h.Done(), nil, []*handle{h})
}

// block blocks the goroutine until over is closed, which one or more of jobs will
// do; until the timer's time is up, which is ErrTimeout, or until ctx has ended.
func block(ctx context.Context, over <-chan struct{}, timer *timer, jobs []*handle) error {
	select {
	case <-over:
		return nil
	default:
	}
	if j := jobOf(ctx); j != nil {
		done, err := j.lane.block(j, over, jobs)
		if err != nil {
			return err
		}
		defer done()
	}
	var up <-chan time.Time
	if timer != nil {
		up = timer.C
	}
	select {
	case <-over:
		return nil
	case <-up:
		return ErrTimeout
	case <-ctx.Done():
		return ctxError(ctx)
	}
}

// blocked is the wait of a running job for others of its lane.
type blocked struct {
	by   *job
	over <-chan struct{} // closed when the wait is over
}

// block notes that by is about to wait for jobs, if they are all of the lane, until
// over is closed. It returns ErrDeadlock if then all places of the lane are taken by
// jobs that wait so: nobody is left to end any of these waits.
func (n *Lane) block(by *job, over <-chan struct{}, jobs []*handle) (done func(), err error) {
	for _, h := range jobs {
		if h.j.lane != n {
			return func() {}, nil
		}
	}
	b := &blocked{by, over}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blocked = append(n.blocked, b)
	if n.deadlocked() {
		n.unblock(b)
		return nil, ErrDeadlock
	}
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.unblock(b)
	}, nil
}

func (n *Lane) unblock(b *blocked) {
	i := slices.Index(n.blocked, b)
	n.blocked = slices.Delete(n.blocked, i, i+1)
}

// deadlocked reports whether as many running jobs as may run wait for others.
func (n *Lane) deadlocked() bool {
	if len(n.blocked) < n.limit {
		return false
	}
	waiting := make(map[*job]bool, len(n.blocked))
	for _, b := range n.blocked {
		select {
		case <-b.over: // it will go on
		default:
			if b.by.place == running {
				waiting[b.by] = true
			}
		}
	}
	return len(waiting) >= n.limit
}
