package subprocess_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/subprocess"
	"github.com/eddyloop/eddy/task"
)

// Where descriptors run out, at each of the places where one is needed, a start fails
// and leaves nothing, or the process is waited for as any other. In a process of its
// own, because the limit is a process's.
func TestDescriptorsRunOut(t *testing.T) {
	for _, how := range []string{"handle", "goroutine"} {
		t.Run(how, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], how)
			cmd.Env = append(os.Environ(), childKey+"=shortage", "GORACE=atexit_sleep_ms=0")
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func init() {
	children["shortage"] = func(args []string) int {
		// A loop that dozes opens a descriptor when it first does.
		cfg := loop.Config{Wait: loop.WaitSleep}
		return code(task.RunConfig(context.Background(), cfg, func(ctx context.Context) error {
			if args[0] == "goroutine" {
				subprocess.WaitByGoroutines(loop.FromContext(ctx))
			}
			return shortages(ctx)
		}))
	}
}

func shortages(ctx context.Context) error {
	if err := self("exit", "0").Run(ctx); err != nil { // opens what is opened once
		return err
	}
	before := descriptors()
	lim := unix.Rlimit{Cur: uint64(before + 20), Max: uint64(before + 20)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	var log strings.Builder
	for free := range 16 {
		started, err := withFree(ctx, free)
		if err != nil {
			return fmt.Errorf("with %d free: %w", free, err)
		}
		if err := noChild(ctx); err != nil {
			return fmt.Errorf("with %d free: %w", free, err)
		}
		if after := descriptors(); after != before {
			return fmt.Errorf("with %d free: %d descriptors open, %d before", free, after, before)
		}
		log.WriteByte("-+"[started])
	}
	fmt.Println(log.String())
	if s := log.String(); s[0] != '-' || s[len(s)-1] != '+' {
		return errors.New("the limit has no effect")
	}
	return nil
}

// withFree starts a process while some descriptors are free, and returns how many it
// has started.
func withFree(ctx context.Context, free int) (started int, err error) {
	var filler []*os.File
	defer func() {
		for _, f := range filler {
			f.Close()
		}
	}()
	for {
		f, err := os.Open("/")
		if err != nil {
			break
		}
		filler = append(filler, f)
	}
	for range free {
		filler[len(filler)-1].Close()
		filler = filler[:len(filler)-1]
	}
	p, err := piped("exit", "5").Start(ctx)
	if errors.Is(err, syscall.EMFILE) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer p.Close()
	s, err := p.Wait(ctx)
	if err == nil && s.Code() != 5 {
		err = fmt.Errorf("code %d", s.Code())
	}
	return 1, err
}

// noChild waits until there is none: one whose pipes could not be had is killed.
func noChild(ctx context.Context) error {
	var info unix.Siginfo
	for range 1000 {
		if unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == unix.ECHILD {
			return nil
		}
		if err := task.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("there is a child")
}
