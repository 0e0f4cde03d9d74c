package aiter

import "iter"

// Batch returns the values of seq in slices of n, each its own; the last may be
// shorter. When an error ends seq, the last pair has it and the values that were
// waiting for others, which may be none. It panics if n is not positive.
// (Python: batched, chunked)
func Batch[T any](seq iter.Seq2[T, error], n int) iter.Seq2[[]T, error] {
	if n <= 0 {
		panic("aiter: Batch of less than one")
	}
	return func(yield func([]T, error) bool) {
		var batch []T
		for v, err := range seq {
			if err != nil {
				yield(batch, err)
				return
			}
			batch = append(batch, v)
			if len(batch) == n {
				if !yield(batch, nil) {
					return
				}
				batch = nil
			}
		}
		if len(batch) > 0 {
			yield(batch, nil)
		}
	}
}

// A Run is neighbors in a sequence that have the same key.
type Run[K comparable, T any] struct {
	Key    K
	Values []T
}

// GroupBy returns the runs of values with the same key. When an error ends seq,
// the last pair has it and the run that was not complete, which may have no values.
// (Python: groupby)
func GroupBy[K comparable, T any](seq iter.Seq2[T, error], key func(v T) K) iter.Seq2[Run[K, T], error] {
	return func(yield func(Run[K, T], error) bool) {
		var run Run[K, T]
		for v, err := range seq {
			if err != nil {
				yield(run, err)
				return
			}
			k := key(v)
			if len(run.Values) > 0 && k != run.Key {
				if !yield(run, nil) {
					return
				}
				run.Values = nil
			}
			run.Key = k
			run.Values = append(run.Values, v)
		}
		if len(run.Values) > 0 {
			yield(run, nil)
		}
	}
}

// Accumulate returns the first value of seq, and then for each further value what
// add makes of the last result and it. (Python: accumulate)
func Accumulate[T any](seq iter.Seq2[T, error], add func(total, v T) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var total T
		first := true
		for v, err := range seq {
			switch {
			case err != nil:
				yield(total, err)
				return
			case first:
				total, first = v, false
			default:
				total = add(total, v)
			}
			if !yield(total, nil) {
				return
			}
		}
	}
}
