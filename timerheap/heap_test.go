package timerheap

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// check fails t unless h keeps what its fields promise.
func check[T any](t testing.TB, h *Heap[T]) {
	t.Helper()
	dead := 0
	for i := range h.a {
		if !h.a[i].live() {
			dead++
		}
		if p := (i - 1) / 4; i > 0 && h.a[i].before(&h.a[p]) {
			t.Fatalf("entry %d is before its parent %d", i, p)
		}
	}
	if h.dead != dead {
		t.Fatalf("heap counts %d dead entries, there are %d", h.dead, dead)
	}
	checkSize(t, h)
	for i, e := range h.a[len(h.a):cap(h.a)] {
		if e.node != nil {
			t.Fatalf("free entry %d keeps a node", len(h.a)+i)
		}
	}
}

// checkSize is the part of check that takes no time.
func checkSize[T any](t testing.TB, h *Heap[T]) {
	t.Helper()
	if len(h.a) > 2*h.Len() {
		t.Fatalf("array has %d entries for %d queued nodes, want at most twice as many", len(h.a), h.Len())
	}
	if cap(h.a) > max(minCap, 4*len(h.a)) {
		t.Fatalf("array has room for %d entries and holds %d", cap(h.a), len(h.a))
	}
}

// drain pops everything and returns the values in order.
func drain[T any](h *Heap[T]) []T {
	var got []T
	for n := h.PopDue(math.MaxInt64); n != nil; n = h.PopDue(math.MaxInt64) {
		got = append(got, n.Value)
	}
	return got
}

func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		name   string
		whens  []int64 // pushed in this order
		remove []int   // indexes into whens, then removed in this order
		want   []int   // indexes into whens, in order of popping
	}{
		{"empty", nil, nil, nil},
		{"one", []int64{7}, nil, []int{0}},
		{"ascending", []int64{1, 2, 3, 4, 5, 6}, nil, []int{0, 1, 2, 3, 4, 5}},
		{"descending", []int64{6, 5, 4, 3, 2, 1}, nil, []int{5, 4, 3, 2, 1, 0}},
		{"ties in push order", []int64{3, 3, 3, 3, 3, 3, 3, 3, 3}, nil, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		{"ties behind an earlier one", []int64{3, 3, 1, 3, 3}, nil, []int{2, 0, 1, 3, 4}},
		{"ties after a sweep", []int64{3, 3, 3, 3, 3, 3, 3}, []int{0, 2, 4, 5}, []int{1, 3, 6}},
		{"extremes", []int64{math.MaxInt64, 0, math.MinInt64}, nil, []int{2, 1, 0}},
		{"first removed", []int64{1, 2, 3}, []int{0}, []int{1, 2}},
		{"last removed", []int64{1, 2, 3}, []int{2}, []int{0, 1}},
		{"all removed", []int64{1, 2, 3}, []int{1, 0, 2}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h Heap[int]
			nodes := make([]Node[int], len(tt.whens))
			for i, when := range tt.whens {
				nodes[i].Value = i
				h.Push(when, &nodes[i])
				check(t, &h)
			}
			for _, i := range tt.remove {
				if !h.Remove(&nodes[i]) {
					t.Errorf("Remove(%d) = false, want true", i)
				}
				check(t, &h)
			}
			if got, want := h.Len(), len(tt.want); got != want {
				t.Errorf("Len() = %d, want %d", got, want)
			}
			if got := drain(&h); !slices.Equal(got, tt.want) {
				t.Errorf("popped in order %v, want %v", got, tt.want)
			}
			check(t, &h)
		})
	}
}

func TestPopDueNeverEarly(t *testing.T) {
	var h Heap[string]
	a, b := Node[string]{Value: "a"}, Node[string]{Value: "b"}
	h.Push(10, &a)
	h.Push(20, &b)
	if n := h.PopDue(9); n != nil {
		t.Errorf("PopDue(9) = %q, want nil", n.Value)
	}
	if n := h.PopDue(10); n != &a {
		t.Errorf("PopDue(10) = %v, want a", n)
	}
	if n := h.PopDue(19); n != nil {
		t.Errorf("PopDue(19) = %q, want nil", n.Value)
	}
	if when, ok := h.Min(); when != 20 || !ok {
		t.Errorf("Min() = %d, %v, want 20, true", when, ok)
	}
}

func TestPopDueSkipsRemovedHead(t *testing.T) {
	var h Heap[int]
	nodes := make([]Node[int], 4)
	for i := range nodes {
		h.Push(int64(10*i), &nodes[i])
	}
	h.Remove(&nodes[0])
	if n := h.PopDue(9); n != nil { // the dead head is due, what follows is not
		t.Errorf("PopDue(9) = %v, want nil", n)
	}
	h.Remove(&nodes[1])
	if when, ok := h.Min(); when != 20 || !ok {
		t.Errorf("Min() = %d, %v, want 20, true", when, ok)
	}
	check(t, &h)
}

func TestNodeIsReusableAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		free func(h *Heap[int], n *Node[int]) // ends n's first stay
	}{
		{"after Remove", func(h *Heap[int], n *Node[int]) { h.Remove(n) }},
		{"after PopDue", func(h *Heap[int], n *Node[int]) { h.PopDue(1) }},
	} {
		for _, when := range []int64{0, 1, 5, 9} { // earlier, same, later, last
			t.Run(fmt.Sprintf("%s to %d", tt.name, when), func(t *testing.T) {
				var h Heap[int]
				n := Node[int]{Value: 1}
				others := []Node[int]{{Value: 3}, {Value: 7}, {Value: 8}, {Value: 6}}
				h.Push(1, &n)
				for i := range others {
					h.Push(int64(others[i].Value), &others[i])
				}
				tt.free(&h, &n)
				if n.Queued() {
					t.Error("Queued() = true after it left")
				}
				n.Value = int(when)
				h.Push(when, &n)
				if !n.Queued() {
					t.Error("Queued() = false after Push")
				}
				check(t, &h)
				want := []int{3, 6, 7, 8, int(when)}
				slices.Sort(want)
				if got := drain(&h); !slices.Equal(got, want) {
					t.Errorf("popped %v, want %v", got, want)
				}
			})
		}
	}
}

func TestRemoveReportsWhetherQueued(t *testing.T) {
	var h Heap[int]
	var n Node[int]
	if h.Remove(&n) {
		t.Error("Remove of a node never pushed = true, want false")
	}
	h.Push(1, &n)
	if !h.Remove(&n) {
		t.Error("Remove of a queued node = false, want true")
	}
	if h.Remove(&n) {
		t.Error("second Remove = true, want false")
	}
	h.Push(1, &n)
	h.PopDue(1)
	if h.Remove(&n) {
		t.Error("Remove after PopDue = true, want false")
	}
}

func TestPushTwicePanics(t *testing.T) {
	defer func() {
		if got, want := recover(), any("timerheap: node pushed twice"); got != want {
			t.Errorf("second Push panicked with %v, want %v", got, want)
		}
	}()
	var h Heap[int]
	var n Node[int]
	h.Push(1, &n)
	h.Push(2, &n)
}

func TestFullArrayIsSweptBeforeItGrows(t *testing.T) {
	var h Heap[int]
	nodes := make([]Node[int], 4096)
	i := 0
	for ; i < 3000 || len(h.a) < cap(h.a); i++ { // until it is full
		h.Push(int64(i), &nodes[i])
	}
	full := cap(h.a)
	for k := range i/4 + 1 {
		h.Remove(&nodes[2*k])
	}
	h.Push(0, &nodes[i])
	if cap(h.a) != full || h.dead != 0 {
		t.Errorf("after Push to a full array, more than a quarter of it dead: room for %d, %d dead; want %d, 0",
			cap(h.a), h.dead, full)
	}
	check(t, &h)
}

func TestArrayShrinksAndStaysInOrder(t *testing.T) {
	const n = 20_000
	for _, tt := range []struct {
		name string
		step func(h *Heap[int], nodes []Node[int], i int) // takes one node out
	}{
		{"popped", func(h *Heap[int], _ []Node[int], _ int) { h.PopDue(math.MaxInt64) }},
		{"removed from the front", func(h *Heap[int], nodes []Node[int], i int) { h.Remove(&nodes[i]) }},
		{"removed from the back", func(h *Heap[int], nodes []Node[int], i int) { h.Remove(&nodes[n-1-i]) }},
		{"removed and popped", func(h *Heap[int], nodes []Node[int], i int) {
			if i%3 == 0 || !h.Remove(&nodes[n-1-i]) {
				h.PopDue(math.MaxInt64)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h Heap[int]
			nodes := make([]Node[int], n)
			for i := range nodes {
				nodes[i].Value = i
				h.Push(int64(i), &nodes[i])
			}
			for i := range n {
				tt.step(&h, nodes, i)
				checkSize(t, &h)
				if i%1000 == 0 {
					check(t, &h)
				}
				if got, want := h.Len(), n-1-i; got != want {
					t.Fatalf("Len() = %d, want %d", got, want)
				}
			}
			if cap(h.a) > minCap {
				t.Errorf("empty heap has room for %d entries, want at most %d", cap(h.a), minCap)
			}
		})
	}
}

// A model is a heap that is obviously right: a list kept in order.
type model struct {
	list []modelEntry
	seq  int
}

type modelEntry struct {
	when int64
	seq  int
	id   int
}

func (m *model) push(when int64, id int) {
	m.seq++
	i := len(m.list)
	for i > 0 && m.list[i-1].when > when {
		i--
	}
	m.list = slices.Insert(m.list, i, modelEntry{when, m.seq, id})
}

func (m *model) remove(id int) bool {
	i := slices.IndexFunc(m.list, func(e modelEntry) bool { return e.id == id })
	if i < 0 {
		return false
	}
	m.list = slices.Delete(m.list, i, i+1)
	return true
}

func (m *model) popDue(now int64) int {
	if len(m.list) == 0 || m.list[0].when > now {
		return -1
	}
	id := m.list[0].id
	m.list = slices.Delete(m.list, 0, 1)
	return id
}

// A pair does everything twice, to a heap and to the model, and compares.
type pair struct {
	t     testing.TB
	heap  Heap[int]
	model model
	nodes []Node[int]
}

func newPair(t testing.TB, nodes int) *pair {
	p := &pair{t: t, nodes: make([]Node[int], nodes)}
	for i := range p.nodes {
		p.nodes[i].Value = i
	}
	return p
}

func (p *pair) push(id int, when int64) {
	if p.nodes[id].Queued() {
		p.remove(id)
	}
	p.heap.Push(when, &p.nodes[id])
	p.model.push(when, id)
	p.compare()
}

func (p *pair) remove(id int) {
	if got, want := p.heap.Remove(&p.nodes[id]), p.model.remove(id); got != want {
		p.t.Fatalf("Remove(%d) = %v, want %v", id, got, want)
	}
	p.compare()
}

func (p *pair) popDue(now int64) {
	got := -1
	if n := p.heap.PopDue(now); n != nil {
		got = n.Value
	}
	if want := p.model.popDue(now); got != want {
		p.t.Fatalf("PopDue(%d) = node %d, want %d", now, got, want)
	}
	p.compare()
}

func (p *pair) min() {
	got, gotOK := p.heap.Min()
	var want int64
	if len(p.model.list) > 0 {
		want = p.model.list[0].when
	}
	if wantOK := len(p.model.list) > 0; got != want || gotOK != wantOK {
		p.t.Fatalf("Min() = %d, %v, want %d, %v", got, gotOK, want, wantOK)
	}
	p.compare()
}

func (p *pair) compare() {
	if got, want := p.heap.Len(), len(p.model.list); got != want {
		p.t.Fatalf("Len() = %d, want %d", got, want)
	}
	checkSize(p.t, &p.heap)
}

// TestModelLarge makes ten million random operations, in phases that mostly
// push, mostly remove or mostly pop, so that the size swings.
func TestModelLarge(t *testing.T) {
	ops := 10_000_000
	if raceEnabled || testing.Short() {
		ops = 200_000
	}
	seed := rand.Uint64()
	t.Logf("seed %d, %d operations", seed, ops)
	r := rand.New(rand.NewPCG(seed, 0))
	p := newPair(t, 128)
	now, largest := int64(0), 0
	phases := [][3]int{ // of 16: below the first number push, the second remove, the third pop
		{10, 14, 15}, {3, 14, 15}, {5, 6, 14}, {6, 10, 14},
	}
	phase := phases[0]
	for i := range ops {
		if i%500 == 0 {
			phase = phases[r.IntN(len(phases))]
			check(t, &p.heap)
		}
		switch k, id := r.IntN(16), r.IntN(len(p.nodes)); {
		case k < phase[0]:
			p.push(id, now+r.Int64N(64)) // few instants, so that many tie
		case k < phase[1]:
			p.remove(id)
		case k < phase[2]:
			now += r.Int64N(3)
			p.popDue(now)
		default:
			p.min()
		}
		largest = max(largest, p.heap.Len())
	}
	if largest < len(p.nodes)/2 {
		t.Errorf("no more than %d nodes were queued at once: the test is too tame", largest)
	}
	for p.heap.Len() > 0 {
		p.popDue(math.MaxInt64)
	}
	check(t, &p.heap)
}

// TestArmCancelLarge arms a million timeouts and cancels each, as a server does
// whose requests all finish in time: the array must not remember them.
func TestArmCancelLarge(t *testing.T) {
	total := 1_000_000
	if raceEnabled {
		total /= 10
	}
	for _, tt := range []struct {
		name     string
		inFlight int
		next     func(r *rand.Rand, i, n int) int // which of n to cancel
	}{
		{"one at a time", 1, func(*rand.Rand, int, int) int { return 0 }},
		{"oldest first", 1000, func(_ *rand.Rand, i, n int) int { return i % n }},
		{"in any order", 1000, func(r *rand.Rand, _, n int) int { return r.IntN(n) }},
		{"all at the end", total, func(_ *rand.Rand, i, n int) int { return i % n }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var h Heap[int]
			nodes := make([]Node[int], tt.inFlight)
			longest := 0
			for i := range total {
				k := i
				if i >= tt.inFlight {
					k = tt.next(r, i, tt.inFlight)
					h.Remove(&nodes[k])
					checkSize(t, &h)
				}
				h.Push(int64(i)+30e9, &nodes[k])
				checkSize(t, &h)
				longest = max(longest, len(h.a))
			}
			for i := range nodes {
				h.Remove(&nodes[i])
				checkSize(t, &h)
			}
			if h.Len() != 0 || len(h.a) != 0 || cap(h.a) > minCap {
				t.Errorf("at the end: %d nodes, %d entries, room for %d; want 0, 0, at most %d",
					h.Len(), len(h.a), cap(h.a), minCap)
			}
			t.Logf("%d in flight: at most %d entries", tt.inFlight, longest)
		})
	}
}

// TestMemoryLarge measures what the heap adds to the nodes it is given.
func TestMemoryLarge(t *testing.T) {
	const limit = 64 // bytes for each queued node
	for _, tt := range []struct {
		name        string
		push, every int  // push so many, then remove all but each every-th
		grow        bool // but first push on until the array has grown
	}{
		{"a million", 1_000_000, 1, false},
		{"just grown", 1_000_000, 1, true},
		{"half removed", 1_000_000, 2, false},
		{"half removed, just grown", 1_000_000, 2, true},
		{"nine in ten removed", 1_000_000, 10, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nodes := make([]Node[*int], 2*tt.push)
			var h Heap[*int]
			before := heapInUse()
			r := rand.New(rand.NewPCG(1, 2))
			push := tt.push
			for i := 0; i < push; i++ {
				if i == push-1 && tt.grow && len(h.a) < cap(h.a) {
					push++
				}
				h.Push(r.Int64N(60e9), &nodes[i])
			}
			for i := range nodes[:push] {
				if i%tt.every != 0 {
					h.Remove(&nodes[i])
				}
			}
			got := float64(heapInUse()-before) / float64(h.Len())
			t.Logf("%d queued, %d entries, room for %d: %.1f B for each queued node", h.Len(), len(h.a), cap(h.a), got)
			if got > limit {
				t.Errorf("the heap takes %.1f B for each queued node, want at most %d", got, limit)
			}
			runtime.KeepAlive(nodes)
			runtime.KeepAlive(&h)
		})
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestRemovedNodesAreCollected(t *testing.T) {
	// A dead entry may keep its node, but not once the live ones are fewer.
	var h Heap[int]
	freed := make(chan struct{})
	func() {
		nodes := make([]*Node[int], 10)
		for i := range nodes {
			nodes[i] = new(Node[int])
			h.Push(int64(i), nodes[i])
		}
		runtime.AddCleanup(nodes[5], func(c chan struct{}) { close(c) }, freed)
		for i := range 6 {
			h.Remove(nodes[i])
		}
	}()
	runtime.GC()
	select {
	case <-freed:
	case <-time.After(10 * time.Second):
		t.Error("a swept node is still reachable")
	}
	runtime.KeepAlive(&h)
}

// FuzzHeap reads operations from the input, two bytes each, and compares with
// the model.
func FuzzHeap(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x00, 5, 0x01, 5, 0x02, 4, 0x80, 0, 0xc0, 9})
	f.Add([]byte{0x00, 1, 0x01, 2, 0x02, 3, 0x80, 0, 0x81, 0, 0x00, 1, 0xff, 0, 0xc0, 2, 0xc0, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		p := newPair(t, 64)
		for ; len(data) >= 2; data = data[2:] {
			op, id, arg := data[0]>>6, int(data[0]&63), int64(data[1])
			switch {
			case op <= 1:
				p.push(id, arg)
			case op == 2:
				p.remove(id)
			case id == 63:
				p.min()
			default:
				p.popDue(arg)
			}
			check(t, &p.heap)
		}
		for p.heap.Len() > 0 {
			p.popDue(255)
		}
		check(t, &p.heap)
	})
}
