package loop

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// SlowCall is a call that keeps the loop from everything else.
type SlowCall struct {
	Name    string        // of the task, or of the function
	Site    string        // file:line where the call was arranged
	Elapsed time.Duration // up to now: it is still running
	Stack   []byte        // where it is now
}

// A debugger is a loop's debug mode. A nil one does nothing.
type debugger struct {
	l    *Loop
	slow time.Duration

	mu       sync.Mutex // guards what the watchdog reads
	gid      uint64     // goroutine of Run, 0 when it does not run
	name     string     // of the call
	site     string
	since    time.Time // zero between calls
	reported bool
	quit     chan struct{}
	done     chan struct{}
}

func debugByEnvironment() bool { return os.Getenv("EDDY_DEBUG") == "1" }

func newDebugger(l *Loop) *debugger {
	d := &debugger{l: l, slow: l.cfg.SlowCall}
	if d.slow <= 0 {
		d.slow = 100 * time.Millisecond
	}
	return d
}

// Debug reports whether the loop is in debug mode.
func (l *Loop) Debug() bool { return l.debug != nil }

// start begins to watch the calling goroutine.
func (d *debugger) start() {
	if d == nil {
		return
	}
	d.mu.Lock()
	d.gid = goroutineID()
	d.mu.Unlock()
	d.quit, d.done = make(chan struct{}), make(chan struct{})
	go d.watch(d.quit, d.done)
}

func (d *debugger) stop() {
	if d == nil {
		return
	}
	close(d.quit)
	<-d.done
	d.mu.Lock()
	d.gid = 0
	d.since = time.Time{}
	d.mu.Unlock()
}

// run makes a call under watch.
func (d *debugger) run(r Runnable) {
	name, site := callName(r), ""
	if s, ok := r.(interface{ Site() string }); ok {
		site = s.Site()
	}
	d.mu.Lock()
	d.name, d.site, d.since, d.reported = name, site, time.Now(), false
	d.mu.Unlock()
	r.Run()
	d.mu.Lock()
	d.since = time.Time{}
	d.mu.Unlock()
}

// watch looks at the loop twice in the time that a call may take.
func (d *debugger) watch(quit, done chan struct{}) {
	defer close(done)
	tick := time.NewTicker(d.slow / 2)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		d.mu.Lock()
		late := !d.since.IsZero() && !d.reported && time.Since(d.since) > d.slow
		var s SlowCall
		gid := d.gid
		if late {
			d.reported = true
			s = SlowCall{Name: d.name, Site: d.site, Elapsed: time.Since(d.since)}
		}
		d.mu.Unlock()
		if !late {
			continue
		}
		s.Stack = stackOf(gid)
		if f := d.l.cfg.OnSlow; f != nil {
			f(s)
		} else {
			slog.Warn("eddy: slow call", "call", s.Name, "from", s.Site,
				"elapsed", s.Elapsed, "stack", string(s.Stack))
		}
	}
}

// note makes s the site of the call that runs.
func (d *debugger) note(name, site string) {
	d.mu.Lock()
	d.site = site
	if name != "" {
		d.name = name
	}
	d.mu.Unlock()
}

// takeSite returns where the call that panicked was arranged.
func (d *debugger) takeSite() string {
	if d == nil {
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since = time.Time{}
	return d.site
}

// site wraps fn so that debug mode knows where it was arranged: by the caller of
// the caller.
func (l *Loop) site(fn func()) func() {
	if l.debug == nil {
		return fn
	}
	return l.siteAt(3, fn)
}

func (l *Loop) siteAt(skip int, fn func()) func() {
	_, file, line, _ := runtime.Caller(skip)
	site, name := fmt.Sprintf("%s:%d", file, line), funcName(fn)
	return func() {
		l.debug.note(name, site)
		fn()
	}
}

// check panics if a method is called on a closed loop or, in debug mode, from a
// goroutine that is not the loop's.
func (l *Loop) check(method string) {
	if l.closed {
		if method == "Handle.Cancel" || method == removing {
			return
		}
		panic("loop: " + method + " on a closed loop")
	}
	if l.debug == nil {
		return
	}
	if !l.OnGoroutine() {
		panic("loop: " + method + " from a goroutine that is not the loop's; use CallSoonThreadsafe")
	}
}

// OnGoroutine reports whether the caller is on the loop. It works in debug mode and
// while the loop runs, and returns true otherwise; it takes about 2 µs.
func (l *Loop) OnGoroutine() bool {
	if l.debug == nil {
		return true
	}
	l.debug.mu.Lock()
	home := l.debug.gid
	l.debug.mu.Unlock()
	return home == 0 || onGoroutine(home)
}

// CheckGoroutine panics in debug mode if the caller is not on the loop. what
// names the call in the message. It is for packages above.
func (l *Loop) CheckGoroutine(what string) {
	if l.strict {
		l.check(what)
	}
}

// onGoroutine reports whether the caller runs on the goroutine home, or on a
// coroutine that it, or a coroutine of it, has made.
func onGoroutine(home uint64) bool {
	if goroutineID() == home {
		return true
	}
	// A coroutine's stack ends with "created by iter.Pull… in goroutine N". One
	// from a pool was made by whoever ran the loop then: accept any coroutine.
	buf := make([]byte, 64<<10)
	buf = buf[:runtime.Stack(buf, false)]
	i := bytes.LastIndex(buf, []byte("created by iter.Pull"))
	return i >= 0
}

// goroutineID reads "goroutine 7 [running]:".
func goroutineID() uint64 {
	var buf [64]byte
	b := buf[:runtime.Stack(buf[:], false)]
	return leadingID(bytes.TrimPrefix(b, []byte("goroutine ")))
}

func leadingID(b []byte) uint64 {
	i := 0
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	id, _ := strconv.ParseUint(string(b[:i]), 10, 64)
	return id
}

// stackOf returns the stacks of the loop's goroutine and of what runs in its
// place: the coroutine that is not suspended.
func stackOf(gid uint64) []byte {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var out []byte
	for g := range bytes.SplitSeq(buf, []byte("\n\n")) {
		head, _, _ := bytes.Cut(g, []byte("\n"))
		id := leadingID(bytes.TrimPrefix(head, []byte("goroutine ")))
		suspended := bytes.Contains(head, []byte("[coroutine"))
		body := bytes.Contains(g, []byte("created by iter.Pull"))
		if !suspended && (id == gid || body) {
			out = append(append(out, g...), '\n')
		}
	}
	return out
}

// callName names a call for reports.
func callName(r Runnable) string {
	switch r := r.(type) {
	case fmt.Stringer:
		return r.String()
	case *Handle:
		return funcName(r.fn)
	case funcCall:
		return funcName(r)
	}
	return reflect.TypeOf(r).String()
}

func funcName(fn func()) string {
	if fn == nil {
		return "canceled call"
	}
	return runtime.FuncForPC(reflect.ValueOf(fn).Pointer()).Name()
}
