package executor

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"sync"
)

// MapConfig configures a Map. The zero value is right for production.
type MapConfig struct {
	// Chunk is how many values make one job. A job costs some 300 ns beside the
	// calls in it, so calls that take less than a few microseconds should share one.
	// A result is handed out when the whole of its chunk is there. Default 0: 1.
	Chunk int
	// Buffer is how many jobs may be under way or done ahead of the consumer, and
	// so how far ahead the input is read: up to Buffer times Chunk values. Default
	// 0: twice the Limit of the executor. (concurrent.futures: buffersize)
	Buffer int
}

// A MapError tells for which value of its input a Map has failed.
type MapError struct {
	Index int   // of the value, from 0
	Err   error // of the call: what it returned, a *coro.PanicError, or one of this package
}

// Error names the index.
func (e *MapError) Error() string {
	return fmt.Sprintf("executor: map of value %d: %v", e.Index, e.Err)
}

// Unwrap returns Err.
func (e *MapError) Unwrap() error { return e.Err }

// Map calls fn for the values of seq in jobs of ex, several at a time, and returns
// the results in the order of seq, for range. Nothing happens before the range
// begins. The input is read in the consumer's goroutine, only as far as
// MapConfig.Buffer allows, so it may be endless. Jobs of Map wait for a place in the
// queue as those of Do. fn's ctx has the values of ctx.
//
// The first error in the order of seq ends the sequence, after the results before
// it: it comes as the error of the last pair, a [*MapError], and all other errors
// are nil. When the sequence ends early, by an error, the end of ctx, which is
// then the error of the last pair, or because the consumer leaves, calls that have
// not begun are not made, and the ctx of those that run ends; they are not waited
// for.
//
// Map blocks the consumer's goroutine, and panics with the ctx of a task or a
// callback: there, use aiter.Map with Do. In a job of ex, hand on the job's ctx to
// have [ErrDeadlock] found. (concurrent.futures: Executor.map)
func Map[T, R any](ctx context.Context, ex Executor, seq iter.Seq[T], fn func(ctx context.Context, v T) (R, error), cfg MapConfig) iter.Seq2[R, error] {
	return newMap(ctx, ex, seq, fn, reflect.ValueOf(fn).Pointer(), cfg, false)
}

// MapUnordered is [Map] with the results in the order in which jobs end; those of
// one chunk stay together. The first error to occur ends the sequence, after the
// results of jobs that ended before. (multiprocessing: imap_unordered)
func MapUnordered[T, R any](ctx context.Context, ex Executor, seq iter.Seq[T], fn func(ctx context.Context, v T) (R, error), cfg MapConfig) iter.Seq2[R, error] {
	return newMap(ctx, ex, seq, fn, reflect.ValueOf(fn).Pointer(), cfg, true)
}

// newMap is Map or MapUnordered; entry names the jobs.
func newMap[T, R any](ctx context.Context, ex Executor, seq iter.Seq[T], fn func(ctx context.Context, v T) (R, error), entry uintptr, cfg MapConfig, unordered bool) iter.Seq2[R, error] {
	switch {
	case laneOf(ex) == nil:
		panic("executor: Map without an executor: only a loop has a default one")
	case fn == nil:
		panic("executor: job without a function")
	case cfg.Chunk < 0 || cfg.Buffer < 0:
		panic("executor: MapConfig is negative")
	}
	return func(yield func(R, error) bool) {
		mayBlock(ctx, "executor: Map")
		m := &mapping[T, R]{
			ctx: ctx, lane: laneOf(ex), fn: fn, entry: entry,
			yield: yield, size: max(cfg.Chunk, 1), most: cfg.Buffer,
		}
		if m.most == 0 {
			m.most = 2 * m.lane.limit
		}
		if unordered {
			m.landed = &landing[T, R]{ready: make(chan struct{})}
		}
		defer m.stop()
		m.run(seq)
	}
}

// A mapping is a Map under way.
type mapping[T, R any] struct {
	ctx   context.Context
	lane  *Lane
	fn    func(ctx context.Context, v T) (R, error)
	entry uintptr // fn's pc
	yield func(R, error) bool
	size  int // of a chunk
	most  int // jobs ahead of the consumer

	flight []*chunk[T, R] // handed in, oldest first
	landed *landing[T, R] // those of them that are done; nil: the order is that of flight
	spare  []*chunk[T, R] // to be filled again
	read   int            // values handed in
}

// run reads the input and hands out results as it goes.
func (m *mapping[T, R]) run(seq iter.Seq[T]) {
	c, size := m.empty(), m.size
	in := c.in
	for v := range seq {
		if in = append(in, v); len(in) < size {
			continue
		}
		if !m.submit(c, in) || !m.handOut(m.most-1) {
			return
		}
		c = m.empty()
		in = c.in
	}
	if len(in) == 0 || m.submit(c, in) {
		m.handOut(0)
	}
}

// submit hands in a chunk of the values in. It reports false, having told the consumer, if ctx has
// ended.
func (m *mapping[T, R]) submit(c *chunk[T, R], in []T) bool {
	if m.ctx.Err() != nil {
		m.fail(ctxError(m.ctx))
		return false
	}
	c.first, c.done, c.in = m.read, 0, in
	m.read += len(in)
	if cap(c.out) < len(in) {
		c.out = make([]R, len(in))
	}
	c.out = c.out[:len(in)]
	c.job = hand(m.ctx, m.lane, c.call, m.entry, true)
	m.flight = append(m.flight, c)
	if m.landed != nil {
		c.job.watch(c)
	}
	return true
}

// handOut hands out the results of chunks that are done, and waits until no more
// than most are under way. It reports false when the sequence has ended.
func (m *mapping[T, R]) handOut(most int) bool {
	for len(m.flight) > 0 {
		c, err := m.take(len(m.flight) > most)
		if err != nil {
			m.fail(err)
			return false
		}
		if c == nil {
			return true
		}
		yield := m.yield
		for _, r := range c.out[:c.done] {
			if !yield(r, nil) {
				return false
			}
		}
		if err := c.job.err; err != nil {
			m.fail(&MapError{Index: c.first + c.done, Err: err})
			return false
		}
		m.spare = append(m.spare, c)
	}
	return true
}

// take returns the next chunk that is done, or nil if it would have to wait for it
// and should not.
func (m *mapping[T, R]) take(wait bool) (*chunk[T, R], error) {
	if m.landed != nil {
		return m.takeLanded(wait)
	}
	c := m.flight[0]
	if !c.job.done.Load() {
		if !wait {
			return nil, nil
		}
		if err := await(m.ctx, &c.job.handle); err != nil {
			return nil, err
		}
	}
	m.flight[0], m.flight = nil, m.flight[1:]
	return c, nil
}

func (m *mapping[T, R]) takeLanded(wait bool) (*chunk[T, R], error) {
	c, ready := m.landed.next()
	if c == nil && wait {
		one := []*handle{&m.flight[0].job.handle} // they are all of one lane
		if err := block(m.ctx, ready, nil, one); err != nil {
			return nil, err
		}
		c, _ = m.landed.next()
	}
	if c != nil {
		i := slices.Index(m.flight, c)
		m.flight = slices.Delete(m.flight, i, i+1)
	}
	return c, nil
}

func (m *mapping[T, R]) fail(err error) {
	var none R
	m.yield(none, err)
}

// stop ends what is under way.
func (m *mapping[T, R]) stop() {
	for i := len(m.flight) - 1; i >= 0; i-- { // the last first, so that none starts meanwhile
		if j := m.flight[i].job; !j.Cancel() {
			j.Interrupt(nil)
		}
	}
}

// A landing is a queue of chunks that are done.
type landing[T, R any] struct {
	mu     sync.Mutex
	chunks []*chunk[T, R]
	ready  chan struct{} // closed while there are any
}

// next returns the oldest chunk, or nil and what will be closed when there is one.
func (l *landing[T, R]) next() (*chunk[T, R], <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.chunks) == 0 {
		return nil, l.ready
	}
	c := l.chunks[0]
	l.chunks[0], l.chunks = nil, l.chunks[1:]
	if len(l.chunks) == 0 {
		l.ready = make(chan struct{})
	}
	return c, nil
}

// A chunk is some values and what becomes of them.
type chunk[T, R any] struct {
	m     *mapping[T, R]
	first int // index of in[0]
	in    []T
	call  func(ctx context.Context) (struct{}, error) // c.run, made once
	job   *Job[struct{}]

	// Of the goroutine that runs the job, until that is done.
	out  []R
	done int // results in out
}

// told puts a chunk that is done among the landed.
func (c *chunk[T, R]) told() {
	l := c.m.landed
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.chunks) == 0 {
		close(l.ready)
	}
	l.chunks = append(l.chunks, c)
}

// empty returns a chunk to be filled.
func (m *mapping[T, R]) empty() *chunk[T, R] {
	last := len(m.spare) - 1
	if last < 0 {
		c := &chunk[T, R]{m: m}
		c.call = c.run
		return c
	}
	c := m.spare[last]
	m.spare = m.spare[:last]
	c.in, c.job = c.in[:0], nil
	return c
}

// run is the job: it calls the function for each value.
func (c *chunk[T, R]) run(ctx context.Context) (struct{}, error) {
	j, fn, in := ctx.(*job), c.m.fn, c.in
	out := c.out[:len(in)]
	for i, v := range in {
		if j.ending.Load() != nil && j.Err() != nil { // the first is cheap, and nil as a rule
			return struct{}{}, j.Err()
		}
		r, err := fn(ctx, v)
		if err != nil {
			return struct{}{}, err
		}
		out[i] = r
		c.done = i + 1
	}
	return struct{}{}, nil
}
