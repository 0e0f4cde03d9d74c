package loop_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
)

//go:noinline
func explode() { panic("boom") }

// faulty returns a loop whose failures are collected.
func faulty(t testing.TB) (*loop.Loop, *[]*loop.CallError) {
	errs := new([]*loop.CallError)
	l := open(t, loop.Config{
		Clock:   looptest.NewClock(time.Time{}),
		OnError: func(e *loop.CallError) { *errs = append(*errs, e) },
	})
	return l, errs
}

func TestEdge010_APanicIsReportedWithItsStackAndTheRestRuns(t *testing.T) {
	for _, tt := range []struct {
		name    string
		arrange func(l *loop.Loop, fn func())
	}{
		{"CallSoon", func(l *loop.Loop, fn func()) { l.CallSoon(fn) }},
		{"Queue", func(l *loop.Loop, fn func()) { l.Queue(call(fn)) }},
		{"CallLater", func(l *loop.Loop, fn func()) { l.CallLater(0, fn) }},
		{"CallSoonThreadsafe", func(l *loop.Loop, fn func()) { _ = l.CallSoonThreadsafe(fn) }},
		{"OnDone", func(l *loop.Loop, fn func()) { settled(l).OnDone(fn) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, errs := faulty(t)
			var got record
			arrange := func(fn func()) { tt.arrange(l, fn) }
			arrange(func() {
				got.add("1")
				l.CallSoon(got.note("next turn"))
			})
			arrange(explode)
			arrange(got.note("2"))
			arrange(explode)
			arrange(got.note("3"))
			finish(t, l)
			got.want(t, "1", "2", "3", "next turn")
			if len(*errs) != 2 {
				t.Fatalf("%d reports, want 2: %v", len(*errs), *errs)
			}
			for _, e := range *errs {
				var p *coro.PanicError
				if !errors.As(e, &p) || p.Value != "boom" {
					t.Errorf("reported %v, want the panic", e)
				}
				if s := string(e.Stack()); !strings.Contains(s, "loop_test.explode") {
					t.Errorf("the stack does not name the function:\n%s", s)
				}
				if e.Op != "callback" || !strings.Contains(e.Error(), "boom") {
					t.Errorf("reported %q of %q", e.Error(), e.Op)
				}
			}
			if n := l.Stats().Panics; n != 2 {
				t.Errorf("Stats().Panics = %d, want 2", n)
			}
		})
	}
}

func TestEdge010_AfterAPanicTimersKeepTheirOrder(t *testing.T) {
	l, errs := faulty(t)
	var got record
	l.CallLater(2*time.Second, got.note("2 s"))
	l.CallLater(time.Second, func() { got.add("1 s"); panic("at 1 s") })
	l.CallLater(time.Second, func() { got.add("1 s, too"); l.CallLater(0, got.note("0 s later")) })
	l.CallLater(3*time.Second, got.note("3 s"))
	l.CallSoon(explode)
	finish(t, l)
	got.want(t, "1 s", "1 s, too", "0 s later", "2 s", "3 s")
	if len(*errs) != 2 {
		t.Errorf("%d reports, want 2", len(*errs))
	}
}

func TestEdge010_EveryCallPanicsLarge(t *testing.T) { // R33
	n := 300_000
	if raceEnabled {
		n = 10_000
	}
	reports := 0
	l := open(t, loop.Config{
		Clock:   looptest.NewClock(time.Time{}),
		OnError: func(*loop.CallError) { reports++ },
	})
	ran := 0
	for i := range n {
		l.CallSoon(func() {
			ran++
			if i%10 == 0 {
				panic(i)
			}
		})
	}
	finish(t, l)
	if ran != n || reports != n/10 {
		t.Errorf("%d calls, %d reports; want %d, %d", ran, reports, n, n/10)
	}
}

func TestAPanicWithNilIsAPanic(t *testing.T) {
	l, errs := faulty(t)
	l.CallSoon(func() { panic(nil) })
	finish(t, l)
	if len(*errs) != 1 || !errors.As((*errs)[0], new(*runtime.PanicNilError)) {
		t.Errorf("reported %v, want a PanicNilError", *errs)
	}
}

func TestEdge012_AHandlerThatPanicsIsLoggedWithWhatItWasToHandle(t *testing.T) {
	log := logged(t)
	handled := 0
	l := open(t, loop.Config{
		Clock: looptest.NewClock(time.Time{}),
		OnError: func(*loop.CallError) {
			handled++
			panic("the handler is broken")
		},
	})
	var got record
	l.CallSoon(explode)
	l.CallSoon(got.note("rest"))
	l.CallSoon(explode)
	finish(t, l)
	got.want(t, "rest")
	if handled != 2 {
		t.Errorf("the handler was called %d times, want 2", handled)
	}
	for _, want := range []string{"boom", "the handler is broken", "loop_test.explode", "OnError"} {
		if n := strings.Count(log.String(), want); n < 2 {
			t.Errorf("%q is logged %d times, want at least twice:\n%s", want, n, log)
		}
	}
}

func TestEdge012_AHandlerThatReportsIsNotCalledAgain(t *testing.T) {
	log := logged(t)
	var l *loop.Loop
	handled := 0
	l = open(t, loop.Config{
		Clock: looptest.NewClock(time.Time{}),
		OnError: func(e *loop.CallError) {
			handled++
			l.Report(&loop.CallError{Op: "handler", Err: errors.New("again")})
		},
	})
	l.CallSoon(explode)
	finish(t, l)
	if handled != 1 || !strings.Contains(log.String(), "again") {
		t.Errorf("the handler was called %d times, want once; logged:\n%s", handled, log)
	}
}

func TestWithoutAHandlerFailuresAreLogged(t *testing.T) {
	log := logged(t)
	l, err := loop.New(loop.Config{Clock: looptest.NewClock(time.Time{})})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.CallSoon(explode)
	l.CallSoon(func() {
		l.Report(&loop.CallError{Op: "flow", Name: "Task-7", Site: "a.go:1", Err: errors.New("dry")})
	})
	finish(t, l)
	for _, want := range []string{"level=ERROR", "panic: boom", "loop_test.explode", "eddy: flow Task-7 (from a.go:1): dry"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not logged:\n%s", want, log)
		}
	}
}

func TestAHandlerMayUseTheLoop(t *testing.T) {
	var got record
	var l *loop.Loop
	l = open(t, loop.Config{
		Clock:   looptest.NewClock(time.Time{}),
		OnError: func(e *loop.CallError) { l.CallSoon(got.note("queued by the handler")); l.Stop() },
	})
	l.CallSoon(explode)
	l.CallSoon(got.note("rest"))
	run(t, l)
	got.want(t, "rest")
	finish(t, l)
	got.want(t, "rest", "queued by the handler")
}

func TestAHandlerMayEndTheTest(t *testing.T) { // Fatal in OnError is Goexit
	var l *loop.Loop
	var got record
	returned := onGoroutine(t, func() {
		l, _ = loop.New(loop.Config{
			Clock:   looptest.NewClock(time.Time{}),
			OnError: func(*loop.CallError) { runtime.Goexit() },
		})
		defer l.Close()
		l.CallSoon(explode)
		_ = l.CallSoonThreadsafe(got.note("post"))
		l.Run()
	})
	if returned || !l.Closed() || l.Running() {
		t.Errorf("returned, closed, running = %v, %v, %v; want false, true, false", returned, l.Closed(), l.Running())
	}
	got.want(t, "post")
}

func init() {
	children["crash"] = func() {
		l, err := loop.New(loop.Config{Panic: loop.Crash, OnError: func(*loop.CallError) {
			fmt.Println("OnError was called")
		}})
		if err != nil {
			panic(err)
		}
		l.CallSoon(explode)
		l.Run()
		fmt.Println("still alive")
	}
}

func TestPanicCrashEndsTheProcessWithTheStack(t *testing.T) {
	out, err := child(t, "crash")
	if err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("the child ended with %v, want exit status 2", err)
	}
	for _, want := range []string{"panic: boom", "loop_test.explode"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in the output:\n%s", want, out)
		}
	}
	for _, bad := range []string{"still alive", "OnError"} {
		if strings.Contains(out, bad) {
			t.Errorf("%q is in the output:\n%s", bad, out)
		}
	}
}

func TestEdge011_ACrashThatIsRecoveredOutsideLeavesALoopThatRunsAgain(t *testing.T) {
	l := open(t, loop.Config{Clock: looptest.NewClock(time.Time{}), Panic: loop.Crash})
	var got record
	l.CallSoon(explode)
	l.CallSoon(got.note("rest"))
	wantPanic(t, func() { _ = l.Run() }, "boom")
	if l.Running() {
		t.Error("Running = true")
	}
	finish(t, l)
	got.want(t, "rest")
}

func TestGoexitInACallEndsRunsGoroutineAndClosesTheLoop(t *testing.T) { // R34
	for _, tt := range []struct {
		name    string
		arrange func(l *loop.Loop, fn func())
	}{
		{"CallSoon", func(l *loop.Loop, fn func()) { l.CallSoon(fn) }},
		{"CallLater", func(l *loop.Loop, fn func()) { l.CallLater(time.Millisecond, fn) }},
		{"CallSoonThreadsafe", func(l *loop.Loop, fn func()) { _ = l.CallSoonThreadsafe(fn) }},
		{"OnDone", func(l *loop.Loop, fn func()) { settled(l).OnDone(fn) }},
	} {
		for _, clock := range []struct {
			name string
			open func(testing.TB) *loop.Loop
		}{{"virtual", virtual}, {"real", real}} {
			t.Run(tt.name+" "+clock.name, func(t *testing.T) {
				l := clock.open(t)
				var got record
				l.OnClose(func(context.Context) error { got.add("OnClose 1"); return nil })
				l.OnClose(func(context.Context) error { got.add("OnClose 2"); return nil })
				l.OnClose(func(context.Context) error { got.add("OnClose 3"); return nil })
				silent := false
				returned := onGoroutine(t, func() {
					defer func() { silent = recover() == nil }()
					tt.arrange(l, func() {
						l.CallSoon(func() { t.Error("a call queued before Goexit was made") })
						runtime.Goexit()
					})
					_ = l.Run()
				})
				if returned || !silent {
					t.Errorf("Run returned: %v, without panic: %v; want false, true", returned, silent)
				}
				if !l.Closed() || l.Running() {
					t.Errorf("Closed, Running = %v, %v; want true, false", l.Closed(), l.Running())
				}
				select {
				case <-l.Ended():
				default:
					t.Error("Ended is open")
				}
				got.want(t, "OnClose 3", "OnClose 2", "OnClose 1")
			})
		}
	}
}

func TestGoexitMakesTheRestOfTheBatchAndThePosts(t *testing.T) {
	l := virtual(t)
	var got record
	onGoroutine(t, func() {
		l.CallSoon(got.note("1"))
		l.CallSoon(func() {
			_ = l.CallSoonThreadsafe(got.note("post"))
			runtime.Goexit()
		})
		l.CallSoon(got.note("2"))
		_ = l.Run()
	})
	got.want(t, "1", "2", "post")
}

// TestGoexitTwice: what is called while the loop closes calls Goexit, too, as
// t.FailNow in two places does. Nothing may be left half closed.
func TestGoexitTwice(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(l *loop.Loop)
	}{
		{"in two calls of a batch", func(l *loop.Loop) {
			l.CallSoon(runtime.Goexit)
			l.CallSoon(runtime.Goexit)
		}},
		{"in a call and in OnClose", func(l *loop.Loop) {
			l.CallSoon(runtime.Goexit)
			l.OnClose(func(context.Context) error { runtime.Goexit(); return nil })
		}},
		{"in a call and in a post", func(l *loop.Loop) {
			l.CallSoon(func() {
				_ = l.CallSoonThreadsafe(runtime.Goexit)
				runtime.Goexit()
			})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got record
			l := real(t)
			l.OnClose(func(context.Context) error { got.add("OnClose"); return nil })
			l.CallSoon(func() { _ = l.CallSoonThreadsafe(got.note("post")) })
			tt.prepare(l)
			returned := onGoroutine(t, func() {
				defer l.Close()
				_ = l.Run()
			})
			if returned || !l.Closed() {
				t.Errorf("returned, closed = %v, %v; want false, true", returned, l.Closed())
			}
			select {
			case <-l.Ended():
			default:
				t.Error("Ended is open: who waits for it hangs")
			}
			if err := l.CallSoonThreadsafe(func() {}); !errors.Is(err, loop.ErrClosed) {
				t.Errorf("CallSoonThreadsafe = %v, want %v", err, loop.ErrClosed)
			}
			got.want(t, "OnClose", "post")
		})
	}
}

func TestGoexitInOnCloseClosesTheLoopAllTheSame(t *testing.T) { // t.Fatal in a cleanup
	l := real(t)
	var got record
	l.OnClose(func(context.Context) error { got.add("first"); return nil })
	l.OnClose(func(context.Context) error { runtime.Goexit(); return nil })
	returned := onGoroutine(t, func() { _ = l.Close() })
	if returned || !l.Closed() {
		t.Errorf("returned, closed = %v, %v; want false, true", returned, l.Closed())
	}
	got.want(t, "first")
}

func init() {
	children["locked"] = func() {
		// Coroutines are bound to the thread and its lock state at their making.
		l, err := loop.New(loop.Config{LockThread: true})
		if err != nil {
			panic(err)
		}
		c := coro.NewIn(l.Coroutines(), func(yield func(int) (int, error)) (int, error) {
			for {
				if _, err := yield(1); err != nil {
					return 0, nil
				}
			}
		})
		for range 3 { // Run by Run, with a coroutine suspended in between
			f, p := future.New[int](l)
			l.CallSoon(func() {
				c.Next()
				short := coro.NewIn(l.Coroutines(), func(func(int) (int, error)) (int, error) { return 2, nil })
				short.Next()
				p.Resolve(1)
			})
			if err := l.RunUntil(f); err != nil {
				panic(err)
			}
		}
		l.CallSoon(func() { fmt.Println("closing:", c.Close()); l.Stop() })
		if err := l.Run(); err != nil {
			panic(err)
		}
		if err := l.Close(); err != nil { // frees the pool
			panic(err)
		}
		fmt.Println("closed")
	}
	children["locked goexit"] = func() {
		done := make(chan bool)
		go func() {
			defer close(done)
			l, err := loop.New(loop.Config{LockThread: true})
			if err != nil {
				panic(err)
			}
			l.CallSoon(func() {
				coro.NewIn(l.Coroutines(), func(func(int) (int, error)) (int, error) { return 2, nil }).Next()
				runtime.Goexit()
			})
			l.Run()
		}()
		<-done
		fmt.Println("closed")
	}
}

func TestLockThreadWorksWithCoroutines(t *testing.T) { // R35: a mistake is a fatal error of the runtime
	for _, name := range []string{"locked", "locked goexit"} {
		t.Run(name, func(t *testing.T) {
			out, err := child(t, name)
			if err != nil || !strings.Contains(out, "closed") {
				t.Errorf("the child ended with %v:\n%.500s", err, out)
			}
		})
	}
}

func TestCallError(t *testing.T) {
	plain := errors.New("dry")
	for _, tt := range []struct {
		e    *loop.CallError
		want string
	}{
		{&loop.CallError{Op: "flow", Err: plain}, "eddy: flow: dry"},
		{&loop.CallError{Op: "flow", Name: "x", Err: plain}, "eddy: flow x: dry"},
		{&loop.CallError{Op: "flow", Name: "x", Site: "f.go:1", Err: plain}, "eddy: flow x (from f.go:1): dry"},
	} {
		if got := tt.e.Error(); got != tt.want {
			t.Errorf("Error = %q, want %q", got, tt.want)
		}
		if !errors.Is(tt.e, plain) || tt.e.Stack() != nil {
			t.Errorf("%q: Unwrap or Stack is wrong", tt.want)
		}
	}
}
