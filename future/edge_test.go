package future_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// Errors are values here: there is no class to make one from, and none ends a
// generator by passing through it.
func TestEdge029_AnyErrorButNilIsAFailure(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		for _, want := range []error{
			errBoom, io.EOF, coro.ErrClosed, coro.ErrGoexit, context.Canceled,
			context.DeadlineExceeded, task.ErrTimeout, future.ErrNotDone, errors.Join(errBoom, &future.CanceledError{}),
		} {
			f, p := future.New[int](l)
			if !p.Fail(want) || f.State() != future.Failed {
				t.Errorf("%v: %v", want, f)
			}
			if _, err := f.Await(ctx); err != want {
				t.Errorf("%v: Await returned %v", want, err)
			}
		}
		f, p := future.New[int](l)
		wantPanic(t, "nil", func() { p.Fail(nil) })
		if f.Done() {
			t.Errorf("Fail(nil) settled it: %v", f)
		}
	})
}

// elsewhere runs op on a goroutine of its own and returns the future of its end:
// what wrap_future does.
func elsewhere(l *loop.Loop, op func(ctx context.Context) (int, error)) *future.Future[int] {
	f, p := future.New[int](l)
	ctx, cancel := context.WithCancelCause(context.Background())
	p.OnCancel(func(cause error) bool { cancel(cause); return p.Cancel(cause) })
	release := l.Hold()
	go func() {
		defer release()
		v, err := op(ctx)
		_ = l.CallSoonThreadsafe(func() { future.Settle(f, v, err) }) // a closed loop drops it
	}()
	return f
}

func TestEdge033_FutureOfAnOperationElsewhere(t *testing.T) {
	t.Run("result and failure", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			for _, want := range []error{nil, errBoom} {
				if v, err := elsewhere(l, func(context.Context) (int, error) { return 7, want }).Await(ctx); err != want || err == nil && v != 7 {
					t.Errorf("got %v, %v", v, err)
				}
			}
		})
	})
	t.Run("canceled here", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			told := make(chan error, 1)
			f := elsewhere(l, func(ctx context.Context) (int, error) {
				<-ctx.Done()
				told <- context.Cause(ctx)
				return 7, nil // too late
			})
			if !f.Cancel(errBoom) || <-told != errBoom {
				t.Error("the other end was not told")
			}
			if _, err := f.Await(ctx); outcome(err) != "Canceled(boom)" {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("canceled there", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			f := elsewhere(l, func(context.Context) (int, error) { return 0, &future.CanceledError{Cause: errBoom} })
			if _, err := f.Await(ctx); outcome(err) != "Canceled(boom)" || !f.Canceled() {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("the loop is closed first", func(t *testing.T) {
		l := newLoop(t)
		open, posted := make(chan struct{}), make(chan error, 1)
		f, p := future.New[int](l)
		go func() {
			<-open
			posted <- l.CallSoonThreadsafe(func() { p.Resolve(1) })
		}()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		close(open)
		if err := <-posted; err != loop.ErrClosed || f.Done() {
			t.Errorf("%v, %v", err, f)
		}
	})
}

// depth is the number of errors that err is made of.
func depth(err error) (n int) {
	for ; err != nil; err = errors.Unwrap(err) {
		n++
	}
	return n
}

func TestEdge034_AFailureDoesNotGrowByBeingAwaited(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		settled := func(settle func(p future.Promise[int])) future.Waiter {
			f, p := future.New[int](l)
			settle(p)
			return f
		}
		ended := func(t *task.Task[int]) future.Waiter { _, _ = t.Await(ctx); return t }
		canceled := &future.CanceledError{Cause: errBoom}
		for name, w := range map[string]future.Waiter{
			"failed":              settled(func(p future.Promise[int]) { p.Fail(errBoom) }),
			"canceled":            settled(func(p future.Promise[int]) { p.Cancel(errBoom) }),
			"failed as canceled":  settled(func(p future.Promise[int]) { p.Fail(fmt.Errorf("x: %w", canceled)) }),
			"task that panicked":  ended(task.Start(ctx, func(context.Context) (int, error) { panic(errBoom) })),
			"task that returned ": ended(task.Start(ctx, func(context.Context) (int, error) { return 0, canceled })),
		} {
			await := w.(interface {
				Await(context.Context) (int, error)
			}).Await
			_, _ = await(ctx)
			_, first := await(ctx)
			size, stack := depth(first), 0
			var p *coro.PanicError
			if errors.As(first, &p) {
				stack = len(p.Stack)
			}
			for range 100 {
				_, err := await(ctx)
				if errors.As(err, &p) && len(p.Stack) != stack {
					t.Errorf("%s: the stack has %d bytes, had %d", name, len(p.Stack), stack)
				}
				if n := depth(err); n != size || n > 4 {
					t.Errorf("%s: %d errors in %v, were %d", name, n, err, size)
				}
			}
		}
	})
}
