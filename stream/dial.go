package stream

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

// A DialConfig says how to connect. The zero value is that of [Dial].
type DialConfig struct {
	// LocalAddr is the address to connect from. Default: the system chooses.
	LocalAddr netip.AddrPort

	// FallbackDelay is how long the latest attempt may take before the next address
	// is tried beside it. Default: 250 ms, as RFC 8305 recommends. Negative: one
	// after another. (asyncio: happy_eyeballs_delay)
	FallbackDelay time.Duration

	// AttemptTimeout bounds the attempt of each address. Default: no bound but the
	// system's, which is some two minutes on Linux.
	AttemptTimeout time.Duration

	// Resolver looks names up. Default: net.DefaultResolver.
	Resolver *net.Resolver

	// TLS, if not nil, makes the connection a TLS client's. Without a ServerName in
	// its Config that is the host of the address.
	TLS *TLS
}

// Dial connects to an address: "host:port", with network "tcp", "tcp4" or "tcp6",
// or the path of a unix socket with network "unix". Without a host it connects to
// this machine. Errors are *net.OpError; if several addresses failed, one that
// unwraps to those of all of them. It must be called in a task.
// (asyncio: open_connection, open_unix_connection)
//
// Names are looked up on other goroutines, of which a loop has 64 at most. The
// addresses of a name are tried as RFC 8305 (happy eyeballs) says: families take
// turns, the next attempt begins after 250 ms or when one has failed, and the first
// that connects wins.
//
// Cancel safety: what was begun is closed.
func Dial(ctx context.Context, network, address string) (*Conn, error) {
	return new(DialConfig).Dial(ctx, network, address)
}

// Dial is the function [Dial] with a configuration.
func (cfg *DialConfig) Dial(ctx context.Context, network, address string) (*Conn, error) {
	l := park.From(ctx, "stream: Dial").Loop()
	if network != "unix" && !strings.HasPrefix(network, "tcp") {
		return nil, &net.OpError{Op: "dial", Err: net.UnknownNetworkError(network)}
	}
	if network == "unix" && cfg.LocalAddr.IsValid() {
		panic("stream: DialConfig.LocalAddr with a unix socket")
	}
	d := &dialing{l: l, fd: -1}
	future.Init(&d.connected, l, d)
	d.dial = netdial.Start(l, &netdial.Config{
		Network: network, Address: address, Local: localAddr(cfg.LocalAddr),
		FallbackDelay: cfg.FallbackDelay, AttemptTimeout: cfg.AttemptTimeout, Resolver: cfg.Resolver,
	}, d.done)
	c, err := d.await(ctx, network)
	if err != nil || cfg.TLS == nil {
		return c, err
	}
	return cfg.TLS.named(address).Client(ctx, c)
}

// named returns t with the host of address for a name, unless it has one.
func (t *TLS) named(address string) *TLS {
	host, _, err := net.SplitHostPort(address)
	if err != nil || t.Config != nil && t.Config.ServerName != "" {
		return t
	}
	u := *t
	if u.Config = t.Config.Clone(); u.Config == nil {
		u.Config = new(tls.Config)
	}
	u.Config.ServerName = host
	return &u
}

func localAddr(a netip.AddrPort) netfd.Addr {
	if !a.IsValid() {
		return netfd.Addr{}
	}
	return netfd.AddrFrom(a.Addr(), netdial.ZoneIndex(a.Addr().Zone()), a.Port())
}

// A dialing is a connection that a task waits for.
type dialing struct {
	l         *loop.Loop
	dial      *netdial.Dial
	connected future.Future[struct{}]
	fd        int // ours until it is a Conn's
	peer      netfd.Addr
}

func (d *dialing) done(fd int, peer netfd.Addr, err error) {
	d.fd, d.peer = fd, peer
	future.Settle(&d.connected, struct{}{}, err)
}

// CancelFuture gives up.
func (d *dialing) CancelFuture(cause error) bool {
	d.dial.Cancel()
	return future.Settle(&d.connected, struct{}{}, &future.CanceledError{Cause: cause})
}

func (d *dialing) await(ctx context.Context, network string) (*Conn, error) {
	defer func() { // of a task that was canceled, or unwound
		d.dial.Cancel()
		if d.fd >= 0 {
			netfd.CloseFD(d.fd)
		}
	}()
	if _, err := d.connected.Await(ctx); err != nil {
		return nil, err
	}
	var kind connFlags
	if network == "unix" {
		kind = unixSocket
	}
	fd := d.fd
	d.fd = -1
	c, err := newConn(d.l, fd, d.peer, kind)
	if err != nil {
		return nil, opError("dial", network, nil, err)
	}
	return c, nil
}
