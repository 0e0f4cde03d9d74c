package thread_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eddyloop/eddy/thread"
)

// logged catches what is logged by package log/slog until the test ends.
func logged(t *testing.T) *bytes.Buffer {
	t.Helper()
	buf := new(bytes.Buffer)
	before, writer, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(slog.NewTextHandler(buf, nil)))
	t.Cleanup(func() {
		slog.SetDefault(before)
		log.SetOutput(writer)
		log.SetFlags(flags)
	})
	return buf
}

func TestThreadLife(t *testing.T) {
	bubble(t, func(t *testing.T) {
		th := thread.New(thread.Config{Name: "worker"}, func(ctx context.Context) error {
			time.Sleep(time.Second)
			return nil
		})
		wantPanic(t, "thread: Join of a Thread that was not started", func() { _ = th.Join(bg) })
		if th.Alive() || th.Err() != nil {
			t.Errorf("before Start: alive %v, %v", th.Alive(), th.Err())
		}
		th.Start(bg)
		wantPanic(t, "thread: Thread was started twice", func() { th.Start(bg) })
		wantErr(t, th.JoinTimeout(bg, 999*time.Millisecond), thread.ErrTimeout)
		if !th.Alive() || th.Err() != nil {
			t.Errorf("in between: alive %v, %v", th.Alive(), th.Err())
		}
		for range 2 {
			must(t, th.Join(bg))
		}
		<-th.Ended()
		if th.Alive() || th.Err() != nil {
			t.Errorf("at the end: alive %v, %v", th.Alive(), th.Err())
		}
		wantPanic(t, "thread: Thread was started twice", func() { th.Start(bg) })
	})
}

func TestThreadNames(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"worker", "worker"},
		{"", "github.com/eddyloop/eddy/thread_test.body"},
	} {
		th := thread.New(thread.Config{Name: tt.name}, body)
		if th.Name() != tt.want || th.String() != tt.want {
			t.Errorf("%q and %q, want %q", th.Name(), th, tt.want)
		}
		th.SetName("other")
		if th.Name() != "other" {
			t.Errorf("%q after SetName", th.Name())
		}
	}
	wantPanic(t, "thread: Thread without a body", func() { thread.New(thread.Config{}, nil) })
}

func body(context.Context) error { return nil }

func TestThreadContext(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(bg, key{}, "value"))
	if thread.FromContext(ctx) != nil {
		t.Error("a thread where there is none")
	}
	var th *thread.Thread
	th = thread.New(thread.Config{Name: "worker"}, func(ctx context.Context) error {
		if ctx.Value(key{}) != "value" || thread.FromContext(ctx) != th {
			t.Error("ctx has not the value, or not the thread")
		}
		if label, _ := pprof.Label(ctx, "thread"); label != "worker" {
			t.Errorf("label %q", label)
		}
		wantPanic(t, "thread: Join of a Thread by itself", func() { _ = th.Join(ctx) })
		cancel()
		return ctx.Err()
	})
	th.Start(ctx)
	must(t, th.Join(bg))
	if th.Err() != context.Canceled {
		t.Errorf("ended by %v", th.Err())
	}
}

// What ends a body is contained, kept, and told once, while the thread is still
// alive.
func TestThreadFailureIsContainedAndTold(t *testing.T) {
	canceled, cancel := context.WithCancelCause(bg)
	cancel(errBoom)
	for _, tt := range []struct {
		name string
		ctx  context.Context
		body func(ctx context.Context) error
		want error // of Err
		told bool
	}{
		{"no failure", bg, func(context.Context) error { return nil }, nil, false},
		{"error", bg, func(context.Context) error { return errBoom }, errBoom, true},
		{"panic", bg, func(context.Context) error { panic(errBoom) }, errBoom, true},
		{"Goexit", bg, func(context.Context) error { runtime.Goexit(); return nil }, thread.ErrGoexit, true},
		{"its ctx", canceled, func(ctx context.Context) error { return ctx.Err() }, context.Canceled, false},
		{"the cause of its ctx", canceled, func(ctx context.Context) error { return context.Cause(ctx) }, errBoom, false},
		{"another ctx", bg, func(context.Context) error { return canceled.Err() }, context.Canceled, true},
		{"more than its ctx", canceled, func(ctx context.Context) error { return fmt.Errorf("write: %w", ctx.Err()) }, context.Canceled, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := newJournal()
			th := thread.New(thread.Config{OnError: func(th *thread.Thread, err error) {
				j.log("told %v, alive %v", err, th.Alive())
			}}, tt.body)
			th.Start(tt.ctx)
			must(t, th.Join(bg))
			if err := th.Err(); !errors.Is(err, tt.want) {
				t.Errorf("Err is %v, want %v", err, tt.want)
			}
			var want []string
			if tt.told {
				want = []string{fmt.Sprintf("told %v, alive true", th.Err())}
			}
			if !slices.Equal(j.lines, want) {
				t.Errorf("%q, want %q", j.lines, want)
			}
		})
	}
}

func explode() { panic("boom") }

func TestThreadPanicKeepsItsStack(t *testing.T) {
	th := thread.New(thread.Config{OnError: func(*thread.Thread, error) {}}, func(context.Context) error { explode(); return nil })
	th.Start(bg)
	must(t, th.Join(bg))
	var p *thread.PanicError
	if !errors.As(th.Err(), &p) {
		t.Fatalf("%v", th.Err())
	}
	if p.Value != "boom" || p.Error() != "panic: boom" || p.Unwrap() != nil || !strings.Contains(string(p.Stack), "explode") {
		t.Errorf("%v, %v, %v, stack %s", p.Value, p, p.Unwrap(), p.Stack)
	}
}

// Without OnError a failure is logged; one of OnError itself too, and neither ends
// the program, nor keeps others from joining.
func TestThreadFailureIsLogged(t *testing.T) {
	fails := func(context.Context) error { explode(); return nil }
	for _, tt := range []struct {
		name string
		hook func(*thread.Thread, error)
		want []string
	}{
		{"no hook", nil, []string{"thread: w: panic: boom", "explode"}},
		{"hook that panics", func(*thread.Thread, error) { panic("hook") }, []string{"thread: w: panic: boom", "thread: w: OnError: panic: hook"}},
		{"hook that exits", func(*thread.Thread, error) { runtime.Goexit() }, []string{"thread: w: panic: boom", "runtime.Goexit"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			buf := logged(t)
			var g thread.Group
			th := thread.New(thread.Config{Name: "w", OnError: tt.hook, Group: &g}, fails)
			th.Start(bg)
			must(t, th.Join(bg))
			must(t, g.Join(bg))
			for _, want := range tt.want {
				if !strings.Contains(buf.String(), want) {
					t.Errorf("logged %s, want %q", buf, want)
				}
			}
		})
	}
}

func TestGroupJoinWaitsForAllButDaemons(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var g thread.Group
		must(t, g.Join(bg)) // empty
		sleeper := func(name string, d time.Duration, daemon bool) *thread.Thread {
			return thread.New(thread.Config{Name: name, Daemon: daemon, Group: &g}, func(context.Context) error {
				time.Sleep(d)
				return nil
			})
		}
		a, b, d := sleeper("a", time.Second, false), sleeper("b", 3*time.Second, false), sleeper("d", time.Hour, false)
		d.SetDaemon(true)
		if !d.Daemon() || a.Daemon() || g.Len() != 0 {
			t.Errorf("daemon %v and %v, %d alive", d.Daemon(), a.Daemon(), g.Len())
		}
		for _, th := range []*thread.Thread{b, d, a} {
			th.Start(bg)
		}
		wantPanic(t, "thread: SetDaemon of a Thread that was started", func() { a.SetDaemon(true) })
		if got := fmt.Sprint(g.Threads()); got != "[b d a]" || g.Len() != 3 {
			t.Errorf("%v are alive, %d", got, g.Len())
		}
		time.AfterFunc(2*time.Second, func() { sleeper("late", 3*time.Second, false).Start(bg) })
		start := time.Now()
		wantErr(t, g.JoinTimeout(bg, 4*time.Second), thread.ErrTimeout)
		must(t, g.Join(bg))
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("joined after %v, want 5s", d)
		}
		if got := fmt.Sprint(g.Threads()); got != "[d]" || !d.Alive() || a.Alive() {
			t.Errorf("%v are alive", got)
		}
		must(t, d.Join(bg))
		if g.Len() != 0 {
			t.Errorf("%d are alive", g.Len())
		}
	})
}

func TestGroupIsToldWhereAThreadTellsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		j := newJournal()
		g := thread.Group{OnError: func(th *thread.Thread, err error) { j.log("group: %v %v", th, err) }}
		fails := func(context.Context) error { return errBoom }
		own := func(th *thread.Thread, err error) { j.log("own: %v %v", th, err) }
		thread.New(thread.Config{Name: "a", Group: &g}, fails).Start(bg)
		thread.New(thread.Config{Name: "b", Group: &g, OnError: own}, fails).Start(bg)
		must(t, g.Join(bg))
		j.wantInAnyOrder(t, "group: a boom", "own: b boom")
	})
}

func TestTimerCallsOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		j := newJournal()
		for _, d := range []time.Duration{time.Second, 0, -1} {
			j.start = time.Now()
			tm := thread.After(thread.TimerConfig{}, d, func() { j.at("called") })
			if !tm.Alive() {
				t.Error("not alive")
			}
			must(t, tm.Join(bg))
			if tm.Alive() || tm.Cancel() {
				t.Error("alive, or prevented, after the call")
			}
			time.Sleep(time.Hour)
			j.want(t, fmt.Sprintf("%v called", max(d, 0)))
		}
		wantPanic(t, "thread: Timer without a function", func() { thread.After(thread.TimerConfig{}, 1, nil) })
	})
}

func TestTimerCancel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tm := thread.After(thread.TimerConfig{}, time.Second, func() { t.Error("called") })
		time.Sleep(time.Second - 1)
		if !tm.Cancel() || tm.Cancel() || tm.Alive() {
			t.Error("not prevented, or twice, or alive")
		}
		must(t, tm.JoinTimeout(bg, 0))
		time.Sleep(time.Hour)

		var e thread.Event
		tm = thread.After(thread.TimerConfig{}, 0, func() { _ = e.Wait(bg) })
		synctest.Wait()
		if tm.Cancel() || !tm.Alive() {
			t.Error("a call that has begun was prevented, or is not alive")
		}
		wantErr(t, tm.JoinTimeout(bg, time.Second), thread.ErrTimeout)
		e.Set()
		must(t, tm.Join(bg))
	})
}

// Either Cancel says that it has prevented the call, or the call is made.
func TestTimerCancelAtItsTime(t *testing.T) {
	for range 100 {
		bubble(t, func(t *testing.T) {
			called := false
			tm := thread.After(thread.TimerConfig{}, time.Second, func() { called = true })
			time.Sleep(time.Second)
			prevented := tm.Cancel()
			must(t, tm.Join(bg))
			if called == prevented {
				t.Errorf("called %v, prevented %v", called, prevented)
			}
		})
	}
}

func TestTimersAndIntervalsThatFail(t *testing.T) {
	for _, tt := range []struct {
		name string
		fn   func()
		want string
	}{
		{"panic", explode, "panic: boom"},
		{"Goexit", runtime.Goexit, thread.ErrGoexit.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				j := newJournal()
				told := func(err error) { j.at("%v", err) }
				tm := thread.After(thread.TimerConfig{OnError: told}, time.Second, tt.fn)
				must(t, tm.Join(bg))
				j.want(t, "1s "+tt.want)
				i := thread.Every(thread.EveryConfig{OnError: told}, time.Second, func(*thread.Interval) { tt.fn() })
				time.Sleep(2 * time.Second)
				j.want(t, "2s "+tt.want, "3s "+tt.want)
				i.Stop()
				must(t, i.Join(bg))
			})
			buf := logged(t)
			bubble(t, func(t *testing.T) {
				must(t, thread.After(thread.TimerConfig{}, 1, tt.fn).Join(bg))
			})
			if !strings.Contains(buf.String(), "thread: Timer: "+tt.want) {
				t.Errorf("logged %s", buf)
			}
		})
	}
}

// The beats of an interval of 1 s whose first call takes 2.5 s, and the others no
// time: as the table of Missed has it.
func TestIntervalMissedBeats(t *testing.T) {
	for _, tt := range []struct {
		name   string
		missed thread.Missed
		want   []string
		n      uint64
	}{
		{"Skip", thread.Skip, []string{"1s", "3.5s", "4s", "5s"}, 1},
		{"Burst", thread.Burst, []string{"1s", "3.5s", "3.5s", "4s", "5s"}, 0},
		{"Delay", thread.Delay, []string{"1s", "3.5s", "4.5s", "5.5s"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				j := newJournal()
				first := true
				i := thread.Every(thread.EveryConfig{Missed: tt.missed}, time.Second, func(*thread.Interval) {
					j.log("%v", time.Since(j.start))
					if first {
						time.Sleep(2500 * time.Millisecond)
					}
					first = false
				})
				time.Sleep(5900 * time.Millisecond)
				j.want(t, tt.want...)
				if i.Missed() != tt.n {
					t.Errorf("%d missed, want %d", i.Missed(), tt.n)
				}
				i.Stop()
			})
		})
	}
}

func TestIntervalStoppedByATimer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		j := newJournal()
		ticks := thread.Every(thread.EveryConfig{}, time.Second, func(*thread.Interval) { j.at("tick") })
		thread.After(thread.TimerConfig{}, 3500*time.Millisecond, func() { ticks.Stop() })
		must(t, ticks.Join(bg))
		j.at("stopped")
		j.want(t, "1s tick", "2s tick", "3s tick", "3.5s stopped")
	})
}

// Calls that take a little longer than the interval are made one after the other.
func TestIntervalThatIsAlwaysLate(t *testing.T) {
	for _, missed := range []thread.Missed{thread.Skip, thread.Burst, thread.Delay} {
		bubble(t, func(t *testing.T) {
			j := newJournal()
			i := thread.Every(thread.EveryConfig{Missed: missed}, time.Second, func(*thread.Interval) {
				j.log("%v", time.Since(j.start))
				time.Sleep(1200 * time.Millisecond)
			})
			time.Sleep(6 * time.Second)
			j.want(t, "1s", "2.2s", "3.4s", "4.6s", "5.8s")
			i.Stop()
			must(t, i.Join(bg))
			time.Sleep(10 * time.Second)
			j.want(t)
		})
	}
}

func TestIntervalStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		j := newJournal()
		var e thread.Event
		i := thread.Every(thread.EveryConfig{}, time.Second, func(*thread.Interval) {
			j.at("begins")
			_ = e.Wait(bg)
			j.at("ends")
		})
		wantErr(t, i.JoinTimeout(bg, 1500*time.Millisecond), thread.ErrTimeout)
		if !i.Stop() || i.Stop() { // in the middle of a call
			t.Error("Stop was not the first, or twice")
		}
		wantErr(t, i.JoinTimeout(bg, time.Second), thread.ErrTimeout)
		time.AfterFunc(time.Second, e.Set)
		must(t, i.Join(bg))
		time.Sleep(time.Hour)
		j.want(t, "1s begins", "3.5s ends")

		i = thread.Every(thread.EveryConfig{}, time.Second, func(*thread.Interval) { t.Error("called") })
		time.Sleep(time.Second - 1)
		i.Stop() // between two calls
		must(t, i.JoinTimeout(bg, 0))
		time.Sleep(time.Hour)
	})
}

func TestIntervalStopsItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := 0
		i := thread.Every(thread.EveryConfig{}, time.Second, func(i *thread.Interval) {
			n++
			if n == 3 {
				i.Stop()
			}
		})
		must(t, i.Join(bg))
		time.Sleep(time.Hour)
		if n != 3 {
			t.Errorf("called %d times, want 3", n)
		}
	})
}

// After Stop has returned no call begins, whatever the moment.
func TestIntervalStopAtItsTime(t *testing.T) {
	for range 100 {
		bubble(t, func(t *testing.T) {
			n := 0
			i := thread.Every(thread.EveryConfig{}, time.Second, func(*thread.Interval) { n++ })
			time.Sleep(2 * time.Second)
			i.Stop()
			must(t, i.Join(bg))
			got := n
			time.Sleep(time.Hour)
			if got < 1 || got > 2 || n != got {
				t.Errorf("called %d times, and %d in the end", got, n)
			}
		})
	}
}

func TestIntervalMisuse(t *testing.T) {
	wantPanic(t, "thread: Interval without a function", func() { thread.Every(thread.EveryConfig{}, 1, nil) })
	none := func(*thread.Interval) {}
	wantPanic(t, "thread: Interval that is not positive", func() { thread.Every(thread.EveryConfig{}, 0, none) })
	wantPanic(t, "none of Skip, Burst, Delay", func() { thread.Every(thread.EveryConfig{Missed: 3}, 1, none) })
}
