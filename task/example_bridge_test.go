package task_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/eddyloop/eddy/task"
)

// A goroutine's channel is read by a task; the loop runs on meanwhile.
func ExampleRecv() {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for _, s := range []string{"one", "two"} {
			lines <- s
		}
	}()
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		for {
			s, ok, err := task.Recv(ctx, lines)
			if err != nil || !ok {
				return err
			}
			fmt.Println(s)
		}
	})
	// Output:
	// one
	// two
}

// A result that nobody takes in time.
func ExampleSend() {
	results := make(chan int)
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		sub, cancel := task.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		fmt.Println(task.Send(sub, results, 42))
		return nil
	})
	// Output: task: timeout
}

func ExampleWaitGroupDone() {
	var wg sync.WaitGroup
	var squares [4]int
	for i := range squares {
		wg.Go(func() { squares[i] = i * i })
	}
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		err := task.WaitGroupDone(ctx, &wg)
		fmt.Println(squares)
		return err
	})
	// Output: [0 1 4 9]
}

// Each loop computes its share; the first one collects, without locks.
func ExampleRunLoops() {
	sum, left := 0, 4 // of loop 0
	done := make(chan struct{})
	err := task.RunLoops(context.Background(), 4, func(ctx context.Context, i int, all *task.Loops) error {
		share := i * i
		if err := all.Loop(0).CallSoonThreadsafe(func() {
			sum += share
			if left--; left == 0 {
				close(done)
			}
		}); err != nil || i > 0 {
			return err
		}
		_, _, err := task.Recv(ctx, done)
		return err
	})
	fmt.Println(sum, err)
	// Output: 14 <nil>
}

// A server that reads its configuration again at each SIGHUP would use OnSignal,
// which misses none. Signals that only end it are Main's.
func ExampleProgram() {
	task.Program{Drain: 10 * time.Second}.Main(func(ctx context.Context) error {
		fmt.Println("serving until main returns, or a signal comes")
		return nil
	})
	// Output: serving until main returns, or a signal comes
}
