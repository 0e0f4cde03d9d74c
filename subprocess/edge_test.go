//go:build unix

package subprocess_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/subprocess"
	"github.com/eddyloop/eddy/task"
)

func TestEdge131_CommunicateIgnoresABrokenPipe(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		p := start(ctx, t, piped("deaf", "5"))
		out, _, err := p.Communicate(ctx, make([]byte, 1<<20))
		if string(out) != "deaf\n" || err != nil {
			t.Errorf("Communicate: %q, %v", out, err)
		}
		if s, ok := p.TryWait(); !ok || s.Code() != 5 {
			t.Errorf("TryWait: %v, %t", s, ok)
		}
		return nil
	})
}

func TestEdge131_CommunicateClosesStdinWithoutInput(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		p := start(ctx, t, piped("cat"))
		out, errOut, err := p.Communicate(ctx, nil)
		if len(out) != 0 || len(errOut) != 0 || err != nil {
			t.Errorf("Communicate: %q, %q, %v", out, errOut, err)
		}
		return nil
	})
}

func TestEdge131_CommunicatePumpsAllPipesAtOnce(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		return talk(ctx, t, 1<<20)
	})
}

// talk writes n bytes to a process, which writes them to both outputs.
func talk(ctx context.Context, t *testing.T, n int) error {
	p, err := piped("communicate").Start(ctx)
	if err != nil {
		return err
	}
	in := bytes.Repeat([]byte("0123456789abcdef"), n/16)
	out, errOut, err := p.Communicate(ctx, in)
	if !bytes.Equal(out, in) || !bytes.Equal(errOut, in) || err != nil {
		t.Errorf("Communicate: %d and %d bytes, %v; want %d of each", len(out), len(errOut), err, n)
	}
	return nil
}

func TestEdge132_WaitDoesNotWaitForPipes(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		c := self("grandchild", "6")
		c.Stdout = subprocess.Pipe
		p := start(ctx, t, c)
		if s, err := p.Wait(ctx); err != nil || s.Code() != 6 {
			t.Errorf("Wait: %v, %v", s, err)
		}
		line, err := p.Stdout.ReadLine(ctx)
		testkit.Must(t, err)
		if !alive(atoi(line)) {
			t.Error("nobody holds the pipe")
		}
		if _, err := p.Stdout.TryRead(make([]byte, 1)); err == nil {
			t.Error("the pipe has ended")
		}
		return errors.Join(killLine(line), p.Close())
	})
}

func TestEdge133_SignalAfterTheExit(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		c := self("exit", "0")
		c.NewGroup = true
		p := start(ctx, t, c)
		s, err := p.Wait(ctx)
		testkit.Must(t, err)
		for name, err := range map[string]error{
			"Signal": p.Signal(syscall.SIGUSR1), "Terminate": p.Terminate(), "Kill": p.Kill(),
			"SignalGroup": p.SignalGroup(syscall.SIGUSR1), "KillGroup": p.KillGroup(),
		} {
			if err != os.ErrProcessDone {
				t.Errorf("%s: %v", name, err)
			}
		}
		if !s.Success() {
			t.Error(s)
		}
		return nil
	})
}

// A process that has exited, which the loop has not heard of yet.
func TestEdge133_SignalRacesWithTheExit(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		for range 10 {
			p := start(ctx, t, subprocess.Shell("exit 3"))
			for alive(p.Pid()) { // the loop is blocked
				time.Sleep(time.Millisecond)
			}
			if err := p.Kill(); err != nil && err != os.ErrProcessDone {
				t.Errorf("Kill: %v", err)
			}
			if s, err := p.Wait(ctx); err != nil || s.Code() != 3 {
				t.Errorf("Wait: %v, %v", s, err)
			}
		}
		return nil
	})
}

func TestEdge134_CanceledWait(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		p := start(ctx, t, piped("sleep"))
		wait := task.Start(ctx, p.Wait)
		testkit.Yield(ctx, 2)
		wait.Cancel(nil)
		if _, err := wait.Await(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait: %v", err)
		}
		ready(ctx, t, p)
		testkit.Must(t, p.Kill())
		if s, err := p.Wait(ctx); err != nil || s.Code() != -9 {
			t.Errorf("Wait: %v, %v", s, err)
		}
		wantNoChildren(t)
		return p.Close()
	})
}

// A Start that is canceled at each of its moments has left nothing when it returns.
func TestEdge134_CanceledStart(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		testkit.Must(t, self("exit", "0").Run(ctx)) // opens what the loop needs
		before := descriptors()
		canceled := 0
		for i := range 40 {
			starting := task.Start(ctx, func(ctx context.Context) (*subprocess.Process, error) {
				return piped("sleep").Start(ctx)
			})
			switch {
			case i < 5:
				testkit.Yield(ctx, i)
			case i%2 == 0:
				testkit.Sleep(ctx, time.Duration(i)*50*time.Microsecond)
			default: // settled and canceled in one turn
				time.Sleep(time.Duration(i) * 50 * time.Microsecond)
				testkit.Yield(ctx, 1)
				time.Sleep(10 * time.Millisecond)
			}
			starting.Cancel(nil)
			p, err := starting.Await(ctx)
			if err == nil {
				testkit.Must(t, p.Close())
				_, _ = p.Wait(ctx)
				continue
			}
			canceled++
			wantNoChildren(t)
		}
		if canceled < 10 {
			t.Errorf("%d of 40 were canceled", canceled)
		}
		if after := descriptors(); after > before+1 { // one more of the loop, when it first dozes
			t.Errorf("%d descriptors open, %d before", after, before)
		}
		return nil
	})
}

// A second cancellation does not wait, and the loop's Close does.
func TestEdge134_StartCanceledTwice(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		starting := task.Start(ctx, func(ctx context.Context) (*subprocess.Process, error) {
			return piped("sleep").Start(ctx)
		})
		testkit.Yield(ctx, 1)
		starting.Cancel(nil)
		testkit.Yield(ctx, 1)
		starting.Cancel(nil)
		if _, err := starting.Await(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Start: %v", err)
		}
		return nil
	})
}

// What was started when it was canceled is ended although the loop closes before
// anything else gets to run.
func TestEdge134_CanceledStartAndTheEndOfTheLoop(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	both(t, func(t *testing.T, ctx context.Context) error {
		starting := task.Start(ctx, func(ctx context.Context) (*subprocess.Process, error) {
			return piped("sleep").Start(ctx)
		})
		testkit.Yield(ctx, 1)
		time.Sleep(50 * time.Millisecond) // it has started, and the loop has not heard of it
		starting.Cancel(nil)
		testkit.Yield(ctx, 1)
		starting.Cancel(nil)
		_, err := starting.Await(ctx)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Start: %v", err)
		}
		return nil
	})
}

func TestEdge134_CloseKillsWhatRuns(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		p := start(ctx, t, piped("stubborn"))
		ready(ctx, t, p)
		testkit.Must(t, p.Close())
		if _, ok := p.TryWait(); ok {
			t.Error("Close has waited")
		}
		if s, err := p.Wait(ctx); err != nil || s.Code() != -9 {
			t.Errorf("Wait: %v, %v", s, err)
		}
		return p.Close()
	})
}

func TestEdge135_OutputIsReadableAfterTheExit(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		p := start(ctx, t, piped("echo", "out", "err"))
		if _, err := p.Wait(ctx); err != nil {
			return err
		}
		testkit.Sleep(ctx, 5*time.Millisecond)
		out, err := readAll(ctx, p.Stdout)
		if string(out) != "out\n" || err != nil {
			t.Errorf("Stdout: %q, %v", out, err)
		}
		out, err = readAll(ctx, p.Stderr)
		if string(out) != "err\n" || err != nil {
			t.Errorf("Stderr: %q, %v", out, err)
		}
		return p.Close()
	})
}

func TestEdge135_AProcessThatNobodyReadsWaits(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		p := start(ctx, t, piped("flood", "1000000"))
		if _, err := task.WaitFor(ctx, 100*time.Millisecond, task.Start(ctx, p.Wait)); !errors.Is(err, task.ErrTimeout) {
			t.Errorf("Wait: %v", err)
		}
		out, err := readAll(ctx, p.Stdout)
		if len(out) != 1_000_000 || err != nil {
			t.Errorf("read %d bytes, %v", len(out), err)
		}
		if s, err := p.Wait(ctx); err != nil || !s.Success() {
			t.Errorf("Wait: %v, %v", s, err)
		}
		return p.Close()
	})
}

// The same for a protocol, which pauses the reading itself.
func TestEdge135_AProtocolThatPausesReading(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		l := loop.FromContext(ctx)
		p := newRecorder(l)
		tr, err := piped("flood", "1000000").StartProtocol(l, p).Await(ctx)
		if err != nil {
			return err
		}
		tr.PipeTransport(1).PauseReading()
		testkit.Sleep(ctx, 100*time.Millisecond)
		if _, ok := tr.TryWait(); ok || p.received[1].Len() > 0 {
			t.Errorf("exited: %t, received %d", ok, p.received[1].Len())
		}
		tr.PipeTransport(1).ResumeReading()
		if _, err := p.lost.Await(ctx); err != nil {
			return err
		}
		if n := p.received[1].Len(); n != 1_000_000 {
			t.Errorf("received %d", n)
		}
		return nil
	})
}
