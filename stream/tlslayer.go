package stream

import (
	"net"
	"time"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/tlsio"
	"github.com/eddyloop/eddy/loop"
)

// A tlsLayer encrypts what goes through another Conn, which is its own. What it
// has encrypted and not sent yet, a record at most, it sends by itself.
//
//	open --Close--> closing --all is sent, or the time is over--> closed
type tlsLayer struct {
	c, below *Conn
	// Kept, because callbacks of a handshake ask for them on any goroutine.
	local, remote net.Addr

	eng      *tlsio.Engine
	err      error // of sending
	blocked  bool  // nothing to read before the Conn below has something
	wantR    bool
	wantW    bool
	asked    bool // the Conn below is to tell of room
	shut     bool
	shutdown time.Duration
	timer    loop.Timer    // of closing
	after    loop.Runnable // to be told of the end of that
}

// A tlsCarrier is where the engine reads, and whose addresses it tells.
type tlsCarrier tlsLayer

func (r *tlsCarrier) TryRead(p []byte) (int, error) { return r.below.pull(p) }
func (r *tlsCarrier) LocalAddr() net.Addr           { return r.local }
func (r *tlsCarrier) RemoteAddr() net.Addr          { return r.remote }

func (y *tlsLayer) Loop() *loop.Loop { return y.below.Loop() }

func (y *tlsLayer) Num() int {
	if y.shut || y.below.Closed() {
		return -1
	}
	return 0
}

func (y *tlsLayer) TryRead(p []byte) (int, error) {
	switch {
	case y.Num() < 0:
		return 0, net.ErrClosed
	case !y.Readable():
		return 0, ErrWouldBlock
	case len(p) == 0:
		return 0, nil
	}
	y.blocked = false
	n, err := y.eng.TryRead(p)
	y.blocked = err == netfd.ErrWouldBlock
	y.flush() // what the read has answered
	return n, err
}

func (y *tlsLayer) Readable() bool { return !y.blocked || y.below.readable() }

func (y *tlsLayer) WantRead() {
	y.wantR = true
	y.below.wantRead()
}

func (y *tlsLayer) TryWrite(p []byte) (int, error) {
	const record = 16 << 10
	y.flush()
	switch {
	case y.Num() < 0:
		return 0, net.ErrClosed
	case y.err != nil:
		return 0, y.err
	case y.Unsent() > 0:
		return 0, ErrWouldBlock
	}
	n, err := y.eng.Write(p[:min(len(p), record)])
	y.flush()
	return n, err
}

func (y *tlsLayer) Writable() bool { return y.Unsent() == 0 }

func (y *tlsLayer) WantWrite() { y.wantW = true }

// Unsent returns how many bytes of ciphertext wait to be sent.
func (y *tlsLayer) Unsent() int { return len(y.eng.Pending()) }

// flush sends what is pending as far as there is room, and else asks for it.
func (y *tlsLayer) flush() {
	for p := y.eng.Pending(); len(p) > 0; p = y.eng.Pending() {
		n, err := y.below.push(p)
		y.eng.Advance(n)
		switch {
		case err == ErrWouldBlock:
			if !y.asked {
				y.asked = true
				y.below.wantWrite()
			}
			return
		case err != nil:
			y.err = err
			y.eng.Advance(len(y.eng.Pending()))
		}
	}
}

// readyBelow wakes who waits. The loop may call it while it looks, so flushing is
// left to a callback.
func (y *tlsLayer) readyBelow(reader bool) {
	if y.c != nil && y.below.Closed() && !y.shut { // by others: whoever waits, for whatever, is told
		y.shut = true
		y.c.closed()
		return
	}
	if reader {
		y.blocked = false
		if y.wantR {
			y.wantR = false
			y.c.wakeReader()
		}
		return
	}
	if y.asked {
		y.asked = false
		y.Loop().Queue((*tlsFlush)(y))
	}
}

// A tlsFlush is a layer whose Conn below has room.
type tlsFlush tlsLayer

func (f *tlsFlush) Run() {
	y := (*tlsLayer)(f)
	y.flush()
	if y.Unsent() > 0 {
		return
	}
	if y.shut {
		y.closeBelow()
	}
	if y.wantW {
		y.wantW = false
		y.c.wakeWriter()
	}
}

// CloseWrite sends the alert that ends the stream.
func (y *tlsLayer) CloseWrite() error {
	if y.Num() < 0 {
		return net.ErrClosed
	}
	if y.err != nil {
		return y.err
	}
	err := y.eng.CloseWrite()
	y.flush()
	return err
}

// Close ends the stream, and closes the Conn below as soon as all is sent.
func (y *tlsLayer) Close() (bool, error) {
	if y.Num() < 0 {
		y.shut = true
		return false, nil
	}
	_ = y.CloseWrite() // it may have been ended, or be broken
	y.shut = true
	y.wantR, y.wantW = false, false
	if y.Unsent() > 0 {
		y.Loop().StartTimer(&y.timer, y.shutdown, (*tlsLate)(y))
		return true, nil
	}
	return true, y.closeBelow()
}

// A tlsLate is a layer that could not send all in time.
type tlsLate tlsLayer

func (t *tlsLate) Run() {
	y := (*tlsLayer)(t)
	y.eng.Advance(y.Unsent())
	_ = y.closeBelow()
}

func (y *tlsLayer) closeBelow() error {
	y.drain()
	err := y.below.Close()
	y.gone()
	return err
}

// gone is the end of closing.
func (y *tlsLayer) gone() {
	y.Loop().StopTimer(&y.timer)
	if r := y.after; r != nil {
		y.after = nil
		y.Loop().Queue(r)
	}
}

// closing reports whether y was closed and goes on to send. It is false for nil.
func (y *tlsLayer) closing() bool { return y != nil && y.shut && !y.below.Closed() && y.Unsent() > 0 }

// drain drops what has arrived and nobody will read: a server's session tickets, if
// the client has only written. The system would answer them, unread, by a reset,
// which overtakes what is still to be sent.
func (y *tlsLayer) drain() {
	buf := y.below.buffers().get()
	defer y.below.buffers().put(buf)
	y.below.fd.AssumeReadable() // poll(2) tells only of what is waited for
	for range 16 {
		if _, err := y.below.pull(buf.b); err != nil {
			return
		}
	}
}

// Abort drops what is not sent.
func (y *tlsLayer) Abort() {
	y.eng.Advance(y.Unsent())
	_ = y.below.Abort()
	y.gone()
}
