package aiter_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/eddyloop/eddy/aiter"
	"github.com/eddyloop/eddy/task"
)

func odd(n int) bool        { return n%2 == 1 }
func small(n int) bool      { return n < 3 }
func add(total, n int) int  { return total + n }
func initial(s string) byte { return s[0] }

// nums returns the numbers below n.
func nums(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func ints(n int) intSeq { return of(nums(n)...) }

type intSeq = iter.Seq2[int, error]

// TestSequences has a row for what each helper makes of its input: of an ordinary
// one, of an empty one, of one that fails.
func TestSequences(t *testing.T) {
	none := of[int]()
	bad := func() intSeq { return failing(errBoom, 1, 2, 3) }
	for _, tt := range []struct {
		name string
		got  string
		want string
	}{
		{"FromSlice", show(of(1, 2)), "1 2"},
		{"FromSeq", show(aiter.FromSeq(slices.Values([]int{1, 2}))), "1 2"},
		{"Count", show(aiter.Take(aiter.Count(3, -2), 4)), "3 1 -1 -3"},
		{"Count in floats", show(aiter.Take(aiter.Count(0.5, 0.25), 3)), "0.5 0.75 1"},

		{"Take", show(aiter.Take(ints(5), 2)), "0 1"},
		{"Take none", show(aiter.Take(bad(), 0)), ""},
		{"Take less than none", show(aiter.Take(bad(), -1)), ""},
		{"Take more than there are", show(aiter.Take(ints(2), 5)), "0 1"},
		{"Take before an error", show(aiter.Take(bad(), 3)), "1 2 3"},
		{"Take up to an error", show(aiter.Take(bad(), 4)), "1 2 3 0!boom"},

		{"TakeWhile", show(aiter.TakeWhile(of(1, 2, 3, 1), small)), "1 2"},
		{"TakeWhile all", show(aiter.TakeWhile(ints(2), small)), "0 1"},
		{"TakeWhile before an error", show(aiter.TakeWhile(bad(), small)), "1 2"},
		{"TakeWhile up to an error", show(aiter.TakeWhile(failing(errBoom, 1), small)), "1 0!boom"},
		{"TakeWhile of an error that is not ok", show(aiter.TakeWhile(failing(errBoom, 1), odd)), "1 0!boom"},

		{"DropWhile", show(aiter.DropWhile(of(1, 2, 3, 1), small)), "3 1"},
		{"DropWhile all", show(aiter.DropWhile(ints(2), small)), ""},
		{"DropWhile, error", show(aiter.DropWhile(bad(), small)), "3 0!boom"},
		{"DropWhile, error while dropping", show(aiter.DropWhile(failing(errBoom, 1), small)), "0!boom"},

		{"Filter", show(aiter.Filter(ints(5), odd)), "1 3"},
		{"Filter, error", show(aiter.Filter(bad(), odd)), "1 3 0!boom"},
		{"FilterFalse", show(aiter.FilterFalse(ints(5), odd)), "0 2 4"},
		{"FilterFalse, error", show(aiter.FilterFalse(bad(), odd)), "2 0!boom"},

		{"Batch", show(aiter.Batch(ints(5), 2)), "[0 1] [2 3] [4]"},
		{"Batch that comes out even", show(aiter.Batch(ints(4), 2)), "[0 1] [2 3]"},
		{"Batch of none", show(aiter.Batch(none, 2)), ""},
		{"Batch, error", show(aiter.Batch(bad(), 2)), "[1 2] [3]!boom"},
		{"Batch, error after a full one", show(aiter.Batch(bad(), 3)), "[1 2 3] []!boom"},

		{"GroupBy", show(aiter.GroupBy(of("ab", "ac", "b", "ad"), initial)), "{97 [ab ac]} {98 [b]} {97 [ad]}"},
		{"GroupBy of none", show(aiter.GroupBy(of[string](), initial)), ""},
		{"GroupBy, error", show(aiter.GroupBy(failing(errBoom, "a", "b"), initial)), "{97 [a]} {98 [b]}!boom"},
		{"GroupBy, error at once", show(aiter.GroupBy(failing[string](errBoom), initial)), "{0 []}!boom"},

		{"Accumulate", show(aiter.Accumulate(of(1, 2, 3), add)), "1 3 6"},
		{"Accumulate none", show(aiter.Accumulate(none, add)), ""},
		{"Accumulate, error", show(aiter.Accumulate(bad(), add)), "1 3 6 6!boom"},

		{"Chain", show(aiter.Chain(of(1), none, of(2, 3))), "1 2 3"},
		{"Chain of nothing", show(aiter.Chain[int]()), ""},
		{"Chain, error", show(aiter.Chain(of(9), bad(), of(4))), "9 1 2 3 0!boom"},

		{"Zip", show(aiter.Zip(ints(2), of("a", "b"))), "{0 a} {1 b}"},
		{"Zip, the first is shorter", show(aiter.Zip(ints(1), of("a", "b"))), "{0 a}"},
		{"Zip, the second is shorter", show(aiter.Zip(ints(5), of("a", "b"))), "{0 a} {1 b}"},
		{"Zip, the first fails", show(aiter.Zip(bad(), ints(9))), "{1 0} {2 1} {3 2} {0 0}!boom"},
		{"Zip, the second fails", show(aiter.Zip(ints(9), bad())), "{0 1} {1 2} {2 3} {3 0}!boom"},

		{"Product", show(aiter.Product(ints(2), of("a", "b"))), "{0 a} {0 b} {1 a} {1 b}"},
		{"Product with none", show(aiter.Product(ints(2), none)), ""},
		{"Product, the first fails", show(aiter.Product(failing(errBoom, 1), ints(2))), "{1 0} {1 1} {0 0}!boom"},
		{"Product, the second fails", show(aiter.Product(ints(2), bad())), "{0 0}!boom"},

		{"Cycle", show(aiter.Take(aiter.Cycle(ints(2)), 5)), "0 1 0 1 0"},
		{"Cycle of none", show(aiter.Cycle(none)), ""},
		{"Cycle, error", show(aiter.Cycle(bad())), "1 2 3 0!boom"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("got %q, want %q", tt.got, tt.want)
			}
		})
	}
}

// TestLeavingEndsTheSource: a loop over any helper that is left at any value leaves
// the loops over its sources, and a second loop begins anew.
func TestLeavingEndsTheSource(t *testing.T) {
	open := 0
	src := func(n int) intSeq {
		return func(yield func(int, error) bool) {
			open++
			defer func() { open-- }()
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
		}
	}
	// erase forgets the type of the values.
	for name, seq := range map[string]func(yield func() bool){
		"FromSeq":     erase(aiter.FromSeq(slices.Values(nums(6)))),
		"FromSlice":   erase(ints(6)),
		"Count":       erase(aiter.Take(aiter.Count(0, 1), 20)),
		"Take":        erase(aiter.Take(src(6), 4)),
		"TakeWhile":   erase(aiter.TakeWhile(src(6), small)),
		"DropWhile":   erase(aiter.DropWhile(src(6), small)),
		"Filter":      erase(aiter.Filter(src(6), odd)),
		"FilterFalse": erase(aiter.FilterFalse(src(6), odd)),
		"Batch":       erase(aiter.Batch(src(6), 4)),
		"GroupBy":     erase(aiter.GroupBy(src(6), small)),
		"Accumulate":  erase(aiter.Accumulate(src(6), add)),
		"Chain":       erase(aiter.Chain(src(2), src(2))),
		"Zip":         erase(aiter.Zip(src(3), src(2))),
		"Product":     erase(aiter.Product(src(2), src(2))),
		"Cycle":       erase(aiter.Take(aiter.Cycle(src(2)), 6)),
	} {
		t.Run(name, func(t *testing.T) {
			all := 0
			for range seq {
				all++
			}
			if all == 0 {
				t.Error("there are no values")
			}
			for at := 1; at <= all; at++ {
				n := 0
				for range seq {
					if n++; n == at {
						break
					}
				}
				if n != at || open != 0 {
					t.Errorf("left at value %d of %d: had %d, %d sources are open", at, all, n, open)
				}
			}
		})
	}
}

func erase[T any](seq iter.Seq2[T, error]) func(yield func() bool) {
	return func(yield func() bool) {
		for range seq {
			if !yield() {
				return
			}
		}
	}
}

func TestTakeTakesNoMore(t *testing.T) {
	taken := 0
	seq := func(yield func(int, error) bool) {
		for taken = 1; yield(taken, nil); taken++ {
		}
	}
	if got := show(aiter.Take(seq, 3)); got != "1 2 3" || taken != 3 {
		t.Errorf("Take = %s, %d taken", got, taken)
	}
}

func TestBatchesAreApart(t *testing.T) {
	batches, err := aiter.Collect(aiter.Batch(ints(4), 2))
	if err != nil {
		t.Fatal(err)
	}
	_ = append(batches[0], 9)
	batches[0][1] = 8
	if got := fmt.Sprint(batches); got != "[[0 8] [2 3]]" {
		t.Errorf("batches %s", got)
	}
	wantPanic(t, "aiter: Batch of less than one", func() { aiter.Batch(ints(1), 0) })
}

func TestCollectAndValues(t *testing.T) {
	vs, err := aiter.Collect(failing(errBoom, 1, 2))
	if !slices.Equal(vs, []int{1, 2}) || err != errBoom {
		t.Errorf("Collect = %v, %v", vs, err)
	}
	for _, tt := range []struct {
		seq  intSeq
		want []int
		err  error
	}{{failing(errBoom, 2, 1), []int{1, 2}, errBoom}, {of(2, 1), []int{1, 2}, nil}} {
		err := error(fmt.Errorf("of before"))
		if got := slices.Sorted(aiter.Values(tt.seq, &err)); !slices.Equal(got, tt.want) || err != tt.err {
			t.Errorf("Sorted = %v, %v; want %v, %v", got, err, tt.want, tt.err)
		}
	}
	for v := range aiter.Values(failing(errBoom, 1, 2), &err) {
		if v == 1 {
			break
		}
	}
	if err != nil {
		t.Errorf("error %v of a loop that was left before it", err)
	}
}

func TestTee(t *testing.T) {
	ended := 0
	src := func(n int, err error) intSeq {
		return func(yield func(int, error) bool) {
			defer func() { ended++ }()
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
			if err != nil {
				yield(n, err)
			}
		}
	}
	for _, tt := range []struct {
		name  string
		seq   intSeq
		use   func(a, b intSeq, stop func()) string
		want  string
		ended int // how often the source has run and ended
	}{
		{"one after the other", src(3, nil), func(a, b intSeq, _ func()) string {
			return show(a) + "; " + show(b) + "; " + show(a)
		}, "0 1 2; 0 1 2; ", 1},
		{"in turns", src(3, nil), func(a, b intSeq, _ func()) string {
			return show(aiter.Zip(a, b))
		}, "{0 0} {1 1} {2 2}", 1},
		{"pairwise", src(4, nil), func(a, b intSeq, _ func()) string {
			return show(aiter.Take(b, 1)) + "; " + show(aiter.Zip(a, b))
		}, "0; {0 1} {1 2} {2 3}", 1},
		{"an error", src(2, errBoom), func(a, b intSeq, _ func()) string {
			return show(a) + "; " + show(b) + "; " + show(b)
		}, "0 1 2!boom; 0 1 2!boom; ", 1},
		{"an error closes the source", src(2, errBoom), func(a, _ intSeq, _ func()) string {
			return show(a)
		}, "0 1 2!boom", 1},
		{"left and gone on with", src(4, nil), func(a, b intSeq, _ func()) string {
			return show(aiter.Take(a, 2)) + "; " + show(aiter.Take(b, 3)) + "; " + show(a) + "; " + show(b)
		}, "0 1; 0 1 2; 2 3; 3", 1},
		{"stop", src(4, nil), func(a, b intSeq, stop func()) string {
			s := show(aiter.Take(a, 2))
			stop()
			stop()
			return s + "; " + show(a) + "; " + show(b)
		}, "0 1; ; 0 1", 1},
		{"stop before the start", src(4, nil), func(a, b intSeq, stop func()) string {
			stop()
			return show(a) + show(b)
		}, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended = 0
			seqs, stop := aiter.Tee(tt.seq, 2)
			if got := tt.use(seqs[0], seqs[1], stop); got != tt.want || ended != tt.ended {
				t.Errorf("got %q, ended %d times; want %q, %d", got, ended, tt.want, tt.ended)
			}
			stop()
		})
	}
}

func TestTeeOfASourceThatWaits(t *testing.T) {
	run(t, func(ctx context.Context, j *journal) {
		seqs, stop := aiter.Tee(every(j, "source", time.Second, 9)(ctx), 2)
		for p, err := range aiter.Zip(seqs[0], seqs[1]) {
			if err != nil {
				t.Error(err)
			}
			if j.log("%v", p); p.First == 1 {
				break
			}
		}
		other := task.Go(ctx, func(ctx context.Context) error {
			wantPanic(t, "aiter: the sequences of a Tee were used by two tasks at a time", func() { show(seqs[1]) })
			return nil
		})
		show(aiter.Take(seqs[0], 1))
		if _, err := other.Await(ctx); err != nil {
			t.Error(err)
		}
		stop()
		j.want(t, "1s {0 0}", "2s {1 1}", "3s source ended")
	})
}

// TestHelpersOverASourceThatWaits: they suspend where the source does, and what
// cancels the task reaches the loop through them.
func TestHelpersOverASourceThatWaits(t *testing.T) {
	run(t, func(ctx context.Context, j *journal) {
		me := task.FromContext(ctx)
		j.l.CallLater(3500*time.Millisecond, func() { me.Cancel(errBoom) })
		ticks := every(j, "a", time.Second, 9)(ctx)
		tocks := every(j, "b", 0, 9)(ctx)
		for v, err := range aiter.Batch(aiter.Zip(aiter.Filter(ticks, odd), tocks), 2) {
			j.log("%v %s", v, said(err))
			if err != nil {
				me.Uncancel()
			}
		}
		j.want(t, "3.5s [{1 0}] canceled boom", "3.5s a ended", "3.5s b ended")
	})
}
