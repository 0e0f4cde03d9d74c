package loop_test

import (
	"bytes"
	"context"
	"errors"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
)

// children are what a test runs in a process of its own, because it ends the
// process.
var children = map[string]func(){}

const childVariable = "EDDY_LOOP_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		children[name]()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// child runs a child and returns what it printed and how it ended.
func child(t *testing.T, name string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	b, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("child %s hangs:\n%s", name, b)
	}
	return string(b), err
}

// A record is the order in which things happened.
type record []string

func (r *record) add(s string) { *r = append(*r, s) }

// note returns a call that adds s.
func (r *record) note(s string) func() { return func() { r.add(s) } }

func (r *record) want(t testing.TB, want ...string) {
	t.Helper()
	if !slices.Equal(*r, want) {
		t.Errorf("got  %q\nwant %q", []string(*r), want)
	}
}

// virtual returns a loop with a virtual clock, and closes it after the test. A
// failure that nobody can receive fails the test.
func virtual(t testing.TB) *loop.Loop {
	t.Helper()
	return open(t, loop.Config{Clock: looptest.NewClock(time.Time{})})
}

// real returns a loop with the system's clock, and closes it after the test.
func real(t testing.TB) *loop.Loop {
	t.Helper()
	return open(t, loop.Config{})
}

func open(t testing.TB, cfg loop.Config) *loop.Loop {
	t.Helper()
	if cfg.OnError == nil {
		cfg.OnError = func(e *loop.CallError) { t.Errorf("%v\n%s", e, e.Stack()) }
	}
	l, err := loop.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// finish runs a loop with a virtual clock until nothing can run any more.
func finish(t testing.TB, l *loop.Loop) {
	t.Helper()
	if err := l.Run(); !errors.Is(err, loop.ErrDeadlock) {
		t.Fatalf("Run = %v, want %v", err, loop.ErrDeadlock)
	}
}

// run runs a loop that somebody stops.
func run(t testing.TB, l *loop.Loop) {
	t.Helper()
	if err := l.Run(); err != nil {
		t.Fatalf("Run = %v, want nil", err)
	}
}

// runBriefly makes what is queued, without waiting for more.
func runBriefly(t testing.TB, l *loop.Loop) {
	t.Helper()
	l.Stop()
	run(t, l)
}

// wantPanic calls fn and checks that it panics with a message that contains
// each of the words.
func wantPanic(t testing.TB, fn func(), words ...string) {
	t.Helper()
	defer func() {
		t.Helper()
		switch v := recover().(type) {
		case nil:
			t.Errorf("no panic, want one with %q", words)
		case string:
			for _, w := range words {
				if !strings.Contains(v, w) {
					t.Errorf("panic %q, want %q in it", v, w)
				}
			}
		default:
			panic(v)
		}
	}()
	fn()
}

// logged catches what is logged by package log/slog until the test ends.
func logged(t testing.TB) *logBuffer {
	b := new(logBuffer)
	before, writer, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(slog.NewTextHandler(b, nil)))
	t.Cleanup(func() {
		slog.SetDefault(before)
		log.SetOutput(writer)
		log.SetFlags(flags)
	})
	return b
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// A call is a Runnable made of a function.
type call func()

func (c call) Run() { c() }

// eventually is what a test waits for when something must happen.
const eventually = 20 * time.Second

func receive[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(eventually):
		t.Fatal("nothing came")
	}
	return v
}

// onGoroutine runs fn on a goroutine of its own, waits for its end, and reports
// whether fn returned: not if it called Goexit.
func onGoroutine(t testing.TB, fn func()) (returned bool) {
	t.Helper()
	done := make(chan bool, 1)
	go func() {
		ok := false
		defer func() { done <- ok }()
		fn()
		ok = true
	}()
	return receive(t, done)
}

// A manualClock is a virtual clock whose idle is the test's.
type manualClock struct {
	now  time.Time
	idle func(next time.Time, outside bool) (time.Duration, error)
}

func newManualClock() *manualClock { return &manualClock{now: time.Unix(1e9, 0)} }

func (c *manualClock) Now() time.Time { return c.now }

func (c *manualClock) Idle(next time.Time, outside bool) (time.Duration, error) {
	return c.idle(next, outside)
}

// heapBytes returns what is reachable on the heap.
func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
