package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/subprocess"
	"github.com/eddyloop/eddy/task"
)

func runRun(fs *flag.FlagSet, args []string) int {
	r := &runner{out: os.Stdout, note: os.Stderr}
	fs.DurationVar(&r.timeout, "timeout", 10*time.Second, "how long the command may take before SIGTERM ends it; 0: as long as it takes")
	fs.DurationVar(&r.grace, "grace", 2*time.Second, "and how long it may take to end then, before it is killed")
	_ = fs.Parse(args) // exits on an error
	if fs.NArg() == 0 {
		fs.Usage()
		return 2
	}
	if r.timeout < 0 || r.grace <= 0 {
		fmt.Fprintln(os.Stderr, "demo run: a -timeout is not negative, a -grace is positive")
		return 2
	}
	ctx, stop := untilSignal()
	defer stop()
	status := 1
	err := task.Run(ctx, func(ctx context.Context) (err error) {
		status, err = r.run(ctx, fs.Args())
		return err
	})
	if err != nil && future.AsCanceled(err) == nil {
		fmt.Fprintln(os.Stderr, "demo run:", err)
	}
	return status
}

// A runner runs a command, and shows its output while it comes.
type runner struct {
	timeout, grace time.Duration
	out, note      io.Writer
}

// Exit statuses, as shells have them.
const (
	statusNotRun   = 126
	statusNotFound = 127
	statusSignal   = 128 // and its number
)

// run runs a command to its end, and returns the exit status that it ended with.
// When the time is over, or when the task is canceled, it ends the command.
func (r *runner) run(ctx context.Context, args []string) (status int, err error) {
	l := loop.FromContext(ctx)
	began := l.Now()
	cmd := subprocess.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = subprocess.Inherit, subprocess.Pipe, subprocess.Pipe
	cmd.Cancel = (*subprocess.Process).Terminate // at the end of the ctx of Start
	cmd.WaitDelay = r.grace                      // and killed after that
	limited, end := r.limit(ctx)
	defer end()
	p, err := cmd.Start(limited)
	if err != nil {
		return startStatus(err), err
	}
	defer p.Close()
	err = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
		g.Go(func(ctx context.Context) error { return r.show(ctx, "out", p.Stdout) })
		g.Go(func(ctx context.Context) error { return r.show(ctx, "err", p.Stderr) })
		return nil
	})
	if err != nil {
		end() // a signal came, for one
	}
	s, werr := p.Wait(ctx)
	if werr != nil {
		return 1, werr
	}
	if errors.Is(limited.Err(), context.DeadlineExceeded) {
		fmt.Fprintf(r.note, "demo run: time is up after %v\n", r.timeout)
	}
	fmt.Fprintf(r.note, "demo run: %v after %v\n", s, l.Now().Sub(began).Round(time.Millisecond))
	return exitStatus(s), err
}

// limit returns the ctx whose end is the command's.
func (r *runner) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return task.WithTimeout(ctx, r.timeout)
}

// show prints lines as they come, with a name before each.
func (r *runner) show(ctx context.Context, name string, c *stream.Conn) error {
	for {
		line, err := c.ReadLine(ctx)
		if errors.Is(err, stream.ErrTooLong) { // then in pieces
			line, err = readPiece(ctx, c)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, net.ErrClosed):
			fmt.Fprintf(r.note, "demo run: the command's %s was still open, and is closed\n", name)
			return nil
		case err != nil:
			return err
		}
		fmt.Fprintf(r.out, "%s: %s\n", name, line)
	}
}

func readPiece(ctx context.Context, c *stream.Conn) (string, error) {
	buf := make([]byte, bufferSize)
	n, err := c.Read(ctx, buf)
	return string(buf[:n]), err
}

func startStatus(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return statusNotFound
	}
	return statusNotRun
}

func exitStatus(s subprocess.ExitState) int {
	if sig, ok := s.Signal(); ok {
		return statusSignal + int(sig)
	}
	return s.Code()
}
