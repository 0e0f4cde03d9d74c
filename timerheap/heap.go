// Package timerheap keeps things in the order of their times, and lets any of
// them be removed before its time at next to no cost.
//
// The picture to have in mind is an alarm clock with many alarms, nearly all of
// which are switched off before they ring: most timers are timeouts, set in
// order not to fire. So adding and removing are made cheap, and what is removed
// is swept out later, many at a time.
//
// # Terms
//
// A [Node] is embedded in the object that waits. A node is queued from
// [Heap.Push] until it is returned by [Heap.PopDue] or taken out by
// [Heap.Remove]; then it may be pushed again at once. Its deadline is a number
// of nanoseconds on whatever clock the caller uses; the heap reads no clock. The
// heap's array holds one entry for each Push. An entry is live while its node is
// queued by that very Push, and dead after the node was removed.
//
// # Why it is built so
//
// The heap is 4-ary with the deadlines in the array: it is half as deep as a
// binary heap, the four children that a step down compares lie side by side, in
// two cache lines or three, and no comparison follows a pointer.
//
// Removal is lazy: it clears a word in the node and leaves the entry where it
// is. The alternative, a node that knows its index in the array, writes to a
// node for every entry that moves, which makes every operation miss the cache
// more than the work it saves. The price of laziness is that a dead entry keeps
// its node, and all that the node is embedded in, from being collected until the
// entry is swept. Dead entries are swept as soon as they outnumber the live
// ones, so that is never more than one dead entry for each live one; still, an
// object that is done waiting should drop what it holds.
package timerheap

// A Node is the place of one object in a [Heap]. The zero value is not queued.
// A node may be copied or overwritten only while it is not queued. It must be
// used with one heap only, also after it was removed: heaps number their entries
// alone, and a dead entry of one would come to life by the number of another.
//
// A node does not store its deadline: the heap would hold it twice, and whoever
// needs it after Push has a place for it.
type Node[T any] struct {
	// Value is the caller's, for finding the object from the node. The heap
	// never reads it. Set it before Push.
	Value T

	seq uint64 // of the entry that is live for this node; 0: not queued
}

// Queued reports whether n is in its heap.
func (n *Node[T]) Queued() bool { return n.seq != 0 }

// A Heap holds nodes in the order of their deadlines, and nodes with the same
// deadline in the order they were pushed. The zero value is empty and ready to
// use. A heap is not safe for use by several goroutines at once, and must not be
// copied.
type Heap[T any] struct {
	// a is a 4-ary min-heap: no entry is before its parent, and the parent of
	// a[i] is a[(i-1)/4]. dead counts the dead entries in it. Between calls
	// dead <= len(a)/2.
	a    []entry[T]
	dead int
	seq  uint64 // of the latest Push; never repeats, so a stale entry stays dead
}

// An entry is live iff node.seq == seq.
type entry[T any] struct {
	when int64
	seq  uint64
	node *Node[T]
}

func (e *entry[T]) live() bool { return e.node.seq == e.seq }

func (e *entry[T]) before(f *entry[T]) bool {
	return e.when < f.when || e.when == f.when && e.seq < f.seq
}

// An array with room for minCap entries, 24 KB, is not worth shrinking: a load
// that comes in bursts would only make it grow again, each time.
const minCap = 1024

// Push adds n with the deadline when, in nanoseconds. It panics if n is queued
// already. It takes O(log n) steps, and a constant number on average when
// deadlines mostly ascend, as those of equal timeouts do.
func (h *Heap[T]) Push(when int64, n *Node[T]) {
	if n.seq != 0 {
		panic("timerheap: node pushed twice")
	}
	if len(h.a) == cap(h.a) && h.dead > len(h.a)/4 {
		// Sweep rather than grow. Growing a large array moves all entries to
		// gain a quarter; the sweep moves no more, gains more than a quarter
		// and allocates nothing. With fewer dead entries than that it would
		// come round again too soon to be paid for by the removals.
		h.compact()
	}
	h.seq++
	n.seq = h.seq
	e := entry[T]{when, h.seq, n}
	// append doubles a small array and adds about a quarter to a large one,
	// which bounds the slack of a million timers to 6 bytes each.
	h.a = append(h.a, e)
	h.up(len(h.a)-1, e)
}

// Remove takes n out and reports whether n was queued. It takes a constant
// number of steps on average.
func (h *Heap[T]) Remove(n *Node[T]) bool {
	if n.seq == 0 {
		return false
	}
	seq := n.seq
	n.seq = 0
	if last := len(h.a) - 1; h.a[last].seq == seq {
		// The timer set last, of a timeout as long as the others, is often the
		// one removed first, and sits at the end: it leaves nothing behind.
		h.a[last] = entry[T]{}
		h.a = h.a[:last]
		h.shrink()
	} else {
		h.dead++
	}
	h.sweep()
	return true
}

// Min returns the earliest deadline of a queued node; ok is false if there is
// none.
func (h *Heap[T]) Min() (when int64, ok bool) {
	if len(h.a) == 0 { // apart from the rest, so that it can be inlined
		return 0, false
	}
	return h.min(), true
}

// min is Min for an array that is not empty. By the invariant on dead there is
// then a live entry in it.
func (h *Heap[T]) min() int64 {
	for !h.a[0].live() {
		h.pop()
		h.dead--
	}
	return h.a[0].when
}

// PopDue removes and returns the earliest queued node if its deadline is now or
// earlier; otherwise it returns nil.
func (h *Heap[T]) PopDue(now int64) *Node[T] {
	// Apart from the rest, so that it can be inlined. If the first entry is not
	// due then none is, whether it is live or dead.
	if len(h.a) == 0 || h.a[0].when > now {
		return nil
	}
	return h.popDue(now)
}

func (h *Heap[T]) popDue(now int64) *Node[T] {
	if h.min() > now {
		return nil
	}
	n := h.a[0].node
	n.seq = 0
	h.pop()
	h.sweep()
	return n
}

// Len returns the number of queued nodes.
func (h *Heap[T]) Len() int { return len(h.a) - h.dead }

// pop drops the first entry.
func (h *Heap[T]) pop() {
	last := len(h.a) - 1
	e := h.a[last]
	h.a[last] = entry[T]{} // let go of the node
	h.a = h.a[:last]
	if last > 0 {
		h.down(0, e)
	}
	h.shrink()
}

// sweep restores the invariant on dead. A sweep takes a number of steps in
// proportion to the dead entries it drops, so the removals have paid for it.
func (h *Heap[T]) sweep() {
	if h.dead > len(h.a)/2 {
		h.compact()
	}
}

// compact drops all dead entries, and orders the rest anew in O(n).
func (h *Heap[T]) compact() {
	live := h.a[:0]
	for i := range h.a {
		if h.a[i].live() {
			live = append(live, h.a[i])
		}
	}
	clear(h.a[len(live):])
	h.a, h.dead = live, 0
	if n := len(h.a); n <= cap(h.a)/2 && cap(h.a) > minCap {
		// Tighter than shrink: every live entry is looked at anyway. A load that
		// stays as it is ends in an array that is more than half live after a
		// sweep, and neither grows nor moves again.
		h.move(n + n/4)
	}
	for i := (len(h.a)+2)/4 - 1; i >= 0; i-- { // from the last parent
		h.down(i, h.a[i])
	}
}

// shrink moves to an array of half the size when three quarters are free. It
// leaves as much free as it keeps in use, so that the next move, either way, is
// at least len/2 operations off.
func (h *Heap[T]) shrink() {
	if n := len(h.a); n <= cap(h.a)/4 && cap(h.a) > minCap {
		h.move(2 * n)
	}
}

// move moves to an array with room for size entries, or a few more.
func (h *Heap[T]) move(size int) {
	h.a = append(make([]entry[T], 0, max(size, minCap)), h.a...)
}

// up puts e into the free place i or, while its parent is later, into that of
// its parent.
func (h *Heap[T]) up(i int, e entry[T]) {
	a := h.a
	for i > 0 {
		p := (i - 1) / 4
		if !e.before(&a[p]) {
			break
		}
		a[i] = a[p]
		i = p
	}
	a[i] = e
}

// down puts e into the free place i or, while a child is earlier, into that of
// its earliest child.
func (h *Heap[T]) down(i int, e entry[T]) {
	a := h.a
	for {
		c := 4*i + 1
		if c >= len(a) {
			break
		}
		for k, end := c+1, min(c+4, len(a)); k < end; k++ {
			if a[k].before(&a[c]) {
				c = k
			}
		}
		if !a[c].before(&e) {
			break
		}
		a[i] = a[c]
		i = c
	}
	a[i] = e
}
