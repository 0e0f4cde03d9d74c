// Package thread has what ordinary goroutines share and wait for: Python's
// threading and queue, with Go's contexts. No loop is needed. Everything here may
// be used from any goroutine; a task on a loop must not wait here, since that
// would stall its loop: for tasks there are packages locks and queue.
//
// # Three forms
//
// What may wait comes in three forms:
//
//	l.Acquire(ctx)           // waits until it has succeeded or ctx is done
//	l.AcquireTimeout(ctx, d) // the same, but for no longer than d
//	l.TryAcquire()           // does not wait
//
// A call with ctx is a point of cancellation: if ctx is done already it returns
// ctx.Err() and does nothing else, though it might have succeeded at once. When
// the time d is over the error is [ErrTimeout], which is also
// [context.DeadlineExceeded] to errors.Is; a d of zero or less does not wait, but
// tries. Time is monotonic.
//
// # Who waits
//
// Those who wait are served in the order they came, and a newcomer never overtakes
// them. (CPython's locks do not promise this.) What one waits for is handed to it
// by the one who lets it go: so if the time of a goroutine is over, or its ctx
// done, at the very moment it is served, it has been served, and the call
// succeeds. Nothing is lost, and nobody else need be woken instead.
//
// Handing over costs a switch of goroutines where [sync.Mutex] lets those who run
// go first: take that one where neither ctx, nor a timeout, nor the order matters.
//
// A goroutine that waits is all there is: nothing runs beside it, and a call that
// has returned leaves nothing behind.
package thread
