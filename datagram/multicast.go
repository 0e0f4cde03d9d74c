package datagram

import (
	"net"
	"net/netip"

	"github.com/eddyloop/eddy/internal/netfd"
)

// JoinGroup makes the Conn hear what is sent to a multicast address and its port,
// on an interface, or, if that is nil, on the one that the system chooses. A Conn
// may join many groups. To hear a group the Conn must listen on all addresses, or on
// the group's.
func (c *Conn) JoinGroup(group netip.Addr, ifi *net.Interface) error {
	return c.set("join", netfd.JoinGroup(c.fd.Num(), checkGroup(group), ifi))
}

// LeaveGroup ends JoinGroup with the same arguments. So does Close.
func (c *Conn) LeaveGroup(group netip.Addr, ifi *net.Interface) error {
	return c.set("leave", netfd.LeaveGroup(c.fd.Num(), checkGroup(group), ifi))
}

func checkGroup(group netip.Addr) netfd.Addr {
	if !group.IsMulticast() {
		panic("datagram: " + group.String() + " is not a multicast address")
	}
	return netfd.AddrFrom(group, 0, 0)
}

// SetMulticastTTL sets how many networks a datagram to a group may cross: 0 is this
// machine, 1 the local network, which is the system's default. It panics for what
// is not between 0 and 255.
func (c *Conn) SetMulticastTTL(ttl int) error {
	if ttl < 0 || ttl > 255 {
		panic("datagram: a TTL is from 0 to 255")
	}
	return c.set("set", netfd.SetMulticastTTL(c.fd.Num(), ttl))
}

// SetMulticastLoopback says whether this machine hears what the Conn sends to
// groups. The system's default is that it does.
func (c *Conn) SetMulticastLoopback(on bool) error {
	return c.set("set", netfd.SetMulticastLoopback(c.fd.Num(), on))
}

// SetMulticastInterface chooses the interface that datagrams to groups leave by.
func (c *Conn) SetMulticastInterface(ifi *net.Interface) error {
	return c.set("set", netfd.SetMulticastInterface(c.fd.Num(), ifi))
}

// SetBroadcast says whether the Conn may send to broadcast addresses: see
// [Config].
func (c *Conn) SetBroadcast(on bool) error {
	return c.set("set", netfd.SetBroadcast(c.fd.Num(), on))
}

// set wraps the error of an option.
func (c *Conn) set(op string, err error) error {
	if c.Closed() {
		err = net.ErrClosed
	}
	if err == nil {
		return nil
	}
	return c.opError(op, c.to, err)
}
