package subprocess

import (
	"os"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
)

// A child is a process that was started, from then to its end.
//
//	watched --its descriptor is readable--> exited
//	watched --no descriptor, or closing the loop--> waited for elsewhere --posted--> exited
//
// While it is watched, to wait for it and to make its end known is one step on the
// loop, so nobody sees it between the two. Elsewhere package os is in between: it
// refuses to signal what was waited for.
type child struct {
	n      *nursery
	os     *os.Process
	pid    int
	env    *env.Env // what the owner is told in
	owner  owner
	name   string
	group  bool // it leads one
	pidfd  int  // -1: none; after the exit, of a group that is not empty
	queued bool // an exitCall is

	reaped  chan struct{} // nil unless waited for elsewhere; closed when ps and waitErr are there
	ps      *os.ProcessState
	waitErr error

	done bool
	exit future.Future[struct{}]
}

// An owner is a Process or a Transport.
type owner interface{ exited() }

// adopt makes a child of what was launched, and watches it.
func (n *nursery) adopt(s *launch, o owner) *child {
	c := &child{
		n: n, os: s.os, pid: s.os.Pid, env: inherit(n.l), owner: o,
		name: s.cmd.path(), group: s.cmd.NewGroup, pidfd: -1,
	}
	future.Init(&c.exit, n.l, (*exitOf)(c))
	n.children[c] = struct{}{}
	if !c.watch() {
		c.waitElsewhere()
	}
	return c
}

// inherit returns the environment of what runs now but for its scope, which the
// process outlives.
func inherit(l *loop.Loop) *env.Env {
	e := l.Capture()
	if e.Scope == nil {
		return e
	}
	c := *e
	c.Scope = nil
	return &c
}

// watch has the loop watch a descriptor of the process.
func (c *child) watch() bool {
	if c.n.noHandle {
		return false
	}
	fd, err := dupHandle(c.os)
	if err != nil {
		return false
	}
	if err := c.n.l.Watch(fd, (*exitSink)(c)); err != nil {
		closeFD(fd)
		return false
	}
	c.pidfd = fd
	return true
}

// unwatch gives the descriptor back.
func (c *child) unwatch() {
	if c.pidfd >= 0 && c.reaped == nil && !c.done {
		c.n.l.Unwatch(c.pidfd)
	}
}

// drop closes the descriptor.
func (c *child) drop() {
	if c.pidfd >= 0 {
		closeFD(c.pidfd)
		c.pidfd = -1
		delete(c.n.groups, c)
	}
}

// An exitSink is a child as the loop sees it.
type exitSink child

// Ready queues the look at it. The loop calls it while it looks.
func (s *exitSink) Ready(poller.Ready) {
	if !s.queued {
		s.queued = true
		s.n.l.Queue((*exitCall)(s))
	}
}

// An exitCall is a child that may have exited.
type exitCall child

func (x *exitCall) Run() {
	c := (*child)(x)
	c.queued = false
	switch {
	case c.done || c.reaped != nil: // while the call waited for its turn
	case exited(c.pidfd):
		c.unwatch()
		c.ps, c.waitErr = c.os.Wait()
		c.n.l.CallIn(c.env, c.finish)
	default:
		c.waitElsewhere() // its descriptor may not tell a second time
	}
}

// waitElsewhere has a goroutine wait for the process.
func (c *child) waitElsewhere() {
	if c.reaped != nil {
		return
	}
	c.unwatch()
	c.reaped = make(chan struct{})
	c.n.l.AddOutside(1)
	go func() {
		c.ps, c.waitErr = c.os.Wait()
		close(c.reaped)
		// A loop that is closed has heard by the channel, or did not want to wait.
		_ = c.n.l.QueueThreadsafe((*reapedCall)(c))
	}()
}

// A reapedCall is a child that was waited for elsewhere.
type reapedCall child

func (x *reapedCall) Run() {
	c := (*child)(x)
	c.n.l.AddOutside(-1)
	c.n.l.CallIn(c.env, c.finish)
}

// finish makes the end of the process known.
func (c *child) finish() {
	if c.done {
		return
	}
	c.done = true
	if c.waitErr != nil {
		_ = c.os.Release() // which a wait does otherwise
	}
	delete(c.n.children, c)
	if c.group && !c.n.closed && groupLives(c.pidfd) {
		c.n.groups[c] = struct{}{} // there is somebody left to be signaled
	} else {
		c.drop()
	}
	future.Settle(&c.exit, struct{}{}, nil)
	c.owner.exited()
}

// state is how it has ended, for an owner that knows why.
func (c *child) state(cause error) ExitState {
	if !c.done || c.ps == nil {
		return ExitState{}
	}
	return ExitState{c.ps, c.name, cause}
}

// An exitOf says what the waits are for. Nobody cancels the exit: they get shields.
type exitOf child

func (*exitOf) CancelFuture(error) bool { return false }
func (x *exitOf) String() string        { return "exit of process " + x.name }

// signal sends sig to the process.
func (c *child) signal(sig os.Signal) error {
	if c.done {
		return os.ErrProcessDone
	}
	return c.os.Signal(sig)
}

// signalGroup sends sig to the group that the process leads.
func (c *child) signalGroup(sig os.Signal) error {
	if !c.group {
		panic("subprocess: KillGroup or SignalGroup of a process without a group of its own: see Cmd.NewGroup")
	}
	if c.done && c.pidfd < 0 {
		return os.ErrProcessDone
	}
	err := signalGroup(c.os, c.pidfd, sig)
	if c.done && err != nil {
		c.drop()
	}
	return err
}

// kill kills the process, with its group if it leads one.
func (c *child) kill() error {
	if c.done {
		return os.ErrProcessDone
	}
	if c.group {
		_ = c.signalGroup(kill) // which it may have left
	}
	return c.signal(kill)
}

var _ loop.Sink = (*exitSink)(nil)
