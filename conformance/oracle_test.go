package conformance

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A program that was shrunk has no golden trace. So to shrink one needs CPython,
// and the script that runs programs on it.
const (
	oracleEnv = "EDDY_ORACLE" // the script; it takes --batch --sha - and knows the language
	pythonEnv = "EDDY_PYTHON" // what runs it: python3 if not set
)

const oracleHelp = "To see a minimal program that differs set " + oracleEnv + " to the script that runs programs on CPython's asyncio, and " +
	pythonEnv + " to a command that runs scripts on CPython 3.13 or later, 3.14 for eager programs."

// shrinking is held while a program is shrunk: one at a time is enough for CPython.
var shrinking sync.Mutex

// shrunk says how the smallest program differs that can be made of c, or how to
// find out.
func shrunk(t *testing.T, c testCase) string {
	script := os.Getenv(oracleEnv)
	if script == "" {
		return c.p.String() + "\n" + oracleHelp
	}
	shrinking.Lock()
	defer shrinking.Unlock()
	command := strings.Fields(os.Getenv(pythonEnv))
	if len(command) == 0 {
		command = []string{"python3"}
	}
	o := &oracle{ctx: t.Context(), command: append(command, script)}
	defer o.stop()
	whole, err := o.trace(c.p)
	if err != nil {
		return fmt.Sprintf("%s\nnot shrunk: %v", c.p, err)
	}
	if whole != c.want {
		return fmt.Sprintf("%s\nnot shrunk: %s is of another version, and gives another trace than the golden one", c.p, command)
	}
	p := Shrink(c.p, o.differs)
	want, err := o.trace(p)
	if err != nil {
		return fmt.Sprintf("%s\n%v", p, err)
	}
	return fmt.Sprintf("shrunk: %s\ndiffers: %s", p, difference(p, want))
}

// An oracle runs programs on CPython. One process answers many questions: most of
// the time of one is CPython's start.
type oracle struct {
	ctx     context.Context
	command []string
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// patience bounds the wait for an answer, and a start of CPython.
const patience = 30 * time.Second

// trace returns the trace of a program.
func (o *oracle) trace(p *Program) (string, error) {
	ctx, cancel := context.WithTimeout(o.ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.command[0], append(o.command[1:], "-")...)
	cmd.Stdin = strings.NewReader(p.String())
	cmd.Stderr = new(strings.Builder)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", o.command, err, cmd.Stderr)
	}
	return string(out), nil
}

// differs reports whether eddy's trace is not CPython's. A program that CPython
// does not run to its end says nothing.
func (o *oracle) differs(p *Program) bool {
	want, err := o.ask(p)
	if err != nil {
		o.stop()
		return false
	}
	got, err := Run(p)
	sum := sha256.Sum256([]byte(got))
	return err != nil || hex.EncodeToString(sum[:])[:16] != want
}

// ask returns the hash of a program's trace.
func (o *oracle) ask(p *Program) (string, error) {
	if o.process == nil {
		if err := o.start(); err != nil {
			return "", err
		}
	}
	q := *p
	q.ID = json.RawMessage("0")
	process := o.process.Process
	timer := time.AfterFunc(patience, func() { _ = process.Kill() }) // then the read fails
	defer timer.Stop()
	if _, err := io.WriteString(o.in, q.String()+"\n"); err != nil {
		return "", err
	}
	line, err := o.out.ReadString('\n')
	if err != nil {
		return "", err
	}
	_, sha, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok {
		return "", fmt.Errorf("bad answer %q", line)
	}
	return sha, nil
}

func (o *oracle) start() error {
	cmd := exec.CommandContext(o.ctx, o.command[0], append(o.command[1:], "--batch", "--sha", "-")...)
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1") // an answer to each line, not one at the end
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	o.process, o.in, o.out = cmd, in, bufio.NewReader(out)
	return nil
}

func (o *oracle) stop() {
	if o.process == nil {
		return
	}
	_ = o.in.Close()
	_ = o.process.Process.Kill()
	_ = o.process.Wait()
	o.process = nil
}
