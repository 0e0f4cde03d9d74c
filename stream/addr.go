package stream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/park"
)

// tcpAddr returns a as package net has it.
func tcpAddr(a *netfd.Addr) *net.TCPAddr {
	if !a.Valid() {
		return &net.TCPAddr{}
	}
	t := &net.TCPAddr{IP: a.IP().AsSlice(), Port: int(a.Port())}
	if z := a.Zone(); z != 0 {
		t.Zone = strconv.Itoa(int(z))
		if i, err := net.InterfaceByIndex(int(z)); err == nil {
			t.Zone = i.Name
		}
	}
	return t
}

// An endpoint is an address as it was given, taken apart.
type endpoint struct {
	network    string // "tcp", "tcp4" or "tcp6"
	host, port string
}

func parseEndpoint(network, address string) (e endpoint, err error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return e, net.UnknownNetworkError(network)
	}
	e.network = network
	e.host, e.port, err = net.SplitHostPort(address)
	return e, err
}

// family reports whether an address is of the network asked for.
func (e *endpoint) family(ip netip.Addr) bool {
	switch e.network {
	case "tcp4":
		return ip.Is4() || ip.Is4In6()
	case "tcp6":
		return ip.Is6() && !ip.Is4In6()
	}
	return true
}

// resolve returns the addresses of e, at least one, in the order to try them.
// Names are looked up on another goroutine; numbers are not. anywhere is for an
// empty host.
func (e *endpoint) resolve(ctx context.Context, anywhere []netip.Addr) ([]netfd.Addr, error) {
	ips := anywhere
	if e.host != "" {
		ip, err := netip.ParseAddr(e.host)
		if err != nil {
			return e.lookup(ctx)
		}
		ips = []netip.Addr{ip}
	}
	port := 0 // an empty port
	if e.port != "" {
		n, err := strconv.ParseUint(e.port, 10, 16)
		if err != nil {
			return e.lookup(ctx)
		}
		port = int(n)
	}
	return e.addrs(ips, port)
}

func (e *endpoint) addrs(ips []netip.Addr, port int) ([]netfd.Addr, error) {
	var addrs []netfd.Addr
	for _, ip := range ips {
		if e.family(ip) {
			addrs = append(addrs, netfd.AddrFrom(ip, zoneIndex(ip.Zone()), uint16(port)))
		}
	}
	if len(addrs) == 0 {
		return nil, &net.AddrError{Err: "no suitable address found", Addr: e.host}
	}
	return addrs, nil
}

func zoneIndex(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32) // 0 is what the system refuses
	return uint32(n)
}

// A lookup is a question to the resolver, on a goroutine of its own.
type lookup struct {
	answer future.Future[[]netfd.Addr]
	addrs  []netfd.Addr
	err    error
	cancel context.CancelFunc
}

// lookup resolves names.
//
// Cancel safety: the lookup is given up, and its goroutine ends on its own.
func (e *endpoint) lookup(ctx context.Context) ([]netfd.Addr, error) {
	l := park.From(ctx, "stream: name lookup").Loop()
	// Not ctx: its end is the wait's business, and package net may ask it for
	// values on the other goroutine.
	lctx, cancel := context.WithCancel(context.Background())
	q := &lookup{cancel: cancel}
	future.Init(&q.answer, l, q)
	release := l.Hold()
	go func() {
		defer release() // after the post: virtual time must not run ahead of it
		q.addrs, q.err = e.ask(lctx)
		_ = l.QueueThreadsafe(q) // a closed loop does not wait
	}()
	defer cancel()
	return q.answer.Await(ctx)
}

// Run brings the answer to the loop.
func (q *lookup) Run() { future.Settle(&q.answer, q.addrs, q.err) }

// CancelFuture gives the lookup up.
func (q *lookup) CancelFuture(cause error) bool {
	q.cancel()
	return future.Settle(&q.answer, nil, &future.CanceledError{Cause: cause})
}

// ask runs on a goroutine.
func (e *endpoint) ask(ctx context.Context) ([]netfd.Addr, error) {
	port, err := net.DefaultResolver.LookupPort(ctx, e.network, e.port)
	if err != nil {
		return nil, err
	}
	ips := []netip.Addr{netip.IPv6Unspecified(), netip.IPv4Unspecified()}
	if ip, err := netip.ParseAddr(e.host); err == nil {
		ips = []netip.Addr{ip}
	} else if e.host != "" {
		ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip"+e.network[len("tcp"):], e.host)
		if err != nil {
			return nil, err
		}
	}
	return e.addrs(ips, port)
}

// opError makes a failure of Dial or Listen one of package net's.
func (e *endpoint) opError(op string, a *netfd.Addr, err error) error {
	if dns := (*net.DNSError)(nil); interrupted(err) && !errors.As(err, &dns) {
		return err
	}
	oe := &net.OpError{Op: op, Net: e.network, Err: err}
	if a != nil {
		oe.Addr = tcpAddr(a)
	}
	return oe
}
