//go:build unix

package subprocess_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/subprocess"
	"github.com/eddyloop/eddy/task"
)

// size is how much of a large test is run under the race detector.
func size(n int) int {
	if raceEnabled {
		return n / 10
	}
	return n
}

// R63: short processes, all running at the same moment, that end at once. None becomes
// a zombie, or gets another's code.
func TestLargeStormOfExits(t *testing.T) { // R63
	both(t, func(t *testing.T, ctx context.Context) error {
		n := size(2000)
		gate := subprocess.Shell("read line; exit $0")
		gate.Stdin = subprocess.Pipe
		running := make([]*subprocess.Process, n)
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			for i := range running {
				c := *gate
				c.Args = append(c.Args[:3:3], itoa(i%256))
				g.Go(func(ctx context.Context) (err error) {
					running[i], err = c.Start(ctx)
					return err
				})
			}
			return nil
		})
		if err != nil {
			return err
		}
		begin := time.Now()
		for _, p := range running {
			testkit.Must(t, p.Stdin.Close())
		}
		for i, p := range running {
			if s, err := p.Wait(ctx); err != nil || s.Code() != i%256 {
				t.Errorf("process %d: %v (code %d), %v", i, s, s.Code(), err)
			}
		}
		t.Logf("%d exits in %v", n, time.Since(begin))
		return nil
	})
}

// R63: many processes one after the other, some at a time; 20,000 in both ways.
func TestLargeManyShortProcesses(t *testing.T) { // R63
	both(t, func(t *testing.T, ctx context.Context) error {
		n := size(10_000)
		begin := time.Now()
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.SetLimit(16)
			for i := range n {
				g.Go(func(ctx context.Context) error {
					p, err := subprocess.Shell(fmt.Sprintf("exit %d", i%256)).Start(ctx)
					if err != nil {
						return err
					}
					if s, err := p.Wait(ctx); err != nil || s.Code() != i%256 {
						return fmt.Errorf("process %d: %v (code %d), %w", i, s, s.Code(), err)
					}
					return nil
				})
			}
			return nil
		})
		t.Logf("%d processes in %v", n, time.Since(begin))
		return err
	})
}

// R64: 1 MB both ways, an early close, a grandchild that holds the pipe.
func TestLargeStdio(t *testing.T) { // R64
	both(t, func(t *testing.T, ctx context.Context) error {
		n := size(1000)
		begin := time.Now()
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.SetLimit(2 * runtime.GOMAXPROCS(0))
			for i := range n {
				g.Go(func(ctx context.Context) error { return stdioOnce(ctx, t, i) })
			}
			return nil
		})
		t.Logf("%d conversations in %v", n, time.Since(begin))
		return err
	})
}

func stdioOnce(ctx context.Context, t *testing.T, i int) error {
	switch i % 3 {
	case 0:
		c := subprocess.Command("cat")
		c.Stdin, c.Stdout = subprocess.Pipe, subprocess.Pipe
		p, err := c.Start(ctx)
		if err != nil {
			return err
		}
		out, _, err := p.Communicate(ctx, make([]byte, 1<<20))
		if len(out) != 1<<20 {
			t.Errorf("%d bytes came back", len(out))
		}
		return err
	case 1:
		c := subprocess.Shell("exec <&-; echo closed; exit 2")
		c.Stdin, c.Stdout = subprocess.Pipe, subprocess.Pipe
		p, err := c.Start(ctx)
		if err != nil {
			return err
		}
		out, _, err := p.Communicate(ctx, make([]byte, 1<<20))
		if s, ok := p.TryWait(); string(out) != "closed\n" || !ok || s.Code() != 2 {
			t.Errorf("early close: %q, %v", out, s)
		}
		return err
	}
	c := subprocess.Shell("sleep 60 & echo $!")
	c.WaitDelay = time.Millisecond
	out, err := c.Output(ctx)
	if err != subprocess.ErrWaitDelay {
		return fmt.Errorf("grandchild: %q, %w", out, err)
	}
	return killLine(string(out))
}

// A loop that starts processes goes on with its other work: starting is not done on it.
func TestLargeStartingDoesNotStopTheLoop(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		l := loop.FromContext(ctx)
		before := l.Stats().Turns
		begin := time.Now()
		for range size(200) {
			if err := subprocess.Shell("exit 0").Run(ctx); err != nil {
				return err
			}
		}
		s := l.Stats()
		t.Logf("%v, %d turns, busy %v", time.Since(begin), s.Turns-before, s.Busy)
		if busy := s.Busy; !raceEnabled && busy > time.Since(begin)/4 {
			t.Errorf("the loop was busy for %v of %v", busy, time.Since(begin))
		}
		return nil
	})
}
