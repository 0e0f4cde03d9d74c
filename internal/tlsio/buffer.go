package tlsio

// A fifo is bytes that go in at one end and come out at the other.
type fifo struct {
	buf []byte
	off int // of the first byte that is still there
}

func (f *fifo) rest() []byte { return f.buf[f.off:] }

func (f *fifo) empty() bool { return f.off == len(f.buf) }

// room makes sure that n bytes can be added without another allocation.
func (f *fifo) room(n int) {
	if len(f.buf)+n <= cap(f.buf) {
		return
	}
	rest := f.rest()
	to := f.buf[:0]
	// Moving pays only if more has gone than is to be moved: else a long fifo
	// would be moved again and again.
	if f.off < len(rest) || len(rest)+n > cap(f.buf) {
		to = make([]byte, 0, max(len(rest)+n, 2*len(rest), 512))
	}
	f.buf, f.off = append(to, rest...), 0
}

func (f *fifo) add(p []byte) {
	f.room(len(p))
	f.buf = append(f.buf, p...)
}

func (f *fifo) take(p []byte) int {
	n := copy(p, f.rest())
	f.off += n
	return n
}

const (
	maxIdle = 16       // buffers that are kept for the next use
	maxKept = 32 << 10 // bytes of one: a record in small pieces, and more
)

// Buffers keeps the buffers of a loop's engines that have nothing to send for those
// that have: 512 KB at most. The zero value is empty. It must be used on the loop.
type Buffers struct{ idle [][]byte }

// Idle returns how many buffers are kept.
func (b *Buffers) Idle() int { return len(b.idle) }

// get returns an empty buffer, maybe nil.
func (b *Buffers) get() []byte {
	if b == nil || len(b.idle) == 0 {
		return nil
	}
	last := len(b.idle) - 1
	buf := b.idle[last]
	b.idle[last] = nil
	b.idle = b.idle[:last]
	return buf
}

func (b *Buffers) put(buf []byte) {
	if b != nil && len(b.idle) < maxIdle && cap(buf) > 0 && cap(buf) <= maxKept {
		b.idle = append(b.idle, buf[:0])
	}
}
