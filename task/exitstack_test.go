package task_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

var errClose = errors.New("close failed")

// said writes an error with what is joined in it.
func said(err error) string {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var s []string
		for _, err := range j.Unwrap() {
			s = append(s, said(err))
		}
		return strings.Join(s, "+")
	}
	if p, ok := err.(*coro.PanicError); ok {
		return p.Error()
	}
	return outcome(err)
}

func TestExitStack(t *testing.T) {
	canceled := &future.CanceledError{}
	for _, tt := range []struct {
		name string
		fn   func(j *journal, s *task.ExitStack) error
		want string   // what became of it
		log  []string // what the exits saw
	}{
		{"nothing", func(*journal, *task.ExitStack) error { return nil }, "ok", nil},
		{"an error passes", func(*journal, *task.ExitStack) error { return errBoom }, "boom", nil},
		{"last first", func(j *journal, s *task.ExitStack) error {
			for i := range 3 {
				s.OnExit(func(context.Context) error { j.Log("exit %d", i); return nil })
			}
			j.Log("fn")
			return nil
		}, "ok", []string{"fn", "exit 2", "exit 1", "exit 0"}},
		{"an exit fails", func(j *journal, s *task.ExitStack) error {
			s.Push(func(_ context.Context, err error) error { j.Log("sees %s", said(err)); return err })
			s.OnExit(func(context.Context) error { return errClose })
			s.Push(func(_ context.Context, err error) error { j.Log("sees %s", said(err)); return err })
			return nil
		}, "close failed", []string{"sees ok", "sees close failed"}},
		{"errors are joined", func(j *journal, s *task.ExitStack) error {
			s.OnExit(func(context.Context) error { return errClose })
			s.OnExit(func(context.Context) error { return nil })
			return errBoom
		}, "boom+close failed", nil},
		{"an error is swallowed", func(j *journal, s *task.ExitStack) error {
			s.Push(func(_ context.Context, err error) error { j.Log("sees %s", said(err)); return nil })
			return errBoom
		}, "ok", []string{"sees boom"}},
		{"an error is replaced", func(j *journal, s *task.ExitStack) error {
			s.Push(func(context.Context, error) error { return errClose })
			return errBoom
		}, "close failed", nil},
		{"a cancellation passes", func(j *journal, s *task.ExitStack) error {
			s.OnExit(func(context.Context) error { return nil })
			return canceled
		}, "Canceled", nil},
		{"a cancellation with a failure to close is a failure", func(j *journal, s *task.ExitStack) error {
			s.OnExit(func(context.Context) error { return errClose })
			return canceled
		}, "Canceled+close failed", nil},
		{"two cancellations are one", func(j *journal, s *task.ExitStack) error {
			s.OnExit(func(context.Context) error { return &future.CanceledError{Cause: errBoom} })
			return canceled
		}, "Canceled", nil},
		{"a cancellation of an exit", func(j *journal, s *task.ExitStack) error {
			s.OnExit(func(context.Context) error { return canceled })
			return nil
		}, "Canceled", nil},
		{"a panic of fn", func(j *journal, s *task.ExitStack) error {
			s.Push(func(_ context.Context, err error) error { j.Log("sees %s", said(err)); return err })
			panic("oh")
		}, "panic: oh", []string{"sees panic: oh"}},
		{"a panic of an exit", func(j *journal, s *task.ExitStack) error {
			s.Push(func(_ context.Context, err error) error { j.Log("sees %s", said(err)); return err })
			s.OnExit(func(context.Context) error { panic("oh") })
			return errBoom
		}, "boom+panic: oh", []string{"sees boom+panic: oh"}},
		{"stop", func(j *journal, s *task.ExitStack) error {
			var stops []func() bool
			for i := range 4 {
				stops = append(stops, s.OnExit(func(context.Context) error { j.Log("exit %d", i); return nil }))
			}
			for _, i := range []int{1, 3, 1} {
				j.Log("stop %d: %v", i, stops[i]())
			}
			s.OnExit(func(context.Context) error { j.Log("stop 0: %v", stops[0]()); return nil })
			return nil
		}, "ok", []string{"stop 1: true", "stop 3: true", "stop 1: false", "stop 0: true", "exit 2"}},
		{"an exit puts others on the stack", func(j *journal, s *task.ExitStack) error {
			s.OnExit(func(context.Context) error { j.Log("last"); return nil })
			s.OnExit(func(context.Context) error {
				s.OnExit(func(context.Context) error { j.Log("added"); return nil })
				return nil
			})
			return nil
		}, "ok", []string{"added", "last"}},
		{"Closing", func(j *journal, s *task.ExitStack) error {
			r, w := io.Pipe()
			s.OnExit(func(context.Context) error { _, err := w.Write(nil); j.Log("%v", err); return nil })
			s.Closing(r)
			return nil
		}, "ok", []string{"io: read/write on closed pipe"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				var j journal
				err := task.WithExitStack(ctx, func(_ context.Context, s *task.ExitStack) error { return tt.fn(&j, s) })
				if got := said(err); got != tt.want {
					t.Errorf("WithExitStack = %s, want %s", got, tt.want)
				}
				j.Want(t, tt.log...)
			})
		})
	}
}

// TestExitsOfACanceledTask: the exits of a task that is canceled may wait.
func TestExitsOfACanceledTask(t *testing.T) {
	for _, tt := range []struct {
		name    string
		cancels []time.Duration
		fail    error
		want    string
		state   future.State
		log     []string
	}{
		{"not canceled", nil, nil, "ok", future.Resolved, []string{"4s sees ok", "5s exit: ok", "6s exit: ok"}},
		{
			"canceled once",
			[]time.Duration{2 * time.Second},
			nil, "Canceled(boom)", future.Canceled,
			[]string{"2s sees Canceled(boom)", "3s exit: ok", "4s exit: ok"},
		},
		{
			"and an exit fails",
			[]time.Duration{2 * time.Second},
			errClose, "Canceled(boom)+close failed", future.Failed,
			[]string{"2s sees Canceled(boom)", "3s exit: ok", "4s exit: ok"},
		},
		{
			"again in the first exit",
			[]time.Duration{2 * time.Second, 2500 * time.Millisecond},
			nil, "Canceled(boom)", future.Canceled,
			[]string{"2s sees Canceled(boom)", "2.5s exit: Canceled(boom)", "3.5s exit: ok"},
		},
		{
			"in an exit only",
			[]time.Duration{4500 * time.Millisecond},
			nil, "Canceled(boom)", future.Canceled,
			[]string{"4s sees ok", "4.5s exit: Canceled(boom)", "5.5s exit: ok"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				var j journal
				begin := l.Now()
				note := func(s string) { j.Log("%v %s", l.Now().Sub(begin), s) }
				tk := task.Go(ctx, func(ctx context.Context) error {
					return task.WithExitStack(ctx, func(ctx context.Context, s *task.ExitStack) error {
						for i := range 2 {
							s.OnExit(func(ctx context.Context) error {
								err := task.Sleep(ctx, time.Second)
								note("exit: " + said(err))
								if err == nil && i == 0 {
									err = tt.fail
								}
								return err
							})
						}
						s.Push(func(_ context.Context, err error) error { note("sees " + said(err)); return err })
						return task.Sleep(ctx, 4*time.Second)
					})
				})
				for _, d := range tt.cancels {
					l.CallLater(d, func() { tk.Cancel(errBoom) })
				}
				_, _, _ = task.Wait(ctx, task.AllCompleted, tk)
				if got := said(tk.Err()); got != tt.want || tk.State() != tt.state {
					t.Errorf("the task is %v: %s; want %v: %s", tk.State(), got, tt.state, tt.want)
				}
				j.Want(t, tt.log...)
			})
		})
	}
}

func TestExitsWhenAScopeHasEnded(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		ctx, cancel := task.WithTimeout(ctx, time.Second)
		defer cancel()
		err := task.WithExitStack(ctx, func(ctx context.Context, s *task.ExitStack) error {
			s.OnExit(func(ctx context.Context) error {
				j.Log("shielded %s", outcome(task.Sleep(context.WithoutCancel(ctx), time.Second)))
				return nil
			})
			s.OnExit(func(ctx context.Context) error {
				j.Log("bare %s", outcome(task.Sleep(ctx, time.Second)))
				return nil
			})
			return task.Sleep(ctx, time.Hour)
		})
		if err != task.ErrTimeout {
			t.Errorf("WithExitStack = %v, want %v", err, task.ErrTimeout)
		}
		j.Want(t, "bare Timeout", "shielded ok")
	})
}

func TestExitStackInATimeout(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		for _, tt := range []struct {
			exit error
			want string
		}{{nil, "Timeout"}, {errClose, "Canceled(Timeout)+close failed"}} {
			err := task.Timeout(ctx, time.Second, func(ctx context.Context, _ *task.TimeoutScope) error {
				return task.WithExitStack(ctx, func(ctx context.Context, s *task.ExitStack) error {
					s.OnExit(func(context.Context) error { return tt.exit })
					return task.Sleep(ctx, time.Hour)
				})
			})
			if got := said(err); got != tt.want {
				t.Errorf("Timeout = %s, want %s", got, tt.want)
			}
		}
		if n := task.FromContext(ctx).Canceling(); n != 0 {
			t.Errorf("Canceling = %d, want 0", n)
		}
	})
}

func TestExitsRunWhenTheTaskIsUnwound(t *testing.T) {
	for _, tt := range []struct {
		name string
		deaf bool // fn ignores that its waits are refused
		exit func(ctx context.Context, j *journal) error
		want []string
	}{
		{"by exits that give up", false, func(ctx context.Context, j *journal) error {
			err := task.Sleep(ctx, time.Second)
			j.Log("exit: %v", err != nil)
			return err
		}, []string{"sees Canceled(loop: closed)", "exit: true", "exit: true"}},
		{"and the exits, too", false, func(ctx context.Context, j *journal) error {
			defer j.Log("exit")
			for {
				_ = task.Sleep(ctx, time.Second)
			}
		}, []string{"sees Canceled(loop: closed)", "exit", "exit"}},
		{"a fn that ignores it", true, func(_ context.Context, j *journal) error {
			j.Log("exit")
			return nil
		}, []string{"sees Canceled(loop: closed)", "exit", "exit"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var j journal
			l, err := loop.New(loop.Config{Clock: looptest.NewClock(time.Time{})})
			if err != nil {
				t.Fatal(err)
			}
			f, p := future.New[struct{}](l)
			task.Go(l.Context(), func(ctx context.Context) error {
				l.CallSoon(func() { p.Resolve(struct{}{}) })
				return task.WithExitStack(ctx, func(ctx context.Context, s *task.ExitStack) error {
					for range 2 {
						s.OnExit(func(ctx context.Context) error { return tt.exit(ctx, &j) })
					}
					s.Push(func(_ context.Context, err error) error { j.Log("sees %s", said(err)); return err })
					err := task.Sleep(ctx, time.Hour)
					for tt.deaf {
						_ = task.Sleep(ctx, time.Hour)
					}
					return err
				})
			})
			if err := l.RunUntil(f); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			j.Want(t, tt.want...)
		})
	}
}

func TestExitsRunOnGoexit(t *testing.T) {
	var j journal
	done := make(chan struct{})
	go func() {
		defer close(done)
		quiet := loop.Config{OnError: func(*loop.CallError) {}}
		_ = task.RunConfig(context.Background(), quiet, func(ctx context.Context) error {
			return task.WithExitStack(ctx, func(ctx context.Context, s *task.ExitStack) error {
				s.OnExit(func(ctx context.Context) error { j.Log("exit"); return nil })
				s.Push(func(_ context.Context, err error) error {
					j.Log("sees %v", err == coro.ErrGoexit)
					runtime.Goexit()
					return nil
				})
				runtime.Goexit()
				return nil
			})
		})
		j.Log("unreachable")
	}()
	<-done
	j.Want(t, "sees true", "exit")
}

func TestPopAll(t *testing.T) {
	open := func(ctx context.Context, j *journal, fail bool) (*task.ExitStack, error) {
		var kept *task.ExitStack
		err := task.WithExitStack(ctx, func(ctx context.Context, s *task.ExitStack) error {
			for i := range 2 {
				s.OnExit(func(context.Context) error { j.Log("exit %d", i); return nil })
			}
			if fail {
				return errBoom
			}
			kept = s.PopAll()
			s.OnExit(func(context.Context) error { j.Log("not handed over"); return nil })
			return nil
		})
		return kept, err
	}
	run(t, func(ctx context.Context, l *loop.Loop) {
		var j journal
		if _, err := open(ctx, &j, true); err != errBoom {
			t.Errorf("open = %v, want %v", err, errBoom)
		}
		j.Want(t, "exit 1", "exit 0")
		s, err := open(ctx, &j, false)
		if err != nil {
			t.Errorf("open = %v", err)
		}
		j.Want(t, "not handed over")
		stop := s.OnExit(func(context.Context) error { j.Log("stopped"); return nil })
		s.OnExit(func(context.Context) error { return errClose })
		s = s.PopAll() // stop still works
		if !stop() {
			t.Error("stop = false, want true")
		}
		other := task.Go(ctx, func(ctx context.Context) error { return s.Close(ctx) })
		if _, err := other.Await(ctx); err != errClose {
			t.Errorf("Close = %v, want %v", err, errClose)
		}
		j.Want(t, "exit 1", "exit 0")
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close again = %v", err)
		}
	})
}

func TestExitStackMisuse(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var left *task.ExitStack
		_ = task.WithExitStack(ctx, func(_ context.Context, s *task.ExitStack) error { left = s; return nil })
		wantPanic(t, "task: use of an ExitStack that was left", func() { left.Closing(io.NopCloser(nil)) })
		wantPanic(t, "task: use of an ExitStack that was left", func() {
			_, _ = task.Enter(ctx, left, func(context.Context, func(int) error) error { return nil })
		})
		wantPanic(t, "task: Enter of a function that did not call its body", func() {
			_, _ = task.Enter(ctx, new(task.ExitStack), func(context.Context, func(int) error) error { return nil })
		})
		var s task.ExitStack
		l.CallSoon(func() {
			wantPanic(t, "task: ExitStack.Close outside of a task", func() { _ = s.Close(l.Context()) })
		})
		yield(ctx, 2)
	})
}

func TestEnter(t *testing.T) {
	type body = func(v string) error
	for _, tt := range []struct {
		name string
		with func(ctx context.Context, j *journal, body body) error
		err  error // of fn
		want string
		log  []string
	}{
		{"waits before and after", func(ctx context.Context, j *journal, body body) error {
			if err := task.Sleep(ctx, time.Second); err != nil {
				return err
			}
			err := body("v")
			j.Log("told %s", said(err))
			return errors.Join(err, task.Sleep(ctx, time.Second))
		}, nil, "ok", []string{"fn has v", "told ok"}},
		{"is told the error", func(ctx context.Context, j *journal, body body) error {
			err := body("v")
			j.Log("told %s", said(err))
			return err
		}, errBoom, "boom", []string{"fn has v", "told boom"}},
		{"swallows it", func(ctx context.Context, j *journal, body body) error {
			_ = body("v")
			return nil
		}, errBoom, "ok", []string{"fn has v"}},
		{"fails in its place", func(ctx context.Context, j *journal, body body) error {
			_ = body("v")
			return errClose
		}, errBoom, "close failed", []string{"fn has v"}},
		{
			"fails before its body", func(context.Context, *journal, body) error { return errClose },
			nil, "close failed", nil,
		},
		{
			"panics before its body", func(context.Context, *journal, body) error { panic("oh") },
			nil, "panic: oh", nil,
		},
		{"panics after its body", func(ctx context.Context, j *journal, body body) error {
			defer panic("oh")
			return body("v")
		}, nil, "panic: oh", []string{"fn has v"}},
		{"calls its body twice", func(ctx context.Context, j *journal, body body) error {
			defer j.Log("ended")
			_ = body("v")
			return body("w")
		}, errBoom, "boom+panic: task: Enter of a function that called its body twice", []string{"fn has v", "ended"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				var j journal
				err := task.WithExitStack(ctx, func(ctx context.Context, s *task.ExitStack) error {
					v, err := task.Enter(ctx, s, func(ctx context.Context, body func(string) error) error {
						return tt.with(ctx, &j, body)
					})
					if err != nil {
						return err
					}
					j.Log("fn has %s", v)
					return tt.err
				})
				if got := said(err); got != tt.want {
					t.Errorf("WithExitStack = %s, want %s", got, tt.want)
				}
				j.Want(t, tt.log...)
			})
		})
	}
}

// enterScope and enterTimeout make context managers of the package's own.
func enterScope(ctx context.Context, s *task.ExitStack) (*task.Group, error) {
	return task.Enter(ctx, s, func(ctx context.Context, body func(*task.Group) error) error {
		return task.Scope(ctx, func(_ context.Context, g *task.Group) error { return body(g) })
	})
}

func enterTimeout(ctx context.Context, s *task.ExitStack, d time.Duration) (*task.TimeoutScope, error) {
	return task.Enter(ctx, s, func(ctx context.Context, body func(*task.TimeoutScope) error) error {
		return task.Timeout(ctx, d, func(_ context.Context, s *task.TimeoutScope) error { return body(s) })
	})
}

func TestEnterAScopeAndATimeout(t *testing.T) {
	for _, tt := range []struct {
		name string
		fn   func(ctx context.Context, j *journal, g *task.Group) error
		want string
		took time.Duration
	}{
		{"the scope awaits its tasks", func(ctx context.Context, j *journal, g *task.Group) error {
			g.Go(func(ctx context.Context) error { return task.Sleep(ctx, time.Second) })
			return nil
		}, "ok", time.Second},
		{"a task fails", func(ctx context.Context, j *journal, g *task.Group) error {
			g.Go(func(ctx context.Context) error { return errBoom })
			err := task.Sleep(ctx, time.Hour)
			j.Log("fn: %s", said(err))
			return err
		}, "Group[boom]", 0},
		{"the timeout ends the body", func(ctx context.Context, j *journal, g *task.Group) error {
			return task.Sleep(ctx, time.Hour)
		}, "Timeout", time.Minute},
		{"the timeout ends the scope", func(ctx context.Context, j *journal, g *task.Group) error {
			g.Go(func(ctx context.Context) error { return task.Sleep(ctx, time.Hour) })
			return nil
		}, "Timeout", time.Minute},
		{"fn panics", func(ctx context.Context, j *journal, g *task.Group) error {
			g.Go(func(ctx context.Context) error { return task.Sleep(ctx, time.Hour) })
			panic("oh")
		}, "Group[panic: oh]", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				var j journal
				begin := l.Now()
				err := task.WithExitStack(ctx, func(ctx context.Context, s *task.ExitStack) error {
					if _, err := enterTimeout(ctx, s, time.Minute); err != nil {
						return err
					}
					g, err := enterScope(ctx, s)
					if err != nil {
						return err
					}
					return tt.fn(ctx, &j, g)
				})
				got := said(err)
				if g, ok := err.(*task.GroupError); ok {
					got = outcome(g)
				}
				if got != tt.want || l.Now().Sub(begin) != tt.took {
					t.Errorf("WithExitStack = %s after %v, want %s after %v", got, l.Now().Sub(begin), tt.want, tt.took)
				}
				me := task.FromContext(ctx)
				if n := me.Canceling(); n != 0 || len(task.All(l)) != 1 {
					t.Errorf("Canceling = %d, tasks %v; want 0 and one task", n, task.All(l))
				}
			})
		})
	}
}

func TestEnterIsLeftWhenTheTaskIsUnwound(t *testing.T) {
	var j journal
	l, err := loop.New(loop.Config{Clock: looptest.NewClock(time.Time{})})
	if err != nil {
		t.Fatal(err)
	}
	f, p := future.New[struct{}](l)
	task.Go(l.Context(), func(ctx context.Context) error {
		l.CallSoon(func() { p.Resolve(struct{}{}) })
		return task.WithExitStack(ctx, func(ctx context.Context, s *task.ExitStack) error {
			_, err := task.Enter(ctx, s, func(ctx context.Context, body func(int) error) error {
				defer j.Log("left")
				j.Log("told %s", said(body(1)))
				for {
					_ = task.Sleep(ctx, time.Second)
				}
			})
			if err != nil {
				return err
			}
			return task.Sleep(ctx, time.Hour)
		})
	})
	if err := l.RunUntil(f); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	j.Want(t, "told Canceled(loop: closed)", "left")
}

func TestManyExits(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var got []int
		var s task.ExitStack
		var stops []func() bool
		for i := range 1000 {
			stops = append(stops, s.OnExit(func(context.Context) error { got = append(got, i); return nil }))
		}
		for i, stop := range stops {
			if i%3 != 0 {
				stop()
			}
		}
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close = %v", err)
		}
		var want []int
		for i := 999; i >= 0; i -= 3 {
			want = append(want, i)
		}
		if !slices.Equal(got, want) {
			t.Errorf("called %v", got)
		}
	})
}

func ExampleWithExitStack() {
	open := func(name string) io.Closer { return printer("close " + name) }
	err := task.Run(context.Background(), func(ctx context.Context) error {
		return task.WithExitStack(ctx, func(ctx context.Context, s *task.ExitStack) error {
			for _, name := range []string{"a", "b"} {
				s.Closing(open(name))
			}
			s.OnExit(func(ctx context.Context) error {
				fmt.Println("say goodbye, and wait for the answer")
				return task.Sleep(ctx, time.Millisecond)
			})
			return errors.New("something went wrong")
		})
	})
	fmt.Println(err)
	// Output:
	// say goodbye, and wait for the answer
	// close b
	// close a
	// something went wrong
}

type printer string

func (p printer) Close() error { fmt.Println(string(p)); return nil }

func ExampleEnter() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		return task.WithExitStack(ctx, func(ctx context.Context, s *task.ExitStack) error {
			g, err := task.Enter(ctx, s, func(ctx context.Context, body func(*task.Group) error) error {
				return task.Scope(ctx, func(_ context.Context, g *task.Group) error { return body(g) })
			})
			if err != nil {
				return err
			}
			g.Go(func(ctx context.Context) error {
				fmt.Println("awaited on exit")
				return nil
			})
			return nil
		})
	})
	// Output: awaited on exit
}
