//go:build unix

package interop_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/eddyloop/eddy/datagram"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

// datagramSizes are sent one after another, so the system has no reason to lose one.
var datagramSizes = []int{0, 1, 1400, 9000, 60_000}

// pingNet sends datagrams by package net, and wants each back before the next.
func pingNet(c net.Conn) error {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 64<<10)
	for _, n := range datagramSizes {
		sent := random(n)
		if _, err := c.Write(sent); err != nil {
			return err
		}
		k, err := c.Read(buf)
		if err := same(buf[:k], sent, err); err != nil {
			return fmt.Errorf("%d bytes: %w", n, err)
		}
	}
	return nil
}

func TestUDPNetClient(t *testing.T) {
	t.Run("datagram", func(t *testing.T) {
		run(t, func(ctx context.Context) error {
			c, err := datagram.Listen(ctx, "udp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			echo := task.Go(ctx, func(ctx context.Context) error {
				buf := make([]byte, 64<<10)
				for {
					n, from, err := c.ReadFrom(ctx, buf)
					if err != nil {
						return err
					}
					if err := c.WriteTo(ctx, buf[:n], from); err != nil {
						return err
					}
				}
			})
			addr := c.LocalAddr().String()
			err = elsewhere(ctx, func() error { return pingUDP(addr) })
			echo.Cancel(nil)
			_, _ = echo.Await(ctx)
			_ = c.Close()
			return err
		})
	})
	t.Run("transport", func(t *testing.T) {
		run(t, func(ctx context.Context) error {
			tr, err := transport.ListenPacket(loop.FromContext(ctx), "udp", "127.0.0.1:0", new(packetEcho), transport.Config{})
			if err != nil {
				return err
			}
			defer tr.Close()
			addr := tr.LocalAddr().String()
			return elsewhere(ctx, func() error { return pingUDP(addr) })
		})
	})
}

func pingUDP(addr string) error {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	return pingNet(c)
}

type packetEcho struct {
	transport.PacketDefaults
	t *transport.PacketTransport
}

func (p *packetEcho) Connected(t *transport.PacketTransport)       { p.t = t }
func (p *packetEcho) PacketReceived(b []byte, from netip.AddrPort) { _ = p.t.WriteTo(b, from) }

// servePackets sends datagrams back by package net, until c is closed.
func servePackets(c net.PacketConn) (end func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
	return func() {
		_ = c.Close()
		<-done
	}
}

// A reader and writer of datagrams, of whichever kind.
type packetConn interface {
	Read(ctx context.Context, p []byte) (int, error)
	Write(ctx context.Context, p []byte) error
	Close() error
}

func ping(ctx context.Context, c packetConn) error {
	defer c.Close()
	ctx, cancel := task.WithTimeout(ctx, patience)
	defer cancel()
	buf := make([]byte, 64<<10)
	for _, n := range datagramSizes {
		sent := random(n)
		if err := c.Write(ctx, sent); err != nil {
			return err
		}
		k, err := c.Read(ctx, buf)
		if err := same(buf[:k], sent, err); err != nil {
			return fmt.Errorf("%d bytes: %w", n, err)
		}
	}
	return nil
}

func TestUDPNetServer(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer servePackets(c)()
	run(t, func(ctx context.Context) error {
		d, err := datagram.Dial(ctx, "udp", c.LocalAddr().String())
		if err != nil {
			return err
		}
		return ping(ctx, d)
	})
}

// Unix datagrams, both ways: who wants an answer needs a path, too.
func TestUnixgram(t *testing.T) {
	dir := filepath.Dir(address(t, "unix"))
	path := func(name string) string { return filepath.Join(dir, name) }
	run(t, func(ctx context.Context) error {
		c, err := datagram.ListenUnix(ctx, path("eddy"))
		if err != nil {
			return err
		}
		echo := task.Go(ctx, func(ctx context.Context) error {
			buf := make([]byte, 64<<10)
			for {
				n, from, err := c.ReadFrom(ctx, buf)
				if err != nil {
					return err
				}
				if err := c.WriteTo(ctx, buf[:n], from); err != nil {
					return err
				}
			}
		})
		err = elsewhere(ctx, func() error {
			to := &net.UnixAddr{Name: path("eddy"), Net: "unixgram"}
			c, err := net.DialUnix("unixgram", &net.UnixAddr{Name: path("net"), Net: "unixgram"}, to)
			if err != nil {
				return err
			}
			return pingNet(c)
		})
		echo.Cancel(nil)
		_, _ = echo.Await(ctx)
		_ = c.Close()
		return err
	})
	server, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path("server"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer servePackets(server)()
	run(t, func(ctx context.Context) error {
		d, err := datagram.DialUnix(ctx, path("client"), path("server"))
		if err != nil {
			return err
		}
		return ping(ctx, d)
	})
}
