package loop

import (
	"math/bits"
	"time"
)

// Stats is what a loop has done since it was made.
type Stats struct {
	Turns  uint64 // batches of calls
	Looks  uint64 // times it looked outside: slices of turns
	Polls  uint64 // of these, times it asked the kernel
	Events uint64 // descriptors found ready
	Posts  uint64 // calls from other goroutines
	Calls  uint64 // calls made, up to the last look
	Timers uint64 // timers that became due
	Panics uint64 // panics contained
	Stale  uint64 // events dropped because their descriptor was gone

	Busy    time.Duration // running calls
	Waiting time.Duration // asleep in the kernel

	// Lag has a sample for each look: how long the loop had not looked before,
	// and so how long an event or a post may have waited for it.
	Lag Histogram

	Queued      int // calls that wait for their turn now
	Pending     int // timers that wait for their time now
	Descriptors int // registered now
	Outside     int // executor jobs and other Holds out now
}

// Utilization returns the share of its time that the loop was busy, 0 to 1.
func (s *Stats) Utilization() float64 {
	if s.Busy == 0 {
		return 0
	}
	return float64(s.Busy) / float64(s.Busy+s.Waiting)
}

// slice counts a stretch of calls between two looks.
func (s *Stats) slice(calls int, ns int64) {
	s.Looks++
	if calls == 0 {
		return
	}
	s.Calls += uint64(calls)
	s.Busy += time.Duration(ns)
	s.Lag.add(ns)
}

// Stats returns what the loop has done. It must be called on the loop.
func (l *Loop) Stats() Stats {
	s := l.stats
	s.Posts = l.inbox.total
	s.Stale = l.fds.stale
	s.Queued = l.ready.n
	s.Pending = l.timers.Len()
	s.Descriptors = l.fds.n
	s.Outside = int(l.outside.Load())
	return s
}

// A Histogram counts durations in buckets of about 19 % width. The zero value is
// empty.
type Histogram struct {
	Count uint64
	Max   time.Duration
	bins  [bins]uint64
}

// Four buckets to a power of two, up to 2^40 ns, some 18 minutes.
const bins = 4 * 40

func (h *Histogram) add(ns int64) {
	h.Count++
	h.Max = max(h.Max, time.Duration(ns))
	h.bins[bin(ns)]++
}

func bin(ns int64) int {
	if ns < 4 {
		return int(max(ns, 0))
	}
	exp := bits.Len64(uint64(ns)) - 3 // the top three bits remain, the first is 1
	return min(exp*4+int(ns>>exp), bins-1)
}

// upper returns the largest duration that falls in a bucket.
func upper(bin int) int64 {
	if bin < 8 {
		return int64(bin)
	}
	exp := bin/4 - 1
	return int64(bin%4+5)<<exp - 1
}

// Quantile returns a duration that the share q of the samples, 0 to 1, does not
// exceed, rounded up to its bucket and to no more than Max. It is 0 if there are
// none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.Count))
	var seen uint64
	for i, n := range h.bins {
		seen += n
		if seen > rank || seen == h.Count && n > 0 {
			if i == bins-1 {
				return h.Max
			}
			return min(time.Duration(upper(i)), h.Max)
		}
	}
	return h.Max
}
