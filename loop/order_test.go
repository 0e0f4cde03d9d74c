package loop_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
)

func TestEdge001_CallsAreMadeInTheOrderQueuedEachOnce(t *testing.T) {
	for _, n := range []int{0, 1, 2, 255, 256, 257, 512, 1000, 10_000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			l := virtual(t)
			var got, want []int
			for i := range n {
				want = append(want, i)
				if i%2 == 0 {
					l.CallSoon(func() { got = append(got, i) })
				} else {
					l.Queue(call(func() { got = append(got, i) }))
				}
			}
			finish(t, l)
			if !slices.Equal(got, want) {
				t.Errorf("made %v, want %v", got, want)
			}
		})
	}
}

// TestQueueKeepsOrderThroughBursts queues bursts from callbacks, so that the
// queue grows, shrinks and wraps at all places.
func TestQueueKeepsOrderThroughBursts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	l := virtual(t)
	total := 200_000
	if raceEnabled {
		total /= 10
	}
	queued, made, spawning := 0, 0, 0
	var spawn func()
	push := func() {
		id := queued
		queued++
		l.Queue(call(func() {
			if id != made {
				t.Fatalf("call %d is made as number %d", id, made)
			}
			made++
		}))
	}
	spawn = func() {
		spawning++
		for range r.IntN(700) {
			push()
		}
		if queued < total {
			l.CallSoon(spawn)
		}
	}
	l.CallSoon(spawn)
	finish(t, l)
	if made != queued || made < total {
		t.Errorf("%d of %d calls made in %d bursts", made, queued, spawning)
	}
}

func TestEdge002_ACallQueuedByACallWaitsATurn(t *testing.T) {
	l := virtual(t)
	var got record
	l.CallSoon(func() {
		got.add("1")
		l.CallSoon(got.note("3"))
		l.Queue(call(got.note("4")))
		l.CallLater(0, got.note("timer"))
		l.CallSoon(func() { l.CallSoon(got.note("last")) })
		l.Stop()
	})
	l.CallSoon(got.note("2"))
	run(t, l)
	got.want(t, "1", "2")
	runBriefly(t, l)
	got.want(t, "1", "2", "3", "4", "timer")
	finish(t, l)
	got.want(t, "1", "2", "3", "4", "timer", "last")
}

func TestTimersFireInTheOrderOfTheirDeadlines(t *testing.T) {
	for _, tt := range []struct {
		name   string
		delays []time.Duration
		want   []int // indexes into delays
	}{
		{"ascending", []time.Duration{1, 2, 3}, []int{0, 1, 2}},
		{"descending", []time.Duration{time.Hour, time.Minute, time.Second}, []int{2, 1, 0}},
		{"Edge006 equal", []time.Duration{5, 5, 5, 5, 5}, []int{0, 1, 2, 3, 4}},
		{"Edge006 equal among others", []time.Duration{5, 1, 5, 9, 1, 5, 9}, []int{1, 4, 0, 2, 5, 3, 6}},
		{"Edge008 negative", []time.Duration{-1, -3, -2, 0, -3}, []int{1, 4, 2, 0, 3}},
		{"R39 zero and negative are equal to nothing", []time.Duration{1, 0, -1}, []int{2, 1, 0}},
		{"R39 the longest", []time.Duration{math.MaxInt64, time.Hour, math.MaxInt64, math.MaxInt64 - 1}, []int{1, 3, 0, 2}},
		{"R39 the most negative", []time.Duration{0, math.MinInt64, math.MinInt64 + 1}, []int{1, 2, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := virtual(t)
			start := l.Now()
			var got []int
			for i, d := range tt.delays {
				l.CallLater(d, func() {
					got = append(got, i)
					if passed := l.Now().Sub(start); passed < d {
						t.Errorf("timer of %v fired after %v", d, passed)
					}
				})
			}
			finish(t, l)
			if !slices.Equal(got, tt.want) {
				t.Errorf("fired %v, want %v", got, tt.want)
			}
		})
	}
}

func TestEdge006_AHundredThousandTimersOfOneInstantFireInOrder(t *testing.T) {
	n := 100_000
	if raceEnabled {
		n /= 10
	}
	l := virtual(t)
	next := 0
	for i := range n {
		l.CallLater(time.Second, func() {
			if i != next {
				t.Fatalf("timer %d fired as number %d", i, next)
			}
			next++
		})
	}
	finish(t, l)
	if next != n {
		t.Errorf("%d fired, want %d", next, n)
	}
}

// TestTimersAgreeWithAModel arms and cancels at random, from callbacks too, and
// compares with a list that is kept sorted.
func TestTimersAgreeWithAModel(t *testing.T) {
	type entry struct {
		when time.Time
		id   int
		h    *loop.Handle
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	l := virtual(t)
	steps := 50_000
	if raceEnabled {
		steps /= 10
	}
	var model []entry
	id := 0
	var act func()
	arm := func() {
		id++
		e := entry{when: l.Now().Add(time.Duration(r.IntN(20)) * time.Millisecond), id: id}
		e.h = l.CallAt(e.when, func() {
			if len(model) == 0 || model[0].id != e.id {
				t.Fatalf("timer %d fired; the model has %v", e.id, model)
			}
			if l.Now().Before(e.when) {
				t.Fatalf("timer %d is early", e.id)
			}
			model = model[1:]
			act()
		})
		i, _ := slices.BinarySearchFunc(model, e, func(a, b entry) int {
			if c := a.when.Compare(b.when); c != 0 {
				return c
			}
			return a.id - b.id
		})
		model = slices.Insert(model, i, e)
	}
	act = func() {
		for range r.IntN(3) {
			if steps > 0 {
				steps--
				arm()
			}
		}
		if r.IntN(4) == 0 && len(model) > 0 {
			i := r.IntN(len(model))
			// One that is due already may be queued: it is canceled all the same.
			if !model[i].h.Cancel() {
				t.Fatalf("Cancel of a timer that has not fired = false")
			}
			model = slices.Delete(model, i, i+1)
		}
		if len(model) == 0 && steps > 0 {
			steps--
			arm()
		}
	}
	act()
	finish(t, l)
	if len(model) != 0 || steps > 0 {
		t.Errorf("%d timers did not fire, %d steps left", len(model), steps)
	}
}

func TestEdge005_TimersAreNeverEarlyTimed(t *testing.T) {
	l := real(t)
	rounds, left := 40, 0
	for round := range rounds {
		for _, d := range []time.Duration{1, 100, time.Microsecond, 17 * time.Microsecond, 333 * time.Microsecond, time.Millisecond, 1500 * time.Microsecond} {
			start := time.Now()
			left++
			h := l.CallLater(d, func() {
				if took := time.Since(start); took < d {
					t.Errorf("CallLater(%v) fired after %v", d, took)
				}
				if left--; left == 0 {
					l.Stop()
				}
			})
			when, _ := h.When()
			left++
			l.CallAt(when, func() {
				if now := l.Now(); now.Before(when) {
					t.Errorf("CallAt fired %v early", when.Sub(now))
				}
				if left--; left == 0 {
					l.Stop()
				}
			})
		}
		if round%2 == 0 { // a slow callback makes the loop's idea of now old
			l.CallSoon(func() {
				for start := time.Now(); time.Since(start) < 200*time.Microsecond; {
				}
				start := time.Now()
				left++
				l.CallLater(300*time.Microsecond, func() {
					if took := time.Since(start); took < 300*time.Microsecond {
						t.Errorf("after a slow callback, CallLater(300µs) fired after %v", took)
					}
					if left--; left == 0 {
						l.Stop()
					}
				})
			})
		}
		run(t, l)
	}
}

func TestHugeDelaysWaitAndCostNothing(t *testing.T) { // R39, on the real clock
	l := real(t)
	for _, d := range []time.Duration{math.MaxInt64, math.MaxInt64 - 1, 1 << 62, 24 * 365 * time.Hour} {
		l.CallLater(d, func() { t.Errorf("a timer of %v fired", d) })
	}
	l.CallAt(time.Now().AddDate(400, 0, 0), func() { t.Error("a timer of 400 years fired") })
	l.CallLater(5*time.Millisecond, l.Stop)
	run(t, l)
	if s := l.Stats(); s.Polls > 20 || s.Pending != 5 {
		t.Errorf("%d polls, %d timers pending; want at most 20, 5", s.Polls, s.Pending)
	}
}

func TestCallAtInThePastIsDueInTheNextTurn(t *testing.T) {
	l := virtual(t)
	start := l.Now()
	var got record
	for _, tt := range []struct {
		name string
		when time.Time
	}{
		{"now", start},
		{"an hour ago", start.Add(-time.Hour)},
		{"the year 1", time.Time{}},
	} {
		h := l.CallAt(tt.when, func() {
			got.add(tt.name)
			if !l.Now().Equal(start) {
				t.Errorf("%s: the clock moved to %v", tt.name, l.Now())
			}
		})
		if _, ok := h.When(); !ok {
			t.Errorf("%s: When reports no time", tt.name)
		}
	}
	runBriefly(t, l)
	got.want(t, "the year 1", "an hour ago", "now")
}

func TestATimerSetByATimerOfZeroWaitsATurn(t *testing.T) {
	l := virtual(t)
	var got record
	n := 0
	var again func()
	again = func() {
		got.add("timer")
		if n++; n < 3 {
			l.CallLater(0, again)
			l.CallSoon(got.note("soon"))
		}
	}
	l.CallLater(0, again)
	finish(t, l)
	got.want(t, "timer", "soon", "timer", "soon", "timer")
}

func TestHandle(t *testing.T) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, l *loop.Loop, arrange func(fn func()) *loop.Handle)
	}{
		{"canceled before its turn is not made", func(t *testing.T, l *loop.Loop, arrange func(func()) *loop.Handle) {
			h := arrange(func() { t.Error("called") })
			checkCanceled(t, h, false)
			if !h.Cancel() {
				t.Error("Cancel = false, want true")
			}
			checkCanceled(t, h, true)
			if h.Cancel() {
				t.Error("second Cancel = true, want false")
			}
			finish(t, l)
			checkCanceled(t, h, true)
		}},
		{"canceled after the call was made", func(t *testing.T, l *loop.Loop, arrange func(func()) *loop.Handle) {
			made := false
			h := arrange(func() { made = true })
			finish(t, l)
			if h.Cancel() {
				t.Error("Cancel = true, want false")
			}
			if !made {
				t.Error("not called")
			}
			checkCanceled(t, h, false)
		}},
		{"canceled inside of the call", func(t *testing.T, l *loop.Loop, arrange func(func()) *loop.Handle) {
			var h *loop.Handle
			made := false
			h = arrange(func() {
				made = true
				if h.Cancel() {
					t.Error("Cancel = true, want false")
				}
			})
			finish(t, l)
			if !made {
				t.Error("not called")
			}
			checkCanceled(t, h, false)
		}},
		{"Edge009 canceled when it is queued already", func(t *testing.T, l *loop.Loop, arrange func(func()) *loop.Handle) {
			var h *loop.Handle
			canceled := false
			arrange(func() {
				canceled = h.Cancel()
			})
			h = arrange(func() { t.Error("called") }) // in the same batch
			finish(t, l)
			if !canceled {
				t.Error("Cancel = false, want true")
			}
			checkCanceled(t, h, true)
		}},
		{"canceled after the loop was closed", func(t *testing.T, l *loop.Loop, arrange func(func()) *loop.Handle) {
			h := arrange(func() { t.Error("called") })
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if !h.Cancel() {
				t.Error("Cancel = false, want true")
			}
			checkCanceled(t, h, true)
		}},
	} {
		t.Run(tt.name+"/CallSoon", func(t *testing.T) {
			l := virtual(t)
			tt.test(t, l, func(fn func()) *loop.Handle {
				h := l.CallSoon(fn)
				if when, ok := h.When(); ok || !when.IsZero() {
					t.Errorf("When of CallSoon = %v, %v; want the zero time, false", when, ok)
				}
				return h
			})
		})
		t.Run(tt.name+"/CallLater", func(t *testing.T) {
			l := virtual(t)
			tt.test(t, l, func(fn func()) *loop.Handle {
				h := l.CallLater(time.Second, fn)
				if when, ok := h.When(); !ok || !when.Equal(l.Now().Add(time.Second)) {
					t.Errorf("When = %v, %v; want in a second, true", when, ok)
				}
				return h
			})
		})
		t.Run(tt.name+"/CallAt", func(t *testing.T) {
			l := virtual(t)
			at := l.Now().Add(time.Minute)
			tt.test(t, l, func(fn func()) *loop.Handle {
				h := l.CallAt(at, fn)
				if when, ok := h.When(); !ok || !when.Equal(at) {
					t.Errorf("When = %v, %v; want %v, true", when, ok, at)
				}
				return h
			})
		})
	}
}

func checkCanceled(t *testing.T, h *loop.Handle, want bool) {
	t.Helper()
	if got := h.Canceled(); got != want {
		t.Errorf("Canceled = %v, want %v", got, want)
	}
}

func TestTimer(t *testing.T) {
	l := virtual(t)
	var got record
	var tm loop.Timer
	fire := call(got.note("fired"))
	if l.StopTimer(&tm) {
		t.Error("StopTimer of a timer that never ran = true")
	}
	l.StartTimer(&tm, time.Second, fire)
	wantPanic(t, func() { l.StartTimer(&tm, time.Second, fire) }, "running Timer")
	if !l.StopTimer(&tm) || l.StopTimer(&tm) {
		t.Error("StopTimer of a running timer, twice: want true, false")
	}
	l.StartTimerAt(&tm, l.Now().Add(time.Minute), call(func() {
		fire()
		l.StartTimer(&tm, 0, call(got.note("again")))
	}))
	start := l.Now()
	finish(t, l)
	got.want(t, "fired", "again")
	if d := l.Now().Sub(start); d != time.Minute {
		t.Errorf("%v have passed, want a minute", d)
	}
}

func TestStartingATimerDoesNotAllocate(t *testing.T) {
	l := virtual(t)
	var tm loop.Timer
	r := call(func() {})
	l.StartTimer(&tm, time.Second, r)
	l.StopTimer(&tm)
	if n := testing.AllocsPerRun(100, func() {
		l.StartTimer(&tm, time.Second, r)
		l.StopTimer(&tm)
		l.Queue(r)
	}); n > 0.1 {
		t.Errorf("%v allocations, want none", n)
	}
}

// TestEdge007_CanceledTimersLeaveTheHeapLarge is R36: every request has a
// timeout, and finishes in time.
func TestEdge007_CanceledTimersLeaveTheHeapLarge(t *testing.T) {
	n := 1_000_000
	if raceEnabled {
		n /= 20
	}
	for _, tt := range []struct {
		name     string
		inFlight int
	}{{"one at a time", 1}, {"a thousand at once", 1000}} {
		t.Run(tt.name, func(t *testing.T) {
			l := virtual(t)
			flying := make([]*loop.Handle, tt.inFlight)
			fire := func() { t.Error("fired") }
			before, highest := heapBytes(), uint64(0)
			start := time.Now()
			for i := range n {
				k := i % tt.inFlight
				if h := flying[k]; h != nil && !h.Cancel() {
					t.Fatal("Cancel = false")
				}
				flying[k] = l.CallLater(30*time.Second, fire)
				if i%(n/4) == n/8 {
					highest = max(highest, heapBytes())
				}
			}
			took := time.Since(start)
			if got := l.Stats().Pending; got != tt.inFlight {
				t.Errorf("%d timers pending, want %d", got, tt.inFlight)
			}
			for _, h := range flying {
				h.Cancel()
			}
			if got := l.Stats().Pending; got != 0 {
				t.Errorf("%d timers pending after all are canceled, want 0", got)
			}
			grown := int64(highest) - int64(before)
			limit := int64(512<<10 + tt.inFlight*300)
			t.Logf("%d timers armed and canceled, %d at a time: %d ns each (with 4 collections), heap grew by %d B",
				n, tt.inFlight, took.Nanoseconds()/int64(n), grown)
			if grown > limit {
				t.Errorf("the heap grew by %d B, want at most %d", grown, limit)
			}
		})
	}
}

func TestAVirtualYearPassesAtOnce(t *testing.T) {
	l := virtual(t)
	start, ticks := l.Now(), 0
	var tick func()
	tick = func() {
		if ticks++; ticks < 365 {
			l.CallLater(24*time.Hour, tick)
		}
	}
	l.CallLater(24*time.Hour, tick)
	finish(t, l)
	if got, want := l.Now().Sub(start), 365*24*time.Hour; got != want || ticks != 365 {
		t.Errorf("%d ticks in %v, want 365 in %v", ticks, got, want)
	}
}

func ExampleLoop_CallLater() {
	l, err := loop.New(loop.Config{Clock: looptest.NewClock(time.Time{})})
	if err != nil {
		panic(err)
	}
	defer l.Close()
	l.CallLater(time.Hour, func() {
		fmt.Println("an hour later")
		l.Stop()
	})
	l.CallSoon(func() { fmt.Println("soon") })
	l.Run()
	// Output:
	// soon
	// an hour later
}
