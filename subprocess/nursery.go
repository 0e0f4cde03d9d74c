package subprocess

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/loop"
)

// A nursery holds the processes of a loop that have not been waited for, and ends
// them with it.
type nursery struct {
	l        *loop.Loop
	pool     *executor.Pool // of its own: to start a process does not wait for jobs of others
	starting map[*launch]struct{}
	children map[*child]struct{}
	groups   map[*child]struct{}     // that have outlived their leaders
	losing   map[*Transport]struct{} // whose Lost is in the loop's queue
	discards sync.WaitGroup          // of what was started and is not wanted
	closed   bool
	noHandle bool // wait by goroutines, as where there are no handles
}

var nurseryKey = new(int)

func nurseryOf(l *loop.Loop) *nursery {
	return l.Local(nurseryKey, func() any {
		n := &nursery{
			l: l,
			// The system forks one at a time. More keep it busy while pipes are made and
			// files are looked for. Those who wait are bounded by their tasks.
			pool:     executor.New(executor.Config{Limit: maxStarting, Queue: -1, Name: "subprocess"}),
			starting: make(map[*launch]struct{}),
			children: make(map[*child]struct{}),
			groups:   make(map[*child]struct{}),
			losing:   make(map[*Transport]struct{}),
		}
		l.OnClose(n.close)
		return n
	}).(*nursery)
}

const maxStarting = 4

// close ends everything when the loop closes. All tasks have ended.
func (n *nursery) close(ctx context.Context) error {
	n.closed = true
	discarded := n.discard()
	err := n.pool.ShutdownNow(ctx)
	for c := range n.children {
		_ = c.kill() // fails if it has exited
		c.waitElsewhere()
	}
	for c := range n.children {
		select {
		case <-c.reaped:
			n.protect(func() { n.l.CallIn(c.env, c.finish) })
		case <-ctx.Done():
			err = errors.Join(err, fmt.Errorf("subprocess: process %d was killed and has not ended: %w", c.pid, context.Cause(ctx)))
		}
	}
	for t := range n.losing {
		n.protect(func() { n.l.CallIn(t.c.env, t.lose) })
	}
	for c := range n.groups {
		c.drop()
	}
	select {
	case <-discarded:
	case <-ctx.Done():
	}
	return err
}

// discard ends what was started and not taken.
func (n *nursery) discard() (done <-chan struct{}) {
	var mine []*launch
	for s := range n.starting {
		delete(n.starting, s)
		if s.state.Swap(abandoned) == delivered { // else the job sees to it
			mine = append(mine, s)
		}
	}
	ch := make(chan struct{})
	go func() {
		defer close(ch)
		for _, s := range mine {
			s.discard()
		}
		n.discards.Wait()
	}()
	return ch
}

// protect calls fn while the loop closes: a panic of one protocol must not keep the
// others from being told.
func (n *nursery) protect(fn func()) {
	defer func() {
		if v := recover(); v != nil {
			n.l.Report(&loop.CallError{Op: "close", Err: coro.NewPanicError(v)})
		}
	}()
	fn()
}
