package thread

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
)

var (
	// ErrTimeout is returned by the calls whose name ends in Timeout when the time
	// is over. To errors.Is it is also [context.DeadlineExceeded] and
	// [os.ErrDeadlineExceeded].
	ErrTimeout error = &timeoutError{errors.New("thread: timeout")}

	// ErrBroken is returned by [Barrier.Wait] when the barrier was reset or
	// aborted, or somebody gave up waiting. (threading: BrokenBarrierError)
	ErrBroken = errors.New("thread: barrier broken")

	// ErrFull is returned when a queue has no room. (queue: Full)
	ErrFull = errors.New("thread: queue full")

	// ErrEmpty is returned when a queue has no item. (queue: Empty)
	ErrEmpty = errors.New("thread: queue empty")

	// ErrShutDown is returned by puts after ShutDown, and by gets when the queue is
	// empty then. (queue: ShutDown)
	ErrShutDown = errors.New("thread: queue shut down")

	// ErrGoexit is what ended a function that called [runtime.Goexit], as
	// testing.T.FailNow does.
	ErrGoexit = errors.New("thread: body called runtime.Goexit")
)

// A timeout of a queue says what was wrong with it all the time, as CPython's
// does, and that it was a timeout.
var (
	errFullTimeout  error = &timeoutError{ErrFull}
	errEmptyTimeout error = &timeoutError{ErrEmpty}
)

// A timeoutError is ErrTimeout, or another error that is a timeout too.
type timeoutError struct{ err error }

func (e *timeoutError) Error() string { return e.err.Error() }
func (e *timeoutError) Unwrap() error { return e.err }
func (e *timeoutError) Timeout() bool { return true }

func (e *timeoutError) Is(target error) bool {
	return target == ErrTimeout || target == context.DeadlineExceeded || target == os.ErrDeadlineExceeded
}

// broken returns the error of somebody who broke a barrier by giving up.
func broken(cause error) error { return fmt.Errorf("%w: %w", ErrBroken, cause) }

// A PanicError is a panic of a function that this package has called, made into an
// error.
type PanicError struct {
	Value any    // what panic was called with
	Stack []byte // of the goroutine that panicked, as debug.Stack prints it
}

// Error returns the panic's value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// guard calls fn, and then calls end with what ended fn: its error, a
// *PanicError, or ErrGoexit. After a Goexit the goroutine ends once end has
// returned.
func guard(fn func() error, end func(err error)) {
	var err error
	returned := false
	defer func() {
		if !returned {
			if v := recover(); v != nil {
				err = &PanicError{Value: v, Stack: debug.Stack()}
			} else {
				err = ErrGoexit
			}
		}
		end(err)
	}()
	err = fn()
	returned = true
}

// tell tells hook about err. If there is none it logs, and if hook fails itself
// it logs that too. who is what the log calls the one who failed.
func tell(hook func(err error), who string, err error) {
	if hook == nil {
		logError(who, err)
		return
	}
	guard(func() error { hook(err); return nil }, func(failed error) {
		if failed != nil {
			logError(who, err)
			logError(who+": OnError", failed)
		}
	})
}

func logError(who string, err error) {
	var p *PanicError
	if errors.As(err, &p) {
		slog.Error(who+": "+err.Error(), "stack", string(p.Stack))
		return
	}
	slog.Error(who + ": " + err.Error())
}
