//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/subprocess"
	"github.com/eddyloop/eddy/task"
)

func systemRows() []scenario {
	return in(systemSection, []scenario{
		{
			id: "R63", title: "thousands of children that end at once",
			naive:  "zombies, wrong exit codes, a signal to a process that has the number now",
			target: "2,000 at a time, 20,000 in all: no zombie, codes exact", parts: one(r63Children),
		},
		{
			id: "R64", title: "pipes of children: much both ways, closed early, held by a grandchild",
			naive:  "both wait for each other",
			target: "10³ children", parts: one(r64Pipes),
		},
		{
			id: "R65", title: "a storm of one signal, and another one in it",
			naive:  "the pipe that signals go through is full, and SIGTERM is lost",
			target: "100,000 SIGUSR1: SIGTERM is handled within 50 ms", parts: one(r65Storm),
		},
		{
			id: "R66", title: "Ctrl-C, once and twice; SIGTERM",
			naive:  "the program hangs, or is gone before it can clean up",
			target: "the first drains, the second exits with 130; a deadline bounds the draining", parts: one(r66Interrupt),
		},
	})
}

// r63Children starts children that wait for one pipe, and closes that.
func r63Children(r *run) {
	each := r.n(2000, 20)
	rounds := max(1, min(5, r.n(5, 1)))
	files(5*each + 100)
	r.loop(func(ctx context.Context) error {
		for range rounds {
			if err := childStorm(ctx, r, each); err != nil {
				return err
			}
		}
		var st unix.WaitStatus
		if pid, err := unix.Wait4(-1, &st, unix.WNOHANG, nil); err != unix.ECHILD {
			r.fail("a child is left: %d, %v", pid, err)
		}
		r.load("%d children at a time, %d in all, which end at once", each, rounds*each)
		r.faults.Add(int64(rounds * each))
		return nil
	})
}

func childStorm(ctx context.Context, r *run, n int) error {
	in, hold, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	defer hold.Close()
	var procs []*subprocess.Process
	for i := range n {
		c := subprocess.Command("/bin/sh", "-c", fmt.Sprintf("read x; exit %d", i%200))
		c.Stdin = subprocess.File(in)
		p, err := c.Start(ctx)
		if err != nil {
			return fmt.Errorf("child %d: %w", i, err)
		}
		procs = append(procs, p)
	}
	_ = hold.Close()
	wctx, cancel := task.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for i, p := range procs {
		st, err := p.Wait(wctx)
		switch {
		case err != nil:
			r.lost.Add(1)
			r.fail("child %d: %v", i, err)
		case st.Code() != i%200:
			r.misdelivered.Add(1)
		}
		if err := p.Kill(); !errors.Is(err, os.ErrProcessDone) {
			r.fail("Kill after the end: %v", err)
		}
	}
	return nil
}

// r64Pipes talks to children.
func r64Pipes(r *run) {
	n := r.n(1000, 10)
	data := randomBytes(r, 1<<20)
	r.loop(func(ctx context.Context) error {
		err := task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.SetLimit(20)
			for i := range n {
				g.Go(func(ctx context.Context) error {
					return task.Timeout(ctx, 60*time.Second, func(ctx context.Context, _ *task.TimeoutScope) error {
						return talk(ctx, r, i, data)
					})
				})
			}
			return nil
		})
		r.load("%d children, 20 at a time: 7 of 10 get 1 MB and send it back, 2 stop reading after 10 bytes, 1 leaves a grandchild that holds the pipe", n)
		return err
	})
}

func talk(ctx context.Context, r *run, i int, data []byte) error {
	var c *subprocess.Cmd
	switch {
	case i%10 < 7:
		c = subprocess.Command("cat")
	case i%10 < 9:
		c = subprocess.Command("head", "-c", "10")
	default:
		c = subprocess.Shell("sleep 60 & echo told")
		c.NewGroup, c.WaitDelay = true, 50*time.Millisecond
	}
	c.Stdin, c.Stdout = subprocess.Pipe, subprocess.Pipe
	p, err := c.Start(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	out, _, err := p.Communicate(ctx, data)
	switch {
	case i%10 < 7:
		if err != nil || string(out) != string(data) {
			r.lost.Add(int64(len(data) - len(out)))
			return fmt.Errorf("cat: %d bytes, %v", len(out), err)
		}
	case i%10 < 9:
		r.faults.Add(1)
		if err != nil || string(out) != string(data[:10]) {
			return fmt.Errorf("head: %q, %v", out, err)
		}
	default:
		r.faults.Add(1)
		if !errors.Is(err, subprocess.ErrWaitDelay) || string(out) != "told\n" {
			r.fail("a grandchild holds the pipe: %q, %v, want ErrWaitDelay", out, err)
		}
		if err := p.KillGroup(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	return nil
}

// r65Storm sends the process signals, from another goroutine.
func r65Storm(r *run) {
	storm := r.n(100_000, 1000)
	rounds := max(1, r.n(10, 1))
	var worst time.Duration
	calls := 0
	for range rounds {
		r.loop(func(ctx context.Context) error {
			l := loop.FromContext(ctx)
			var sent atomic.Int64
			var late time.Duration
			last := false
			stops := []func() bool{
				l.OnSignal(syscall.SIGUSR1, func() { calls++ }),
				l.OnSignal(syscall.SIGTERM, func() { late = time.Since(time.Unix(0, sent.Load())) }),
				l.OnSignal(syscall.SIGUSR2, func() { last = true }),
			}
			err := r.others(ctx, 1, 1, func(int) error {
				for i := range storm {
					_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
					if i == storm/2 {
						sent.Store(time.Now().UnixNano())
						_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
					}
				}
				return syscall.Kill(os.Getpid(), syscall.SIGUSR2)
			})
			for end := time.Now().Add(5 * time.Second); (!last || late == 0) && time.Now().Before(end); {
				_ = task.Sleep(ctx, time.Millisecond)
			}
			if late == 0 || !last {
				r.lost.Add(1)
			}
			worst = max(worst, late)
			for _, stop := range stops {
				stop()
			}
			return err
		})
	}
	r.faults.Add(int64(rounds * storm))
	r.load("%d times %d SIGUSR1 and a SIGTERM in the middle", rounds, storm)
	r.found("SIGTERM was handled after %v at most; SIGUSR1 brought %d calls", worst.Round(time.Microsecond), calls)
	r.check(calls > 0, "SIGUSR1 was never handled")
	r.check(worst < 50*time.Millisecond, "SIGTERM was handled after %v", worst)
}

// A program is what R66 interrupts. It is this executable, with its name in the
// environment.
const programEnv = "EDDY_CHAOS_PROGRAM"

func runProgram() {
	name := os.Getenv(programEnv)
	if name == "" {
		return
	}
	p := task.Program{}
	if name == "stuck, bounded" {
		p.Drain = 200 * time.Millisecond
	}
	p.Main(func(ctx context.Context) error {
		fmt.Println("ready")
		if name == "blocked" {
			select {} // the whole loop
		}
		err := task.Sleep(ctx, time.Hour)
		fmt.Println("draining")
		if name == "drains" {
			_ = task.Sleep(ctx, 20*time.Millisecond)
			fmt.Println("drained")
			return err
		}
		_ = task.Sleep(ctx, time.Hour)
		return err
	})
	os.Exit(0)
}

// r66Interrupt types Ctrl-C at programs on a terminal of their own, or sends SIGTERM.
func r66Interrupt(r *run) {
	rounds := r.n(30, 1)
	slowest := map[string]time.Duration{}
	n := 0
	for range rounds {
		for _, tt := range []struct {
			name  string
			keys  []string // each once the program has said what comes before
			await []string
			says  string
		}{
			{"drains", []string{"\x03"}, []string{"ready"}, "drained"},
			{"drains", []string{"TERM"}, []string{"ready"}, "drained"},
			{"stuck", []string{"\x03", "\x03"}, []string{"ready", "draining"}, ""},
			{"stuck, bounded", []string{"TERM"}, []string{"ready"}, ""},
			{"blocked", []string{"\x03", "\x03"}, []string{"ready", ""}, ""},
		} {
			took, err := interrupt(tt.name, tt.keys, tt.await, tt.says)
			if err != nil {
				r.lost.Add(1)
				r.fail("%s: %v", tt.name, err)
			}
			slowest[tt.name] = max(slowest[tt.name], took)
			r.faults.Add(int64(len(tt.keys)))
			n++
		}
	}
	r.load("%d programs on terminals of their own", n)
	for _, name := range []string{"drains", "stuck", "stuck, bounded", "blocked"} {
		r.found("%s: ended with 130 within %v of the last key or signal", name, slowest[name].Round(time.Millisecond))
	}
	r.check(slowest["stuck, bounded"] < 700*time.Millisecond, "a bound of 200 ms was kept after %v", slowest["stuck, bounded"])
}

func interrupt(name string, keys, await []string, says string) (took time.Duration, err error) {
	pty, tty, err := openPTY()
	if err != nil {
		return 0, err
	}
	defer pty.Close()
	exe, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), programEnv+"="+name)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	tty.Close()
	if err != nil {
		return 0, err
	}
	kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	out := bufio.NewReader(pty)
	said := ""
	for i, key := range keys {
		for await[i] != "" && !strings.Contains(said, await[i]) {
			line, err := out.ReadString('\n')
			said += line
			if err != nil {
				return 0, errors.Join(fmt.Errorf("said %q: %w", said, err), cmd.Wait())
			}
		}
		if await[i] == "" {
			time.Sleep(100 * time.Millisecond) // two keys at once are one signal
		}
		if key == "TERM" {
			err = cmd.Process.Signal(syscall.SIGTERM)
		} else {
			_, err = pty.WriteString(key)
		}
		if err != nil {
			return 0, err
		}
	}
	start := time.Now()
	rest, _ := io.ReadAll(out) // EIO, at the end
	err = cmd.Wait()
	took = time.Since(start)
	said += string(rest)
	if cmd.ProcessState.ExitCode() != 130 || !strings.Contains(said, says) {
		return took, fmt.Errorf("ended with %v, said %q", err, said)
	}
	return took, nil
}

func openPTY() (pty, tty *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	pty = os.NewFile(uintptr(fd), "ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		pty.Close()
	}
	return pty, tty, err
}
