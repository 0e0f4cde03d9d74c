package stream

import (
	"io"
	"net"
	"syscall"

	"github.com/eddyloop/eddy/loop"
)

// Pipe returns two connections that are connected to one another in memory, both
// on l. What is written to one is read from the other; between them there is room
// for 64 KB. A write after the peer was closed fails with EPIPE.
func Pipe(l *loop.Loop) (a, b *Conn) {
	x, y := &pipeEnd{l: l}, &pipeEnd{l: l}
	x.peer, y.peer = y, x
	x.c = &Conn{x: &extra{layer: x}}
	y.c = &Conn{x: &extra{layer: y}}
	return x.c, y.c
}

const pipeRoom = 64 << 10

// A pipeEnd is one end of a Pipe. It holds what the other has written.
type pipeEnd struct {
	l            *loop.Loop
	c            *Conn
	peer         *pipeEnd
	in           []byte // in[off:] is unread
	off          int
	ended        bool // the peer writes no more
	closed       bool
	wantR, wantW bool
}

func (e *pipeEnd) Loop() *loop.Loop { return e.l }

func (e *pipeEnd) Num() int {
	if e.closed || e.l.Closed() {
		return -1
	}
	return 0
}

func (e *pipeEnd) Readable() bool { return e.off < len(e.in) || e.ended }

func (e *pipeEnd) TryRead(p []byte) (int, error) {
	switch {
	case e.closed:
		return 0, net.ErrClosed
	case !e.Readable():
		return 0, ErrWouldBlock
	case len(p) == 0:
		return 0, nil
	case e.off == len(e.in):
		return 0, io.EOF
	}
	n := copy(p, e.in[e.off:])
	e.off += n
	if e.off == len(e.in) {
		e.in, e.off = nil, 0
	}
	if w := e.peer; w.wantW {
		w.wantW = false
		w.c.wakeWriter()
	}
	return n, nil
}

func (e *pipeEnd) Writable() bool { return e.peer.closed || e.peer.unread() < pipeRoom }

func (e *pipeEnd) unread() int { return len(e.in) - e.off }

func (e *pipeEnd) TryWrite(p []byte) (int, error) {
	r := e.peer
	switch {
	case e.closed:
		return 0, net.ErrClosed
	case r.closed || r.ended:
		return 0, syscall.EPIPE
	case !e.Writable():
		return 0, ErrWouldBlock
	}
	n := min(len(p), pipeRoom-r.unread())
	if r.off > pipeRoom {
		r.in = append(r.in[:0], r.in[r.off:]...)
		r.off = 0
	}
	r.in = append(r.in, p[:n]...)
	r.tell()
	return n, nil
}

// tell wakes who wants to read.
func (e *pipeEnd) tell() {
	if e.wantR && e.Readable() {
		e.wantR = false
		e.c.wakeReader()
	}
}

func (e *pipeEnd) WantRead()  { e.wantR = true }
func (e *pipeEnd) WantWrite() { e.wantW = true }

func (e *pipeEnd) CloseWrite() error {
	if e.closed {
		return net.ErrClosed
	}
	e.peer.ended = true
	e.peer.tell()
	return nil
}

func (e *pipeEnd) Close() (bool, error) {
	if e.closed {
		return false, nil
	}
	e.closed = true
	e.in, e.off = nil, 0
	w := e.peer
	w.ended = true
	w.tell()
	if w.wantW {
		w.wantW = false
		w.c.wakeWriter()
	}
	return true, nil
}
