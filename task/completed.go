package task

import (
	"context"
	"iter"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/internal/waitq"
	"github.com/eddyloop/eddy/loop"
)

// AsCompleted returns fs as they are done, each once, for range: those that are
// done already first, in the order of fs, and then in order of completion. It
// suspends the task in between. When the consumer itself is canceled, or a scope
// of ctx ends, the error of the last pair says so; the error is nil otherwise, and
// what became of the future is asked of the future. Leaving the loop cancels
// nothing. ctx is only handed on. (asyncio: as_completed)
func AsCompleted[F future.Waiter](ctx context.Context, fs ...F) iter.Seq2[F, error] {
	return AsCompletedTimeout(ctx, -1, fs...)
}

// AsCompletedTimeout is [AsCompleted] with a limit: when d has passed since the
// loop began and not all are done, the error of the last pair is [ErrTimeout]. A
// negative d sets no limit.
func AsCompletedTimeout[F future.Waiter](ctx context.Context, d time.Duration, fs ...F) iter.Seq2[F, error] {
	return func(yield func(F, error) bool) {
		a := newArrivals(ctx, fs)
		defer a.stop()
		if d >= 0 && a.left > 0 {
			a.l.StartTimer(&a.timer, d, (*arrivalsTimer[F])(a))
		}
		for {
			f, ok, err := a.next(ctx)
			if !ok && err == nil {
				return
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// arrivals is a queue of futures that are done.
type arrivals[F future.Waiter] struct {
	l       *loop.Loop
	done    []F
	left    int // not done yet
	expired bool
	over    bool
	q       waitq.Queue
	timer   loop.Timer
	members []arrival[F]
}

// An arrival is told that a future is done.
type arrival[F future.Waiter] struct {
	a *arrivals[F]
	f F
}

func newArrivals[F future.Waiter](ctx context.Context, fs []F) *arrivals[F] {
	a := &arrivals[F]{l: park.From(ctx, "task: AsCompleted").Loop()}
	seen := make(map[*future.Cell]bool, len(fs))
	for _, f := range fs {
		switch c := future.CellOf(f); {
		case seen[c]:
		case f.Done():
			seen[c] = true
			a.done = append(a.done, f)
		default:
			seen[c] = true
			a.members = append(a.members, arrival[F]{a, f})
		}
	}
	a.left = len(a.members)
	for i := range a.members {
		a.members[i].f.Watch(&a.members[i])
	}
	return a
}

// Stopped tells the future that nobody wants to know.
func (m *arrival[F]) Stopped() bool { return m.a.over }

// Run notes that the future is done.
func (m *arrival[F]) Run() {
	a := m.a
	if a.over || a.expired {
		return
	}
	a.left--
	a.done = append(a.done, m.f)
	if a.left == 0 {
		a.l.StopTimer(&a.timer)
	}
	a.q.WakeNext()
}

// arrivalsTimer is arrivals as what its timer runs.
type arrivalsTimer[F future.Waiter] arrivals[F]

func (t *arrivalsTimer[F]) Run() {
	if t.left > 0 {
		t.expired = true
		t.q.WakeNext()
	}
}

func (a *arrivals[F]) next(ctx context.Context) (f F, ok bool, err error) {
	for {
		switch {
		case len(a.done) > 0:
			f = a.done[0]
			a.done = a.done[1:]
			return f, true, nil
		case a.expired:
			return f, false, ErrTimeout
		case a.left == 0:
			return f, false, nil
		}
		w := a.q.Push(ctx, "task: AsCompleted")
		err := w.Await(ctx)
		w.Remove()
		if err != nil {
			return f, false, err
		}
	}
}

func (a *arrivals[F]) stop() {
	a.over = true
	a.l.StopTimer(&a.timer)
	for i := range a.members {
		if m := &a.members[i]; !m.f.Done() {
			m.f.Unwatch(m)
		}
	}
}
