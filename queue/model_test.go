package queue_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

const modelOps = 100

func modelSeeds() uint64 {
	if raceEnabled {
		return 60
	}
	return 1000
}

// An item knows who has put it; seq counts the puts of that producer.
type item struct{ prio, producer, seq int }

// A model is what must be in the queue: items in the order of Get.
type model struct {
	kind  int
	items []item
	next  []int // by producer: the seq that a FIFO must give next, at least
}

const (
	fifo = iota
	lifo
	priority
)

func (m *model) put(v item) {
	switch m.kind {
	case fifo:
		m.items = append(m.items, v)
	case lifo:
		m.items = slices.Insert(m.items, 0, v)
	case priority:
		i := 0
		for i < len(m.items) && m.items[i].prio <= v.prio {
			i++
		}
		m.items = slices.Insert(m.items, i, v)
	}
}

func newQueue(kind, max int) *queue.Queue[item] {
	switch kind {
	case lifo:
		return queue.NewLIFO[item](max)
	case priority:
		return queue.NewPriority(max, func(a, b item) bool { return a.prio < b.prio })
	}
	return queue.New[item](max)
}

// Producers and consumers that are canceled at random, with and without scopes
// and a shut down in the middle. Every put and every get is compared with a model
// at the moment it happens, so no item is lost, doubled or out of order.
func TestQueueModel(t *testing.T) {
	total := 0
	for seed := range modelSeeds() {
		looptest.Run(t, func(ctx context.Context) error {
			n, err := queueModel(ctx, rand.New(rand.NewPCG(seed, 2)))
			if err != nil {
				return fmt.Errorf("seed %d: %w", seed, err)
			}
			total += n
			return nil
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d seeds: %d items put and got", modelSeeds(), total)
}

func queueModel(ctx context.Context, r *rand.Rand) (got int, bad error) {
	m := &model{kind: r.IntN(3)}
	bound := r.IntN(4)
	q := newQueue(m.kind, bound)
	put, dropped, shut := 0, 0, false
	fail := func(format string, args ...any) {
		if bad == nil {
			bad = fmt.Errorf(format, args...)
		}
	}
	didPut := func(v item) {
		put++
		m.put(v)
		if bound > 0 && q.Len() > bound {
			fail("%d items in a queue for %d", q.Len(), bound)
		}
	}
	didGet := func(v item) {
		got++
		if len(m.items) == 0 || m.items[0] != v {
			fail("got %v of %v", v, m.items)
			return
		}
		m.items = m.items[1:]
		if m.kind == fifo {
			if v.seq < m.next[v.producer] {
				fail("item %d of producer %d came after a later one", v.seq, v.producer)
			}
			m.next[v.producer] = v.seq + 1
		}
		q.Done()
	}
	var ts []*task.Task[struct{}]
	var cancels []context.CancelFunc
	start := func(body func(ctx context.Context) error) {
		sub := ctx
		switch r.IntN(4) {
		case 0:
			var cancel context.CancelFunc
			sub, cancel = task.WithTimeout(ctx, time.Hour)
			cancels = append(cancels, cancel)
		case 1:
			var cancel context.CancelFunc
			sub, cancel = task.WithTimeout(ctx, time.Duration(1+r.IntN(5))*time.Second)
			cancels = append(cancels, cancel)
		}
		ts = append(ts, task.Go(sub, func(ctx context.Context) error {
			_ = body(ctx) // an error is a cancellation or the end: all is in the model
			return nil
		}))
	}
	produce := func(ctx context.Context, producer, n int) error {
		for seq := range n {
			v := item{r.IntN(3), producer, seq}
			if err := q.Put(ctx, v); err != nil {
				if err == queue.ErrShutDown && !shut {
					fail("Put says that the queue is shut down")
				}
				continue // a seq that is not put
			}
			didPut(v)
		}
		return nil
	}
	quiet := func() error {
		if err := looptest.WaitIdle(ctx); err != nil {
			return err
		}
		if s := q.Stats(); s.Getters > 0 && s.Len > 0 || s.Putters > 0 && !q.Full() {
			return fmt.Errorf("a wake-up is lost: %+v and nothing happens", s)
		}
		return nil
	}
	for range modelOps {
		switch op := r.IntN(40); {
		case op < 10:
			producer, n := len(m.next), 1+r.IntN(3)
			m.next = append(m.next, 0)
			start(func(ctx context.Context) error { return produce(ctx, producer, n) })
		case op < 17:
			start(func(ctx context.Context) error {
				v, err := q.Get(ctx)
				if err == nil {
					didGet(v)
				}
				return err
			})
		case op < 19:
			n := 1 + r.IntN(3)
			start(func(ctx context.Context) error {
				for v, err := range q.All(ctx) {
					if err != nil {
						return err
					}
					didGet(v)
					if n--; n == 0 {
						break
					}
				}
				return nil
			})
		case op < 25:
			if len(ts) > 0 {
				ts[r.IntN(len(ts))].Cancel(errBoom)
			}
		case op < 28:
			if len(cancels) > 0 {
				cancels[r.IntN(len(cancels))]()
			}
		case op == 28:
			if v, err := q.TryGet(); err == nil {
				didGet(v)
			}
		case op == 29:
			v := item{r.IntN(3), len(m.next), 0}
			m.next = append(m.next, 0)
			if q.TryPut(v) == nil {
				didPut(v)
			}
		case op == 30 && r.IntN(10) == 0:
			now := r.IntN(2) == 0
			shut = true
			q.ShutDown(now)
			if now {
				dropped += len(m.items)
				m.items = nil
			}
		case op == 31: // some get woken, some of those canceled, and then?
			for range q.Stats().Getters / 2 {
				v := item{r.IntN(3), len(m.next), 0}
				m.next = append(m.next, 0)
				if q.TryPut(v) == nil {
					didPut(v)
				}
			}
			for range 3 {
				if len(ts) > 0 {
					ts[len(ts)-1-r.IntN(min(len(ts), 10))].Cancel(errBoom)
				}
			}
			if err := quiet(); err != nil {
				return 0, err
			}
		case op == 32:
			if err := task.Sleep(ctx, time.Duration(r.IntN(2000))*time.Millisecond); err != nil {
				return 0, err
			}
		default:
			for range r.IntN(3) {
				if err := task.Yield(ctx); err != nil {
					return 0, err
				}
			}
		}
		if items := q.Items(); !slices.Equal(items, m.items) || q.Len() != len(items) {
			return 0, fmt.Errorf("in the queue: %v, want %v", items, m.items)
		}
		if q.Unfinished() != put-got-dropped {
			return 0, fmt.Errorf("unfinished %d of %d put, %d got, %d dropped", q.Unfinished(), put, got, dropped)
		}
	}
	if err := quiet(); err != nil {
		return 0, err
	}
	// Make room until no producer is left, then tell the consumers that no more comes.
	for q.Stats().Putters > 0 || q.Len() > 0 {
		v, err := q.TryGet()
		if err == nil {
			didGet(v)
		}
		if err := task.Yield(ctx); err != nil {
			return 0, err
		}
		if bad != nil {
			return 0, bad
		}
	}
	if err := looptest.WaitIdle(ctx); err != nil {
		return 0, err
	}
	for q.Len() > 0 {
		v, err := q.TryGet()
		if err != nil {
			return 0, err
		}
		didGet(v)
	}
	shut = true
	q.ShutDown(false)
	for _, tk := range ts {
		_, _ = tk.Await(ctx)
	}
	for _, cancel := range cancels {
		cancel()
	}
	for q.Len() > 0 { // of a producer that the shut down has met
		v, _ := q.TryGet()
		didGet(v)
	}
	if err := q.Join(ctx); err != nil {
		return 0, err
	}
	if s := q.Stats(); put != got+dropped || s.Getters+s.Putters+s.Len+s.Unfinished != 0 {
		return 0, fmt.Errorf("at the end: %d put, %d got, %d dropped, %+v", put, got, dropped, s)
	}
	return got, bad
}
