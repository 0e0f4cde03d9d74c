package datagram

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

// A Conn is a UDP socket. Make it with [Listen], [Dial] or [Adopt], and close it.
// It must be used on its loop. (asyncio: a DatagramTransport)
type Conn struct {
	socket
	zone     uint32 // of the last link-local address, and its name
	zoneName string
}

// Config configures a [Conn]. The zero value is right for production.
type Config struct {
	// Local is the address that Dial connects from, if it is valid; an address that
	// means any stands for a port alone. Listen ignores it.
	Local netip.AddrPort
	// ReusePort lets other sockets that say so have the same port, one for each loop
	// or process: Linux, FreeBSD and DragonFly spread datagrams over them, by sender,
	// and give each what is sent to a group. (asyncio: reuse_port)
	ReusePort bool
	// Broadcast lets the socket send to broadcast addresses.
	// (asyncio: allow_broadcast)
	Broadcast bool
	// ReadBuffer and WriteBuffer are the socket's buffers in bytes, as the system
	// understands that: Linux takes twice as much, up to a limit. Default 0: the
	// system's.
	ReadBuffer, WriteBuffer int
}

// Listen makes a Conn that hears everybody at "host:port", with network "udp",
// "udp4" or "udp6". Port 0, or none, lets the system choose. Without a host it
// listens on all addresses: with "udp" on IPv6 and IPv4, if the system has both.
// Of a name with several addresses it takes the first. Errors are *net.OpError. It
// must be called in a task, and suspends only to look a name up.
// (asyncio: create_datagram_endpoint with local_addr)
//
// Cancel safety: nothing is left open.
func Listen(ctx context.Context, network, address string) (*Conn, error) {
	return new(Config).Listen(ctx, network, address)
}

// Listen is the function [Listen] with a configuration.
func (cfg *Config) Listen(ctx context.Context, network, address string) (*Conn, error) {
	return cfg.make(ctx, "listen", network, address)
}

// Dial makes a Conn that is connected with "host:port", with network "udp", "udp4"
// or "udp6": it is for Read and Write. Without a host that is this machine. Nothing
// is sent for it, so that nobody is there is an error of a later Write or Read. Of
// a name with several addresses it takes the first that the system knows a way to.
// Errors are *net.OpError. It must be called in a task, and suspends only to look a
// name up. (asyncio: create_datagram_endpoint with remote_addr)
//
// Cancel safety: nothing is left open.
func Dial(ctx context.Context, network, address string) (*Conn, error) {
	return new(Config).Dial(ctx, network, address)
}

// Dial is the function [Dial] with a configuration.
func (cfg *Config) Dial(ctx context.Context, network, address string) (*Conn, error) {
	return cfg.make(ctx, "dial", network, address)
}

// make tries the addresses until one does.
func (cfg *Config) make(ctx context.Context, op, network, address string) (*Conn, error) {
	l := park.From(ctx, "datagram: Conn").Loop()
	if err := checkNetwork(network); err != nil {
		return nil, &net.OpError{Op: op, Net: network, Err: err}
	}
	addrs, err := resolve(ctx, l, network, address, op == "listen")
	if err != nil {
		if interrupted(err) {
			return nil, err
		}
		return nil, &net.OpError{Op: op, Net: network, Err: err}
	}
	var first error
	for i := range addrs {
		pc := cfg.packet(op, network, addrs[i])
		c, err := open(l, network, pc)
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = &net.OpError{Op: op, Net: network, Addr: udpAddr(addrs[i]), Err: err}
		}
		if op == "listen" && !netfd.Unsupported(err) {
			break // only a system without IPv6 leads to the next
		}
	}
	return nil, first
}

// interrupted reports whether err is the end of the caller's wait, and not what a
// resolver says.
func interrupted(err error) bool {
	var dns *net.DNSError
	return !errors.As(err, &dns) && (future.AsCanceled(err) != nil || errors.Is(err, context.DeadlineExceeded))
}

func checkNetwork(network string) error {
	switch network {
	case "udp", "udp4", "udp6":
		return nil
	}
	return net.UnknownNetworkError(network)
}

func (cfg *Config) packet(op, network string, a netfd.Addr) *netfd.PacketConfig {
	pc := &netfd.PacketConfig{
		ReusePort: cfg.ReusePort, Broadcast: cfg.Broadcast, ReadBuffer: cfg.ReadBuffer, WriteBuffer: cfg.WriteBuffer,
	}
	if op == "listen" {
		pc.Local = a
		pc.Dual = network == "udp" && a.IP() == netip.IPv6Unspecified()
		return pc
	}
	pc.Remote = a
	if ip := cfg.Local.Addr(); ip.IsValid() {
		if ip.IsUnspecified() { // of the peer's family, then
			ip = netip.IPv6Unspecified()
			if a.IP().Is4() {
				ip = netip.IPv4Unspecified()
			}
		}
		pc.Local = netfd.AddrFrom(ip, netdial.ZoneIndex(ip.Zone()), cfg.Local.Port())
	}
	return pc
}

func open(l *loop.Loop, network string, pc *netfd.PacketConfig) (*Conn, error) {
	fd, err := netfd.NewPacket(pc)
	if err != nil {
		return nil, err
	}
	c := new(Conn)
	c.network = network
	if pc.Remote.Valid() {
		c.to = udpAddr(pc.Remote)
	}
	return c, c.open(l, fd)
}

// resolve returns the addresses, and suspends if that takes a resolver.
func resolve(ctx context.Context, l *loop.Loop, network, address string, passive bool) ([]netfd.Addr, error) {
	addrs, known, err := netdial.Literal(network, address, passive)
	if known {
		return addrs, err
	}
	f, p := future.New[[]netfd.Addr](l)
	cancel := netdial.Resolve(l, network, address, passive, func(addrs []netfd.Addr, err error) {
		if err != nil {
			p.Fail(err)
			return
		}
		p.Resolve(addrs)
	})
	defer cancel()
	return f.Await(ctx)
}

// Adopt makes a Conn of something that has a UDP socket: a *net.UDPConn, an
// *os.File around a descriptor. The socket belongs to the Conn from now on; what it
// was taken from is closed, and must not be used by others meanwhile. It fails with
// errors.ErrUnsupported for what is no UDP socket, and then leaves it as it was. It
// must be called in a task.
func Adopt(ctx context.Context, x syscall.Conn) (*Conn, error) {
	l := park.From(ctx, "datagram: Adopt").Loop()
	fd, family, err := adopt(x)
	var c *Conn
	if err == nil {
		if c, err = openFD(l, fd, family); err != nil {
			netfd.CloseFD(fd)
		}
	}
	if err != nil {
		return nil, &net.OpError{Op: "adopt", Net: "udp", Err: err}
	}
	closeOriginal(x)
	return c, nil
}

// AdoptFD is [Adopt] for a descriptor, which belongs to the Conn from now on, and
// stays the caller's if it fails. It is made non-blocking.
func AdoptFD(ctx context.Context, fd int) (*Conn, error) {
	l := park.From(ctx, "datagram: AdoptFD").Loop()
	c, err := openFD(l, fd, netfd.PacketFamily(fd))
	if err != nil {
		return nil, &net.OpError{Op: "adopt", Net: "udp", Err: err}
	}
	return c, nil
}

// openFD makes a Conn of fd, which is left to the caller if that fails.
func openFD(l *loop.Loop, fd, family int) (*Conn, error) {
	if family != 4 && family != 6 {
		return nil, errors.ErrUnsupported
	}
	if err := netfd.SetNonblock(fd); err != nil {
		return nil, err
	}
	c := new(Conn)
	c.network = "udp"
	if a := netfd.PeerAddr(fd); a.Valid() {
		c.to = udpAddr(a)
	}
	if err := c.fd.Open(l, fd, (*socketSink)(&c.socket), true); err != nil {
		return nil, err
	}
	return c, nil
}

// adopt returns a duplicate, and what it is.
func adopt(x syscall.Conn) (fd, family int, err error) {
	fd, _, err = netfd.Adopt(x)
	if err != nil {
		return -1, 0, err
	}
	return fd, netfd.PacketFamily(fd), nil
}

func closeOriginal(x syscall.Conn) {
	if c, ok := x.(interface{ Close() error }); ok {
		_ = c.Close() // the duplicate is what counts
	}
}

// ReadFrom takes the next datagram, and waits if there is none. It returns how many
// of its bytes are in p, and who sent it, along with [ErrTruncated] if p was too
// short for all. Other errors come without a datagram: net.ErrClosed if the Conn is
// closed, now or while it waits, [ErrBusy] if another task waits to read, and what
// the system has heard of one that was sent, once. A datagram may be empty.
// (asyncio: sock_recvfrom)
//
// Cancel safety: a canceled ReadFrom has taken no datagram.
func (c *Conn) ReadFrom(ctx context.Context, p []byte) (n int, from netip.AddrPort, err error) {
	if err := c.beginRead(ctx); err != nil {
		return 0, from, err
	}
	for {
		n, from, err = c.tryReadFrom(p)
		if err != ErrWouldBlock {
			return n, from, err
		}
		if err := c.waitReadable(ctx); err != nil {
			return 0, from, err
		}
	}
}

// TryReadFrom is ReadFrom without waiting: it returns [ErrWouldBlock] if there is
// no datagram.
func (c *Conn) TryReadFrom(p []byte) (n int, from netip.AddrPort, err error) {
	if c.held(reading) {
		return 0, from, ErrBusy
	}
	return c.tryReadFrom(p)
}

func (c *Conn) tryReadFrom(p []byte) (int, netip.AddrPort, error) {
	n, a, truncated, err := c.fd.TryReadFrom(p)
	if err = c.received(n, truncated, err); err != nil && err != ErrTruncated {
		return 0, netip.AddrPort{}, err
	}
	ip := a.IP()
	if z := a.Zone(); z != 0 {
		ip = ip.WithZone(c.nameOf(z))
	}
	return n, netip.AddrPortFrom(ip, a.Port()), err
}

// nameOf remembers the last name: to ask takes system calls.
func (c *Conn) nameOf(zone uint32) string {
	if zone != c.zone {
		c.zone, c.zoneName = zone, netdial.ZoneName(zone)
	}
	return c.zoneName
}

// WriteTo sends p as one datagram to an address, and waits while the socket has no
// room for it. See Write, which is for a Conn that is connected; for such a one
// WriteTo panics. (asyncio: sendto)
//
// Cancel safety: a canceled WriteTo has sent nothing.
func (c *Conn) WriteTo(ctx context.Context, p []byte, to netip.AddrPort) error {
	c.checkFree()
	if err := c.beginWrite(ctx); err != nil {
		return err
	}
	for {
		if err := c.tryWriteTo(p, to); err != ErrWouldBlock {
			return err
		}
		if err := c.waitWritable(ctx); err != nil {
			return err
		}
	}
}

// TryWriteTo is WriteTo without waiting: it returns [ErrWouldBlock] if there is no
// room.
func (c *Conn) TryWriteTo(p []byte, to netip.AddrPort) error {
	c.checkFree()
	if c.held(writing) {
		return ErrBusy
	}
	return c.tryWriteTo(p, to)
}

func (c *Conn) tryWriteTo(p []byte, to netip.AddrPort) error {
	ip := to.Addr()
	if !ip.IsValid() {
		panic("datagram: WriteTo without an address")
	}
	a := netfd.AddrFrom(ip, c.indexOf(ip.Zone()), to.Port())
	err := c.fd.TryWriteTo(p, &a)
	if c.sent(len(p), err) {
		return err
	}
	return c.opError("write", net.UDPAddrFromAddrPort(to), err)
}

func (c *Conn) indexOf(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if zone != c.zoneName {
		c.zone, c.zoneName = netdial.ZoneIndex(zone), zone
	}
	return c.zone
}

// LocalAddrPort returns the Conn's own address.
func (c *Conn) LocalAddrPort() netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// RemoteAddrPort returns whom the Conn is connected with, or the zero address.
func (c *Conn) RemoteAddrPort() netip.AddrPort {
	a, _ := c.to.(*net.UDPAddr)
	return a.AddrPort()
}

// udpAddr is for net.Addr values, which must not be a nil pointer.
func udpAddr(a netfd.Addr) net.Addr { return netdial.UDPAddr(&a) }
