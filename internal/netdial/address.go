package netdial

import (
	"context"
	"net"
	"net/netip"
	"strconv"

	"github.com/eddyloop/eddy/internal/netfd"
)

// TCPAddr returns a as package net has it; no address is an empty one.
func TCPAddr(a *netfd.Addr) *net.TCPAddr {
	if !a.Valid() {
		return &net.TCPAddr{}
	}
	return &net.TCPAddr{IP: a.IP().AsSlice(), Port: int(a.Port()), Zone: ZoneName(a.Zone())}
}

// UDPAddr is TCPAddr for UDP.
func UDPAddr(a *netfd.Addr) *net.UDPAddr { return (*net.UDPAddr)(TCPAddr(a)) }

// ZoneName returns the name of an interface, its number if it has none, or
// nothing for 0.
func ZoneName(index uint32) string {
	if index == 0 {
		return ""
	}
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(index), 10)
}

// ZoneIndex is the opposite of ZoneName. It returns 0, which the system refuses
// where a zone is needed, for what is no zone.
func ZoneIndex(name string) uint32 {
	if name == "" {
		return 0
	}
	if i, err := net.InterfaceByName(name); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(name, 10, 32)
	return uint32(n)
}

// Literal returns the addresses of "host:port" if no name must be looked up for
// that: the host is a number or empty, and the port is. Else known is false. The
// network is "tcp" or "udp", perhaps with a "4" or "6". An empty host is, if
// passive, every address of this machine, IPv6 first; else this machine itself,
// IPv4 first, as is the address that means any. An empty port is 0. Its errors are
// those of package net.
func Literal(network, address string, passive bool) (addrs []netfd.Addr, known bool, err error) {
	e, err := parseEndpoint(network, address, passive)
	if err != nil {
		return nil, true, err
	}
	return e.literal()
}

// An endpoint is an address as it was given, taken apart.
type endpoint struct {
	network    string // "tcp4"
	protocol   string // "tcp"
	version    string // "", "4" or "6"
	host, port string
	passive    bool
}

func parseEndpoint(network, address string, passive bool) (e endpoint, err error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		e.network, e.protocol, e.version, e.passive = network, network[:3], network[3:], passive
	default:
		return e, net.UnknownNetworkError(network)
	}
	e.host, e.port, err = net.SplitHostPort(address)
	return e, err
}

// everywhere is where an empty host listens, thisHost is where it leads.
var (
	everywhere = []netip.Addr{netip.IPv6Unspecified(), netip.IPv4Unspecified()}
	thisHost   = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
)

func (e *endpoint) anywhere() []netip.Addr {
	if e.passive {
		return everywhere
	}
	return thisHost
}

// family reports whether an address is of the network asked for.
func (e *endpoint) family(ip netip.Addr) bool {
	switch e.version {
	case "4":
		return ip.Is4() || ip.Is4In6()
	case "6":
		return ip.Is6() && !ip.Is4In6()
	}
	return true
}

func (e *endpoint) literal() (addrs []netfd.Addr, known bool, err error) {
	ips := e.anywhere()
	if e.host != "" {
		ip, err := netip.ParseAddr(e.host)
		if err != nil {
			return nil, false, nil
		}
		ips = []netip.Addr{ip}
	}
	port := uint64(0)
	if e.port != "" {
		if port, err = strconv.ParseUint(e.port, 10, 16); err != nil {
			return nil, false, nil
		}
	}
	addrs, err = e.addrs(ips, int(port))
	return addrs, true, err
}

// ask runs on a goroutine.
func (e *endpoint) ask(ctx context.Context, r *net.Resolver) ([]netfd.Addr, error) {
	if r == nil {
		r = net.DefaultResolver
	}
	port, err := r.LookupPort(ctx, e.protocol, e.port)
	if err != nil {
		return nil, err
	}
	ips := e.anywhere()
	if ip, err := netip.ParseAddr(e.host); err == nil {
		ips = []netip.Addr{ip}
	} else if e.host != "" {
		if ips, err = r.LookupNetIP(ctx, "ip"+e.version, e.host); err != nil {
			return nil, err
		}
	}
	return e.addrs(ips, port)
}

// addrs returns at least one address, or an error.
func (e *endpoint) addrs(ips []netip.Addr, port int) ([]netfd.Addr, error) {
	var addrs []netfd.Addr
	for _, ip := range ips {
		if !e.family(ip) {
			continue
		}
		a := netfd.AddrFrom(ip, ZoneIndex(ip.Zone()), uint16(port))
		if !e.passive {
			a = here(a)
		}
		addrs = append(addrs, a)
	}
	if len(addrs) == 0 {
		return nil, e.unsuitable()
	}
	return addrs, nil
}

func (e *endpoint) unsuitable() error {
	return &net.AddrError{Err: "no suitable address found", Addr: e.host}
}

// here makes the address that means any the one that means this machine: not all
// systems connect to the former.
func here(a netfd.Addr) netfd.Addr {
	switch a.IP() {
	case everywhere[1]:
		return netfd.AddrFrom(thisHost[0], 0, a.Port())
	case everywhere[0]:
		return netfd.AddrFrom(thisHost[1], 0, a.Port())
	}
	return a
}

// interleave lets the families take turns, beginning with that of the first
// address, and keeps the order within each: RFC 8305, section 4.
func interleave(addrs []netfd.Addr) []netfd.Addr {
	var first, second []netfd.Addr
	for _, a := range addrs {
		if a.IP().Is4() == addrs[0].IP().Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	mixed := make([]netfd.Addr, 0, len(addrs))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			mixed = append(mixed, first[i])
		}
		if i < len(second) {
			mixed = append(mixed, second[i])
		}
	}
	return mixed
}

// ofFamily returns the addresses that a socket bound to local can reach.
func ofFamily(addrs []netfd.Addr, local netfd.Addr) []netfd.Addr {
	var same []netfd.Addr
	for _, a := range addrs {
		if a.IP().Is4() == local.IP().Is4() {
			same = append(same, a)
		}
	}
	return same
}
