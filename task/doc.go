// Package task runs functions and state machines that wait, many on one loop.
//
// A task is a computation with a result. Its body is an ordinary function
// ([Start], [Go]): it runs on a stack of its own and suspends in calls that take
// a ctx. Or it is a [Machine] ([StartMachine]): a value with a Step method that
// returns what it waits for, 200 bytes and 10 ns instead of 3 KB and 100 ns.
// Between two suspensions nothing else runs on the loop.
//
// # Cancellation
//
// Cancel on a task, a group that fails and the end of Run's ctx are edges: they
// make the one call that the task waits in return a [*future.CanceledError], once.
// A body may clean up, wait again, and return; it may even go on. They never
// close the Done of a body's ctx. A scope is a level: when a context that the body
// derived (context.WithCancel, [WithTimeout]) is done, every wait with it ends.
//
//	err := task.Sleep(ctx, time.Hour)   // Cancel: returns a CanceledError, once
//	err = task.Sleep(ctx, time.Second)  // sleeps: cleaning up may take its time
//	sub, cancel := task.WithTimeout(ctx, time.Second)
//	err = task.Sleep(sub, time.Hour)    // after a second: ErrTimeout
//	err = task.Sleep(sub, time.Hour)    // at once: ErrTimeout
//
// # Rules
//
// A body must not block its goroutine: it would block the loop. Blocking calls
// go to package executor. A sync.Mutex must not be held across a suspension:
// another task that locks it would block the loop for ever. A body must not call
// runtime.LockOSThread; see loop.Config.LockThread. It may await only with its own
// ctx and on the loop: another task's ctx panics; so does another goroutine, unless
// the task happens to run at that moment, which is a data race that -race and
// loop.Config.Debug see.
package task
