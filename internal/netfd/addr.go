package netfd

import "net/netip"

// An Addr is an IP address and a port, in 24 bytes and without pointers, for
// connections that are kept by the hundred thousand. The zero value is no address.
type Addr struct {
	ip   [16]byte // the first 4 if v4
	zone uint32   // index of the interface, of a link-local IPv6 address
	port uint16
	size uint8 // of ip: 0, 4 or 16
}

// AddrFrom returns the Addr of ip, without its zone, and port. An IPv4 address
// mapped into IPv6 becomes the IPv4 address.
func AddrFrom(ip netip.Addr, zone uint32, port uint16) (a Addr) {
	ip = ip.Unmap()
	a.zone, a.port = zone, port
	if ip.Is4() {
		b := ip.As4()
		a.size = 4
		copy(a.ip[:], b[:])
	} else if ip.IsValid() {
		a.ip, a.size = ip.As16(), 16
	}
	return a
}

// IP returns the address without a zone; the zero Addr has the zero IP.
func (a *Addr) IP() netip.Addr {
	switch a.size {
	case 4:
		return netip.AddrFrom4([4]byte(a.ip[:4]))
	case 16:
		return netip.AddrFrom16(a.ip)
	}
	return netip.Addr{}
}

// Port returns the port.
func (a *Addr) Port() uint16 { return a.port }

// Zone returns the index of the address's interface, or 0.
func (a *Addr) Zone() uint32 { return a.zone }

// Valid reports whether a is an address.
func (a *Addr) Valid() bool { return a.size != 0 }

// set4 and set6 fill in what the kernel gave.
func (a *Addr) set4(ip [4]byte, port uint16) {
	*a = Addr{port: port, size: 4}
	copy(a.ip[:], ip[:])
}

func (a *Addr) set6(ip [16]byte, port uint16, zone uint32) {
	*a = AddrFrom(netip.AddrFrom16(ip), zone, port)
}
