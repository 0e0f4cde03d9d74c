package locks_test

import (
	"context"
	"fmt"

	"github.com/eddyloop/eddy/locks"
	"github.com/eddyloop/eddy/task"
)

// Between two waits nothing else runs, so a counter needs no lock. A state that is
// wrong while its task waits does.
func ExampleMutex() {
	var m locks.Mutex
	balance := 10
	withdraw := func(ctx context.Context) error {
		if err := m.Lock(ctx); err != nil {
			return err
		}
		defer m.Unlock()
		before := balance
		if err := task.Yield(ctx); err != nil { // ask the bank
			return err
		}
		balance = before - 1
		return nil
	}
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			for range 3 {
				g.Go(withdraw)
			}
			return nil
		})
	})
	fmt.Println(balance)
	// Output: 7
}

func ExampleEvent() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		var ready locks.Event
		return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			for i := range 2 {
				g.Go(func(ctx context.Context) error {
					err := ready.Wait(ctx)
					fmt.Println("worker", i, "starts")
					return err
				})
			}
			if err := task.Yield(ctx); err != nil {
				return err
			}
			fmt.Println("ready")
			ready.Set()
			return nil
		})
	})
	// Output:
	// ready
	// worker 0 starts
	// worker 1 starts
}

func ExampleCond() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		c := locks.NewCond(nil)
		level := 0
		return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.Go(func(ctx context.Context) error {
				if err := c.L.Lock(ctx); err != nil {
					return err
				}
				defer c.L.Unlock()
				err := c.WaitUntil(ctx, func() bool { return level >= 3 })
				fmt.Println("high water:", level)
				return err
			})
			for range 4 {
				if err := c.L.Lock(ctx); err != nil {
					return err
				}
				level++
				fmt.Println("level", level)
				c.Signal()
				c.L.Unlock()
				if err := task.Yield(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	})
	// Output:
	// level 1
	// level 2
	// level 3
	// high water: 3
	// level 4
}

func ExampleSemaphore() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		s := locks.NewBoundedSemaphore(2)
		running, most := 0, 0
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			for range 10 {
				g.Go(func(ctx context.Context) error {
					if err := s.Acquire(ctx); err != nil {
						return err
					}
					defer s.Release()
					running++
					most = max(most, running)
					err := task.Yield(ctx)
					running--
					return err
				})
			}
			return nil
		})
		fmt.Println("at most", most, "at a time")
		return err
	})
	// Output: at most 2 at a time
}

func ExampleBarrier() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		b := locks.NewBarrier(3)
		return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			for _, name := range []string{"knife", "fork", "spoon"} {
				g.Go(func(ctx context.Context) error {
					fmt.Println(name, "is there")
					i, err := b.Wait(ctx)
					if i == 0 {
						fmt.Println("lay the table")
					}
					return err
				})
			}
			return nil
		})
	})
	// Output:
	// knife is there
	// fork is there
	// spoon is there
	// lay the table
}
