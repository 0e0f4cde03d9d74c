//go:build unix

package netdial_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
)

// Connecting over loopback to an address that needs no lookup, and resetting the
// connection; the server, on package net, is in the same process.
func BenchmarkDial(b *testing.B) {
	to := serve(b, "tcp", "127.0.0.1:0")
	b.Run("netdial", func(b *testing.B) {
		l := realLoop(b)
		cfg := netdial.Config{Address: to}
		left := b.N
		var next func()
		done := func(fd int, _ netfd.Addr, err error) {
			if err != nil {
				b.Error(err)
				l.Stop()
				return
			}
			unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			netfd.CloseFD(fd)
			next()
		}
		next = func() {
			if left--; left < 0 {
				l.Stop()
				return
			}
			netdial.Start(l, &cfg, done)
		}
		b.ReportAllocs()
		b.ResetTimer()
		next()
		if err := l.Run(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
	})
	b.Run("net", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c, err := net.Dial("tcp", to)
			if err != nil {
				b.Fatal(err)
			}
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	})
}
