package subprocess

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

var (
	// ErrWaitDelay is returned when the process has exited, or was killed, and others
	// held its pipes until Cmd.WaitDelay had passed. The output so far comes with it.
	ErrWaitDelay = errors.New("subprocess: another process holds the pipes: they were closed after WaitDelay")

	// ErrOutputLimit is returned for a process that has written more than
	// Cmd.MaxOutput. What was kept comes with it.
	ErrOutputLimit = errors.New("subprocess: more output than MaxOutput")
)

// An ExitState is how a process has ended. The zero value is that of one of which
// nobody knows.
type ExitState struct {
	ps    *os.ProcessState
	name  string
	cause error // of the end of Start's ctx, for which Cancel was called
}

// Code returns the exit code, or minus the number of the signal that ended the
// process; 255 for the zero ExitState. (asyncio: returncode)
func (s ExitState) Code() int {
	if s.ps == nil {
		return unknown
	}
	if sig, ok := s.Signal(); ok {
		return -int(sig)
	}
	return s.ps.ExitCode()
}

const unknown = 255

// Signal returns the signal that ended the process, and whether one did.
func (s ExitState) Signal() (sig syscall.Signal, ok bool) {
	if s.ps == nil {
		return 0, false
	}
	return signalOf(s.ps)
}

// Success reports whether the process has exited with code 0.
func (s ExitState) Success() bool { return s.ps != nil && s.ps.Success() }

// ProcessState returns what package os knows: times, the system's resource usage. It is
// nil for the zero ExitState.
func (s ExitState) ProcessState() *os.ProcessState { return s.ps }

// String returns "exit status 1", "signal: killed" and the like.
func (s ExitState) String() string { return s.ps.String() }

// Err returns nil if the process has exited with code 0, and otherwise an
// [*ExitError].
func (s ExitState) Err() error {
	if s.Success() {
		return nil
	}
	return &ExitError{ExitState: s}
}

// An ExitError is the end of a process with another code than 0, or by a signal.
type ExitError struct {
	ExitState
	// Stderr is what the process wrote there, if it was collected: by Output when
	// Cmd.Stderr is nil, the last 32 KB of it.
	Stderr []byte
}

// Error names the program and how it has ended.
func (e *ExitError) Error() string { return fmt.Sprintf("subprocess: %s: %v", e.name, e.ExitState) }

// Unwrap returns the cause of the end of Start's ctx if Cmd.Cancel was called for it,
// such as a timeout, and nil otherwise.
func (e *ExitError) Unwrap() error { return e.cause }
