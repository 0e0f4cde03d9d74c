package coro_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

// TestDelegate is Python's yield from (PEP 380) as a table: an outer coroutine
// delegates to an inner one and then returns what Delegate returned.
func TestDelegate(t *testing.T) {
	next := func(c *echo) string { return said(c.Next()) }
	send := func(v string) func(c *echo) string {
		return func(c *echo) string { return said(c.Send(v)) }
	}
	throw := func(err error) func(c *echo) string {
		return func(c *echo) string { return said(c.Throw(err)) }
	}
	shut := func(c *echo) string { return fmt.Sprint("closed ", c.Close()) }
	wrapped := fmt.Errorf("wrapped: %w", coro.ErrClosed)
	joined := errors.Join(coro.ErrClosed, errTest)
	type step struct {
		do   func(c *echo) string
		want string
	}
	for _, tt := range []struct {
		name    string
		inner   func(yield yieldFunc) (string, error)
		steps   []step
		outcome string // of the outer
		closed  string // outcome of the inner
	}{
		{"Next, Send, and the value of the end", parrot, []step{
			{next, "yield hello"}, {send("a"), "yield <a>"}, {next, "yield <>"}, {send("stop"), "end"},
		}, "result stopped", "result stopped"},
		{"an inner that yields nothing", func(yieldFunc) (string, error) { return "at once", nil }, []step{
			{next, "end"},
		}, "result at once", "result at once"},
		{"an inner that fails", func(yieldFunc) (string, error) { return "", errTest }, []step{
			{next, "end"},
		}, "error: thrown", "error: thrown"},
		{"Throw that the inner catches", func(yield yieldFunc) (string, error) {
			_, err := yield("1")
			_, _ = yield("caught " + err.Error())
			return "went on", nil
		}, []step{
			{next, "yield 1"}, {throw(errTest), "yield caught thrown"}, {next, "end"},
		}, "result went on", "result went on"},
		{"Throw that the inner does not catch", parrot, []step{
			{next, "yield hello"}, {throw(errTest), "end"},
		}, "error: thrown", "error: thrown"},
		{"Close", parrot, []step{
			{next, "yield hello"}, {shut, "closed <nil>"},
		}, "error: coro: closed", "error: coro: closed"},
		{"Close of an inner that returns a value in reply", func(yield yieldFunc) (string, error) {
			_, _ = yield("")
			return "lost", nil
		}, []step{
			{next, "yield "}, {shut, "closed <nil>"},
		}, "error: coro: closed", "result lost"},
		{"Close of an inner that fails in reply", func(yield yieldFunc) (string, error) {
			_, _ = yield("")
			return "", errTest
		}, []step{
			{next, "yield "}, {shut, "closed thrown"},
		}, "error: thrown", "error: thrown"},
		{"Close of an inner that yields in reply", stubborn, []step{
			{next, "yield no"}, {shut, "closed " + coro.ErrIgnoredClose.Error()},
		}, "error: " + coro.ErrIgnoredClose.Error(), "error: " + coro.ErrIgnoredClose.Error()},
		{"Throw of an error that wraps ErrClosed closes", stubborn, []step{
			{next, "yield no"}, {throw(wrapped), "end"},
		}, "error: " + coro.ErrIgnoredClose.Error(), "error: " + coro.ErrIgnoredClose.Error()},
		{"Throw of ErrClosed joined to a failure throws", stubborn, []step{
			{next, "yield no"}, {throw(joined), "yield no"}, {next, "yield no"}, {next, "end"},
		}, "result enough", "result enough"},
		{"an inner that panics", func(yield yieldFunc) (string, error) {
			_, _ = yield("")
			panic("boom")
		}, []step{
			{next, "yield "}, {next, "end"},
		}, "error: panic: boom", "error: panic: boom"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inner := start(tt.inner)
			outer := start(func(yield yieldFunc) (string, error) { return coro.Delegate(yield, inner) })
			for i, s := range tt.steps {
				if got := s.do(outer); got != s.want {
					t.Errorf("step %d: got %q, want %q", i, got, s.want)
				}
			}
			if got := outcome(outer); got != tt.outcome {
				t.Errorf("outcome %q, want %q", got, tt.outcome)
			}
			if got := outcome(inner); got != tt.closed {
				t.Errorf("outcome of the inner %q, want %q", got, tt.closed)
			}
		})
	}
}

func TestABodyGoesOnAfterDelegating(t *testing.T) {
	c := start(func(yield yieldFunc) (string, error) {
		v, err := coro.Delegate(yield, start(parrot))
		if err == nil {
			return "", errors.New("the inner did not fail")
		}
		heard, err := yield("rescued " + v)
		if err != nil {
			return "", err
		}
		half := start(parrot)
		half.Next() // started by somebody else: Delegate goes on from there
		v, err = coro.Delegate(yield, half)
		if err != nil {
			return "", err
		}
		again, err := coro.Delegate(yield, half) // has ended: its outcome again
		return heard + " " + v + " " + again, err
	})
	var got record
	got.add(said(c.Next()))
	got.add(said(c.Throw(errTest)))
	got.add(said(c.Send("x")))
	got.add(said(c.Send("stop")))
	got.want(t, "yield hello", "yield rescued last hello", "yield <>", "end")
	if s := outcome(c); s != "result x stopped stopped" {
		t.Errorf("outcome %q", s)
	}
}

// tree yields the numbers of a tree in order, one coroutine a node.
func tree(pool *coro.Pool, low, high int) *coro.Coro[struct{}, int, int] {
	return coro.NewIn(pool, func(yield func(int) (struct{}, error)) (nodes int, err error) {
		if low >= high {
			return 0, nil
		}
		mid := (low + high) / 2
		left, err := coro.Delegate(yield, tree(pool, low, mid))
		if err != nil {
			return 0, err
		}
		if _, err := yield(mid); err != nil {
			return 0, err
		}
		right, err := coro.Delegate(yield, tree(pool, mid+1, high))
		return left + 1 + right, err
	})
}

func TestDelegationThroughManyLevels(t *testing.T) {
	pool := new(coro.Pool)
	defer pool.Close()
	var got, want []int
	c := tree(pool, 0, 100)
	for v := range c.All() {
		got = append(got, v)
		want = append(want, len(want))
	}
	if n, err := c.Result(); n != 100 || err != nil || !slices.Equal(got, want) {
		t.Errorf("Result = %d, %v; values %v", n, err, got)
	}
	c = tree(pool, 0, 100)
	for v := range c.All() {
		if v == 37 {
			break
		}
	}
	if n := suspended("coro_test.tree"); n != 0 {
		t.Errorf("%d coroutines are suspended after break", n)
	}
	if _, err := c.Result(); err != coro.ErrClosed {
		t.Errorf("Result = %v, want %v", err, coro.ErrClosed)
	}
}

func TestDelegateClosesTheInnerHoweverTheBodyEnds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		yield func(yield yieldFunc) yieldFunc // what Delegate is given
		end   func(c *echo)
	}{
		{"unwound", func(yield yieldFunc) yieldFunc {
			return func(v string) (string, error) {
				_, _ = yield(v)
				return yield("ignored it")
			}
		}, func(c *echo) { _ = c.Close() }},
		{"panic", func(yield yieldFunc) yieldFunc {
			return func(v string) (string, error) {
				_, _ = yield(v)
				panic("boom")
			}
		}, func(c *echo) { c.Next() }},
		{"Goexit", func(yield yieldFunc) yieldFunc {
			return func(v string) (string, error) {
				_, _ = yield(v)
				runtime.Goexit()
				return "", nil
			}
		}, func(c *echo) { onGoroutine(t, func() { c.Next() }) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got record
			inner := start(count(3, &got))
			outer := start(func(yield yieldFunc) (string, error) {
				defer got.add("outer ended")
				return coro.Delegate(tt.yield(yield), inner)
			})
			outer.Next()
			tt.end(outer)
			got.want(t, "ended", "outer ended")
			if inner.State() != coro.Closed || outer.State() != coro.Closed {
				t.Errorf("inner %v, outer %v; want both closed", inner.State(), outer.State())
			}
		})
	}
}

func TestACoroutineCannotDelegateToItself(t *testing.T) {
	var c *echo
	c = start(func(yield yieldFunc) (string, error) {
		wantPanic(t, "coro: resumed while running", func() { _, _ = coro.Delegate(yield, c) })
		return "", nil
	})
	c.Next()
}

func TestDelegateSeq(t *testing.T) {
	for _, tt := range []struct {
		name    string
		end     func(c *echo) string
		want    []string
		outcome string
	}{
		{"to the end", func(c *echo) string {
			return said(c.Send("dropped")) + ", " + said(c.Next()) + ", " + said(c.Next())
		}, []string{"yield 1", "yield 2, yield 3, end", "seq ended"}, "result done"},
		{
			"Throw", func(c *echo) string { return said(c.Throw(errTest)) },
			[]string{"yield 1", "end", "seq ended"},
			"error: thrown",
		},
		{
			"Close", func(c *echo) string { return fmt.Sprint("closed ", c.Close()) },
			[]string{"yield 1", "closed <nil>", "seq ended"},
			"error: coro: closed",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := 0
			seq := func(yield func(string) bool) {
				defer func() { ended++ }()
				for _, v := range []string{"1", "2", "3"} {
					if !yield(v) {
						return
					}
				}
			}
			c := start(func(yield yieldFunc) (string, error) {
				return "done", coro.DelegateSeq(yield, seq)
			})
			var got record
			got.add(said(c.Next()))
			got.add(tt.end(c))
			if ended == 1 {
				got.add("seq ended")
			}
			got.want(t, tt.want...)
			if s := outcome(c); s != tt.outcome {
				t.Errorf("outcome %q, want %q", s, tt.outcome)
			}
		})
	}
}

func TestCloseDoesNotHideAFailureBehindErrClosed(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reply func(err error) error
		want  string
	}{
		{"joined", func(err error) error { return errors.Join(err, errTest) }, "coro: closed\nthrown"},
		{"a panic with it", func(err error) error { panic(err) }, "panic: coro: closed"},
		{"wrapped", func(err error) error { return fmt.Errorf("reading: %w", err) }, "<nil>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := start(func(yield yieldFunc) (string, error) {
				_, err := yield("")
				return "", tt.reply(err)
			})
			c.Next()
			if got := fmt.Sprint(c.Close()); got != tt.want {
				t.Errorf("Close = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAPanicWhileBreakClosesGoesOnInTheLoopOfAll(t *testing.T) {
	c := start(func(yield yieldFunc) (string, error) {
		_, _ = yield("")
		explode()
		return "", nil
	})
	defer func() {
		if p, ok := recover().(*coro.PanicError); !ok || p.Value != any(errTest) {
			t.Errorf("recovered %v, want the body's panic", p)
		}
	}()
	for range c.All() {
		break
	}
}

// ticks yields the numbers below n, a second apart, and takes a second to clean up:
// a generator that awaits.
func ticks(ctx context.Context, n int, got *record) func(yield yieldFunc) (string, error) {
	l := loop.FromContext(ctx)
	begin := l.Now()
	note := func(s string) { got.add(fmt.Sprintf("%v %s", l.Now().Sub(begin), s)) }
	return func(yield yieldFunc) (string, error) {
		defer func() {
			if err := task.Sleep(ctx, time.Second); err != nil {
				note("interrupted twice")
			}
			note("cleaned up")
		}()
		for i := range n {
			if err := task.Sleep(ctx, time.Second); err != nil {
				note("interrupted")
				return "", err
			}
			note("made " + strconv.Itoa(i))
			if _, err := yield(strconv.Itoa(i)); err != nil {
				note("told " + err.Error())
				return "", err
			}
		}
		return "done", nil
	}
}

// TestAGeneratorMayAwait: a coroutine in a task's body suspends the task, in every
// call that runs the coroutine.
func TestAGeneratorMayAwait(t *testing.T) {
	delegating := func(inner func(yield yieldFunc) (string, error)) func(yield yieldFunc) (string, error) {
		return func(yield yieldFunc) (string, error) { return coro.Delegate(yield, start(inner)) }
	}
	direct := func(inner func(yield yieldFunc) (string, error)) func(yield yieldFunc) (string, error) {
		return inner
	}
	for _, shape := range []struct {
		name string
		of   func(inner func(yield yieldFunc) (string, error)) func(yield yieldFunc) (string, error)
	}{{"", direct}, {" by delegation", delegating}} {
		for _, tt := range []struct {
			name    string
			use     func(c *echo)
			want    []string
			outcome string
		}{
			{"to the end", func(c *echo) {
				for range c.All() {
				}
			}, []string{"1s made 0", "2s made 1", "3s cleaned up"}, "result done"},
			{"break", func(c *echo) {
				for range c.All() {
					break
				}
			}, []string{"1s made 0", "1s told coro: closed", "2s cleaned up"}, "error: coro: closed"},
			{
				"Throw", func(c *echo) { c.Next(); c.Throw(errTest) },
				[]string{"1s made 0", "1s told thrown", "2s cleaned up"},
				"error: thrown",
			},
			{
				"Close", func(c *echo) { c.Next(); _ = c.Close() },
				[]string{"1s made 0", "1s told coro: closed", "2s cleaned up"},
				"error: coro: closed",
			},
		} {
			t.Run(tt.name+shape.name, func(t *testing.T) {
				for _, locked := range []bool{false, true} {
					looptest.RunConfig(t, looptest.Config{Loop: loop.Config{LockThread: locked}}, func(ctx context.Context) error {
						var got record
						others := 0
						other := task.Go(ctx, func(ctx context.Context) error {
							for range 3 { // half a second later than the generator
								if err := task.Sleep(ctx, 300*time.Millisecond); err != nil {
									return err
								}
								others++
							}
							return nil
						})
						c := coro.NewIn(loop.FromContext(ctx).Coroutines(), shape.of(ticks(ctx, 2, &got)))
						tt.use(c)
						got.want(t, tt.want...)
						if s := outcome(c); s != tt.outcome {
							t.Errorf("outcome %q, want %q", s, tt.outcome)
						}
						if others != 3 {
							t.Errorf("another task ran %d times meanwhile, want 3", others)
						}
						_, err := other.Await(ctx)
						return err
					})
				}
			})
		}
	}
}

func TestACancellationReachesTheGeneratorThatAwaits(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		var got record
		reached := "nowhere"
		consumer := task.Go(ctx, func(ctx context.Context) error {
			c := start(ticks(ctx, 5, &got))
			for range c.All() {
				reached = "loop"
			}
			reached = "after the loop"
			_, err := c.Result()
			return err
		})
		if err := task.Sleep(ctx, 1500*time.Millisecond); err != nil {
			return err
		}
		consumer.Cancel(errTest)
		_, err := consumer.Await(ctx)
		if !consumer.Canceled() || !errors.Is(err, errTest) {
			t.Errorf("Await = %v, want the cancellation", err)
		}
		if reached != "after the loop" {
			t.Errorf("reached %s", reached)
		}
		got.want(t, "1s made 0", "1.5s interrupted", "2.5s cleaned up")
		return nil
	})
}

func TestAGeneratorThatAwaitsIsBusyForOthers(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		var got record
		c := start(ticks(ctx, 1, &got))
		other := task.Go(ctx, func(ctx context.Context) error {
			if c.State() != coro.Running {
				t.Errorf("State = %v, want %v", c.State(), coro.Running)
			}
			wantPanic(t, "coro: resumed while running", func() { c.Next() })
			wantPanic(t, "coro: closed while running", func() { c.Close() })
			return nil
		})
		for range c.All() {
		}
		_, err := other.Await(ctx)
		return err
	})
}

func TestAGeneratorAwaitsWithTheCtxOfTheTaskThatResumesIt(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		var got record
		c := start(ticks(ctx, 1, &got))
		other := task.Go(ctx, func(context.Context) error {
			c.Next() // it waits with the first task's ctx
			_, err := c.Result()
			return err
		})
		_, err := other.Await(ctx)
		if err == nil || !strings.Contains(err.Error(), "was used to wait outside of the task") {
			t.Errorf("Result = %v, want the panic of misuse", err)
		}
		return nil
	})
}

func TestAGeneratorBorrowsAStackOfTheLoop(t *testing.T) {
	var left *echo
	before := suspended("coro_test.parrot")
	looptest.Run(t, func(ctx context.Context) error {
		pool := loop.FromContext(ctx).Coroutines()
		names := map[string]bool{}
		for range 3 {
			c := coro.NewIn(pool, func(yield yieldFunc) (string, error) {
				names[goroutine()] = true
				return parrot(yield)
			})
			for range c.All() {
				break
			}
		}
		if len(names) != 1 {
			t.Errorf("three generators had %d stacks, want 1", len(names))
		}
		left = coro.NewIn(pool, parrot)
		left.Next()
		return nil
	})
	// A generator that is left open outlives its loop: only Close frees its stack.
	if left.State() != coro.Suspended {
		t.Errorf("State = %v after the loop was closed, want %v", left.State(), coro.Suspended)
	}
	if n := suspended("coro_test.parrot") - before; n != 1 {
		t.Errorf("%d stacks are left, want 1", n)
	}
	if err := left.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if n := suspended("coro_test.parrot") - before; n != 0 {
		t.Errorf("%d stacks are left after Close, want 0", n)
	}
}

func TestAGeneratorThatAwaitsIsUnwoundWithItsTask(t *testing.T) {
	for _, tt := range []struct {
		name    string
		consume func(ctx context.Context, got *record)
	}{
		{"Coro", func(ctx context.Context, got *record) {
			for range coro.NewIn(loop.FromContext(ctx).Coroutines(), ignoring(ctx, got)).All() {
			}
		}},
		{"Pull2", func(ctx context.Context, got *record) {
			next, stop := iter.Pull2(func(yield func(string, error) bool) { ignoring(ctx, got)(nil) })
			defer stop()
			next()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got record
			l, err := loop.New(loop.Config{Clock: looptest.NewClock(time.Time{})})
			if err != nil {
				t.Fatal(err)
			}
			f, p := future.New[struct{}](l)
			tk := task.Go(l.Context(), func(ctx context.Context) error {
				defer got.add("task ended")
				l.CallSoon(func() { p.Resolve(struct{}{}) })
				tt.consume(ctx, &got)
				return nil
			})
			if err := l.RunUntil(f); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil { // refuses its waits, then unwinds it
				t.Errorf("Close = %v", err)
			}
			got.want(t, "generator ended", "task ended")
			if !tk.Done() {
				t.Error("the task is not done")
			}
		})
	}
}

// ignoring waits and waits, whatever it is told.
func ignoring(ctx context.Context, got *record) func(yield yieldFunc) (string, error) {
	return func(yieldFunc) (string, error) {
		defer got.add("generator ended")
		for {
			_ = task.Sleep(ctx, time.Hour)
		}
	}
}

// seconds is an iter.Seq2 that suspends: what Go has for an asynchronous generator.
//
//go:noinline
func seconds(ctx context.Context, n int, got *record) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		defer got.add("ended")
		for i := range n {
			if err := task.Sleep(ctx, time.Second); err != nil {
				yield(i, err)
				return
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

func TestASeqMaySuspend(t *testing.T) {
	for _, tt := range []struct {
		name    string
		consume func(ctx context.Context, seq iter.Seq2[int, error], got *record) error
		want    []string
	}{
		{"range", func(_ context.Context, seq iter.Seq2[int, error], got *record) error {
			for v, err := range seq {
				if err != nil {
					return err
				}
				got.add(strconv.Itoa(v))
			}
			return nil
		}, []string{"0", "1", "2", "ended", "3s"}},
		{"range that awaits, too", func(ctx context.Context, seq iter.Seq2[int, error], got *record) error {
			for v, err := range seq {
				if err != nil {
					return err
				}
				if err := task.Sleep(ctx, time.Second); err != nil {
					return err
				}
				got.add(strconv.Itoa(v))
			}
			return nil
		}, []string{"0", "1", "2", "ended", "6s"}},
		{"break", func(_ context.Context, seq iter.Seq2[int, error], got *record) error {
			for v := range seq {
				got.add(strconv.Itoa(v))
				break
			}
			return nil
		}, []string{"0", "ended", "1s"}},
		{"Pull2", func(ctx context.Context, seq iter.Seq2[int, error], got *record) error {
			next, stop := iter.Pull2(seq)
			defer stop()
			for {
				v, err, ok := next()
				if !ok || err != nil {
					return err
				}
				if err := task.Sleep(ctx, time.Second); err != nil {
					return err
				}
				got.add(strconv.Itoa(v))
			}
		}, []string{"0", "1", "2", "ended", "6s"}},
		{"Pull2 and stop", func(_ context.Context, seq iter.Seq2[int, error], got *record) error {
			next, stop := iter.Pull2(seq)
			v, err, _ := next()
			got.add(strconv.Itoa(v))
			stop()
			return err
		}, []string{"0", "ended", "1s"}},
		{"two in turns", func(ctx context.Context, seq iter.Seq2[int, error], got *record) error {
			next, stop := iter.Pull2(seconds(ctx, 1, got))
			defer stop()
			for v, err := range seq {
				w, err2, ok := next()
				if err := errors.Join(err, err2); err != nil {
					return err
				}
				got.add(fmt.Sprint(v, w, ok))
			}
			return nil
		}, []string{"0 0 true", "ended", "1 0 false", "2 0 false", "ended", "4s"}},
		{"canceled", func(ctx context.Context, seq iter.Seq2[int, error], got *record) error {
			me := task.FromContext(ctx)
			loop.FromContext(ctx).CallLater(1500*time.Millisecond, func() { me.Cancel(errTest) })
			for v, err := range seq {
				got.add(fmt.Sprint(v, err))
				if err != nil {
					me.Uncancel()
				}
			}
			return nil
		}, []string{"0 <nil>", "1 canceled: thrown", "ended", "1.5s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			looptest.Run(t, func(ctx context.Context) error {
				var got record
				l := loop.FromContext(ctx)
				begin := l.Now()
				if err := tt.consume(ctx, seconds(ctx, 3, &got), &got); err != nil {
					return err
				}
				got.add(l.Now().Sub(begin).String())
				got.want(t, tt.want...)
				return nil
			})
		})
	}
}

func TestASeqThatIsPulledAndForgottenIsALeak(t *testing.T) {
	before := suspended("coro_test.seconds")
	var stop func()
	looptest.Run(t, func(ctx context.Context) error {
		var got record
		var next func() (int, error, bool)
		next, stop = iter.Pull2(seconds(ctx, 3, &got))
		next()
		return nil
	})
	if n := suspended("coro_test.seconds") - before; n != 1 {
		t.Errorf("%d stacks are left, want 1", n)
	}
	stop()
	if n := suspended("coro_test.seconds") - before; n != 0 {
		t.Errorf("%d stacks are left after stop, want 0", n)
	}
}

func ExampleDelegate() {
	type none = struct{}
	digits := func(yield func(string) (none, error)) (int, error) {
		for i, s := range []string{"one", "two"} {
			if _, err := yield(s); err != nil {
				return i, err
			}
		}
		return 2, nil
	}
	c := coro.New(func(yield func(string) (none, error)) (none, error) {
		n, err := coro.Delegate(yield, coro.New(digits))
		if err != nil {
			return none{}, err
		}
		_, err = yield(fmt.Sprint("and that was ", n))
		return none{}, err
	})
	for s := range c.All() {
		fmt.Println(s)
	}
	// Output:
	// one
	// two
	// and that was 2
}
