package transport

import (
	"net"

	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
)

// pipeAddr is the address of what has none.
type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// LocalAddr returns the connection's own address: a *net.TCPAddr, a *net.UnixAddr,
// or for a pipe one without content. Once the descriptor is closed it is empty,
// unless it was asked for before. (asyncio: get_extra_info("sockname"))
func (t *Transport) LocalAddr() net.Addr {
	if t.more != nil && t.more.local != nil {
		return t.more.local
	}
	var a net.Addr = pipeAddr{}
	switch t.kind {
	case netfd.TCP:
		n := t.fd.Local()
		a = netdial.TCPAddr(&n)
	case netfd.Unix:
		a = orEmpty(netfd.LocalUnix(t.fd.Num()))
	}
	if t.fd.Num() >= 0 {
		t.extra().local = a
	}
	return a
}

// RemoteAddr returns the peer's address, which for a unix socket is that of its
// listener, mostly without content. (asyncio: get_extra_info("peername"))
func (t *Transport) RemoteAddr() net.Addr {
	switch t.kind {
	case netfd.TCP:
		return netdial.TCPAddr(&t.peer)
	case netfd.Unix:
		return orEmpty(netfd.PeerUnix(t.fd.Num()))
	}
	return pipeAddr{}
}

func orEmpty(a *net.UnixAddr) *net.UnixAddr {
	if a == nil {
		return &net.UnixAddr{Net: "unix"}
	}
	return a
}

// unixName returns a path by which a unix socket is known.
func (t *Transport) unixName() string {
	if s := t.RemoteAddr().String(); s != "" {
		return s
	}
	return t.LocalAddr().String()
}

func (t *Transport) network() string {
	switch t.kind {
	case netfd.Unix:
		return "unix"
	case netfd.File:
		return "pipe"
	}
	return "tcp"
}
