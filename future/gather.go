package future

import (
	"fmt"

	"github.com/eddyloop/eddy/loop"
)

// Of is a future or a task with a result of type T.
type Of[T any] interface {
	Waiter
	Result() (T, error)
}

// Gather returns a future of all results, in the order of fs. It fails with the
// first failure or cancellation of one of them, one turn after that; the others
// go on, and their failures count as seen. Canceling it cancels all that are not
// done, and it is settled when the last of them is. With no fs it is resolved at
// once. What is done already takes no turn. (asyncio: gather)
func Gather[F Of[T], T any](l *loop.Loop, fs ...F) *Future[[]T] {
	g := newGather(l, fs, false, func(g *gather[F, T, []T]) ([]T, error) {
		vs := make([]T, len(g.fs))
		for i, f := range g.fs {
			vs[i], _ = f.Result()
		}
		return vs, nil
	})
	return &g.outer
}

// GatherAll is [Gather] for outcomes: it waits for all, and fails only if it is
// canceled. (asyncio: gather(return_exceptions=True))
func GatherAll[F Of[T], T any](l *loop.Loop, fs ...F) *Future[[]Outcome[T]] {
	g := newGather(l, fs, true, func(g *gather[F, T, []Outcome[T]]) ([]Outcome[T], error) {
		vs := make([]Outcome[T], len(g.fs))
		for i, f := range g.fs {
			v, err := f.Result()
			vs[i] = Outcome[T]{v, err}
		}
		return vs, nil
	})
	return &g.outer
}

// A gather counts its children down.
type gather[F Of[T], T, R any] struct {
	outer    Future[R]
	fs       []F
	left     int
	all      bool // failures are results
	canceled *CanceledError
	collect  func(*gather[F, T, R]) (R, error)
}

// A child is told that one of the fs is done.
type child[F Of[T], T, R any] struct {
	g *gather[F, T, R]
	i int
}

func newGather[F Of[T], T, R any](l *loop.Loop, fs []F, all bool, collect func(*gather[F, T, R]) (R, error)) *gather[F, T, R] {
	g := &gather[F, T, R]{fs: fs, left: len(fs), all: all, collect: collect}
	Init(&g.outer, l, g)
	children := make([]child[F, T, R], len(fs))
	done := 0
	for i, f := range fs {
		children[i] = child[F, T, R]{g, i}
		if f.Done() {
			done++
		} else {
			f.Watch(&children[i])
		}
	}
	if done > 0 {
		for i, f := range fs {
			if f.Done() {
				children[i].Run()
			}
		}
	}
	if len(fs) == 0 {
		g.finish(nil)
	}
	return g
}

// Run counts one child that is done.
func (c *child[F, T, R]) Run() {
	g := c.g
	g.left--
	f := g.fs[c.i]
	err := f.Err() // seen, also when nobody is left to be told
	if g.outer.Done() {
		return
	}
	if err != nil && !g.all {
		Settle(&g.outer, g.outer.value, err)
		return
	}
	if g.left == 0 {
		g.finish(f)
	}
}

// finish settles the future when all children are done.
func (g *gather[F, T, R]) finish(Waiter) {
	if g.canceled != nil {
		Settle(&g.outer, g.outer.value, error(g.canceled))
		return
	}
	v, err := g.collect(g)
	Settle(&g.outer, v, err)
}

// CancelFuture cancels the children, and reports whether there was one to cancel.
func (g *gather[F, T, R]) CancelFuture(cause error) bool {
	ok := false
	for _, f := range g.fs {
		if f.Cancel(cause) {
			ok = true
		}
	}
	if ok {
		g.canceled = &CanceledError{Cause: cause}
	}
	return ok
}

// String says what the gather waits for.
func (g *gather[F, T, R]) String() string {
	return fmt.Sprintf("gather of %d, %d left", len(g.fs), g.left)
}
