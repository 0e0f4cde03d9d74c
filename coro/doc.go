// Package coro has functions that can be suspended and resumed.
//
// A [Coro] is a function with a place to stop in: its body calls yield, which
// hands a value to whoever resumed it and comes back when it is resumed again.
// It is Python's generator, with send, throw and close. A [Worker] is the same
// without the values, for those who write schedulers; a [Pool] keeps workers, so
// that many short bodies share a few stacks.
//
// The switch is that of iter.Pull: some 60 ns there and back, no scheduler and no
// second thread. What follows from it:
//
//   - Exactly one of the two sides runs. Neither needs a lock towards the other.
//   - A body that is suspended and forgotten is never collected. Close it.
//   - A body must not return, or suspend, with more or fewer calls of
//     runtime.LockOSThread in force than when its worker was made: the runtime
//     ends the process. The same holds for whoever resumes it. So workers are
//     made late, by the goroutine that resumes them, and never in an init.
//   - A panic of the body is caught where it happens, because its stack would be
//     lost on the way out, and becomes a [*PanicError].
//   - runtime.Goexit in a body (testing.T.FailNow) ends the body, and then the
//     goroutine that resumed it.
package coro
