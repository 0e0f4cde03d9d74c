package tlsio

import (
	"io"
	"net"
	"time"

	"github.com/eddyloop/eddy/internal/netfd"
)

// A pipe is an Engine as crypto/tls sees it: a net.Conn that never blocks. A
// handshake is suspended in its Read.
type pipe Engine

// notYet is what a Read fails with for now. crypto/tls takes a temporary net.Error
// for what it says, and can be called again; every other error it keeps.
type notYet struct{}

var errNotYet net.Error = notYet{}

func (notYet) Error() string   { return netfd.ErrWouldBlock.Error() }
func (notYet) Timeout() bool   { return false }
func (notYet) Temporary() bool { return true }

// Read reads what was fed, and after the handshake what the carrier has.
func (p *pipe) Read(b []byte) (int, error) {
	for {
		switch {
		case p.abandoned:
			return 0, net.ErrClosed
		case !p.in.empty():
			return p.readFed(b), nil
		case p.fedEOF:
			return 0, p.end()
		case p.stack == nil:
			return p.readCarrier(b)
		}
		p.stack.suspend()
	}
}

func (p *pipe) readFed(b []byte) int {
	n := p.in.take(b)
	switch {
	case !p.in.empty():
	case p.stack != nil: // the handshake will want more
		p.in = fifo{buf: p.in.buf[:0]}
	default:
		p.in = fifo{}
	}
	return n
}

func (p *pipe) readCarrier(b []byte) (int, error) {
	n, err := p.under.TryRead(b)
	switch {
	case n > 0:
		return n, nil
	case err == netfd.ErrWouldBlock:
		return 0, errNotYet
	case err == io.EOF:
		return 0, p.end()
	}
	return 0, err
}

// end is the end of what the peer sent. crypto/tls forgives one without a
// close_notify between two records, where an attacker can cut, too.
func (p *pipe) end() error {
	p.cut = true
	return io.ErrUnexpectedEOF
}

// Write adds b to what is to be sent.
func (p *pipe) Write(b []byte) (int, error) {
	if p.phase == ready && p.out.buf == nil { // on the loop, where the buffers are
		p.out.buf = p.bufs.get()
	}
	p.out.add(b)
	if p.reading {
		p.replied += len(b)
	}
	return len(b), nil
}

// Close is called by nobody but a Config's callbacks, which have no business there.
func (p *pipe) Close() error { return nil }

func (p *pipe) LocalAddr() net.Addr  { return p.under.LocalAddr() }
func (p *pipe) RemoteAddr() net.Addr { return p.under.RemoteAddr() }

// Deadlines are the owner's business. crypto/tls sets one for its close_notify.

func (p *pipe) SetDeadline(time.Time) error      { return nil }
func (p *pipe) SetReadDeadline(time.Time) error  { return nil }
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }
