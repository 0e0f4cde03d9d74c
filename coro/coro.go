package coro

import "errors"

var (
	// ErrClosed is what yield returns in a body that is being closed. A body
	// should return on it; what it returns then is not a failure if it is
	// ErrClosed. (Python's GeneratorExit.)
	ErrClosed = errors.New("coro: closed")

	// ErrIgnoredClose is returned by [Coro.Close] when the body answered by
	// yielding again. The body has been unwound.
	ErrIgnoredClose = errors.New("coro: body ignored Close")
)

// A State is where a coroutine stands.
type State uint8

// The states of a coroutine.
const (
	Created   State = iota // made, not started
	Running                // its body runs, or waits for a coroutine that it resumed
	Suspended              // in yield
	Closed                 // the body has returned, panicked, or was closed
)

// String returns the state's name.
func (s State) String() string {
	return [...]string{"created", "running", "suspended", "closed"}[s]
}

// A Coro is a function that can be suspended: it takes values of type In, yields
// values of type Out, and returns an R. It must be used by one goroutine at a
// time. A Coro that was started must be run to its end or closed, else its stack
// stays for ever.
//
// In a task a body may wait, with the ctx of the task that resumes it; then Next,
// Send, Throw, Close and All suspend that task. (Python: asynchronous generator)
//
//	Created --Next--> Running <--yield / Next, Send, Throw--> Suspended
//	Created --Close, Throw--> Closed <--body ends-- Running
type Coro[In, Out, R any] struct {
	body  func(yield func(Out) (In, error)) (R, error)
	w     *Worker
	pool  *Pool
	state State

	in     In
	thrown error
	out    Out
	result R
	err    error
}

// New returns a coroutine that has not started. Its stack is made at the first
// Next and freed at the end.
func New[In, Out, R any](body func(yield func(Out) (In, error)) (R, error)) *Coro[In, Out, R] {
	return &Coro[In, Out, R]{body: body}
}

// NewIn is New with a stack borrowed from p: in a task, from the loop's Coroutines().
// The loop takes back only what has ended: a coroutine left open when the loop is
// closed keeps its stack until Close.
func NewIn[In, Out, R any](p *Pool, body func(yield func(Out) (In, error)) (R, error)) *Coro[In, Out, R] {
	return &Coro[In, Out, R]{body: body, pool: p}
}

// State returns where the coroutine stands.
func (c *Coro[In, Out, R]) State() State { return c.state }

// Result returns what the body returned. Before the end the error is
// [ErrNotDone]. A panic of the body is a [*PanicError]; a coroutine closed
// before its end has ErrClosed, one that got an error before it started has that.
func (c *Coro[In, Out, R]) Result() (R, error) {
	if c.state != Closed {
		var zero R
		return zero, ErrNotDone
	}
	return c.result, c.err
}

// ErrNotDone is returned by [Coro.Result] before the body has ended.
var ErrNotDone = errors.New("coro: not done")

// Next resumes the body with the zero In and returns what it yields next. It
// returns false when the body has ended: see Result. It panics if called by the
// body itself.
func (c *Coro[In, Out, R]) Next() (Out, bool) {
	var zero In
	return c.resume(zero, nil)
}

// Send resumes the body with v, which its yield returns, and returns what it
// yields next, or false at the end. A coroutine that was not started has no
// yield to return v: Send panics.
func (c *Coro[In, Out, R]) Send(v In) (Out, bool) {
	if c.state == Created {
		panic("coro: Send to a coroutine that has not started")
	}
	return c.resume(v, nil)
}

// Throw resumes the body with err, which its yield returns, and returns what it
// yields next, or false at the end. One that has not started is closed with err
// as its outcome; one that has ended stays as it is.
func (c *Coro[In, Out, R]) Throw(err error) (Out, bool) {
	var in In
	if c.state == Created {
		c.end(err)
	}
	return c.resume(in, err)
}

// Close ends the coroutine. If it has not started, its body never runs. If it is
// suspended, its yield returns [ErrClosed]; a body that yields again is unwound,
// its deferred calls run, and Close returns [ErrIgnoredClose]. Otherwise Close
// returns the body's error unless that is ErrClosed. Closing twice is harmless.
func (c *Coro[In, Out, R]) Close() error {
	switch c.state {
	case Running:
		panic("coro: closed while running")
	case Created:
		c.end(ErrClosed)
		return nil
	case Closed:
		return nil
	}
	var in In
	if _, alive := c.resume(in, ErrClosed); alive {
		w := c.w
		ended := w.Unwind(maxUnwind)
		c.end(ErrIgnoredClose)
		switch {
		case ended && w.How() == Panicked:
			c.err = errors.Join(ErrIgnoredClose, w.Panic())
		case ended && w.How() == Exited:
			w.ReapHere() // does not return
		}
		return c.err
	}
	if isClosed(c.err) {
		return nil
	}
	return c.err
}

// maxUnwind is how often a body may recover from being unwound before it is
// given up with its stack.
const maxUnwind = 100

// All returns the values that the body yields, resumed by Next. Leaving the loop
// early closes the coroutine. A panic of the body goes on in the loop; another
// error, also one of closing, is left to Result.
func (c *Coro[In, Out, R]) All() func(yield func(Out) bool) {
	return func(yield func(Out) bool) {
		defer func() { // by a panic or Goexit
			if c.state == Suspended {
				c.Close()
			}
		}()
		for {
			v, ok := c.Next()
			if ok && yield(v) {
				continue
			}
			if ok {
				_ = c.Close()
			}
			var p *PanicError
			if errors.As(c.err, &p) {
				panic(p)
			}
			return
		}
	}
}

func (c *Coro[In, Out, R]) resume(in In, thrown error) (out Out, alive bool) {
	switch c.state {
	case Running:
		panic("coro: resumed while running")
	case Closed:
		return out, false
	case Created:
		c.w = c.pool.worker()
		c.w.Begin(c)
	}
	c.in, c.thrown = in, thrown
	c.state = Running
	if c.w.Resume() {
		c.state = Suspended
		out, c.out = c.out, out
		return out, true
	}
	switch w := c.w; w.How() {
	case Panicked:
		c.end(w.Panic())
	case Unwound:
		c.end(ErrClosed)
	case Exited:
		c.end(ErrGoexit)
		w.ReapHere() // does not return
	default:
		c.end(c.err)
	}
	return out, false
}

// worker returns a worker of the pool, or one of its own if there is no pool.
func (p *Pool) worker() *Worker {
	if p == nil {
		return &Worker{}
	}
	return p.Get()
}

func (c *Coro[In, Out, R]) end(err error) {
	c.state, c.err = Closed, err
	c.w, c.body = nil, nil
}

// RunBody implements [Body]. It is not for callers.
func (c *Coro[In, Out, R]) RunBody() {
	c.result, c.err = c.body(func(v Out) (In, error) {
		c.out = v
		c.w.Suspend()
		var zero In
		in, thrown := c.in, c.thrown
		c.in, c.thrown = zero, nil
		return in, thrown
	})
}
