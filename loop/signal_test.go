//go:build unix

package loop_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

// raise sends a signal to this process.
func raise(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), sig); err != nil {
		t.Fatal(err)
	}
}

// waits are the loops that a signal has to wake: in a thread of their own, in the
// runtime's poller, before a virtual clock.
func waits() map[string]loop.Config {
	return map[string]loop.Config{
		"asleep":  {Wait: loop.WaitSleep},
		"dozing":  {Wait: loop.WaitDoze},
		"auto":    {},
		"virtual": {Clock: looptest.NewClock(time.Time{})},
		"debug":   {Debug: true},
	}
}

// After each call the loop waits again: one signal that is lost, and it waits for
// ever.
func TestEdge136_ASignalWakesALoopThatWaitsInItsPoller(t *testing.T) {
	for name, cfg := range waits() {
		t.Run(name, func(t *testing.T) {
			l := open(t, cfg)
			const rounds = 200
			var got int
			next := make(chan struct{}, 1)
			stop := l.OnSignal(syscall.SIGUSR1, func() {
				if got++; got == rounds {
					l.Stop()
				}
				next <- struct{}{}
			})
			go func() {
				for i := range rounds {
					if i%10 == 0 {
						time.Sleep(time.Millisecond) // it is fast asleep
					}
					_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
					<-next
				}
			}()
			run(t, l)
			if !stop() || stop() {
				t.Error("stop must report true, once")
			}
			if got != rounds {
				t.Errorf("%d calls of %d", got, rounds)
			}
		})
	}
}

type signalKey struct{}

// What asyncio passes as arguments, fn's closure and context carry.
func TestEdge136_SignalCallbacksRunOnTheLoopInTheirContext(t *testing.T) {
	var got record
	l := open(t, loop.Config{OnError: func(e *loop.CallError) { got.add(e.Error()) }})
	inLoop := func(name string) func() {
		return func() {
			got.add(fmt.Sprint(name, " ", l.Running(), " ", l.Current(), " ", l.Context().Value(signalKey{})))
		}
	}
	l.WithValues(context.WithValue(context.Background(), signalKey{}, "value"))
	l.OnSignal(syscall.SIGUSR1, inLoop("a"))
	l.OnSignal(syscall.SIGUSR1, func() { panic("contained") })
	stop := l.OnSignal(syscall.SIGUSR1, inLoop("stopped"))
	l.OnSignal(syscall.SIGUSR1, inLoop("b"))
	l.OnSignal(syscall.SIGUSR1, func() {
		// A task can be started, and awaits.
		task.Go(l.Context(), func(ctx context.Context) error {
			defer l.Stop()
			got.add(fmt.Sprint("task ", ctx.Value(signalKey{})))
			return task.Sleep(ctx, time.Millisecond)
		})
	})
	l.OnSignal(syscall.SIGUSR2, inLoop("another signal"))
	stop()
	raise(t, syscall.SIGUSR1)
	run(t, l)
	got.want(t, "a true <nil> value", "eddy: callback: panic: contained", "b true <nil> value", "task value")
}

func TestEdge136_OnSignalRefuses(t *testing.T) {
	l := virtual(t)
	wantPanic(t, func() { l.OnSignal(syscall.SIGUSR1, nil) }, "loop: OnSignal", "nil function")
	wantPanic(t, func() { l.OnSignal(nil, func() {}) }, "loop: OnSignal", "nil signal")
	wantPanic(t, func() { l.OnSignal(syscall.SIGKILL, func() {}) }, "cannot be caught", "killed")
	wantPanic(t, func() { l.OnSignal(syscall.SIGSTOP, func() {}) }, "cannot be caught")
	closed, err := loop.New(loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	stop := closed.OnSignal(syscall.SIGUSR1, func() {})
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if stop() {
		t.Error("stop prevented what Close had ended")
	}
	wantPanic(t, func() { closed.OnSignal(syscall.SIGUSR1, func() {}) }, "OnSignal on a closed loop")
	// In debug mode, not from other goroutines.
	l = open(t, loop.Config{Debug: true})
	l.CallSoon(func() {
		defer l.Stop()
		onGoroutine(t, func() {
			wantPanic(t, func() { l.OnSignal(syscall.SIGUSR1, func() {}) }, "goroutine that is not the loop's")
		})
	})
	run(t, l)
}

// Signals that come while a call waits for its turn are one with it; one that
// comes while the call runs is another.
func TestSignalsMergeButAreNotLost(t *testing.T) {
	l := real(t)
	seen := make(chan os.Signal, 100)
	signal.Notify(seen, syscall.SIGUSR1)
	defer signal.Stop(seen)
	send := func(n int) {
		for range n {
			raise(t, syscall.SIGUSR1)
			receive(t, seen)
		}
		time.Sleep(20 * time.Millisecond) // the loop's channel may come after ours
	}
	calls := 0
	l.OnSignal(syscall.SIGUSR1, func() {
		if calls++; calls == 1 {
			send(2)
			return
		}
		l.CallLater(10*time.Millisecond, l.Stop)
	})
	send(10)
	run(t, l)
	if calls != 2 {
		t.Errorf("%d calls, want one for ten signals and one for those it sent", calls)
	}
}

func TestStopWhileACallOfTheSignalIsQueued(t *testing.T) {
	l := real(t)
	var got record
	var stopLater func() bool
	l.OnSignal(syscall.SIGUSR1, func() {
		got.add("first")
		if !stopLater() {
			t.Error("stop found nothing")
		}
		l.CallLater(time.Millisecond, l.Stop)
	})
	stopLater = l.OnSignal(syscall.SIGUSR1, got.note("stopped"))
	stopSelf := func() bool { return false }
	stopSelf = l.OnSignal(syscall.SIGUSR1, func() {
		got.add("last")
		stopSelf()
	})
	raise(t, syscall.SIGUSR1)
	run(t, l)
	got.want(t, "first", "last")
}

func TestTwoLoopsWantTheSameSignal(t *testing.T) {
	var sum atomic.Int32
	ready, ended := make(chan struct{}), make(chan bool)
	for i := range 2 {
		go func() {
			ended <- onGoroutine(t, func() {
				l, err := loop.New(loop.Config{})
				if err != nil {
					t.Error(err)
					return
				}
				stop := l.OnSignal(syscall.SIGUSR1, func() {
					sum.Add(1)
					if i == 1 { // the first one goes on to the second signal
						l.Stop()
					}
				})
				l.OnSignal(syscall.SIGUSR2, l.Stop)
				l.CallSoon(func() { ready <- struct{}{} })
				if err := l.Run(); err != nil {
					t.Error(err)
				}
				stop()
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
		}()
	}
	receive(t, ready)
	receive(t, ready)
	raise(t, syscall.SIGUSR1)
	receive(t, ended)
	raise(t, syscall.SIGUSR2)
	receive(t, ended)
	if sum.Load() != 2 {
		t.Errorf("%d loops got the signal", sum.Load())
	}
}

// A signal that has arrived before Close gives its registration back is posted,
// and what is posted is called.
func TestASignalBeforeCloseIsCalledByClose(t *testing.T) {
	l := real(t)
	called := 0
	l.OnSignal(syscall.SIGUSR1, func() { called++ })
	l.OnClose(func(context.Context) error {
		raise(t, syscall.SIGUSR1)
		time.Sleep(20 * time.Millisecond)
		return nil
	})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if called != 1 {
		t.Errorf("called %d times", called)
	}
}

func TestAVirtualClockStandsStillForASignal(t *testing.T) {
	l := virtual(t)
	var got record
	l.CallLater(time.Hour, got.note("an hour has passed"))
	var stop func() bool
	stop = l.OnSignal(syscall.SIGUSR1, func() {
		got.add("signal")
		stop()
	})
	time.AfterFunc(5*time.Millisecond, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGUSR1) })
	finish(t, l)
	got.want(t, "signal", "an hour has passed")
}

func init() {
	// Default actions end the process.
	alone := func(end func(l *loop.Loop, stops []func() bool)) func() {
		return func() {
			l, err := loop.New(loop.Config{})
			if err != nil {
				panic(err)
			}
			stops := []func() bool{
				l.OnSignal(syscall.SIGTERM, func() { fmt.Println("caught") }),
				l.OnSignal(syscall.SIGTERM, l.Stop),
			}
			_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
			fmt.Println("Run:", l.Run())
			end(l, stops)
			_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
			time.Sleep(time.Second)
			fmt.Println("still alive")
		}
	}
	children["signal, one stopped"] = alone(func(_ *loop.Loop, stops []func() bool) { stops[0]() })
	children["signal, all stopped"] = alone(func(_ *loop.Loop, stops []func() bool) { stops[0](); stops[1]() })
	// What Close does not post any more is not swallowed either.
	children["signal, closing"] = alone(func(l *loop.Loop, _ []func() bool) {
		_ = l.CallSoonThreadsafe(func() {
			_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
			time.Sleep(time.Second)
			fmt.Println("swallowed")
		})
		_ = l.Close()
	})
	children["signal, closed"] = alone(func(l *loop.Loop, _ []func() bool) { _ = l.Close() })
}

func TestStopBringsTheDefaultActionBack(t *testing.T) {
	for name, want := range map[string]string{
		"signal, one stopped": "caught\nRun: <nil>\nstill alive\n",
		"signal, all stopped": "caught\nRun: <nil>\nsignal: terminated",
		"signal, closing":     "caught\nRun: <nil>\nsignal: terminated",
		"signal, closed":      "caught\nRun: <nil>\nsignal: terminated",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := child(t, name)
			if err != nil {
				out += err.Error()
			}
			if strings.TrimSpace(out) != strings.TrimSpace(want) {
				t.Errorf("got %q, want %q", out, want)
			}
		})
	}
}

// R65: a storm of one signal neither loses another nor keeps it waiting.
func TestTimedSignalStorm(t *testing.T) {
	for name, cfg := range waits() {
		t.Run(name, func(t *testing.T) {
			l := open(t, cfg)
			storm := 100_000
			if raceEnabled {
				storm = 5_000
			}
			var calls int
			var late time.Duration
			var sent atomic.Int64 // when SIGTERM was sent, ns
			want := 3             // signals, each seen at least once
			saw := func() {
				if want--; want == 0 {
					l.Stop()
				}
			}
			l.OnSignal(syscall.SIGUSR1, func() {
				if calls++; calls == 1 {
					saw()
				}
			})
			l.OnSignal(syscall.SIGTERM, func() {
				late = time.Since(time.Unix(0, sent.Load()))
				saw()
			})
			l.OnSignal(syscall.SIGUSR2, saw)
			go func() {
				for i := range storm {
					_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
					if i == storm/2 {
						sent.Store(time.Now().UnixNano())
						_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
					}
				}
				_ = syscall.Kill(os.Getpid(), syscall.SIGUSR2)
			}()
			run(t, l)
			t.Logf("%d signals brought %d calls; SIGTERM was handled after %v", storm, calls, late)
			if calls == 0 || calls > storm || late == 0 {
				t.Errorf("%d calls, SIGTERM after %v", calls, late)
			}
			if late > 50*time.Millisecond && !raceEnabled {
				t.Errorf("SIGTERM was handled after %v", late)
			}
		})
	}
}

func BenchmarkSignal(b *testing.B) {
	l := real(b)
	b.ReportAllocs()
	n := 0
	l.OnSignal(syscall.SIGUSR1, func() {
		if n++; n >= b.N {
			l.Stop()
			return
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	})
	_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	run(b, l)
}
