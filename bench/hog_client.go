package main

import (
	"encoding/json"
	"fmt"
	"io"
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

const echoSize = 64

// run sends and receives for a while, and prints the median time in ns. It blocks
// a thread, so that no poller adds to the time.
func (j *clientJob) run() {
	c, err := net.Dial("tcp", j.Addr)
	must(err)
	fd := takeFD(c.(*net.TCPConn))
	must(syscall.SetNonblock(fd, false))
	var times []int64
	p := make([]byte, echoSize)
	for end := time.Now().Add(j.For); len(times) == 0 || time.Now().Before(end); {
		start := time.Now()
		if _, err := syscall.Write(fd, p); err != nil {
			panic(err)
		}
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
		times = append(times, int64(time.Since(start)))
	}
	must(syscall.Close(fd))
	slices.Sort(times)
	fmt.Println(times[len(times)/2])
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

// p50 returns what the client has measured, when it has ended.
func (c *client) p50() (d time.Duration) {
	must(json.NewDecoder(c.out).Decode(&d))
	must(c.cmd.Wait())
	must(c.out.Close())
	return d
}
