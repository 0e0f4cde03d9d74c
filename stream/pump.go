package stream

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/loop"
)

// A pump is a layer over what can only be read and written by blocking calls, each
// on a goroutine of its own, one at a time in each direction. All but the calls is
// done on the loop.
type pump struct {
	l *loop.Loop
	c *Conn
	r io.Reader
	w io.Writer
	x any // to be closed, if it can be

	in           []byte // in[off:] is unread
	off          int
	buf          []byte // of the read that is out, or the next
	rerr, werr   error
	out          []byte // of the write that is out
	pulling      bool
	pushing      bool
	empty        int // reads in a row that brought neither bytes nor an error
	wantR, wantW bool
	ended        bool // CloseWrite was called
	shut         bool // Close was
	gone         bool // and was passed on
	linger       loop.Timer
}

const (
	pumpBuffer = 16 << 10
	pumpLinger = time.Second // for a write that is out when the Conn is closed
)

func newPump(l *loop.Loop, x any) *Conn {
	p := &pump{l: l, x: x}
	p.r, _ = x.(io.Reader)
	p.w, _ = x.(io.Writer)
	if p.r == nil && p.w == nil {
		panic("stream: Adopt of what is neither an io.Reader nor an io.Writer")
	}
	p.c = &Conn{x: &extra{layer: p}}
	if n, ok := x.(net.Conn); ok {
		p.c.x.local, p.c.x.remote = n.LocalAddr(), n.RemoteAddr()
		if p.c.x.local != nil {
			p.c.x.network = p.c.x.local.Network()
		}
	}
	pumpsOf(l)[p] = struct{}{}
	return p.c
}

// pumps are those of a loop that are open.
type pumps map[*pump]struct{}

var pumpsKey = new(int)

func pumpsOf(l *loop.Loop) pumps {
	return l.Local(pumpsKey, func() any { return pumps{} }).(pumps)
}

// Closed closes them with the loop.
func (ps pumps) Closed() {
	for p := range ps {
		p.shut = true
		p.release()
	}
}

func (p *pump) Loop() *loop.Loop { return p.l }

func (p *pump) Num() int {
	if p.shut {
		return -1
	}
	return 0
}

func (p *pump) Readable() bool { return p.off < len(p.in) || p.rerr != nil || p.r == nil }

func (p *pump) TryRead(b []byte) (int, error) {
	switch {
	case p.shut:
		return 0, net.ErrClosed
	case p.r == nil:
		return 0, errors.ErrUnsupported
	case p.off < len(p.in):
		n := copy(b, p.in[p.off:])
		p.off += n
		return n, nil
	case p.rerr != nil:
		return 0, p.rerr
	}
	return 0, ErrWouldBlock
}

// WantRead begins a read, if none is out.
func (p *pump) WantRead() {
	p.wantR = true
	if p.pulling {
		return
	}
	p.pulling = true
	if p.buf == nil {
		p.buf = make([]byte, pumpBuffer)
	}
	p.l.AddOutside(1)
	d := &pumpDone{p: p, b: p.buf, read: true}
	go d.pull()
}

func (p *pump) Writable() bool { return !p.pushing }

func (p *pump) TryWrite(b []byte) (int, error) {
	switch {
	case p.shut:
		return 0, net.ErrClosed
	case p.w == nil:
		return 0, errors.ErrUnsupported
	case p.werr != nil:
		return 0, p.werr
	case p.pushing:
		return 0, ErrWouldBlock
	case p.ended:
		return 0, net.ErrClosed
	case len(b) == 0:
		return 0, nil
	}
	p.out = append(p.out[:0], b[:min(len(b), pumpBuffer)]...)
	p.push()
	return len(p.out), nil
}

func (p *pump) push() {
	p.pushing = true
	p.l.AddOutside(1)
	d := &pumpDone{p: p, b: p.out, end: p.ended}
	go d.push()
}

func (p *pump) WantWrite() { p.wantW = true }

// Unsent returns the bytes of the write that is out.
func (p *pump) Unsent() int {
	if !p.pushing {
		return 0
	}
	return max(len(p.out), 1)
}

// CloseWrite calls that of what is written to, behind the write that is out.
func (p *pump) CloseWrite() error {
	switch {
	case p.shut:
		return net.ErrClosed
	case p.werr != nil:
		return p.werr
	case p.ended:
		return nil
	}
	if _, ok := p.w.(interface{ CloseWrite() error }); !ok {
		return errors.ErrUnsupported
	}
	p.ended = true
	if !p.pushing {
		p.out = p.out[:0]
		p.push()
	}
	return nil
}

// Close lets the write that is out end first, for a while.
func (p *pump) Close() (bool, error) {
	if p.shut {
		return false, nil
	}
	p.shut = true
	p.in, p.off = nil, 0
	p.forgetRead()
	if p.pushing {
		p.l.StartTimer(&p.linger, pumpLinger, (*pumpLate)(p))
	} else {
		p.release()
	}
	return true, nil
}

// Abort does not wait for a write that is out.
func (p *pump) Abort() {
	p.shut = true
	p.forgetRead()
	p.release()
}

// forgetRead lets a virtual clock go on, although a read may be out that never ends.
func (p *pump) forgetRead() {
	if p.pulling {
		p.pulling = false
		p.l.AddOutside(-1)
	}
}

type pumpLate pump

func (t *pumpLate) Run() { (*pump)(t).release() }

// release closes what is read and written. That may block.
func (p *pump) release() {
	if p.gone {
		return
	}
	p.gone = true
	p.l.StopTimer(&p.linger)
	delete(pumpsOf(p.l), p)
	if c, ok := p.x.(io.Closer); ok {
		go c.Close()
	}
}

// A pumpDone is a call that is out, and brings what came of it to the loop.
type pumpDone struct {
	p    *pump
	b    []byte
	read bool
	end  bool // then end the stream
	n    int
	err  error
}

var errCount = errors.New("stream: a Read or Write has returned an impossible count")

func (d *pumpDone) pull() {
	defer d.post()
	d.err = coro.ErrGoexit // unless it returns
	n, err := d.p.r.Read(d.b)
	if n < 0 || n > len(d.b) {
		n, err = 0, errCount
	}
	d.n, d.err = n, err
}

func (d *pumpDone) push() {
	defer d.post()
	d.err = coro.ErrGoexit
	d.err = d.write()
}

func (d *pumpDone) write() error {
	if len(d.b) > 0 {
		n, err := d.p.w.Write(d.b)
		switch {
		case err != nil:
			return err
		case n < 0 || n > len(d.b):
			return errCount
		case n < len(d.b):
			return io.ErrShortWrite
		}
	}
	if d.end {
		return d.p.w.(interface{ CloseWrite() error }).CloseWrite()
	}
	return nil
}

// post is deferred: a call that panics, or calls Goexit, has failed, and no more.
func (d *pumpDone) post() {
	if v := recover(); v != nil {
		d.n, d.err = 0, coro.NewPanicError(v)
	}
	_ = d.p.l.QueueThreadsafe(d) // a closed loop has closed it
}

// Run takes the result over.
func (d *pumpDone) Run() {
	if d.read {
		d.p.pulled(d.n, d.err)
	} else {
		d.p.l.AddOutside(-1)
		d.p.pushed(d.end, d.err)
	}
}

const maxEmpty = 100 // as in package bufio

func (p *pump) pulled(n int, err error) {
	if p.shut {
		return
	}
	p.pulling = false
	p.l.AddOutside(-1)
	p.in, p.off, p.rerr = p.buf[:n], 0, err
	if n > 0 || err != nil {
		p.empty = 0
	} else if p.empty++; p.empty < maxEmpty {
		p.WantRead() // in vain
		return
	} else {
		p.rerr = io.ErrNoProgress
	}
	if p.wantR {
		p.wantR = false
		p.c.wakeReader()
	}
}

func (p *pump) pushed(ended bool, err error) {
	p.pushing = false
	if err != nil {
		p.werr = err
	}
	switch {
	case p.ended && !ended && p.werr == nil && !p.gone: // asked for meanwhile
		p.out = p.out[:0]
		p.push()
		return
	case p.shut:
		p.release()
	}
	if p.wantW {
		p.wantW = false
		p.c.wakeWriter()
	}
}
