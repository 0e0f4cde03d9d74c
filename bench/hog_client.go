package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// A clientJob is what a child does that is the client of an echo server.
type clientJob struct {
	Addr string
	For  time.Duration
}

// echoTimes is what a client has seen: medians, and the 90th percentile.
type echoTimes struct {
	Paced, PacedP90 time.Duration // the requests come at random times
	Closed          time.Duration // the next request follows the answer
}

const echoSize = 64

// run measures and prints. It blocks a thread, so that no poller adds to the time.
func (j *clientJob) run() {
	c, err := net.Dial("tcp", j.Addr)
	must(err)
	fd := takeFD(c.(*net.TCPConn))
	must(syscall.SetNonblock(fd, false))
	paced := j.echo(fd, 2*time.Millisecond)
	closed := j.echo(fd, 0)
	must(syscall.Close(fd))
	must(json.NewEncoder(os.Stdout).Encode(echoTimes{paced[len(paced)/2], paced[len(paced)*9/10], closed[len(closed)/2]}))
}

// echo sends and receives for a while, pausing up to pause before each request,
// and returns the times, sorted.
func (j *clientJob) echo(fd int, pause time.Duration) (times []time.Duration) {
	p := make([]byte, echoSize)
	for end := time.Now().Add(j.For); len(times) == 0 || time.Now().Before(end); {
		if pause > 0 {
			time.Sleep(rand.N(pause))
		}
		start := time.Now()
		_, err := syscall.Write(fd, p)
		must(err)
		for got := 0; got < echoSize; {
			n, err := syscall.Read(fd, p[got:])
			if err == syscall.EINTR {
				continue
			}
			if n == 0 {
				err = io.ErrUnexpectedEOF
			}
			must(err)
			got += n
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return times
}

// A client is a process that does a clientJob.
type client struct {
	cmd *exec.Cmd
	out *os.File
}

func startClient(j clientJob) *client {
	r, w, err := os.Pipe() // no goroutine of ours reads meanwhile
	must(err)
	cmd := command(job{Client: &j})
	cmd.Stdout = w
	must(cmd.Start())
	must(w.Close())
	return &client{cmd, r}
}

// times returns what the client has measured, when it has ended.
func (c *client) times() (t echoTimes) {
	must(json.NewDecoder(c.out).Decode(&t))
	must(c.cmd.Wait())
	must(c.out.Close())
	return t
}

// window is how long a client measures: long beside the 10 ms that the runtime
// lets a goroutine compute.
func window(m *meter) time.Duration {
	if m.quick {
		return 60 * time.Millisecond
	}
	return 300 * time.Millisecond
}
