package coro_test

import (
	"bytes"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The stack of a body that never stops recovering is given up, by contract.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/eddyloop/eddy/coro_test.immortal"))
}

// A record is the order in which things happened.
type record []string

func (r *record) add(s string) { *r = append(*r, s) }

func (r *record) want(t testing.TB, want ...string) {
	t.Helper()
	if !slices.Equal(*r, want) {
		t.Errorf("got  %q\nwant %q", []string(*r), want)
	}
}

func wantPanic(t testing.TB, want string, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got != any(want) {
			t.Errorf("panic %v, want %q", got, want)
		}
	}()
	fn()
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
	select {
	case ok := <-done:
		return ok
	case <-time.After(20 * time.Second):
		t.Fatal("the goroutine hangs")
		return false
	}
}

// goroutine returns the name of the goroutine that calls it.
func goroutine() string {
	buf := make([]byte, 64)
	name, _, _ := bytes.Cut(buf[:runtime.Stack(buf, false)], []byte(" ["))
	return string(name)
}

// suspended counts the coroutines that are suspended in a function.
func suspended(in string) int {
	buf := make([]byte, 1<<20)
	n := 0
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, in) && strings.Contains(g, "[coroutine") {
			n++
		}
	}
	return n
}
