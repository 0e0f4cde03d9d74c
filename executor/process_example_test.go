//go:build unix

package executor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/task"
)

// Functions are registered at package level, so that worker processes, which are the
// same program, find them by name.
var (
	cube   = executor.Register("cube", func(_ context.Context, n int) (int, error) { return n * n * n, nil })
	crash  = executor.Register("crash", func(_ context.Context, status int) (int, error) { os.Exit(status); return 0, nil })
	volume = executor.Register2("volume", func(_ context.Context, area, height int) (int, error) { return area * height, nil })
	linger = executor.Register("linger", func(ctx context.Context, d time.Duration) (int, error) {
		select {
		case <-time.After(d):
			return 1, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
)

// A worker that dies takes its own call with it, and no other. The program's main
// must begin with executor.WorkerMain().
func ExampleProcessPool() {
	pool, err := executor.NewProcessPool(executor.ProcessConfig{Workers: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = task.Run(context.Background(), func(ctx context.Context) error {
		bad := crash.Go(pool, 3)
		n, err := cube.Do(ctx, pool, 12)
		fmt.Println(n, err)
		_, err = bad.Await(ctx)
		fmt.Println(errors.Is(err, executor.ErrWorkerDied))
		return nil
	})
	fmt.Println(err, pool.Shutdown(context.Background()))
	// Output:
	// 1728 <nil>
	// true
	// <nil> <nil>
}

// Map is multiprocessing's imap, in the order of the input. Chunks save messages.
func ExampleFunc_Map() {
	ctx := context.Background()
	err := executor.WithProcesses(ctx, executor.ProcessConfig{}, func(p *executor.ProcessPool) error {
		in := slices.Values([]int{1, 2, 3, 4, 5})
		for n, err := range cube.Map(ctx, p, in, executor.MapConfig{Chunk: 2}) {
			if err != nil {
				return err
			}
			fmt.Print(n, " ")
		}
		heights := slices.All([]int{9, 8, 7}) // pairs of index and value
		for n, err := range volume.Map(ctx, p, executor.Pairs(heights), executor.MapConfig{}) {
			if err != nil {
				return err
			}
			fmt.Print(n, " ")
		}
		return nil
	})
	fmt.Println(err)
	// Output: 1 8 27 64 125 0 8 14 <nil>
}

// The ctx of a call ends with its Timeout, in the worker too.
func ExampleFunc_With() {
	ctx := context.Background()
	err := executor.WithProcesses(ctx, executor.ProcessConfig{}, func(p *executor.ProcessPool) error {
		quick := linger.With(executor.CallConfig{Timeout: 10 * time.Millisecond})
		_, err := quick.Go(p, time.Hour).Result(ctx)
		return err
	})
	fmt.Println(errors.Is(err, context.DeadlineExceeded), err)
	// Output: true context deadline exceeded
}
