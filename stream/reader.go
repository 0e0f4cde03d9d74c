package stream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"net"
)

// A Reader reads messages from a [Conn]: lines, parts of known length, parts up to
// a separator, up to a limit of bytes each. Make it with [NewReader]. It must be
// used on the loop. (asyncio: StreamReader)
//
// It reads only when it is asked and nothing is buffered, so a peer that sends
// faster is slowed down by the system. What it has read too much is the Conn's: the
// methods of the Conn, of its [Conn.NetConn] and of other Readers go on there, and
// so does TLS. An idle Reader owns no buffer.
//
// One task may read at a time: a second gets [ErrBusy]. The end of the stream, and
// an error of the system, come after all that was read before, and are returned ever
// after. When the Conn is closed every method returns net.ErrClosed. A call that is
// canceled, or exceeds a bound of [Conn.SetTimeouts], has not harmed the Reader.
//
// What asyncio's feed_data and feed_eof are for does a [Pipe]: write to its other
// end, and close that.
type Reader struct {
	c     *Conn
	limit int
	err   error // that has ended the stream; returned when nothing is buffered
}

// NewReader returns a Reader of c. limit is how many bytes a line, a part up to a
// separator, and a Peek may have; 64 KB if it is zero or less. (asyncio: limit)
func NewReader(c *Conn, limit int) *Reader {
	if limit <= 0 {
		limit = defaultLineLimit
	}
	return &Reader{c: c, limit: min(limit, 1<<30)}
}

// An IncompleteReadError is returned when the stream ends in the middle of what was
// asked for. It is io.ErrUnexpectedEOF. (asyncio: IncompleteReadError)
type IncompleteReadError struct {
	Partial []byte // what came before the end; it was taken from the stream
	Want    int    // the bytes asked for; 0: all up to a separator (asyncio: expected)
}

func (e *IncompleteReadError) Error() string {
	if e.Want == 0 {
		return fmt.Sprintf("stream: end after %d bytes without a separator", len(e.Partial))
	}
	return fmt.Sprintf("stream: end after %d of %d bytes", len(e.Partial), e.Want)
}

// Unwrap returns io.ErrUnexpectedEOF.
func (e *IncompleteReadError) Unwrap() error { return io.ErrUnexpectedEOF }

// Buffered returns how many bytes can be read without asking the system.
func (r *Reader) Buffered() int {
	if r.c.in == nil {
		return 0
	}
	return len(r.c.in.unread())
}

// AtEOF reports whether a read has found the end of the stream and nothing is
// buffered. It does not look for the end itself. (asyncio: at_eof)
func (r *Reader) AtEOF() bool { return r.err == io.EOF && r.c.in == nil }

// Read reads up to len(p) bytes, at least one unless p is empty; see [Conn.Read].
// (asyncio: read)
//
// Cancel safety: a canceled Read has taken nothing from the stream.
func (r *Reader) Read(ctx context.Context, p []byte) (int, error) {
	if err := r.begin(ctx); err != nil || len(p) == 0 {
		return 0, err
	}
	return r.some(ctx, p)
}

// ReadFull reads exactly len(p) bytes, which may be more than the limit. It returns
// io.EOF if the stream ends before the first, an [*IncompleteReadError] if it ends
// after that, and the number of bytes taken, which then are in p, too. After any
// other error that is none: the bytes are read by the next call.
// (asyncio: readexactly)
//
// Cancel safety: a canceled ReadFull has taken nothing from the stream.
func (r *Reader) ReadFull(ctx context.Context, p []byte) (int, error) {
	if err := r.begin(ctx); err != nil {
		return 0, err
	}
	for n := 0; n < len(p); {
		k, err := r.some(ctx, p[n:])
		n += k
		switch {
		case err == nil:
		case err != io.EOF:
			r.c.putBack(p[:n])
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, &IncompleteReadError{Partial: bytes.Clone(p[:n]), Want: len(p)}
		}
	}
	return len(p), nil
}

// ReadAll reads to the end of the stream, whatever the limit: it is for peers that
// are trusted not to send more than there is memory for. After an error all that was
// read is read by the next call. (asyncio: read(-1))
//
// Cancel safety: a canceled ReadAll has taken nothing from the stream.
func (r *Reader) ReadAll(ctx context.Context) ([]byte, error) {
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	var all []byte
	for {
		if cap(all)-len(all) < bufferSize {
			all = append(all, make([]byte, max(bufferSize, len(all)))...)[:len(all)]
		}
		n, err := r.some(ctx, all[len(all):cap(all)])
		all = all[:len(all)+n]
		switch {
		case err == io.EOF:
			return all, nil
		case err != nil:
			r.c.putBack(all)
			return nil, err
		}
	}
}

// ReadUntil reads up to the first separator and returns what is before it and the
// separator itself. Of several separators, each at least a byte long, that counts
// which ends first. It returns [ErrTooLong] if more than the limit comes before the
// separator, every time: what was read stays, to be read by Read or ReadFull, or to
// be passed over by [Reader.SkipUntil]. If the stream ends first it returns io.EOF,
// or an [*IncompleteReadError] with what is left. After any other error nothing is
// lost. (asyncio: readuntil)
//
// Cancel safety: a canceled ReadUntil has taken nothing from the stream.
func (r *Reader) ReadUntil(ctx context.Context, seps ...[]byte) ([]byte, error) {
	longest := longestOf(seps, "ReadUntil")
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	_, end, err := r.find(ctx, seps, longest)
	if err == nil {
		return bytes.Clone(r.take(end)), nil
	}
	if err == io.EOF && r.c.in != nil {
		err = &IncompleteReadError{Partial: bytes.Clone(r.take(r.Buffered()))}
	}
	return nil, err
}

// ReadLine reads up to the next "\n" and returns what is before it, without a "\r"
// at its end; ReadUntil with "\n" keeps both. The last line of a stream may end
// without: then comes io.EOF. It returns [ErrTooLong] as ReadUntil does; SkipUntil
// with "\n" goes on to the next line. After any other error nothing is lost.
// (asyncio: readline, which drops a part of a line that is too long)
//
// Cancel safety: a canceled ReadLine has taken nothing from the stream.
func (r *Reader) ReadLine(ctx context.Context) (string, error) {
	if err := r.begin(ctx); err != nil {
		return "", err
	}
	start, end, err := r.find(ctx, [][]byte{{'\n'}}, 1)
	if err == io.EOF && r.c.in != nil {
		start, end, err = r.Buffered(), r.Buffered(), nil
	}
	if err != nil {
		return "", err
	}
	line := string(dropCR(r.c.in.unread()[:start]))
	r.take(end)
	return line, nil
}

// Lines returns the lines of the stream, each as ReadLine does, up to its end. Any
// other error is the last element. ctx is kept for the waits between.
//
// Cancel safety: that of ReadLine. A loop that is left early leaves the rest in the
// stream.
func (r *Reader) Lines(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for {
			line, err := r.ReadLine(ctx)
			if err == io.EOF || !yield(line, err) || err != nil {
				return
			}
		}
	}
}

// Peek returns the next n bytes and leaves them in the stream, or what there is of
// them with the error that keeps it from more: io.EOF, too. They are the Reader's,
// and good until the next call of one of its methods, or of the Conn's. It returns
// [ErrTooLong] if n is more than the limit.
//
// Cancel safety: Peek takes nothing from the stream.
func (r *Reader) Peek(ctx context.Context, n int) ([]byte, error) {
	if n < 0 {
		panic("stream: Peek of less than nothing")
	}
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	if n > r.limit {
		return nil, ErrTooLong
	}
	var err error
	for r.Buffered() < n && err == nil {
		err = r.more(ctx, n)
	}
	if n = min(n, r.Buffered()); n == 0 {
		return nil, err
	}
	return r.c.in.unread()[:n:n], err
}

// Discard drops the next n bytes, however many, and returns how many it has dropped;
// less than n with an error: io.EOF, too.
//
// Cancel safety: a canceled Discard has dropped as many bytes as it returns.
func (r *Reader) Discard(ctx context.Context, n int64) (dropped int64, err error) {
	if n < 0 {
		panic("stream: Discard of less than nothing")
	}
	if err := r.begin(ctx); err != nil {
		return 0, err
	}
	for dropped < n {
		if r.c.in == nil {
			if err := r.more(ctx, 0); err != nil {
				return dropped, err
			}
		}
		k := int(min(n-dropped, int64(r.Buffered())))
		r.take(k)
		dropped += int64(k)
	}
	return dropped, nil
}

// SkipUntil drops what comes before the first separator, however much, and the
// separator itself, as ReadUntil would have returned them, and returns how many
// bytes: what to do after [ErrTooLong] to go on with the next message. If there is
// none it returns io.EOF.
//
// Cancel safety: a canceled SkipUntil has dropped a part, as many bytes as it
// returns, of which no separator is a part; another one goes on there.
func (r *Reader) SkipUntil(ctx context.Context, seps ...[]byte) (dropped int64, err error) {
	longest := longestOf(seps, "SkipUntil")
	if err := r.begin(ctx); err != nil {
		return 0, err
	}
	for {
		if r.c.in != nil {
			_, end := match(r.c.in.unread(), seps)
			found := end >= 0
			if !found {
				end = max(0, r.Buffered()+1-longest) // a separator may have begun
			}
			r.take(end)
			dropped += int64(end)
			if found {
				return dropped, nil
			}
		}
		err := r.more(ctx, longest)
		if err == io.EOF && r.c.in != nil {
			k := r.Buffered()
			r.take(k)
			dropped += int64(k)
		}
		if err != nil {
			return dropped, err
		}
	}
}

// begin lets others run now and then, and refuses what may not be.
func (r *Reader) begin(ctx context.Context) error {
	c := r.c
	if err := c.giveWay(ctx); err != nil {
		return err
	}
	switch {
	case c.held(reading):
		return ErrBusy
	case c.Closed():
		return c.opError("read", net.ErrClosed)
	}
	c.spend(0)
	return nil
}

// some reads into p, which is not empty, and waits until there is something. Small
// reads go through the buffer, so that few of them ask the system.
func (r *Reader) some(ctx context.Context, p []byte) (int, error) {
	c := r.c
	for {
		if c.in != nil {
			return c.takeBuffered(p), nil
		}
		if len(p) < bufferSize {
			if err := r.more(ctx, 0); err != nil {
				return 0, err
			}
			continue
		}
		if err := r.mayRead(ctx); err != nil {
			return 0, err
		}
		n, err := c.pull(p)
		c.spend(n)
		if n > 0 {
			return n, nil
		}
		if err := r.after(ctx, err); err != nil {
			return 0, err
		}
	}
}

// more reads once into the buffer, which may grow to a byte more than limit, and
// waits until there is something.
func (r *Reader) more(ctx context.Context, limit int) error {
	for {
		if err := r.mayRead(ctx); err != nil {
			return err
		}
		err := r.c.fill(limit)
		if err == nil {
			return nil
		}
		if err := r.after(ctx, err); err != nil {
			return err
		}
	}
}

// mayRead gives way if the peer keeps sending, and says if the stream has ended.
func (r *Reader) mayRead(ctx context.Context) error {
	if r.err == nil && r.c.spent >= budget {
		return r.c.giveWayReading(ctx)
	}
	return r.err
}

// after deals with what an attempt has brought that has brought no bytes.
func (r *Reader) after(ctx context.Context, err error) error {
	switch err {
	case nil:
		return nil
	case ErrWouldBlock:
		err = r.c.waitReadable(ctx, nil)
		if err == io.EOF { // the server takes no more
			r.err = err
		}
	case io.EOF:
		r.err = err
	default:
		err = r.c.opError("read", err)
		r.err = err
	}
	return err
}

// find looks for a separator in what is buffered, and reads until there is one. It
// returns where that starts and ends, counted from the first unread byte.
func (r *Reader) find(ctx context.Context, seps [][]byte, longest int) (start, end int, err error) {
	seen := 0 // no separator starts before
	for {
		if r.c.in != nil {
			b := r.c.in.unread()
			if start, end = match(b[seen:], seps); end >= 0 {
				start, end = seen+start, seen+end
				if start > r.limit {
					return 0, 0, ErrTooLong
				}
				return start, end, nil
			}
			if seen = max(0, len(b)+1-longest); seen > r.limit {
				return 0, 0, ErrTooLong
			}
		}
		if err := r.more(ctx, r.limit+longest-1); err != nil {
			return 0, 0, err
		}
	}
}

// take consumes n bytes and returns them. They are good until the next read.
func (r *Reader) take(n int) []byte {
	if n == 0 {
		return nil
	}
	p := r.c.in.unread()[:n]
	r.c.consume(n)
	return p
}

// match returns where the separator that ends first starts and ends in b, the
// shortest of those that end there; or an end of -1.
func match(b []byte, seps [][]byte) (start, end int) {
	end = -1
	for _, sep := range seps {
		i := bytes.Index(b, sep)
		if i < 0 {
			continue
		}
		if e := i + len(sep); end < 0 || e < end || e == end && i > start {
			start, end = i, e
			b = b[:e] // what ends later does not count
		}
	}
	return start, end
}

func longestOf(seps [][]byte, method string) int {
	longest := 0
	for _, sep := range seps {
		if len(sep) == 0 {
			panic("stream: " + method + " with an empty separator")
		}
		longest = max(longest, len(sep))
	}
	if longest == 0 {
		panic("stream: " + method + " without a separator")
	}
	return longest
}

// putBack gives back to the stream what was taken from it last, all that was
// buffered included.
func (c *Conn) putBack(p []byte) {
	if len(p) == 0 || c.Closed() {
		return
	}
	b := &inbuf{}
	if len(p) <= bufferSize {
		b = c.buffers().get()
	} else {
		b.b = make([]byte, len(p))
	}
	b.w = copy(b.b, p)
	c.in = b
}
