//go:build unix

package task_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

func raise(sig syscall.Signal) { _ = syscall.Kill(os.Getpid(), sig) }

func TestWaitSignal(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		for range 3 {
			for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2} {
				l.CallSoon(func() { raise(sig) }) // when the task waits
				got, err := task.WaitSignal(ctx, syscall.SIGUSR1, syscall.SIGUSR2)
				if got != sig || err != nil || l.Outside() {
					t.Errorf("%v, %v, want %v; outside %v", got, err, sig, l.Outside())
				}
			}
		}
	})
}

func TestWaitSignalInterrupted(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		wait := func(ctx context.Context) error {
			sig, err := task.WaitSignal(ctx, syscall.SIGUSR1)
			if sig != nil {
				t.Errorf("%v", sig)
			}
			return err
		}
		tk := task.Go(ctx, wait)
		yield(ctx, 1)
		tk.Cancel(errBoom)
		if _, err := tk.Await(ctx); outcome(err) != "Canceled(boom)" || l.Outside() {
			t.Errorf("canceled: %v, outside %v", err, l.Outside())
		}
		sub, cancel := task.WithTimeout(ctx, 0)
		defer cancel()
		if err := wait(sub); err != task.ErrTimeout || l.Outside() {
			t.Errorf("scope: %v, outside %v", err, l.Outside())
		}
		wantPanic(t, "without a signal", func() { _, _ = task.WaitSignal(ctx) })
		wantPanic(t, "cannot be caught", func() { _, _ = task.WaitSignal(ctx, syscall.SIGUSR1, syscall.SIGKILL) })
		if l.Outside() {
			t.Error("a registration is left")
		}
	})
}

// The signal's callback has run, and then the task is canceled.
func TestWaitSignalIsNotLostToACancellation(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		// Meanwhile the other calls are posted, to run in one batch.
		l.OnSignal(syscall.SIGUSR1, func() { time.Sleep(20 * time.Millisecond) })
		tk := task.Start(ctx, func(ctx context.Context) (os.Signal, error) {
			sig, err := task.WaitSignal(ctx, syscall.SIGUSR1)
			if err != nil {
				t.Errorf("lost: %v", err)
			}
			if err := task.Yield(ctx); outcome(err) != "Canceled(boom)" {
				t.Errorf("the next wait: %v", err)
			}
			return sig, nil
		})
		yield(ctx, 1)
		l.OnSignal(syscall.SIGUSR1, func() { tk.Cancel(errBoom) }) // after WaitSignal's
		raise(syscall.SIGUSR1)
		if sig, err := tk.Await(ctx); sig != syscall.SIGUSR1 || err != nil {
			t.Errorf("%v, %v", sig, err)
		}
	})
}

func TestCloseEndsWaitSignal(t *testing.T) {
	l := newLoop(t, virtual(nil))
	var err error
	task.Go(l.Context(), func(ctx context.Context) error {
		_, err = task.WaitSignal(ctx, syscall.SIGUSR1)
		return err
	})
	turn(t, l)
	if cerr := l.Close(); cerr != nil || !errors.Is(err, loop.ErrClosed) {
		t.Errorf("%v, close %v", err, cerr)
	}
}

// R66. The programs say "ready" when they may be sent signals.
func init() {
	drains := func(ctx context.Context) error {
		fmt.Println("ready")
		err := sleepHour(ctx)
		fmt.Println("draining after", err)
		_ = task.Sleep(ctx, 50*time.Millisecond)
		fmt.Println("drained")
		return err
	}
	stuck := func(ctx context.Context) error {
		fmt.Println("ready")
		_ = sleepHour(ctx)
		fmt.Println("draining")
		_ = sleepHour(ctx)
		return nil
	}
	blocked := func(context.Context) error {
		fmt.Println("ready")
		select {} // the whole loop: nothing on it can hear of a signal
	}
	leaves := func(ctx context.Context) error { // a task that does not end
		task.Go(ctx, func(ctx context.Context) error {
			for {
				_ = sleepHour(ctx)
			}
		})
		fmt.Println("ready")
		return sleepHour(ctx)
	}
	second := task.Program{Drain: 200 * time.Millisecond}
	for name, p := range map[string]struct {
		program task.Program
		main    func(ctx context.Context) error
	}{
		"drains":             {task.Program{}, drains},
		"drains in time":     {task.Program{Drain: time.Hour}, drains},
		"stuck":              {task.Program{}, stuck},
		"stuck, deadline":    {second, stuck},
		"blocked":            {task.Program{}, blocked},
		"blocked, deadline":  {second, blocked},
		"leftover, deadline": {second, leaves},
		"only SIGUSR1":       {task.Program{Signals: []os.Signal{syscall.SIGUSR1}}, drains},
		"no signals":         {task.Program{Signals: []os.Signal{}}, drains},
	} {
		children["signals: "+name] = func() { p.program.Main(p.main) }
	}
}

func TestR66_MainDrainsAtTheFirstSignalAndExitsAtTheSecond(t *testing.T) {
	const term, intr, usr1 = syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1
	for _, tt := range []struct {
		name string
		sigs []syscall.Signal // the second when the program says "draining", or a little later
		want string           // how it ends
		says string           // after "ready"
	}{
		{"drains", []syscall.Signal{intr}, "exit status 130", "draining after canceled: signal: interrupt\ndrained\n"},
		{"drains", []syscall.Signal{term}, "exit status 130", "draining after canceled: signal: terminated\ndrained\n"},
		{"drains in time", []syscall.Signal{term}, "exit status 130", "draining after canceled: signal: terminated\ndrained\n"},
		{"stuck", []syscall.Signal{intr, intr}, "exit status 130", "draining\n"},
		{"stuck", []syscall.Signal{term, intr}, "exit status 130", "draining\n"},
		{
			"stuck, deadline",
			[]syscall.Signal{term},
			"exit status 130",
			"draining\ntask: main has not ended within 200ms of signal \"terminated\"; exiting\n",
		},
		{"blocked", []syscall.Signal{intr, intr}, "exit status 130", ""},
		{
			"blocked, deadline",
			[]syscall.Signal{intr},
			"exit status 130",
			"task: main has not ended within 200ms of signal \"interrupt\"; exiting\n",
		},
		{
			"leftover, deadline",
			[]syscall.Signal{term},
			"exit status 130",
			"task: main has not ended within 200ms of signal \"terminated\"; exiting\n",
		},
		{"only SIGUSR1", []syscall.Signal{usr1}, "exit status 130", "draining after canceled: signal: user defined signal 1\ndrained\n"},
		{"only SIGUSR1", []syscall.Signal{term}, "signal: terminated", ""},
		{"no signals", []syscall.Signal{intr}, "signal: interrupt", ""},
	} {
		t.Run(fmt.Sprint(tt.name, tt.sigs), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := child(ctx, "signals: "+tt.name)
			out, err := signaled(t, cmd, tt.sigs)
			if ctx.Err() != nil || err == nil || err.Error() != tt.want || out != tt.says {
				t.Errorf("%v, want %s; said %q, want %q", err, tt.want, out, tt.says)
			}
		})
	}
}

// signaled runs cmd, sends it signals once it is ready, and returns what it says
// after that and how it ends.
func signaled(t *testing.T, cmd *exec.Cmd, sigs []syscall.Signal) (string, error) {
	t.Helper()
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(pipe)
	line, err := in.ReadString('\n')
	if line != "ready\n" {
		t.Errorf("said %q, %v", line, err)
	}
	var said strings.Builder
	for i, sig := range sigs {
		if i > 0 && strings.Contains(t.Name(), "stuck") {
			line, _ := in.ReadString('\n')
			said.WriteString(line)
		} else if i > 0 {
			time.Sleep(50 * time.Millisecond) // equal signals merge
		}
		_ = cmd.Process.Signal(sig)
	}
	rest, _ := io.ReadAll(in)
	said.Write(rest)
	return said.String(), cmd.Wait()
}

func init() {
	// A program with a handler of its own, as asyncio's add_signal_handler gives it:
	// the signal does not cancel main.
	children["own handler"] = func() {
		task.Main(func(ctx context.Context) error {
			l := loop.FromContext(ctx)
			stop, p := future.New[struct{}](l)
			times := 0
			l.OnSignal(syscall.SIGTERM, func() {
				if times++; times == 2 { // the second is the program's, too
					p.Resolve(struct{}{})
				} else {
					_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
				}
			})
			_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
			_, err := stop.Await(ctx)
			fmt.Println("stopped by", times, "signals:", err)
			return err
		})
	}
}

func TestMainLeavesSignalsToTheProgramsOwnHandlers(t *testing.T) {
	if got, want := childOutput(t, "own handler"), "stopped by 2 signals: <nil>\n"; got != want {
		t.Errorf("it said %q, want %q", got, want)
	}
}
