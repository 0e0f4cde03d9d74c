package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Every impl runs in a process of its own, so that none pays for what another
// has left: a million dead goroutines that each collection looks at, a heap grown
// large. GOMAXPROCS is set by the environment, as a user would. The children of a
// bench live at the same time and do their rounds in turns, when told to; so what
// else the machine does hits all alike.

// jobVar holds the job of a child, as JSON. Test binaries can be children, too.
const jobVar = "EDDY_BENCH_JOB"

type job struct {
	Bench, Impl string
	Target      time.Duration
	Quick       bool
	Cores       []int      // for meter
	Client      *clientJob // in place of all else, as are the next two
	Load        *loadJob
	Pipe        bool
}

// childMain does the job that the environment names, and exits. It returns if
// there is none.
func childMain() {
	v := os.Getenv(jobVar)
	if v == "" {
		return
	}
	var j job
	must(json.Unmarshal([]byte(v), &j))
	if j.other() {
		os.Exit(0)
	}
	b, i := find(j.Bench, j.Impl)
	ops := b.opsFor(i, j)
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); { // a line for each round
		m := &meter{n: ops, quick: j.Quick, cores: j.Cores}
		i.run(m)
		must(json.NewEncoder(os.Stdout).Encode(m.sample))
	}
	os.Exit(0)
}

// other does what is not a bench, and reports whether j is that.
func (j *job) other() bool {
	switch {
	case j.Client != nil:
		j.Client.run()
	case j.Load != nil:
		j.Load.run()
	case j.Pipe:
		answerPipe()
	default:
		return false
	}
	return true
}

func find(name, implName string) (*bench, *impl) {
	for b := range benches {
		for i := range benches[b].impls {
			if benches[b].name == name && benches[b].impls[i].name == implName {
				return &benches[b], &benches[b].impls[i]
			}
		}
	}
	panic("no such bench: " + name + "/" + implName)
}

func (b *bench) opsFor(i *impl, j job) int {
	switch {
	case b.ops == 0:
		return calibrate(i.run, j.Target)
	case j.Quick:
		return max(1, b.ops/100)
	}
	return b.ops
}

// A child is a process that does a job.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// command returns this program, to be run for a job.
func command(j job, env ...string) *exec.Cmd {
	self, err := os.Executable()
	must(err)
	v, err := json.Marshal(j)
	must(err)
	cmd := exec.Command(self)
	cmd.Stderr = os.Stderr
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "GOMAXPROCS=") || strings.HasPrefix(s, jobVar+"=")
	})
	cmd.Env = append(append(cmd.Env, jobVar+"="+string(v)), env...)
	return cmd
}

func startChild(j job, procs int) (*child, error) {
	cmd := command(j, fmt.Sprint("GOMAXPROCS=", procs))
	in, err := cmd.StdinPipe()
	must(err)
	out, err := cmd.StdoutPipe()
	must(err)
	if err := startOn(j.Cores, 0, cmd); err != nil {
		return nil, err
	}
	c := &child{cmd, in, bufio.NewReader(out)}
	if line, err := c.out.ReadString('\n'); err != nil || line != "ready\n" {
		return nil, c.failed(err)
	}
	return c, nil
}

func (c *child) round() (s sample, err error) {
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		return s, c.failed(err)
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return s, c.failed(err)
	}
	return s, json.Unmarshal(line, &s)
}

func (c *child) failed(err error) error { return errors.Join(err, c.close()) }

func (c *child) close() error {
	return errors.Join(c.in.Close(), c.cmd.Wait())
}
