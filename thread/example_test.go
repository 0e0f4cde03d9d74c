package thread_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eddyloop/eddy/thread"
)

// A producer says by a value of its own that there is no more: a sentinel.
func ExampleQueue() {
	const sentinel = -1
	ctx := context.Background()
	q := thread.NewQueue[int](2)
	consumer := thread.New(thread.Config{Name: "consumer"}, func(ctx context.Context) error {
		for {
			v, err := q.Get(ctx)
			if err != nil || v == sentinel {
				return err
			}
			fmt.Println(v * v)
		}
	})
	consumer.Start(ctx)
	for v := range 4 {
		_ = q.Put(ctx, v) // waits while the consumer is two behind
	}
	_ = q.Put(ctx, sentinel)
	_ = consumer.Join(ctx)
	fmt.Println("consumer:", consumer.Err())
	// Output:
	// 0
	// 1
	// 4
	// 9
	// consumer: <nil>
}

// ShutDown does without a sentinel, also with several consumers.
func ExampleQueue_ShutDown() {
	ctx := context.Background()
	q := thread.NewQueue[string](0)
	for _, s := range []string{"wash", "dry", "fold"} {
		_ = q.TryPut(s)
	}
	q.ShutDown(false)
	for s, err := range q.All(ctx) {
		fmt.Println(s, err)
	}
	fmt.Println(q.TryPut("iron"))
	// Output:
	// wash <nil>
	// dry <nil>
	// fold <nil>
	// thread: queue shut down
}

func ExampleQueue_GetTimeout() {
	q := thread.NewQueue[int](0)
	_, err := q.GetTimeout(context.Background(), time.Millisecond)
	fmt.Println(err)
	fmt.Println(errors.Is(err, thread.ErrEmpty), errors.Is(err, context.DeadlineExceeded))
	// Output:
	// thread: queue empty
	// true true
}

func ExampleNewPriority() {
	type job struct {
		urgency int
		name    string
	}
	q := thread.NewPriority(0, func(a, b job) bool { return a.urgency > b.urgency })
	for _, j := range []job{{1, "tidy"}, {9, "fire"}, {1, "sweep"}} {
		_ = q.TryPut(j)
	}
	for !q.Empty() {
		j, _ := q.TryGet()
		fmt.Println(j.name)
	}
	// Output:
	// fire
	// tidy
	// sweep
}

// set_interval stopped by a timer.
func ExampleEvery() {
	n := 0
	ticks := thread.Every(thread.EveryConfig{}, 5*time.Millisecond, func(*thread.Interval) { n++ })
	stop := thread.After(thread.TimerConfig{}, 100*time.Millisecond, func() { ticks.Stop() })
	_ = ticks.Join(context.Background()) // until it is stopped and its last call has ended
	fmt.Println("ticked", n > 0, "and stopped by the timer", !stop.Cancel())
	// Output: ticked true and stopped by the timer true
}

// An interval that stops itself.
func ExampleInterval_Stop() {
	n := 0
	ticks := thread.Every(thread.EveryConfig{}, time.Millisecond, func(i *thread.Interval) {
		n++
		fmt.Println("tick", n)
		if n == 3 {
			i.Stop()
		}
	})
	_ = ticks.Join(context.Background())
	fmt.Println("stopped")
	// Output:
	// tick 1
	// tick 2
	// tick 3
	// stopped
}

func ExampleThread() {
	ctx := context.Background()
	t := thread.New(thread.Config{
		Name:    "worker",
		OnError: func(t *thread.Thread, err error) { fmt.Println(t, "failed:", err) },
	}, func(context.Context) error {
		var m map[string]int
		//lint:ignore SA5000 it panics, which does not end the program
		m["x"] = 1
		return nil
	})
	t.Start(ctx)
	_ = t.Join(ctx)
	fmt.Println(t.Alive())
	// Output:
	// worker failed: panic: assignment to entry in nil map
	// false
}

func ExampleRLock() {
	ctx := context.Background()
	var lock thread.RLock
	me := thread.NewOwner("main")
	var walk func(depth int)
	walk = func(depth int) {
		_ = lock.Acquire(ctx, me) // again, while holding it
		defer lock.Release(me)
		if depth < 3 {
			walk(depth + 1)
			return
		}
		who, times := lock.Holder()
		fmt.Println(who.Name(), "holds it", times, "times")
	}
	walk(1)
	// Output: main holds it 3 times
}

func ExampleCond() {
	ctx := context.Background()
	var lock thread.Lock
	changed := thread.NewCond(&lock)
	ready := false
	t := thread.New(thread.Config{}, func(ctx context.Context) error {
		if err := lock.Acquire(ctx); err != nil {
			return err
		}
		defer lock.Release()
		ready = true
		changed.NotifyAll()
		return nil
	})
	_ = lock.Acquire(ctx)
	t.Start(ctx)
	err := changed.WaitForTimeout(ctx, func() bool { return ready }, time.Minute)
	lock.Release()
	fmt.Println(ready, err)
	_ = t.Join(ctx)
	// Output: true <nil>
}

func ExampleBarrier() {
	ctx := context.Background()
	var g thread.Group
	b := thread.NewBarrier(3, thread.BarrierConfig{Action: func() error {
		fmt.Println("all are there")
		return nil
	}})
	for range 3 {
		thread.New(thread.Config{Group: &g}, func(ctx context.Context) error {
			_, err := b.WaitTimeout(ctx, time.Minute)
			return err
		}).Start(ctx)
	}
	_ = g.Join(ctx)
	// Output: all are there
}
