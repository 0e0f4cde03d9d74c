package executor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
)

// registry is what the program has registered. A worker process is the same program,
// so it finds the same by name: this is why the registry belongs to the program, as
// that of gob.Register does, and not to a pool.
var registry = struct {
	mu     sync.RWMutex
	funcs  map[string]servable
	codecs map[string]Codec
}{
	funcs:  make(map[string]servable),
	codecs: map[string]Codec{"gob": gobCodec{}, "json": jsonCodec{}},
}

// A Func is a function that worker processes know by its name. Make it with
// [Register]. Its methods may be called from any goroutine, Do and Submit on the
// loop.
type Func[A, R any] struct {
	entry *entry[A, R]
	cfg   CallConfig
}

// An entry is a registered function.
type entry[A, R any] struct {
	name string
	fn   func(ctx context.Context, arg A) (R, error)
	pc   uintptr // of fn
}

// CallConfig configures the calls of a Func. The zero value is right for production.
type CallConfig struct {
	// Timeout is how long a call, or in a Map a chunk of calls, may take, from when the
	// worker begins with it. It is time of the system, not of a loop's clock. Then
	// its ctx ends, and if it has not answered after ProcessConfig.Grace its worker is
	// killed. Either way its error is context.DeadlineExceeded to errors.Is. Default 0:
	// no limit.
	Timeout time.Duration
	// Retries is how many times more a call is made when its worker has died, or hangs.
	// Set it only if the function is idempotent: it may have been called to its end.
	// What the function returns, its panics, and the end of Timeout are answers, and
	// are not retried. Default 0: the call fails with ErrWorkerDied.
	Retries int
}

// Register makes fn known by name, to this process and, because they run the same
// program, to worker processes. It is for package level:
//
//	var sum = executor.Register("sum", func(ctx context.Context, n int) (int, error) {
//		...
//	})
//
// What is registered later than [WorkerMain] is called, or only on some condition,
// may be missing in workers: then calls fail with [ErrUnregistered]. Register panics
// if the name is taken, or fn is nil.
//
// fn runs in a worker process, one call at a time there. Its ctx ends when the call
// is canceled or its Timeout is over; it carries no values. What fn prints goes to
// the standard output and error of the pool's process. (multiprocessing: what is
// importable by name)
func Register[A, R any](name string, fn func(ctx context.Context, arg A) (R, error)) *Func[A, R] {
	if fn == nil {
		panic("executor: Register of a nil function")
	}
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if registry.funcs[name] != nil {
		panic("executor: Register of " + name + " twice")
	}
	e := &entry[A, R]{name: name, fn: fn, pc: reflect.ValueOf(fn).Pointer()}
	registry.funcs[name] = e
	return &Func[A, R]{entry: e}
}

// A Pair is two arguments as one. (multiprocessing: the tuples of starmap)
type Pair[A, B any] struct {
	A A
	B B
}

// Register2 is [Register] for a function of two arguments.
func Register2[A, B, R any](name string, fn func(ctx context.Context, a A, b B) (R, error)) *Func[Pair[A, B], R] {
	if fn == nil {
		panic("executor: Register of a nil function")
	}
	f := Register(name, func(ctx context.Context, p Pair[A, B]) (R, error) { return fn(ctx, p.A, p.B) })
	f.entry.pc = reflect.ValueOf(fn).Pointer()
	return f
}

// Pairs makes the input of a Map of a function of two arguments. (multiprocessing:
// starmap)
func Pairs[A, B any](seq iter.Seq2[A, B]) iter.Seq[Pair[A, B]] {
	return func(yield func(Pair[A, B]) bool) {
		for a, b := range seq {
			if !yield(Pair[A, B]{a, b}) {
				return
			}
		}
	}
}

// RegisterCodec makes a codec of one's own known to worker processes. It must be
// called when the program starts, like [Register], and panics if the name is taken.
func RegisterCodec(c Codec) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if registry.codecs[c.Name()] != nil {
		panic("executor: RegisterCodec of " + c.Name() + " twice")
	}
	registry.codecs[c.Name()] = c
}

func codecNamed(name string) Codec {
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	return registry.codecs[name]
}

func funcNamed(name string) servable {
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	return registry.funcs[name]
}

// Name returns the name that the function is registered by.
func (f *Func[A, R]) Name() string { return f.entry.name }

// With returns the same function with other settings for its calls. It panics if one
// is negative.
func (f *Func[A, R]) With(cfg CallConfig) *Func[A, R] {
	if cfg.Timeout < 0 || cfg.Retries < 0 {
		panic("executor: CallConfig is negative")
	}
	return &Func[A, R]{f.entry, cfg}
}

// Go hands a call to p and returns the job at once, as the function [Go] does with
// its errors. arg belongs to the job until that is done: it is encoded when a place
// is there. The job's error may further be the function's, a [*RemoteError];
// [*coro.PanicError], with the stack in the worker, and [ErrGoexit]; [ErrWorkerDied],
// [ErrNoWorker], [ErrUnregistered], [ErrTooLarge], [ErrEncode], [ErrDecode]. Its
// ctx's end is the end of that in the worker. (concurrent.futures: submit)
func (f *Func[A, R]) Go(p *ProcessPool, arg A) *Job[R] {
	return hand(context.Background(), p.lane(), f.job(p, arg), f.entry.pc, false)
}

// Submit is Go on a loop: it returns a future, as the function [Submit] does. When
// that is canceled, the ctx of the call in the worker ends; if it does not answer
// within ProcessConfig.Grace its worker is killed. It must be called on the loop.
// (asyncio: run_in_executor)
func (f *Func[A, R]) Submit(l *loop.Loop, p *ProcessPool, arg A) *future.Future[R] {
	return start(context.Background(), l, p.lane(), f.job(p, arg), f.entry.pc, false)
}

// Do calls the function in a worker of p, and suspends the calling task until it has
// answered. While the queue is full the task waits for a place. The error is one of
// Go's except ErrQueueFull, or that of the interruption. Do panics outside of a task.
//
// Cancel safety: as that of the function [Do].
func (f *Func[A, R]) Do(ctx context.Context, p *ProcessPool, arg A) (R, error) {
	return do(ctx, p, f.job(p, arg), f.entry.pc)
}

// job returns a call as a function for a place of p.
func (f *Func[A, R]) job(p *ProcessPool, arg A) func(ctx context.Context) (R, error) {
	if p == nil {
		panic("executor: call without a ProcessPool")
	}
	return func(ctx context.Context) (R, error) {
		r, err := f.call(ctx, p, arg)
		return r, noted(ctx, err)
	}
}

// noted counts a panic in a worker as one of the job that ctx is, and returns err.
func noted(ctx context.Context, err error) error {
	if _, ok := err.(*coro.PanicError); ok {
		ctx.(*job).panicked = true
	}
	return err
}

// Call calls the function in a worker of the pool that runs the job that ctx belongs
// to, and blocks the job until it has answered. It is for functions that take a
// function, so that
//
//	for r, err := range executor.Map(ctx, pool, seq, sum.Call, executor.MapConfig{})
//
// works with a ProcessPool. It panics outside of a job of a ProcessPool.
//
// Cancel safety: when ctx ends, the ctx of the call in the worker does, and Call
// returns when that has answered, or has been killed after ProcessConfig.Grace.
func (f *Func[A, R]) Call(ctx context.Context, arg A) (R, error) {
	j := jobOf(ctx)
	if j == nil || j.lane.pool.procs == nil {
		panic("executor: Func.Call outside of a job of a ProcessPool")
	}
	return f.call(ctx, j.lane.pool.procs, arg)
}

func (f *Func[A, R]) call(ctx context.Context, p *ProcessPool, arg A) (r R, err error) {
	c := p.newCall(f.entry.name, f.cfg, 0)
	defer c.free()
	if err := c.argument(encode(&c.msg, p.codec, &arg)); err != nil {
		return r, err
	}
	if err := c.run(ctx); err != nil {
		return r, err
	}
	if c.failed != nil {
		return r, c.failed.error(c.name)
	}
	return r, c.result(decode(p.codec, c.answer.Payload, &r))
}

// callChunk calls the function for several values in one job. The results are those
// before the first error.
func (f *Func[A, R]) callChunk(ctx context.Context, p *ProcessPool, args []A) ([]R, error) {
	c := p.newCall(f.entry.name, f.cfg, len(args))
	defer c.free()
	if err := c.argument(encodeSlice(&c.msg, p.codec, args)); err != nil {
		return nil, err
	}
	if err := c.run(ctx); err != nil {
		return nil, err
	}
	n, data := len(args), c.answer.Payload
	if c.failed != nil {
		n, data = c.failed.Done, c.failed.Results
	}
	rs, err := decodeSlice[R](p.codec, data, n)
	switch {
	case err != nil:
		return nil, c.result(err)
	case c.failed != nil:
		return rs, c.failed.error(c.name)
	}
	return rs, nil
}

// Map calls the function for the values of seq in workers of p, and returns the
// results in the order of seq, as the function [Map] does. The values of a
// MapConfig.Chunk go to one worker in one message, and so it fails as a whole if
// that dies. (multiprocessing: imap, with chunksize)
func (f *Func[A, R]) Map(ctx context.Context, p *ProcessPool, seq iter.Seq[A], cfg MapConfig) iter.Seq2[R, error] {
	return f.mapping(ctx, p, seq, cfg, false)
}

// MapUnordered is Map with the results in the order in which they come, as the
// function [MapUnordered] has them. (multiprocessing: imap_unordered)
func (f *Func[A, R]) MapUnordered(ctx context.Context, p *ProcessPool, seq iter.Seq[A], cfg MapConfig) iter.Seq2[R, error] {
	return f.mapping(ctx, p, seq, cfg, true)
}

func (f *Func[A, R]) mapping(ctx context.Context, p *ProcessPool, seq iter.Seq[A], cfg MapConfig, unordered bool) iter.Seq2[R, error] {
	size := cfg.Chunk
	if size <= 1 {
		one := func(ctx context.Context, arg A) (R, error) {
			r, err := f.call(ctx, p, arg)
			return r, noted(ctx, err)
		}
		return newMap(ctx, p, seq, one, f.entry.pc, cfg, unordered)
	}
	cfg.Chunk = 0
	some := func(ctx context.Context, args chunkIn[A]) (chunkOut[R], error) {
		rs, err := f.callChunk(ctx, p, args.values)
		return chunkOut[R]{args.first, rs, noted(ctx, err)}, nil
	}
	out := newMap(ctx, p, chunksOf(seq, size), some, f.entry.pc, cfg, unordered)
	return flatten(out, size)
}

// A chunkIn is some values of an input, and the index of the first.
type chunkIn[A any] struct {
	first  int
	values []A
}

// A chunkOut is what became of them: err is that of the value after results.
type chunkOut[R any] struct {
	first   int
	results []R
	err     error
}

func chunksOf[A any](seq iter.Seq[A], size int) iter.Seq[chunkIn[A]] {
	return func(yield func(chunkIn[A]) bool) {
		var c chunkIn[A]
		for v := range seq {
			if c.values = append(c.values, v); len(c.values) < size {
				continue
			}
			if !yield(c) {
				return
			}
			c = chunkIn[A]{first: c.first + size, values: make([]A, 0, size)}
		}
		if len(c.values) > 0 {
			yield(c)
		}
	}
}

// flatten returns the results of a Map of chunks as those of a Map of values.
func flatten[R any](seq iter.Seq2[chunkOut[R], error], size int) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var none R
		for c, err := range seq {
			if err != nil {
				var whole *MapError
				if errors.As(err, &whole) { // of a job that never came to its function
					err = &MapError{Index: whole.Index * size, Err: whole.Err}
				}
				yield(none, err)
				return
			}
			for _, r := range c.results {
				if !yield(r, nil) {
					return
				}
			}
			if c.err != nil {
				yield(none, &MapError{Index: c.first + len(c.results), Err: c.err})
				return
			}
		}
	}
}

// A Bound is a function with its argument, as ProcessConfig.Init wants it. The zero
// value is none. Make it with Func.Bind.
type Bound struct {
	name   string
	encode func(m *message, c Codec) error
}

// Bind returns the function together with arg.
func (f *Func[A, R]) Bind(arg A) Bound {
	return Bound{f.entry.name, func(m *message, c Codec) error { return encode(m, c, &arg) }}
}

// argument names err, of encoding the argument.
func (c *pcall) argument(err error) error {
	if err != nil {
		return fmt.Errorf("argument of %s: %w", c.name, err)
	}
	return nil
}

// result names err, of decoding the result.
func (c *pcall) result(err error) error {
	if err != nil {
		return fmt.Errorf("result of %s: %w", c.name, err)
	}
	return nil
}
