package queue_test

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"

	"github.com/eddyloop/eddy/locks"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

// get is a body that takes an item and logs it.
func (j *journal) get(ctx context.Context, name string, q *queue.Queue[int]) *task.Task[struct{}] {
	return task.Go(ctx, func(ctx context.Context) error {
		v, err := q.Get(ctx)
		if err != nil {
			j.Log("%s %s", name, outcome(err))
			return nil
		}
		j.Log("%s got %d", name, v)
		return nil
	})
}

func (j *journal) put(ctx context.Context, name string, q *queue.Queue[int], v int) *task.Task[struct{}] {
	return j.Logs(ctx, name, func(ctx context.Context) error { return q.Put(ctx, v) })
}

func less(a, b int) bool { return a < b }

func TestOrderOfItems(t *testing.T) {
	for _, tt := range []struct {
		name string
		q    *queue.Queue[int]
		want []int
	}{
		{"New", queue.New[int](0), []int{3, 1, 2, 1}},
		{"NewLIFO", queue.NewLIFO[int](0), []int{1, 2, 1, 3}},
		{"NewPriority", queue.NewPriority(0, less), []int{1, 1, 2, 3}},
	} {
		for _, v := range []int{3, 1, 2, 1} {
			must(t, tt.q.TryPut(v))
		}
		if got := tt.q.Items(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: Items %v, want %v", tt.name, got, tt.want)
		}
		for i, want := range tt.want {
			if got, err := tt.q.TryGet(); got != want || err != nil {
				t.Errorf("%s: item %d is %v, %v; want %v", tt.name, i, got, err, want)
			}
			if got := tt.q.Items(); !slices.Equal(got, tt.want[i+1:]) {
				t.Errorf("%s: Items %v, want %v", tt.name, got, tt.want[i+1:])
			}
		}
		if v, err := tt.q.TryGet(); v != 0 || err != queue.ErrEmpty {
			t.Errorf("%s: empty queue gives %v, %v", tt.name, v, err)
		}
	}
}

func TestPriorityTiesAreFirstComeFirstServed(t *testing.T) {
	type item struct{ prio, seq int }
	q := queue.NewPriority(0, func(a, b item) bool { return a.prio < b.prio })
	var want []item
	for i := range 300 {
		v := item{i * 7 % 5, i}
		must(t, q.TryPut(v))
		want = append(want, v)
	}
	slices.SortStableFunc(want, func(a, b item) int { return cmp.Compare(a.prio, b.prio) })
	if got := q.Items(); !slices.Equal(got, want) {
		t.Errorf("Items %v", got)
	}
	for _, w := range want {
		if got, err := q.TryGet(); got != w || err != nil {
			t.Fatalf("got %v, %v; want %v", got, err, w)
		}
	}
}

func TestBounds(t *testing.T) {
	for _, tt := range []struct{ max, want int }{{-1, 0}, {0, 0}, {1, 1}, {3, 3}} {
		q := queue.New[int](tt.max)
		if q.Max() != tt.want || !q.Empty() || q.Full() || q.Len() != 0 {
			t.Errorf("New(%d): max %d, empty %v, full %v", tt.max, q.Max(), q.Empty(), q.Full())
		}
		for i := range 10 {
			err := q.TryPut(i)
			full := tt.want > 0 && i >= tt.want
			if full && err != queue.ErrFull || !full && err != nil {
				t.Errorf("New(%d): TryPut of item %d: %v", tt.max, i, err)
			}
			if q.Full() != (tt.want > 0 && i >= tt.want-1) || q.Empty() {
				t.Errorf("New(%d) with %d items: full %v, empty %v", tt.max, q.Len(), q.Full(), q.Empty())
			}
		}
	}
}

func TestStats(t *testing.T) {
	run(t, func(ctx context.Context) {
		var j journal
		q := queue.New[int](2)
		g := j.get(ctx, "g", q)
		yield(ctx, 1)
		check := func(want queue.Stats) {
			t.Helper()
			if got := q.Stats(); got != want {
				t.Errorf("Stats %+v, want %+v", got, want)
			}
		}
		check(queue.Stats{Max: 2, Getters: 1})
		g.Cancel(errBoom)
		idle(t, ctx)
		for i := range 5 {
			j.put(ctx, fmt.Sprint("p", i), q, i)
		}
		idle(t, ctx)
		check(queue.Stats{Len: 2, Max: 2, Unfinished: 2, Putters: 3})
		q.ShutDown(false)
		check(queue.Stats{Len: 2, Max: 2, Unfinished: 2, ShutDown: true})
		idle(t, ctx)
		j.Want(t, "g Canceled(boom)", "p0 ok", "p1 ok",
			"p2 queue: shut down", "p3 queue: shut down", "p4 queue: shut down")
		if q.Unfinished() != 2 {
			t.Errorf("unfinished %d, want 2", q.Unfinished())
		}
	})
}

func TestEdge099_GettersAreFirstComeFirstServed(t *testing.T) {
	run(t, func(ctx context.Context) {
		var j journal
		q := queue.New[int](0)
		for _, name := range []string{"a", "b", "c"} {
			j.get(ctx, name, q)
		}
		idle(t, ctx)
		must(t, q.TryPut(1))
		if n := q.Stats().Getters; n != 2 {
			t.Errorf("%d getters wait, want 2: a put wakes one", n)
		}
		must(t, q.TryPut(2))
		must(t, q.TryPut(3))
		idle(t, ctx)
		j.Want(t, "a got 1", "b got 2", "c got 3")
	})
}

func TestEdge099_PuttersAreFirstComeFirstServed(t *testing.T) {
	run(t, func(ctx context.Context) {
		var j journal
		q := queue.New[int](1)
		must(t, q.TryPut(0))
		for i, name := range []string{"a", "b", "c"} {
			j.put(ctx, name, q, i+1)
		}
		idle(t, ctx)
		for want := range 4 {
			if v, err := q.TryGet(); v != want || err != nil {
				t.Errorf("got %v, %v; want %d", v, err, want)
			}
			if n := q.Stats().Putters; n != max(2-want, 0) {
				t.Errorf("%d putters wait after %d gets: a get wakes one", n, want+1)
			}
			idle(t, ctx)
		}
		j.Want(t, "a ok", "b ok", "c ok")
	})
}

// A woken getter looks again: another may have taken the item.
func TestEdge099_WokenGetterLooksAgain(t *testing.T) {
	run(t, func(ctx context.Context) {
		var j journal
		q := queue.New[int](0)
		j.get(ctx, "a", q)
		yield(ctx, 1)
		must(t, q.TryPut(1))
		if v, err := q.TryGet(); v != 1 || err != nil {
			t.Fatal(v, err)
		}
		idle(t, ctx)
		j.Want(t)
		if q.Stats().Getters != 1 {
			t.Error("the getter does not wait any more")
		}
		must(t, q.TryPut(2))
		idle(t, ctx)
		j.Want(t, "a got 2")
	})
}

func TestEdge099_WokenPutterLooksAgain(t *testing.T) {
	run(t, func(ctx context.Context) {
		var j journal
		q := queue.New[int](1)
		must(t, q.TryPut(0))
		j.put(ctx, "a", q, 2)
		yield(ctx, 1)
		_, err := q.TryGet()
		must(t, err)
		must(t, q.TryPut(1)) // takes the place
		idle(t, ctx)
		j.Want(t)
		if v, err := q.TryGet(); v != 1 || err != nil {
			t.Error(v, err)
		}
		idle(t, ctx)
		j.Want(t, "a ok")
	})
}

// asyncio: test_why_are_getters_waiting, test_why_are_putters_waiting.
func TestEdge099_NobodyWaitsForNothing(t *testing.T) {
	run(t, func(ctx context.Context) {
		q := queue.New[int](1)
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.Go(func(ctx context.Context) error {
				for i := range 5 {
					must(t, q.Put(ctx, i))
				}
				return nil
			})
			g.Go(func(ctx context.Context) error {
				for want := range 5 {
					if v, err := q.Get(ctx); v != want || err != nil {
						t.Errorf("got %v, %v; want %d", v, err, want)
					}
				}
				return nil
			})
			return nil
		})
		must(t, err)
	})
	run(t, func(ctx context.Context) {
		q := queue.New[int](2)
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.Go(func(ctx context.Context) error {
				yield(ctx, 1)
				for range q.Len() {
					if _, err := q.TryGet(); err != nil {
						return err
					}
				}
				return nil
			})
			for i := range 4 {
				g.Go(func(ctx context.Context) error { return q.Put(ctx, i) })
			}
			return nil
		})
		must(t, err)
		if got := q.Items(); !slices.Equal(got, []int{2, 3}) {
			t.Errorf("left %v", got)
		}
	})
}

func TestEdge100_CanceledGetterPassesTheItemOn(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(ctx context.Context, q *queue.Queue[int], a *task.Task[struct{}]) error
	}{
		{"cancel, a turn, put", func(ctx context.Context, q *queue.Queue[int], a *task.Task[struct{}]) error {
			a.Cancel(errBoom)
			yield(ctx, 1)
			return q.TryPut(1)
		}},
		{"cancel, put", func(ctx context.Context, q *queue.Queue[int], a *task.Task[struct{}]) error {
			a.Cancel(errBoom)
			return q.TryPut(1)
		}},
		{"put, cancel", func(ctx context.Context, q *queue.Queue[int], a *task.Task[struct{}]) error {
			err := q.TryPut(1)
			a.Cancel(errBoom)
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) {
				var j journal
				q := queue.New[int](0)
				a := j.get(ctx, "a", q)
				j.get(ctx, "b", q)
				idle(t, ctx)
				must(t, tt.do(ctx, q, a))
				idle(t, ctx)
				j.Want(t, "a Canceled(boom)", "b got 1")
				if s := q.Stats(); s.Len+s.Getters != 0 {
					t.Errorf("left: %+v", s)
				}
			})
		})
	}
	t.Run("many", func(t *testing.T) { // test_get_cancel_drop_many_pending_readers
		run(t, func(ctx context.Context) {
			var j journal
			q := queue.New[int](0)
			a := j.get(ctx, "a", q)
			j.get(ctx, "b", q)
			j.get(ctx, "c", q)
			yield(ctx, 1)
			must(t, q.TryPut(1))
			must(t, q.TryPut(2))
			a.Cancel(errBoom)
			idle(t, ctx)
			j.Want(t, "a Canceled(boom)", "b got 1", "c got 2")
		})
	})
	t.Run("one, and the item stays", func(t *testing.T) { // test_get_cancel_drop_one_pending_reader
		run(t, func(ctx context.Context) {
			var j journal
			q := queue.New[int](0)
			a := j.get(ctx, "a", q)
			yield(ctx, 1)
			must(t, q.TryPut(1))
			must(t, q.TryPut(2))
			a.Cancel(errBoom)
			idle(t, ctx)
			if v, err := q.Get(ctx); v != 1 || err != nil {
				t.Errorf("got %v, %v: the first is lost", v, err)
			}
			j.Want(t, "a Canceled(boom)")
		})
	})
}

func TestEdge100_CanceledPutterPassesThePlaceOn(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(ctx context.Context, q *queue.Queue[int], a *task.Task[struct{}])
	}{
		{"cancel, a turn, get", func(ctx context.Context, q *queue.Queue[int], a *task.Task[struct{}]) {
			a.Cancel(errBoom)
			yield(ctx, 1)
			_, _ = q.TryGet()
		}},
		{"cancel, get", func(ctx context.Context, q *queue.Queue[int], a *task.Task[struct{}]) {
			a.Cancel(errBoom)
			_, _ = q.TryGet()
		}},
		{"get, cancel", func(ctx context.Context, q *queue.Queue[int], a *task.Task[struct{}]) {
			_, _ = q.TryGet()
			a.Cancel(errBoom)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) {
				var j journal
				q := queue.New[int](1)
				must(t, q.TryPut(0))
				a := j.put(ctx, "a", q, 1)
				j.put(ctx, "b", q, 2)
				idle(t, ctx)
				tt.do(ctx, q, a)
				idle(t, ctx)
				j.Want(t, "a Canceled(boom)", "b ok")
				if got := q.Items(); !slices.Equal(got, []int{2}) {
					t.Errorf("left %v, want only b's", got)
				}
			})
		})
	}
	t.Run("the last is canceled", func(t *testing.T) { // test_put_cancelled_race
		run(t, func(ctx context.Context) {
			var j journal
			q := queue.New[int](1)
			j.put(ctx, "a", q, 1)
			j.put(ctx, "b", q, 2)
			c := j.put(ctx, "c", q, 3)
			yield(ctx, 1)
			c.Cancel(errBoom)
			idle(t, ctx)
			for want := 1; want <= 2; want++ {
				if v, err := q.TryGet(); v != want || err != nil {
					t.Errorf("got %v, %v; want %d", v, err, want)
				}
				idle(t, ctx)
			}
			j.Want(t, "a ok", "c Canceled(boom)", "b ok")
		})
	})
}

func TestEdge100_CanceledJoin(t *testing.T) {
	run(t, func(ctx context.Context) {
		var j journal
		q := queue.New[int](0)
		must(t, q.TryPut(1))
		a := j.Logs(ctx, "a", q.Join)
		j.Logs(ctx, "b", q.Join)
		yield(ctx, 1)
		q.Done()
		a.Cancel(errBoom)
		idle(t, ctx)
		j.Want(t, "a Canceled(boom)", "b ok")
	})
}

func TestScopesAroundGetPutJoin(t *testing.T) {
	for _, tt := range []struct {
		name string
		wait func(ctx context.Context, q *queue.Queue[int]) error // of a full queue or an empty one
		wake func(q *queue.Queue[int])
		full bool
	}{
		{
			"Get", func(ctx context.Context, q *queue.Queue[int]) error { _, err := q.Get(ctx); return err },
			func(q *queue.Queue[int]) { _ = q.TryPut(1) }, false,
		},
		{
			"Put", func(ctx context.Context, q *queue.Queue[int]) error { return q.Put(ctx, 2) },
			func(q *queue.Queue[int]) { _, _ = q.TryGet() }, true,
		},
		{
			"Join", func(ctx context.Context, q *queue.Queue[int]) error { return q.Join(ctx) },
			func(q *queue.Queue[int]) { q.Done() }, true,
		},
	} {
		for _, level := range []bool{true, false} {
			for _, late := range []time.Duration{-1, 1} {
				run(t, func(ctx context.Context) {
					q := queue.New[int](1)
					if tt.full {
						must(t, q.TryPut(0))
					}
					var j journal
					j.Logs(ctx, "a", func(ctx context.Context) error {
						if level {
							sub, cancel := task.WithTimeout(ctx, time.Second)
							defer cancel()
							return tt.wait(sub, q)
						}
						return task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error { return tt.wait(ctx, q) })
					})
					sleep(ctx, time.Second+late)
					before := q.Stats()
					tt.wake(q)
					idle(t, ctx)
					if late < 0 {
						j.Want(t, "a ok")
						return
					}
					j.Want(t, "a task: timeout")
					if before.Getters+before.Putters != 0 {
						t.Errorf("%s: waits after the timeout: %+v", tt.name, before)
					}
					// What a wake-up has brought is there for the next.
					switch tt.name {
					case "Get":
						if v, err := q.TryGet(); v != 1 || err != nil {
							t.Errorf("Get: %v, %v", v, err)
						}
					case "Put":
						must(t, q.TryPut(3))
					}
				})
			}
		}
	}
}

func TestEdge101_CanceledWaitersDoNotPileUp(t *testing.T) {
	run(t, func(ctx context.Context) {
		q := queue.New[int](1)
		waits := func(wait func(ctx context.Context) error) {
			for range 100 {
				err := task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error { return wait(ctx) })
				if err != task.ErrTimeout {
					t.Fatal(err)
				}
			}
			if s := q.Stats(); s.Getters+s.Putters != 0 {
				t.Errorf("left behind: %+v", s)
			}
		}
		waits(func(ctx context.Context) error { _, err := q.Get(ctx); return err })
		must(t, q.TryPut(1))
		waits(func(ctx context.Context) error { return q.Put(ctx, 2) })
		// Canceled after a get has taken its place in line.
		a := task.Go(ctx, func(ctx context.Context) error { return q.Put(ctx, 2) })
		yield(ctx, 1)
		_, _ = q.TryGet()
		a.Cancel(errBoom)
		if _, err := a.Await(ctx); outcome(err) != "Canceled(boom)" {
			t.Error(err)
		}
		if s := q.Stats(); s.Putters != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
}

func TestEdge102_JoinWaitsForDoneOfEveryPut(t *testing.T) {
	run(t, func(ctx context.Context) {
		var j journal
		q := queue.New[int](0)
		for i := range 3 {
			must(t, q.TryPut(i))
		}
		j.Logs(ctx, "join 1", q.Join)
		j.Logs(ctx, "join 2", q.Join)
		for i := range 3 {
			_, err := q.TryGet()
			must(t, err)
			idle(t, ctx)
			j.Want(t) // taken is not dealt with
			if q.Unfinished() != 3-i {
				t.Errorf("unfinished %d, want %d", q.Unfinished(), 3-i)
			}
			q.Done()
		}
		idle(t, ctx)
		j.Want(t, "join 1 ok", "join 2 ok")
		must(t, q.TryPut(4)) // and again
		j.Logs(ctx, "join 3", q.Join)
		idle(t, ctx)
		j.Want(t)
		q.Done()
		idle(t, ctx)
		j.Want(t, "join 3 ok")
	})
}

func TestEdge102_JoinOfAnEmptyQueueDoesNotSuspend(t *testing.T) {
	run(t, func(ctx context.Context) {
		var j journal
		q := queue.New[int](0)
		task.Go(ctx, func(context.Context) error { j.Log("other"); return nil })
		must(t, q.Join(ctx))
		j.Log("joined")
		yield(ctx, 1)
		j.Want(t, "joined", "other")
	})
}

func TestEdge102_DoneTooOften(t *testing.T) {
	const sentence = "queue: Done was called more often than items were put"
	for _, q := range []*queue.Queue[int]{queue.New[int](0), queue.NewLIFO[int](0), queue.NewPriority(0, less)} {
		wantPanic(t, sentence, q.Done)
		must(t, q.TryPut(1))
		q.Done()
		wantPanic(t, sentence, q.Done)
		if q.Unfinished() != 0 {
			t.Errorf("unfinished %d", q.Unfinished())
		}
	}
}

func TestEdge103_ShutDownOfAnEmptyQueue(t *testing.T) {
	for _, now := range []bool{false, true} {
		run(t, func(ctx context.Context) {
			var j journal
			q := queue.New[int](0)
			j.get(ctx, "a", q)
			j.get(ctx, "b", q)
			idle(t, ctx)
			q.ShutDown(now)
			idle(t, ctx)
			j.Want(t, "a queue: shut down", "b queue: shut down")
			if _, err := q.Get(ctx); err != queue.ErrShutDown {
				t.Error(err)
			}
			if _, err := q.TryGet(); err != queue.ErrShutDown {
				t.Error(err)
			}
			if err := q.Put(ctx, 1); err != queue.ErrShutDown {
				t.Error(err)
			}
			if err := q.TryPut(1); err != queue.ErrShutDown {
				t.Error(err)
			}
			must(t, q.Join(ctx))
			q.ShutDown(now) // again
		})
	}
}

func TestEdge103_ShutDownOfAFullQueue(t *testing.T) {
	run(t, func(ctx context.Context) {
		var j journal
		q := queue.New[int](2)
		must(t, q.TryPut(1))
		must(t, q.TryPut(2))
		j.put(ctx, "p", q, 3)
		j.Logs(ctx, "join", q.Join)
		idle(t, ctx)
		q.ShutDown(false)
		idle(t, ctx)
		j.Want(t, "p queue: shut down")
		for want := 1; want <= 2; want++ { // what is there can be taken
			if v, err := q.Get(ctx); v != want || err != nil {
				t.Errorf("got %v, %v; want %d", v, err, want)
			}
			if err := q.Put(ctx, 9); err != queue.ErrShutDown {
				t.Errorf("Put after ShutDown: %v", err)
			}
			q.Done()
		}
		if _, err := q.Get(ctx); err != queue.ErrShutDown {
			t.Error(err)
		}
		idle(t, ctx)
		j.Want(t, "join ok")
	})
}

func TestEdge103_ShutDownNow(t *testing.T) {
	run(t, func(ctx context.Context) {
		var j journal
		q := queue.New[int](3)
		for i := range 3 {
			must(t, q.TryPut(i))
		}
		_, err := q.TryGet() // one is being dealt with
		must(t, err)
		must(t, q.TryPut(3))
		j.put(ctx, "p", q, 4)
		j.Logs(ctx, "join", q.Join)
		idle(t, ctx)
		q.ShutDown(true)
		idle(t, ctx)
		j.Want(t, "p queue: shut down")
		if s := q.Stats(); s.Len != 0 || s.Unfinished != 1 || !s.ShutDown {
			t.Errorf("%+v: want nothing in it, and one unfinished", s)
		}
		if _, err := q.Get(ctx); err != queue.ErrShutDown {
			t.Error(err)
		}
		q.Done()
		idle(t, ctx)
		j.Want(t, "join ok")
		wantPanic(t, "queue: Done was called more often than items were put", q.Done)
	})
}

func TestEdge103_ShutDownThenNow(t *testing.T) {
	run(t, func(ctx context.Context) {
		var j journal
		q := queue.New[int](0)
		must(t, q.TryPut(1))
		j.Logs(ctx, "join", q.Join)
		idle(t, ctx)
		q.ShutDown(false)
		idle(t, ctx)
		j.Want(t)
		q.ShutDown(true)
		idle(t, ctx)
		j.Want(t, "join ok")
	})
}

// A woken getter that finds the queue shut down, and one whose item is still there.
func TestEdge103_ShutDownMeetsAPut(t *testing.T) {
	for _, tt := range []struct {
		now  bool
		want []string
	}{
		{false, []string{"a got 1", "b queue: shut down"}},
		{true, []string{"a queue: shut down", "b queue: shut down"}},
	} {
		run(t, func(ctx context.Context) {
			var j journal
			q := queue.New[int](0)
			j.get(ctx, "a", q)
			j.get(ctx, "b", q)
			idle(t, ctx)
			must(t, q.TryPut(1))
			q.ShutDown(tt.now)
			idle(t, ctx)
			j.Want(t, tt.want...)
		})
	}
}

func TestAll(t *testing.T) {
	run(t, func(ctx context.Context) {
		q := queue.New[int](2)
		p := task.Go(ctx, func(ctx context.Context) error {
			for i := range 5 {
				if err := q.Put(ctx, i); err != nil {
					return err
				}
			}
			q.ShutDown(false)
			return nil
		})
		var got []int
		for v, err := range q.All(ctx) {
			must(t, err)
			got = append(got, v)
		}
		if !slices.Equal(got, []int{0, 1, 2, 3, 4}) {
			t.Errorf("got %v", got)
		}
		_, err := p.Await(ctx)
		must(t, err)
		for range q.All(ctx) { // it stays over
			t.Error("an item after the end")
		}
	})
}

func TestAllWithBreak(t *testing.T) {
	run(t, func(ctx context.Context) {
		q := queue.New[int](0)
		for i := range 4 {
			must(t, q.TryPut(i))
		}
		for v := range q.All(ctx) {
			if v == 1 {
				break
			}
		}
		if got := q.Items(); !slices.Equal(got, []int{2, 3}) {
			t.Errorf("left %v, want [2 3]: break takes no item more", got)
		}
		for v := range q.All(ctx) { // and goes on where it was
			if v != 2 {
				t.Errorf("goes on with %d", v)
			}
			break
		}
	})
}

func TestAllEndsWithTheError(t *testing.T) {
	for _, cause := range []error{errBoom, queue.ErrShutDown, nil} {
		run(t, func(ctx context.Context) {
			q := queue.New[int](0)
			must(t, q.TryPut(1))
			var j journal
			a := task.Go(ctx, func(ctx context.Context) error {
				for v, err := range q.All(ctx) {
					j.Log("%d %v", v, outcome(err))
					if err != nil {
						j.Log("last")
					}
				}
				j.Log("over")
				return nil
			})
			idle(t, ctx)
			a.Cancel(cause)
			idle(t, ctx)
			want := "0 Canceled"
			if cause != nil {
				want = "0 Canceled(" + cause.Error() + ")"
			}
			j.Want(t, "1 ok", want, "last", "over")
		})
	}
	run(t, func(ctx context.Context) {
		q := queue.New[int](0)
		sub, cancel := task.WithTimeout(ctx, time.Second)
		defer cancel()
		var last error
		for _, err := range q.All(sub) {
			last = err
		}
		if last != task.ErrTimeout {
			t.Errorf("the last pair has %v", last)
		}
	})
}

func TestEdge098_SecondLoop(t *testing.T) {
	get := func(ctx context.Context, q *queue.Queue[int]) error { _, err := q.Get(ctx); return err }
	put := func(ctx context.Context, q *queue.Queue[int]) error { return q.Put(ctx, 1) }
	join := func(ctx context.Context, q *queue.Queue[int]) error { return q.Join(ctx) }
	for _, tt := range []struct {
		name     string
		one, two func(ctx context.Context, q *queue.Queue[int]) error
		sentence string
	}{
		{"get, get", get, get, "queue: Get on a second loop"},
		{"put, put", put, put, "queue: Put on a second loop"},
		{"get, put", get, put, "queue: Put on a second loop"},
		{"put, get", put, get, "queue: Get on a second loop"},
		{"join, join", join, join, "queue: Join on a second loop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := queue.New[int](1)
			prepare := func(wait func(ctx context.Context, q *queue.Queue[int]) error) {
				for !q.Empty() {
					_, _ = q.TryGet()
				}
				if fmt.Sprintf("%p", wait) != fmt.Sprintf("%p", get) {
					must(t, q.TryPut(0))
				}
			}
			prepare(tt.one)
			run(t, func(ctx context.Context) {
				err := task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error { return tt.one(ctx, q) })
				if err != task.ErrTimeout {
					t.Error(err)
				}
			})
			prepare(tt.two)
			run(t, func(ctx context.Context) {
				wantPanic(t, tt.sentence, func() {
					_ = task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error { return tt.two(ctx, q) })
				})
				if s := q.Stats(); s.Getters+s.Putters != 0 {
					t.Errorf("left behind: %+v", s)
				}
			})
		})
	}
}

// What was taken is not kept alive by the queue.
func TestTakenItemsAreForgotten(t *testing.T) {
	for name, q := range map[string]*queue.Queue[*[64]byte]{
		"fifo":     queue.New[*[64]byte](0),
		"lifo":     queue.NewLIFO[*[64]byte](0),
		"priority": queue.NewPriority(0, func(a, b *[64]byte) bool { return false }),
	} {
		var refs []weak.Pointer[[64]byte]
		for range 10 {
			v := new([64]byte)
			refs = append(refs, weak.Make(v))
			must(t, q.TryPut(v))
		}
		for range 10 {
			_, err := q.TryGet()
			must(t, err)
		}
		runtime.GC()
		for i, r := range refs {
			if r.Value() != nil {
				t.Errorf("%s: item %d is still alive", name, i)
			}
		}
		runtime.KeepAlive(q)
	}
}

func TestCloseWithWaiters(t *testing.T) {
	l := newLoop(t, nil)
	q := queue.New[int](1)
	must(t, q.TryPut(1))
	e := queue.New[int](0)
	var done locks.Event
	ended := 0
	for _, b := range []func(ctx context.Context) error{
		func(ctx context.Context) error { return q.Put(ctx, 2) },
		func(ctx context.Context) error { _, err := e.Get(ctx); return err },
		func(ctx context.Context) error {
			for {
				_ = q.Put(ctx, 3) // until it is unwound
			}
		},
		q.Join,
		func(ctx context.Context) error {
			for _, err := range e.All(ctx) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		done.Wait,
	} {
		task.Go(l.Context(), func(ctx context.Context) error {
			defer func() { ended++; e.ShutDown(false); done.Set() }()
			return b(ctx)
		})
	}
	turnsOf(t, l, 4)
	must(t, l.Close())
	if ended != 6 {
		t.Errorf("%d bodies have ended, want 6", ended)
	}
	if s := q.Stats(); s.Getters+s.Putters != 0 {
		t.Errorf("left behind: %+v", s)
	}
}
