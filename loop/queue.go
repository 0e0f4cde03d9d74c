package loop

// blockLen is chosen so that a block is a page.
const blockLen = 256

// A queue is a first-in first-out list of calls, in blocks: it grows without
// copying, and gives the memory back after a burst. The zero value is empty.
type queue struct {
	n          int // calls in the queue
	head, tail *block
	r, w       int // next to read in head, to write in tail
	spare      *block
}

type block struct {
	calls [blockLen]Runnable
	next  *block
}

func (q *queue) push(r Runnable) {
	if q.tail == nil || q.w == blockLen {
		q.extend()
	}
	q.tail.calls[q.w] = r
	q.w++
	q.n++
}

// pop takes the oldest call. The queue must not be empty.
func (q *queue) pop() Runnable {
	if q.r == blockLen {
		q.retire()
	}
	b, i := q.head, q.r&(blockLen-1)
	r := b.calls[i]
	b.calls[i] = nil
	q.r++
	q.n--
	return r
}

// peek returns the oldest call. The queue must not be empty.
func (q *queue) peek() Runnable {
	if q.r == blockLen {
		q.retire()
	}
	return q.head.calls[q.r]
}

func (q *queue) extend() {
	b := q.spare
	if b == nil {
		b = new(block)
	}
	q.spare = nil
	if q.tail == nil {
		q.head = b
	} else {
		q.tail.next = b
	}
	q.tail, q.w = b, 0
}

// retire drops the block that was read to its end, and keeps one for reuse.
func (q *queue) retire() {
	b := q.head
	q.head, q.r = b.next, 0
	b.next = nil
	q.spare = b
}
