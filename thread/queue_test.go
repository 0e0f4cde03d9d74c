package thread_test

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eddyloop/eddy/thread"
)

// ranked items are equal to a priority queue if their ranks are.
type ranked struct{ rank, seq int }

func byRank(a, b ranked) bool { return a.rank < b.rank }

// Each kind of queue against a slice that is obviously right, over many fillings and
// emptyings, so that rings wrap and grow.
func TestOrderOfItems(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(max int) *thread.Queue[ranked]
		put  func(items []ranked, v ranked) []ranked // the first is the next
	}{
		{"fifo", thread.NewQueue[ranked], func(items []ranked, v ranked) []ranked { return append(items, v) }},
		{"lifo", thread.NewLIFO[ranked], func(items []ranked, v ranked) []ranked { return slices.Insert(items, 0, v) }},
		{
			"priority", func(max int) *thread.Queue[ranked] { return thread.NewPriority(max, byRank) },
			func(items []ranked, v ranked) []ranked {
				items = append(items, v)
				slices.SortStableFunc(items, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
				return items
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(50) {
				r := rand.New(rand.NewPCG(seed, 7))
				bound := r.IntN(40) - 5
				q := tt.make(bound)
				var model []ranked
				for seq := range 400 {
					if r.IntN(20) < 5+10*((seq/50)%2) {
						v := ranked{r.IntN(4), seq}
						err := q.TryPut(v)
						if full := bound > 0 && len(model) >= bound; full != (err == thread.ErrFull) || !full && err != nil {
							t.Fatalf("seed %d: put into %d of %d: %v", seed, len(model), bound, err)
						}
						if err == nil {
							model = tt.put(model, v)
						}
					} else {
						v, err := q.TryGet()
						if (err == thread.ErrEmpty) != (len(model) == 0) {
							t.Fatalf("seed %d: get from %d: %v", seed, len(model), err)
						}
						if err == nil && v != model[0] {
							t.Fatalf("seed %d: got %v of %v", seed, v, model)
						}
						model = slices.Clone(model[min(1, len(model)):])
					}
					if items := q.Items(); !slices.Equal(items, model) || q.Len() != len(model) || q.Empty() != (len(model) == 0) {
						t.Fatalf("seed %d: %d items %v, want %v", seed, q.Len(), items, model)
					}
				}
			}
		})
	}
}

func TestQueueBounds(t *testing.T) {
	for _, max := range []int{0, -1, -1 << 62} {
		q := thread.NewQueue[int](max)
		for i := range 1000 {
			must(t, q.TryPut(i))
		}
		if q.Max() != 0 || q.Full() || q.Len() != 1000 {
			t.Errorf("max %d: Max %d, full %v, %d items", max, q.Max(), q.Full(), q.Len())
		}
	}
	q := thread.NewQueue[int](1)
	must(t, q.TryPut(1))
	if q.Max() != 1 || !q.Full() || q.TryPut(2) != thread.ErrFull {
		t.Errorf("Max %d, full %v", q.Max(), q.Full())
	}
	wantPanic(t, "thread: priority queue without an order", func() { thread.NewPriority[int](1, nil) })
}

func TestQueueGivesTheMemoryOfABurstBack(t *testing.T) {
	q := thread.NewQueue[int](0)
	for round := range 2 {
		for i := range 100_000 {
			must(t, q.TryPut(i))
		}
		for i := range 100_000 {
			if v, err := q.TryGet(); v != i || err != nil {
				t.Fatal(v, err)
			}
		}
		if n := thread.RingLen(q); n != 0 {
			t.Errorf("round %d: a ring of %d", round, n)
		}
	}
}

func TestQueueAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := thread.NewQueue[int](1)
		go func() {
			for i := range 4 {
				must(t, q.Put(bg, i))
			}
			q.ShutDown(false)
		}()
		var got []int
		for v, err := range q.All(bg) {
			must(t, err)
			got = append(got, v)
		}
		if !slices.Equal(got, []int{0, 1, 2, 3}) {
			t.Errorf("got %v", got)
		}

		q = thread.NewQueue[int](0)
		must(t, q.Put(bg, 1))
		must(t, q.Put(bg, 2))
		for range q.All(bg) {
			break // takes one
		}
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		var end []error
		for v, err := range q.All(ctx) {
			if err == nil && v != 2 {
				t.Errorf("got %d", v)
			}
			end = append(end, err)
		}
		if !slices.Equal(end, []error{nil, context.DeadlineExceeded}) {
			t.Errorf("%v", end)
		}
	})
}

func TestQueueStats(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := thread.NewQueue[int](1)
		var wg sync.WaitGroup
		want := func(want thread.Stats) {
			t.Helper()
			synctest.Wait()
			if got := q.Stats(); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		ignore := func(fn func() error) { wg.Go(func() { _ = fn() }) }
		want(thread.Stats{Max: 1})
		ignore(func() error { _, err := q.Get(bg); return err })
		ignore(func() error { _, err := q.Get(bg); return err })
		want(thread.Stats{Max: 1, Getters: 2})
		for i := range 5 {
			ignore(func() error { return q.Put(bg, i) })
		}
		synctest.Wait()
		ignore(func() error { return q.Join(bg) })
		want(thread.Stats{Max: 1, Len: 1, Unfinished: 3, Putters: 2, Joiners: 1})
		q.ShutDown(true)
		want(thread.Stats{Max: 1, Unfinished: 2, Joiners: 1, ShutDown: true})
		q.Done()
		q.Done()
		want(thread.Stats{Max: 1, ShutDown: true})
		wantPanic(t, "thread: Done was called more often than items were put", q.Done)
		wg.Wait()
	})
}

func TestJoinWaitsForWhatIsTakenToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := thread.NewQueue[int](0)
		must(t, q.Join(bg)) // nothing was put
		j := newJournal()
		must(t, q.Put(bg, 1))
		must(t, q.Put(bg, 2))
		j.run("join", func() error { return q.Join(bg) })
		_, err := q.Get(bg)
		must(t, err)
		q.Done()
		_, err = q.Get(bg)
		must(t, err)
		j.want(t)
		q.Done()
		must(t, q.Put(bg, 3)) // too late to keep it
		j.want(t, "join ok")
		wantErr(t, q.JoinTimeout(bg, time.Second), thread.ErrTimeout)
	})
}

// A function less that panics, with a value only, does so in the call that it is
// used by; nobody hangs because of it.
func TestPriorityQueueWhoseOrderPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const bad = -1
		q := thread.NewPriority(2, func(a, b int) bool {
			if a == bad || b == bad {
				panic("bad")
			}
			return a < b
		})
		must(t, q.TryPut(1))
		wantPanic(t, "bad", func() { _ = q.TryPut(bad) })
		if q.Len() != 1 || q.Unfinished() != 1 {
			t.Errorf("%d items, %d unfinished, want one", q.Len(), q.Unfinished())
		}
		must(t, q.TryPut(2))
		j := newJournal()
		j.run("put", func() error { return q.PutTimeout(bg, bad, time.Second) })
		wantPanic(t, "bad", func() { _, _ = q.TryGet() })
		time.Sleep(time.Second)
		j.want(t, "put thread: queue full")
		must(t, q.TryPut(0))
		if v, err := q.TryGet(); v != 0 || err != nil {
			t.Errorf("got %d, %v", v, err)
		}
	})
}

// Producers and consumers whose calls end at random moments: each item that a Put
// has put is got once, and none else.
func TestNoItemIsLostOrDoubled(t *testing.T) {
	kinds := map[string]func() *thread.Queue[int]{
		"fifo":     func() *thread.Queue[int] { return thread.NewQueue[int](3) },
		"lifo":     func() *thread.Queue[int] { return thread.NewLIFO[int](3) },
		"priority": func() *thread.Queue[int] { return thread.NewPriority(3, func(a, b int) bool { return a < b }) },
	}
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			const producers, consumers, items = 4, 4, 2000
			q := make()
			var got [producers * items]atomic.Int32
			var put [producers * items]bool
			var producing, consuming sync.WaitGroup
			for p := range producers {
				producing.Go(func() {
					for i := range items {
						v := p*items + i
						switch i % 3 {
						case 0:
							put[v] = q.PutTimeout(bg, v, time.Duration(i%50)*time.Microsecond) == nil
						case 1:
							ctx, cancel := context.WithTimeout(bg, time.Duration(i%50)*time.Microsecond)
							put[v] = q.Put(ctx, v) == nil
							cancel()
						default:
							put[v] = q.Put(bg, v) == nil
						}
					}
				})
			}
			for c := range consumers {
				consuming.Go(func() {
					for i := c; ; i++ {
						v, err := q.GetTimeout(bg, time.Duration(i%50)*time.Microsecond)
						if err == nil {
							got[v].Add(1)
							q.Done()
						}
						if err == thread.ErrShutDown {
							return
						}
					}
				})
			}
			producing.Wait()
			must(t, q.Join(bg))
			q.ShutDown(false)
			consuming.Wait()
			for v := range put {
				if n := got[v].Load(); n != 0 != put[v] || n > 1 {
					t.Fatalf("item %d: put %v, got %d times", v, put[v], n)
				}
			}
			if s := q.Stats(); s != (thread.Stats{Max: 3, ShutDown: true}) {
				t.Errorf("in the end: %+v", s)
			}
		})
	}
}

func TestSimpleQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var q thread.SimpleQueue[int]
		if _, err := q.TryGet(); err != thread.ErrEmpty {
			t.Errorf("%v", err)
		}
		j := newJournal()
		for _, name := range []string{"a", "b"} {
			j.run(name, func() error {
				v, err := q.Get(bg)
				return errors.Join(err, errors.New(string(rune('0'+v))))
			})
		}
		if q.Waiting() != 2 || !q.Empty() {
			t.Errorf("%d wait, empty %v", q.Waiting(), q.Empty())
		}
		for v := 1; v <= 4; v++ {
			q.Put(v)
		}
		j.wantInAnyOrder(t, "a 1", "b 2")
		if q.Len() != 2 || q.Empty() {
			t.Errorf("%d items", q.Len())
		}
		for want := 3; want <= 4; want++ {
			if v, err := q.GetTimeout(bg, 0); v != want || err != nil {
				t.Errorf("got %d, %v, want %d", v, err, want)
			}
		}
	})
}
