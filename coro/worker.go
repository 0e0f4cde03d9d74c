package coro

import (
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
)

// ErrGoexit is the outcome of a body that called [runtime.Goexit], as
// testing.T.FailNow does.
var ErrGoexit = errors.New("coro: body called runtime.Goexit")

// A PanicError is a panic of a body, or of a callback, made into an error.
type PanicError struct {
	Value any    // what panic was called with
	Stack []byte // of the goroutine that panicked, as debug.Stack prints it
}

// NewPanicError returns the PanicError for a value just recovered. It must be
// called by the deferred function that recovered it, while the stack is there.
func NewPanicError(v any) *PanicError {
	return &PanicError{Value: v, Stack: debug.Stack()}
}

// Error returns the panic's value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// unwind is what Suspend panics with to end a body that does not end by itself.
type unwind struct{}

// Error makes the sentinel legible where a body's own recover prints it.
func (unwind) Error() string { return "coro: unwinding a body that was closed" }

// A Body is what a [Worker] runs.
type Body interface {
	// RunBody runs from the first Resume to the end. It may call Suspend.
	RunBody()
}

// An Exit says how a body ended.
type Exit uint8

// How a body ended.
const (
	Returned Exit = iota // RunBody returned
	Panicked             // RunBody panicked: see Panic
	Unwound              // RunBody was ended by Unwind
	Exited               // RunBody called runtime.Goexit; the worker is spent
)

// A Worker is a stack on which bodies run, one after another. Make it with
// [Pool.Get]. It must be used by one goroutine at a time, the one that made it
// as far as thread locking goes.
//
//	idle --Begin--> ready --Resume--> running <--Suspend/Resume--> suspended
//	running --body ends--> idle (in its pool) or spent
type Worker struct {
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	pool  *Pool
	body  Body
	fault *PanicError

	// Chain allows the next body to begin where one has returned, without a
	// switch: see Pool.Next. It is set before Resume.
	Chain bool

	active  bool // a body has begun and not ended
	running bool // between Resume and Suspend
	tries   int  // how often Suspend will yet panic, during Unwind
	exit    Exit
}

// Begin gives an idle worker its next body. Nothing runs before Resume.
func (w *Worker) Begin(b Body) {
	w.body = b
	w.active = true
	w.exit = Returned
	w.fault = nil
	w.Chain = false
}

// Resume runs the body until it suspends or ends, and reports whether it is
// still alive. When it is not, [Worker.How] says how it ended, and the worker is
// back in its pool: read How and Panic before the pool is used again.
func (w *Worker) Resume() bool {
	// Small enough to be inlined: after a switch of stacks the processor
	// mispredicts every return.
	w.enter()
	w.next()
	w.running = false
	return w.active || w.retire()
}

func (w *Worker) enter() {
	if w.running {
		panic("coro: resumed while running")
	}
	w.running = true
	if w.next == nil {
		w.next, w.stop = iter.Pull(w.main)
	}
}

// retire puts the worker away whose body has ended.
func (w *Worker) retire() (alive bool) {
	if w.exit != Exited {
		w.pool.put(w)
	}
	return false
}

// Suspend stops the body until the next Resume. It must be called by the body
// that runs on w, or by a coroutine that this body resumed.
func (w *Worker) Suspend() {
	if w.tries > 0 {
		w.fall()
	}
	w.yield(struct{}{})
	if w.tries > 0 {
		w.fall()
	}
}

// fall makes one try at unwinding the body.
func (w *Worker) fall() {
	w.tries--
	panic(unwind{})
}

// Unwind ends a suspended body by force: its Suspend panics, its deferred calls
// run, and if it recovers and suspends again it panics again, up to tries times.
// It reports whether the body ended; one that did not is lost with its stack.
func (w *Worker) Unwind(tries int) bool {
	if !w.active {
		return true
	}
	w.tries = tries
	alive := w.Resume() // suspended again: it has used up the tries
	w.tries = 0
	return !alive
}

// How tells how the last body ended.
func (w *Worker) How() Exit { return w.exit }

// Panic returns what the last body panicked with, or nil.
func (w *Worker) Panic() *PanicError { return w.fault }

// ReapHere frees the goroutine of a worker whose body called runtime.Goexit. It
// does not return: it goes on with the body's Goexit in the calling goroutine.
func (w *Worker) ReapHere() { w.stop() }

// main runs bodies until the worker is stopped.
func (w *Worker) main(yield func(struct{}) bool) {
	w.yield = yield
	defer w.lastWords()
	for {
		w.runBody()
		if w.exit == Returned && w.Chain {
			if b := w.pool.Next(w); b != nil {
				w.body = b
				continue
			}
		}
		w.active = false
		w.body = nil
		if !yield(struct{}{}) {
			return
		}
	}
}

// runBody contains what a body does: the panic is caught here, on its own stack.
func (w *Worker) runBody() {
	ended := false
	defer func() {
		if ended {
			return
		}
		switch v := recover().(type) {
		case nil: // not a panic: runtime.Goexit goes on to lastWords
			w.exit = Exited
		case unwind:
			w.exit = Unwound
		default:
			w.exit = Panicked
			w.fault = NewPanicError(v)
		}
	}()
	w.body.RunBody()
	ended = true
}

// lastWords tells the resumer that the body left by Goexit. Yielding is allowed
// during Goexit; the goroutine ends when the worker is reaped.
func (w *Worker) lastWords() {
	if w.exit == Exited {
		w.active = false
		w.body = nil
		w.yield(struct{}{})
	}
}

// maxIdle bounds the stacks a pool keeps: 1,024 of them are some 3 MB.
const maxIdle = 1024

// A Pool keeps workers that have finished a body for the next one. The zero
// value is an empty pool. It must be used by one goroutine at a time.
type Pool struct {
	// Next is asked for another body to begin at once when one has returned on a
	// worker with Chain set. It runs on the worker's stack. It must not be nil
	// then, and may return nil.
	Next func(w *Worker) Body

	idle   []*Worker
	closed bool
}

// Get returns an idle worker, or a new one. A new one makes its goroutine at its
// first Resume.
func (p *Pool) Get() *Worker {
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		return w
	}
	return &Worker{pool: p}
}

// put takes a worker back. A worker of no pool, of a full one or of a closed one
// is stopped.
func (p *Pool) put(w *Worker) {
	w.tries = 0
	if p == nil || p.closed || len(p.idle) >= maxIdle {
		w.stop()
		return
	}
	p.idle = append(p.idle, w)
}

// Close stops the idle workers, and from now on every worker that becomes idle.
func (p *Pool) Close() {
	p.closed = true
	for _, w := range p.idle {
		w.stop()
	}
	p.idle = nil
}

// Idle returns how many workers wait for a body.
func (p *Pool) Idle() int { return len(p.idle) }
