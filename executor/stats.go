package executor

import (
	"slices"
	"time"
)

// Stats is what an executor does now and has done since it was made; that of a
// pool includes its lanes. Every job handed in is in exactly one of Running,
// Queued, Done, Canceled and Rejected.
type Stats struct {
	Running  int           // jobs that run now
	Queued   int           // jobs that wait now, those of Do and Map beyond the bound included
	Done     uint64        // jobs that have ended
	Panics   uint64        // of these, by a panic
	Late     uint64        // of these, after their future was canceled or its loop closed
	Canceled uint64        // jobs that were canceled, or cut off, before they started
	Rejected uint64        // jobs refused because the queue was full or the executor closed
	Waited   time.Duration // in all, for other jobs to end; of jobs that have started
	WaitMax  time.Duration // the longest such wait of one job
	WaitP50  time.Duration // the median of such waits, of the last 256 jobs of each lane
	WaitP99  time.Duration // their 99th percentile; jobs that did not wait count as 0
}

// recent is how many waits a lane remembers.
const recent = 256

// counts is what a lane remembers of its jobs. It is under the lane's lock.
type counts struct {
	done, panics, canceled, rejected uint64
	waited, waitMax                  int64          // ns
	starts                           uint64         // jobs that have started
	waits                            *[recent]int64 // of the last of these; made when one has waited
}

// started counts a job that has waited for ns.
func (c *counts) started(ns int64) {
	i := c.starts % recent
	c.starts++
	if c.waits == nil {
		if ns == 0 {
			return
		}
		c.waits = new([recent]int64)
	}
	c.waits[i] = ns
	c.waited += ns
	c.waitMax = max(c.waitMax, ns)
}

// Stats returns what the lane has done.
func (n *Lane) Stats() Stats { return statsOf(n) }

// Stats returns what the pool has done, its lanes included.
func (p *Pool) Stats() Stats { return statsOf(p.all()...) }

func statsOf(lanes ...*Lane) Stats {
	var s Stats
	var waits []int64
	for _, n := range lanes {
		n.mu.Lock()
		c := n.counts
		s.Running += n.running.n
		s.Queued += n.waiting.n
		if c.waits != nil {
			waits = append(waits, c.waits[:min(c.starts, recent)]...)
		} else {
			waits = append(waits, make([]int64, min(c.starts, recent))...)
		}
		n.mu.Unlock()
		s.Done += c.done
		s.Panics += c.panics
		s.Canceled += c.canceled
		s.Rejected += c.rejected
		s.Waited += time.Duration(c.waited)
		s.WaitMax = max(s.WaitMax, time.Duration(c.waitMax))
		s.Late += n.late.Load()
	}
	if len(waits) > 0 {
		slices.Sort(waits)
		s.WaitP50 = time.Duration(waits[len(waits)/2])
		s.WaitP99 = time.Duration(waits[len(waits)*99/100])
	}
	return s
}
