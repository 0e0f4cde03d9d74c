//go:build linux

package main

import (
	"context"
	"net"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// names is a server of names that knows two addresses for every name: 127.0.0.2,
// where packets to a port disappear, and 127.0.0.1.
type names struct {
	pc   net.PacketConn
	void voidPort
	both string // host and port
	wg   sync.WaitGroup
}

func newNames(live net.Addr) (*names, error) {
	port := live.(*net.TCPAddr).Port
	void, err := newVoid([4]byte{127, 0, 0, 2}, port)
	if err != nil {
		return nil, err
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &names{pc: pc, void: void, both: net.JoinHostPort("both.test.", strconv.Itoa(port))}
	s.wg.Go(s.serve)
	return s, nil
}

func (s *names) close() {
	_ = s.pc.Close()
	s.wg.Wait()
	unix.Close(s.void.fd)
}

func (s *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", s.pc.LocalAddr().String())
	}}
}

func (s *names) serve() {
	buf := make([]byte, 512)
	for {
		n, from, err := s.pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if a := answer(buf[:n]); a != nil {
			_, _ = s.pc.WriteTo(a, from)
		}
	}
}

// answer answers a question for IPv4 addresses with two, any other with none.
func answer(q []byte) []byte {
	end := 12
	for end < len(q) && q[end] != 0 { // the labels of the name
		end += 1 + int(q[end])
	}
	end += 5 // its end, the type, the class
	if len(q) < end {
		return nil
	}
	count := byte(0)
	if q[end-3] == 1 {
		count = 2
	}
	a := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0}, q[12:end]...)
	for i := range count {
		a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 2-i)
	}
	return a
}
