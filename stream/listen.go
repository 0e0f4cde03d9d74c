package stream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// A Listener accepts connections. Make it with [Listen], and close it. It must be
// used on its loop. (asyncio: Server)
//
// When descriptors or memory run out it rests, 5 ms and then twice as long each
// time, up to 1 s, and says so once to the loop's OnError; connections wait in
// the system's queue meanwhile.
//
//	accepting <--rest is over / shortage--> resting
//	accepting or resting --Close, or closing the loop--> closed
type Listener struct {
	ac      netfd.Acceptor
	network string
	addr    netfd.Addr
	shared  *netfd.Addr   // of all connections, unless addr is any
	path    *socketFile   // of a unix socket
	waiters []*acceptWait // all are woken, and those who get nothing wait again
	spent   int           // accepted without a wait
	servers []*server     // that Serve on it
	serving int
	failed  uint64                     // handshakes
	empty   []*future.Future[struct{}] // awaited for serving to be 0
}

// ListenerStats is what a [Listener] has done since it was made.
type ListenerStats struct {
	Accepted uint64 // connections handed out
	Aborted  uint64 // connections that were gone before they were accepted
	Rests    uint64 // pauses for want of descriptors or memory
	Failed   uint64 // TLS handshakes of Serve that failed
	Serving  int    // connections of Serve that are open now
}

// A ListenConfig has what is not said by an address. The zero value is that of
// [Listen].
type ListenConfig struct {
	// ReusePort lets other sockets that say so listen on the same address: one for
	// each loop, or process. Linux, FreeBSD and DragonFly spread connections over
	// them. (asyncio: reuse_port)
	ReusePort bool

	// KeepSocketFile leaves a unix socket's file when the Listener is closed.
	// (asyncio: cleanup_socket=False)
	KeepSocketFile bool
}

// Listen makes a Listener for "host:port" with network "tcp", "tcp4" or "tcp6", or
// for a path with network "unix". Port 0, or none, lets the system choose. Without
// a host it listens on all addresses: with "tcp" on IPv6 and IPv4, if the system
// has both. Of a name with several addresses it takes the first. Errors are
// *net.OpError. It must be called in a task.
// (asyncio: start_server, start_unix_server)
//
// The address can be used again right after a Listener was closed (SO_REUSEADDR),
// and connections send small writes at once (TCP_NODELAY).
//
// A path that begins with "@" is an abstract name of Linux. The socket file of a
// listener that is gone is replaced, one that somebody listens on is not. Close
// removes it, unless another one has taken its place.
//
// Cancel safety: nothing is left open.
func Listen(ctx context.Context, network, address string) (*Listener, error) {
	return new(ListenConfig).Listen(ctx, network, address)
}

// Listen is the function [Listen] with a configuration.
func (cfg *ListenConfig) Listen(ctx context.Context, network, address string) (*Listener, error) {
	l := park.From(ctx, "stream: Listen").Loop()
	if network == "unix" {
		return cfg.listenUnix(l, address)
	}
	var addrs []netfd.Addr
	err := error(net.UnknownNetworkError(network))
	if strings.HasPrefix(network, "tcp") {
		addrs, err = resolve(ctx, l, network, address, true)
	}
	if err != nil {
		return nil, opError("listen", network, nil, err)
	}
	var first error
	for i := range addrs {
		a := addrs[i]
		fd, err := netfd.Listen(a, network == "tcp" && a.IP() == netip.IPv6Unspecified(), cfg.ReusePort)
		if err == nil {
			var ln *Listener
			if ln, err = newListener(l, fd, network); err == nil {
				return ln, nil
			}
		}
		if first == nil {
			first = opError("listen", network, &a, err)
		}
		if !netfd.Unsupported(err) {
			break // only a system without IPv6 leads to the next
		}
	}
	return nil, first
}

// newListener takes fd over, also if it fails.
func newListener(l *loop.Loop, fd int, network string) (*Listener, error) {
	ln := &Listener{network: network, addr: netfd.LocalAddr(fd)}
	if !ln.addr.IP().IsUnspecified() {
		ln.shared = &ln.addr
	}
	if network == "unix" {
		ln.path = &socketFile{addr: netfd.LocalUnix(fd)}
	}
	if err := ln.ac.Open(l, fd, ln); err != nil {
		netfd.CloseFD(fd)
		return nil, err
	}
	return ln, nil
}

// ListenFile makes a Listener of a listening socket: an *os.File, from another
// loop's [Listener.File] or from whoever started this process, or a
// *net.TCPListener or *net.UnixListener. It works on a duplicate: f stays open and
// the caller's. Several listeners of one socket share its connections, each taking
// what it can. It must be called in a task. (asyncio: start_server with sock)
func ListenFile(ctx context.Context, f syscall.Conn) (*Listener, error) {
	l := park.From(ctx, "stream: ListenFile").Loop()
	fd, kind, err := netfd.Adopt(f)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "file", Err: err}
	}
	network := "tcp"
	switch kind {
	case netfd.TCP:
	case netfd.Unix:
		network = "unix"
	default:
		netfd.CloseFD(fd)
		return nil, &net.OpError{Op: "listen", Net: "file", Err: errNotListener}
	}
	ln, err := newListener(l, fd, network)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	if ln.path != nil {
		ln.path.keep = true // it is the other's
	}
	return ln, nil
}

var errNotListener = errors.New("not a stream socket")

// File returns a duplicate of the listening socket, for [ListenFile] on another
// loop or for another process. It is independent of the Listener, and the caller's
// to close.
func (ln *Listener) File() (*os.File, error) {
	if ln.ac.Num() < 0 {
		return nil, ln.opError("file", net.ErrClosed)
	}
	fd, err := netfd.Dup(ln.ac.Num())
	if err != nil {
		return nil, ln.opError("file", err)
	}
	return os.NewFile(uintptr(fd), ln.String()), nil
}

// Acceptable wakes who waits. It is for the loop.
func (ln *Listener) Acceptable() { ln.wakeAll() }

// AcceptName names the listener in reports. It is for the loop.
func (ln *Listener) AcceptName() string { return ln.Addr().String() }

// An acceptWait is what one call of Accept waits for.
type acceptWait struct{ future.Future[struct{}] }

func (ln *Listener) wakeAll() {
	for i, w := range ln.waiters {
		future.Settle(&w.Future, struct{}{}, nil) // no, if it was canceled
		ln.waiters[i] = nil
	}
	ln.waiters = ln.waiters[:0]
}

// Accept waits for a connection and returns it. Several tasks may wait. It
// returns net.ErrClosed if the Listener is closed, now or while it waits, and
// errors of the system that are not of the kind that pass.
// (asyncio: loop.sock_accept)
//
// Cancel safety: a canceled Accept has taken no connection.
func (ln *Listener) Accept(ctx context.Context) (*Conn, error) {
	if ln.spent >= netfd.MaxAccepts {
		ln.spent = 0
		if err := task.Yield(ctx); err != nil {
			return nil, err
		}
	}
	for {
		c, err := ln.TryAccept()
		if err != ErrWouldBlock {
			return c, err
		}
		if err := ln.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// TryAccept is Accept without waiting: it returns [ErrWouldBlock] if there is no
// connection, or while the Listener rests.
func (ln *Listener) TryAccept() (*Conn, error) {
	fd, peer, err := ln.ac.TryAccept()
	if err == ErrWouldBlock {
		return nil, err
	}
	if err == nil {
		var kind connFlags
		if ln.network == "unix" {
			kind = unixSocket
		}
		ln.spent++
		var c *Conn
		if c, err = newConn(ln.ac.Loop(), fd, peer, kind); err == nil {
			c.local = ln.shared
			return c, nil
		}
		if netfd.Shortage(err) { // of places in the poller: the connection is lost, the server is not
			ln.ac.Rest(err)
			return nil, ErrWouldBlock
		}
	}
	return nil, ln.opError("accept", err)
}

func (ln *Listener) wait(ctx context.Context) error {
	w := ln.enlist()
	_, err := w.Await(ctx)
	if err != nil {
		ln.forget(w)
	}
	return err
}

// enlist returns a wait for a connection.
func (ln *Listener) enlist() *acceptWait {
	w := new(acceptWait)
	future.Init(&w.Future, ln.ac.Loop(), nil)
	ln.waiters = append(ln.waiters, w)
	ln.spent = 0
	ln.ac.Want()
	return w
}

// forget takes a canceled wait out.
func (ln *Listener) forget(w *acceptWait) {
	for i := range ln.waiters {
		if ln.waiters[i] == w {
			ln.waiters = append(ln.waiters[:i], ln.waiters[i+1:]...)
			return
		}
	}
}

// Close stops listening. Whoever waits in Accept gets net.ErrClosed, as do later
// calls. Connections are left alone, and so is [Listener.Serve], which ends when
// its last handler has. Later calls do nothing and return nil.
// (asyncio: Server.close)
func (ln *Listener) Close() error {
	ok, err := ln.ac.Close()
	if !ok {
		return nil
	}
	ln.path.remove()
	ln.wakeAll()
	if err != nil {
		return ln.opError("close", err)
	}
	return nil
}

// Addr returns the address that the Listener listens on. (asyncio: Server.sockets)
func (ln *Listener) Addr() net.Addr {
	if ln.path != nil {
		return unixName(ln.path.addr)
	}
	return netdial.TCPAddr(&ln.addr)
}

// Stats returns what the Listener has done.
func (ln *Listener) Stats() ListenerStats {
	s := ln.ac.Stats()
	return ListenerStats{Accepted: s.Accepted, Aborted: s.Aborted, Rests: s.Rests, Failed: ln.failed, Serving: ln.serving}
}

// String names the listener by its address.
func (ln *Listener) String() string { return "listener " + ln.Addr().String() }

func (ln *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: ln.network, Addr: ln.Addr(), Err: err}
}

// interrupted reports whether err is no failure of an operation but the end of
// the wait for it.
func interrupted(err error) bool {
	return future.AsCanceled(err) != nil || errors.Is(err, context.DeadlineExceeded)
}
