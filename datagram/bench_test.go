//go:build unix

package datagram_test

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// A round trip of 64 bytes over loopback between two tasks of one loop, or two
// goroutines on package net: both ends' work is counted.
func BenchmarkEcho(b *testing.B) {
	b.Run("datagram", func(b *testing.B) {
		err := task.RunConfig(context.Background(), loop.Config{}, func(ctx context.Context) error {
			srv := listen(ctx, b)
			defer srv.Close()
			task.Go(ctx, func(ctx context.Context) error {
				buf := make([]byte, 64)
				for {
					n, from, err := srv.ReadFrom(ctx, buf)
					if err != nil {
						return nil
					}
					if err := srv.WriteTo(ctx, buf[:n], from); err != nil {
						return err
					}
				}
			})
			c := dial(ctx, b, srv.LocalAddrPort())
			defer c.Close()
			buf := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Write(ctx, buf); err != nil {
					return err
				}
				if _, err := c.Read(ctx, buf); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	})
	b.Run("net", benchmarkNet)
}

func benchmarkNet(b *testing.B) {
	srv, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64)
		for {
			n, from, err := srv.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if _, err := srv.WriteToUDPAddrPort(buf[:n], from); err != nil {
				return
			}
		}
	}()
	c, err := net.DialUDP("udp4", nil, srv.LocalAddr().(*net.UDPAddr))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
	srv.Close()
	<-done
}

// What one datagram costs that is there, sent by the same task: no waits.
func BenchmarkPair(b *testing.B) {
	b.Run("datagram", func(b *testing.B) {
		err := task.RunConfig(context.Background(), loop.Config{}, func(ctx context.Context) error {
			srv := listen(ctx, b)
			defer srv.Close()
			c := listen(ctx, b)
			defer c.Close()
			to, buf := srv.LocalAddrPort(), make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.WriteTo(ctx, buf, to); err != nil {
					return err
				}
				if _, _, err := srv.ReadFrom(ctx, buf); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	})
	b.Run("net", func(b *testing.B) {
		var cs [2]*net.UDPConn
		for i := range cs {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			cs[i] = c
		}
		to, buf := cs[0].LocalAddr().(*net.UDPAddr).AddrPort(), make([]byte, 64)
		to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
		b.ReportAllocs()
		for b.Loop() {
			if _, err := cs[1].WriteToUDPAddrPort(buf, to); err != nil {
				b.Fatal(err)
			}
			if _, _, err := cs[0].ReadFromUDPAddrPort(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}
