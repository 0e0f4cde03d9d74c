package thread_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	bg      = context.Background()
	errBoom = errors.New("boom")
)

// bubble runs fn where time passes when everybody waits, and fails if somebody
// still waits when fn has returned.
func bubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, fn)
}

// A journal is what happened, in order, and when.
type journal struct {
	mu    sync.Mutex
	start time.Time
	lines []string
}

func newJournal() *journal { return &journal{start: time.Now()} }

func (j *journal) log(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

// at logs with the time in front.
func (j *journal) at(format string, args ...any) {
	j.log("%v "+format, append([]any{time.Since(j.start)}, args...)...)
}

// want lets everybody run until all wait, compares the whole with what should have
// happened, and begins anew.
func (j *journal) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.lines, want) {
		t.Errorf("happened:\n\t%s\nwant:\n\t%s", strings.Join(j.lines, "\n\t"), strings.Join(want, "\n\t"))
	}
	j.lines = nil
}

// wantInAnyOrder is want for what may happen in any order.
func (j *journal) wantInAnyOrder(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	j.mu.Lock()
	slices.Sort(j.lines)
	j.mu.Unlock()
	j.want(t, want...)
}

// run starts fn and lets it run until it waits, or has ended, and logs its name and
// what it returned.
func (j *journal) run(name string, fn func() error) {
	go func() { j.log("%s %s", name, outcome(fn())) }()
	synctest.Wait()
}

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("got error %v, want %v", got, want)
	}
}

// wantPanic fails the test unless fn panics with a sentence that has part in it.
func wantPanic(t testing.TB, part string, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), part) {
			t.Errorf("panicked with %v, want a sentence with %q", v, part)
		}
	}()
	fn()
}
