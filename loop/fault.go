package loop

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"

	"github.com/eddyloop/eddy/coro"
)

// A CallError is a failure that no caller can receive. (asyncio: the context of
// an exception handler)
type CallError struct {
	Op   string // what failed: "callback", "task", "future", "close", …
	Name string // of the task, if one is concerned
	Site string // file:line where the call was arranged; debug mode only
	Err  error  // a *coro.PanicError for a panic
}

// Error returns one line without the stack.
func (e *CallError) Error() string {
	s := e.Op
	if e.Name != "" {
		s += " " + e.Name
	}
	if e.Site != "" {
		s += " (from " + e.Site + ")"
	}
	return fmt.Sprintf("eddy: %s: %v", s, e.Err)
}

// Unwrap returns Err.
func (e *CallError) Unwrap() error { return e.Err }

// Stack returns the stack of a panic, or nil.
func (e *CallError) Stack() []byte {
	var p *coro.PanicError
	if errors.As(e.Err, &p) {
		return p.Stack
	}
	return nil
}

// Report hands a failure that nobody can receive to Config.OnError. It must be
// called on the loop. (asyncio: call_exception_handler)
func (l *Loop) Report(e *CallError) { l.report(e) }

// report never fails: a handler that panics is logged, with what it was to handle.
func (l *Loop) report(e *CallError) {
	if l.cfg.OnError == nil {
		logCall(e)
		return
	}
	if l.panicked {
		// The handler itself reports: no recursion.
		logCall(e)
		return
	}
	l.panicked = true
	defer func() {
		l.panicked = false
		if v := recover(); v != nil {
			logCall(e)
			logCall(&CallError{Op: "OnError", Err: coro.NewPanicError(v)})
		}
	}()
	l.cfg.OnError(e)
}

func logCall(e *CallError) {
	if stack := e.Stack(); stack != nil {
		slog.Error(e.Error(), "stack", string(stack))
		return
	}
	slog.Error(e.Error())
}

// contain is deferred around the turns. It gives a panic of a machine's step to
// its task, reports that of a callback, and lets the loop go on. When the
// callback called Goexit it closes the loop on the way out.
func (l *Loop) contain(stopped *bool) {
	if *stopped {
		if len(l.exits) > 0 {
			l.goexit()
		}
		return
	}
	v := recover()
	r, site := l.running, l.debug.takeSite()
	l.running, l.env, l.callback = nil, l.root, nil
	if v == nil { // Goexit passes through here
		if r != nil {
			r.Fault(coro.ErrGoexit)
		}
		l.abandon()
		l.reap()
		return
	}
	l.stats.Panics++
	err := coro.NewPanicError(v)
	if r != nil {
		r.Fault(err)
		return
	}
	if l.cfg.Panic == Crash {
		panic(v)
	}
	l.report(&CallError{Op: "callback", Site: site, Err: err})
}

// Exit ends the loop for the body of w, which called runtime.Goexit: once this
// batch of calls is made, tasks are unwound, the loop is closed, and Goexit goes
// on in Run. It is for packages that run computations.
func (l *Loop) Exit(w *coro.Worker) {
	l.exits = append(l.exits, w)
	l.stopping = true
}

// goexit ends the loop and then its goroutine.
func (l *Loop) goexit() {
	l.abandon()
	l.reap()
	runtime.Goexit()
}

// abandon closes the loop although it is running.
func (l *Loop) abandon() {
	l.inTurn, l.exiting = false, true
	if err := l.Close(); err != nil {
		l.report(&CallError{Op: "close", Err: err})
	}
}

// reap frees the goroutines whose bodies called Goexit. If there is one, Goexit
// goes on in this goroutine.
func (l *Loop) reap() {
	exits := l.exits
	l.exits = nil
	for _, w := range slices.Backward(exits) {
		// Each ends this goroutine, and the deferred ones run all the same.
		defer w.ReapHere()
	}
}
