package transport

import (
	"fmt"
	"net"
	"slices"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
)

// A Listener makes a transport, with a protocol of its own, of each connection that
// arrives. Make it with [Listen] or [ListenName]. It must be used on its loop.
// (asyncio: Server)
//
// It accepts 64 connections a turn at most, so that a storm keeps nobody from
// theirs. When descriptors or memory run out it rests, 5 ms and then twice as long
// each time, up to 1 s, and says so once to the loop's OnError.
//
//	accepting --as many as ListenConfig.MaxConns--> waiting --one is lost--> accepting
//	accepting or waiting --Close, or closing the loop--> closed
//	closed --the last transport is lost--> ended
type Listener struct {
	acc     netfd.Acceptor
	group   group
	factory func() Protocol
	cfg     ListenConfig
	limits  *limits
	env     *env.Env
	network string
	addr    net.Addr
	path    socketFile
	kind    netfd.Kind
	queued  bool // accept is in the loop's queue
	waiting bool // for a transport to be lost
	closed  bool
	failed  uint64
	waiters []future.Promise[struct{}]
}

// ListenerStats is what a [Listener] has done since it was made.
type ListenerStats struct {
	Accepted uint64 // connections that became transports
	Aborted  uint64 // connections that were gone before they were accepted
	Rests    uint64 // pauses for want of descriptors or memory
	Failed   uint64 // TLS handshakes that failed; the protocol was not called
	Open     int    // transports that are not lost
}

// Listen makes a Listener for "host:port" with network "tcp", "tcp4" or "tcp6", where
// the host is an IP address, and for a path, or a name that begins with "@", with
// "unix"; for names of hosts see [ListenName]. Port 0, or none, lets the system
// choose. Without a host it listens on all addresses: with "tcp" on IPv6 and IPv4, if
// the system has both. The file of a path is removed when the Listener is closed. That
// of a socket that nobody listens on any more is replaced; with any other file there
// Listen fails.
//
// For each connection factory is called, and then Connected of what it returns by
// the queue, both in the context in which Listen is called. Errors are
// *net.OpError. It must be called on the loop, and panics if factory is nil.
// (asyncio: create_server, create_unix_server)
func Listen(l *loop.Loop, network, address string, factory func() Protocol, cfg ListenConfig) (*Listener, error) {
	if factory == nil {
		panic("transport: Listen without a factory")
	}
	if network == "unix" {
		return listen(l, nil, network, address, factory, cfg)
	}
	addrs, known, err := []netfd.Addr(nil), true, checkNetwork(network)
	if err == nil {
		addrs, known, err = netdial.Literal(network, address, true)
	}
	if err == nil && !known {
		err = &net.AddrError{Err: "not a number; a name takes ListenName", Addr: address}
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return listen(l, addrs, network, address, factory, cfg)
}

// ListenName is [Listen] for addresses that may have to be looked up. Of a name with
// several it takes the first.
//
// Cancel safety: canceling the future gives the lookup up; nothing is open.
func ListenName(l *loop.Loop, network, address string, factory func() Protocol, cfg ListenConfig) *future.Future[*Listener] {
	if factory == nil {
		panic("transport: ListenName without a factory")
	}
	f, p := future.New[*Listener](l)
	if network == "unix" || checkNetwork(network) != nil {
		resolve(p, func() (*Listener, error) { return Listen(l, network, address, factory, cfg) })
		return f
	}
	e := inherit(l)
	cancel := netdial.Resolve(l, network, address, true, func(addrs []netfd.Addr, err error) {
		l.CallIn(e, func() {
			resolve(p, func() (*Listener, error) {
				if err != nil {
					return nil, &net.OpError{Op: "listen", Net: network, Err: err}
				}
				return listen(l, addrs, network, address, factory, cfg)
			})
		})
	})
	p.OnCancel(func(cause error) bool {
		cancel()
		return p.Cancel(cause)
	})
	return f
}

// checkNetwork returns an error unless network is one of streams.
func checkNetwork(network string) error {
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
		return nil
	}
	return net.UnknownNetworkError(network)
}

// resolve settles a future with what make returns.
func resolve[T any](p future.Promise[T], make func() (T, error)) {
	v, err := make()
	if err != nil {
		p.Fail(err)
	} else {
		p.Resolve(v)
	}
}

// listen opens the first of the addresses that the system has.
func listen(l *loop.Loop, addrs []netfd.Addr, network, address string, factory func() Protocol, cfg ListenConfig) (*Listener, error) {
	ln := &Listener{factory: factory, cfg: cfg, limits: cfg.limits(), env: inherit(l), network: network, kind: netfd.TCP}
	h := hubOf(l)
	ln.group = group{hub: h, ln: ln}
	var fd int
	var err error
	if network == "unix" {
		fd, err = ln.openPath(address)
	} else {
		fd, err = ln.open(addrs, network == "tcp" && len(addrs) > 1)
	}
	if err == nil && h.closing {
		netfd.CloseFD(fd)
		err = loop.ErrClosed
	}
	if err == nil {
		if err = ln.acc.Open(l, fd, (*acceptOwner)(ln)); err != nil {
			netfd.CloseFD(fd)
		}
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: ln.addr, Err: err}
	}
	h.groups = append(h.groups, &ln.group)
	ln.acc.Want()
	return ln, nil
}

// open listens on one address; of all that mean any, IPv6 takes the others, too.
func (ln *Listener) open(addrs []netfd.Addr, dual bool) (fd int, err error) {
	for _, a := range addrs {
		ln.addr = netdial.TCPAddr(&a)
		if fd, err = netfd.Listen(a, dual, ln.cfg.ReusePort); err == nil {
			a = netfd.LocalAddr(fd)
			ln.addr = netdial.TCPAddr(&a)
			return fd, nil
		}
		if !netfd.Unsupported(err) {
			break // only a system without IPv6 leads to the next
		}
	}
	return -1, err
}

func (ln *Listener) openPath(path string) (fd int, err error) {
	ln.kind = netfd.Unix
	ln.addr = &net.UnixAddr{Net: "unix", Name: path}
	if fd, err = netfd.ListenUnix(path); err == nil {
		ln.path = fileOf(path)
	}
	return fd, err
}

// An acceptOwner is a Listener as its Acceptor sees it.
type acceptOwner Listener

// Acceptable is called while the loop looks.
func (o *acceptOwner) Acceptable() { (*Listener)(o).schedule() }

// AcceptName implements [netfd.AcceptOwner].
func (o *acceptOwner) AcceptName() string { return (*Listener)(o).String() }

func (ln *Listener) schedule() {
	if !ln.queued {
		ln.queued = true
		ln.group.hub.l.Queue((*acceptCall)(ln))
	}
}

// An acceptCall is a Listener in the loop's queue.
type acceptCall Listener

func (c *acceptCall) Run() {
	ln := (*Listener)(c)
	ln.queued = false
	if !ln.closed {
		ln.group.hub.l.CallIn(ln.env, ln.accept)
	}
}

// accept takes what is there, up to a bound.
func (ln *Listener) accept() {
	again := true
	defer func() {
		if again && !ln.closed {
			ln.schedule() // also if a factory panicked
		}
	}()
	for range netfd.MaxAccepts {
		if ln.cfg.MaxConns > 0 && ln.group.n >= ln.cfg.MaxConns {
			ln.waiting, again = true, false
			return
		}
		fd, peer, err := ln.acc.TryAccept()
		switch {
		case err == nil:
			ln.connect(fd, peer)
		case err == netfd.ErrWouldBlock:
			ln.acc.Want()
			again = false
			return
		default:
			again = false
			ln.fail(err)
			return
		}
		if ln.closed { // by the factory
			return
		}
	}
}

// connect makes a transport.
func (ln *Listener) connect(fd int, peer netfd.Addr) {
	p := ln.protocolFor(fd)
	t, err := newTransport(&ln.group, fd, ln.kind, p, ln.limits, ln.env)
	if err != nil {
		ln.report(err)
		return
	}
	t.peer = peer
	if ln.cfg.TLS != nil {
		t.beginTLS(ln.cfg.tlsConfig(ln.cfg.TLS, true))
	}
	t.begin()
}

// protocolFor calls the factory. If that panics, the connection is closed and the
// panic goes on to the loop.
func (ln *Listener) protocolFor(fd int) (p Protocol) {
	defer func() {
		if p == nil {
			netfd.CloseFD(fd)
		}
	}()
	if p = ln.factory(); p == nil {
		panic("transport: a factory returned nil")
	}
	return p
}

// fail closes the Listener after an error that does not pass.
func (ln *Listener) fail(err error) {
	ln.report(err)
	_ = ln.Close() // an error of the same descriptor
}

func (ln *Listener) report(err error) {
	ln.group.hub.l.Report(&loop.CallError{Op: "accept", Name: ln.String(), Err: err})
}

// left goes on when a transport is lost.
func (ln *Listener) left() {
	if ln.waiting && !ln.closed {
		ln.waiting = false
		ln.schedule()
	}
	ln.checkEnd()
}

// Close stops listening. The transports are left alone. Later calls do nothing and
// return nil. (asyncio: Server.close)
func (ln *Listener) Close() error {
	if ln.closed {
		return nil
	}
	ln.closed = true
	ln.path.remove()
	_, err := ln.acc.Close()
	ln.checkEnd()
	if err != nil {
		return &net.OpError{Op: "close", Net: ln.network, Addr: ln.addr, Err: err}
	}
	return nil
}

// CloseClients closes all transports, as [Transport.Close] does. Listening goes on
// unless Close was called. (asyncio: Server.close_clients)
func (ln *Listener) CloseClients() { ln.each((*Transport).Close) }

// AbortClients aborts all transports. (asyncio: Server.abort_clients)
func (ln *Listener) AbortClients() { ln.each((*Transport).Abort) }

// Abort is Close and AbortClients.
func (ln *Listener) Abort() {
	_ = ln.Close() // what is lost is lost
	ln.AbortClients()
}

func (ln *Listener) each(end func(*Transport)) {
	for t := ln.group.first; t != nil; t = t.next {
		end(t)
	}
}

// Ended returns a future that is resolved when Close has been called and the last
// transport is lost. Each call returns one of its own, so canceling it concerns
// nobody else. (asyncio: Server.wait_closed)
func (ln *Listener) Ended() *future.Future[struct{}] {
	f, p := future.New[struct{}](ln.group.hub.l)
	ln.waiters = slices.DeleteFunc(ln.waiters, func(p future.Promise[struct{}]) bool { return p.Future().Done() })
	ln.waiters = append(ln.waiters, p)
	ln.checkEnd()
	return f
}

// checkEnd tells who waits for the end, if it has come.
func (ln *Listener) checkEnd() {
	if !ln.closed || ln.group.n > 0 {
		return
	}
	h := ln.group.hub
	h.groups = slices.DeleteFunc(h.groups, func(g *group) bool { return g == &ln.group })
	for _, p := range ln.waiters {
		p.Resolve(struct{}{})
	}
	ln.waiters = nil
}

// Transports returns those that are not lost, the newest first.
func (ln *Listener) Transports() []*Transport {
	ts := make([]*Transport, 0, ln.group.n)
	ln.each(func(t *Transport) { ts = append(ts, t) })
	return ts
}

// Addr returns the address that the Listener listens on, also when it is closed.
// (asyncio: Server.sockets)
func (ln *Listener) Addr() net.Addr { return ln.addr }

// Num returns the descriptor, which stays the Listener's, or -1 when it is closed.
func (ln *Listener) Num() int { return ln.acc.Num() }

// Stats returns what the Listener has done.
func (ln *Listener) Stats() ListenerStats {
	s := ln.acc.Stats()
	return ListenerStats{Accepted: s.Accepted, Aborted: s.Aborted, Rests: s.Rests, Failed: ln.failed, Open: ln.group.n}
}

// String names the Listener by its address.
func (ln *Listener) String() string { return fmt.Sprintf("listener %v", ln.addr) }
