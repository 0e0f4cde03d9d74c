//go:build !race

package task_test

import (
	"context"
	"errors"
	"testing"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// To close a channel while somebody sends is a race, and the race detector says so.
func TestSendToAChannelThatIsClosedMeanwhile(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		ch := make(chan int)
		tk := task.Go(ctx, func(ctx context.Context) error { return task.Send(ctx, ch, 1) })
		yield(ctx, 1)
		close(ch)
		_, err := tk.Await(ctx)
		var p *coro.PanicError
		if !errors.As(err, &p) || l.Outside() {
			t.Errorf("%v, outside %v", err, l.Outside())
		}
		wantPanic(t, "send on closed channel", func() { _ = task.Send(ctx, ch, 1) })
	})
}
