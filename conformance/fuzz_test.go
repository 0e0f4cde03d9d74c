package conformance

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// Seeds are a few programs of each level; the rest would only make every run of
// the tests longer.
const seedEvery = 50

func addSeeds(f *testing.F, add func(p *Program)) {
	for _, level := range levels {
		for i, c := range readCases(f, level) {
			if i%seedEvery == 0 {
				add(c.p)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	addSeeds(f, func(p *Program) { f.Add([]byte(p.String())) })
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := Parse(data); err == nil {
			checkRoundTrip(t, p)
		}
	})
}

// FuzzRun runs what the bytes say if they are a program, changed at random: few
// changes of bytes make another program.
func FuzzRun(f *testing.F) {
	addSeeds(f, func(p *Program) {
		f.Add([]byte(p.String()), uint64(0))
		f.Add([]byte(p.String()), uint64(len(p.String())))
	})
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		p, err := Parse(data)
		if err != nil {
			return
		}
		if seed != 0 {
			p = mutate(p, rand.New(rand.NewPCG(seed, 0)))
		}
		before := runtime.NumGoroutine()
		hang := time.AfterFunc(time.Minute, func() { panic("hangs: " + p.String()) })
		defer hang.Stop()
		first, err := Run(p)
		if err != nil {
			t.Fatalf("%v\n%s", err, p)
		}
		again, err := Run(p)
		if d := Diff(again, first); err != nil || d != "" {
			t.Fatalf("another trace the second time: %v %s\n%s", err, d, p)
		}
		for i := 0; runtime.NumGoroutine() > before; i++ {
			if i == 1000 {
				t.Fatalf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), p)
			}
			time.Sleep(time.Millisecond) // a goroutine that was told to end takes its time
		}
	})
}

// mutate returns a program with some random changes.
func mutate(p *Program, r *rand.Rand) *Program {
	ops := slices.Collect(func(yield func(Op) bool) {
		for _, b := range p.blocks() {
			for _, op := range b.ops {
				if !yield(op) {
					return
				}
			}
		}
	})
	for range 1 + r.IntN(6) {
		q := p.clone()
		mutateOnce(q, ops, r)
		if q.Validate() == nil {
			p = q
		}
	}
	return p
}

func mutateOnce(p *Program, donors []Op, r *rand.Rand) {
	blocks := p.blocks()
	b := blocks[r.IntN(len(blocks))]
	at := r.IntN(len(b.ops) + 1)
	switch n := len(b.ops); r.IntN(8) {
	case 0:
		p.Eager = !p.Eager
	case 1:
		p.Mode = map[string]string{"idle": "run", "run": "idle"}[p.Mode]
	case 2, 3, 4: // an op from elsewhere
		if len(donors) > 0 {
			op := donors[r.IntN(len(donors))]
			b.set(slices.Insert(b.ops, at, Op{op.Name, cloneArgs(op.Args)}))
		}
	case 5:
		if at < n {
			b.set(slices.Delete(b.ops, at, at+1))
		}
	case 6:
		if at < n {
			other := r.IntN(n)
			b.ops[at], b.ops[other] = b.ops[other], b.ops[at]
		}
	case 7: // another number, rarely a large one
		if at == n {
			return
		}
		for i, x := range b.ops[at].Args {
			if _, ok := x.(int); ok {
				b.ops[at].Args[i] = []int{-1, 0, 1, 2, 3, 5, maxInt}[r.IntN(7)]
			} else if x, ok := x.(bool); ok {
				b.ops[at].Args[i] = !x
			}
		}
	}
}
