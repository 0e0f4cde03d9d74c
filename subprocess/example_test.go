//go:build unix

package subprocess_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/subprocess"
	"github.com/eddyloop/eddy/task"
)

// Run a command and read its lines as they come.
func ExampleCmd_Start() {
	err := task.Run(context.Background(), func(ctx context.Context) error {
		c := subprocess.Shell("for i in 1 2 3; do echo line $i; done; exit 4")
		c.Stdout = subprocess.Pipe
		p, err := c.Start(ctx)
		if err != nil {
			return err
		}
		defer p.Close()
		for line, err := range p.Stdout.Lines(ctx) {
			if err != nil {
				return err
			}
			fmt.Println(line)
		}
		state, err := p.Wait(ctx)
		fmt.Println(state.Code())
		return err
	})
	fmt.Println(err)
	// Output:
	// line 1
	// line 2
	// line 3
	// 4
	// <nil>
}

func ExampleCmd_Output() {
	err := task.Run(context.Background(), func(ctx context.Context) error {
		out, err := subprocess.Command("echo", "hello").Output(ctx)
		fmt.Printf("%s", out)
		if err != nil {
			return err
		}
		_, err = subprocess.Shell("echo no such thing >&2; exit 1").Output(ctx)
		var exit *subprocess.ExitError
		if errors.As(err, &exit) {
			fmt.Printf("%v: %s", err, exit.Stderr)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// hello
	// subprocess: /bin/sh: exit status 1: no such thing
	// <nil>
}

// A command that takes too long is told to end, and killed if it does not within a
// second.
func ExampleCmd_Run() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		c := subprocess.Command("sleep", "60")
		c.Cancel = (*subprocess.Process).Terminate
		c.WaitDelay = time.Second
		ctx, cancel := task.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		fmt.Println(c.Run(ctx))
		return nil
	})
	// Output: task: timeout
}

func ExampleProcess_Communicate() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		c := subprocess.Command("tr", "a-z", "A-Z")
		c.Stdin, c.Stdout = subprocess.Pipe, subprocess.Pipe
		p, err := c.Start(ctx)
		if err != nil {
			return err
		}
		out, _, err := p.Communicate(ctx, []byte("hello"))
		fmt.Printf("%s\n", out)
		return err
	})
	// Output: HELLO
}

// A printer prints what a process says.
type printer struct{ subprocess.Defaults }

func (printer) PipeData(fd int, p []byte) { fmt.Printf("%d: %s", fd, p) }
func (printer) Exited()                   { fmt.Println("exited") }

func ExampleCmd_StartProtocol() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	c := subprocess.Shell("echo hello; exec >&-; sleep 0.05")
	c.Stdout = subprocess.Pipe
	c.StartProtocol(l, stopper{l: l})
	fmt.Println(l.Run())
	// Output:
	// 1: hello
	// exited
	// <nil>
}

// A stopper is a printer that ends its loop with the process.
type stopper struct {
	printer
	l *loop.Loop
}

func (s stopper) Lost(error) { s.l.Stop() }
