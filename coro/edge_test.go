package coro_test

import (
	"context"
	"testing"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"

	"github.com/eddyloop/eddy/coro"
)

// asyncio has the loop close a generator that was dropped half-way, when it is
// collected. Here break does, at once, in the task that broke off.
func TestEdge024_AGeneratorLeftHalfWayIsClosedAtOnce(t *testing.T) {
	for name, leave := range map[string]func(c *echo){
		"break": func(c *echo) {
			for range c.All() {
				break
			}
		},
		"panic": func(c *echo) {
			defer func() { _ = recover() }()
			for range c.All() {
				panic("in the loop's body")
			}
		},
		"return": func(c *echo) {
			func() {
				for range c.All() {
					return
				}
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			looptest.Run(t, func(ctx context.Context) error {
				var got record
				c := coro.NewIn(loop.FromContext(ctx).Coroutines(), ticks(ctx, 3, &got))
				leave(c)
				got.want(t, "1s made 0", "1s told coro: closed", "2s cleaned up") // its cleaning up awaits
				if c.State() != coro.Closed {
					t.Errorf("it is %v", c.State())
				}
				return nil
			})
		})
	}
	t.Run("a task that ends at the end of the loop", func(t *testing.T) {
		var got record
		looptest.Run(t, func(ctx context.Context) error {
			task.Go(ctx, func(ctx context.Context) error {
				for range start(ticks(ctx, 9, &got)).All() {
					if err := task.Sleep(ctx, 0); err != nil {
						return err
					}
				}
				return nil
			})
			return task.Sleep(ctx, 1500e6)
		})
		got.want(t, "1s made 0", "1.5s interrupted", "2.5s cleaned up")
	})
}
