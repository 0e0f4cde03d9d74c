package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"time"
)

// A loadJob is what a child does that puts load on a server.
type loadJob struct {
	Kind   string // of loads
	Addr   string
	Conns  int
	Size   int           // of a request
	Warm   time.Duration // before the measurement
	For    time.Duration
	Server int // the process, whose processor time is measured
}

// A loadResult is what a load has seen.
type loadResult struct {
	Requests     int
	Wall         time.Duration
	Server, Load time.Duration // processor time of all threads
	Waited       time.Duration // of both, for their cores: others had them
	Began, Ended int64         // on the clock of monotonic
}

// A load is a process that does a loadJob.
type load struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *os.File
}

// startLoad starts a load beside this process. It keeps its connections until end.
func startLoad(m *meter, j loadJob) *load {
	r, w, err := os.Pipe() // no goroutine of ours reads meanwhile
	must(err)
	cmd := command(job{Load: &j}, "GOMAXPROCS=1")
	in, err := cmd.StdinPipe()
	must(err)
	cmd.Stdout = w
	must(startOn(m.cores, 1, cmd))
	must(w.Close())
	return &load{cmd, in, r}
}

// result waits for what the load has seen.
func (l *load) result() (r loadResult) {
	must(json.NewDecoder(l.out).Decode(&r))
	return r
}

// measure is a load from its start to its end.
func (j loadJob) measure(m *meter) loadResult {
	l := startLoad(m, j)
	defer l.end()
	return l.result()
}

func (l *load) end() {
	must(l.in.Close())
	must(l.cmd.Wait())
	must(l.out.Close())
}
