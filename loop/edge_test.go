package loop_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

func TestEdge005_ATimerIsDueWhenTheClockHasReachedIt(t *testing.T) {
	c := newManualClock()
	start := c.now
	steps := []time.Duration{999 * time.Millisecond, time.Second - 1, time.Second, time.Second + 1} // what the clock reads next
	c.idle = func(next time.Time, _ bool) (time.Duration, error) {
		if len(steps) == 0 {
			return 0, loop.ErrDeadlock
		}
		c.now = start.Add(steps[0])
		steps = steps[1:]
		return 0, nil
	}
	l := open(t, loop.Config{Clock: c})
	var got record
	for _, d := range []time.Duration{time.Second + 1, time.Second, 999*time.Millisecond + 1} {
		l.CallLater(d, func() { got.add(d.String() + " at " + l.Now().Sub(start).String()) })
	}
	finish(t, l)
	got.want(t, "999.000001ms at 999.999999ms", "1s at 1s", "1.000000001s at 1.000000001s")
}

func TestEdge008_NegativeAndHugeDelays(t *testing.T) {
	l := virtual(t)
	start := l.Now()
	var got record
	at := func(name string, d time.Duration) {
		l.CallLater(d, func() {
			got.add(name)
			if want := max(d, 0); l.Now().Sub(start) != want {
				t.Errorf("%s came after %v, want %v", name, l.Now().Sub(start), want)
			}
		})
	}
	at("0", 0)
	at("-1s", -time.Second)
	at("-2s", -2*time.Second)
	at("-1s again", -time.Second)
	at("a month", 30*24*time.Hour)
	at("40 hours", 40*time.Hour)    // longer than asyncio asks the kernel to wait
	l.CallLater(time.Hour, func() { // beyond what can be counted from the start
		for _, d := range []time.Duration{math.MaxInt64, math.MaxInt64 - 1} {
			l.CallLater(d, func() { t.Errorf("%v have passed", d) })
		}
	})
	l.CallLater(60*24*time.Hour, l.Stop)
	runBriefly(t, l)
	got.want(t, "-2s", "-1s", "-1s again", "0")
	run(t, l)
	got.want(t, "-2s", "-1s", "-1s again", "0", "40 hours", "a month")
}

func TestEdge009_ACallCanceledWhileItIsQueuedIsNotMade(t *testing.T) {
	for name, arrange := range map[string]func(l *loop.Loop, fn func()) (cancel func() bool){
		"CallSoon":  func(l *loop.Loop, fn func()) func() bool { return l.CallSoon(fn).Cancel },
		"CallLater": func(l *loop.Loop, fn func()) func() bool { return l.CallLater(time.Second, fn).Cancel },
		"CallAt":    func(l *loop.Loop, fn func()) func() bool { return l.CallAt(l.Now().Add(time.Second), fn).Cancel },
		"OnDone":    func(l *loop.Loop, fn func()) func() bool { return settled(l).OnDone(fn) },
	} {
		t.Run(name, func(t *testing.T) {
			l := virtual(t)
			var got record
			var cancel func() bool
			arrange(l, func() { // cancels the next call of its own batch
				got.add("first")
				if !cancel() {
					t.Error("the call could not be canceled")
				}
				if cancel() {
					t.Error("it could be canceled twice")
				}
			})
			cancel = arrange(l, got.note("canceled"))
			arrange(l, got.note("last"))
			finish(t, l)
			got.want(t, "first", "last")
		})
	}
}

// What asyncio's handler learns from the context it runs in, and from the keys
// task, future and handle, a CallError says.
func TestEdge035_AReportNamesTheTaskAndTheCall(t *testing.T) {
	var got record
	var l *loop.Loop
	l = open(t, loop.Config{Clock: looptest.NewClock(time.Time{}), Debug: true, OnError: func(e *loop.CallError) {
		site := "no site"
		if e.Site != "" {
			site = "site"
		}
		got.add(e.Op + ", " + e.Name + ", " + site)
		if l.Current() != nil {
			t.Errorf("%v runs", l.Current())
		}
		if !l.Closed() {
			task.Go(l.Context(), func(context.Context) error { got.add("started by the handler"); return nil })
		}
	}})
	ctx := context.WithValue(l.Context(), nameKey{}, "outer")
	task.Go(ctx, func(ctx context.Context) error {
		l.CallSoon(explode)
		return nil
	})
	finish(t, l)
	got.want(t, "callback, , site", "started by the handler")
	failed := task.Go(ctx, func(context.Context) error { panic("boom") })
	failed.SetName("fetch")
	finish(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(got); n != 3 || got[2][:len("result never retrieved, fetch")] != "result never retrieved, fetch" {
		t.Errorf("reported %q", got)
	}
}
