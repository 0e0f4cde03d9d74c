package stream

import (
	"net"

	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
)

// LocalAddr returns the connection's own address: a *net.TCPAddr, a *net.UnixAddr,
// that of the connection below for TLS, that of what was adopted, or one that says
// "pipe".
func (c *Conn) LocalAddr() net.Addr {
	if a := c.named(func(x *extra) net.Addr { return x.local }); a != nil {
		return a
	}
	if c.flags&unixSocket != 0 {
		return unixName(netfd.LocalUnix(c.fd.Num()))
	}
	return netdial.TCPAddr(c.localAddr())
}

// RemoteAddr returns the peer's address; see LocalAddr.
func (c *Conn) RemoteAddr() net.Addr {
	if a := c.named(func(x *extra) net.Addr { return x.remote }); a != nil {
		return a
	}
	if c.flags&unixSocket != 0 {
		return unixName(netfd.PeerUnix(c.fd.Num()))
	}
	return netdial.TCPAddr(&c.peer)
}

// named returns the address that is kept, or that of what is no socket.
func (c *Conn) named(of func(*extra) net.Addr) net.Addr {
	if c.x != nil {
		if a := of(c.x); a != nil {
			return a
		}
	}
	if c.flags&file != 0 || c.layered() != nil {
		return pipeAddr{}
	}
	return nil
}

// A pipeAddr is the address of what has none.
type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func unixName(a *net.UnixAddr) net.Addr {
	if a == nil {
		a = &net.UnixAddr{Net: "unix"}
	}
	return a
}

func (c *Conn) localAddr() *netfd.Addr {
	if c.local == nil {
		a := c.fd.Local()
		if !a.Valid() {
			return &a
		}
		c.local = &a
	}
	return c.local
}

// rememberAddrs keeps the addresses for who asks after Close.
func (c *Conn) rememberAddrs() {
	switch {
	case c.fd.Num() < 0:
	case c.flags&unixSocket != 0:
		x := c.extra()
		x.local, x.remote = c.LocalAddr(), c.RemoteAddr()
	case c.flags&file == 0:
		c.localAddr()
	}
}

func (c *Conn) network() string {
	switch {
	case c.x != nil && c.x.network != "":
		return c.x.network
	case c.flags&unixSocket != 0:
		return "unix"
	case c.flags&file != 0 || c.layered() != nil:
		return "pipe"
	}
	return "tcp"
}

// String names the connection by its peer.
func (c *Conn) String() string {
	if a := c.RemoteAddr().String(); a != "" && a != c.network() {
		return c.network() + " " + a
	}
	return c.network() + " " + c.LocalAddr().String()
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
