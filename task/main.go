package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
)

// Main is [Run] for programs: the first SIGINT or SIGTERM cancels main, which may
// clean up; a second one exits at once with status 130, whatever the loop does. A
// signal that main has asked for, by [loop.Loop.OnSignal] or [WaitSignal], is main's
// own and not counted. An
// error of main is printed, and the process exits with status 1, or 130 if main ended
// by the signal's cancellation. Main returns if there was none. See [Program] for
// what can be set.
func Main(main func(ctx context.Context) error) {
	Program{}.Main(main)
}

// MainConfig is [Main] with a configured loop.
func MainConfig(cfg loop.Config, main func(ctx context.Context) error) {
	Program{Loop: cfg}.Main(main)
}

// A Program configures [Main]. The zero value is right for production.
type Program struct {
	// Loop configures the loop.
	Loop loop.Config
	// Signals are those that cancel main and, the second time, end the process.
	// Default nil: os.Interrupt and SIGTERM. An empty slice: none.
	Signals []os.Signal
	// Drain is how long main, the tasks it leaves and the closing of the loop may
	// take after the first signal, by the system's clock. Then the process exits with
	// status 130, as at a second signal. Default 0: as long as they take.
	Drain time.Duration
}

// Main is [Main] with p's settings. (asyncio: Runner.run and its handling of SIGINT)
func (p Program) Main(main func(ctx context.Context) error) {
	err, interrupted := p.run(main)
	var sig *SignalError
	switch {
	case err == nil:
		return
	case interrupted && future.AsCanceled(err) != nil && errors.As(err, &sig):
		os.Exit(exitInterrupted)
	}
	fmt.Fprintln(os.Stderr, err)
	var pe *coro.PanicError
	if errors.As(err, &pe) {
		os.Stderr.Write(pe.Stack)
	}
	os.Exit(1)
}

const exitInterrupted = 130 // 128 + SIGINT, as shells report it

// run runs main, and reports whether a signal came.
func (p Program) run(main func(ctx context.Context) error) (err error, interrupted bool) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	l, err := loop.New(p.Loop)
	if err != nil {
		return err, false
	}
	stop := p.watchSignals(l, cancel)
	defer stop()
	err = join(RunOn(ctx, l, main), l.Close())
	return err, context.Cause(ctx) != nil
}

// watchSignals cancels at the first signal, and ends the process at the second or
// when the time to drain is over. This is a goroutine's work, not a callback's of the
// loop's OnSignal, because it must get done while a callback blocks the loop.
func (p Program) watchSignals(l *loop.Loop, cancel context.CancelCauseFunc) (stop func()) {
	signals := p.Signals
	if signals == nil {
		signals = []os.Signal{os.Interrupt, syscall.SIGTERM}
	}
	arrived := make(chan os.Signal, 2)
	if len(signals) > 0 { // to package os/signal none means all
		signal.Notify(arrived, signals...)
	}
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		if first := nextSignal(l, arrived, nil, ended); first != nil {
			cancel(&SignalError{first})
			p.drain(l, first, arrived, ended)
		}
	}()
	return func() {
		close(ended)
		<-watched
		signal.Stop(arrived)
	}
}

// nextSignal returns the next signal that is not the program's own, or nil when main
// has ended or the time is over.
func nextSignal(l *loop.Loop, arrived <-chan os.Signal, late <-chan time.Time, ended <-chan struct{}) os.Signal {
	for {
		select {
		case s := <-arrived:
			if !l.WantsSignal(s) {
				return s
			}
		case <-late:
			return nil
		case <-ended:
			return nil
		}
	}
}

// drain returns when main has ended, and exits if that takes too long.
func (p Program) drain(l *loop.Loop, first os.Signal, arrived <-chan os.Signal, ended <-chan struct{}) {
	var late <-chan time.Time
	if p.Drain > 0 {
		timer := time.NewTimer(p.Drain)
		defer timer.Stop()
		late = timer.C
	}
	if nextSignal(l, arrived, late, ended) == nil {
		select {
		case <-ended:
			return
		default:
		}
		fmt.Fprintf(os.Stderr, "task: main has not ended within %v of signal %q; exiting\n", p.Drain, first)
	}
	os.Exit(exitInterrupted)
}

// A SignalError is the cause of the cancellation by which [Main] ends main.
type SignalError struct{ Signal os.Signal }

// Error names the signal.
func (e *SignalError) Error() string { return "signal: " + e.Signal.String() }
