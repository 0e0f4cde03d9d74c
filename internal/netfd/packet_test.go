//go:build unix

package netfd_test

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/internal/netfd"
)

// packetPair returns a bound UDP socket of the loop and one of package net.
func (r *rig) packetPair() (*sock, netfd.Addr, *net.UDPConn) {
	r.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		r.Fatal(err)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		r.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		r.Fatal(err)
	}
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { peer.Close() })
	to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	s := r.open(fd, true)
	return s, netfd.AddrFrom(to.Addr(), 0, to.Port()), peer
}

func udpAddr(a netfd.Addr) *net.UDPAddr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.IP(), a.Port()))
}

func TestPackets(t *testing.T) {
	r := newRig(t)
	s, to, peer := r.packetPair()
	p := make([]byte, 4)
	if _, _, _, err := s.TryReadFrom(p); err != netfd.ErrWouldBlock {
		t.Fatalf("read of nothing: %v", err)
	}
	for _, m := range []string{"one", "three", "", "four"} {
		if _, err := peer.WriteTo([]byte(m), udpAddr(s.Local())); err != nil {
			t.Fatal(err)
		}
	}
	r.lookFor(s)
	for _, want := range []struct {
		p         string
		truncated bool
	}{{"one", false}, {"thre", true}, {"", false}, {"four", false}} {
		n, from, truncated, err := s.TryReadFrom(p)
		if string(p[:n]) != want.p || truncated != want.truncated || from != to || err != nil {
			t.Errorf("read %q from %v:%d, truncated %v, %v; want %q, %v",
				p[:n], from.IP(), from.Port(), truncated, err, want.p, want.truncated)
		}
	}
	if !s.Readable() {
		t.Error("not readable before it would block")
	}
	if _, _, _, err := s.TryReadFrom(p); err != netfd.ErrWouldBlock || s.Readable() {
		t.Errorf("read: %v, readable %v; want ErrWouldBlock, false", err, s.Readable())
	}
	for _, m := range []string{"a", ""} {
		if err := s.TryWriteTo([]byte(m), &to); err != nil {
			t.Fatal(err)
		}
		n, from, err := peer.ReadFromUDPAddrPort(p)
		if string(p[:n]) != m || int(from.Port()) != udpAddr(s.Local()).Port || err != nil {
			t.Errorf("peer read %q from %v, %v", p[:n], from, err)
		}
	}
	if err := s.TryWriteTo(make([]byte, 1<<16), &to); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("a long one: %v, want EMSGSIZE", err)
	}
	s.Close()
	if err := s.TryWriteTo(nil, &to); err != net.ErrClosed {
		t.Errorf("write: %v, want ErrClosed", err)
	}
	if _, _, _, err := s.TryReadFrom(p); err != net.ErrClosed {
		t.Errorf("read: %v, want ErrClosed", err)
	}
}

func TestConnectedPackets(t *testing.T) {
	r := newRig(t)
	s, to, peer := r.packetPair()
	if err := unix.Connect(s.Num(), &unix.SockaddrInet4{Addr: to.IP().As4(), Port: int(to.Port())}); err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"a", ""} {
		if err := s.TryWriteTo([]byte(m), nil); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 4)
		if n, err := peer.Read(p); string(p[:n]) != m || err != nil {
			t.Errorf("peer read %q, %v", p[:n], err)
		}
	}
	peer.Close()
	if err := s.TryWriteTo([]byte("a"), nil); err != nil {
		t.Fatal(err)
	}
	r.lookFor(s)
	p := make([]byte, 4)
	if _, _, _, err := s.TryReadFrom(p); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("read: %v, want ECONNREFUSED", err)
	}
	if _, _, _, err := s.TryReadFrom(p); err != netfd.ErrWouldBlock {
		t.Errorf("read: %v, want ErrWouldBlock", err)
	}
}
