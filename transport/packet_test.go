//go:build unix

package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/transport"
)

// A packets writes down what it is told.
type packets struct {
	testkit.Journal
	t        *transport.PacketTransport
	received func(p []byte, from netip.AddrPort)
	lost     bool
}

func (r *packets) Connected(t *transport.PacketTransport) { r.t = t; r.Log("made") }

func (r *packets) PacketReceived(p []byte, from netip.AddrPort) {
	r.Log("packet %q", p)
	if r.received != nil {
		r.received(p, from)
	}
}

func (r *packets) ErrorReceived(err error) { r.Log("error %s", reason(err)) }
func (r *packets) Lost(err error)          { r.lost = true; r.Log("lost %s", reason(err)) }
func (r *packets) PauseWriting()           { r.Log("pause") }
func (r *packets) ResumeWriting()          { r.Log("resume") }

func TestPackets(t *testing.T) {
	for _, network := range []string{"udp", "udp4"} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			var a, b packets
			a.received = func(p []byte, from netip.AddrPort) { must(t, a.t.WriteTo(p, from)) }
			ta, err := transport.ListenPacket(l, network, "127.0.0.1:0", &a, transport.Config{})
			must(t, err)
			tb, err := transport.DialPacket(l, network, ta.LocalAddr().String(), &b, transport.Config{})
			must(t, err)
			for _, m := range []string{"one", "", "three"} {
				must(t, tb.Write([]byte(m)))
			}
			must(t, tb.WriteTo([]byte("four"), ta.LocalAddr()))
			until(ctx, t, "all are back", func() bool { return len(b.Lines) == 5 })
			b.Want(t, "made", `packet "one"`, `packet ""`, `packet "three"`, `packet "four"`)
			tb.PauseReading()
			must(t, tb.Write([]byte("five")))
			turns(ctx, t, 3)
			b.Want(t)
			tb.ResumeReading()
			until(ctx, t, "the last is back", func() bool { return len(b.Lines) == 1 })
			b.Want(t, `packet "five"`)
			testkit.WantPanic(t, "connected with somebody else", func() { _ = tb.WriteTo(nil, tb.LocalAddr()) })
			testkit.WantPanic(t, "not connected", func() { _ = ta.Write(nil) })
			ta.Close()
			tb.Abort()
			turns(ctx, t, 2)
			b.Want(t, "lost nil")
			if err := tb.Write(nil); !errors.Is(err, net.ErrClosed) || tb.Dropped() != 1 {
				t.Errorf("write after the end: %v, %d dropped", err, tb.Dropped())
			}
		})
	}
}

// What the system says of an earlier datagram is told, and does not end the transport.
func TestEdge114_ErrorReceived(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		gone, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		must(t, err)
		addr := gone.LocalAddr().String()
		must(t, gone.Close())
		var r packets
		tr, err := transport.DialPacket(l, "udp4", addr, &r, transport.Config{})
		must(t, err)
		turns(ctx, t, 1)
		must(t, tr.Write([]byte("nobody is there")))
		until(ctx, t, "the error", func() bool { return len(r.Lines) == 2 })
		r.Want(t, "made", "error connection refused")
		tr.PauseReading() // now a write meets it
		until(ctx, t, "the error", func() bool {
			must(t, tr.Write([]byte("nobody is there")))
			return len(r.Lines) > 0
		})
		if r.Lines[0] != "error connection refused" {
			t.Errorf("happened: %q", r.Lines)
		}
		if err := tr.Write(make([]byte, 1<<16)); !errors.Is(err, syscall.EMSGSIZE) || tr.IsClosing() {
			t.Errorf("write of too much: %v", err)
		}
		tr.Close()
		turns(ctx, t, 2)
	})
}

// Nothing paces a sender but PauseWriting, and a bound.
func TestEdge114_Limits(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var r packets
		cfg := transport.Config{HighWater: 10_000, LowWater: 1000, MaxBuffered: 100_000}
		tr, err := transport.ListenPacket(l, "udp4", "127.0.0.1:0", &r, cfg)
		must(t, err)
		turns(ctx, t, 1)
		must(t, syscall.SetsockoptInt(tr.Num(), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 1))
		// A peer in the same place would take them at once: so nobody is there, far away.
		to := netip.MustParseAddrPort("127.0.0.1:9")
		for range 50 {
			if err := tr.WriteTo(make([]byte, 1000), to); err != nil {
				t.Fatal(err)
			}
		}
		tr.Close()
		until(ctx, t, "Lost", func() bool { return r.lost })
		if got := r.Lines[len(r.Lines)-1]; got != "lost nil" || tr.WriteBufferSize() != 0 {
			t.Errorf("happened: %q", r.Lines)
		}
	})
}

func TestPacketPanic(t *testing.T) {
	var reports []string
	cfg := loop.Config{OnError: func(e *loop.CallError) { reports = append(reports, e.Error()) }}
	runConfig(t, cfg, func(ctx context.Context, l *loop.Loop) {
		var r packets
		r.received = func([]byte, netip.AddrPort) { panic("boom") }
		tr, err := transport.ListenPacket(l, "udp4", "127.0.0.1:0", &r, transport.Config{})
		must(t, err)
		must(t, tr.WriteTo([]byte("x"), tr.LocalAddr()))
		until(ctx, t, "Lost", func() bool { return r.lost })
		r.Want(t, "made", `packet "x"`, "lost panic in PacketReceived")
		if len(reports) != 1 || !strings.Contains(reports[0], fmt.Sprintf("PacketReceived of %v: panic: boom", tr)) {
			t.Errorf("reports: %q", reports)
		}
	})
}

func TestPacketAddresses(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		for _, tt := range []struct{ network, address string }{
			{"tcp", "127.0.0.1:0"}, {"udp", "name.test:1"}, {"udp6", "127.0.0.1:0"}, {"udp", "127.0.0.1"},
		} {
			var op *net.OpError
			if _, err := transport.ListenPacket(l, tt.network, tt.address, new(packets), transport.Config{}); !errors.As(err, &op) {
				t.Errorf("%v: %v", tt, err)
			}
		}
		any, err := transport.ListenPacket(l, "udp", ":0", new(packets), transport.Config{})
		must(t, err)
		any.Close()
		turns(ctx, t, 1)
	})
}
