package loop

import (
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/eddyloop/eddy/internal/env"
)

// OnSignal arranges for fn to be called on the loop each time that the process
// gets sig, also while the loop sleeps. It may be called several times for one
// signal: the functions are called in the order of registration, each in the
// context that OnSignal was called in (see [Loop.Context]). Several loops may
// want the same signal; each gets it.
//
// Signals are never lost, but merge: those that come while a call of fn is
// waiting for its turn are one with it. One that comes while fn runs brings
// another call.
//
// stop ends the registration and reports whether it did: false the second time
// and after Close. When the last registration of a signal in the process ends,
// and nobody else has asked package os/signal for it, the signal has its default
// action again: SIGTERM kills. Close ends all registrations, after tasks and
// executors have ended. A virtual clock stands still while there is one.
//
// Under task.Main a signal that something is registered for is the program's own:
// Main does not end main by it, the first time or the second.
//
// OnSignal and stop must be called on the loop. OnSignal panics if fn is nil, if
// sig is nil or cannot be caught, as SIGKILL and SIGSTOP cannot, and if the loop
// is closed. (asyncio: add_signal_handler, remove_signal_handler)
func (l *Loop) OnSignal(sig os.Signal, fn func()) (stop func() bool) {
	switch {
	case fn == nil:
		panic("loop: OnSignal with a nil function")
	case sig == nil:
		panic("loop: OnSignal of a nil signal")
	case uncatchable(sig):
		panic("loop: OnSignal of a signal that cannot be caught: " + sig.String())
	}
	if l.strict {
		l.check("OnSignal")
		fn = l.site(fn)
	}
	c := &signalCall{fn: fn, env: l.capture()}
	w := l.watchSignal(sig, c)
	return func() bool {
		if l.strict && !l.closed {
			l.check("stop of OnSignal")
		}
		c.fn = nil // also if it is posted
		return l.dropSignal(w, c)
	}
}

// A signalCall is a registration of OnSignal. pending is set from the signal to
// the call; it is what makes signals merge, and what bounds the posts of a storm.
type signalCall struct {
	fn      func() // nil once stopped; on the loop
	env     *env.Env
	pending atomic.Bool
}

// Run makes the call. A signal that comes from now on brings another.
func (c *signalCall) Run() {
	c.pending.Store(false)
	if c.fn != nil {
		c.env.Loop.(*Loop).CallIn(c.env, c.fn)
	}
}

// A signalWatch is what a loop does about one signal. Package os/signal never
// waits for its receivers; it drops a signal if the channel is full. Nothing but
// a signal's multiplicity is lost so: what is in the channel has yet to be seen by
// the goroutine, which then posts every call that is not pending.
type signalWatch struct {
	l       *Loop
	sig     os.Signal
	arrived chan os.Signal
	done    chan struct{} // closed when the goroutine has ended

	mu    sync.Mutex
	calls []*signalCall // in the order of registration
}

// watchSignal adds c to the calls for a signal.
func (l *Loop) watchSignal(sig os.Signal, c *signalCall) *signalWatch {
	for _, w := range l.signals {
		if w.sig == sig {
			w.mu.Lock()
			w.calls = append(w.calls, c)
			w.mu.Unlock()
			return w
		}
	}
	w := &signalWatch{
		l: l, sig: sig, calls: []*signalCall{c},
		arrived: make(chan os.Signal, 1), done: make(chan struct{}),
	}
	l.signals = append(l.signals, w)
	l.wanted.add(sig)
	go w.forward()
	signal.Notify(w.arrived, sig) // last: from now on the signal has no other action
	return w
}

// forward posts the calls each time that the signal has arrived.
func (w *signalWatch) forward() {
	defer close(w.done)
	for range w.arrived {
		w.mu.Lock()
		for _, c := range w.calls {
			if c.pending.CompareAndSwap(false, true) {
				_ = w.l.QueueThreadsafe(c) // Close ends the watch before it refuses posts
			}
		}
		w.mu.Unlock()
	}
}

// dropSignal takes out a call and reports whether it was there. The last one gives
// the signal back.
func (l *Loop) dropSignal(w *signalWatch, c *signalCall) bool {
	w.mu.Lock()
	i := slices.Index(w.calls, c)
	if i >= 0 {
		w.calls = slices.Delete(w.calls, i, i+1)
	}
	last := i >= 0 && len(w.calls) == 0
	w.mu.Unlock()
	if last {
		l.signals = slices.DeleteFunc(l.signals, func(x *signalWatch) bool { return x == w })
		l.wanted.remove(w.sig)
		w.end()
	}
	return i >= 0
}

// end gives the signal back and ends the goroutine. What has arrived by then is
// posted.
func (w *signalWatch) end() {
	signal.Stop(w.arrived)
	close(w.arrived)
	<-w.done
}

// endSignals gives all signals back. Calls that are posted already will be made.
func (l *Loop) endSignals() {
	for _, w := range l.signals {
		l.wanted.remove(w.sig)
		w.end()
		w.calls = nil // the goroutine has ended
	}
	l.signals = nil
}

// WantsSignal reports whether something is registered for sig by OnSignal. It may be
// called from any goroutine; it is for those who otherwise handle the signal.
func (l *Loop) WantsSignal(sig os.Signal) bool {
	l.wanted.mu.Lock()
	defer l.wanted.mu.Unlock()
	return slices.Contains(l.wanted.sigs, sig)
}

// A signalSet holds the signals that a loop wants, for other goroutines to see.
type signalSet struct {
	mu   sync.Mutex
	sigs []os.Signal
}

func (s *signalSet) add(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sigs = append(s.sigs, sig)
}

func (s *signalSet) remove(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sigs = slices.DeleteFunc(s.sigs, func(x os.Signal) bool { return x == sig })
}
