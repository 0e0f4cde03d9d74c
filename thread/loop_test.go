package thread_test

import (
	"context"
	"strings"
	"testing"

	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/thread"
)

// A task that would block its loop is told so, and leaves no one in the line.
func TestWaitsOnALoopPanic(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		q := thread.NewQueue[int](0)
		var e thread.Event
		th := thread.New(thread.Config{}, func(context.Context) error { return e.Wait(context.Background()) })
		th.Start(context.Background())
		for name, wait := range map[string]func(){
			"Get":  func() { _, _ = q.Get(ctx) },
			"Wait": func() { _ = e.Wait(ctx) },
			"Join": func() { _ = th.Join(ctx) },
		} {
			func() {
				defer func() {
					if s, _ := recover().(string); !strings.HasPrefix(s, "thread: ") {
						t.Errorf("%s: panic %q", name, s)
					}
				}()
				wait()
			}()
		}
		e.Set()
		_ = th.Join(context.Background())
		// What need not wait is allowed, and the line is empty.
		if err := q.Put(ctx, 1); err != nil {
			return err
		}
		if v, err := q.Get(ctx); v != 1 || err != nil {
			t.Errorf("Get = %d, %v", v, err)
		}
		return th.Join(ctx)
	})
}
