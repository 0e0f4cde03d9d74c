package executor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// A function that blocks runs elsewhere, and the loop goes on.
func ExampleDo() {
	task.Run(context.Background(), func(ctx context.Context) error {
		task.Go(ctx, func(ctx context.Context) error {
			fmt.Println("the loop goes on")
			return nil
		})
		sum, err := executor.Do(ctx, func(ctx context.Context) (int, error) {
			time.Sleep(10 * time.Millisecond) // blocks its goroutine, not the loop
			return 40 + 2, nil
		})
		fmt.Println(sum, err)
		return nil
	})
	// Output:
	// the loop goes on
	// 42 <nil>
}

// Submit returns a future: several jobs run at the same time, no more than the
// pool allows, and one that is not needed any more is canceled.
func ExampleSubmit() {
	task.Run(context.Background(), func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		pool := executor.New(executor.Config{Limit: 2, Name: "files"})
		size := func(name string) func(context.Context) (int, error) {
			return func(context.Context) (int, error) { return len(name), nil }
		}
		a := executor.Submit(l, pool, size("passwd"))
		b := executor.Submit(l, pool, size("hosts"))
		slow := executor.Submit(l, pool, func(ctx context.Context) (int, error) {
			<-ctx.Done() // listens
			return 0, ctx.Err()
		})
		sizes, err := task.Gather(ctx, a, b)
		fmt.Println(sizes, err)

		slow.Cancel(errors.New("not needed"))
		_, err = slow.Await(ctx)
		fmt.Println(err)
		return nil
	})
	// Output:
	// [6 5] <nil>
	// canceled: not needed
}

// A pool of one's own is shut down by whoever made it.
func ExamplePool_Shutdown() {
	pool := executor.New(executor.Config{Limit: 1})
	task.Run(context.Background(), func(ctx context.Context) error {
		_, err := executor.DoIn(ctx, pool, func(ctx context.Context) (int, error) { return 1, nil })
		return err
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	fmt.Println(pool.Shutdown(ctx), pool.Stats().Done)
	// Output:
	// <nil> 1
}

// sum adds up the numbers below n, and looks from time to time whether it should.
func sum(ctx context.Context, n int) (int, error) {
	total := 0
	for i := range n {
		if i%(1<<20) == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		total += i
	}
	return total, nil
}

// The sums of several ranges, some at a time, in the order of the input.
func ExampleMap() {
	ctx := context.Background()
	numbers := []int{100_000, 1_000_000, 10_000_000, 10_000_000}
	err := executor.With(ctx, executor.Config{Limit: 2}, func(p *executor.Pool) error {
		for total, err := range executor.Map(ctx, p, slices.Values(numbers), sum, executor.MapConfig{}) {
			if err != nil {
				return err
			}
			fmt.Println(total)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// 4999950000
	// 499999500000
	// 49999995000000
	// 49999995000000
	// <nil>
}

// A job without a loop: any goroutine may wait for it, and several may.
func ExampleGo() {
	ctx := context.Background()
	pool := executor.New(executor.Config{Limit: 1})
	job := executor.Go(pool, func(ctx context.Context) (int, error) { return sum(ctx, 100_000) })
	fmt.Println(job.Result(ctx))
	fmt.Println(job.Cancel(), job.Running(), job.Canceled())
	// Output:
	// 4999950000 <nil>
	// false false false
}

// A wait whose time is up tells what is done and what is not; it cancels nothing.
func ExampleWaitTimeout() {
	ctx := context.Background()
	pool := executor.New(executor.Config{Limit: 3})
	answer := make(chan string)
	say := func(word string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return word, nil }
	}
	a := executor.Go(pool, say("a"))
	slow := executor.Go(pool, func(context.Context) (string, error) { return <-answer, nil })
	b := executor.Go(pool, say("b"))
	<-a.Done()
	<-b.Done()

	done, pending, err := executor.WaitTimeout(ctx, 10*time.Millisecond, executor.AllCompleted, a, slow, b)
	fmt.Println(len(done), "done,", len(pending), "pending,", err)
	fmt.Println(pending[0] == slow, slow.Running())

	answer <- "slow"
	fmt.Println(slow.Result(ctx))
	// Output:
	// 2 done, 1 pending, <nil>
	// true true
	// slow <nil>
}

// Jobs in the order in which they end, not that in which they began.
func ExampleAsCompleted() {
	ctx := context.Background()
	pool := executor.New(executor.Config{Limit: 3})
	// Each job waits for the one behind it.
	var jobs []*executor.Job[string]
	ended := []chan struct{}{make(chan struct{}), make(chan struct{}), make(chan struct{})}
	for i, name := range []string{"slow", "middling", "fast"} {
		jobs = append(jobs, executor.Go(pool, func(context.Context) (string, error) {
			if i+1 < len(ended) {
				<-ended[i+1]
			}
			return name, nil
		}))
	}
	for job, err := range executor.AsCompleted(ctx, jobs...) {
		if err != nil {
			fmt.Println(err) // of ctx
			break
		}
		name, _ := job.Result(ctx) // is there
		fmt.Println(name)
		close(ended[slices.Index(jobs, job)])
	}
	// Output:
	// fast
	// middling
	// slow
}

// A task waits for a job that goroutines may wait for too. When the task is
// canceled, the job goes on.
func ExampleJob_Await() {
	pool := executor.New(executor.Config{})
	job := executor.Go(pool, func(ctx context.Context) (int, error) { return sum(ctx, 1_000_000) })
	task.Run(context.Background(), func(ctx context.Context) error {
		total, err := job.Await(ctx)
		fmt.Println(total, err)
		return nil
	})
	// Output:
	// 499999500000 <nil>
}

// Lookups that hang take the places of the lane, not those of the pool.
func ExamplePool_Lane() {
	ctx := context.Background()
	pool := executor.New(executor.Config{Name: "io", Limit: 4})
	dns := pool.Lane("dns", executor.LaneConfig{Limit: 2, Queue: 1})
	hang := func(ctx context.Context) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	}
	for range 3 {
		executor.Go(dns, hang)
	}
	fmt.Println(executor.Go(dns, hang).Err())
	fmt.Println(executor.Go(pool, func(context.Context) (string, error) { return "a file", nil }).Result(ctx))

	fmt.Println(pool.ShutdownNow(ctx), dns.Stats().Rejected)
	// Output:
	// executor: queue is full
	// a file <nil>
	// <nil> 1
}

// A connection is not shared by jobs that run at the same time, and used by one job
// after the other.
func ExampleLocal() {
	type conn struct{ queries int }
	ctx := context.Background()
	err := executor.With(ctx, executor.Config{
		Limit: 1,
		Init:  func(context.Context) (any, error) { return new(conn), nil },
		Exit:  func(_ context.Context, c any) { fmt.Println("closed after", c.(*conn).queries) },
	}, func(p *executor.Pool) error {
		query := func(ctx context.Context) (int, error) {
			c, _ := executor.Local[*conn](ctx)
			c.queries++
			return c.queries, nil
		}
		executor.Go(p, query)
		executor.Go(p, query)
		return nil
	})
	fmt.Println(err)
	// Output:
	// closed after 2
	// <nil>
}
