package task

import (
	"context"
	"os"

	"github.com/eddyloop/eddy/future"
)

// WaitSignal suspends the task until the process gets one of the signals, and
// returns which. It asks for the signals only while it waits: before and after,
// they have their default action, and those that come together with the one that
// is returned are dropped. Who must not miss any registers once, by
// [loop.Loop.OnSignal]. The error is a cancellation or the end of a scope. It panics
// without a signal, and for one that cannot be caught. A virtual clock stands still
// meanwhile.
//
// Cancel safety: a signal that came before the cancellation is returned without an
// error, and the cancellation is thrown by the next call that waits.
func WaitSignal(ctx context.Context, sigs ...os.Signal) (os.Signal, error) {
	t := current(ctx, "task: WaitSignal")
	if len(sigs) == 0 {
		panic("task: WaitSignal without a signal")
	}
	if err := future.ScopeErr(ctx); err != nil {
		return nil, err
	}
	f, p := future.New[os.Signal](t.loop)
	for _, sig := range sigs {
		defer t.loop.OnSignal(sig, func() { p.Resolve(sig) })()
	}
	_, err := f.Await(ctx)
	if f.State() != future.Resolved {
		return nil, err
	}
	if err != nil {
		t.Postpone(err)
	}
	return f.Result()
}
