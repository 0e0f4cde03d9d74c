package thread

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// A Group knows which of its threads are alive, and waits for them: what the
// interpreter is to Python's threads. Its methods may be called from any goroutine.
// The zero value is empty. A thread belongs to it by [Config].
//
//	var threads thread.Group
//	thread.New(thread.Config{Group: &threads}, serve).Start(ctx)
//	thread.New(thread.Config{Group: &threads, Daemon: true}, report).Start(ctx)
//	err := threads.Join(ctx) // before main returns: serve has ended, report need not have
type Group struct {
	// OnError is told about threads that failed and have no OnError of their own. It
	// must be set before the first is started. Default nil: log by package log/slog.
	OnError func(t *Thread, err error)

	mu      sync.Mutex
	alive   map[*Thread]member
	started uint64 // threads so far
	waited  int    // alive, and no daemons
	joining line[struct{}]
}

type member struct {
	number uint64 // in the order of starting
	daemon bool
}

func (g *Group) add(t *Thread, daemon bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.alive == nil {
		g.alive = make(map[*Thread]member)
	}
	g.started++
	g.alive[t] = member{g.started, daemon}
	if !daemon {
		g.waited++
	}
}

// remove ends t in the sight of those who wait for it, and of those who count.
func (g *Group) remove(t *Thread) {
	var joined *waiter[struct{}]
	g.mu.Lock()
	daemon := g.alive[t].daemon
	delete(g.alive, t)
	close(t.ended)
	if !daemon {
		g.waited--
		if g.waited == 0 {
			joined = g.joining.take(math.MaxInt, nil)
		}
	}
	g.mu.Unlock()
	wakeAll(joined)
}

// Threads returns the threads that are alive, in the order they were started.
// (threading: enumerate)
func (g *Group) Threads() []*Thread {
	g.mu.Lock()
	defer g.mu.Unlock()
	ts := make([]*Thread, 0, len(g.alive))
	for t := range g.alive {
		ts = append(ts, t)
	}
	slices.SortFunc(ts, func(a, b *Thread) int { return cmp.Compare(g.alive[a].number, g.alive[b].number) })
	return ts
}

// Len returns how many threads are alive. (threading: active_count)
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.alive)
}

// Join waits until no thread is alive but daemons, those started meanwhile
// included. It returns ctx.Err() when ctx is done. A thread of the group that calls
// it waits for itself.
func (g *Group) Join(ctx context.Context) error { return g.join(ctx, forever) }

// JoinTimeout is Join that waits for no longer than d; then it returns
// [ErrTimeout].
func (g *Group) JoinTimeout(ctx context.Context, d time.Duration) error {
	return g.join(ctx, max(d, 0))
}

func (g *Group) join(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	if g.waited == 0 {
		g.mu.Unlock()
		return nil
	}
	if d == 0 {
		g.mu.Unlock()
		return ErrTimeout
	}
	w := g.joining.push(struct{}{})
	g.mu.Unlock()
	_, err := g.joining.await(ctx, d, &g.mu, w)
	return err
}
