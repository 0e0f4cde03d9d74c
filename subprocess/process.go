package subprocess

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
)

// A Process is a program that was started by [Cmd.Start]. It belongs to the loop it was
// started on, and must be used on it. Several tasks may use it at a time, but each
// pipe only one in each direction. (asyncio: Process)
//
//	running --exits, or is killed--> exited
//
// A pipe stays open until it is closed: by its own Close, by Communicate when it has
// ended, by Close of the Process, or with the loop.
type Process struct {
	// Stdin is the write end of the process's standard input, and Stdout and Stderr
	// are the read ends of its outputs. Each is nil unless it was asked for as [Pipe].
	// What the process does not read, or nobody reads from it, makes the writer wait:
	// the pipe holds some 64 KB. Writes when nobody reads any more fail with
	// syscall.EPIPE. Stdin.CloseWrite, or Close, ends the process's input.
	Stdin, Stdout, Stderr *stream.Conn

	c          *child
	cmd        Cmd
	state      ExitState
	talk       *talk         // of Communicate; nil until the first
	unbind     func() bool   // from the ctx of Start; nil: not bound
	cause      error         // of the end of that
	timer      *loop.Handle  // of WaitDelay; nil: not running
	delay      time.Duration // from the exit to the end of the pipes; 0: no bound
	interrupts bool          // the process was told to end
	expired    bool          // the pipes were closed because of the delay
}

// Start starts the process, and suspends the calling task while the system does: a
// goroutine is blocked until the program was loaded. Up to four are started at a time.
// The errors are those of os.StartProcess, mostly *os.PathError; *exec.Error, which is
// exec.ErrNotFound, for a program that is not in PATH; those of making pipes; and the
// interruption. It panics for a Cmd that contradicts itself. It must be called in a
// task. (asyncio: create_subprocess_exec)
//
// Cancel safety: a canceled Start returns when the process that it may have started was
// killed and waited for; or at once if it is canceled a second time.
func (c *Cmd) Start(ctx context.Context) (*Process, error) {
	l := park.From(ctx, "subprocess: Start").Loop()
	if err := future.ScopeErr(ctx); err != nil {
		return nil, err // a scope that has ended must not start anything
	}
	s := nurseryOf(l).launch(c)
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	if !s.take() {
		return nil, loop.ErrClosed
	}
	p := &Process{cmd: s.cmd, delay: c.WaitDelay}
	p.c = s.n.adopt(s, p)
	if err := p.openPipes(ctx, s); err != nil {
		_ = p.Close()
		return nil, err
	}
	p.bind(ctx)
	return p, nil
}

// openPipes makes streams of the pipes.
func (p *Process) openPipes(ctx context.Context, s *launch) error {
	for i, conn := range p.conns() {
		if s.pipe[i] < 0 {
			continue
		}
		var err error
		if *conn, err = stream.AdoptFD(ctx, s.pipe[i]); err != nil {
			s.closePipes()
			return err
		}
		s.pipe[i] = -1
	}
	return nil
}

// bind has Cancel called when ctx is done.
func (p *Process) bind(ctx context.Context) {
	if p.cmd.Cancel == nil {
		return
	}
	l := p.Loop()
	p.unbind = context.AfterFunc(ctx, func() {
		_ = l.CallSoonThreadsafe(func() { // a loop that is closed kills
			if !p.c.done {
				p.cause = context.Cause(ctx)
				p.interrupt()
			}
		})
	})
}

func (p *Process) conns() [3]**stream.Conn { return [3]**stream.Conn{&p.Stdin, &p.Stdout, &p.Stderr} }

// Loop returns the loop that the process belongs to.
func (p *Process) Loop() *loop.Loop { return p.c.n.l }

// Pid returns the number of the process. When it has exited the system may give that to
// another.
func (p *Process) Pid() int { return p.c.pid }

// String names the process by its program.
func (p *Process) String() string { return "process " + p.c.name }

// Wait suspends the task until the process has exited, and returns how. It does not
// wait for the ends of the pipes, and closes none, so what was written can be read
// before it or after. Any number of tasks may wait, any number of times. The error is
// an interruption, or one of the system, a *os.SyscallError, if somebody else has
// waited for the process: then nobody knows how it has ended. (asyncio: wait)
//
// A process that writes to a pipe that nobody reads does not exit.
//
// Cancel safety: nothing happens to the process.
func (p *Process) Wait(ctx context.Context) (ExitState, error) {
	if !p.c.done {
		if _, err := future.Shield(&p.c.exit).Await(ctx); err != nil {
			return ExitState{}, err
		}
	}
	return p.state, p.c.waitErr
}

// TryWait is Wait without waiting: it reports whether the process has exited, and how.
// One that was lost to somebody else has exited with the zero ExitState.
// (asyncio: returncode)
func (p *Process) TryWait() (s ExitState, ok bool) { return p.state, p.c.done }

// Exited returns what to wait for, with task.Wait for example: it is settled when the
// process has exited. Canceling it does nothing to others.
func (p *Process) Exited() future.Waiter { return future.Shield(&p.c.exit) }

// Signal sends a signal to the process. It returns os.ErrProcessDone if the process has
// exited; one that has exited but was not noticed yet ignores the signal. Other errors
// are those of the system. (asyncio: send_signal and its ProcessLookupError)
func (p *Process) Signal(sig os.Signal) error { return p.c.signal(sig) }

// Terminate is Signal of SIGTERM. (asyncio: terminate)
func (p *Process) Terminate() error { return p.c.signal(terminate) }

// Kill is Signal of SIGKILL. (asyncio: kill)
func (p *Process) Kill() error { return p.c.signal(kill) }

// SignalGroup sends a signal to all processes of the group that the process leads: see
// Cmd.NewGroup, without which it panics. It returns os.ErrProcessDone if none is left.
// Once the process has exited it reaches those that are left only where the system can
// tell the group from another of the same number, Linux 6.9 and later; elsewhere it
// returns os.ErrProcessDone.
//
// A group that has outlived its leader keeps a descriptor until it was signaled in
// vain or the Process or the loop is closed.
func (p *Process) SignalGroup(sig os.Signal) error { return p.c.signalGroup(sig) }

// KillGroup is SignalGroup of SIGKILL.
func (p *Process) KillGroup() error { return p.c.signalGroup(kill) }

// Close closes the pipes, and kills the process if it still runs, with its group if it
// leads one. It does not wait: the loop does, and Wait may. Calling it again does
// nothing. (asyncio: SubprocessTransport.close)
func (p *Process) Close() error {
	p.stopTimer()
	p.closePipes()
	if p.c.done {
		p.c.drop()
		return nil
	}
	if err := p.c.kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (p *Process) closePipes() {
	for _, conn := range p.conns() {
		if *conn != nil {
			_ = (*conn).Close() // of a pipe: what was written has gone
		}
	}
}

func (p *Process) pipesOpen() bool {
	for _, conn := range p.conns() {
		if *conn != nil && !(*conn).Closed() {
			return true
		}
	}
	return false
}

// interrupt ends the process early.
func (p *Process) interrupt() {
	if p.c.done || p.interrupts {
		return
	}
	p.interrupts = true
	if p.cmd.Cancel == nil {
		_ = p.c.kill() // fails if it has exited
	} else if err := p.cmd.Cancel(p); err != nil && !errors.Is(err, os.ErrProcessDone) {
		_ = p.c.kill()
	}
	if p.cmd.WaitDelay > 0 {
		p.startTimer(p.cmd.WaitDelay)
	}
}

// exited is told by the child.
func (p *Process) exited() {
	p.state = p.c.state(p.cause)
	if p.unbind != nil {
		p.unbind()
	}
	if p.delay > 0 && p.pipesOpen() && !p.c.n.closed {
		p.startTimer(p.delay)
	}
}

func (p *Process) startTimer(d time.Duration) {
	if p.timer == nil {
		p.timer = p.Loop().CallLater(d, p.expire)
	}
}

func (p *Process) stopTimer() {
	if p.timer != nil {
		p.timer.Cancel()
	}
}

// expire is the end of WaitDelay.
func (p *Process) expire() {
	if !p.c.done {
		_ = p.c.kill() // fails if it has exited
	}
	if p.pipesOpen() {
		p.expired = true
		p.closePipes()
	}
}

var _ owner = (*Process)(nil)
