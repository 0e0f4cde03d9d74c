// Package park is how a wait suspends the computation that it is made in, without
// the package of the wait knowing packages of tasks.
package park

import (
	"context"

	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/loop"
)

// A Waitable is what a computation waits for: a *future.Cell. This package
// stands below it.
type Waitable interface {
	// Done reports whether it has settled.
	Done() bool
}

// A Parker is a computation that can be suspended. It is its own context.
type Parker interface {
	env.Holder
	// Park suspends until w has settled, or returns a cancellation that was
	// thrown. It panics if the computation is not the one that runs.
	Park(w Waitable) error
	// Yield suspends until the next turn.
	Yield() error
	// Loop returns the loop it runs on.
	Loop() *loop.Loop
	// CheckCurrent panics if it is not the computation that runs.
	CheckCurrent()
}

// From returns the computation that ctx belongs to, which is about to wait. It
// panics if that is not the one that runs, and, with a sentence that begins with
// what, if there is none.
func From(ctx context.Context, what string) Parker {
	p, ok := ctx.(Parker)
	if !ok {
		p, ok = ctx.Value(env.TaskKey).(Parker)
	}
	if ok {
		p.CheckCurrent()
		return p
	}
	panic(what + " outside of a task: ctx must come from a task's body")
}
