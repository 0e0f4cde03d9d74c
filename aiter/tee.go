package aiter

import "iter"

// Tee returns n sequences, each with all values of seq, which is ranged over once,
// as the foremost of them asks. What one has had and another has not is kept. A
// second loop over one of them goes on where the first was left. They are for one
// task, that of the ctx with which seq waits: to feed several tasks, put into a
// queue for each. (Python: tee)
//
// stop ends seq, and with it all of them, after what is kept for each. It must be
// called unless seq has come to its end, as that of iter.Pull, or seq stays
// suspended for ever. It does no harm again.
func Tee[T any](seq iter.Seq2[T, error], n int) (seqs []iter.Seq2[T, error], stop func()) {
	t := &tee[T]{seq: seq}
	start := new(kept[T])
	for range n {
		at := start
		seqs = append(seqs, func(yield func(T, error) bool) {
			for at.next != nil || t.pull(at) {
				at = at.next
				if !yield(at.v, at.err) || at.err != nil {
					return
				}
			}
		})
	}
	return seqs, t.stop
}

type tee[T any] struct {
	seq     iter.Seq2[T, error]
	next    func() (T, error, bool) // nil before the first pull
	cancel  func()
	pulling bool
	over    bool
}

// A kept is a value of the sequence, and the way to those after it. Who holds one
// holds what it has not had.
type kept[T any] struct {
	v    T
	err  error
	next *kept[T] // nil: not pulled yet
}

// pull gets the value after last, and reports whether there is one.
func (t *tee[T]) pull(last *kept[T]) bool {
	if t.pulling {
		panic("aiter: the sequences of a Tee were used by two tasks at a time")
	}
	if t.over {
		return false
	}
	if t.next == nil {
		t.next, t.cancel = iter.Pull2(t.seq)
	}
	t.pulling = true
	defer func() { t.pulling = false }()
	v, err, ok := t.next()
	if !ok {
		t.over = true
		return false
	}
	last.next = &kept[T]{v: v, err: err}
	if err != nil {
		t.stop()
	}
	return true
}

func (t *tee[T]) stop() {
	t.over = true
	if t.cancel != nil {
		t.cancel()
	}
}
