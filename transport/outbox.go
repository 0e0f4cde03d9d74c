package transport

// Blocks hold what is to be written. Small amounts get a small one; larger ones than
// blockSize one of their own, which is not kept.
const (
	smallBlock = 4 << 10
	blockSize  = 64 << 10

	spareSmall = 64 // kept for reuse: 256 KB
	spareLarge = 16 // 1 MB
)

// An outbox is bytes that wait to be written, in blocks. The zero value is empty.
type outbox struct {
	size int // bytes
	head *block
	tail *block
}

type block struct {
	mem  []byte // mem[r:] is to be written; up to its capacity there is room
	r    int
	next *block
}

// spareBlocks are free ones, of a loop.
type spareBlocks struct{ small, large spareList }

type spareList struct {
	first *block
	n     int
}

// put copies p.
func (o *outbox) put(p []byte, spare *spareBlocks) {
	o.size += len(p)
	if b := o.tail; b != nil {
		n := min(cap(b.mem)-len(b.mem), len(p))
		b.mem = append(b.mem, p[:n]...)
		p = p[n:]
	}
	if len(p) == 0 {
		return
	}
	b := spare.take(len(p))
	b.mem = append(b.mem, p...)
	if o.tail == nil {
		o.head = b
	} else {
		o.tail.next = b
	}
	o.tail = b
}

// front returns the oldest bytes. The outbox must not be empty.
func (o *outbox) front() []byte { return o.head.mem[o.head.r:] }

// drop forgets the oldest n bytes, which are in front.
func (o *outbox) drop(n int, spare *spareBlocks) {
	o.size -= n
	b := o.head
	if b.r += n; b.r < len(b.mem) {
		return
	}
	o.head = b.next
	if o.head == nil {
		o.tail = nil
	}
	spare.give(b)
}

// clear forgets everything.
func (o *outbox) clear(spare *spareBlocks) {
	for o.size > 0 {
		o.drop(len(o.front()), spare)
	}
}

// take returns an empty block with room for n bytes.
func (s *spareBlocks) take(n int) *block {
	switch {
	case n <= smallBlock:
		return s.small.take(smallBlock)
	case n <= blockSize:
		return s.large.take(blockSize)
	}
	return &block{} // append makes it as large as it has to be
}

func (s *spareBlocks) give(b *block) {
	*b = block{mem: b.mem[:0]}
	switch {
	case cap(b.mem) == smallBlock && s.small.n < spareSmall:
		s.small.give(b)
	case cap(b.mem) == blockSize && s.large.n < spareLarge:
		s.large.give(b)
	}
}

func (l *spareList) take(size int) *block {
	b := l.first
	if b == nil {
		return &block{mem: make([]byte, 0, size)}
	}
	l.first, b.next = b.next, nil
	l.n--
	return b
}

func (l *spareList) give(b *block) {
	b.next, l.first = l.first, b
	l.n++
}
