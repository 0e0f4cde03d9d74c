// Package subprocess runs other programs: it starts them, talks to them through
// pipes that are streams of the loop, waits for them without blocking it, signals
// them, and leaves no zombies.
//
//	out, err := subprocess.Command("git", "log", "-1").Output(ctx)
//
// A [Cmd] says what to run. Its Run, Output and CombinedOutput do all of it; Start
// returns a [Process], to be talked to by tasks; StartProtocol calls a [Protocol],
// in the manner of asyncio's subprocess_exec.
//
// # Whose a process is
//
// The ctx of Start is for the start, as that of stream.Dial: a process goes on when
// the task that started it is canceled or has ended, and ends by itself, by a
// signal, by [Process.Close], or with the loop, whose Close kills what still runs
// and waits for it. (asyncio: closing the transport kills) Two things bind it more
// closely:
//
//   - Run, Output and CombinedOutput own their process. Interrupted, they end it
//     and return when it has exited.
//   - Cmd.Cancel binds a process to the ctx of Start, as os/exec's CommandContext
//     does: when ctx is done, because a scope that it was derived from ends or
//     because its task does, Cancel is called.
//
// # The end of a process
//
// A process has exited when the system says so, whoever else may hold its pipes.
// [Process.Wait] returns then, to any number of tasks, each time with the same
// [ExitState]. What the process wrote can still be read. A process that it has
// started itself, and that holds the pipes, keeps their readers waiting: see
// Cmd.WaitDelay.
//
// On Linux the loop watches a descriptor of the process (a pidfd), beside the one that
// package os has. Where that cannot be had a goroutine, and its thread, wait for each
// process. Nobody but this package may wait for its processes: if the program ignores
// SIGCHLD, or waits for any child, Wait returns an error, never a wrong code.
//
// A signal goes to the process that was started or to none: after its exit the
// methods that signal return os.ErrProcessDone, also when its number was given to
// another process.
package subprocess
