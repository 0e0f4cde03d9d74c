package loop_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
)

// lag returns the Lag of a loop whose slices took the given times.
func lag(t testing.TB, samples []time.Duration) loop.Histogram {
	clock := newManualClock()
	l := open(t, loop.Config{Clock: clock})
	i := 0
	clock.idle = func(time.Time, bool) (time.Duration, error) {
		if i == len(samples) {
			return 0, loop.ErrDeadlock
		}
		d := samples[i]
		i++
		l.CallSoon(func() { clock.now = clock.now.Add(d) })
		return 0, nil
	}
	finish(t, l)
	return l.Stats().Lag
}

// checkHistogram compares with a sorted list of the samples.
func checkHistogram(t testing.TB, samples []time.Duration) {
	t.Helper()
	h := lag(t, samples)
	sorted := slices.Clone(samples)
	slices.Sort(sorted)
	n := len(sorted)
	if int(h.Count) != n || n > 0 && h.Max != sorted[n-1] {
		t.Fatalf("Count, Max = %d, %v; want %d of %v", h.Count, h.Max, n, sorted)
	}
	before := time.Duration(0)
	for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1} {
		got := h.Quantile(q)
		if n == 0 {
			if got != 0 {
				t.Errorf("Quantile(%v) = %v of none, want 0", q, got)
			}
			continue
		}
		// What a share q of the samples does not exceed lies between the two
		// samples around that rank.
		low := sorted[max(int(math.Ceil(q*float64(n)))-1, 0)]
		high := sorted[min(int(q*float64(n)), n-1)]
		if got < low || float64(got) > 1.25*float64(high) {
			t.Errorf("Quantile(%v) = %d, want %d to 1.25·%d", q, got, low, high)
		}
		if got < before {
			t.Errorf("Quantile(%v) = %d is less than that of a smaller share, %d", q, got, before)
		}
		before = got
	}
}

func TestHistogramAgreesWithASortedList(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, tt := range []struct {
		name   string
		n      int
		sample func() time.Duration
	}{
		{"none", 0, nil},
		{"one", 1, func() time.Duration { return 12345 }},
		{"two", 2, func() time.Duration { return time.Duration(r.Int64N(1000)) }},
		{"zeros", 10, func() time.Duration { return 0 }},
		{"equal", 100, func() time.Duration { return time.Millisecond }},
		{"small", 1000, func() time.Duration { return time.Duration(r.Int64N(20)) }},
		{"uniform", 10_000, func() time.Duration { return time.Duration(r.Int64N(int64(time.Second))) }},
		{"all magnitudes", 10_000, func() time.Duration { return time.Duration(math.Exp2(r.Float64() * 40)) }},
		{"a long tail", 10_000, func() time.Duration {
			return time.Duration(float64(10*time.Microsecond) / (r.Float64() + 1e-6))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var samples []time.Duration
			for range tt.n {
				samples = append(samples, tt.sample())
			}
			checkHistogram(t, samples)
		})
	}
}

func TestHistogramAtTheEdgesOfItsBuckets(t *testing.T) {
	var samples []time.Duration
	for e := range 41 {
		for k := range 8 {
			for _, d := range []int64{-1, 0, 1} {
				if v := int64(1)<<e + int64(k)<<e>>3 + d; v >= 0 {
					samples = append(samples, time.Duration(v))
				}
			}
		}
	}
	for _, s := range samples {
		checkHistogram(t, []time.Duration{s})
	}
	checkHistogram(t, samples)
}

func TestHistogramOfHoursIsNotTooLow(t *testing.T) { // beyond the last bucket
	checkMax := func(samples ...time.Duration) {
		h := lag(t, samples)
		if got, want := h.Quantile(1), slices.Max(samples); got != want {
			t.Errorf("Quantile(1) of %v = %v, want %v", samples, got, want)
		}
	}
	checkMax(20 * time.Minute)
	checkMax(time.Millisecond, 5*time.Hour)
	checkMax(1000 * time.Hour)
}

func FuzzHistogram(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var samples []time.Duration
		for ; len(data) >= 8 && len(samples) < 1000; data = data[8:] {
			samples = append(samples, time.Duration(binary.LittleEndian.Uint64(data)&(1<<40-1)))
		}
		checkHistogram(t, samples)
	})
}

func TestStatsOfABusyAndAnIdleLoopTimed(t *testing.T) {
	l := real(t)
	s := l.Stats()
	if u := s.Utilization(); u != 0 {
		t.Errorf("Utilization before Run = %v, want 0", u)
	}
	idle := func(d time.Duration) { l.CallLater(d, l.Stop) }
	busy := func(d time.Duration) {
		l.CallSoon(func() {
			for start := time.Now(); time.Since(start) < d; {
			}
			l.CallSoon(l.Stop)
		})
	}
	check := func(what string, low, high float64) {
		t.Helper()
		s := l.Stats()
		if u := s.Utilization(); u < low || u > high || math.IsNaN(u) {
			t.Errorf("%s: Utilization = %.3f, want %v to %v (busy %v, waiting %v)", what, u, low, high, s.Busy, s.Waiting)
		}
	}
	idle(30 * time.Millisecond)
	run(t, l)
	check("idle", 0, 0.2)
	busy(300 * time.Millisecond)
	run(t, l)
	idle(time.Millisecond) // counts the slice before
	run(t, l)
	check("busy", 0.6, 1)
	if s := l.Stats(); s.Lag.Max < 300*time.Millisecond || s.Lag.Quantile(1) != s.Lag.Max {
		t.Errorf("Lag: max %v, p100 %v; want at least 300 ms", s.Lag.Max, s.Lag.Quantile(1))
	}
}

func TestStatsCount(t *testing.T) {
	l := virtual(t)
	l.CallSoon(func() {})
	l.CallLater(time.Second, func() {})
	l.CallLater(time.Minute, func() {}).Cancel()
	release := l.Hold()
	if s := l.Stats(); s.Queued != 1 || s.Pending != 1 || s.Outside != 1 || s.Calls != 0 {
		t.Errorf("before Run: %+v; want 1 queued, 1 pending, 1 outside, 0 calls", s)
	}
	for range 3 {
		_ = l.CallSoonThreadsafe(func() {})
	}
	release() // a post of its own
	finish(t, l)
	s := l.Stats()
	if s.Queued != 0 || s.Pending != 0 || s.Outside != 0 || s.Timers != 1 || s.Posts != 4 || s.Calls != 6 || s.Panics != 0 {
		t.Errorf("after Run: %+v; want 1 timer, 4 posts, 6 calls", s)
	}
	if s.Looks == 0 || s.Polls != 0 || s.Lag.Count == 0 {
		t.Errorf("%d looks, %d polls, %d samples; want some, none, some", s.Looks, s.Polls, s.Lag.Count)
	}
}

func TestTraceTellsOfWaiting(t *testing.T) {
	var waits []time.Duration
	wakes := 0
	l := open(t, loop.Config{Trace: &loop.Trace{
		Wait: func(d time.Duration) { waits = append(waits, d) },
		Wake: func(ready int) {
			wakes++
			if wakes != len(waits) || ready != 0 {
				t.Errorf("wake %d after %d waits, %d ready; want as many, 0", wakes, len(waits), ready)
			}
		},
	}})
	const d = 3 * time.Millisecond
	l.CallLater(d, func() {
		l.Stop()
	})
	run(t, l)
	if len(waits) == 0 || waits[0] <= 0 || waits[0] > d {
		t.Errorf("waited for %v, want first up to %v", waits, d)
	}
	waits, wakes = nil, 0
	done := make(chan bool)
	go func() {
		defer close(done)
		_ = l.CallSoonThreadsafe(l.Stop)
	}()
	run(t, l)
	<-done
	for _, d := range waits {
		if d > 0 {
			t.Errorf("waited for %v without a timer, want for ever or not at all", d)
		}
	}
}
