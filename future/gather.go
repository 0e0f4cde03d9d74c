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
	g := newGather(l, fs, false, func(g *gather[F, T, []T]) []T {
		vs := make([]T, len(g.fs))
		for i, f := range g.fs {
			if !f.Canceled() {
				vs[i], _ = f.Result()
			}
		}
		return vs
	})
	return &g.outer
}

// GatherAll is [Gather] for outcomes: it waits for all, and fails only if it is
// canceled. (asyncio: gather(return_exceptions=True))
func GatherAll[F Of[T], T any](l *loop.Loop, fs ...F) *Future[[]Outcome[T]] {
	g := newGather(l, fs, true, func(g *gather[F, T, []Outcome[T]]) []Outcome[T] {
		vs := make([]Outcome[T], len(g.fs))
		for i, f := range g.fs {
			err := f.cell().peek()
			var v T
			if err == nil {
				v, _ = f.Result()
			}
			vs[i] = Outcome[T]{v, err}
		}
		return vs
	})
	return &g.outer
}

// A gather counts its children down.
type gather[F Of[T], T, R any] struct {
	outer    Future[R]
	fs       []F
	left     int
	all      bool // failures are results
	canceled bool
	collect  func(*gather[F, T, R]) R
}

// A child is told that one of the fs is done.
type child[F Of[T], T, R any] struct {
	g *gather[F, T, R]
	i int
}

func newGather[F Of[T], T, R any](l *loop.Loop, fs []F, all bool, collect func(*gather[F, T, R]) R) *gather[F, T, R] {
	g := &gather[F, T, R]{fs: fs, left: len(fs), all: all, collect: collect}
	Init(&g.outer, l, g)
	children := make([]child[F, T, R], len(fs))
	done := false
	for i, f := range fs {
		children[i] = child[F, T, R]{g, i}
		if f.Done() {
			done = true
		} else {
			f.Watch(&children[i])
		}
	}
	if done {
		for i, f := range fs {
			if f.Done() {
				children[i].Run()
			}
		}
	}
	if len(fs) == 0 {
		g.finish()
	}
	return g
}

// Run counts one child that is done.
func (c *child[F, T, R]) Run() {
	g := c.g
	g.left--
	f := g.fs[c.i]
	if g.outer.Done() {
		if !f.Canceled() {
			_ = f.Err() // seen: nobody is left to be told
		}
		return
	}
	if !g.all {
		if err := f.Err(); err != nil {
			Promise[R]{&g.outer}.Fail(err)
			return
		}
	}
	if g.left == 0 {
		g.finish()
	}
}

// finish settles the future when all children are done. Once canceled, it has the
// cancellation of its last child.
func (g *gather[F, T, R]) finish() {
	results := g.collect(g) // also if nobody wants them: failures count as seen
	if g.canceled {
		Promise[R]{&g.outer}.Fail(g.fs[len(g.fs)-1].cell().cancellation())
		return
	}
	Promise[R]{&g.outer}.Resolve(results)
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
		g.canceled = true
	}
	return ok
}

// String says what the gather waits for.
func (g *gather[F, T, R]) String() string {
	return fmt.Sprintf("gather of %d, %d left", len(g.fs), g.left)
}
