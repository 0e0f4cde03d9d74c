//go:build unix

package subprocess_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/subprocess"
)

const childKey = "SUBPROCESS_TEST_CHILD"

func TestMain(m *testing.M) {
	if what := os.Getenv(childKey); what != "" {
		os.Exit(children[what](os.Args[1:]))
	}
	if r, w, err := os.Pipe(); err == nil { // the runtime's poller takes descriptors when first used
		r.Close()
		w.Close()
	}
	goleak.VerifyTestMain(m)
}

// self returns a Cmd that runs this test binary as one of children.
func self(what string, args ...string) *subprocess.Cmd {
	c := subprocess.Command(os.Args[0], args...)
	// The race detector sleeps for a second at exit, or as it is told.
	c.Env = append(os.Environ(), childKey+"="+what, "GORACE=atexit_sleep_ms=0")
	return c
}

// piped is self with three pipes.
func piped(what string, args ...string) *subprocess.Cmd {
	c := self(what, args...)
	c.Stdin, c.Stdout, c.Stderr = subprocess.Pipe, subprocess.Pipe, subprocess.Pipe
	return c
}

// children are what the test binary does as a child. They return the exit code.
var children = map[string]func(args []string) int{
	"exit": func(args []string) int { return number(args[0]) },
	"cat": func([]string) int {
		_, err := io.Copy(os.Stdout, os.Stdin)
		return code(err)
	},
	// Writes its arguments in turn to one output and the other.
	"echo": func(args []string) int {
		for i, s := range args {
			fmt.Fprintln([]*os.File{os.Stdout, os.Stderr}[i%2], s)
		}
		return 0
	},
	// Reads all, and writes as much to both outputs meanwhile.
	"communicate": func([]string) int {
		buf := make([]byte, 32<<10)
		for {
			n, err := os.Stdin.Read(buf)
			for _, f := range []*os.File{os.Stdout, os.Stderr} {
				if _, err := f.Write(buf[:n]); err != nil {
					return code(err)
				}
			}
			if err == io.EOF {
				return 0
			}
		}
	},
	"flood": func(args []string) int {
		_, err := os.Stdout.Write(bytes.Repeat([]byte("x"), number(args[0])))
		return code(err)
	},
	// Says that it is there, and sleeps.
	"sleep": func([]string) int { return sleep() },
	"hold":  func([]string) int { time.Sleep(time.Minute); return 0 },
	"stubborn": func([]string) int {
		signal.Ignore(syscall.SIGTERM)
		return sleep()
	},
	// Says something when it is terminated.
	"polite": func([]string) int {
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.SIGTERM)
		fmt.Println("ready")
		<-ch
		fmt.Println("bye")
		return 3
	},
	// Reads nothing and exits when its output is closed or its second argument, in
	// milliseconds, has passed.
	"deaf": func(args []string) int {
		_ = os.Stdin.Close()
		fmt.Println("deaf")
		return number(args[0])
	},
	// Leaves a process that holds the pipes, and tells its number.
	"grandchild": func(args []string) int {
		os.Setenv(childKey, "hold")
		p, err := os.StartProcess(os.Args[0], os.Args[:1], &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
		if err != nil {
			return code(err)
		}
		fmt.Println(p.Pid)
		return number(args[0])
	},
	"where": func(args []string) int {
		dir, _ := os.Getwd()
		fmt.Println(dir)
		for _, key := range args {
			fmt.Println(os.Getenv(key))
		}
		return 0
	},
	"extra": func([]string) int {
		_, err := os.NewFile(3, "extra").WriteString("from 3\n")
		return code(err)
	},
	"group": func([]string) int {
		fmt.Println(syscall.Getpgrp() == os.Getpid())
		return 0
	},
}

func sleep() int {
	fmt.Println("ready")
	time.Sleep(time.Minute) // much longer than the tests
	return 0
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func code(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 9
	}
	return 0
}

// both runs fn on a loop that waits by handles, where there are any, and on one that
// waits by goroutines. Neither must leave a descriptor, or a process, or a zombie.
func both(t *testing.T, fn func(t *testing.T, ctx context.Context) error) {
	t.Helper()
	for _, tt := range []struct {
		name       string
		goroutines bool
	}{{"handle", false}, {"goroutine", true}} {
		t.Run(tt.name, func(t *testing.T) {
			before := descriptors()
			looptest.RunConfig(t, looptest.Config{Real: true}, func(ctx context.Context) error {
				if tt.goroutines {
					subprocess.WaitByGoroutines(loop.FromContext(ctx))
				}
				return fn(t, ctx)
			})
			after := descriptors()
			for wait := time.Millisecond; after > before && wait < time.Second; wait *= 2 {
				time.Sleep(wait) // what a job holds is closed by it
				after = descriptors()
			}
			if after > before {
				t.Errorf("%d descriptors open, %d before", after, before)
			}
			wantNoChildren(t)
		})
	}
}

// wantNoChildren fails the test if this process has a child, running or a zombie.
func wantNoChildren(t testing.TB) {
	t.Helper()
	var ws unix.WaitStatus
	if pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("there is a child: wait4 returned %d, %v", pid, err)
	}
}

// descriptors counts the process's open descriptors, where the system tells.
func descriptors() int {
	es, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(es)
}

// alive reports whether there is a process of that number that is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return unix.Kill(pid, 0) == nil
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return len(rest) > 0 && rest[0] != 'Z'
}

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(s string) int { return number(s) }
