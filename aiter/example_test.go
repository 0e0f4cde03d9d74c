package aiter_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eddyloop/eddy/aiter"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

func ExampleMap() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		urls := queue.New[string](0)
		for _, u := range []string{"/slow", "/quick", "/last"} {
			urls.TryPut(u)
		}
		urls.ShutDown(false)
		fetch := func(ctx context.Context, url string) (string, error) {
			if url == "/slow" {
				return "page of " + url, task.Sleep(ctx, 2*time.Millisecond)
			}
			return "page of " + url, nil
		}
		for page, err := range aiter.Map(ctx, urls.All, 2, fetch) {
			if err != nil {
				return err
			}
			fmt.Println(page)
		}
		return nil
	})
	// Output:
	// page of /slow
	// page of /quick
	// page of /last
}

func ExampleMapUnordered() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		delays := aiter.Ready(aiter.FromSlice([]time.Duration{20, 1, 10}))
		for d, err := range aiter.MapUnordered(ctx, delays, 0, func(ctx context.Context, d time.Duration) (time.Duration, error) {
			return d, task.Sleep(ctx, d*time.Millisecond)
		}) {
			fmt.Println(int(d), err)
		}
		return nil
	})
	// Output:
	// 1 <nil>
	// 10 <nil>
	// 20 <nil>
}

func ExampleMerge() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		orders, cancels := queue.New[string](0), queue.New[string](0)
		task.Go(ctx, func(ctx context.Context) error {
			orders.TryPut("order 1")
			orders.TryPut("order 2")
			orders.ShutDown(false)
			if err := task.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
			cancels.TryPut("cancel 1")
			cancels.ShutDown(false)
			return nil
		})
		for event, err := range aiter.Merge(ctx, orders.All, cancels.All) {
			if err != nil {
				return err
			}
			fmt.Println(event)
		}
		return nil
	})
	// Output:
	// order 1
	// order 2
	// cancel 1
}

func ExampleBatch() {
	for batch, err := range aiter.Batch(aiter.Take(aiter.Count(1, 1), 7), 3) {
		fmt.Println(batch, err)
	}
	// Output:
	// [1 2 3] <nil>
	// [4 5 6] <nil>
	// [7] <nil>
}

func ExampleGroupBy() {
	words := aiter.FromSlice(strings.Fields("apple avocado banana blueberry almond"))
	for run, err := range aiter.GroupBy(words, func(s string) string { return s[:1] }) {
		fmt.Println(run.Key, run.Values, err)
	}
	// Output:
	// a [apple avocado] <nil>
	// b [banana blueberry] <nil>
	// a [almond] <nil>
}

func ExampleTee() {
	seqs, stop := aiter.Tee(aiter.Count(0, 10), 2)
	defer stop()
	before, after := seqs[0], seqs[1]
	aiter.Collect(aiter.Take(after, 1))
	for p := range aiter.Take(aiter.Zip(before, after), 3) {
		fmt.Println(p.First, p.Second)
	}
	// Output:
	// 0 10
	// 10 20
	// 20 30
}

func ExampleValues() {
	var err error
	letters := aiter.Take(aiter.Cycle(aiter.FromSlice([]string{"b", "a"})), 4)
	fmt.Println(slices.Sorted(aiter.Values(letters, &err)), err)
	// Output: [a a b b] <nil>
}
