//go:build unix

package subprocess_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/subprocess"
	"github.com/eddyloop/eddy/task"
)

// start starts a process and fails the test if it cannot.
func start(ctx context.Context, t *testing.T, c *subprocess.Cmd) *subprocess.Process {
	t.Helper()
	p, err := c.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ready waits until the process says that it is.
func ready(ctx context.Context, t *testing.T, p *subprocess.Process) {
	t.Helper()
	if line, err := p.Stdout.ReadLine(ctx); line != "ready" || err != nil {
		t.Fatalf("ReadLine: %q, %v", line, err)
	}
}

// within waits until cond holds, for what happens outside of all loops.
func within(ctx context.Context, t *testing.T, what string, cond func() bool) {
	t.Helper()
	for range 1000 {
		if cond() {
			return
		}
		testkit.Sleep(ctx, 5*time.Millisecond)
	}
	t.Errorf("not within 5 s: %s", what)
}

func readAll(ctx context.Context, c *stream.Conn) ([]byte, error) {
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(ctx, buf)
		all = append(all, buf[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func TestExitStates(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		for _, tt := range []struct {
			cmd     *subprocess.Cmd
			code    int
			success bool
			signal  syscall.Signal
			text    string
		}{
			{self("exit", "0"), 0, true, 0, "exit status 0"},
			{self("exit", "1"), 1, false, 0, "exit status 1"},
			{self("exit", "255"), 255, false, 0, "exit status 255"},
			{subprocess.Shell("exit 7"), 7, false, 0, "exit status 7"},
			{subprocess.Shell("kill -9 $$"), -9, false, syscall.SIGKILL, "signal: killed"},
			{subprocess.Shell("kill -15 $$"), -15, false, syscall.SIGTERM, "signal: terminated"},
		} {
			p := start(ctx, t, tt.cmd)
			if s, ok := p.TryWait(); ok {
				t.Errorf("TryWait at once: %v", s)
			}
			s, err := p.Wait(ctx)
			sig, signaled := s.Signal()
			if err != nil || s.Code() != tt.code || s.Success() != tt.success || sig != tt.signal || signaled != (tt.signal != 0) || s.String() != tt.text {
				t.Errorf("Wait: %v (code %d, signal %v), %v; want %s", s, s.Code(), sig, err, tt.text)
			}
			if s.ProcessState().Pid() != p.Pid() {
				t.Errorf("state of process %d, want %d", s.ProcessState().Pid(), p.Pid())
			}
			if again, ok := p.TryWait(); !ok || again != s {
				t.Errorf("TryWait: %v, %t", again, ok)
			}
			var exit *subprocess.ExitError
			if err := s.Err(); errors.As(err, &exit) == tt.success {
				t.Errorf("Err: %v", err)
			} else if exit != nil && !strings.HasSuffix(err.Error(), tt.text) {
				t.Errorf("Err: %q, want %q at its end", err, tt.text)
			}
		}
		return nil
	})
}

func TestTheZeroExitStateIsNoSuccess(t *testing.T) {
	var s subprocess.ExitState
	sig, signaled := s.Signal()
	if s.Success() || s.Code() != 255 || sig != 0 || signaled || s.Err() == nil {
		t.Errorf("zero state: code %d, signal %v, %v", s.Code(), sig, s.Err())
	}
}

func TestSeveralTasksWait(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		c := piped("cat")
		c.Stderr = nil
		p := start(ctx, t, c)
		var waits []*task.Task[subprocess.ExitState]
		for range 3 {
			waits = append(waits, task.Start(ctx, p.Wait))
		}
		exited := p.Exited()
		testkit.Yield(ctx, 2)
		waits[1].Cancel(nil)
		if _, err := waits[1].Await(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled wait: %v", err)
		}
		p.Exited().Cancel(nil)
		if exited.Done() {
			t.Error("exited while it runs")
		}
		if err := p.Stdin.Close(); err != nil {
			return err
		}
		for _, i := range []int{0, 2} {
			if s, err := waits[i].Await(ctx); err != nil || !s.Success() {
				t.Errorf("wait %d: %v, %v", i, s, err)
			}
		}
		if _, _, err := task.Wait(ctx, task.AllCompleted, exited); err != nil || exited.Err() != nil {
			t.Errorf("Exited: %v, %v", err, exited.Err())
		}
		return p.Close()
	})
}

func TestStdio(t *testing.T) {
	dir := t.TempDir()
	both(t, func(t *testing.T, ctx context.Context) error {
		in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
		testkit.Must(t, os.WriteFile(in, []byte("from a file"), 0o600))
		r, err := os.Open(in)
		testkit.Must(t, err)
		defer r.Close()
		w, err := os.Create(out)
		testkit.Must(t, err)
		defer w.Close()

		c := self("cat")
		c.Stdin, c.Stdout = subprocess.File(r), subprocess.File(w)
		p := start(ctx, t, c)
		if p.Stdin != nil || p.Stdout != nil || p.Stderr != nil {
			t.Error("there are pipes that nobody asked for")
		}
		if s, err := p.Wait(ctx); err != nil || !s.Success() {
			t.Errorf("Wait: %v, %v", s, err)
		}
		if got, err := os.ReadFile(out); string(got) != "from a file" {
			t.Errorf("file has %q, %v", got, err)
		}
		if _, err := w.WriteString("still ours"); err != nil {
			t.Error(err)
		}

		// The null device has no input and takes all output.
		if err := self("cat").Run(ctx); err != nil {
			t.Error(err)
		}
		if out, err := self("echo", "a", "b").Output(ctx); string(out) != "a\n" || err != nil {
			t.Errorf("Output: %q, %v", out, err)
		}
		if out, err := self("echo", "a", "b", "c").CombinedOutput(ctx); string(out) != "a\nb\nc\n" || err != nil {
			t.Errorf("CombinedOutput: %q, %v", out, err)
		}
		return nil
	})
}

func TestInheritAndExtraFiles(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		r, w, err := os.Pipe()
		testkit.Must(t, err)
		defer r.Close()
		defer w.Close()
		c := self("extra")
		c.ExtraFiles = []*os.File{w}
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
		buf := make([]byte, 100)
		if n, err := r.Read(buf); string(buf[:n]) != "from 3\n" {
			t.Errorf("read %q, %v", buf[:n], err)
		}
		c = self("exit", "0")
		c.Stdin, c.Stdout, c.Stderr = subprocess.Inherit, subprocess.Inherit, subprocess.Inherit
		return c.Run(ctx)
	})
}

func TestEnvironmentAndDirectory(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	testkit.Must(t, err)
	both(t, func(t *testing.T, ctx context.Context) error {
		c := self("where", "PWD", "TWICE")
		c.Dir = dir
		c.Env = append(c.Env, "TWICE=1", "TWICE=2", "PWD=kept")
		if out, err := c.Output(ctx); string(out) != dir+"\nkept\n2\n" || err != nil {
			t.Errorf("Output: %q, %v", out, err)
		}
		c = subprocess.Shell("echo $PWD")
		c.Dir = dir
		if out, err := c.Output(ctx); string(out) != dir+"\n" || err != nil {
			t.Errorf("Output: %q, %v", out, err)
		}
		return nil
	})
}

func TestErrorsOfStart(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		dir := t.TempDir()
		testkit.Must(t, os.WriteFile(filepath.Join(dir, "text"), []byte("x"), 0o700))
		for _, tt := range []struct {
			name string
			cmd  subprocess.Cmd
			want error
		}{
			{"not in PATH", subprocess.Cmd{Path: "no-such-program-of-eddy"}, exec.ErrNotFound},
			{"no such file", subprocess.Cmd{Path: "/no/such/program"}, fs.ErrNotExist},
			{"no such directory", subprocess.Cmd{Path: "/bin/sh", Dir: "/no/such/directory"}, fs.ErrNotExist},
			{"no program", subprocess.Cmd{Path: filepath.Join(dir, "text")}, syscall.ENOEXEC},
			{"NUL", subprocess.Cmd{Path: "/bin/sh", Env: []string{"A=\x00"}}, syscall.EINVAL},
			{"closed file", subprocess.Cmd{Path: "/bin/sh", Stdin: closedFile(t)}, os.ErrClosed},
		} {
			tt.cmd.Stdout = subprocess.Pipe
			if p, err := tt.cmd.Start(ctx); !errors.Is(err, tt.want) || p != nil {
				t.Errorf("%s: %v, %v; want %v", tt.name, p, err, tt.want)
			}
		}
		return nil
	})
}

func closedFile(t *testing.T) subprocess.Stdio {
	f, err := os.Open(os.DevNull)
	testkit.Must(t, err)
	testkit.Must(t, f.Close())
	return subprocess.File(f)
}

func TestMisusePanics(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		sh := subprocess.Cmd{Path: "/bin/sh"}
		with := func(change func(c *subprocess.Cmd)) *subprocess.Cmd {
			c := sh
			change(&c)
			return &c
		}
		start := func(c *subprocess.Cmd) func() { return func() { _, _ = c.Start(ctx) } }
		for _, tt := range []struct {
			want string
			fn   func()
		}{
			{"without a Path", start(&subprocess.Cmd{})},
			{"ToStdout is for Stderr", start(with(func(c *subprocess.Cmd) { c.Stdin = subprocess.ToStdout }))},
			{"ToStdout is for Stderr", start(with(func(c *subprocess.Cmd) { c.Stdout = subprocess.ToStdout }))},
			{"without a file", func() { subprocess.File(nil) }},
			{"Run with a Pipe", func() { _ = with(func(c *subprocess.Cmd) { c.Stdin = subprocess.Pipe }).Run(ctx) }},
			{"Output with", func() { _, _ = with(func(c *subprocess.Cmd) { c.Stdout = subprocess.Pipe }).Output(ctx) }},
			{"CombinedOutput with", func() { _, _ = with(func(c *subprocess.Cmd) { c.Stderr = subprocess.Pipe }).CombinedOutput(ctx) }},
			{"without a protocol", func() { sh.StartProtocol(loop.FromContext(ctx), nil) }},
			{"subprocess: Start", func() { _, _ = sh.Start(context.Background()) }},
		} {
			testkit.WantPanic(t, tt.want, tt.fn)
		}
		return nil
	})
}

func TestKillGroupOfAProcessWithoutOnePanics(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		p := start(ctx, t, self("exit", "0"))
		testkit.WantPanic(t, "without a group", func() { _ = p.KillGroup() })
		_, err := p.Wait(ctx)
		return err
	})
}

func TestACmdCanBeStartedTwice(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		c := self("echo", "a")
		for range 2 {
			if out, err := c.Output(ctx); string(out) != "a\n" || err != nil {
				t.Errorf("Output: %q, %v", out, err)
			}
		}
		return nil
	})
}

func TestExitErrorHasTheEndOfStderr(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		out, err := subprocess.Shell("echo out; echo why >&2; exit 4").Output(ctx)
		var exit *subprocess.ExitError
		if !errors.As(err, &exit) || exit.Code() != 4 || string(exit.Stderr) != "why\n" || string(out) != "out\n" {
			t.Fatalf("Output: %q, %v", out, err)
		}
		if err.Error() != "subprocess: /bin/sh: exit status 4" {
			t.Errorf("error %q", err)
		}
		_, err = subprocess.Shell("head -c 100000 /dev/zero >&2; echo end >&2; exit 1").Output(ctx)
		if !errors.As(err, &exit) || len(exit.Stderr) != 32<<10 || !bytes.HasSuffix(exit.Stderr, []byte("end\n")) {
			t.Errorf("Stderr has %d bytes", len(exit.Stderr))
		}
		return nil
	})
}

func TestCommunicateKeepsOutputOverACancel(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		p := start(ctx, t, piped("cat"))
		big := bytes.Repeat([]byte("0123456789"), 50_000)
		// A consumer that is canceled each time that some has come.
		for {
			_, _, err := communicateFor(ctx, p, big, time.Millisecond)
			if err == nil {
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
		}
		out, errOut, err := p.Communicate(ctx, []byte("not looked at"))
		if err != nil || !bytes.Equal(out, big) || len(errOut) != 0 {
			t.Errorf("Communicate: %d bytes, %d of errors, %v", len(out), len(errOut), err)
		}
		return nil
	})
}

func communicateFor(ctx context.Context, p *subprocess.Process, in []byte, d time.Duration) (out, errOut []byte, err error) {
	err = task.Timeout(ctx, d, func(ctx context.Context, _ *task.TimeoutScope) error {
		var err error
		out, errOut, err = p.Communicate(ctx, in)
		return err
	})
	return out, errOut, err
}

// The output so far comes with the interruption, too.
func TestAnInterruptedCommunicateReturnsWhatItHas(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		p := start(ctx, t, piped("sleep"))
		var out []byte
		talk := task.Go(ctx, func(ctx context.Context) (err error) {
			out, _, err = p.Communicate(ctx, nil)
			return err
		})
		testkit.Yield(ctx, 1)
		if _, _, err := p.Communicate(ctx, nil); err != stream.ErrBusy {
			t.Errorf("a second Communicate: %v", err)
		}
		// It is there when the process could have been heard by somebody else.
		within(ctx, t, "output", func() bool {
			talk.Cancel(nil)
			_, err := talk.Await(ctx)
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("Communicate: %v", err)
			}
			if string(out) == "ready\n" {
				return true
			}
			talk = task.Go(ctx, func(ctx context.Context) (err error) {
				out, _, err = p.Communicate(ctx, nil)
				return err
			})
			return false
		})
		return p.Close()
	})
}

func TestMaxOutput(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		for _, tt := range []struct {
			written int
			want    error
		}{{99_999, nil}, {100_000, nil}, {100_001, subprocess.ErrOutputLimit}, {1_000_000, subprocess.ErrOutputLimit}} {
			c := self("flood", itoa(tt.written))
			c.MaxOutput = 100_000
			out, err := c.Output(ctx)
			if err != tt.want || len(out) != min(tt.written, 100_000) {
				t.Errorf("%d written: got %d, %v; want %v", tt.written, len(out), err, tt.want)
			}
		}
		return nil
	})
}

func TestCanceledRunEndsItsProcess(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		for _, tt := range []struct {
			name   string
			cmd    *subprocess.Cmd
			cancel func(p *subprocess.Process) error
			delay  time.Duration
			want   string // output
		}{
			{"killed", self("sleep"), (*subprocess.Process).Kill, 0, "ready\n"},
			{"terminated", self("polite"), (*subprocess.Process).Terminate, 0, "ready\nbye\n"},
			{"ignores the signal", self("stubborn"), (*subprocess.Process).Terminate, 50 * time.Millisecond, "ready\n"},
			{"cannot cancel", self("sleep"), func(*subprocess.Process) error { return errors.New("no") }, 0, "ready\n"},
		} {
			var p *subprocess.Process
			tt.cmd.Cancel = func(x *subprocess.Process) error {
				p = x
				return tt.cancel(x)
			}
			tt.cmd.WaitDelay = tt.delay
			f, err := os.CreateTemp(t.TempDir(), "")
			testkit.Must(t, err)
			defer f.Close()
			tt.cmd.Stdout = subprocess.File(f)
			run := task.Go(ctx, tt.cmd.Run)
			heard := func(want string) func() bool {
				return func() bool { got, _ := os.ReadFile(f.Name()); return string(got) == want }
			}
			within(ctx, t, tt.name+": ready", heard("ready\n"))
			// The process may be faster than Start, which is not what is tested here.
			within(ctx, t, tt.name+": waits", waits(run))
			run.Cancel(nil)
			if _, err := run.Await(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", tt.name, err)
			}
			if _, ok := p.TryWait(); !ok {
				t.Errorf("%s: still runs", tt.name)
			}
			if !heard(tt.want)() {
				t.Errorf("%s: not heard: %q", tt.name, tt.want)
			}
		}
		return nil
	})
}

// waits returns whether a task waits for the exit of a process.
func waits(x fmt.Stringer) func() bool {
	return func() bool { return strings.Contains(x.String(), "exit of process") }
}

// What a process says when it is told to end is among its output.
func TestInterruptedOutputHasTheLastWords(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		c := self("polite")
		c.Cancel = (*subprocess.Process).Terminate
		var out []byte
		err := task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) (err error) {
			out, err = c.Output(ctx)
			return err
		})
		if string(out) != "ready\nbye\n" || !errors.Is(err, task.ErrTimeout) {
			t.Errorf("Output: %q, %v", out, err)
		}
		return nil
	})
}

// An interrupted run does not wait for those who hold its pipes.
func TestInterruptedOutputOfAGrandchild(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		var out []byte
		err := task.Timeout(ctx, 500*time.Millisecond, func(ctx context.Context, _ *task.TimeoutScope) (err error) {
			out, err = self("grandchild", "0").Output(ctx)
			return err
		})
		if !errors.Is(err, task.ErrTimeout) {
			t.Errorf("Output: %q, %v", out, err)
		}
		return killLine(string(out))
	})
}

// killLine kills the process whose number is the first line.
func killLine(out string) error {
	line, _, _ := strings.Cut(out, "\n")
	return syscall.Kill(atoi(line), syscall.SIGKILL)
}

func TestCancelBindsToTheContextOfStart(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		bound := func() *subprocess.Cmd {
			c := self("sleep")
			c.Stdout, c.Cancel = subprocess.Pipe, (*subprocess.Process).Kill
			return c
		}
		// A scope.
		scope, cancel := context.WithCancelCause(ctx)
		p := start(scope, t, bound())
		ready(ctx, t, p)
		why := errors.New("why")
		cancel(why)
		s, err := p.Wait(ctx)
		if err != nil || s.Code() != -int(syscall.SIGKILL) || !errors.Is(s.Err(), why) {
			t.Errorf("Wait: %v, %v; Err: %v", s, err, s.Err())
		}
		testkit.Must(t, p.Close())

		// The end of the task.
		starter := task.Start(ctx, func(ctx context.Context) (*subprocess.Process, error) { return bound().Start(ctx) })
		p, err = starter.Await(ctx)
		testkit.Must(t, err)
		if s, err := p.Wait(ctx); err != nil || s.Code() != -int(syscall.SIGKILL) {
			t.Errorf("Wait: %v, %v", s, err)
		}
		testkit.Must(t, p.Close())

		// Without Cancel neither means anything.
		c := piped("cat")
		scope, cancel = context.WithCancelCause(ctx)
		starter = task.Start(scope, func(ctx context.Context) (*subprocess.Process, error) { return c.Start(ctx) })
		p, err = starter.Await(ctx)
		testkit.Must(t, err)
		cancel(nil)
		testkit.Sleep(ctx, 20*time.Millisecond)
		if out, _, err := p.Communicate(ctx, []byte("alive")); string(out) != "alive" || err != nil {
			t.Errorf("Communicate: %q, %v", out, err)
		}
		return nil
	})
}

func TestScopeThatHasEndedStartsNothing(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		scope, cancel := context.WithCancel(ctx)
		cancel()
		if p, err := self("sleep").Start(scope); p != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("Start: %v, %v", p, err)
		}
		wantNoChildren(t)
		return nil
	})
}

func TestGroup(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		c := self("group")
		c.NewGroup = true
		if out, err := c.Output(ctx); string(out) != "true\n" || err != nil {
			t.Errorf("Output: %q, %v", out, err)
		}

		// The shell and what it has started.
		c = subprocess.Shell("sleep 60 & echo $!; wait")
		c.NewGroup, c.Stdout = true, subprocess.Pipe
		p := start(ctx, t, c)
		line, err := p.Stdout.ReadLine(ctx)
		testkit.Must(t, err)
		testkit.Must(t, p.KillGroup())
		if s, err := p.Wait(ctx); err != nil || s.Code() != -int(syscall.SIGKILL) {
			t.Errorf("Wait: %v, %v", s, err)
		}
		within(ctx, t, "the group has ended", func() bool { return !alive(atoi(line)) })
		return p.Close()
	})
}

func TestCloseKillsTheGroup(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		c := subprocess.Shell("sleep 60 & echo $!; wait")
		c.NewGroup, c.Stdout = true, subprocess.Pipe
		p := start(ctx, t, c)
		line, err := p.Stdout.ReadLine(ctx)
		testkit.Must(t, err)
		testkit.Must(t, p.Close())
		within(ctx, t, "the group has ended", func() bool { return !alive(atoi(line)) })
		return nil
	})
}

func TestWaitDelay(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		// Communicate, Output: an error and what there is.
		for _, code := range []string{"0", "3"} {
			c := self("grandchild", code)
			c.WaitDelay = 20 * time.Millisecond
			out, err := c.Output(ctx)
			var exit *subprocess.ExitError
			if code == "0" && err != subprocess.ErrWaitDelay || code == "3" && !errors.As(err, &exit) {
				t.Errorf("Output after exit %s: %q, %v", code, out, err)
			}
			testkit.Must(t, killLine(string(out)))
		}
		// A reader.
		c := self("grandchild", "0")
		c.Stdout, c.WaitDelay = subprocess.Pipe, 20*time.Millisecond
		p := start(ctx, t, c)
		line, err := p.Stdout.ReadLine(ctx)
		testkit.Must(t, err)
		if _, err := p.Stdout.ReadLine(ctx); !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadLine: %v", err)
		}
		if s, ok := p.TryWait(); !ok || !s.Success() {
			t.Errorf("TryWait: %v, %t", s, ok)
		}
		return killLine(line)
	})
}

// Nobody knows how a process has ended that somebody else has waited for.
func TestAProcessThatWasWaitedForElsewhere(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		p := start(ctx, t, piped("cat"))
		out, err := p.Stdin.Write(ctx, []byte("x"))
		if out != 1 || err != nil {
			t.Fatal(err)
		}
		testkit.Must(t, syscall.Kill(p.Pid(), syscall.SIGKILL))
		var ws syscall.WaitStatus
		_, waitErr := syscall.Wait4(p.Pid(), &ws, 0, nil) // blocks the loop, which so comes late
		s, err := p.Wait(ctx)
		if waitErr == nil {
			if !errors.Is(err, syscall.ECHILD) || s.Success() || s.Code() != 255 {
				t.Errorf("Wait: %v, %v", s, err)
			}
		} else if err != nil || s.Code() != -9 { // the goroutine was first
			t.Errorf("Wait: %v, %v", s, err)
		}
		return p.Close()
	})
}

func TestClosingTheLoopKills(t *testing.T) {
	var pids []int
	both(t, func(t *testing.T, ctx context.Context) error {
		p := start(ctx, t, piped("stubborn"))
		pids = append(pids, p.Pid())
		// One that is being started.
		task.Go(ctx, func(ctx context.Context) error {
			_, err := self("sleep").Start(ctx)
			return err
		})
		testkit.Yield(ctx, 1)
		ready(ctx, t, p)
		return nil
	}) // which looks for children
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is alive", pid)
		}
	}
}

// With a virtual clock time stands still while a process runs.
func TestVirtualTime(t *testing.T) {
	for _, goroutines := range []bool{false, true} {
		looptest.Run(t, func(ctx context.Context) error {
			l := loop.FromContext(ctx)
			if goroutines {
				subprocess.WaitByGoroutines(l)
			}
			begin := l.Now()
			if out, err := self("echo", "a").Output(ctx); string(out) != "a\n" || err != nil {
				t.Errorf("Output: %q, %v", out, err)
			}
			if d := l.Now().Sub(begin); d != 0 {
				t.Errorf("%v have passed", d)
			}
			return task.Sleep(ctx, time.Hour)
		})
	}
}

// A loop that is busy with processes looks after others.
func TestLinesOfOutput(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		p := start(ctx, t, piped("echo", "a", "-", "b", "-", "c"))
		var got []string
		for line, err := range p.Stdout.Lines(ctx) {
			testkit.Must(t, err)
			got = append(got, line)
		}
		if want := []string{"a", "b", "c"}; !slices.Equal(got, want) {
			t.Errorf("lines %q, want %q", got, want)
		}
		_, err := p.Wait(ctx)
		return errors.Join(err, p.Close(), p.Close())
	})
}

func TestNamesSayWhatIsAwaited(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		c := &subprocess.Cmd{Args: []string{"/bin/sh", "-c", "read line"}, Stdin: subprocess.Pipe}
		p := start(ctx, t, c)
		if got := p.String(); got != "process /bin/sh" {
			t.Errorf("String: %q", got)
		}
		if p.Loop() != loop.FromContext(ctx) {
			t.Error("another loop")
		}
		wait := task.Start(ctx, p.Wait)
		testkit.Yield(ctx, 2)
		if got := wait.String(); !strings.Contains(got, "exit of process /bin/sh") {
			t.Errorf("the task that waits: %q", got)
		}
		testkit.Must(t, p.Stdin.Close())
		_, err := wait.Await(ctx)
		return err
	})
}

// An event that means nothing, or comes too early, as for a process that is traced.
func TestAnEventBeforeTheExit(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		for _, twice := range []bool{false, true} {
			p := start(ctx, t, piped("cat"))
			subprocess.Disturb(p)
			testkit.Yield(ctx, 2)
			if twice {
				subprocess.Disturb(p)
				testkit.Yield(ctx, 2)
			}
			if s, ok := p.TryWait(); ok {
				t.Errorf("TryWait: %v", s)
			}
			if out, _, err := p.Communicate(ctx, []byte("x")); string(out) != "x" || err != nil {
				t.Errorf("Communicate: %q, %v", out, err)
			}
			if s, ok := p.TryWait(); !ok || !s.Success() {
				t.Errorf("TryWait: %v, %t", s, ok)
			}
		}
		return nil
	})
}

// Who does not listen to SIGTERM listens to a second cancellation.
func TestRunInterruptedTwiceKills(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		f, err := os.CreateTemp(t.TempDir(), "")
		testkit.Must(t, err)
		defer f.Close()
		c := self("stubborn")
		c.Stdout, c.Cancel = subprocess.File(f), (*subprocess.Process).Terminate
		run := task.Go(ctx, c.Run)
		within(ctx, t, "ready", func() bool { got, _ := os.ReadFile(f.Name()); return string(got) == "ready\n" })
		within(ctx, t, "waits", waits(run))
		run.Cancel(nil)
		testkit.Sleep(ctx, 50*time.Millisecond)
		if run.Done() {
			t.Error("does not wait for its process")
		}
		run.Cancel(nil)
		if _, err := run.Await(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		wantNoChildren(t)
		return nil
	})
}

// Each loop has its own processes, and waits for no others.
func TestSeveralLoops(t *testing.T) {
	err := task.RunLoops(context.Background(), 3, func(ctx context.Context, i int, _ *task.Loops) error {
		for range 10 {
			p, err := subprocess.Shell("exit " + itoa(i)).Start(ctx)
			if err != nil {
				return err
			}
			if s, err := p.Wait(ctx); err != nil || s.Code() != i {
				t.Errorf("loop %d: %v, %v", i, s, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	wantNoChildren(t)
}
