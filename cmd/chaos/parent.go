//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runScenario runs the parts of s, each in a child process.
func runScenario(s scenario, o options) row {
	w := row{ID: s.id, Section: s.section, Title: s.title, Naive: s.naive, Target: s.target, Seed: o.seed, Load: []string{}}
	if w.Seed == 0 {
		w.Seed = rand.Uint64() >> 12 // exact in JSON readers that know doubles only
	}
	o.seed = w.Seed
	for _, p := range s.parts {
		w.add(runPart(s, p, o), p.name)
	}
	return w
}

func runPart(s scenario, p part, o options) row {
	if why := cannot(p, o); why != "" {
		return row{Verdict: notRun, Reasons: []string{"not run: " + why}}
	}
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		return row{Verdict: broken, Reasons: []string{err.Error()}}
	}
	defer os.RemoveAll(dir)
	log := filepath.Join(dir, "strace")
	w, err := runProcess(command(s, p, o, log), p.within(o))
	if err != nil {
		w.Verdict, w.Reasons = broken, append(w.Reasons, err.Error())
		return w
	}
	if p.inject == "" && p.trace == "" {
		return w
	}
	calls, injected := readTrace(log)
	if p.inject != "" {
		w.Faults += injected
		w.Measured = append(w.Measured, fmt.Sprintf("%d errors injected into system calls", injected))
		if injected == 0 {
			w.Verdict, w.Reasons = broken, append(w.Reasons, "no error was injected")
		}
	}
	if p.check != nil {
		p.check(&w, calls)
	}
	return w
}

// within returns how long a part may take.
func (p part) within(o options) time.Duration {
	switch {
	case p.limit != 0:
		return p.limit
	case o.scale < 0.5:
		return 25 * time.Second
	}
	return 100 * time.Second
}

// command returns the command line of a part, with what it must be wrapped in.
func command(s scenario, p part, o options, log string) []string {
	self, err := os.Executable()
	if err != nil {
		self = "/proc/self/exe"
	}
	name := s.id
	if p.name != "" {
		name += "/" + p.name
	}
	args := []string{self, "-child", name, "-seed", strconv.FormatUint(o.seed, 10), "-scale", fmt.Sprint(o.scale)}
	if p.netns {
		args = append([]string{"unshare", "-n", "sh", "-c", `ip link set lo up && exec "$0" "$@"`}, args...)
	}
	if p.inject != "" || p.trace != "" {
		st := []string{"strace", "-f", "--seccomp-bpf", "-qq", "-o", log}
		trace := p.trace
		if p.inject != "" {
			trace, _, _ = strings.Cut(p.inject, ":")
			st = append(st, "-e", "inject="+p.inject)
		}
		st = append(st, "-e", "trace="+trace)
		args = append(st, args...)
	}
	return args
}

// runProcess runs a child and returns the row that it has sent. One that hangs is
// asked for its stacks, and killed.
func runProcess(args []string, limit time.Duration) (row, error) {
	r, out, err := os.Pipe()
	if err != nil {
		return row{}, err
	}
	defer r.Close()
	said := &tail{}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.ExtraFiles = []*os.File{out}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	out.Close()
	if err != nil {
		return row{}, err
	}
	ended := make(chan struct{})
	var watch sync.WaitGroup
	hung := false
	watch.Go(func() { hung = watchOver(-cmd.Process.Pid, limit, ended) })
	var w row
	b, _ := io.ReadAll(r)
	jerr := json.Unmarshal(b, &w)
	err = cmd.Wait()
	close(ended)
	watch.Wait()
	if hung {
		err = fmt.Errorf("did not end within %v: it hangs", limit)
	}
	if err == nil {
		err = jerr
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, said)
	}
	return w, err
}

// watchOver asks a group of processes for their stacks when limit has passed, and
// soon kills them, unless they have ended.
func watchOver(group int, limit time.Duration, ended <-chan struct{}) (hung bool) {
	for i, sig := range []unix.Signal{unix.SIGQUIT, unix.SIGKILL} {
		select {
		case <-ended:
			return i > 0
		case <-time.After(limit):
			_ = unix.Kill(group, sig)
		}
		limit = 2 * time.Second
	}
	<-ended
	return true
}

// cannot says why a part cannot be run here.
func cannot(p part, o options) string {
	special := p.netns || p.inject != "" || p.trace != ""
	switch {
	case special && !o.root:
		return "-root=false"
	case p.netns:
		return noNamespace()
	case special:
		return noStrace()
	}
	return ""
}

var noStrace = sync.OnceValue(func() string {
	return try("strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "inject=getppid:error=EPERM", "true")
})

var noNamespace = sync.OnceValue(func() string {
	if why := try("unshare", "-n", "ip", "link", "set", "lo", "up"); why != "" {
		return why
	}
	return try("unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "8mbit", "burst", "16kb", "latency", "50ms")
})

// try runs a command and says why it does not work.
func try(name string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return name + " is not installed"
	case err != nil:
		return strings.TrimSpace(fmt.Sprintf("%s: %v %s", name, err, firstLine(out)))
	}
	return ""
}

func firstLine(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte("\n"))
	return string(b)
}

// readTrace counts the calls in what strace has written, and the errors injected.
func readTrace(name string) (calls map[string]int64, injected int64) {
	calls = map[string]int64{}
	f, err := os.Open(name)
	if err != nil {
		return calls, 0
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := sc.Text()
		if strings.HasSuffix(line, "(INJECTED)") {
			injected++
		}
		_, call, _ := strings.Cut(line, " ")
		if name, _, ok := strings.Cut(strings.TrimSpace(call), "("); ok && !strings.HasPrefix(name, "<") {
			calls[name]++
		}
	}
	return calls, injected
}

// A tail keeps the last of what is written to it: of a dump of all stacks the
// first and the last.
type tail struct {
	mu         sync.Mutex
	head, last []byte
}

const tailSize = 1 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	if room := tailSize - len(t.head); room > 0 {
		k := min(room, len(p))
		t.head, p = append(t.head, p[:k]...), p[k:]
	}
	t.last = append(t.last, p...)
	if len(t.last) > tailSize {
		t.last = append([]byte("…"), t.last[len(t.last)-tailSize:]...)
	}
	return n, nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.head) + string(t.last)
}
