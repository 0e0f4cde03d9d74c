package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/future"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what happens at once on a good day.
const patience = 10 * time.Second

// An output is what a demo prints, for tests that wait for it.
type output struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{} // closed at the next Write
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// line waits for a whole line with part in it.
func (o *output) line(t testing.TB, part string) string {
	t.Helper()
	late := time.After(patience)
	for {
		o.mu.Lock()
		all, changed := o.b.String(), o.changed
		o.mu.Unlock()
		for line := range strings.Lines(all) {
			if strings.Contains(line, part) && strings.HasSuffix(line, "\n") {
				return strings.TrimSuffix(line, "\n")
			}
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("no line with %q in\n%s", part, all)
		}
	}
}

// start runs a server that says where it listens in the first line that it prints,
// and returns that address and its end, which the end of the test waits for.
func start(t *testing.T, run func(ctx context.Context, out io.Writer) error) (addr string, out *output, end func()) {
	t.Helper()
	out = newOutput()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx, out); err != nil && future.AsCanceled(err) == nil {
			t.Error(err)
			fmt.Fprintln(out, "failed:", err)
		}
	}()
	end = func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("the server does not end")
		}
	}
	t.Cleanup(end)
	addr, ok := strings.CutPrefix(out.line(t, ""), "listening on ")
	if !ok {
		t.Fatalf("first line: %q", out)
	}
	return addr, out, end
}

func TestUsageListsAll(t *testing.T) {
	var b strings.Builder
	usage(&b)
	for _, c := range commands() {
		if !strings.Contains(b.String(), "\n  "+c.name+" ") || !strings.Contains(b.String(), c.about) {
			t.Errorf("usage does not tell of %s:\n%s", c.name, &b)
		}
	}
	if got := dispatch(nil); got != 2 {
		t.Errorf("without arguments the status is %d, want 2", got)
	}
}
