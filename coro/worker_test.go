package coro_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
)

// A body is a Body made of a function.
type body func()

func (b body) RunBody() { b() }

func TestAPoolServesManyBodiesByOneGoroutine(t *testing.T) {
	pool := new(coro.Pool)
	defer pool.Close()
	names := map[string]int{}
	for range 100 {
		c := coro.NewIn(pool, func(yield yieldFunc) (string, error) {
			names[goroutine()]++
			_, _ = yield("")
			return "", nil
		})
		c.Next()
		c.Next()
	}
	if len(names) != 1 {
		t.Errorf("100 bodies ran on %d goroutines, want 1: %v", len(names), names)
	}
	if pool.Idle() != 1 {
		t.Errorf("Idle = %d, want 1", pool.Idle())
	}
}

func TestAWorkerIsReusedWhateverBecameOfItsLastBody(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(yield yieldFunc) (string, error)
		end    func(c *echo)
		idle   int
	}{
		{"returned", func(yieldFunc) (string, error) { return "", nil }, func(c *echo) { c.Next() }, 1},
		{"panicked", func(yieldFunc) (string, error) { panic("boom") }, func(c *echo) { c.Next() }, 1},
		{"closed", parrot, func(c *echo) { c.Next(); _ = c.Close() }, 1},
		{"unwound", stubborn, func(c *echo) { c.Next(); _ = c.Close() }, 1},
		{"never started", parrot, func(c *echo) { _ = c.Close() }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pool := new(coro.Pool)
			defer pool.Close()
			tt.end(coro.NewIn(pool, tt.before))
			if pool.Idle() != tt.idle {
				t.Errorf("Idle = %d, want %d", pool.Idle(), tt.idle)
			}
			c := coro.NewIn(pool, parrot)
			c.Next()
			if v, _ := c.Send("a"); v != "<a>" {
				t.Errorf("the next body yields %q, want <a>", v)
			}
			c.Send("stop")
			if got := outcome(c); got != "result stopped" {
				t.Errorf("outcome %q, want result stopped", got)
			}
		})
	}
}

func TestAPoolKeepsOnlySoManyStacks(t *testing.T) {
	pool := new(coro.Pool)
	all := make([]*echo, 1500)
	for i := range all {
		all[i] = coro.NewIn(pool, parrot)
		all[i].Next()
	}
	for _, c := range all {
		_ = c.Close()
	}
	if got := pool.Idle(); got != 1024 {
		t.Errorf("Idle = %d, want 1024", got)
	}
	pool.Close()
	if got := pool.Idle(); got != 0 {
		t.Errorf("Idle = %d after Close, want 0", got)
	}
}

func TestAClosedPoolLendsStacksAndKeepsNone(t *testing.T) {
	pool := new(coro.Pool)
	running := coro.NewIn(pool, parrot)
	running.Next()
	pool.Close()
	pool.Close()
	running.Send("stop")
	later := coro.NewIn(pool, parrot)
	later.Next()
	later.Send("stop")
	for _, c := range []*echo{running, later} {
		if got := outcome(c); got != "result stopped" {
			t.Errorf("outcome %q, want result stopped", got)
		}
	}
	if pool.Idle() != 0 {
		t.Errorf("Idle = %d, want 0", pool.Idle())
	}
}

func TestWorker(t *testing.T) {
	pool := new(coro.Pool)
	defer pool.Close()
	var got record
	w := pool.Get()
	w.Begin(body(func() {
		got.add("1")
		w.Suspend()
		got.add("2")
		w.Suspend()
		got.add("3")
	}))
	for _, want := range []bool{true, true, false} {
		got.add("resume")
		if alive := w.Resume(); alive != want {
			t.Errorf("Resume = %v, want %v", alive, want)
		}
	}
	got.want(t, "resume", "1", "resume", "2", "resume", "3")
	if w.How() != coro.Returned || w.Panic() != nil {
		t.Errorf("How, Panic = %v, %v; want returned, nil", w.How(), w.Panic())
	}
	if !w.Unwind(1) {
		t.Error("Unwind of an idle worker = false, want true")
	}
	if next := pool.Get(); next != w {
		t.Error("the worker is not in its pool")
	} else {
		next.Begin(body(func() {
			wantPanic(t, "coro: resumed while running", func() { next.Resume() })
			panic("boom")
		}))
		if next.Resume() || next.How() != coro.Panicked || next.Panic() == nil || next.Panic().Value != "boom" {
			t.Errorf("How, Panic = %v, %v; want panicked, boom", next.How(), next.Panic())
		}
	}
	w = pool.Get()
	w.Begin(body(func() {}))
	if w.Resume() || w.Panic() != nil || w.How() != coro.Returned {
		t.Error("a worker remembers the panic of its last body")
	}
}

func TestUnwindReportsWhetherTheBodyEnded(t *testing.T) {
	for _, tt := range []struct {
		name     string
		recovers int
		tries    int
		want     bool
	}{
		{"at once", 0, 1, true},
		{"just within the tries", 2, 3, true},
		{"not within the tries, but later", 3, 3, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pool := new(coro.Pool)
			defer pool.Close()
			w := pool.Get()
			w.Begin(body(func() {
				for range tt.recovers {
					func() {
						defer func() { recover() }()
						w.Suspend()
					}()
				}
				w.Suspend()
				t.Error("Suspend returned in a body that is unwound")
			}))
			w.Resume()
			if got := w.Unwind(tt.tries); got != tt.want {
				t.Errorf("Unwind(%d) = %v, want %v", tt.tries, got, tt.want)
			}
			if !w.Unwind(100) {
				t.Error("Unwind(100) = false, want true")
			}
			if w.How() != coro.Unwound {
				t.Errorf("How = %v, want unwound", w.How())
			}
		})
	}
}

func TestAWorkerThatLeftByGoexitIsReaped(t *testing.T) {
	for _, tt := range []struct {
		name     string
		reap     func(w *coro.Worker)
		returned bool
	}{
		{"by ReapHere", (*coro.Worker).ReapHere, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pool := new(coro.Pool)
			defer pool.Close()
			returned := onGoroutine(t, func() {
				w := pool.Get()
				w.Begin(body(func() { w.Suspend(); runtime.Goexit() }))
				w.Resume()
				if w.Resume() || w.How() != coro.Exited {
					t.Errorf("How = %v, want exited", w.How())
				}
				if pool.Idle() != 0 {
					t.Error("it is in the pool")
				}
				tt.reap(w)
			})
			if returned != tt.returned {
				t.Errorf("returned %v, want %v", returned, tt.returned)
			}
		})
	}
}

func TestSwitchingDoesNotAllocate(t *testing.T) {
	pool := new(coro.Pool)
	defer pool.Close()
	c := coro.NewIn(pool, parrotOfInts)
	c.Next()
	if n := testing.AllocsPerRun(1000, func() { c.Send(1) }); n != 0 {
		t.Errorf("%v allocations in Send, want none", n)
	}
	_ = c.Close()
}

func parrotOfInts(yield func(int) (int, error)) (int, error) {
	for v := 0; ; {
		var err error
		if v, err = yield(v); err != nil {
			return v, err
		}
	}
}

func TestAMillionSwitchesLarge(t *testing.T) {
	n := 1_000_000
	if raceEnabled {
		n = 20_000
	}
	c := coro.New(parrotOfInts)
	c.Next()
	start := time.Now()
	for i := range n {
		if v, _ := c.Send(i); v != i {
			t.Fatalf("Send(%d) = %d", i, v)
		}
	}
	t.Logf("%d ns each", time.Since(start).Nanoseconds()/int64(n))
	_ = c.Close()
}
