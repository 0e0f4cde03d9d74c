package loop_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/poller"
)

func TestEdge013_StopBeforeRunMakesOneTurnThatDoesNotWait(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(testing.TB) *loop.Loop
	}{{"virtual clock", virtual}, {"system's clock", real}} {
		t.Run(tt.name, func(t *testing.T) {
			l := tt.open(t)
			start := l.Now()
			var got record
			l.CallLater(time.Hour, got.note("timer"))
			l.Stop()
			run(t, l) // with nothing queued
			got.want(t)
			l.CallSoon(func() { got.add("call"); l.CallSoon(got.note("next turn")) })
			runBriefly(t, l)
			got.want(t, "call")
			if passed := l.Now().Sub(start); passed > time.Minute {
				t.Errorf("%v have passed", passed)
			}
		})
	}
}

func TestEdge014_StopInACallFinishesTheBatch(t *testing.T) {
	l := virtual(t)
	var got record
	l.CallSoon(got.note("1"))
	l.CallSoon(func() {
		got.add("stop")
		l.Stop()
		l.CallSoon(got.note("next run"))
	})
	l.CallSoon(got.note("2"))
	run(t, l)
	got.want(t, "1", "stop", "2")
	finish(t, l)
	got.want(t, "1", "stop", "2", "next run")
}

func TestEdge014_StopInATimerFinishesTheBatch(t *testing.T) {
	l := virtual(t)
	var got record
	l.CallLater(time.Second, func() { got.add("stop"); l.Stop() })
	l.CallLater(time.Second, got.note("same instant"))
	l.CallLater(time.Second+1, got.note("later"))
	run(t, l)
	got.want(t, "stop", "same instant")
}

func TestEdge014_StopInABatchThatPanicsEndsAtTheBatch(t *testing.T) {
	for _, tt := range []struct {
		name string
		rest int // calls of the batch after the one that panics
	}{{"last of the batch", 0}, {"two more in the batch", 2}} {
		t.Run(tt.name, func(t *testing.T) {
			l := open(t, loop.Config{
				Clock:   looptest.NewClock(time.Time{}),
				OnError: func(*loop.CallError) {},
			})
			var got record
			l.CallSoon(func() {
				got.add("stop")
				l.Stop()
				l.CallSoon(got.note("next run"))
				panic("after Stop")
			})
			want := []string{"stop"}
			for range tt.rest {
				l.CallSoon(got.note("rest"))
				want = append(want, "rest")
			}
			run(t, l)
			got.want(t, want...)
		})
	}
}

func TestStoppedLoopRunsAgain(t *testing.T) {
	l := real(t)
	for i := range 3 {
		n := 0
		l.CallLater(time.Millisecond, func() { n++; l.Stop() })
		run(t, l)
		if n != 1 {
			t.Errorf("run %d made the timer %d times, want once", i, n)
		}
	}
}

// settled is a future that has a value.
func settled(l *loop.Loop) *future.Future[int] {
	f, p := future.New[int](l)
	p.Resolve(1)
	return f
}

func TestEdge017_ARunningLoopCannotBeRunOrClosed(t *testing.T) {
	for _, tt := range []struct {
		name string
		try  func(l *loop.Loop) error
	}{
		{"Run inside Run", func(l *loop.Loop) error { return l.Run() }},
		{"RunUntil inside Run", func(l *loop.Loop) error { return l.RunUntil(settled(l)) }},
		{"Edge018 Close inside Run", func(l *loop.Loop) error { return l.Close() }},
	} {
		for _, in := range []struct {
			name    string
			arrange func(l *loop.Loop, fn func())
			run     func(l *loop.Loop) error
		}{
			{"in a call", func(l *loop.Loop, fn func()) { l.CallSoon(fn) }, (*loop.Loop).Run},
			{"in a timer", func(l *loop.Loop, fn func()) { l.CallLater(time.Second, fn) }, (*loop.Loop).Run},
			{"in a post", func(l *loop.Loop, fn func()) { _ = l.CallSoonThreadsafe(fn) }, (*loop.Loop).Run},
			{"in RunUntil", func(l *loop.Loop, fn func()) { l.CallSoon(fn) }, func(l *loop.Loop) error {
				f, p := future.New[int](l)
				l.CallSoon(func() { p.Resolve(1) })
				return l.RunUntil(f)
			}},
		} {
			t.Run(tt.name+" "+in.name, func(t *testing.T) {
				l := virtual(t)
				err := errors.New("not tried")
				in.arrange(l, func() {
					if !l.Running() {
						t.Error("Running = false in a call")
					}
					err = tt.try(l)
					l.Stop()
				})
				if err := in.run(l); err != nil && !errors.Is(err, loop.ErrStopped) {
					t.Errorf("Run = %v", err)
				}
				if !errors.Is(err, loop.ErrRunning) {
					t.Errorf("got %v, want %v", err, loop.ErrRunning)
				}
				if l.Running() || l.Closed() {
					t.Errorf("Running, Closed = %v, %v after Run; want false, false", l.Running(), l.Closed())
				}
			})
		}
	}
}

func TestEdge017_ALoopInsideAnotherIsAllowedOnlyIfItIsAnother(t *testing.T) {
	outer, inner := virtual(t), virtual(t)
	var got record
	outer.CallSoon(func() {
		inner.CallSoon(func() {
			got.add("inner")
			if err := outer.Run(); !errors.Is(err, loop.ErrRunning) {
				t.Errorf("Run of the outer loop = %v, want %v", err, loop.ErrRunning)
			}
			inner.Stop()
		})
		if err := inner.Run(); err != nil {
			t.Errorf("Run of the inner loop = %v", err)
		}
		got.add("outer")
	})
	finish(t, outer)
	got.want(t, "inner", "outer")
}

func TestEdge018_AClosedLoopRefusesEverything(t *testing.T) {
	l := virtual(t)
	f, p := future.New[int](l)
	p.Resolve(1)
	select {
	case <-l.Ended():
		t.Error("Ended is closed before Close")
	default:
	}
	for i := range 3 {
		if err := l.Close(); err != nil {
			t.Errorf("Close number %d = %v, want nil", i+1, err)
		}
	}
	select {
	case <-l.Ended():
	default:
		t.Error("Ended is open after Close")
	}
	if !l.Closed() || l.Running() {
		t.Errorf("Closed, Running = %v, %v; want true, false", l.Closed(), l.Running())
	}
	for _, tt := range []struct {
		name string
		try  func() error
	}{
		{"Run", l.Run},
		{"RunUntil", func() error { return l.RunUntil(f) }},
		{"CallSoonThreadsafe", func() error { return l.CallSoonThreadsafe(func() { t.Error("called") }) }},
		{"QueueThreadsafe", func() error { return l.QueueThreadsafe(call(func() { t.Error("called") })) }},
	} {
		if err := tt.try(); !errors.Is(err, loop.ErrClosed) {
			t.Errorf("%s = %v, want %v", tt.name, err, loop.ErrClosed)
		}
	}
	for _, tt := range []struct {
		name string
		try  func()
	}{
		{"CallSoon", func() { l.CallSoon(func() {}) }},
		{"Queue", func() { l.Queue(call(func() {})) }},
		{"CallLater", func() { l.CallLater(0, func() {}) }},
		{"CallAt", func() { l.CallAt(time.Now(), func() {}) }},
		{"StartTimer", func() { l.StartTimer(new(loop.Timer), 0, call(func() {})) }},
		{"StartTimerAt", func() { l.StartTimerAt(new(loop.Timer), time.Now(), call(func() {})) }},
		{"Stop", l.Stop},
		{"AddReader", func() { _ = l.AddReader(0, func() {}) }},
		{"AddWriter", func() { _ = l.AddWriter(0, func() {}) }},
		{"Watch", func() { _ = l.Watch(0, nil) }},
	} {
		t.Run(tt.name, func(t *testing.T) { wantPanic(t, tt.try, "loop: ", "closed loop") })
	}
}

func TestCloseDropsCallsAndTimersAndMakesPosts(t *testing.T) {
	l := virtual(t)
	var got record
	l.CallSoon(got.note("call"))
	l.CallLater(0, got.note("timer"))
	if err := l.CallSoonThreadsafe(got.note("post")); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got.want(t, "post")
}

func TestEdge015_RunUntilStoppedEarlyIsAnError(t *testing.T) {
	l := virtual(t)
	f, _ := future.New[int](l)
	l.CallSoon(l.Stop)
	if err := l.RunUntil(f); !errors.Is(err, loop.ErrStopped) {
		t.Errorf("RunUntil = %v, want %v", err, loop.ErrStopped)
	}
}

func TestEdge016_RunUntilLeavesNoDoneCallback(t *testing.T) {
	l := virtual(t)
	f, p := future.New[int](l)
	l.CallSoon(l.Stop)
	if err := l.RunUntil(f); !errors.Is(err, loop.ErrStopped) {
		t.Fatalf("RunUntil = %v, want %v", err, loop.ErrStopped)
	}
	var got record
	l.CallSoon(func() {
		p.Resolve(1)
		l.CallLater(time.Second, got.note("not stopped by an orphan"))
	})
	finish(t, l)
	got.want(t, "not stopped by an orphan")
}

func TestRunUntil(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(l *loop.Loop) *future.Future[int]
		want    error
	}{
		{"of what is done already", settled, nil},
		{"of what is resolved later", func(l *loop.Loop) *future.Future[int] {
			f, p := future.New[int](l)
			l.CallLater(time.Hour, func() { p.Resolve(1) })
			return f
		}, nil},
		{"of what fails: the error is the future's", func(l *loop.Loop) *future.Future[int] {
			f, p := future.New[int](l)
			l.CallSoon(func() { p.Fail(errors.New("failed")); _ = f.Err() })
			return f
		}, nil},
		{"of what never ends", func(l *loop.Loop) *future.Future[int] {
			f, _ := future.New[int](l)
			return f
		}, loop.ErrDeadlock},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := virtual(t)
			f := tt.prepare(l)
			if err := l.RunUntil(f); !errors.Is(err, tt.want) {
				t.Errorf("RunUntil = %v, want %v", err, tt.want)
			}
			if done := tt.want == nil; f.Done() != done {
				t.Errorf("Done = %v, want %v", f.Done(), done)
			}
		})
	}
}

// A brokenPoller fails.
type brokenPoller struct {
	poller.Poller
	err error
}

func (p *brokenPoller) Wait([]poller.Event, time.Duration) (int, bool, error) { return 0, false, p.err }

func TestAnErrorOfThePollerEndsRun(t *testing.T) {
	broken := errors.New("broken")
	l := open(t, loop.Config{Poller: func() (poller.Poller, error) {
		p, err := poller.New()
		return &brokenPoller{p, broken}, err
	}})
	var got record
	l.CallSoon(got.note("call"))
	for range 2 {
		if err := l.Run(); !errors.Is(err, broken) {
			t.Errorf("Run = %v, want %v", err, broken)
		}
	}
	got.want(t, "call")
}

func TestAnErrorOfOpeningThePollerIsNews(t *testing.T) {
	full := errors.New("too many open files")
	fail := func() (poller.Poller, error) { return nil, full }
	if l, err := loop.New(loop.Config{Poller: fail}); l != nil || !errors.Is(err, full) {
		t.Errorf("New = %v, %v; want nil, %v", l, err, full)
	}
	// With a virtual clock it is opened when it is needed first.
	l := open(t, loop.Config{Poller: fail, Clock: looptest.NewClock(time.Time{})})
	if err := l.AddReader(0, func() {}); !errors.Is(err, full) {
		t.Errorf("AddReader = %v, want %v", err, full)
	}
	release := l.Hold()
	if err := l.Run(); !errors.Is(err, full) {
		t.Errorf("Run = %v, want %v", err, full)
	}
	release()
}

func TestLoopsOfOneProcessDoNotDisturbEachOther(t *testing.T) { // R46
	const n = 8
	got := make(chan int, n)
	for i := range n {
		go func() {
			l, err := loop.New(loop.Config{})
			if err != nil {
				t.Error(err)
				got <- 0
				return
			}
			sum := 0
			for k := range 100 {
				l.CallSoon(func() { sum += k })
			}
			l.CallLater(time.Duration(i)*time.Millisecond, l.Stop)
			if err := l.Run(); err != nil {
				t.Error(err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			got <- sum
		}()
	}
	for range n {
		if sum := receive(t, got); sum != 4950 {
			t.Errorf("sum %d, want 4950", sum)
		}
	}
}

func TestLocal(t *testing.T) {
	l := virtual(t)
	var got record
	a, b := new(int), new(int)
	if v := l.Local(a, func() any { return "a" }); v != "a" {
		t.Errorf("Local(a) = %v, want a", v)
	}
	if v := l.Local(a, func() any { t.Error("made twice"); return nil }); v != "a" {
		t.Errorf("second Local(a) = %v, want a", v)
	}
	l.Local(b, func() any { return &localValue{&got, "b"} })
	c := new(int)
	l.Local(c, func() any { return &localValue{&got, "c"} })
	l.OnClose(func(context.Context) error { got.add("OnClose"); return nil })
	_ = l.CallSoonThreadsafe(got.note("post"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got.want(t, "b unwinds", "c unwinds", "OnClose", "post", "b closed", "c closed")
}

type localValue struct {
	got  *record
	name string
}

func (v *localValue) Unwind() bool { v.got.add(v.name + " unwinds"); return false }
func (v *localValue) Closed()      { v.got.add(v.name + " closed") }

func TestOnClose(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	var reported []string
	l, err := loop.New(loop.Config{
		Clock:   looptest.NewClock(time.Time{}),
		OnError: func(e *loop.CallError) { reported = append(reported, e.Op+": "+e.Err.Error()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	var got record
	on := func(name string, err error) (stop func() bool) {
		return l.OnClose(func(ctx context.Context) error {
			got.add(name)
			if l.Closed() {
				t.Error("Closed = true in OnClose")
			}
			if err := l.Close(); err != nil {
				t.Errorf("Close in OnClose = %v, want nil", err)
			}
			return err
		})
	}
	on("1", first)
	stopped := on("2", errors.New("of one that was stopped"))
	last := on("3", second)
	l.OnClose(func(context.Context) error { panic("4") })
	l.OnClose(func(context.Context) error {
		got.add("5")
		on("added by 5", nil)
		return nil
	})
	if !stopped() || stopped() {
		t.Error("stop, twice: want true, false")
	}
	err = l.Close()
	got.want(t, "5", "added by 5", "3", "1")
	if !errors.Is(err, first) || !errors.Is(err, second) {
		t.Errorf("Close = %v, want both errors", err)
	}
	if want := []string{"close: panic: 4"}; !slices.Equal(reported, want) {
		t.Errorf("reported %q, want %q", reported, want)
	}
	if last() {
		t.Error("stop after Close = true, want false")
	}
}

func TestCloseTimeout(t *testing.T) {
	for _, tt := range []struct {
		name    string
		timeout time.Duration
		min     time.Duration
		max     time.Duration // 0: no deadline
	}{
		{"default", 0, 9 * time.Second, 10 * time.Second},
		{"a minute", time.Minute, 59 * time.Second, time.Minute},
		{"none", -1, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := open(t, loop.Config{Clock: looptest.NewClock(time.Time{}), CloseTimeout: tt.timeout})
			called := false
			l.OnClose(func(ctx context.Context) error {
				called = true
				deadline, ok := ctx.Deadline()
				if ok != (tt.max != 0) {
					t.Errorf("has a deadline: %v", ok)
				}
				if left := time.Until(deadline); ok && (left < tt.min || left > tt.max) {
					t.Errorf("%v left, want %v to %v", left, tt.min, tt.max)
				}
				return ctx.Err()
			})
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if !called {
				t.Error("not called")
			}
		})
	}
}

func TestCloseTimeoutEndsTheWaitOfOnClose(t *testing.T) {
	l, err := loop.New(loop.Config{CloseTimeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	l.OnClose(func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if err := l.Close(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close = %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestDeadlockIsAnErrorAndNotTheEnd(t *testing.T) {
	l := virtual(t)
	finish(t, l)
	var got record
	l.CallSoon(got.note("after a deadlock"))
	finish(t, l)
	got.want(t, "after a deadlock")
}

func TestVirtualTimeStandsStillDuringAHold(t *testing.T) {
	l := virtual(t)
	start := l.Now()
	release := l.Hold()
	second := l.Hold()
	if !l.Outside() || l.Stats().Outside != 2 {
		t.Errorf("Outside = %v, Stats().Outside = %d; want true, 2", l.Outside(), l.Stats().Outside)
	}
	var got record
	l.CallLater(time.Hour, func() {
		got.add("timer")
		if passed := l.Now().Sub(start); passed != time.Hour {
			t.Errorf("%v have passed, want an hour", passed)
		}
	})
	go func() {
		release()
		release() // harmless
		for range 100 {
			_ = l.CallSoonThreadsafe(func() {
				if !l.Now().Equal(start) {
					t.Errorf("time passed during a Hold: %v", l.Now().Sub(start))
				}
			})
		}
		_ = l.CallSoonThreadsafe(got.note("release"))
		second()
	}()
	finish(t, l)
	got.want(t, "release", "timer")
	if l.Outside() {
		t.Error("Outside = true after release")
	}
}

func TestReleasingAHoldMayReleaseADeadlock(t *testing.T) {
	l := virtual(t)
	release := l.Hold()
	go release()
	finish(t, l) // it neither hangs nor ends before release
}

func TestAClockMayQueueWorkWhenIdle(t *testing.T) {
	clock := newManualClock()
	l := open(t, loop.Config{Clock: clock})
	var got record
	idle := 0
	clock.idle = func(next time.Time, outside bool) (time.Duration, error) {
		idle++
		if outside {
			t.Error("outside = true")
		}
		switch idle {
		case 1:
			if !next.IsZero() {
				t.Errorf("next = %v, want none", next)
			}
			l.CallSoon(got.note("by the clock"))
			return -1, nil // not obeyed: there is work
		case 2:
			l.CallLater(time.Second, got.note("timer by the clock"))
			return 0, nil
		case 3:
			if want := clock.now.Add(time.Second); !next.Equal(want) {
				t.Errorf("next = %v, want %v", next, want)
			}
			clock.now = next.Add(-1)
			return 0, nil
		case 4:
			got.want(t, "by the clock") // a ns before its time
			clock.now = next
			return 0, nil
		}
		return 0, loop.ErrDeadlock
	}
	finish(t, l)
	got.want(t, "by the clock", "timer by the clock")
}

func TestAClocksErrorEndsRun(t *testing.T) {
	enough := errors.New("enough")
	clock := newManualClock()
	clock.idle = func(time.Time, bool) (time.Duration, error) { return 0, enough }
	l := open(t, loop.Config{Clock: clock})
	l.CallLater(time.Second, func() { t.Error("fired") })
	if err := l.Run(); !errors.Is(err, enough) {
		t.Errorf("Run = %v, want %v", err, enough)
	}
}

func TestAClockMayStopTheLoop(t *testing.T) {
	clock := newManualClock()
	l := open(t, loop.Config{Clock: clock})
	clock.idle = func(time.Time, bool) (time.Duration, error) {
		l.Stop()
		return -1, nil
	}
	run(t, l)
}

func TestBeforeIdle(t *testing.T) {
	l := virtual(t)
	var got record
	n := 0
	stop := l.BeforeIdle(call(func() {
		if n++; n <= 2 {
			l.CallSoon(got.note("queued before idle"))
		}
	}))
	l.CallLater(time.Second, func() {
		got.add("timer")
		stop()
		n = 0
	})
	finish(t, l)
	got.want(t, "queued before idle", "queued before idle", "timer")

	r := real(t)
	r.BeforeIdle(call(func() { t.Error("called with the system's clock") }))()
	r.CallLater(1, r.Stop)
	run(t, r)
}
