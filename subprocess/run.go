package subprocess

import (
	"context"
	"time"
)

// Run starts the process and waits until it has exited. The error is nil if it has
// with code 0, otherwise an [*ExitError]; or one of Start, or of Wait. It panics if a
// stream is a [Pipe], which nobody would read or write. It must be called in a task.
// (os/exec: Run)
//
// Cancel safety: interrupted, Run ends the process, by Cmd.Cancel or by killing it, and
// returns the interruption when it has exited; a second interruption kills. The same
// holds for Output and CombinedOutput.
func (c *Cmd) Run(ctx context.Context) error {
	if c.Stdin == Pipe || c.Stdout == Pipe || c.Stderr == Pipe {
		panic("subprocess: Run with a Pipe: nobody has the other end")
	}
	_, _, err := c.run(ctx)
	return err
}

// Output runs the process and returns what it wrote to its standard output, also
// along with an error, which is one of Run or of [Process.Communicate]. If Stderr is
// nil it is collected, too: its end is in the [*ExitError]. It panics if Stdout is
// not nil, or Stderr a [Pipe]. A Stdin that is a Pipe is closed at once. It must be
// called in a task. (os/exec: Output)
func (c *Cmd) Output(ctx context.Context) ([]byte, error) {
	if c.Stdout != nil || c.Stderr == Pipe {
		panic("subprocess: Output with a Stdout, or with a Pipe for Stderr")
	}
	d := *c
	d.Stdout = Pipe
	if d.Stderr == nil {
		d.Stderr = Pipe
	}
	out, errOut, err := d.run(ctx)
	if e, ok := err.(*ExitError); ok {
		e.Stderr = errOut[max(0, len(errOut)-maxExitStderr):]
	}
	return out, err
}

const maxExitStderr = 32 << 10

// CombinedOutput is Output of both standard streams together, in the order they were
// written. It panics if Stdout or Stderr is not nil. (os/exec: CombinedOutput)
func (c *Cmd) CombinedOutput(ctx context.Context) ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		panic("subprocess: CombinedOutput with a Stdout or a Stderr")
	}
	d := *c
	d.Stdout, d.Stderr = Pipe, ToStdout
	out, _, err := d.run(ctx)
	return out, err
}

// afterwards bounds how long an interrupted run waits for pipes that others hold.
const afterwards = time.Second

func (c *Cmd) run(ctx context.Context) (stdout, stderr []byte, err error) {
	p, err := c.Start(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer p.Close() //nolint:errcheck // it has exited, or nobody can wait for it
	stdout, stderr, err = p.Communicate(ctx, nil)
	if err == nil || p.c.done && err == ErrWaitDelay {
		if exit := p.state.Err(); exit != nil {
			err = exit
		}
		return stdout, stderr, err
	}
	p.interrupt()
	if p.delay == 0 {
		p.delay = afterwards
	}
	if p.c.done {
		p.startTimer(p.delay) // it has exited before, and others hold its pipes
	}
	stdout, stderr = p.drain(context.WithoutCancel(ctx))
	return stdout, stderr, err
}

// drain reads on until the process has exited: it may have something to say, and would
// wait for somebody to hear.
func (p *Process) drain(ctx context.Context) (stdout, stderr []byte) {
	stdout, stderr, err := p.Communicate(ctx, nil)
	switch err {
	case nil, ErrWaitDelay:
		return stdout, stderr
	case ErrOutputLimit:
		p.closePipes()
	default:
		_ = p.c.kill() // interrupted once more
	}
	_, _ = p.Wait(ctx) // or for ever so many times
	return stdout, stderr
}
