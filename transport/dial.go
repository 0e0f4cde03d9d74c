package transport

import (
	"net"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
)

// Dial connects to "host:port" with network "tcp", "tcp4" or "tcp6", or to a path, or
// a name that begins with "@", with "unix". The future has the transport when p's
// Connected has been called. Names are looked up on another goroutine; addresses
// are tried as RFC 8305 (happy eyeballs) says. It fails with *net.OpError, of several
// addresses with one that unwraps to those of all of them; with the error of a TLS
// handshake; or with the *ProtocolError of a Connected that panicked. p's methods
// run in the context in which Dial is called. It must be called on the loop, and
// panics if p is nil. (asyncio: create_connection, create_unix_connection)
//
// Cancel safety: canceling the future closes what is under way. p is called, with
// Connected and Lost, only if the connection is there already.
func Dial(l *loop.Loop, network, address string, p Protocol, cfg DialConfig) *future.Future[*Transport] {
	if p == nil {
		panic("transport: Dial without a protocol")
	}
	d := &dialing{l: l, p: p, cfg: cfg.Config, network: network, address: address, env: inherit(l), limits: cfg.limits()}
	if network == "unix" && cfg.Local.IsValid() {
		panic("transport: Dial: DialConfig.Local with a unix socket")
	}
	future.Init(&d.f, l, d)
	if err := checkNetwork(network); err != nil {
		d.settle(nil, &net.OpError{Op: "dial", Net: network, Err: err})
		return &d.f
	}
	nc := &netdial.Config{
		Network: network, Address: address,
		FallbackDelay: cfg.FallbackDelay, AttemptTimeout: cfg.AttemptTimeout, Resolver: cfg.Resolver,
	}
	if cfg.Local.IsValid() {
		ip := cfg.Local.Addr()
		nc.Local = netfd.AddrFrom(ip, netdial.ZoneIndex(ip.Zone()), cfg.Local.Port())
	}
	d.dial = netdial.Start(l, nc, d.connected)
	return &d.f
}

// A dialing is what Dial has under way.
//
//	connecting --connected--> made --Connected was called--> settled
//	connecting or made --an error, Cancel--> settled
type dialing struct {
	f       future.Future[*Transport]
	l       *loop.Loop
	dial    *netdial.Dial
	t       *Transport // nil while connecting
	p       Protocol
	cfg     Config
	limits  *limits
	env     *env.Env
	network string
	address string
}

// connected makes the transport.
func (d *dialing) connected(fd int, peer netfd.Addr, err error) {
	if err != nil {
		d.settle(nil, err)
		return
	}
	kind := netfd.TCP
	if d.network == "unix" {
		kind = netfd.Unix
	}
	t, err := newTransport(&hubOf(d.l).own, fd, kind, d.p, d.limits, d.env)
	if err != nil {
		d.settle(nil, err)
		return
	}
	t.peer = peer
	t.extra().dial = d
	d.t = t
	if d.cfg.TLS != nil {
		t.beginTLS(d.cfg.tlsConfig(clientConfig(d.cfg.TLS, d.network, d.address), false))
	}
	t.begin()
}

func (d *dialing) settle(t *Transport, err error) {
	switch {
	case err == loop.ErrClosed:
		future.SettleCanceled(&d.f, err) // the loop closes: nobody is there to look
	case err != nil:
		future.Settle(&d.f, nil, err)
	default:
		future.Settle(&d.f, t, nil)
	}
}

// CancelFuture implements [future.Canceler].
func (d *dialing) CancelFuture(cause error) bool {
	d.dial.Cancel()
	ok := future.SettleCanceled(&d.f, cause)
	if d.t != nil {
		d.t.Abort()
	}
	return ok
}

// String names what a task waits for.
func (d *dialing) String() string { return "dial of " + d.network + " " + d.address }
