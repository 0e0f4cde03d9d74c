package tlsio

import (
	"runtime"

	"github.com/eddyloop/eddy/coro"
)

// A stack runs a handshake, which suspends where it needs more bytes.
type stack interface {
	// resume runs the body until it suspends or ends, and reports whether it is
	// still alive.
	resume() bool
	// suspend is for the body.
	suspend()
	// how tells how the body ended.
	how() (coro.Exit, *coro.PanicError)
	// exit goes on with the body's Goexit. It does not return.
	exit()
}

// A worker is a stack of the loop that resumes it. Another goroutine must not: if
// the loop is locked to its thread, that is a fatal error of the runtime.
type worker struct{ *coro.Worker }

func newWorker(p *coro.Pool, body coro.Body) stack {
	w := worker{p.Get()}
	w.Begin(body)
	return w
}

func (w worker) resume() bool                       { return w.Resume() }
func (w worker) suspend()                           { w.Suspend() }
func (w worker) how() (coro.Exit, *coro.PanicError) { return w.How(), w.Panic() }
func (w worker) exit()                              { w.ReapHere() }

// A thread is a goroutine that takes turns with those who resume it, whichever
// they are. A coroutine would be a third of the cost, but knows the threads that it
// was made on and is resumed on.
type thread struct {
	body    coro.Body
	goOn    chan struct{} // from resume
	halted  chan struct{} // to resume
	started bool
	ended   bool
	exited  coro.Exit
	fault   *coro.PanicError
}

func newThread(body coro.Body) stack {
	return &thread{body: body, goOn: make(chan struct{}), halted: make(chan struct{}), exited: coro.Exited}
}

func (t *thread) resume() bool {
	if t.started {
		t.goOn <- struct{}{}
	} else {
		t.started = true
		go t.main()
	}
	<-t.halted
	return !t.ended
}

func (t *thread) suspend() {
	t.halted <- struct{}{}
	<-t.goOn
}

func (t *thread) main() {
	defer t.end()
	t.body.RunBody()
	t.exited = coro.Returned
}

// end tells the resumer how the body ended: by Goexit, unless something else is known.
func (t *thread) end() {
	if v := recover(); v != nil {
		t.exited, t.fault = coro.Panicked, coro.NewPanicError(v)
	}
	t.ended = true
	t.halted <- struct{}{}
}

func (t *thread) how() (coro.Exit, *coro.PanicError) { return t.exited, t.fault }
func (t *thread) exit()                              { runtime.Goexit() }
