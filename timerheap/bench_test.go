package timerheap

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// The alternative to a heap of one's own is a timer of the Go runtime for each
// deadline. It locks a heap of the runtime, and runs its function on a goroutine
// of its own, so both sides here do a little less, or more, than the same.

var backlogs = []int{0, 1_000, 100_000}

// A fill is a heap with nodes that are due in random order within a minute from
// now, and none before a second from now.
func fill(h *Heap[int], n int) {
	r := rand.New(rand.NewPCG(1, 2))
	nodes := make([]Node[int], n)
	for i := range nodes {
		h.Push(1e9+r.Int64N(59e9), &nodes[i])
	}
}

// BenchmarkPushPop is the way of a timer that fires: 64 are pushed, then all
// are popped when they are due, ahead of the backlog. One operation is one timer.
func BenchmarkPushPop(b *testing.B) {
	const batch = 64
	for _, n := range backlogs {
		b.Run(fmt.Sprintf("heap/backlog=%d", n), func(b *testing.B) {
			var h Heap[int]
			fill(&h, n)
			r := rand.New(rand.NewPCG(3, 4))
			var nodes [batch]Node[int]
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				k := i % batch
				h.Push(r.Int64N(1e9), &nodes[k])
				if k == batch-1 {
					for h.PopDue(1e9-1) != nil {
					}
				}
			}
		})
	}
	for _, n := range backlogs {
		b.Run(fmt.Sprintf("AfterFunc/backlog=%d", n), func(b *testing.B) {
			defer afterFuncs(n)()
			fired := make(chan struct{}, batch)
			fn := func() { fired <- struct{}{} }
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				time.AfterFunc(1, fn)
				if i%batch == batch-1 {
					for range batch {
						<-fired
					}
				}
			}
			for range b.N % batch {
				<-fired
			}
		})
	}
}

// BenchmarkPushRemove90 is the way of timeouts: of ten that are pushed nine are
// removed, in the order they came, and the tenth fires. One operation is one
// timer.
func BenchmarkPushRemove90(b *testing.B) {
	const batch = 1000
	for _, n := range backlogs {
		b.Run(fmt.Sprintf("heap/backlog=%d", n), func(b *testing.B) {
			var h Heap[int]
			fill(&h, n)
			r := rand.New(rand.NewPCG(3, 4))
			var nodes [batch]Node[int]
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				k := i % batch
				h.Push(r.Int64N(1e9), &nodes[k])
				if k == batch-1 {
					for k := range nodes {
						if k%10 != 0 {
							h.Remove(&nodes[k])
						}
					}
					for h.PopDue(1e9-1) != nil {
					}
				}
			}
		})
	}
	for _, n := range backlogs {
		b.Run(fmt.Sprintf("AfterFunc/backlog=%d", n), func(b *testing.B) {
			defer afterFuncs(n)()
			fired := make(chan struct{}, batch)
			fn := func() { fired <- struct{}{} }
			var timers [batch]*time.Timer
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				k := i % batch
				timers[k] = time.AfterFunc(time.Minute, fn)
				if k == batch-1 {
					for k, t := range timers {
						if k%10 != 0 {
							t.Stop()
						} else {
							t.Reset(1)
						}
					}
					for range batch / 10 {
						<-fired
					}
				}
			}
			for _, t := range timers {
				if t != nil {
					t.Stop()
				}
			}
		})
	}
}

// afterFuncs starts n timers that do not fire, and returns how to stop them.
func afterFuncs(n int) (stop func()) {
	timers := make([]*time.Timer, n)
	for i := range timers {
		timers[i] = time.AfterFunc(time.Hour, func() {})
	}
	return func() {
		for _, t := range timers {
			t.Stop()
		}
	}
}
