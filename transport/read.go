package transport

import (
	"io"

	"github.com/eddyloop/eddy/internal/netfd"
)

// reads reports whether what arrives is to be read now.
func (t *Transport) reads() bool {
	if t.flags&encrypted != 0 {
		return t.readsTLS()
	}
	return t.flags&(made|paused|closing|losing|lost|eofIn|writeOnly) == made
}

// await arranges for the next read: in the next turn if there may be more, else
// when something arrives. One read a turn, and a connection that always has data
// keeps nobody from theirs.
func (t *Transport) await() {
	switch {
	case !t.reads():
	case t.fd.Readable() || t.flags&failed != 0:
		t.schedule()
	default:
		t.fd.WantRead()
	}
}

// receive reads once and hands it out.
func (t *Transport) receive() {
	var err error
	switch {
	case t.flags&encrypted != 0:
		err = t.receiveTLS()
	case t.buffered != nil:
		err = t.receiveInto(t.buffered)
	default:
		err = t.receiveData()
	}
	if err != nil {
		t.readFailed(err)
	} else {
		t.await()
	}
}

// readFailed goes on when a read has brought nothing.
func (t *Transport) readFailed(err error) {
	switch {
	case err == netfd.ErrWouldBlock && t.flags&failed == 0:
		t.await()
	case t.flags&losing != 0:
	case t.flags&failed != 0:
		t.lose(t.more.cause()) // all that came before has been read
	case err == io.EOF:
		t.ended()
	case err == ErrEmptyBuffer:
		t.lose(err)
	default:
		t.lose(t.opError("read", err))
	}
}

func (t *Transport) receiveData() error {
	n, err := t.fd.TryRead(t.hub.buffer())
	if err == nil {
		t.deliver(t.hub.in[:n:n])
	}
	return err
}

// deliver hands out bytes in the loop's buffer.
func (t *Transport) deliver(p []byte) {
	t.hub.method = "Data"
	t.proto.Data(p) // at least one byte
	poison(p)
}

func (t *Transport) receiveInto(b BufferedProtocol) error {
	if !t.fd.Readable() {
		return netfd.ErrWouldBlock
	}
	t.hub.method = "GetBuffer"
	p := b.GetBuffer(readSize)
	if len(p) == 0 {
		return ErrEmptyBuffer
	}
	n, err := t.fd.TryRead(p)
	if err == nil {
		t.hub.method = "BufferUpdated"
		b.BufferUpdated(n)
	}
	return err
}

// ended tells the protocol of the peer's end.
func (t *Transport) ended() {
	t.flags |= eofIn
	t.hub.method = "EOF"
	if !t.proto.EOF() {
		t.Close()
	}
}

// PauseReading stops the calls of Data and EOF, until ResumeReading: the peer will
// have to wait. Before Connected, it holds for the first. It does nothing if reading
// is paused or has ended. That the connection has failed is not noticed meanwhile
// except by writing. (asyncio: pause_reading)
func (t *Transport) PauseReading() {
	t.flags |= paused
	if t.flags&(failed|losing) == failed {
		t.schedule() // there is nothing to wait for any more
	}
}

// ResumeReading undoes PauseReading: Data may be called from the next turn on. It
// does nothing if reading is not paused. (asyncio: resume_reading)
func (t *Transport) ResumeReading() {
	if t.flags&paused == 0 {
		return
	}
	t.flags &^= paused
	if t.flags&(encrypted|losing) == encrypted {
		t.schedule() // crypto/tls may have some, of which no event tells
	} else {
		t.await()
	}
}

// IsReading reports whether Data may be called: not before Connected, while reading
// is paused, after the peer's end, or when the transport is closing.
// (asyncio: is_reading)
func (t *Transport) IsReading() bool { return t.reads() }
