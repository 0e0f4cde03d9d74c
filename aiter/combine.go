package aiter

import "iter"

// Chain returns the values of the first sequence, then those of the second, and so
// on.
func Chain[T any](seqs ...iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, seq := range seqs {
			for v, err := range seq {
				if !yield(v, err) || err != nil {
					return
				}
			}
		}
	}
}

// A Pair is a value of each of two sequences.
type Pair[A, B any] struct {
	First  A
	Second B
}

// Zip returns pairs of the values of a and b, asking a first, and ends with the
// shorter: if that is b, one value of a is taken and lost. It waits for one after
// the other; where both take their time, let a task run ahead: [Merge] of one
// source does. (Python: zip)
func Zip[A, B any](a iter.Seq2[A, error], b iter.Seq2[B, error]) iter.Seq2[Pair[A, B], error] {
	return func(yield func(Pair[A, B], error) bool) {
		next, stop := iter.Pull2(b)
		defer stop()
		for x, err := range a {
			p := Pair[A, B]{First: x}
			ok := true
			if err == nil {
				p.Second, err, ok = next()
			}
			if !ok || !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// Product returns each value of a paired with each of b, which is read to its end
// first and kept. (Python: product)
func Product[A, B any](a iter.Seq2[A, error], b iter.Seq2[B, error]) iter.Seq2[Pair[A, B], error] {
	return func(yield func(Pair[A, B], error) bool) {
		ys, err := Collect(b)
		if err != nil {
			yield(Pair[A, B]{}, err)
			return
		}
		for x, err := range a {
			if err != nil {
				yield(Pair[A, B]{First: x}, err)
				return
			}
			for _, y := range ys {
				if !yield(Pair[A, B]{x, y}, nil) {
					return
				}
			}
		}
	}
}

// Cycle returns the values of seq, and then again and again those that it has kept,
// without end unless there are none. A loop that never waits must break: it would
// block the event loop.
func Cycle[T any](seq iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var kept []T
		for v, err := range seq {
			kept = append(kept, v)
			if !yield(v, err) || err != nil {
				return
			}
		}
		for len(kept) > 0 {
			for _, v := range kept {
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}
