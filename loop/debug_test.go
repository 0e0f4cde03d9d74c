package loop_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

func TestEdge141_DebugModePanicsInAForeignGoroutine(t *testing.T) {
	l := open(t, loop.Config{Clock: looptest.NewClock(time.Time{}), Debug: true})
	if !l.Debug() {
		t.Fatal("Debug = false")
	}
	h := l.CallLater(time.Second, func() {})
	var tm loop.Timer
	for _, tt := range []struct {
		name string
		try  func()
	}{
		{"CallSoon", func() { l.CallSoon(func() {}) }},
		{"Queue", func() { l.Queue(call(func() {})) }},
		{"CallLater", func() { l.CallLater(0, func() {}) }},
		{"CallAt", func() { l.CallAt(time.Time{}, func() {}) }},
		{"StartTimer", func() { l.StartTimer(&tm, 0, call(func() {})) }},
		{"Handle.Cancel", func() { h.Cancel() }},
		{"Stop", l.Stop},
		{"AddReader", func() { _ = l.AddReader(0, func() {}) }},
		{"AddWriter", func() { _ = l.AddWriter(0, func() {}) }},
		{"RemoveReader", func() { l.RemoveReader(0) }},
		{"Watch", func() { _ = l.Watch(0, nil) }},
		{"CheckGoroutine", func() { l.CheckGoroutine("Flow") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l.CallSoon(func() {
				onGoroutine(t, func() {
					wantPanic(t, tt.try, "loop: ", "from a goroutine that is not the loop's", "CallSoonThreadsafe")
				})
				l.Stop()
			})
			run(t, l)
		})
	}
	if h.Canceled() || !h.Cancel() {
		t.Error("a Cancel that panicked has canceled")
	}
}

func TestDebugModeAllowsWhatIsAllowed(t *testing.T) {
	l := open(t, loop.Config{Clock: looptest.NewClock(time.Time{}), Debug: true})
	var got record
	l.CallSoon(got.note("before Run"))
	l.CallSoon(func() {
		c := coro.New(func(yield func(int) (int, error)) (int, error) {
			l.CallSoon(got.note("in a coroutine"))
			inner := coro.New(func(yield func(int) (int, error)) (int, error) {
				l.CallSoon(got.note("in a coroutine of a coroutine"))
				return 0, nil
			})
			inner.Next()
			return 0, nil
		})
		c.Next()
		task.Go(l.Context(), func(ctx context.Context) error {
			l.CallSoon(got.note("in a task"))
			return task.Sleep(ctx, time.Second)
		})
		onGoroutine(t, func() { _ = l.CallSoonThreadsafe(got.note("from a goroutine")) })
	})
	finish(t, l)
	got.want(t, "before Run", "in a coroutine", "in a coroutine of a coroutine", "in a task", "from a goroutine")
}

// slowly blocks until the watchdog has seen it.
//
//go:noinline
func slowly(seen chan loop.SlowCall) loop.SlowCall { return <-seen }

func TestEdge142_ASlowCallIsReportedWhileItRunsTimed(t *testing.T) { // R40
	const threshold = 20 * time.Millisecond
	for _, tt := range []struct {
		name    string
		arrange func(l *loop.Loop, fn func())
		call    string // in the name of what is reported
		site    bool
	}{
		{"CallSoon", func(l *loop.Loop, fn func()) { l.CallSoon(fn) }, "TestEdge142", true},
		{"CallLater", func(l *loop.Loop, fn func()) { l.CallLater(1, fn) }, "TestEdge142", true},
		{"a post", func(l *loop.Loop, fn func()) { _ = l.CallSoonThreadsafe(fn) }, "TestEdge142", false},
		{"a task", func(l *loop.Loop, fn func()) {
			task.Go(l.Context(), func(context.Context) error { fn(); return nil }).SetName("sluggard")
		}, "sluggard", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := make(chan loop.SlowCall, 1)
			reports := 0
			l := open(t, loop.Config{Debug: true, SlowCall: threshold, OnSlow: func(s loop.SlowCall) {
				reports++
				seen <- s
			}})
			var s loop.SlowCall
			var took time.Duration
			_, file, line, _ := runtime.Caller(0)
			tt.arrange(l, func() { // one line below line is the site
				start := time.Now()
				s = slowly(seen)
				took = time.Since(start)
				l.Stop()
			})
			run(t, l)
			if reports != 1 {
				t.Errorf("%d reports, want one", reports)
			}
			if s.Elapsed < threshold || s.Elapsed > took {
				t.Errorf("Elapsed = %v, want between %v and %v", s.Elapsed, threshold, took)
			}
			if took > 50*threshold {
				t.Errorf("reported after %v, want about %v", took, threshold)
			}
			if !strings.Contains(s.Name, tt.call) {
				t.Errorf("Name = %q, want %q in it", s.Name, tt.call)
			}
			if want := "debug_test.go"; tt.site && filepath.Base(strings.Split(s.Site, ":")[0]) != want {
				t.Errorf("Site = %q, want in %s (%s:%d)", s.Site, want, file, line)
			}
			if !strings.Contains(string(s.Stack), "loop_test.slowly") {
				t.Errorf("the stack does not show where the call is:\n%s", s.Stack)
			}
		})
	}
}

func TestASlowCallIsLoggedByDefaultTimed(t *testing.T) {
	log := logged(t)
	l := open(t, loop.Config{Debug: true, SlowCall: time.Millisecond})
	l.CallSoon(func() {
		for end := time.Now().Add(eventually); !strings.Contains(log.String(), "slow call") && time.Now().Before(end); {
			runtime.Gosched()
		}
		l.Stop()
	})
	run(t, l)
	for _, want := range []string{"level=WARN", "slow call", "TestASlowCallIsLoggedByDefaultTimed"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not logged:\n%s", want, log)
		}
	}
}

func TestEdge143_DebugModeTellsWhereACallWasArranged(t *testing.T) {
	var site string
	l := open(t, loop.Config{Clock: looptest.NewClock(time.Time{}), Debug: true, OnError: func(e *loop.CallError) {
		site = e.Site
		if e.Site != "" && !strings.Contains(e.Error(), "(from "+e.Site+")") {
			t.Errorf("%q does not tell the site", e)
		}
	}})
	for _, tt := range []struct {
		name    string
		arrange func() (line int) // returns the line of the call
	}{
		{"CallSoon", func() int { l.CallSoon(explode); return here() }},
		{"CallLater", func() int { l.CallLater(1, explode); return here() }},
		{"CallAt", func() int { l.CallAt(l.Now(), explode); return here() }},
		{"OnDone", func() int { settled(l).OnDone(explode); return here() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			site = "not reported"
			line := tt.arrange()
			finish(t, l)
			if want := fmt.Sprintf("debug_test.go:%d", line); filepath.Base(site) != want {
				t.Errorf("Site = %q, want %s", site, want)
			}
		})
	}
	t.Run("not that of the call before", func(t *testing.T) {
		l.CallSoon(func() {})
		l.Queue(call(explode))
		site = "not reported"
		finish(t, l)
		if site != "" {
			t.Errorf("Site = %q, want none", site)
		}
	})
}

// here returns the line of its caller.
func here() int {
	_, _, line, _ := runtime.Caller(1)
	return line
}

func TestWithoutDebugModeThereIsNoSite(t *testing.T) {
	l, errs := faulty(t)
	l.CallSoon(explode)
	finish(t, l)
	if l.Debug() || (*errs)[0].Site != "" {
		t.Errorf("Debug = %v, Site = %q; want false and none", l.Debug(), (*errs)[0].Site)
	}
}

func TestTheEnvironmentSetsDebugMode(t *testing.T) {
	for value, want := range map[string]bool{"": false, "0": false, "1": true} {
		t.Setenv("EDDY_DEBUG", value)
		if got := virtual(t).Debug(); got != want {
			t.Errorf("EDDY_DEBUG=%s: Debug = %v, want %v", value, got, want)
		}
	}
	os.Unsetenv("EDDY_DEBUG")
	if open(t, loop.Config{Clock: looptest.NewClock(time.Time{}), Debug: true}).Debug() == false {
		t.Error("Debug = false although it is configured")
	}
}

func TestDebugModeKeepsTheOrderAndContainsFaults(t *testing.T) {
	var got record
	l := open(t, loop.Config{Clock: looptest.NewClock(time.Time{}), Debug: true, OnError: func(e *loop.CallError) { got.add(e.Err.Error()) }})
	l.CallSoon(got.note("1"))
	l.CallSoon(explode)
	l.CallSoon(got.note("2"))
	h := l.CallSoon(got.note("canceled"))
	l.CallSoon(got.note("3"))
	h.Cancel()
	finish(t, l)
	got.want(t, "1", "panic: boom", "2", "3")
	returned := onGoroutine(t, func() {
		l.CallSoon(runtime.Goexit)
		_ = l.Run()
	})
	if returned || !l.Closed() {
		t.Error("Goexit in debug mode did not end the loop")
	}
}
