//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

const acceptSection = "Accept and connect"

func acceptRows() []scenario {
	return in(acceptSection, []scenario{
		{
			id: "R10", title: "no descriptors left: EMFILE while thousands connect",
			naive:  "a processor at 100 %, or a listener that never accepts again",
			target: "no more than 200 attempts a second, no established connection lost, recovery in 1.1 s",
			parts: []part{
				{run: r10Exhausted},
				{name: "EMFILE", inject: "accept4:error=EMFILE:when=1+3", run: acceptInjected(300)},
			},
		},
		{
			id: "R11", title: "accept fails: ECONNABORTED, EPROTO, EPERM",
			naive:  "the server stops accepting, or drops the rest of the batch",
			target: "10⁴ failures, every good connection served",
			parts: []part{
				{name: "ECONNABORTED", inject: "accept4:error=ECONNABORTED:when=1+3", run: acceptInjected(7000)},
				{name: "EPROTO", inject: "accept4:error=EPROTO:when=1+3", run: acceptInjected(7000)},
				{name: "EPERM", inject: "accept4:error=EPERM:when=1+3", run: acceptInjected(7000)},
			},
		},
		{
			id: "R12", title: "ten thousand connections at once; several loops on one port",
			naive:  "accepting keeps the loop from everything else, or one is accepted a turn",
			target: "10,000 of 10,000 served, lag p99 less than 20 ms",
			parts:  []part{{run: r12Storm}, {name: "2 loops", run: r12Loops}},
		},
		{
			id: "R13", title: "connecting: refused, into the void, canceled in flight, a dead first address",
			naive:  "descriptors leak, or the caller hangs",
			target: "10⁴ mixed, no descriptor left", parts: one(r13Connect),
		},
		{
			id: "R14", title: "resets in every state of a connection",
			naive:  "a signal kills the process, callbacks come twice, errors overtake data",
			target: "10⁵ resets over 10,000 connections, no crash, each end told once",
			parts:  []part{{run: r14Reset}, {name: "ss -K", netns: true, run: r14Killed}},
		},
		{
			id: "R15", title: "a peer that sends, ends its stream and listens on",
			naive:  "what came before the end is lost, or our side is closed, too",
			target: "10⁵ clients, no byte lost", parts: one(r15HalfClose),
		},
		{
			id: "R16", title: "closing with unread input",
			naive:  "the kernel sends a reset, which destroys the last answer",
			target: "10⁴ answers, none cut", parts: one(r16Unread),
		},
		{
			id: "R17", title: "connections that come and go",
			naive:  "handles, timers, descriptors grow",
			target: "10⁶ connections at 10,000 a second, nothing left", parts: one(r17Churn),
		},
		{
			id: "R18", title: "many idle connections, which then all speak",
			naive:  "a buffer and a goroutine for each",
			target: "100,000 held, all answer, bytes for each published", parts: one(r18Idle),
		},
		{
			id: "R19", title: "clients that send a byte now and then (slowloris)",
			naive:  "each byte starts the idle timer anew, so none is ever cut",
			target: "all cut at their deadline; p99 of good clients within 20 %", parts: one(r19Slow),
		},
		{
			id: "R20", title: "shutting a server down with live clients, in three strengths",
			naive:  "it waits for ever, or drops answers",
			target: "1,000 idle and 100 busy: ends within its deadline + 50 ms, busy ones answered", parts: one(r20Shutdown),
		},
	})
}

// r10Exhausted takes all descriptors away while clients wait to be accepted.
func r10Exhausted(r *run) {
	r.expect("accept")
	n := r.n(4000, 20) // no more than the system's queue holds
	n = min(n, files(2*n+100)/2)
	r.loop(func(ctx context.Context) error {
		srv, err := serve(ctx, stream.ServeConfig{}, echo)
		if err != nil {
			return err
		}
		var lim unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
			return err
		}
		old, clients, err := crowd(ctx, r, srv, n, lim)
		if err != nil {
			return err
		}
		accepted := srv.ln.Stats()
		const storm = 2 * time.Second
		pings, err := pingFor(ctx, old, storm)
		during := srv.ln.Stats()
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &lim)
		start := time.Now()
		if err != nil {
			r.lost.Add(1)
			r.fail("an established connection: %v", err)
		}
		for srv.ln.Stats().Serving < n+len(old) && time.Since(start) < 10*time.Second {
			if err := task.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		took := time.Since(start)
		rests := during.Rests - accepted.Rests
		r.faults.Add(int64(rests))
		r.load("%d clients wait for %v without a descriptor to be had; %d established ones send %d pings", n, storm, len(old), pings)
		r.found("%d attempts to accept, %d reports; recovered, and all accepted, in %v", rests, len(r.reports), took.Round(time.Millisecond))
		r.check(float64(rests) <= 200*storm.Seconds(), "%d attempts in %v", rests, storm)
		r.check(took < 1100*time.Millisecond+time.Duration(n)*50*time.Microsecond, "recovered in %v", took)
		r.check(len(r.reports) == 1, "%d reports, want 1", len(r.reports))
		r.lost.Add(int64(n + len(old) - srv.ln.Stats().Serving))
		err = r.others(ctx, n, 8, func(i int) error { return ping(clients[i], []byte("hello")) })
		_ = r.blocking(ctx, closeAll(append(old, clients...)))
		return errors.Join(err, srv.stop(ctx))
	})
}

// crowd connects 20 clients that are served, and n that are not accepted yet: they
// come while the loop is kept from its work, after which no descriptor is left.
func crowd(ctx context.Context, r *run, srv *server, n int, lim unix.Rlimit) (old, clients []int, err error) {
	old, clients = make([]int, 20), make([]int, n)
	if err := r.others(ctx, len(old), 1, func(i int) error {
		old[i], err = rawDial(i, srv.ln.Addr())
		return errors.Join(err, ping(old[i], []byte("hello")))
	}); err != nil {
		return nil, nil, err
	}
	err = r.blocking(ctx, func() error { // so that none is accepted
		for i := range clients {
			if clients[i], err = rawDial(i, srv.ln.Addr()); err != nil {
				return fmt.Errorf("client %d: %w", i, err)
			}
		}
		return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 5, Max: lim.Max})
	})
	return old, clients, err
}

// pingFor sends pings on connections in turn, elsewhere.
func pingFor(ctx context.Context, fds []int, d time.Duration) (n int, err error) {
	done := make(chan error, 1)
	go func() {
		for end := time.Now().Add(d); time.Now().Before(end); n++ {
			if err := ping(fds[n%len(fds)], []byte("hello")); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	perr, _, err := task.Recv(ctx, done)
	return n, errors.Join(perr, err)
}

// acceptInjected serves clients while strace makes one accept of three fail.
func acceptInjected(full int) func(r *run) {
	return func(r *run) {
		r.expect("accept")
		n := r.n(full, 10)
		r.loop(func(ctx context.Context) error {
			srv, err := serve(ctx, stream.ServeConfig{}, echo)
			if err != nil {
				return err
			}
			var served atomic.Int64
			err = r.others(ctx, n, 16, func(i int) error {
				fd, err := rawDial(i, srv.ln.Addr())
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				if err := ping(fd, []byte("hello")); err != nil {
					return err
				}
				served.Add(1)
				return nil
			})
			r.load("%d clients, 16 at a time", n)
			r.lost.Add(int64(n) - served.Load())
			s := srv.ln.Stats()
			r.found("%d accepted, %d aborted, %d rests", s.Accepted, s.Aborted, s.Rests)
			return errors.Join(err, srv.stop(ctx))
		})
	}
}

// r12Storm connects from as many threads as there are, as fast as it goes.
func r12Storm(r *run) {
	n := r.n(10_000, 50)
	n = min(n, files(2*n+100)/2)
	r.loop(func(ctx context.Context) error {
		srv, err := serve(ctx, stream.ServeConfig{}, echo)
		if err != nil {
			return err
		}
		clients := make([]int, n)
		start := time.Now()
		err = r.others(ctx, n, 4, func(i int) (err error) {
			clients[i], err = rawDial(i, srv.ln.Addr())
			return err
		})
		if err != nil {
			return err
		}
		for srv.ln.Stats().Serving < n && time.Since(start) < 30*time.Second {
			if err := task.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		took := time.Since(start)
		r.lost.Add(int64(n - srv.ln.Stats().Serving))
		err = r.others(ctx, n, 4, func(i int) error {
			defer unix.Close(clients[i])
			return ping(clients[i], []byte("hello"))
		})
		r.load("%d clients connect at once, and send a line each", n)
		r.found("all were accepted within %v", took.Round(time.Millisecond))
		return errors.Join(err, srv.stop(ctx))
	})
	r.lagBelow(20 * time.Millisecond)
}

// r12Loops has two loops share a port, by SO_REUSEPORT.
func r12Loops(r *run) {
	n := r.n(10_000, 200)
	n = min(n, files(2*n+100)/2)
	addr := make(chan net.Addr, 2)
	var share [2]atomic.Int64
	port := 0
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); r.ok(err, "listen") {
		port = ln.Addr().(*net.TCPAddr).Port
		_ = ln.Close()
	}
	ready := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		r.ok(r.twoLoops(port, addr, &share, ready), "loops")
	}()
	<-addr
	a := <-addr
	clients := make([]int, n)
	for i := range n {
		var err error
		if clients[i], err = rawDial(i, a); err != nil {
			r.fail("client %d: %v", i, err)
			break
		}
	}
	for _, fd := range clients {
		if err := ping(fd, []byte("hello")); err != nil {
			r.lost.Add(1)
		}
	}
	for _, fd := range clients {
		unix.Close(fd)
	}
	close(ready)
	<-finished
	r.load("%d clients, 2 loops", n)
	r.found("the loops served %d and %d", share[0].Load(), share[1].Load())
	r.check(share[0].Load()+share[1].Load() == int64(n), "served %d", share[0].Load()+share[1].Load())
	r.check(share[0].Load() > int64(n)/3 && share[1].Load() > int64(n)/3, "the shares are %d and %d", share[0].Load(), share[1].Load())
}

func (r *run) twoLoops(port int, addr chan<- net.Addr, share *[2]atomic.Int64, ready <-chan struct{}) error {
	cfg := task.LoopsConfig{N: 2, Loop: func(int) loop.Config { return r.config(loop.Config{}) }}
	return task.RunLoopsConfig(r.ctx, cfg, func(ctx context.Context, i int, _ *task.Loops) error {
		return r.body(ctx, func(ctx context.Context) error {
			lc := stream.ListenConfig{ReusePort: true}
			ln, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				return err
			}
			s := &server{ln: ln, task: task.Go(ctx, func(ctx context.Context) error {
				return ln.Serve(ctx, func(ctx context.Context, c *stream.Conn) error {
					share[i].Add(1)
					return echo(ctx, c)
				})
			})}
			addr <- ln.Addr()
			_, _, err = task.Recv(ctx, ready)
			return errors.Join(err, s.stop(ctx))
		})
	})
}

// r13Connect connects to what is not there, in every way.
func r13Connect(r *run) {
	n := r.n(10_000, 20)
	void, err := newVoid([4]byte{127, 0, 0, 1}, 0)
	if !r.ok(err, "void") {
		return
	}
	defer unix.Close(void.fd)
	r.loop(func(ctx context.Context) error {
		ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer ln.Close()
		accepts := task.Go(ctx, func(ctx context.Context) error {
			return ln.Serve(ctx, func(ctx context.Context, c *stream.Conn) error { _, err := c.Read(ctx, make([]byte, 1)); return err })
		})
		dead, err := refusing()
		if err != nil {
			return err
		}
		dns, err := newNames(ln.Addr())
		if err != nil {
			return err
		}
		defer dns.close()
		t := &connects{run: r, void: void.addr, dead: dead, live: ln.Addr().String(), both: dns.both, names: dns.resolver()}
		err = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.SetLimit(200)
			for i := range n {
				g.Go(func(ctx context.Context) error { return t.dial(ctx, i) })
			}
			return nil
		})
		r.load("%d connects, 200 at a time: refused, blackholed with a bound, canceled in flight, answered, half of these by the second address of a name whose first is dead", n)
		r.found("%d refused, %d timed out, %d canceled, %d connected", t.refused, t.timedOut, t.canceled, t.connected)
		ln.Abort()
		_, aerr := accepts.Await(ctx)
		return errors.Join(err, aerr)
	})
}

type connects struct {
	*run
	void, dead, live                       string
	both                                   string // a name with two addresses, of which the first is dead
	names                                  *net.Resolver
	refused, timedOut, canceled, connected int
}

func (t *connects) dial(ctx context.Context, i int) error {
	t.faults.Add(1)
	switch i % 4 {
	case 0:
		_, err := stream.Dial(ctx, "tcp", t.dead)
		t.check(errors.Is(err, syscall.ECONNREFUSED), "refused: %v", err)
		t.refused++
	case 1:
		cfg := stream.DialConfig{AttemptTimeout: 20 * time.Millisecond}
		_, err := cfg.Dial(ctx, "tcp", t.void)
		t.check(errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded), "into the void: %v", err)
		t.timedOut++
	case 2:
		d := task.StartNow(ctx, func(ctx context.Context) (*stream.Conn, error) { return stream.Dial(ctx, "tcp", t.void) })
		for range i / 4 % 5 {
			_ = task.Yield(ctx)
		}
		d.Cancel(nil)
		_, err := d.Await(ctx)
		t.check(future.AsCanceled(err) != nil, "canceled: %v", err)
		t.canceled++
	default:
		cfg := stream.DialConfig{FallbackDelay: 5 * time.Millisecond, Resolver: t.names}
		to := t.both
		if i%8 == 3 {
			cfg.LocalAddr = netip.AddrPortFrom(netip.AddrFrom4([4]byte(loopback(i).To4())), 0)
			to = t.live
		}
		c, err := cfg.Dial(ctx, "tcp", to)
		if err != nil {
			t.lost.Add(1)
			return err
		}
		t.connected++
		t.faults.Add(-1)
		return c.Close()
	}
	return nil
}

// A void is a port whose packets disappear.
type voidPort struct {
	fd   int
	addr string
}

func newVoid(addr [4]byte, port int) (voidPort, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return voidPort{}, err
	}
	err = errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: addr, Port: port}), drop(fd, 1), unix.Listen(fd, 10))
	if err != nil {
		unix.Close(fd)
		return voidPort{}, err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return voidPort{}, err
	}
	return voidPort{fd, fmt.Sprintf("%v:%d", net.IP(addr[:]), sa.(*unix.SockaddrInet4).Port)}, nil
}

// refusing returns an address where nobody listens.
func refusing() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// r14Reset resets connections before the first read, in the middle of a write, with
// data unread, and after the end of our stream.
func r14Reset(r *run) {
	n := r.n(25_000, 20)
	r.loop(func(ctx context.Context) error {
		t := &resets{run: r}
		srv, err := serve(ctx, stream.ServeConfig{}, t.handle)
		if err != nil {
			return err
		}
		tl, err := transport.Listen(loop.FromContext(ctx), "tcp", "127.0.0.1:0", func() transport.Protocol {
			p := &resetProtocol{t: t}
			t.protos = append(t.protos, p)
			return p
		}, transport.ListenConfig{})
		if err != nil {
			return err
		}
		err = r.others(ctx, 2*n, 32, func(i int) error {
			addr := srv.addr()
			if i%2 == 1 {
				addr = tl.Addr().String()
			}
			r.faults.Add(1)
			return resetter(i, addr)
		})
		for end := time.Now().Add(20 * time.Second); srv.ln.Stats().Serving+tl.Stats().Open > 0 && time.Now().Before(end); {
			_ = task.Sleep(ctx, time.Millisecond)
		}
		t.judge()
		r.load("%d resets over as many connections, half of them of stream, half of transport, in 4 states each", 2*n)
		tl.Abort()
		return errors.Join(err, srv.stop(ctx))
	})
}

// resetter is the peer: byte 0 of what it sends is the state that it dies in.
func resetter(i int, addr string) error {
	c, err := dialFrom(i, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetLinger(0)
	state := byte(i/2) % 4
	switch state {
	case 0: // before the first read
		return nil
	case 1: // while the server writes
		_, _ = c.Write([]byte{state, 'd', 'a', 't', 'a'})
		_, err = io.ReadFull(c, make([]byte, 1000))
	case 2: // with data unread, ours and theirs
		_, err = c.Write([]byte{state, 'd', 'a', 't', 'a'})
		time.Sleep(200 * time.Microsecond)
	case 3: // after the server's end
		_, _ = c.Write([]byte{state, 'd', 'a', 't', 'a'})
		_, err = io.Copy(io.Discard, c)
	}
	return err
}

// muchMore is more than the buffers of two sockets hold.
var muchMore = make([]byte, 8<<20)

type resets struct {
	*run
	protos []*resetProtocol
}

// handle reads to the end, and answers as the state says. Whatever happens must be
// a reset, a broken pipe or an end.
func (t *resets) handle(ctx context.Context, c *stream.Conn) error {
	var got []byte
	buf := make([]byte, 64)
	answered := false
	for {
		n, err := c.Read(ctx, buf)
		if err != nil {
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && err != io.EOF {
				t.fail("Read: %v", err)
			}
			if k := len(got); k != 0 && k != 5 {
				t.fail("%d bytes came before the reset, want 5 or none", k)
			}
			return err
		}
		got = append(got, buf[:n]...)
		if answered || len(got) < 5 {
			continue
		}
		answered = true
		switch got[0] {
		case 1:
			_, err = c.Write(ctx, muchMore)
		case 3:
			err = c.CloseWrite()
		}
		if err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ENOTCONN) {
			t.fail("Write: %v", err)
		}
	}
}

type resetProtocol struct {
	t                      *resets
	tr                     *transport.Transport
	connected, ended, lost int
	got                    []byte
	afterwards             bool
}

func (p *resetProtocol) Connected(tr *transport.Transport) { p.tr = tr; p.connected++ }
func (p *resetProtocol) EOF() bool                         { p.ended++; return false }

func (p *resetProtocol) Data(b []byte) {
	p.afterwards = p.afterwards || p.lost > 0
	p.got = append(p.got, b...)
	if len(p.got) != 5 {
		return
	}
	switch p.got[0] {
	case 1:
		_ = p.tr.Write(muchMore)
	case 3:
		p.tr.CloseWrite()
	}
}

func (p *resetProtocol) Lost(err error) {
	p.lost++
	if err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ENOTCONN) {
		p.t.fail("Lost: %v", err)
	}
}

func (t *resets) judge() {
	for _, p := range t.protos {
		switch {
		case p.connected != 1 || p.lost > 1 || p.ended > 1 || p.afterwards:
			t.duplicated.Add(1)
		case p.lost == 0:
			t.lost.Add(1)
		case len(p.got) != 0 && len(p.got) != 5:
			t.fail("%d bytes came before the reset, want 5 or none", len(p.got))
		}
	}
}

// r14Killed has the kernel kill connections: ss -K, in a network of our own.
func r14Killed(r *run) {
	n := r.n(1000, 10)
	r.loop(func(ctx context.Context) error {
		killed := 0
		srv, err := serve(ctx, stream.ServeConfig{}, func(ctx context.Context, c *stream.Conn) error {
			_, err := c.Read(ctx, make([]byte, 1))
			if errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.ECONNRESET) {
				killed++
				return nil
			}
			return fmt.Errorf("killed: %w", err)
		})
		if err != nil {
			return err
		}
		clients := make([]int, n)
		if err := r.others(ctx, n, 8, func(i int) (err error) {
			clients[i], err = rawDial(i, srv.ln.Addr())
			return err
		}); err != nil {
			return err
		}
		for srv.ln.Stats().Serving < n {
			_ = task.Sleep(ctx, time.Millisecond)
		}
		if err := r.others(ctx, 1, 1, func(int) error {
			return exec.Command("ss", "-K", "state", "established", "sport", "=", fmt.Sprintf(":%d", srv.ln.Addr().(*net.TCPAddr).Port)).Run()
		}); err != nil {
			return err
		}
		for end := time.Now().Add(5 * time.Second); killed < n && time.Now().Before(end); {
			_ = task.Sleep(ctx, time.Millisecond)
		}
		if killed == 0 {
			r.skip("ss -K kills nothing here")
		} else {
			r.lost.Add(int64(n - killed))
		}
		r.faults.Add(int64(killed))
		r.load("%d connections killed by the kernel", n)
		for _, fd := range clients {
			unix.Close(fd)
		}
		return srv.stop(ctx)
	})
}
