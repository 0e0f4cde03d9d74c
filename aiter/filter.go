package aiter

import "iter"

// Take returns the first n values of seq, and takes no more from it.
// (Python: islice)
func Take[T any](seq iter.Seq2[T, error], n int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if n <= 0 {
			return
		}
		left := n
		for v, err := range seq {
			left--
			if !yield(v, err) || err != nil || left == 0 {
				return
			}
		}
	}
}

// TakeWhile returns the values before the first for which ok is false, which is
// taken from seq and lost.
func TakeWhile[T any](seq iter.Seq2[T, error], ok func(v T) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range seq {
			if err == nil && !ok(v) || !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// DropWhile returns the values from the first for which ok is false.
func DropWhile[T any](seq iter.Seq2[T, error], ok func(v T) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		dropping := true
		for v, err := range seq {
			dropping = dropping && err == nil && ok(v)
			if !dropping && !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// Filter returns the values for which ok is true. To wait for the answer, see
// [Map].
func Filter[T any](seq iter.Seq2[T, error], ok func(v T) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range seq {
			if (err != nil || ok(v)) && !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// FilterFalse returns the values for which ok is false.
func FilterFalse[T any](seq iter.Seq2[T, error], ok func(v T) bool) iter.Seq2[T, error] {
	return Filter(seq, func(v T) bool { return !ok(v) })
}
