package executor

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
)

var (
	// ErrWorkerDied is the failure of a call whose worker process has ended, or was
	// ended by the pool, before it answered. It comes as a [*WorkerError]. The
	// function may have been called, in part or to its end.
	ErrWorkerDied = errors.New("executor: worker process died")

	// ErrNoWorker is the failure of calls that wait for a worker process when
	// several in a row could not be started. The last reason is in it.
	ErrNoWorker = errors.New("executor: no worker process can be started")

	// ErrNoWorkerMain is NewProcessPool's error when the program has not called
	// [WorkerMain].
	ErrNoWorkerMain = errors.New("executor: NewProcessPool before WorkerMain: the program must call executor.WorkerMain first thing in main, or in TestMain")

	// ErrUnregistered is the failure of a call of a function that the worker
	// process does not know.
	ErrUnregistered = errors.New("executor: function is not registered in the worker process")

	// ErrTooLarge is the failure of a call whose argument or result is over the
	// limit of ProcessConfig.
	ErrTooLarge = errors.New("executor: message is over the limit")

	// ErrEncode is the failure of a call whose argument or result the codec refuses
	// to encode.
	ErrEncode = errors.New("executor: value cannot be encoded")

	// ErrDecode is the failure of a call whose argument or result the codec cannot
	// make sense of on the other side.
	ErrDecode = errors.New("executor: value cannot be decoded")

	// errHang is why the pool kills a worker that does not answer.
	errHang = errors.New("it did not answer the pool's heartbeat")

	// errPipe is why the pool kills a worker that does not end with its pipe.
	errPipe = errors.New("it has closed the pool's pipe")
)

// A WorkerError tells how a worker process has ended. It is [ErrWorkerDied] to
// errors.Is, and what Cause is.
type WorkerError struct {
	PID   int
	State *os.ProcessState // how it has ended; nil if that was not to be learned in time
	// Cause is why the pool killed it, or what was wrong with what it sent: ErrTimeout
	// after the call's CallConfig.Timeout, the end of the call's ctx, ErrClosed at a
	// shutdown. nil: it has ended by itself, or by another's hand.
	Cause error
}

// Error names process, status and cause.
func (e *WorkerError) Error() string {
	s := fmt.Sprintf("%v: process %d", ErrWorkerDied, e.PID)
	if e.State != nil {
		s += ": " + e.State.String()
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Is reports whether target is ErrWorkerDied.
func (e *WorkerError) Is(target error) bool { return target == ErrWorkerDied }

// Unwrap returns Cause.
func (e *WorkerError) Unwrap() error { return e.Cause }

// A RemoteError is an error that a function has returned in a worker process. To
// errors.Is it is what the error there was of those known to [RegisterError].
type RemoteError struct {
	Func string // the name that it is registered by
	Type string // of the error there, as %T prints it
	Text string // what its Error returned, up to 64 KiB

	is []error
}

// Error returns the text, without additions.
func (e *RemoteError) Error() string { return e.Text }

// Unwrap returns the registered errors that it is.
func (e *RemoteError) Unwrap() []error { return e.is }

// sentinels are the errors that keep their identity. They are written before main,
// as the functions are: see registry.
var sentinels = struct {
	mu     sync.RWMutex
	byName map[string]error
}{byName: map[string]error{
	"context.Canceled":         context.Canceled,
	"context.DeadlineExceeded": context.DeadlineExceeded,
	"errors.ErrUnsupported":    errors.ErrUnsupported,
	"io.EOF":                   io.EOF,
	"io.ErrUnexpectedEOF":      io.ErrUnexpectedEOF,
	"io.ErrClosedPipe":         io.ErrClosedPipe,
	"io.ErrNoProgress":         io.ErrNoProgress,
	"io.ErrShortBuffer":        io.ErrShortBuffer,
	"io.ErrShortWrite":         io.ErrShortWrite,
	"os.ErrInvalid":            os.ErrInvalid,
	"os.ErrNoDeadline":         os.ErrNoDeadline,
	"os.ErrProcessDone":        os.ErrProcessDone,
	"os.ErrClosed":             os.ErrClosed,
	"os.ErrDeadlineExceeded":   os.ErrDeadlineExceeded,
	"os.ErrExist":              os.ErrExist,
	"os.ErrNotExist":           os.ErrNotExist,
	"os.ErrPermission":         os.ErrPermission,
}}

// RegisterError makes err, a sentinel, keep its identity on the way from a worker
// process: a function's error that is err there, by errors.Is, is err here. The
// sentinels of packages context, io and os are registered. It must be called when
// the program starts, like [Register], and panics if name is taken or err is nil.
func RegisterError(name string, err error) {
	sentinels.mu.Lock()
	defer sentinels.mu.Unlock()
	switch {
	case err == nil:
		panic("executor: RegisterError of nil")
	case sentinels.byName[name] != nil:
		panic("executor: RegisterError of " + name + " twice")
	}
	sentinels.byName[name] = err
}

// sentinelsOf returns the names of the sentinels that err is.
func sentinelsOf(err error) (names []string) {
	sentinels.mu.RLock()
	defer sentinels.mu.RUnlock()
	for name, s := range sentinels.byName {
		if errors.Is(err, s) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// sentinelsNamed returns the sentinels of these names; one that is not known here
// is lost.
func sentinelsNamed(names []string) (errs []error) {
	sentinels.mu.RLock()
	defer sentinels.mu.RUnlock()
	for _, name := range names {
		if err := sentinels.byName[name]; err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// A failure is an outcome other than a result, on its way from a worker.
type failure struct {
	How   failureKind
	Text  string
	Type  string
	Is    []string
	Stack []byte
	// Of a call for several values: how many have results, and these.
	Done    int
	Results []byte
}

type failureKind uint8

const (
	failedReturn       failureKind = iota // the function has returned an error
	failedCanceled                        // that is a cancellation by package future
	failedPanic                           // with a value that is no error
	failedPanicError                      // with one that is
	failedGoexit                          // the function has called runtime.Goexit
	failedUnregistered                    // there is no such function
	failedDecode                          // its argument makes no sense
	failedEncode                          // its result cannot be encoded
	failedTooLarge                        // its result is over the limit
)

// maxText bounds texts and stacks that come from workers, in bytes.
const maxText = 64 << 10

// describeError makes a failure of an error, in the worker.
func describeError(how failureKind, err error) *failure {
	return &failure{How: how, Text: cutText(err.Error()), Type: fmt.Sprintf("%T", err), Is: sentinelsOf(err)}
}

// describePanic makes a failure of a panic, in the worker.
func describePanic(v any, stack []byte) *failure {
	f := &failure{How: failedPanic}
	if err, ok := v.(error); ok {
		f = describeError(failedPanicError, err)
	} else {
		f.Text = cutText(fmt.Sprint(v))
	}
	f.Stack = stack[:min(len(stack), maxText)]
	return f
}

func cutText(s string) string {
	if len(s) > maxText {
		return s[:maxText] + "…"
	}
	return s
}

// error returns what a call of the function name fails with, in the parent.
func (f *failure) error(name string) error {
	remote := &RemoteError{Func: name, Type: f.Type, Text: f.Text, is: sentinelsNamed(f.Is)}
	switch f.How {
	case failedCanceled:
		return &future.CanceledError{Cause: remote}
	case failedPanic:
		return &coro.PanicError{Value: f.Text, Stack: f.Stack}
	case failedPanicError:
		return &coro.PanicError{Value: remote, Stack: f.Stack}
	case failedGoexit:
		return ErrGoexit
	case failedUnregistered:
		return fmt.Errorf("%w: %s: %s", ErrUnregistered, name, f.Text)
	case failedDecode:
		return fmt.Errorf("%w: argument of %s: %w", ErrDecode, name, remote)
	case failedEncode:
		return fmt.Errorf("%w: result of %s: %w", ErrEncode, name, remote)
	case failedTooLarge:
		return fmt.Errorf("%w: result of %s: %s", ErrTooLarge, name, f.Text)
	}
	return remote
}

// append appends the failure to a frame.
func (f *failure) append(buf []byte) []byte {
	b := bytes.NewBuffer(buf)
	if err := gob.NewEncoder(b).Encode(f); err != nil {
		panic(err) // there is nothing in it that gob cannot encode
	}
	return b.Bytes()
}

// parseFailure is the reverse of append.
func parseFailure(data []byte) (*failure, error) {
	f := new(failure)
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(f); err != nil {
		return nil, err
	}
	return f, nil
}
