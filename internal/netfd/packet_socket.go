//go:build unix

package netfd

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// NewPacket returns a UDP socket. Without an address to bind or to connect it has
// the family of IPv4.
func NewPacket(cfg *PacketConfig) (fd int, err error) {
	six := cfg.Local.size == 16 || cfg.Remote.size == 16
	family := unix.AF_INET
	if six {
		family = unix.AF_INET6
	}
	fd, err = newSocket(family, unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	if err != nil {
		return -1, err
	}
	call, err := "setsockopt", cfg.setOptions(fd, six)
	if err == nil && cfg.Local.Valid() {
		call, err = "bind", unix.Bind(fd, cfg.Local.sockaddr())
	}
	if err == nil && cfg.Remote.Valid() {
		call, err = "connect", unix.Connect(fd, cfg.Remote.sockaddr())
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError(call, err)
	}
	return fd, nil
}

func (cfg *PacketConfig) setOptions(fd int, six bool) (err error) {
	set := func(on bool, level, option, value int) {
		if on && err == nil {
			err = unix.SetsockoptInt(fd, level, option, value)
		}
	}
	set(six, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, oneIf(!cfg.Dual))
	set(cfg.ReusePort, unix.SOL_SOCKET, reusePort, 1)
	set(cfg.Broadcast, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
	set(cfg.ReadBuffer > 0, unix.SOL_SOCKET, unix.SO_RCVBUF, cfg.ReadBuffer)
	set(cfg.WriteBuffer > 0, unix.SOL_SOCKET, unix.SO_SNDBUF, cfg.WriteBuffer)
	return err
}

// NewUnixPacket returns a unix datagram socket, bound to a path and connected with
// another, unless they are empty.
func NewUnixPacket(local, remote string) (fd int, err error) {
	fd, err = newSocket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return -1, err
	}
	call := ""
	if local != "" {
		call, err = "bind", unix.Bind(fd, &unix.SockaddrUnix{Name: local})
	}
	if err == nil && remote != "" {
		call, err = "connect", unix.Connect(fd, &unix.SockaddrUnix{Name: remote})
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError(call, err)
	}
	return fd, nil
}

// PacketFamily returns what kind of datagram socket fd is: 4 and 6 for UDP, 1 for
// unix, 0 for none.
func PacketFamily(fd int) int {
	if t, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || t != unix.SOCK_DGRAM {
		return 0
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0
	}
	switch sa.(type) {
	case *unix.SockaddrInet4:
		return 4
	case *unix.SockaddrInet6:
		return 6
	case *unix.SockaddrUnix:
		return 1
	}
	return 0
}

// TryReadFromUnix is TryReadFrom for a unix socket. from is empty if the sender has
// no path.
func (f *FD) TryReadFromUnix(p []byte) (n int, from string, truncated bool, err error) {
	if f.state&canRead == 0 {
		return 0, "", false, f.notNow()
	}
	for {
		n, _, flags, sa, err := syscall.Recvmsg(int(f.fd), p, nil, 0)
		switch err {
		case nil:
			if u, ok := sa.(*syscall.SockaddrUnix); ok {
				from = u.Name
			}
			return n, from, flags&syscall.MSG_TRUNC != 0, nil
		case syscall.EAGAIN:
			f.state &^= canRead | ending
			return 0, "", false, ErrWouldBlock
		case syscall.EINTR:
		default:
			return 0, "", false, os.NewSyscallError("recvmsg", err)
		}
	}
}

// TryWriteToUnix is TryWriteTo for a unix socket. When it says [ErrWouldBlock] it
// may be the receiver's queue that is full, of which events tell nothing: Linux makes
// one for each try in vain, none for room. The caller says [FD.AssumeWritable] after
// a while.
func (f *FD) TryWriteToUnix(p []byte, to string) error {
	if f.state&canWrite == 0 {
		return f.notNow()
	}
	for {
		switch err := syscall.Sendto(int(f.fd), p, 0, &syscall.SockaddrUnix{Name: to}); err {
		case nil:
			return nil
		case syscall.EAGAIN:
			f.state &^= canWrite
			return ErrWouldBlock
		case syscall.EINTR:
		default:
			return os.NewSyscallError("sendto", err)
		}
	}
}

// AssumeWritable makes the next write be tried without an event.
func (f *FD) AssumeWritable() {
	if f.state&open != 0 {
		f.state |= canWrite
	}
}

// JoinGroup makes a UDP socket receive what is sent to a multicast address, on an
// interface or, if that is nil, on the one that the system chooses.
func JoinGroup(fd int, group Addr, ifi *net.Interface) error {
	return membership(fd, group, ifi, unix.IP_ADD_MEMBERSHIP, unix.IPV6_JOIN_GROUP)
}

// LeaveGroup ends JoinGroup.
func LeaveGroup(fd int, group Addr, ifi *net.Interface) error {
	return membership(fd, group, ifi, unix.IP_DROP_MEMBERSHIP, unix.IPV6_LEAVE_GROUP)
}

func membership(fd int, group Addr, ifi *net.Interface, four, six int) (err error) {
	if group.size == 16 {
		m := &unix.IPv6Mreq{Multiaddr: group.ip}
		if ifi != nil {
			m.Interface = uint32(ifi.Index)
		}
		return os.NewSyscallError("setsockopt", unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, six, m))
	}
	m := &unix.IPMreq{Multiaddr: [4]byte(group.ip[:4])}
	if ifi != nil {
		if m.Interface, err = addressOf(ifi); err != nil {
			return err
		}
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptIPMreq(fd, unix.IPPROTO_IP, four, m))
}

// addressOf returns the first IPv4 address of an interface: that is how all systems
// let it be named.
func addressOf(ifi *net.Interface) (a [4]byte, err error) {
	addrs, err := ifi.Addrs()
	if err != nil {
		return a, err
	}
	for _, ia := range addrs {
		if n, ok := ia.(*net.IPNet); ok && n.IP.To4() != nil {
			return [4]byte(n.IP.To4()), nil
		}
	}
	return a, &net.AddrError{Err: "interface without an IPv4 address", Addr: ifi.Name}
}

// SetMulticastTTL sets how many routers may pass on what fd sends to groups.
func SetMulticastTTL(fd, ttl int) error {
	return eachVersion(fd, func() error {
		return unix.SetsockoptByte(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, byte(ttl))
	}, func() error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, ttl)
	})
}

// SetMulticastLoopback says whether what fd sends to groups comes back to this
// machine.
func SetMulticastLoopback(fd int, on bool) error {
	return eachVersion(fd, func() error {
		return unix.SetsockoptByte(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, byte(oneIf(on)))
	}, func() error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, oneIf(on))
	})
}

// SetMulticastInterface chooses where to send what goes to groups.
func SetMulticastInterface(fd int, ifi *net.Interface) error {
	return eachVersion(fd, func() error {
		a, err := addressOf(ifi)
		if err != nil {
			return err
		}
		return unix.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, a)
	}, func() error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, ifi.Index)
	})
}

// eachVersion sets an option of IPv4, or of IPv6; then also that of IPv4, for a
// socket that has both, as far as the system lets it.
func eachVersion(fd int, four, six func() error) error {
	err := four()
	if PacketFamily(fd) == 6 {
		err = six()
	}
	return os.NewSyscallError("setsockopt", err)
}

// SetBroadcast says whether fd may send to broadcast addresses.
func SetBroadcast(fd int, on bool) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, oneIf(on)))
}
