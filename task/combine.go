package task

import (
	"context"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

// Gather waits for all of fs, futures or tasks, and returns their results in the
// order of fs. It returns the first error at once; the others go on. See
// [future.Gather], which it awaits. To end the others with the first error, start
// them in a [Scope]. (asyncio: gather)
//
// Cancel safety: canceling the caller cancels all of fs, and Gather returns when
// the first of them has ended so; GatherAll when all are done.
func Gather[F future.Of[T], T any](ctx context.Context, fs ...F) ([]T, error) {
	return future.Gather(park.From(ctx, "task: Gather").Loop(), fs...).Await(ctx)
}

// GatherAll waits for all of fs and returns what became of each. Its error is
// only the caller's own cancellation. (asyncio: gather(return_exceptions=True))
func GatherAll[F future.Of[T], T any](ctx context.Context, fs ...F) ([]future.Outcome[T], error) {
	return future.GatherAll(park.From(ctx, "task: GatherAll").Loop(), fs...).Await(ctx)
}

// When says when [Wait] returns.
type When uint8

const (
	// AllCompleted: when all are done.
	AllCompleted When = iota
	// FirstCompleted: when one is done.
	FirstCompleted
	// FirstException: when one has failed, or all are done. A canceled one has
	// not failed.
	FirstException
)

// Wait suspends the task until some or all of ws are done, and returns those that
// are and those that are not, each in the order of ws without repetitions. It
// cancels nothing, also when it is canceled itself; its error is only that. It
// suspends even if all are done already. It panics if there are no ws.
// (asyncio: wait)
func Wait[F future.Waiter](ctx context.Context, when When, ws ...F) (done, pending []F, err error) {
	return wait(ctx, -1, when, ws)
}

// WaitTimeout is [Wait] that returns after d in any case. The end of d is no
// error. A negative d sets no limit.
func WaitTimeout[F future.Waiter](ctx context.Context, d time.Duration, when When, ws ...F) (done, pending []F, err error) {
	return wait(ctx, d, when, ws)
}

func wait[F future.Waiter](ctx context.Context, d time.Duration, when When, ws []F) (done, pending []F, err error) {
	if len(ws) == 0 {
		panic("task: Wait for nothing")
	}
	ws = distinct(ws)
	l := park.From(ctx, "task: Wait").Loop()
	g := &waitGroup{when: when, left: len(ws), l: l}
	future.Init(&g.f, l, g)
	if d >= 0 {
		l.StartTimer(&g.timer, d, (*waitTimer)(g))
	}
	members := make([]waitMember, len(ws))
	for i, w := range ws {
		members[i] = waitMember{g, w}
		w.Watch(&members[i])
	}
	_, err = g.f.Await(ctx)
	g.stop()
	for i, w := range ws {
		if w.Done() {
			done = append(done, w)
		} else {
			w.Unwatch(&members[i])
			pending = append(pending, w)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return done, pending, nil
}

// distinct drops repetitions, keeping the first of each.
func distinct[F future.Waiter](ws []F) []F {
	seen := make(map[*future.Cell]bool, len(ws))
	out := make([]F, 0, len(ws))
	for _, w := range ws {
		if c := future.CellOf(w); !seen[c] {
			seen[c] = true
			out = append(out, w)
		}
	}
	return out
}

// A waitGroup is the one future that a Wait waits for.
type waitGroup struct {
	f     future.Future[struct{}]
	l     *loop.Loop
	timer loop.Timer
	when  When
	left  int
	over  bool
}

func (g *waitGroup) stop() {
	g.over = true
	g.l.StopTimer(&g.timer)
}

// CancelFuture ends the Wait, and nothing else.
func (g *waitGroup) CancelFuture(cause error) bool {
	return future.SettleCanceled(&g.f, cause)
}

// String says what is waited for.
func (g *waitGroup) String() string { return "wait" }

// A waitTimer is the waitGroup as what its timer runs.
type waitTimer waitGroup

func (t *waitTimer) Run() { future.Settle(&t.f, struct{}{}, nil) }

// A waitMember is told that one of the waited for is done.
type waitMember struct {
	g *waitGroup
	w future.Waiter
}

// Stopped tells the future that the Wait is over.
func (m *waitMember) Stopped() bool { return m.g.over }

// Run counts it, also when the Wait is over since this was queued: then the
// failure it looks for still counts as seen.
func (m *waitMember) Run() {
	g := m.g
	g.left--
	if g.left == 0 || g.when == FirstCompleted ||
		g.when == FirstException && !m.w.Canceled() && m.w.Err() != nil {
		g.l.StopTimer(&g.timer)
		future.Settle(&g.f, struct{}{}, nil)
	}
}

// WaitFor awaits f for up to d. When d has passed it cancels f, waits until f is
// done, and returns [ErrTimeout], unless f ended with a result or a failure of its
// own all the same. A d of zero or less takes a result that is there and cancels
// otherwise. A cancellation from outside is never swallowed. (asyncio: wait_for)
//
// Cancel safety: canceling the caller cancels f.
func WaitFor[F future.Of[T], T any](ctx context.Context, d time.Duration, f F) (T, error) {
	var v T
	if d <= 0 {
		if f.Done() {
			return f.Result()
		}
		if err := cancelAndWait(ctx, f); err != nil {
			return v, err
		}
		v, err := f.Result()
		if future.AsCanceled(err) != nil {
			err = ErrTimeout
		}
		return v, err
	}
	err := Timeout(ctx, d, func(ctx context.Context, _ *TimeoutScope) (err error) {
		v, err = future.Await(ctx, f)
		return err
	})
	return v, err
}

// cancelAndWait cancels f and waits until it is done, whatever its outcome.
func cancelAndWait(ctx context.Context, f future.Waiter) error {
	l := f.Loop()
	w, p := future.New[struct{}](l)
	stop := f.OnDone(func() { p.Resolve(struct{}{}) })
	defer stop()
	f.Cancel(ErrTimeout)
	_, err := w.Await(ctx)
	return err
}
