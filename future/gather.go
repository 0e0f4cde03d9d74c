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
// done, and it ends with the first of them that ends so. With no fs it is resolved
// at once. What is done already takes no turn. (asyncio: gather)
func Gather[F Of[T], T any](l *loop.Loop, fs ...F) *Future[[]T] {
	return NewGatherer[F](l, len(fs)).addAll(fs).Future()
}

// GatherAll is [Gather] for outcomes: it waits for all, also when it is canceled,
// and fails only then. (asyncio: gather(return_exceptions=True))
func GatherAll[F Of[T], T any](l *loop.Loop, fs ...F) *Future[[]Outcome[T]] {
	return NewGathererAll[F](l, len(fs)).addAll(fs).Future()
}

// A Gatherer is a [Gather] or a [GatherAll] that is put together one future at a
// time: what is added watches its future from then on. That matters when starting
// one settles another, as task.StartNow may. Make it with [NewGatherer] or
// [NewGathererAll]; R is the type of its result.
type Gatherer[F Of[T], T, R any] struct {
	outer    Future[R]
	fs       []F
	children []child[F, T, R] // room for those to come
	done     []*child[F, T, R]
	left     int
	all      bool // failures are results
	canceled bool
	collect  func(*Gatherer[F, T, R]) R
}

// A child is told that one of the fs is done.
type child[F Of[T], T, R any] struct {
	g *Gatherer[F, T, R]
	i int
}

// NewGatherer returns the beginning of a [Gather], with room for n futures.
func NewGatherer[F Of[T], T any](l *loop.Loop, n int) *Gatherer[F, T, []T] {
	return newGatherer(l, n, false, func(g *Gatherer[F, T, []T]) []T {
		vs := make([]T, len(g.fs))
		for i, f := range g.fs {
			if !f.Canceled() {
				vs[i], _ = f.Result()
			}
		}
		return vs
	})
}

// NewGathererAll returns the beginning of a [GatherAll], with room for n futures.
func NewGathererAll[F Of[T], T any](l *loop.Loop, n int) *Gatherer[F, T, []Outcome[T]] {
	return newGatherer(l, n, true, func(g *Gatherer[F, T, []Outcome[T]]) []Outcome[T] {
		vs := make([]Outcome[T], len(g.fs))
		for i, f := range g.fs {
			if vs[i].Err = f.cell().peek(); vs[i].Err == nil {
				vs[i].Value, _ = f.Result()
			}
		}
		return vs
	})
}

func newGatherer[F Of[T], T, R any](l *loop.Loop, n int, all bool, collect func(*Gatherer[F, T, R]) R) *Gatherer[F, T, R] {
	g := &Gatherer[F, T, R]{all: all, collect: collect}
	Init(&g.outer, l, g)
	g.fs = make([]F, 0, n)
	g.children = make([]child[F, T, R], 0, n)
	return g
}

// Add adds a future. It must not be called after Future.
func (g *Gatherer[F, T, R]) Add(f F) {
	if len(g.children) == cap(g.children) {
		g.children = make([]child[F, T, R], 0, 8) // those of before are watching
	}
	g.children = append(g.children, child[F, T, R]{g, len(g.fs)})
	c := &g.children[len(g.children)-1]
	g.fs = append(g.fs, f)
	g.left++
	if f.Done() {
		g.done = append(g.done, c)
	} else {
		f.Watch(c)
	}
}

func (g *Gatherer[F, T, R]) addAll(fs []F) *Gatherer[F, T, R] {
	for _, f := range fs {
		g.Add(f)
	}
	return g
}

// Future returns the future of all that was added.
func (g *Gatherer[F, T, R]) Future() *Future[R] {
	g.children = nil
	for _, c := range g.done {
		c.Run()
	}
	g.done = nil
	if len(g.fs) == 0 {
		g.finish()
	}
	return &g.outer
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
func (g *Gatherer[F, T, R]) finish() {
	results := g.collect(g) // also if nobody wants them: failures count as seen
	if g.canceled {
		Promise[R]{&g.outer}.Fail(g.fs[len(g.fs)-1].cell().cancellation())
		return
	}
	Promise[R]{&g.outer}.Resolve(results)
}

// CancelFuture cancels the children, and reports whether there was one to cancel.
func (g *Gatherer[F, T, R]) CancelFuture(cause error) bool {
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
func (g *Gatherer[F, T, R]) String() string {
	return fmt.Sprintf("gather of %d, %d left", len(g.fs), g.left)
}
