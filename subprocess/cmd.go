package subprocess

import (
	"os"
	"syscall"
	"time"
)

// A Cmd is a program to run and how. It is only read, may be changed when a method
// that starts it has returned, and may be started any number of times. The zero
// value of each field but Path is right for production.
type Cmd struct {
	// Path is the program. One without a slash is looked for in the directories of
	// PATH, as os/exec does it; a relative one with a slash counts from Dir. Default
	// "": Args[0].
	Path string
	// Args are the arguments, that with the program's name first. Default nil: Path
	// alone.
	Args []string
	// Env is the environment, as "key=value"; the last of several values of a key
	// counts. Default nil: the environment of this process, with PWD if Dir is set.
	Env []string
	// Dir is the working directory. Default "": that of this process.
	Dir string

	// Stdin, Stdout and Stderr say what the standard streams are connected with.
	// Default nil: the null device.
	Stdin, Stdout, Stderr Stdio
	// ExtraFiles are open in the process as descriptors 3 and up; of a nil one the
	// number is left out. They stay the caller's, and must be open until the process
	// was started. Default nil: none.
	ExtraFiles []*os.File

	// NewGroup makes the process the leader of a process group of its own, so that
	// what it starts can be signaled with it: see [Process.KillGroup]. Whatever in
	// this package kills a running process then kills its group. A terminal sends
	// Ctrl-C to its foreground group, so no more to this one. Default false.
	NewGroup bool
	// SysProcAttr are more attributes, of the operating system. Default nil: none.
	SysProcAttr *syscall.SysProcAttr

	// Cancel ends the process early: it is called, on the loop, when the ctx of Start
	// is done, and when Run, Output or CombinedOutput is interrupted; once at most.
	// [Process.Terminate] and [Process.KillGroup] are such functions, as
	// (*Process).Terminate. If it fails the process is killed. Default nil: the end of
	// Start's ctx means nothing, and the others kill.
	Cancel func(p *Process) error
	// WaitDelay bounds what follows the end. It counts from the call of Cancel or from
	// the exit, whichever comes first. Then the process is killed if it still runs,
	// and the pipes that are still open are closed: another process holds them. Who
	// reads them gets net.ErrClosed, Communicate and the like [ErrWaitDelay].
	// What was written and not read by then is lost. Default 0: no bound, but 1 s
	// from the exit when Run, Output or CombinedOutput was interrupted.
	WaitDelay time.Duration

	// MaxOutput is how many bytes Communicate, Output and CombinedOutput keep of each
	// stream; for more they fail with [ErrOutputLimit]. Default 0: no bound.
	MaxOutput int
}

// Command returns a Cmd that runs the program name with arguments.
// (asyncio: create_subprocess_exec)
func Command(name string, args ...string) *Cmd {
	return &Cmd{Path: name, Args: append([]string{name}, args...)}
}

// Shell returns a Cmd that has /bin/sh run a line. What becomes part of the line must
// be quoted: the arguments of [Command] need not be. (asyncio: create_subprocess_shell)
func Shell(line string) *Cmd { return Command("/bin/sh", "-c", line) }

// A Stdio is what a standard stream of a process is connected with: nil for the null
// device (asyncio: DEVNULL), a [Redirect], or a [File].
type Stdio interface{ stdio() }

// A Redirect is a Stdio that needs no more than a name.
type Redirect uint8

const (
	// Pipe is a pipe whose other end is the Process's Stdin, Stdout or Stderr.
	// (asyncio: PIPE)
	Pipe Redirect = 1 + iota
	// Inherit is what the same stream of this process is connected with.
	// (asyncio: None)
	Inherit
	// ToStdout is for Stderr: wherever Stdout goes. (asyncio: STDOUT)
	ToStdout
)

func (Redirect) stdio() {}

// File returns the Stdio that is an open file. It stays the caller's, and must be open
// until the process was started. It becomes a blocking one.
func File(f *os.File) Stdio {
	if f == nil {
		panic("subprocess: File without a file")
	}
	return fileStdio{f}
}

type fileStdio struct{ f *os.File }

func (fileStdio) stdio() {}

// check panics if c cannot be meant.
func (c *Cmd) check() {
	switch {
	case c.path() == "":
		panic("subprocess: Cmd without a Path")
	case c.Stdin == ToStdout || c.Stdout == ToStdout:
		panic("subprocess: ToStdout is for Stderr")
	}
}

func (c *Cmd) path() string {
	if c.Path == "" && len(c.Args) > 0 {
		return c.Args[0]
	}
	return c.Path
}
