package loop_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

func TestExp(t *testing.T) {
	var l *loop.Loop
	l = open(t, loop.Config{Clock: looptest.NewClock(time.Time{}), Debug: true, OnError: func(e *loop.CallError) {
		fmt.Printf("handler ctx %q current %v err %v site %s\n", nameOf(l.Context()), l.Current(), e, e.Site)
	}})
	task.Go(context.WithValue(l.Context(), nameKey{}, "outer"), func(ctx context.Context) error {
		l.CallSoon(func() { panic("x") })
		_ = task.Go(ctx, func(context.Context) error { return fmt.Errorf("unseen") })
		return nil
	})
	l.CallLater(1, l.Stop)
	run(t, l)
}
