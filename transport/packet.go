package transport

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
)

// A PacketProtocol is what is called as datagrams come, on its loop, by the queue:
//
//	Connected, then PacketReceived and ErrorReceived any number of times, then Lost
//
// No method may block. One that panics ends the transport. A protocol that also is a
// [Pauser] is used as such. Embed [PacketDefaults] for the methods that are not needed.
// (asyncio: DatagramProtocol)
type PacketProtocol interface {
	// Connected is called when the socket is there, before anything is read.
	Connected(t *PacketTransport)

	// PacketReceived is called with each datagram, which may be empty. p belongs to the
	// loop: it is valid, and may be changed, only until PacketReceived returns.
	PacketReceived(p []byte, from netip.AddrPort)

	// ErrorReceived is called when the system says that an earlier datagram has not
	// arrived, or that one cannot be sent. The transport goes on.
	ErrorReceived(err error)

	// Lost is called last, with nil after Close or Abort.
	Lost(err error)
}

// PacketDefaults is a [PacketProtocol] that does nothing. It is to be embedded.
type PacketDefaults struct{}

// Connected does nothing.
func (PacketDefaults) Connected(*PacketTransport) {}

// PacketReceived does nothing.
func (PacketDefaults) PacketReceived([]byte, netip.AddrPort) {}

// ErrorReceived does nothing.
func (PacketDefaults) ErrorReceived(error) {}

// Lost does nothing.
func (PacketDefaults) Lost(error) {}

// maxPackets is how many datagrams are received, or sent, in a turn.
const maxPackets = 16

// A PacketTransport is a UDP socket that calls a [PacketProtocol]. Make it with
// [ListenPacket] or [DialPacket]. It must be used on its loop.
// (asyncio: DatagramTransport)
//
//	new --Connected--> open --Close--> flushing --all is sent--> losing --Lost--> lost
//	open or flushing --Abort, an error, closing the loop--> losing
type PacketTransport struct {
	fd      netfd.FD
	hub     *hub
	proto   PacketProtocol
	env     *env.Env
	limits  *limits
	out     []packet // from first on
	first   int
	size    int   // bytes in out, and some for each
	err     error // of Lost
	late    error // for ErrorReceived
	local   netip.AddrPort
	remote  netip.AddrPort // not valid unless connected
	dropped int
	flags   flags
}

// A packet waits for room in the socket.
type packet struct {
	p  []byte
	to netfd.Addr
}

// packetCost is what a buffered datagram counts for besides its bytes: without it,
// empty ones could be buffered without end.
const packetCost = 64

// ListenPacket makes a transport that receives datagrams at address, "host:port" with
// network "udp", "udp4" or "udp6", where the host is an IP address or empty. It sends to
// anybody. Of cfg only the limits count. Errors are *net.OpError. It must be called on the
// loop. (asyncio: create_datagram_endpoint with local_addr)
func ListenPacket(l *loop.Loop, network, address string, p PacketProtocol, cfg Config) (*PacketTransport, error) {
	return openPacket(l, "listen", network, address, p, cfg, func(a *net.UDPAddr) (*net.UDPConn, error) {
		return net.ListenUDP(network, a)
	})
}

// DialPacket is [ListenPacket] for a socket that is connected: it receives from address
// only, and sends there. (asyncio: create_datagram_endpoint with remote_addr)
func DialPacket(l *loop.Loop, network, address string, p PacketProtocol, cfg Config) (*PacketTransport, error) {
	return openPacket(l, "dial", network, address, p, cfg, func(a *net.UDPAddr) (*net.UDPConn, error) {
		return net.DialUDP(network, nil, a)
	})
}

func openPacket(l *loop.Loop, op, network, address string, p PacketProtocol, cfg Config,
	open func(*net.UDPAddr) (*net.UDPConn, error),
) (*PacketTransport, error) {
	if p == nil {
		panic("transport: a packet transport without a protocol")
	}
	limits := cfg.limits()
	addrs, known, err := netdial.Literal(network, address, op == "listen")
	if err == nil && !known {
		err = &net.AddrError{Err: "not a number", Addr: address}
	}
	if err != nil {
		return nil, &net.OpError{Op: op, Net: network, Err: err}
	}
	c, err := open(packetAddr(addrs))
	if err != nil {
		return nil, err
	}
	defer c.Close() // package net's; ours is a duplicate
	fd, _, err := netfd.Adopt(c)
	if err != nil {
		return nil, &net.OpError{Op: op, Net: network, Err: err}
	}
	t := &PacketTransport{hub: hubOf(l), proto: p, env: inherit(l), limits: limits}
	t.local = c.LocalAddr().(*net.UDPAddr).AddrPort()
	if a, ok := c.RemoteAddr().(*net.UDPAddr); ok {
		t.remote = a.AddrPort()
	}
	if err := t.open(l, fd); err != nil {
		netfd.CloseFD(fd)
		return nil, &net.OpError{Op: op, Net: network, Err: err}
	}
	return t, nil
}

// packetAddr returns the first address, or nil, which is all, for all that mean any.
func packetAddr(addrs []netfd.Addr) *net.UDPAddr {
	if len(addrs) > 1 && addrs[0].IP().IsUnspecified() {
		return &net.UDPAddr{Port: int(addrs[0].Port())}
	}
	return netdial.UDPAddr(&addrs[0])
}

func (t *PacketTransport) open(l *loop.Loop, fd int) error {
	if t.hub.closing {
		return loop.ErrClosed
	}
	if err := t.fd.Open(l, fd, (*packetSink)(t), true); err != nil {
		return err
	}
	if t.hub.packets == nil {
		t.hub.packets = make(map[*PacketTransport]struct{})
	}
	t.hub.packets[t] = struct{}{}
	l.Queue((*packetMade)(t))
	return nil
}

// A packetSink is a PacketTransport as the loop sees it.
type packetSink PacketTransport

// Ready is called while the loop looks.
func (s *packetSink) Ready(r poller.Ready) {
	t := (*PacketTransport)(s)
	reader, writer := t.fd.Note(r)
	if writer || reader && t.reads() {
		t.schedule()
	}
}

func (t *PacketTransport) schedule() {
	if t.flags&queued == 0 {
		t.flags |= queued
		t.hub.l.Queue((*packetCall)(t))
	}
}

// A packetMade is a PacketTransport whose Connected is to be called.
type packetMade PacketTransport

func (c *packetMade) Run() {
	t := (*PacketTransport)(c)
	if t.flags&lost == 0 {
		t.hub.l.CallIn(t.env, t.connected)
	}
}

func (t *PacketTransport) connected() {
	defer t.guard()
	t.flags |= made
	t.hub.method = "Connected"
	t.proto.Connected(t)
	t.checkFull()
	t.await()
}

// A packetCall is a PacketTransport in the loop's queue.
type packetCall PacketTransport

func (c *packetCall) Run() {
	t := (*PacketTransport)(c)
	t.flags &^= queued
	if t.flags&(losing|lost) == 0 {
		t.hub.l.CallIn(t.env, t.io)
	}
}

func (t *PacketTransport) io() {
	defer t.guard()
	if err := t.late; err != nil && t.flags&made != 0 {
		t.late = nil
		t.tellError("write", err)
	}
	if t.reads() {
		t.receive()
	}
	if t.flags&losing == 0 && len(t.out) > 0 {
		t.flush()
	}
}

func (t *PacketTransport) guard() {
	v := recover()
	if v == nil {
		return
	}
	err, nested := v.(*ProtocolError)
	if !nested {
		err = &ProtocolError{t.hub.method, t.String(), coro.NewPanicError(v)}
	}
	t.lose(err)
	panic(err)
}

func (t *PacketTransport) reads() bool { return t.flags&(made|paused|closing|losing|lost) == made }

func (t *PacketTransport) await() {
	switch {
	case !t.reads():
	case t.fd.Readable():
		t.schedule()
	default:
		t.fd.WantRead()
	}
}

// receive takes some datagrams.
func (t *PacketTransport) receive() {
	for range maxPackets {
		n, from, _, err := t.fd.TryReadFrom(t.hub.buffer())
		switch {
		case err == nil:
			p := t.hub.in[:n:n]
			t.hub.method = "PacketReceived"
			t.proto.PacketReceived(p, t.sender(&from))
			if n > 0 {
				poison(p)
			}
		case err == netfd.ErrWouldBlock:
			t.await()
			return
		default:
			t.tellError("read", err)
		}
		if !t.reads() {
			return
		}
	}
	t.await()
}

func (t *PacketTransport) sender(a *netfd.Addr) netip.AddrPort {
	if !a.Valid() {
		return t.remote
	}
	ip := a.IP()
	if z := a.Zone(); z != 0 {
		ip = ip.WithZone(netdial.ZoneName(z))
	}
	return netip.AddrPortFrom(ip, a.Port())
}

func (t *PacketTransport) tellError(op string, err error) {
	t.hub.method = "ErrorReceived"
	t.proto.ErrorReceived(t.opError(op, err))
}

// Write sends p as one datagram to whom the socket is connected with. See WriteTo.
// (asyncio: sendto without an address)
func (t *PacketTransport) Write(p []byte) error {
	if !t.remote.IsValid() {
		panic("transport: Write of a packet transport that is not connected: use WriteTo")
	}
	return t.write(p, netfd.Addr{})
}

// WriteTo sends p as one datagram, at once or, if the socket has no room, when it has.
// p is the caller's again when WriteTo returns. It returns [ErrBufferFull], with p
// dropped, if too much waits already, net.ErrClosed when the transport is closing, or
// lost, and what the system says of this datagram, which does not end the transport;
// what it says later, the protocol hears by ErrorReceived. It panics if the socket is
// connected with somebody else. (asyncio: sendto)
func (t *PacketTransport) WriteTo(p []byte, to netip.AddrPort) error {
	if !to.IsValid() {
		panic("transport: WriteTo without an address")
	}
	var a netfd.Addr
	if t.remote.IsValid() {
		if unmap(to) != unmap(t.remote) {
			panic("transport: WriteTo of a packet transport that is connected with somebody else")
		}
	} else {
		ip := to.Addr()
		a = netfd.AddrFrom(ip, netdial.ZoneIndex(ip.Zone()), to.Port())
	}
	return t.write(p, a)
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

func (t *PacketTransport) write(p []byte, to netfd.Addr) error {
	if t.flags&(closing|lost) != 0 {
		t.dropped++
		return net.ErrClosed
	}
	if len(t.out) == 0 {
		err := t.send(p, &to)
		if errors.Is(err, syscall.ECONNREFUSED) { // an earlier one was
			t.late = err
			t.schedule()
			err = t.send(p, &to)
		}
		if err == nil {
			return nil
		}
		if err != netfd.ErrWouldBlock {
			return t.opError("write", err)
		}
		t.fd.WantWrite()
	}
	if len(p)+packetCost > t.limits.max-t.size {
		return ErrBufferFull
	}
	t.out = append(t.out, packet{append([]byte(nil), p...), to})
	t.size += len(p) + packetCost
	t.checkFull()
	return nil
}

func (t *PacketTransport) send(p []byte, to *netfd.Addr) error {
	if !to.Valid() {
		to = nil
	}
	return t.fd.TryWriteTo(p, to)
}

// flush sends some of what waits.
func (t *PacketTransport) flush() {
	for range maxPackets {
		if t.first == len(t.out) {
			break
		}
		k := &t.out[t.first]
		err := t.send(k.p, &k.to)
		if err == netfd.ErrWouldBlock {
			t.fd.WantWrite()
			break
		}
		t.size -= len(k.p) + packetCost
		*k = packet{}
		t.first++
		if err != nil {
			t.tellError("write", err)
			if t.flags&losing != 0 {
				return
			}
		}
	}
	if t.first == len(t.out) {
		t.out, t.first = t.out[:0], 0
	}
	t.checkEmpty()
	switch {
	case len(t.out) > 0 && t.fd.Writable():
		t.schedule()
	case len(t.out) == 0 && t.flags&closing != 0:
		t.lose(nil)
	}
}

func (t *PacketTransport) checkFull() {
	if t.flags&(full|made) != made || t.size <= t.limits.high {
		return
	}
	t.flags |= full
	if p, ok := t.proto.(Pauser); ok {
		t.tell("PauseWriting", p.PauseWriting)
	}
}

func (t *PacketTransport) checkEmpty() {
	if t.flags&full == 0 || t.size > t.limits.low {
		return
	}
	t.flags &^= full
	if p, ok := t.proto.(Pauser); ok {
		t.tell("ResumeWriting", p.ResumeWriting)
	}
}

func (t *PacketTransport) tell(method string, call func()) {
	defer t.guard()
	before := t.hub.method
	t.hub.method = method
	call()
	t.hub.method = before
}

// PauseReading stops the calls of PacketReceived; what comes waits in the system, which
// drops what is too much.
func (t *PacketTransport) PauseReading() { t.flags |= paused }

// ResumeReading undoes PauseReading.
func (t *PacketTransport) ResumeReading() {
	if t.flags&paused != 0 {
		t.flags &^= paused
		t.await()
	}
}

// Close closes the socket when all that waits was sent. Later calls do nothing.
// (asyncio: close)
func (t *PacketTransport) Close() {
	if t.flags&closing != 0 {
		return
	}
	t.flags |= closing
	if len(t.out) == 0 {
		t.lose(nil)
	}
}

// Abort closes the socket without sending what waits. (asyncio: abort)
func (t *PacketTransport) Abort() { t.lose(nil) }

func (t *PacketTransport) lose(err error) {
	if t.flags&(losing|lost) != 0 {
		return
	}
	t.flags |= closing | losing
	t.out, t.first, t.size, t.err = nil, 0, 0, err
	t.hub.l.Queue((*packetLost)(t))
}

// A packetLost is a PacketTransport whose Lost is to be called.
type packetLost PacketTransport

func (c *packetLost) Run() {
	t := (*PacketTransport)(c)
	if t.flags&lost == 0 {
		t.hub.l.CallIn(t.env, t.tellLost)
	}
}

func (t *PacketTransport) tellLost() {
	t.flags |= lost
	defer t.release()
	defer t.guard()
	if t.flags&made != 0 {
		t.hub.method = "Lost"
		t.proto.Lost(t.err)
	}
}

func (t *PacketTransport) release() {
	delete(t.hub.packets, t)
	if _, err := t.fd.Close(); err != nil {
		t.hub.l.Report(&loop.CallError{Op: "close", Name: t.String(), Err: err})
	}
}

// IsClosing reports whether the transport is being closed, or was.
func (t *PacketTransport) IsClosing() bool { return t.flags&closing != 0 }

// WriteBufferSize returns how many bytes wait to be sent, with 64 more for each datagram.
// (asyncio: get_write_buffer_size)
func (t *PacketTransport) WriteBufferSize() int { return t.size }

// Dropped returns how many writes were dropped because the transport was closing, or
// lost.
func (t *PacketTransport) Dropped() int { return t.dropped }

// LocalAddr returns the socket's own address, also when it is closed.
func (t *PacketTransport) LocalAddr() netip.AddrPort { return t.local }

// RemoteAddr returns whom the socket is connected with; not valid if nobody.
func (t *PacketTransport) RemoteAddr() netip.AddrPort { return t.remote }

// Num returns the descriptor, which stays the transport's, or -1 when it is closed.
func (t *PacketTransport) Num() int { return t.fd.Num() }

// Loop returns the loop that the transport belongs to.
func (t *PacketTransport) Loop() *loop.Loop { return t.hub.l }

// String names the transport by its address.
func (t *PacketTransport) String() string { return "udp " + t.local.String() }

func (t *PacketTransport) opError(op string, err error) error {
	e := &net.OpError{Op: op, Net: "udp", Source: net.UDPAddrFromAddrPort(t.local), Err: err}
	if t.remote.IsValid() {
		e.Addr = net.UDPAddrFromAddrPort(t.remote)
	}
	return e
}
