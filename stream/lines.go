package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"

	"github.com/eddyloop/eddy/loop"
)

// ErrTooLong is returned by ReadLine for a line that is longer than the limit, and by
// the methods of a [Reader] for what would exceed its limit.
// (asyncio: LimitOverrunError)
var ErrTooLong = errors.New("stream: line too long")

const defaultLineLimit = 64 << 10

// SetLineLimit sets how many bytes a line may have before its "\n". The default,
// and n of zero or less, is 64 KB.
func (c *Conn) SetLineLimit(n int) { c.limit = int32(max(0, min(n, 1<<30))) }

// ReadLine reads up to the next "\n" and returns what is before it, without a
// "\r" at its end. The last line of a stream may end without: then comes io.EOF.
//
// It returns [ErrTooLong] if there is no "\n" within the limit, every time: what
// was read stays, and Read returns it. The other errors are those of Read; an
// error in the middle of a line leaves what there is of it for Read.
// (asyncio: StreamReader.readline)
//
// Cancel safety: a canceled ReadLine has taken nothing from the stream.
func (c *Conn) ReadLine(ctx context.Context) (string, error) {
	if err := c.giveWay(ctx); err != nil {
		return "", err
	}
	if c.held(reading) {
		return "", ErrBusy
	}
	limit := int(c.limit)
	if limit == 0 {
		limit = defaultLineLimit
	}
	for {
		if c.in != nil {
			if line, ok, err := c.bufferedLine(limit); ok || err != nil {
				c.spend(0) // its bytes were counted when they came
				return line, err
			}
		}
		err := c.fill(limit)
		switch {
		case err == nil:
			if c.spent >= budget { // a long line that keeps coming
				if err := c.giveWayReading(ctx); err != nil {
					return "", err
				}
			}
		case err == ErrWouldBlock:
			if err := c.waitReadable(ctx, nil); err != nil {
				return "", err
			}
		case err != io.EOF:
			return "", c.opError("read", err)
		case c.in == nil:
			return "", io.EOF
		default:
			line := string(dropCR(c.in.unread()))
			c.dropBuffer()
			return line, nil
		}
	}
}

// Lines returns the lines of the stream, each as ReadLine does, up to its end.
// Any other error is the last element. ctx is kept for the waits between.
//
// Cancel safety: that of ReadLine. A loop that is left early leaves the rest in
// the stream.
func (c *Conn) Lines(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for {
			line, err := c.ReadLine(ctx)
			if err == io.EOF || !yield(line, err) || err != nil {
				return
			}
		}
	}
}

func dropCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// An inbuf holds bytes that were read and not asked for yet. A Conn has one only
// while there are any, so it is never empty between two calls.
type inbuf struct {
	b       []byte
	r, w    int // b[r:w] is unread
	scanned int // there is no "\n" in b[r:scanned]
}

func (b *inbuf) unread() []byte { return b.b[b.r:b.w] }

// bufferedLine takes a line from the buffer if there is a whole one.
func (c *Conn) bufferedLine(limit int) (line string, ok bool, err error) {
	b := c.in
	i := bytes.IndexByte(b.b[b.scanned:b.w], '\n')
	end := b.w
	if i >= 0 {
		end = b.scanned + i
	} else {
		b.scanned = b.w
	}
	if end-b.r > limit {
		return "", false, ErrTooLong
	}
	if i < 0 {
		return "", false, nil
	}
	line = string(dropCR(b.b[b.r:end]))
	c.consume(end + 1 - b.r)
	return line, true, nil
}

// takeBuffered moves bytes from the buffer to p.
func (c *Conn) takeBuffered(p []byte) int {
	n := copy(p, c.in.unread())
	c.consume(n)
	return n
}

func (c *Conn) consume(n int) {
	b := c.in
	b.r += n
	b.scanned = max(b.scanned, b.r)
	if b.r == b.w {
		c.dropBuffer()
	}
}

// fill reads once, into the buffer. Without one it takes a buffer only when there
// is reason to hope, and gives it back if that was in vain.
func (c *Conn) fill(limit int) error {
	if !c.readable() {
		_, err := c.pull(nil) // says why
		return err
	}
	b := c.in
	if b == nil {
		b = c.buffers().get()
	} else if b.w == len(b.b) {
		b.makeRoom(limit)
	}
	n, err := c.pull(b.b[b.w:])
	b.w += n
	c.spend(n)
	switch {
	case n > 0:
		c.in = b
	case c.in == nil:
		c.buffers().put(b)
	}
	return err
}

// makeRoom moves the unread bytes to the front, or to twice the memory, up to
// what shows that a line is too long.
func (b *inbuf) makeRoom(limit int) {
	to := b.b
	if b.w-b.r > len(b.b)/2 && len(b.b) <= limit {
		to = make([]byte, min(2*len(b.b), limit+1))
	}
	copy(to, b.unread())
	b.b = to
	b.w -= b.r
	b.scanned -= b.r
	b.r = 0
}

// dropBuffer forgets what was read too much, if there is any.
func (c *Conn) dropBuffer() {
	if c.in != nil {
		c.buffers().put(c.in)
		c.in = nil
	}
}

// A bufferPool keeps the buffers of a loop that are not in use.
type bufferPool struct{ free []*inbuf }

const (
	bufferSize = 4 << 10
	maxFree    = 64 // buffers: what a burst leaves behind
)

var buffersKey = new(int)

func (c *Conn) buffers() *bufferPool {
	return c.Loop().Local(buffersKey, newBufferPool).(*bufferPool)
}

func newBufferPool() any { return new(bufferPool) }

func (p *bufferPool) get() *inbuf {
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		return b
	}
	return &inbuf{b: make([]byte, bufferSize)}
}

func (p *bufferPool) put(b *inbuf) {
	if len(b.b) == bufferSize && len(p.free) < maxFree {
		b.r, b.w, b.scanned = 0, 0, 0
		p.free = append(p.free, b)
	}
}

// Closed gives the memory back with the loop.
func (p *bufferPool) Closed() { p.free = nil }

var _ loop.Sink = (*connSink)(nil)
