package linear_test

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/eddyloop/eddy/thread"
)

// These queues are broken, each in one way that a test of one goroutine may miss. If
// the check above could not fail, it would let them pass.

// A reordering queue now and then gives a later item first.
type reordering struct {
	*thread.Queue[byte]
	mu sync.Mutex
	n  int
}

func (q *reordering) TryGet() (byte, error) {
	q.mu.Lock()
	q.n++
	odd := q.n%3 == 0
	q.mu.Unlock()
	v, err := q.Queue.TryGet()
	if err == nil && odd && q.TryPut(v) == nil {
		return q.Queue.TryGet()
	}
	return v, err
}

// A losing queue now and then drops what it says it has put.
type losing struct {
	*thread.Queue[byte]
	mu sync.Mutex
	n  int
}

func (q *losing) TryPut(v byte) error {
	q.mu.Lock()
	q.n++
	lose := q.n%5 == 0
	q.mu.Unlock()
	if lose {
		return nil
	}
	return q.Queue.TryPut(v)
}

// A doubling queue looks and takes in two steps, so two may get the same item.
type doubling struct{ *thread.Queue[byte] }

func (q *doubling) TryGet() (byte, error) {
	items := q.Items()
	if len(items) == 0 {
		return q.Queue.TryGet()
	}
	runtime.Gosched()
	_, _ = q.Queue.TryGet()
	return items[0], nil
}

// A generous queue lets one in more than its bound, if it comes by TryPut.
type generous struct {
	*thread.Queue[byte]
	mu    sync.Mutex
	extra []byte
}

func (q *generous) TryPut(v byte) error {
	err := q.Queue.TryPut(v)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == thread.ErrFull && len(q.extra) == 0 {
		q.extra = append(q.extra, v)
		return nil
	}
	return err
}

// A miscounting queue counts in two steps.
type miscounting struct{ *thread.Queue[byte] }

func (q *miscounting) Len() int {
	n := q.Queue.Len()
	runtime.Gosched()
	return min(n, q.Queue.Len()+1) // one too many is wrong only if others were there
}

// An undying queue takes items after it was shut down.
type undying struct{ *thread.Queue[byte] }

func (q *undying) TryPut(v byte) error {
	if err := q.Queue.TryPut(v); err != thread.ErrShutDown {
		return err
	}
	return nil
}

// A deaf queue says that it has timed out though it was served.
type deaf struct {
	*thread.Queue[byte]
	mu sync.Mutex
	n  int
}

func (q *deaf) Get(ctx context.Context) (byte, error) {
	v, err := q.Queue.Get(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n++; q.n%4 == 0 && err == nil {
		return 0, context.Canceled
	}
	return v, err
}

func TestBrokenQueuesAreCaught(t *testing.T) {
	k := kind{"fifo", 2}
	fresh := func() *thread.Queue[byte] { return thread.NewQueue[byte](k.bound) }
	for name, make := range map[string]func() queue{
		"reordering":  func() queue { return &reordering{Queue: fresh()} },
		"losing":      func() queue { return &losing{Queue: fresh()} },
		"doubling":    func() queue { return &doubling{fresh()} },
		"generous":    func() queue { return &generous{Queue: fresh()} },
		"miscounting": func() queue { return &miscounting{fresh()} },
		"undying":     func() queue { return &undying{fresh()} },
		"deaf":        func() queue { return &deaf{Queue: fresh()} },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(5000) {
				if !check(t, k, record(t, k, make, seed)) {
					t.Logf("caught at seed %d", seed)
					return
				}
			}
			t.Error("was not caught")
		})
	}
}
