package looptest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

func TestExp(t *testing.T) {
	cfg := looptest.Config{}
	cfg.Loop.Debug = true
	cfg.Loop.OnError = func(e *loop.CallError) { fmt.Printf("REPORT op=%q name=%q site=%q err=%v\n", e.Op, e.Name, e.Site, e.Err) }
	looptest.RunConfig(t, cfg, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		f, p := future.New[int](l)
		leaf := task.Start(ctx, func(ctx context.Context) (int, error) { return f.Await(ctx) })
		leaf.SetName("leaf")
		show := func(name string, fn func(ctx context.Context) error) {
			task.Go(ctx, fn).SetName(name)
		}
		show("await", func(ctx context.Context) error { _, err := leaf.Await(ctx); return err })
		show("gather", func(ctx context.Context) error { _, err := task.Gather(ctx, leaf, leaf); return err })
		show("gatherall", func(ctx context.Context) error { _, err := task.GatherAll(ctx, leaf); return err })
		show("wait", func(ctx context.Context) error { _, _, err := task.Wait(ctx, task.FirstCompleted, leaf); return err })
		show("waitfor", func(ctx context.Context) error { _, err := task.WaitFor(ctx, time.Hour, leaf); return err })
		show("shield", func(ctx context.Context) error { _, err := future.Shield(leaf.Future).Await(ctx); return err })
		show("timeout", func(ctx context.Context) error {
			return task.Timeout(ctx, time.Hour, func(ctx context.Context, _ *task.TimeoutScope) error { _, err := leaf.Await(ctx); return err })
		})
		show("scope", func(ctx context.Context) error {
			return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
				g.Go(func(ctx context.Context) error { _, err := leaf.Await(ctx); return err }).SetName("child")
				return nil
			})
		})
		show("ascompleted", func(ctx context.Context) error {
			for range task.AsCompleted(ctx, leaf) {
			}
			return nil
		})
		show("sleep", func(ctx context.Context) error { return task.Sleep(ctx, time.Second) })
		show("gen", func(ctx context.Context) error {
			g := coro.New(func(yield func(int) (int, error)) (int, error) { return leaf.Await(ctx) })
			g.Next()
			return nil
		})
		_ = looptest.WaitIdle(ctx)
		for _, t := range task.All(l) {
			w := t.Awaits()
			fmt.Printf("%-40s %T %v\n", t, w, w)
		}
		p.Resolve(1)
		task.Go(ctx, func(context.Context) error { return fmt.Errorf("x") }).SetName("failing")
		task.Go(ctx, func(ctx context.Context) error { return task.Sleep(ctx, time.Hour) }).SetName("pending")
		var ff func(ctx context.Context) error
		func() {
			defer func() { fmt.Println("Start(nil):", recover()) }()
			tk := task.Go(ctx, ff)
			_, err := tk.Await(ctx)
			fmt.Println("await", err)
		}()
		// settle a task from outside
		tk := task.Start(ctx, func(ctx context.Context) (int, error) { return 5, task.Sleep(ctx, 1) })
		fmt.Println("settle", future.Settle(tk.Future, 3, nil))
		fmt.Println(tk)
		_ = task.Sleep(ctx, time.Second)
		fmt.Println(tk)
		fmt.Println(tk.Result())
		return nil
	})
}
