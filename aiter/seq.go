package aiter

import (
	"context"
	"iter"
)

// A Source makes a sequence that waits with ctx.
type Source[T any] = func(ctx context.Context) iter.Seq2[T, error]

// Ready returns a Source of a sequence that does not wait, such as FromSlice's.
func Ready[T any](seq iter.Seq2[T, error]) Source[T] {
	return func(context.Context) iter.Seq2[T, error] { return seq }
}

// FromSeq returns the values of seq, each with a nil error.
func FromSeq[T any](seq iter.Seq[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v := range seq {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// FromSlice returns the elements of s in order.
func FromSlice[S ~[]T, T any](s S) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range s {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Values returns the values of seq alone, for those who know iter.Seq. When an
// error ends seq, *err is set to it, and to nil otherwise; look when the loop is
// over. The value beside the error is not returned.
func Values[T any](seq iter.Seq2[T, error], err *error) iter.Seq[T] {
	return func(yield func(T) bool) {
		*err = nil
		for v, e := range seq {
			if e != nil {
				*err = e
				return
			}
			if !yield(v) {
				return
			}
		}
	}
}

// Collect returns the values of seq, and the error that ended it, if one did. The
// value beside the error is not among them.
func Collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var vs []T
	for v, err := range seq {
		if err != nil {
			return vs, err
		}
		vs = append(vs, v)
	}
	return vs, nil
}

// A Number is what [Count] counts in.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64
}

// Count returns start, start+step, start+2*step and so on, without end. A loop
// that never waits must break: it would block the event loop.
func Count[N Number](start, step N) iter.Seq2[N, error] {
	return func(yield func(N, error) bool) {
		for n := start; yield(n, nil); n += step {
		}
	}
}
