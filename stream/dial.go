package stream

import (
	"context"
	"net/netip"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

// Dial connects to an address: "host:port", with network "tcp", "tcp4" or "tcp6".
// A host with several addresses is tried in the order of the resolver, each until
// it answers; to bound that use a ctx that ends. Without a host it connects to
// this machine. Errors are *net.OpError, the first one if several addresses
// failed. It must be called in a task. (asyncio: open_connection)
//
// Names are looked up by net.DefaultResolver, on another goroutine. Package net's
// delay algorithm is turned off.
//
// Cancel safety: what was begun is closed.
func Dial(ctx context.Context, network, address string) (*Conn, error) {
	l := park.From(ctx, "stream: Dial").Loop()
	e, err := parseEndpoint(network, address)
	if err != nil {
		return nil, e.opError("dial", nil, err)
	}
	addrs, err := e.resolve(ctx, thisHost)
	if err != nil {
		return nil, e.opError("dial", nil, err)
	}
	var first error
	for i := range addrs {
		a := here(addrs[i])
		c, err := dialAddr(ctx, l, a)
		if err == nil {
			return c, nil
		}
		if interrupted(err) {
			return nil, err
		}
		if first == nil {
			first = e.opError("dial", &a, err)
		}
	}
	return nil, first
}

// thisHost is where an empty host leads.
var thisHost = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// here makes the address that means any the one that means this machine: not all
// systems connect to the former.
func here(a netfd.Addr) netfd.Addr {
	switch ip := a.IP(); ip {
	case netip.IPv4Unspecified():
		return netfd.AddrFrom(thisHost[0], 0, a.Port())
	case netip.IPv6Unspecified():
		return netfd.AddrFrom(thisHost[1], 0, a.Port())
	}
	return a
}

func dialAddr(ctx context.Context, l *loop.Loop, a netfd.Addr) (*Conn, error) {
	const tries = 3
	for i := 1; ; i++ {
		c, err := dialOnce(ctx, l, a)
		if err != nil {
			return nil, err
		}
		// A free port of this machine may be given to the socket that connects to
		// it: then it is connected to itself.
		if i == tries || *c.localAddr() != a {
			return c, nil
		}
		_ = c.Close()
	}
}

func dialOnce(ctx context.Context, l *loop.Loop, a netfd.Addr) (*Conn, error) {
	fd, err := netfd.Connect(a, netfd.Addr{})
	if err != nil {
		return nil, err
	}
	c := &Conn{peer: a}
	if err := c.fd.Open(l, fd, (*connSink)(c), false); err != nil {
		netfd.CloseFD(fd)
		return nil, err
	}
	connected := false
	defer func() { // also when the task is unwound
		if !connected {
			_ = c.Close()
		}
	}()
	for {
		err := c.fd.TryConnect()
		if err == ErrWouldBlock {
			if err := c.waitWritable(ctx, nil); err != nil {
				return nil, err
			}
			continue
		}
		connected = err == nil
		if err != nil {
			return nil, err
		}
		return c, nil
	}
}
