package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStartOn starts a process on each core, and stays where it was.
func TestStartOn(t *testing.T) {
	cores := twoCores()
	var before, after unix.CPUSet
	must(unix.SchedGetaffinity(0, &before))
	for i, core := range cores {
		var out strings.Builder
		cmd := exec.Command("grep", "Cpus_allowed_list", "/proc/self/status")
		cmd.Stdout = &out
		must(startOn(cores, i, cmd))
		must(cmd.Wait())
		if got, want := strings.TrimSpace(out.String()), fmt.Sprint("Cpus_allowed_list:\t", core); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	must(unix.SchedGetaffinity(0, &after))
	if before != after {
		t.Errorf("got cores %v afterwards, want %v", after, before)
	}
}

// TestCPUOf reads the processor time of a process by its number.
func TestCPUOf(t *testing.T) {
	before, own := cpuOf(os.Getpid()), cpuTime()
	for cpuTime()-own < 20*time.Millisecond {
	}
	own = cpuTime() - own
	if got := cpuOf(os.Getpid()) - before; got < own*9/10 || got > 2*own {
		t.Errorf("got %v, want about %v", got, own)
	}
}

// TestWrongAnswer has a load find out that a server does not echo.
func TestWrongAnswer(t *testing.T) {
	s := newSockets(64)
	wrong := func(ctx context.Context, cfg serving) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		defer ln.Close()
		cfg.listening(ln.Addr())
		c, err := ln.Accept()
		must(err)
		defer c.Close()
		_, err = c.Write(slices.Repeat([]byte{'x'}, 64))
		must(err)
		<-ctx.Done()
	}
	withServer(wrong, serving{}, func(addr string) {
		s.open(1, unix.EPOLLIN)
		defer unix.Close(s.epoll)
		defer unix.Close(s.fds[0])
		s.connectAll(addr)
		s.send(s.fds[0])
		defer func() {
			if got, want := recover(), "bench: a wrong answer"; got != want {
				t.Errorf("got panic %v, want %q", got, want)
			}
		}()
		s.exchange(patience)
	})
}

// TestLateness counts each time that came during a delay.
func TestLateness(t *testing.T) {
	late := &lateness{due: monotonic() - int64(3500*time.Microsecond)}
	first := late.due
	if wait := late.tick(); wait <= 0 || wait > tickEvery {
		t.Errorf("got a wait of %v, want up to %v", wait, tickEvery)
	}
	if n := len(late.ticks); n < 4 {
		t.Fatalf("got %d ticks, want at least 4", n)
	}
	got := late.between(first+1, first+int64(2*tickEvery)) // the second and the third
	if len(got) != 2 || got[1]-got[0] != tickEvery || got[0] < 1500*time.Microsecond {
		t.Errorf("got delays %v, want two, a millisecond apart, the lesser of at least 1.5 ms", got)
	}
	if got := late.between(0, 1); !slices.Equal(got, []time.Duration{0}) {
		t.Errorf("got delays %v of a while without any, want one of 0", got)
	}
}
