package queue_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

var background = context.Background()

// eventually waits for what a goroutine is about to do.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("still not %s", what)
		}
	}
}

// waiting waits until so many tasks and goroutines wait.
func waiting(t testing.TB, b *queue.Bridge[int], getters, putters int) {
	t.Helper()
	eventually(t, "waiting", func() bool {
		s := b.Stats()
		return s.Getters == getters && s.Putters == putters
	})
}

func TestBridgeWithoutWaiting(t *testing.T) {
	run(t, func(ctx context.Context) {
		l := loop.FromContext(ctx)
		b := queue.NewBridge[int](l, 3)
		if _, err := b.TryGet(); err != queue.ErrEmpty || !b.Empty() || b.Max() != 3 {
			t.Errorf("empty: %v", err)
		}
		turns := l.Stats().Turns
		must(t, b.Put(ctx, 1))
		must(t, b.PutThreadsafe(background, 2))
		must(t, b.TryPut(3))
		if err := b.TryPut(4); err != queue.ErrFull || !b.Full() || b.Len() != 3 || b.Unfinished() != 3 {
			t.Errorf("full: %v", err)
		}
		for i, get := range []func() (int, error){
			func() (int, error) { return b.Get(ctx) },
			func() (int, error) { return b.GetThreadsafe(background) },
			b.TryGet,
		} {
			if v, err := get(); v != i+1 || err != nil {
				t.Errorf("%d: %v, %v", i, v, err)
			}
			b.Done()
		}
		must(t, b.Join(ctx))
		must(t, b.JoinThreadsafe(background))
		wantPanic(t, "Done was called more often", b.Done)
		if n := l.Stats().Turns - turns; n != 0 || l.Outside() {
			t.Errorf("%d turns, outside %v", n, l.Outside())
		}
		if b := queue.NewBridge[int](l, -1); b.Max() != 0 || b.Full() {
			t.Error("a bound that is none")
		}
	})
}

// Tasks and goroutines wait in one line, for items and for room.
func TestBridgeServesInTheOrderOfWaiting(t *testing.T) {
	run(t, func(ctx context.Context) {
		l := loop.FromContext(ctx)
		b := queue.NewBridge[int](l, 1)
		got := make(chan [2]int, 4) // who, what
		for who := range 4 {
			if who%2 == 0 {
				task.Go(ctx, func(ctx context.Context) error {
					v, err := b.Get(ctx)
					got <- [2]int{who, v}
					return err
				})
				yield(ctx, 1)
			} else {
				go func() {
					v, err := b.GetThreadsafe(background)
					got <- [2]int{who, v}
					if err != nil {
						t.Error(err)
					}
				}()
			}
			waiting(t, b, who+1, 0)
		}
		for v := range 4 {
			must(t, b.TryPut(v)) // each has a taker, so there is room
		}
		var all [][2]int
		for range 4 {
			r, _, err := task.Recv(ctx, got)
			must(t, err)
			all = append(all, r)
		}
		slices.SortFunc(all, func(a, b [2]int) int { return a[0] - b[0] })
		if want := [][2]int{{0, 0}, {1, 1}, {2, 2}, {3, 3}}; !slices.Equal(all, want) {
			t.Errorf("got %v", all)
		}

		must(t, b.TryPut(0))
		for who := 1; who < 5; who++ {
			if who%2 == 0 {
				task.Go(ctx, func(ctx context.Context) error { return b.Put(ctx, who) })
				yield(ctx, 1)
			} else {
				go func() {
					if err := b.PutThreadsafe(background, who); err != nil {
						t.Error(err)
					}
				}()
			}
			waiting(t, b, 0, who)
		}
		for v := range 5 {
			if w, err := b.TryGet(); w != v || err != nil {
				t.Errorf("%v, %v, want %d", w, err, v)
			}
		}
		if n := b.Unfinished(); n != 9 {
			t.Errorf("%d unfinished", n)
		}
	})
}

// While a task waits virtual time stands still, and no longer.
func TestBridgeIsOutside(t *testing.T) {
	run(t, func(ctx context.Context) {
		l := loop.FromContext(ctx)
		b := queue.NewBridge[int](l, 0)
		start := l.Now()
		task.Go(ctx, func(ctx context.Context) error { return task.Sleep(ctx, time.Hour) })
		time.AfterFunc(5*time.Millisecond, func() { _ = b.TryPut(1) })
		if v, err := b.Get(ctx); v != 1 || err != nil || l.Now() != start || l.Outside() {
			t.Errorf("%v, %v after %v, outside %v", v, err, l.Now().Sub(start), l.Outside())
		}
	})
}

func TestBridgeWaitsAreInterrupted(t *testing.T) {
	for _, tt := range []struct {
		name string
		full bool
		wait func(ctx context.Context, b *queue.Bridge[int]) error
	}{
		{"Get", false, func(ctx context.Context, b *queue.Bridge[int]) error { _, err := b.Get(ctx); return err }},
		{"Put", true, func(ctx context.Context, b *queue.Bridge[int]) error { return b.Put(ctx, 9) }},
		{"Join", true, func(ctx context.Context, b *queue.Bridge[int]) error { return b.Join(ctx) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) {
				l := loop.FromContext(ctx)
				b := queue.NewBridge[int](l, 1)
				if tt.full {
					must(t, b.TryPut(1))
				}
				check := func(how, want string, err error) {
					t.Helper()
					s := b.Stats()
					if outcome(err) != want || l.Outside() || s.Getters+s.Putters != 0 {
						t.Errorf("%s: %v, want %s; outside %v, %+v", how, err, want, l.Outside(), s)
					}
				}
				wait := func(ctx context.Context) error { return tt.wait(ctx, b) }
				tk := task.Go(ctx, wait)
				yield(ctx, 1)
				tk.Cancel(errBoom)
				_, err := tk.Await(ctx)
				check("canceled", "Canceled(boom)", err)
				tk = task.Go(ctx, func(ctx context.Context) error { task.FromContext(ctx).Cancel(errBoom); return wait(ctx) })
				_, err = tk.Await(ctx)
				check("canceled before", "Canceled(boom)", err)
				sub, cancel := task.WithTimeout(ctx, 0)
				defer cancel()
				check("scope", "task: timeout", wait(sub))
				if b.Len() != b2i(tt.full) {
					t.Errorf("%d items", b.Len())
				}
			})
		})
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Who was served keeps what he got, and is canceled at his next wait.
func TestBridgeCancellationsThatComeTooLate(t *testing.T) {
	run(t, func(ctx context.Context) {
		b := queue.NewBridge[int](loop.FromContext(ctx), 1)
		next := func(ctx context.Context) {
			t.Helper()
			if err := task.Yield(ctx); outcome(err) != "Canceled(boom)" {
				t.Errorf("the next wait: %v", err)
			}
		}
		getter := task.Start(ctx, func(ctx context.Context) (int, error) {
			v, err := b.Get(ctx)
			next(ctx)
			return v, err
		})
		yield(ctx, 1)
		must(t, b.TryPut(1))
		getter.Cancel(errBoom)
		if v, err := getter.Await(ctx); v != 1 || err != nil {
			t.Errorf("%v, %v", v, err)
		}
		must(t, b.TryPut(2))
		putter := task.Go(ctx, func(ctx context.Context) error {
			err := b.Put(ctx, 3)
			next(ctx)
			return err
		})
		yield(ctx, 1)
		if v, err := b.TryGet(); v != 2 || err != nil { // makes room
			t.Errorf("%v, %v", v, err)
		}
		putter.Cancel(errBoom)
		if _, err := putter.Await(ctx); err != nil {
			t.Error(err)
		}
		if v, err := b.TryGet(); v != 3 || err != nil {
			t.Errorf("%v, %v", v, err)
		}
		// To be told of a shutdown is nothing one must keep.
		shut := task.Go(ctx, func(ctx context.Context) error { _, err := b.Get(ctx); return err })
		yield(ctx, 1)
		b.ShutDown(false)
		shut.Cancel(errBoom)
		if _, err := shut.Await(ctx); outcome(err) != "Canceled(boom)" {
			t.Errorf("%v", err)
		}
	})
}

func TestBridgeContextsOfGoroutinesEnd(t *testing.T) {
	run(t, func(ctx context.Context) {
		b := queue.NewBridge[int](loop.FromContext(ctx), 1)
		ended, end := context.WithCancel(background)
		end()
		if _, err := b.GetThreadsafe(ended); err != context.Canceled {
			t.Errorf("get: %v", err)
		}
		must(t, b.PutThreadsafe(ended, 1)) // needs not wait
		if err := b.PutThreadsafe(ended, 2); err != context.Canceled {
			t.Errorf("put: %v", err)
		}
		if err := b.JoinThreadsafe(ended); err != context.Canceled {
			t.Errorf("join: %v", err)
		}
		timed, cancel := context.WithTimeout(background, time.Millisecond)
		defer cancel()
		if err := b.PutThreadsafe(timed, 2); err != context.DeadlineExceeded || b.Len() != 1 {
			t.Errorf("put: %v, %d items", err, b.Len())
		}
		for name, call := range map[string]func(){
			"PutThreadsafe":  func() { _ = b.PutThreadsafe(ctx, 1) },
			"GetThreadsafe":  func() { _, _ = b.GetThreadsafe(ctx) },
			"JoinThreadsafe": func() { _ = b.JoinThreadsafe(ctx) },
		} {
			wantPanic(t, name+" with a ctx of a loop", call)
		}
		for name, call := range map[string]func(){
			"Put":  func() { _ = b.Put(background, 1) },
			"Get":  func() { _, _ = b.Get(background) },
			"Join": func() { _ = b.Join(background) },
		} {
			wantPanic(t, name+" outside of a task", call)
		}
		other := queue.NewBridge[int](newLoop(t, nil), 1)
		wantPanic(t, "Get on a second loop", func() { _, _ = other.Get(ctx) })
	})
}

func TestBridgeShutDown(t *testing.T) {
	for _, now := range []bool{false, true} {
		run(t, func(ctx context.Context) {
			b := queue.NewBridge[int](loop.FromContext(ctx), 2)
			empty := queue.NewBridge[int](loop.FromContext(ctx), 2)
			must(t, b.TryPut(1))
			must(t, b.TryPut(2))
			errs := make(chan error, 4)
			go func() { errs <- b.PutThreadsafe(background, 3) }()
			go func() { _, err := empty.GetThreadsafe(background); errs <- err }()
			task.Go(ctx, func(ctx context.Context) error { errs <- b.Put(ctx, 3); return nil })
			task.Go(ctx, func(ctx context.Context) error { _, err := empty.Get(ctx); errs <- err; return nil })
			joined := make(chan error, 1)
			go func() { joined <- b.JoinThreadsafe(background) }()
			yield(ctx, 1)
			waiting(t, b, 0, 2)
			waiting(t, empty, 2, 0)
			for range 2 {
				b.ShutDown(now)
				empty.ShutDown(now)
			}
			for range 4 {
				if err, _, _ := task.Recv(ctx, errs); err != queue.ErrShutDown {
					t.Errorf("who waited got %v", err)
				}
			}
			if err := b.TryPut(4); err != queue.ErrShutDown {
				t.Errorf("put: %v", err)
			}
			if err := b.Put(ctx, 4); err != queue.ErrShutDown {
				t.Errorf("put: %v", err)
			}
			if !now {
				for want := 1; want <= 2; want++ {
					if v, err := b.Get(ctx); v != want || err != nil {
						t.Errorf("%v, %v", v, err)
					}
					b.Done()
				}
			}
			if _, err := b.TryGet(); err != queue.ErrShutDown {
				t.Errorf("get: %v", err)
			}
			if _, err := b.GetThreadsafe(background); err != queue.ErrShutDown {
				t.Errorf("get: %v", err)
			}
			if err, _, _ := task.Recv(ctx, joined); err != nil || !b.Stats().ShutDown {
				t.Errorf("join: %v", err)
			}
		})
	}
}

func TestBridgeJoin(t *testing.T) {
	run(t, func(ctx context.Context) {
		b := queue.NewBridge[int](loop.FromContext(ctx), 0)
		for i := range 100 {
			must(t, b.Put(ctx, i))
		}
		sum := 0
		var mu sync.Mutex
		var workers sync.WaitGroup
		for range 3 {
			workers.Go(func() {
				for {
					v, err := b.GetThreadsafe(background)
					if err != nil {
						return
					}
					mu.Lock()
					sum += v
					mu.Unlock()
					b.Done()
				}
			})
		}
		must(t, b.Join(ctx))
		mu.Lock()
		if sum != 4950 {
			t.Errorf("sum %d", sum)
		}
		mu.Unlock()
		b.ShutDown(false)
		must(t, task.WaitGroupDone(ctx, &workers))
	})
}

// The end of the loop ends those who wait for it, and what was put is still there.
func TestBridgeOfALoopThatCloses(t *testing.T) {
	l := newLoop(t, nil)
	b, empty := queue.NewBridge[int](l, 1), queue.NewBridge[int](l, 1)
	must(t, b.TryPut(1))
	errs := make(chan error, 2)
	go func() { errs <- b.PutThreadsafe(background, 3) }()
	go func() { _, err := empty.GetThreadsafe(background); errs <- err }()
	var ends []error
	var got int
	full := queue.NewBridge[int](l, 0)
	for _, body := range []func(ctx context.Context) error{
		func(ctx context.Context) error { return b.Put(ctx, 2) },
		func(ctx context.Context) error { _, err := empty.Get(ctx); return err },
		func(ctx context.Context) error {
			v, err := full.Get(ctx)
			got = v
			return err
		},
	} {
		task.Go(l.Context(), func(ctx context.Context) error {
			err := body(ctx)
			ends = append(ends, err)
			return err
		})
	}
	turnsOf(t, l, 1)
	waiting(t, b, 0, 2)
	waiting(t, empty, 2, 0)
	must(t, full.TryPut(7)) // handed to the task, which has not run yet
	must(t, l.Close())
	for range 2 {
		if err := <-errs; err != queue.ErrShutDown {
			t.Errorf("a goroutine got %v", err)
		}
	}
	if len(ends) != 3 || !errors.Is(ends[0], loop.ErrClosed) || !errors.Is(ends[1], loop.ErrClosed) || ends[2] != nil || got != 7 {
		t.Errorf("tasks ended with %v, got %d", ends, got)
	}
	if v, err := b.GetThreadsafe(background); v != 1 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := b.GetThreadsafe(background); err != queue.ErrShutDown {
		t.Errorf("get: %v", err)
	}
	if err := b.PutThreadsafe(background, 1); err != queue.ErrShutDown {
		t.Errorf("put: %v", err)
	}
}

func TestBridgeGivesBackAheadOfTheOthers(t *testing.T) {
	run(t, func(ctx context.Context) {
		b := queue.NewBridge[int](loop.FromContext(ctx), 2)
		must(t, b.TryPut(2))
		must(t, b.TryPut(3))
		b.GiveBack(1)
		for want := 1; want <= 3; want++ {
			if v, err := b.Get(ctx); v != want || err != nil {
				t.Errorf("%v, %v, want %d", v, err, want)
			}
		}
		tk := task.Start(ctx, b.Get)
		yield(ctx, 1)
		b.GiveBack(4)
		if v, err := tk.Await(ctx); v != 4 || err != nil {
			t.Errorf("%v, %v", v, err)
		}
	})
}

// A crew puts or gets items on one side of a bridge, interrupted again and again.
// Each item is a number of its own; those of one producer rise.
type crew struct {
	t    *testing.T
	b    *queue.Bridge[int]
	each int // items of one producer

	mu   sync.Mutex
	seen map[int]int
	last []map[int]int // of each consumer: the last item of each producer
	ends int           // interruptions
}

func (c *crew) saw(consumer, v int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[v]++
	if last, ok := c.last[consumer][v/c.each]; ok && last >= v {
		c.t.Errorf("consumer %d got %d after %d", consumer, v, last)
	}
	c.last[consumer][v/c.each] = v
}

func (c *crew) interrupted() {
	c.mu.Lock()
	c.ends++
	c.mu.Unlock()
}

// soon returns a context that ends at any moment.
func soon() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(background)
	go func() {
		for range rand.IntN(8) {
			runtime.Gosched()
		}
		cancel()
	}()
	return ctx, cancel
}

func (c *crew) goroutinePuts(producer int) {
	for i := 0; i < c.each; {
		ctx, cancel := soon()
		if c.b.PutThreadsafe(ctx, producer*c.each+i) == nil {
			i++
		} else {
			c.interrupted()
		}
		cancel()
	}
}

func (c *crew) goroutineGets(consumer int) {
	for {
		ctx, cancel := soon()
		v, err := c.b.GetThreadsafe(ctx)
		cancel()
		switch err {
		case nil:
			c.saw(consumer, v)
			c.b.Done()
		case queue.ErrShutDown:
			return
		default:
			c.interrupted()
		}
	}
}

func (c *crew) taskPuts(ctx context.Context, producer int) error {
	for i := 0; i < c.each; {
		if c.b.Put(ctx, producer*c.each+i) == nil {
			i++
		} else {
			c.interrupted()
		}
	}
	_ = task.Yield(ctx) // takes a cancellation that is left
	return nil
}

func (c *crew) taskGets(ctx context.Context, consumer int) error {
	for {
		v, err := c.b.Get(ctx)
		switch err {
		case nil:
			c.saw(consumer, v)
			c.b.Done()
		case queue.ErrShutDown:
			_ = task.Yield(ctx)
			return nil
		default:
			c.interrupted()
		}
	}
}

// Nothing is lost or doubled, and nobody waits for ever, whoever is interrupted at
// whatever moment.
func TestBridgeStress(t *testing.T) {
	for _, tt := range []struct {
		name                           string
		max                            int
		goPut, goGet, taskPut, taskGet int
	}{
		{"goroutines to tasks", 1, 3, 0, 0, 2},
		{"tasks to goroutines", 1, 0, 3, 2, 0},
		{"everybody", 2, 2, 2, 2, 2},
		{"everybody, no bound", 0, 2, 2, 2, 2},
		{"one to one", 1, 1, 0, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) {
				l := loop.FromContext(ctx)
				c := &crew{t: t, b: queue.NewBridge[int](l, tt.max), each: 1500, seen: make(map[int]int)}
				for range tt.goGet + tt.taskGet {
					c.last = append(c.last, make(map[int]int))
				}
				var producers, consumers sync.WaitGroup
				var tasks, getting []*task.Task[struct{}]
				for i := range tt.goPut {
					producers.Go(func() { c.goroutinePuts(i) })
				}
				for i := range tt.taskPut {
					tasks = append(tasks, task.Go(ctx, func(ctx context.Context) error { return c.taskPuts(ctx, tt.goPut+i) }))
				}
				for i := range tt.goGet {
					consumers.Go(func() { c.goroutineGets(i) })
				}
				for i := range tt.taskGet {
					getting = append(getting, task.Go(ctx, func(ctx context.Context) error { return c.taskGets(ctx, tt.goGet+i) }))
				}
				over := false
				canceler := task.Go(ctx, func(ctx context.Context) error {
					for !over {
						for range rand.IntN(20) {
							_ = task.Yield(ctx)
						}
						runtime.Gosched() // this loop is never idle, and there may be one P
						all := slices.Concat(tasks, getting)
						all[rand.IntN(len(all))].Cancel(nil)
					}
					return nil
				})
				must(t, task.WaitGroupDone(ctx, &producers))
				for _, tk := range tasks {
					_, _ = tk.Await(ctx)
				}
				must(t, c.b.Join(ctx))
				c.b.ShutDown(false)
				must(t, task.WaitGroupDone(ctx, &consumers))
				for _, tk := range getting {
					_, _ = tk.Await(ctx)
				}
				over = true
				_, _ = canceler.Await(ctx)
				if n := (tt.goPut + tt.taskPut) * c.each; len(c.seen) != n {
					t.Errorf("%d of %d items arrived", len(c.seen), n)
				}
				for v, n := range c.seen {
					if n != 1 {
						t.Errorf("%d arrived %d times", v, n)
					}
				}
				s := c.b.Stats()
				if s.Getters+s.Putters+s.Len+s.Unfinished != 0 || l.Outside() || c.ends == 0 && tt.max > 0 {
					t.Errorf("%+v, outside %v, %d interruptions", s, l.Outside(), c.ends)
				}
				t.Logf("%d interruptions", c.ends)
			})
		})
	}
}
