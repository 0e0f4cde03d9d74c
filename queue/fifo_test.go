package queue_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/eddyloop/eddy/queue"
)

// fifoModel does what ops say to a queue and to a slice, and compares.
func fifoModel(t *testing.T, ops []byte) {
	q := queue.New[int](0)
	var model []int
	next := 0
	put := func(n int) {
		for range n {
			must(t, q.TryPut(next))
			model = append(model, next)
			next++
		}
	}
	get := func(n int) {
		for range n {
			v, err := q.TryGet()
			if len(model) == 0 {
				if err != queue.ErrEmpty {
					t.Fatalf("empty queue gives %v, %v", v, err)
				}
				return
			}
			if err != nil || v != model[0] {
				t.Fatalf("got %v, %v; want %v", v, err, model[0])
			}
			model = model[1:]
		}
	}
	for _, op := range ops {
		switch n := int(op >> 2); op & 3 {
		case 0, 1:
			put(n)
		case 2:
			get(n)
		case 3:
			if n >= 60 {
				put(1 << 11) // a burst
			} else if n == 59 {
				get(len(model))
			} else {
				get(4 * n)
			}
		}
		if q.Len() != len(model) || q.Empty() != (len(model) == 0) {
			t.Fatalf("length %d, want %d", q.Len(), len(model))
		}
		if len(model) < 1<<8 && !slices.Equal(q.Items(), model) {
			t.Fatalf("items %v, want %v", q.Items(), model)
		}
		if n := queue.RingLen(q); n&(n-1) != 0 || n < len(model) {
			t.Fatalf("a ring of %d for %d items", n, len(model))
		}
	}
	if !slices.Equal(q.Items(), model) {
		t.Fatalf("items %v, want %v", q.Items(), model)
	}
}

func TestFIFOModel(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		ops := make([]byte, 100)
		for i := range ops {
			ops[i] = byte(r.Uint32())
		}
		fifoModel(t, ops)
	}
}

func FuzzFIFO(f *testing.F) {
	f.Add([]byte{8 << 2, 5<<2 | 2, 7 << 2, 63<<2 | 3, 59<<2 | 3, 4})
	f.Add([]byte{63<<2 | 3, 63<<2 | 3, 63<<2 | 3, 40<<2 | 3, 59<<2 | 3, 1 << 2, 1<<2 | 2})
	f.Fuzz(func(t *testing.T, ops []byte) {
		fifoModel(t, ops[:min(len(ops), 300)]) // more is no different
	})
}

func TestRingGrowsAndShrinks(t *testing.T) {
	q := queue.New[int](0)
	if n := queue.RingLen(q); n != 0 {
		t.Errorf("an unused queue has a ring of %d", n)
	}
	for i := range 10_000 {
		must(t, q.TryPut(i))
	}
	if n := queue.RingLen(q); n != 1<<14 {
		t.Errorf("a ring of %d for 10000 items", n)
	}
	for want := range 10_000 {
		if v, err := q.TryGet(); v != want || err != nil {
			t.Fatalf("got %v, %v; want %v", v, err, want)
		}
	}
	if n := queue.RingLen(q); n > 1<<12 {
		t.Errorf("a ring of %d is left of a burst", n)
	}
	// A queue that is never long keeps its small ring: no allocation per item.
	if n := testing.AllocsPerRun(1000, func() {
		for i := range 5 {
			_ = q.TryPut(i)
		}
		for range 5 {
			_, _ = q.TryGet()
		}
	}); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}
