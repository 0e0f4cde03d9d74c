package stream

import (
	"net"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
)

// An extra is what few connections have.
type extra struct {
	layer         layer    // what the bytes go through instead of fd
	upper         upper    // the layer that took this Conn over
	limits        *limits  // of time
	writer        *Writer  // nil until asked for
	local, remote net.Addr // of what is no IP socket; nil: to be asked for
	network       string
}

// A layer is what a Conn's bytes go through, unless that is a descriptor of its
// own, whose methods these are, too: see [netfd.FD]. It calls the Conn's
// wakeReader and wakeWriter, once for each want.
type layer interface {
	TryRead(p []byte) (int, error)
	TryWrite(p []byte) (int, error)
	Readable() bool
	Writable() bool
	WantRead()
	WantWrite()
	CloseWrite() error
	Close() (bool, error)
	Num() int // less than 0: closed
	Loop() *loop.Loop
}

var _ layer = (*netfd.FD)(nil)

// An upper is a layer of another Conn that uses this one. It is told when what it
// wanted is there: to read, or to write.
type upper interface{ readyBelow(reader bool) }

// layered returns the layer, or nil.
func (c *Conn) layered() layer {
	if c.x == nil {
		return nil
	}
	return c.x.layer
}

func (c *Conn) extra() *extra {
	if c.x == nil {
		c.x = new(extra)
	}
	return c.x
}

func (c *Conn) pull(p []byte) (int, error) {
	if y := c.layered(); y != nil {
		return y.TryRead(p)
	}
	return c.fd.TryRead(p)
}

func (c *Conn) push(p []byte) (int, error) {
	if y := c.layered(); y != nil {
		return y.TryWrite(p)
	}
	return c.fd.TryWrite(p)
}

// readable reports whether trying to read is worthwhile.
func (c *Conn) readable() bool {
	if y := c.layered(); y != nil {
		return y.Readable()
	}
	return c.fd.Readable()
}

func (c *Conn) writable() bool {
	if y := c.layered(); y != nil {
		return y.Writable()
	}
	return c.fd.Writable()
}

func (c *Conn) wantRead() {
	if y := c.layered(); y != nil {
		y.WantRead()
	} else {
		c.fd.WantRead()
	}
}

func (c *Conn) wantWrite() {
	if y := c.layered(); y != nil {
		y.WantWrite()
	} else {
		c.fd.WantWrite()
	}
}

func (c *Conn) endWrite() error {
	if y := c.layered(); y != nil {
		return y.CloseWrite()
	}
	return c.fd.CloseWrite()
}

func (c *Conn) shut() (bool, error) {
	if y := c.layered(); y != nil {
		return y.Close()
	}
	return c.fd.Close()
}

// Closed reports whether Close was called, or the loop closed.
func (c *Conn) Closed() bool {
	if y := c.layered(); y != nil {
		return y.Num() < 0
	}
	return c.fd.Num() < 0
}

// Loop returns the loop that the connection belongs to.
func (c *Conn) Loop() *loop.Loop {
	if y := c.layered(); y != nil {
		return y.Loop()
	}
	return c.fd.Loop()
}
