package coro_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/internal/cputime"
)

// An echo is a coroutine that takes and yields strings.
type echo = coro.Coro[string, string, string]

type yieldFunc = func(string) (string, error)

func start(body func(yield yieldFunc) (string, error)) *echo {
	return coro.New(body)
}

var errTest = errors.New("thrown")

// said is what a call on a coroutine returned, in a word.
func said(v string, ok bool) string {
	if !ok {
		return "end"
	}
	return "yield " + v
}

func outcome(c *echo) string {
	v, err := c.Result()
	if err != nil {
		return "error: " + err.Error()
	}
	return "result " + v
}

// parrot yields what it is sent, starting with "hello", until it is sent "stop"
// or thrown something, which it returns.
func parrot(yield yieldFunc) (string, error) {
	for say := "hello"; ; {
		heard, err := yield(say)
		if err != nil {
			return "last " + say, err
		}
		if heard == "stop" {
			return "stopped", nil
		}
		say = "<" + heard + ">"
	}
}

// stubborn yields whatever it is thrown, three times.
func stubborn(yield yieldFunc) (string, error) {
	for range 3 {
		if _, err := yield("no"); err != nil {
			continue
		}
	}
	return "enough", nil
}

// TestProtocol is Python's generator protocol (PEP 342) as a table: what each
// call returns, and where it leaves the coroutine.
func TestProtocol(t *testing.T) {
	next := func(c *echo) string { return said(c.Next()) }
	send := func(v string) func(c *echo) string {
		return func(c *echo) string { return said(c.Send(v)) }
	}
	throw := func(c *echo) string { return said(c.Throw(errTest)) }
	shut := func(c *echo) string { return fmt.Sprint("closed ", c.Close()) }
	type step struct {
		do    func(c *echo) string
		want  string
		state coro.State
	}
	for _, tt := range []struct {
		name    string
		body    func(yield yieldFunc) (string, error)
		steps   []step
		outcome string
	}{
		{"never started", parrot, nil, "error: coro: not done"},
		{"Next, Send and the end", parrot, []step{
			{next, "yield hello", coro.Suspended},
			{send("a"), "yield <a>", coro.Suspended},
			{next, "yield <>", coro.Suspended},
			{send("stop"), "end", coro.Closed},
			{next, "end", coro.Closed},
			{send("x"), "end", coro.Closed},
			{throw, "end", coro.Closed},
			{shut, "closed <nil>", coro.Closed},
		}, "result stopped"},
		{"Throw that is not caught", parrot, []step{
			{next, "yield hello", coro.Suspended},
			{throw, "end", coro.Closed},
			{next, "end", coro.Closed},
		}, "error: thrown"},
		{"Throw that is caught", stubborn, []step{
			{next, "yield no", coro.Suspended},
			{throw, "yield no", coro.Suspended},
			{next, "yield no", coro.Suspended},
			{throw, "end", coro.Closed},
		}, "result enough"},
		{"Throw before the start", parrot, []step{
			{throw, "end", coro.Closed},
			{next, "end", coro.Closed},
		}, "error: thrown"},
		{"Close before the start", parrot, []step{
			{shut, "closed <nil>", coro.Closed},
			{next, "end", coro.Closed},
			{shut, "closed <nil>", coro.Closed},
		}, "error: coro: closed"},
		{"Close", parrot, []step{
			{next, "yield hello", coro.Suspended},
			{shut, "closed <nil>", coro.Closed},
			{shut, "closed <nil>", coro.Closed},
			{next, "end", coro.Closed},
		}, "error: coro: closed"},
		{"Close of a body that returns a value in reply", func(yield yieldFunc) (string, error) {
			_, err := yield("")
			return "told: " + err.Error(), nil
		}, []step{
			{next, "yield ", coro.Suspended},
			{shut, "closed <nil>", coro.Closed},
		}, "result told: coro: closed"},
		{"Close of a body that fails in reply", func(yield yieldFunc) (string, error) {
			_, _ = yield("")
			return "", errTest
		}, []step{
			{next, "yield ", coro.Suspended},
			{shut, "closed thrown", coro.Closed},
			{shut, "closed <nil>", coro.Closed},
		}, "error: thrown"},
		{"Close of a body that wraps the error in reply", func(yield yieldFunc) (string, error) {
			_, err := yield("")
			return "", fmt.Errorf("reading: %w", err)
		}, []step{
			{next, "yield ", coro.Suspended},
			{shut, "closed <nil>", coro.Closed},
		}, "error: reading: coro: closed"},
		{"Close of a body that yields in reply", stubborn, []step{
			{next, "yield no", coro.Suspended},
			{shut, "closed " + coro.ErrIgnoredClose.Error(), coro.Closed},
			{shut, "closed <nil>", coro.Closed},
			{next, "end", coro.Closed},
		}, "error: " + coro.ErrIgnoredClose.Error()},
		{"a body that ends at once", func(yieldFunc) (string, error) { return "done", nil }, []step{
			{next, "end", coro.Closed},
		}, "result done"},
		{"a body that fails", func(yieldFunc) (string, error) { return "half", errTest }, []step{
			{next, "end", coro.Closed},
		}, "error: thrown"},
		{"a body that panics", func(yieldFunc) (string, error) { panic("boom") }, []step{
			{next, "end", coro.Closed},
			{next, "end", coro.Closed},
			{shut, "closed <nil>", coro.Closed},
		}, "error: panic: boom"},
		{"a body that panics when closed", func(yield yieldFunc) (string, error) {
			_, _ = yield("")
			panic("boom")
		}, []step{
			{next, "yield ", coro.Suspended},
			{shut, "closed panic: boom", coro.Closed},
		}, "error: panic: boom"},
	} {
		for _, from := range []struct {
			name string
			pool *coro.Pool
		}{{"", nil}, {" in a pool", new(coro.Pool)}} {
			t.Run(tt.name+from.name, func(t *testing.T) {
				c := coro.NewIn(from.pool, tt.body)
				if c.State() != coro.Created {
					t.Errorf("State = %v, want %v", c.State(), coro.Created)
				}
				for i, s := range tt.steps {
					if got := s.do(c); got != s.want {
						t.Errorf("step %d: got %q, want %q", i, got, s.want)
					}
					if c.State() != s.state {
						t.Errorf("step %d: State = %v, want %v", i, c.State(), s.state)
					}
				}
				if got := outcome(c); got != tt.outcome {
					t.Errorf("outcome %q, want %q", got, tt.outcome)
				}
				if from.pool != nil {
					from.pool.Close()
				}
			})
		}
	}
}

func TestStatesHaveNames(t *testing.T) {
	for s, want := range map[coro.State]string{
		coro.Created: "created", coro.Running: "running", coro.Suspended: "suspended", coro.Closed: "closed",
	} {
		if got := s.String(); got != want {
			t.Errorf("String = %q, want %q", got, want)
		}
	}
}

func TestSendBeforeTheStartPanics(t *testing.T) {
	c := start(parrot)
	wantPanic(t, "coro: Send to a coroutine that has not started", func() { c.Send("x") })
	if c.State() != coro.Created {
		t.Errorf("State = %v, want %v", c.State(), coro.Created)
	}
	if v, ok := c.Next(); v != "hello" || !ok {
		t.Errorf("Next = %q, %v; want hello, true", v, ok)
	}
	c.Close()
}

func TestABodyCannotResumeOrCloseItself(t *testing.T) {
	for name, try := range map[string]func(c *echo){
		"Next":  func(c *echo) { c.Next() },
		"Send":  func(c *echo) { c.Send("") },
		"Throw": func(c *echo) { c.Throw(errTest) },
	} {
		t.Run(name, func(t *testing.T) {
			var c *echo
			c = start(func(yield yieldFunc) (string, error) {
				if c.State() != coro.Running {
					t.Errorf("State = %v, want %v", c.State(), coro.Running)
				}
				if _, err := c.Result(); err != coro.ErrNotDone {
					t.Errorf("Result = %v, want %v", err, coro.ErrNotDone)
				}
				wantPanic(t, "coro: resumed while running", func() { try(c) })
				wantPanic(t, "coro: closed while running", func() { c.Close() })
				if _, err := yield("still here"); err != nil {
					return "", err
				}
				return "done", nil
			})
			if got := said(c.Next()); got != "yield still here" {
				t.Errorf("Next: %q", got)
			}
			c.Next()
			if got := outcome(c); got != "result done" {
				t.Errorf("outcome %q, want result done", got)
			}
		})
	}
}

func TestACoroutineCannotBeResumedByOneThatItHasResumed(t *testing.T) {
	var outer, inner *echo
	outer = start(func(yield yieldFunc) (string, error) {
		inner = start(func(yieldFunc) (string, error) {
			if outer.State() != coro.Running {
				t.Errorf("State of the outer = %v, want %v", outer.State(), coro.Running)
			}
			wantPanic(t, "coro: resumed while running", func() { outer.Next() })
			wantPanic(t, "coro: closed while running", func() { outer.Close() })
			return "", nil
		})
		inner.Next()
		return "", nil
	})
	outer.Next()
}

func TestABodyThatIgnoresCloseIsUnwoundAndItsDefersRunOnce(t *testing.T) {
	var got record
	c := start(func(yield yieldFunc) (string, error) {
		defer got.add("first")
		defer func() {
			defer got.add("second")
			_, err := yield("in a deferred call")
			got.add(fmt.Sprint("unreachable: ", err))
		}()
		for {
			_, _ = yield("no")
		}
	})
	c.Next()
	if err := c.Close(); err != coro.ErrIgnoredClose {
		t.Errorf("Close = %v, want %v", err, coro.ErrIgnoredClose)
	}
	got.want(t, "second", "first")
}

func TestWhatABodyRecoversWhenItIsUnwoundIsLegible(t *testing.T) {
	var got string
	c := start(func(yield yieldFunc) (string, error) {
		defer func() { got = fmt.Sprint(recover()) }()
		_, _ = yield("")
		_, _ = yield("")
		return "", nil
	})
	c.Next()
	_ = c.Close()
	if want := "coro: unwinding a body that was closed"; got != want {
		t.Errorf("recovered %q, want %q", got, want)
	}
}

// immortal recovers from being unwound n times.
//
//go:noinline
func immortal(yield yieldFunc, n int, tries *int) (string, error) {
	for range n {
		func() {
			defer func() { recover() }()
			*tries++
			_, _ = yield("")
		}()
	}
	return "", nil
}

func TestABodyThatRecoversIsUnwoundAgainUpToALimit(t *testing.T) {
	for _, tt := range []struct {
		recovers int
		leaked   int
	}{{1, 0}, {2, 0}, {90, 0}, {10_000, 1}} { // the last stays for ever
		t.Run(strconv.Itoa(tt.recovers), func(t *testing.T) {
			before := suspended("coro_test.immortal")
			tries := 0
			c := start(func(yield yieldFunc) (string, error) { return immortal(yield, tt.recovers, &tries) })
			c.Next()
			err := c.Close()
			if tt.recovers > 1 && err != coro.ErrIgnoredClose {
				t.Errorf("Close = %v, want %v", err, coro.ErrIgnoredClose)
			}
			if c.State() != coro.Closed {
				t.Errorf("State = %v, want %v", c.State(), coro.Closed)
			}
			if n := suspended("coro_test.immortal") - before; n != tt.leaked {
				t.Errorf("%d stacks are left after %d tries, want %d", n, tries, tt.leaked)
			}
			if tries > 1000 {
				t.Errorf("%d tries: that is no limit", tries)
			}
		})
	}
}

func TestAPanicOfADeferredCallDuringUnwindingIsNotLost(t *testing.T) {
	c := start(func(yield yieldFunc) (string, error) {
		defer func() { panic("in a deferred call") }()
		_, _ = yield("")
		_, _ = yield("")
		return "", nil
	})
	c.Next()
	err := c.Close()
	if !errors.Is(err, coro.ErrIgnoredClose) {
		t.Errorf("Close = %v, want %v", err, coro.ErrIgnoredClose)
	}
	var p *coro.PanicError
	if !errors.As(err, &p) || p.Value != "in a deferred call" {
		t.Errorf("Close = %v, want the panic in it", err)
	}
}

//go:noinline
func explode() { panic(errTest) }

func TestAPanicOfABodyIsAnErrorWithItsStack(t *testing.T) {
	c := start(func(yield yieldFunc) (string, error) {
		_, _ = yield("")
		explode()
		return "", nil
	})
	c.Next()
	if _, ok := c.Next(); ok {
		t.Error("Next = true, want false")
	}
	_, err := c.Result()
	var p *coro.PanicError
	if !errors.As(err, &p) {
		t.Fatalf("Result = %v, want a PanicError", err)
	}
	if p.Value != any(errTest) || !errors.Is(err, errTest) {
		t.Errorf("the value is %v, want %v, and to be found by errors.Is", p.Value, errTest)
	}
	if !strings.Contains(string(p.Stack), "coro_test.explode") {
		t.Errorf("the stack does not name the function:\n%s", p.Stack)
	}
}

func TestAPanicWithNilIsAPanic(t *testing.T) {
	c := start(func(yieldFunc) (string, error) { panic(nil) })
	c.Next()
	if _, err := c.Result(); !errors.As(err, new(*runtime.PanicNilError)) {
		t.Errorf("Result = %v, want a PanicNilError", err)
	}
}

func TestPanicErrorOfAValueThatIsNoError(t *testing.T) {
	p := coro.NewPanicError(42)
	if p.Error() != "panic: 42" || p.Unwrap() != nil {
		t.Errorf("Error, Unwrap = %q, %v; want panic: 42, nil", p.Error(), p.Unwrap())
	}
}

func TestGoexitInABodyEndsTheResumersGoroutine(t *testing.T) {
	for _, tt := range []struct {
		name string
		body func(yield yieldFunc) (string, error)
		end  func(c *echo) // resumes the body
	}{
		{"at the start", func(yield yieldFunc) (string, error) {
			runtime.Goexit()
			return "", nil
		}, func(c *echo) { c.Next() }},
		{"later", func(yield yieldFunc) (string, error) {
			_, _ = yield("")
			runtime.Goexit()
			return "", nil
		}, func(c *echo) { c.Next(); c.Send("") }},
		{"when closed", func(yield yieldFunc) (string, error) {
			_, _ = yield("")
			runtime.Goexit()
			return "", nil
		}, func(c *echo) { c.Next(); _ = c.Close() }},
		{"in a deferred call while it is unwound", func(yield yieldFunc) (string, error) {
			defer runtime.Goexit()
			_, _ = yield("")
			_, _ = yield("")
			return "", nil
		}, func(c *echo) { c.Next(); _ = c.Close() }},
		{"in a coroutine of a coroutine", func(yield yieldFunc) (string, error) {
			inner := start(func(yieldFunc) (string, error) {
				runtime.Goexit()
				return "", nil
			})
			inner.Next()
			return "unreachable", nil
		}, func(c *echo) { c.Next() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := suspended("coro_test.TestGoexitInABody")
			var got record
			pool := new(coro.Pool)
			var c *echo
			silent := false
			returned := onGoroutine(t, func() {
				defer func() { silent = recover() == nil }()
				c = coro.NewIn(pool, func(yield yieldFunc) (string, error) {
					defer got.add("deferred")
					return tt.body(yield)
				})
				tt.end(c)
			})
			if returned || !silent {
				t.Errorf("returned %v, without panic %v; want false, true", returned, silent)
			}
			if c.State() != coro.Closed {
				t.Errorf("State = %v, want %v", c.State(), coro.Closed)
			}
			if _, err := c.Result(); err == nil {
				t.Error("Result has no error")
			}
			got.want(t, "deferred")
			if pool.Idle() != 0 {
				t.Error("a worker that is spent is in the pool")
			}
			pool.Close()
			if n := suspended("coro_test.TestGoexitInABody") - before; n != 0 {
				t.Errorf("%d stacks are left", n)
			}
		})
	}
}

// count yields "0", "1", … and notes its end.
func count(n int, got *record) func(yield yieldFunc) (string, error) {
	return func(yield yieldFunc) (string, error) {
		defer got.add("ended")
		for i := range n {
			if _, err := yield(strconv.Itoa(i)); err != nil {
				return "", err
			}
		}
		return "all", nil
	}
}

func TestAll(t *testing.T) {
	var got record
	c := start(count(3, &got))
	for v := range c.All() {
		got.add(v)
	}
	got.want(t, "0", "1", "2", "ended")
	if s := outcome(c); s != "result all" {
		t.Errorf("outcome %q, want result all", s)
	}
	for range c.All() {
		t.Error("All of a closed coroutine yields")
	}
}

func TestLeavingAllEarlyClosesTheCoroutine(t *testing.T) {
	for _, tt := range []struct {
		name string
		loop func(c *echo)
	}{
		{"break", func(c *echo) {
			for range c.All() {
				break
			}
		}},
		{"return", func(c *echo) {
			for range c.All() {
				return
			}
		}},
		{"panic", func(c *echo) {
			defer func() { recover() }()
			for range c.All() {
				panic("in the loop")
			}
		}},
		{"Goexit, as t.Fatal", func(c *echo) {
			onGoroutine(t, func() {
				for range c.All() {
					runtime.Goexit()
				}
			})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got record
			c := start(count(3, &got))
			defer c.Close() // whatever the test finds
			tt.loop(c)
			if c.State() != coro.Closed {
				t.Errorf("State = %v, want %v", c.State(), coro.Closed)
			}
			got.want(t, "ended")
		})
	}
}

func TestAPanicOfTheBodyGoesOnInTheLoopOfAll(t *testing.T) {
	c := start(func(yield yieldFunc) (string, error) {
		_, _ = yield("")
		explode()
		return "", nil
	})
	n := 0
	defer func() {
		p, ok := recover().(*coro.PanicError)
		if !ok || p.Value != any(errTest) || !strings.Contains(string(p.Stack), "coro_test.explode") {
			t.Errorf("recovered %v, want a PanicError with its stack", p)
		}
		if n != 1 {
			t.Errorf("%d values, want 1", n)
		}
	}()
	for range c.All() {
		n++
	}
}

// walk yields the numbers of a tree in order, by recursion through coroutines, as
// Python's yield from.
func walk(pool *coro.Pool, low, high int) *coro.Coro[struct{}, int, struct{}] {
	return coro.NewIn(pool, func(yield func(int) (struct{}, error)) (none struct{}, err error) {
		if low >= high {
			return none, nil
		}
		mid := (low + high) / 2
		for v := range walk(pool, low, mid).All() {
			if _, err := yield(v); err != nil {
				return none, err
			}
		}
		if _, err := yield(mid); err != nil {
			return none, err
		}
		for v := range walk(pool, mid+1, high).All() {
			if _, err := yield(v); err != nil {
				return none, err
			}
		}
		return none, nil
	})
}

func TestNestedCoroutines(t *testing.T) {
	pool := new(coro.Pool)
	defer pool.Close()
	var got, want []int
	for v := range walk(pool, 0, 100).All() {
		got = append(got, v)
		want = append(want, len(want))
	}
	if !slices.Equal(got, want) || len(got) != 100 {
		t.Errorf("walked %v", got)
	}
	for v := range walk(pool, 0, 100).All() { // closes eight levels
		if v == 37 {
			break
		}
	}
	if n := suspended("coro_test.walk"); n != 0 {
		t.Errorf("%d coroutines are suspended after break", n)
	}
}

func TestTwoCoroutinesResumedInTurns(t *testing.T) {
	var got record
	a, b := start(count(2, &got)), start(count(3, &got))
	for a.State() != coro.Closed || b.State() != coro.Closed {
		if v, ok := a.Next(); ok {
			got.add("a" + v)
		}
		if v, ok := b.Next(); ok {
			got.add("b" + v)
		}
	}
	got.want(t, "a0", "b0", "a1", "b1", "ended", "b2", "ended")
}

func TestYieldFromInsideANestedCoroutine(t *testing.T) {
	var got record
	var inner *echo
	outer := start(func(yieldOuter yieldFunc) (string, error) {
		defer got.add("outer ended")
		inner = start(func(yield yieldFunc) (string, error) {
			defer got.add("inner ended")
			heard, err := yieldOuter("from inside, to outside")
			if err != nil {
				return "", err
			}
			got.add("inner heard " + heard)
			return "", nil
		})
		if _, ok := inner.Next(); ok {
			t.Error("the inner coroutine yielded")
		}
		got.add(outcome(inner))
		return "done", nil
	})
	if v, _ := outer.Next(); v != "from inside, to outside" {
		t.Errorf("Next = %q", v)
	}
	if outer.State() != coro.Suspended || inner.State() != coro.Running {
		t.Errorf("outer %v, inner %v; want suspended, running", outer.State(), inner.State())
	}
	outer.Send("hello")
	got.want(t, "inner heard hello", "inner ended", "result ", "outer ended")
	if s := outcome(outer); s != "result done" {
		t.Errorf("outcome %q, want result done", s)
	}
}

func TestCloseReachesANestedCoroutineThatYieldedForTheOuter(t *testing.T) {
	var got record
	outer := start(func(yieldOuter yieldFunc) (string, error) {
		defer got.add("outer ended")
		inner := start(func(yield yieldFunc) (string, error) {
			defer got.add("inner ended")
			_, err := yieldOuter("")
			return "", err
		})
		inner.Next()
		_, err := inner.Result()
		return "", err
	})
	outer.Next()
	if err := outer.Close(); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
	got.want(t, "inner ended", "outer ended")
}

// TestAHundredThousandSuspendedAreClosedSoonLarge is part of R45.
func TestAHundredThousandSuspendedAreClosedSoonLarge(t *testing.T) {
	n := 100_000
	if raceEnabled {
		n = 2000 // the race detector has room for 8,128 goroutines
	}
	pool := new(coro.Pool)
	ended := 0
	all := make([]*echo, n)
	start := cputime.Used()
	for i := range all {
		all[i] = coro.NewIn(pool, func(yield yieldFunc) (string, error) {
			defer func() { ended++ }()
			for {
				if _, err := yield(""); err != nil && i%2 == 0 {
					return "", err // the others are unwound
				}
			}
		})
		all[i].Next()
	}
	made := cputime.Used() - start
	start = cputime.Used()
	for i, c := range all {
		if err := c.Close(); (err != nil) != (i%2 == 1) {
			t.Fatalf("Close of %d = %v", i, err)
		}
	}
	if pool.Idle() > 2000 {
		t.Errorf("%d stacks are kept", pool.Idle())
	}
	pool.Close()
	took := cputime.Used() - start
	t.Logf("%d made in %v, closed in %v", n, made.Round(time.Millisecond), took.Round(time.Millisecond))
	if ended != n || took > 2*time.Second {
		t.Errorf("%d of %d ended in %v, want all within 2 s", ended, n, took)
	}
}

func ExampleCoro() {
	fib := coro.New(func(yield func(int) (struct{}, error)) (string, error) {
		for a, b := 0, 1; ; a, b = b, a+b {
			if _, err := yield(a); err != nil {
				return "closed", nil
			}
		}
	})
	for v := range fib.All() {
		if v > 10 {
			break
		}
		fmt.Print(v, " ")
	}
	fmt.Println(fib.Result())
	// Output: 0 1 1 2 3 5 8 closed <nil>
}
