package coro

import "iter"

// Delegate makes c part of the body that calls it: it runs c from where c stands
// to its end and returns c's outcome, with yield passing what c yields to whoever
// resumed the body, and what that one says to c. yield is the calling body's.
// (Python: yield from)
//
//   - Next and Send resume c with the value sent.
//   - Throw throws in c, which may go on, end, or fail with it.
//   - Close closes c, and then Delegate returns [ErrClosed], or c's error if c
//     failed, or [ErrIgnoredClose]: the body should return in its turn.
//
// A panic of c is a [*PanicError], as with [Coro.Result]; nothing is yielded if c
// has ended before. However the calling body ends, c is closed then. Delegate
// panics if c is running, as it is when c delegates to itself.
//
// Through n levels of delegation a value takes n switches.
func Delegate[In, Out, R any](yield func(Out) (In, error), c *Coro[In, Out, R]) (R, error) {
	defer func() {
		if c.state == Suspended { // the body is unwound, or left by Goexit
			_ = c.Close()
		}
	}()
	var none R
	out, alive := c.Next()
	for alive {
		in, err := yield(out)
		switch {
		case err == nil:
			out, alive = c.Send(in)
		case isClosed(err):
			if failure := c.Close(); failure != nil {
				return none, failure
			}
			return none, err
		default:
			out, alive = c.Throw(err)
		}
	}
	return c.Result()
}

// DelegateSeq is [Delegate] for a sequence, which can be told nothing: values sent
// are dropped, and an error thrown, or [ErrClosed], ends the loop over seq and is
// returned. (Python: yield from, of an iterator)
func DelegateSeq[In, Out any](yield func(Out) (In, error), seq iter.Seq[Out]) error {
	for v := range seq {
		if _, err := yield(v); err != nil {
			return err
		}
	}
	return nil
}

// isClosed reports whether err says that the coroutine was closed: it is
// ErrClosed, or wraps it. A failure joined to it is a failure, and a panic with it
// a panic.
func isClosed(err error) bool {
	for err != nil {
		if err == ErrClosed {
			return true
		}
		if _, ok := err.(*PanicError); ok {
			return false
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return false
		}
		err = u.Unwrap()
	}
	return false
}
