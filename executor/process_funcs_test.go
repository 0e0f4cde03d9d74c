//go:build unix

package executor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/cputime"
)

// What follows is registered in the test and, because they are the test, in its
// workers.

type point struct {
	X, Y int
	Name string
}

type unencodable struct{ C chan int }

var (
	errKnown   = errors.New("executor_test: known")
	errUnknown = errors.New("executor_test: unknown")
)

func init() { executor.RegisterError("executor_test.errKnown", errKnown) }

var (
	procDouble = executor.Register("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	procMove   = executor.Register("move", func(_ context.Context, p point) (point, error) {
		return point{p.X + 1, p.Y + 1, p.Name + "!"}, nil
	})
	procPID     = executor.Register("pid", func(context.Context, struct{}) (int, error) { return os.Getpid(), nil })
	procNothing = executor.Register("nothing", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
	procPower   = executor.Register2("power", func(_ context.Context, base, exp int) (int, error) {
		n := 1
		for range exp {
			n *= base
		}
		return n, nil
	})
	procBytes = executor.Register("bytes", func(_ context.Context, b []byte) ([]byte, error) { return append(b, '!'), nil })
	procSize  = executor.Register("size", func(_ context.Context, s string) (int, error) { return len(s), nil })
	procMake  = executor.Register("make", func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil })
	procFail  = executor.Register("fail", func(_ context.Context, how string) (int, error) { return 0, failures[how] })
	procOdd   = executor.Register("odd", func(_ context.Context, n int) (int, error) {
		switch n {
		case -1:
			panic("minus one")
		case -2:
			runtime.Goexit()
		case -3:
			os.Exit(3)
		case -4:
			return 0, errKnown
		}
		return 2*n + 1, nil
	})
	procPanic = executor.Register("panic", func(_ context.Context, how string) (int, error) {
		switch how {
		case "error":
			panic(fmt.Errorf("wrapped: %w", errKnown))
		case "nil map":
			var m map[string]int
			//lint:ignore SA5000 it panics
			m[how] = 1
		case "goexit":
			runtime.Goexit()
		}
		procBlowUp(how)
		return 0, nil
	})
	procChan = executor.Register("chan", func(_ context.Context, n int) (unencodable, error) { return unencodable{make(chan int, n)}, nil })
	procTake = executor.Register("take", func(_ context.Context, v unencodable) (int, error) { return cap(v.C), nil })
	procAny  = executor.Register("any", func(_ context.Context, n int) (any, error) { return n, nil })
	procExit = executor.Register("exit", func(_ context.Context, status int) (int, error) { os.Exit(status); return 0, nil })
	procKill = executor.Register("kill", func(_ context.Context, sig int) (int, error) {
		_ = syscall.Kill(os.Getpid(), syscall.Signal(sig))
		time.Sleep(time.Minute)
		return 0, nil
	})
	procGarbage = executor.Register("garbage", func(_ context.Context, text string) (int, error) {
		_, _ = syscall.Write(4, []byte(text))
		return len(text), nil
	})
	procCloseOut = executor.Register("close out", func(context.Context, int) (int, error) {
		_ = syscall.Close(4)
		time.Sleep(time.Minute)
		return 0, nil
	})
	// procListen ends with its ctx and says why.
	procListen = executor.Register("listen", func(ctx context.Context, path string) (int, error) {
		touch(path)
		<-ctx.Done()
		touch(path + ".done " + context.Cause(ctx).Error())
		return 0, ctx.Err()
	})
	// procDeaf ends after a time, whatever its ctx does.
	procDeaf = executor.Register("deaf", func(_ context.Context, a deafArg) (int, error) {
		if a.Path != "" {
			touch(a.Path)
		}
		time.Sleep(a.D)
		return 1, nil
	})
	procSpin = executor.Register("spin", func(_ context.Context, d time.Duration) (int, error) {
		n := 0
		for began := cputime.Used(); cputime.Used()-began < d; {
			for range 1000 {
				n++
			}
		}
		return n, nil
	})
	procLoop = executor.Register("loop", loopFor)
	// procOnce dies unless the file is there, and makes it.
	procOnce = executor.Register("once", func(_ context.Context, path string) (int, error) {
		if _, err := os.Stat(path); err != nil {
			touch(path)
			os.Exit(9)
		}
		return os.Getpid(), nil
	})
	procEnv = executor.Register("env", func(_ context.Context, key string) (string, error) {
		if key == "PWD" {
			return os.Getwd()
		}
		return os.Getenv(key), nil
	})
	procPrint = executor.Register("print", func(_ context.Context, s string) (int, error) {
		fmt.Print(s)
		fmt.Fprint(os.Stderr, s)
		return 0, nil
	})
	procPipes = executor.Register("pipes", func(context.Context, struct{}) (int, error) { return countPipes(false), nil })

	procInit = executor.Register("init", func(_ context.Context, arg string) (int, error) {
		switch arg {
		case "fail":
			return 0, errKnown
		case "panic":
			panic("in init")
		case "goexit":
			runtime.Goexit()
		case "exit":
			os.Exit(4)
		case "hang":
			time.Sleep(time.Minute)
		}
		initArg = arg
		return 0, nil
	})
	procInitArg = executor.Register("init arg", func(context.Context, struct{}) (string, error) { return initArg, nil })
)

var initArg string // of a worker

type deafArg struct {
	Path string
	D    time.Duration
}

// loopFor computes.
func loopFor(_ context.Context, n int) (int, error) {
	x := 1
	for range n {
		x ^= x << 13
		x ^= int(uint(x) >> 7)
		x ^= x << 17
	}
	return x, nil
}

//go:noinline
func procBlowUp(how string) { panic(how) }

// touch makes a file with the process's id in it.
func touch(path string) {
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if os.WriteFile(tmp, strconv.AppendInt(nil, int64(os.Getpid()), 10), 0o600) == nil {
		_ = os.Rename(tmp, path)
	}
}

var failures = map[string]error{
	"plain":    errors.New("it is plain"),
	"known":    fmt.Errorf("wrapped: %w", errKnown),
	"unknown":  errUnknown,
	"canceled": context.Canceled,
	"deadline": fmt.Errorf("slow: %w", context.DeadlineExceeded),
	"EOF":      io.EOF,
	"file":     &fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist},
	"both":     errors.Join(errKnown, io.EOF),
	"future":   &future.CanceledError{Cause: errKnown},
	"long":     errors.New(strings.Repeat("long", 1<<16)),
	"binary":   errors.New("\xff\x00"),
}

// newProcesses returns a pool that the test ends.
func newProcesses(t testing.TB, cfg executor.ProcessConfig) *executor.ProcessPool {
	t.Helper()
	p, err := executor.NewProcessPool(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = p.ShutdownNow(ctx)
		if s := p.ProcessStats(); s.Workers+s.Starting != 0 || s.Died+s.Killed+s.Retired != s.Started {
			t.Errorf("processes are not accounted for: %+v", s)
		}
	})
	return p
}

func upTo(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < n && yield(i); i++ {
		}
	}
}

func repeat[T any](v T, n int) iter.Seq[T] {
	return func(yield func(T) bool) {
		for i := 0; i < n && yield(v); i++ {
		}
	}
}

// countPipes returns the number of pipes among descriptors other than the standard
// ones, or of those that a process started by this one would inherit.
func countPipes(inherited bool) (n int) {
	for fd := 3; fd < 256; fd++ {
		var st syscall.Stat_t
		if syscall.Fstat(fd, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && (!inherited || flags&unix.FD_CLOEXEC == 0) {
			n++
		}
	}
	return n
}

// countFDs returns the number of open descriptors below 256.
func countFDs() (n int) {
	for fd := range 256 {
		var st syscall.Stat_t
		if syscall.Fstat(fd, &st) == nil {
			n++
		}
	}
	return n
}
