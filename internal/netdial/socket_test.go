//go:build unix

package netdial_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
)

// realLoop returns a loop with the system's clock. When the test ends it is closed,
// and no descriptor may be left open.
func realLoop(t testing.TB) *loop.Loop {
	t.Helper()
	before := descriptors()
	l, err := loop.New(loop.Config{OnError: func(e *loop.CallError) { t.Errorf("%v\n%s", e, e.Stack()) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if after := eventually(before); after > before {
			t.Errorf("%d descriptors open, %d before", after, before)
		}
	})
	return l
}

// descriptors counts the process's open descriptors, where the system tells. The
// runtime's own poller comes with the first socket of package net.
func descriptors() int {
	if c, err := net.ListenUDP("udp4", nil); err == nil {
		c.Close()
	}
	es, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(es)
}

// serve accepts connections, and closes each when its peer has.
func serve(t testing.TB, network, address string) string {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		conns.Wait()
	})
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				c.Read(make([]byte, 1))
				c.Close()
			})
		}
	})
	return ln.Addr().String()
}

// refusing returns an address where nobody listens.
func refusing(t testing.TB) string {
	t.Helper()
	fd := socket(t, unix.AF_INET)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	a := netfd.LocalAddr(fd)
	return name(a)
}

// A hole is a listener whose queue is full: connects to it hang.
func hole(t testing.TB) string {
	t.Helper()
	fd := socket(t, unix.AF_INET)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	a := netfd.LocalAddr(fd)
	for {
		c, err := net.DialTimeout("tcp", name(a), 100*ms)
		if err != nil {
			return name(a)
		}
		t.Cleanup(func() { c.Close() })
	}
}

func socket(t testing.TB, family int) int {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(fd)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// dial dials and waits for the end. A socket is closed.
func dial(t testing.TB, l *loop.Loop, cfg *netdial.Config) (local, peer netfd.Addr, err error) {
	t.Helper()
	calls := 0
	netdial.Start(l, cfg, func(fd int, p netfd.Addr, e error) {
		calls++
		peer, err = p, e
		if (fd < 0) != (e != nil) {
			t.Errorf("done(%d, …, %v)", fd, e)
		}
		if fd >= 0 {
			checkSocket(t, fd)
			local = netfd.LocalAddr(fd)
			netfd.CloseFD(fd)
		}
		l.Stop()
	})
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if calls != 1 {
		t.Errorf("done was called %d times", calls)
	}
	return local, peer, err
}

// checkSocket checks that fd is connected, as promised, and free to be watched.
func checkSocket(t testing.TB, fd int) {
	t.Helper()
	fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || fl&unix.O_NONBLOCK == 0 {
		t.Errorf("flags %x, %v; want O_NONBLOCK", fl, err)
	}
	if _, err := unix.Getpeername(fd); err != nil {
		t.Error(err)
	}
}

func TestDialTCP(t *testing.T) {
	l := realLoop(t)
	to := serve(t, "tcp", "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(to)
	for _, cfg := range []netdial.Config{
		{Address: to},
		{Network: "tcp4", Address: to},
		{Address: ":" + port},
		{Address: "0.0.0.0:" + port},
		{Address: "localhost:" + port}, // a lookup
		{Address: to, Local: addr("127.0.0.2:0")},
		{Address: to, FallbackDelay: -1, AttemptTimeout: time.Minute},
	} {
		local, peer, err := dial(t, l, &cfg)
		if err != nil || name(peer) != to {
			t.Errorf("%+v: connected with %s, %v", cfg, name(peer), err)
		}
		if cfg.Local.Valid() && local.IP() != cfg.Local.IP() {
			t.Errorf("connected from %s, want %s", name(local), name(cfg.Local))
		}
	}
}

func TestDialErrors(t *testing.T) {
	l := realLoop(t)
	closed := refusing(t)
	var (
		dns  *net.DNSError
		addr *net.AddrError
		unk  net.UnknownNetworkError
	)
	for _, tt := range []struct {
		cfg netdial.Config
		as  any
		is  error
	}{
		{netdial.Config{Address: closed}, nil, syscall.ECONNREFUSED},
		{netdial.Config{Network: "tcp6", Address: closed}, &addr, nil},
		{netdial.Config{Address: "nobody.invalid:1", Resolver: deaf(nil)}, &dns, nil},
		{netdial.Config{Address: "127.0.0.1:no-such-service"}, &dns, nil},
		{netdial.Config{Address: "127.0.0.1"}, &addr, nil},
		{netdial.Config{Network: "ip", Address: "127.0.0.1:1"}, &unk, nil},
		{netdial.Config{Network: "unix", Address: filepath.Join(t.TempDir(), "none")}, nil, syscall.ENOENT},
		{netdial.Config{Address: hole(t), AttemptTimeout: 20 * ms}, nil, os.ErrDeadlineExceeded},
	} {
		_, _, err := dial(t, l, &tt.cfg)
		oe, ok := err.(*net.OpError)
		switch {
		case !ok || oe.Op != "dial":
			t.Errorf("%+v: %#v, want a *net.OpError", tt.cfg, err)
		case tt.as != nil && !errors.As(err, tt.as):
			t.Errorf("%+v: %v, want a %T", tt.cfg, err, tt.as)
		case tt.is != nil && (!errors.Is(err, tt.is) || oe.Addr.String() != tt.cfg.Address):
			t.Errorf("%+v: %v, want %v of its address", tt.cfg, err, tt.is)
		}
	}
}

func TestDialUnix(t *testing.T) {
	l := realLoop(t)
	path := filepath.Join(t.TempDir(), "s")
	serve(t, "unix", path)
	_, peer, err := dial(t, l, &netdial.Config{Network: "unix", Address: path})
	if err != nil || peer.Valid() {
		t.Errorf("peer %s, %v", name(peer), err)
	}
}

// A hole for one family, a listener for the other: the fallback wins. The loop is
// closed while others are under way.
func TestFallbackOnSockets(t *testing.T) {
	l := realLoop(t)
	dead, live := hole(t), serve(t, "tcp", "127.0.0.1:0")
	var took time.Duration
	start := l.Now()
	netdial.StartAddrs(l, &netdial.Config{FallbackDelay: 20 * ms}, addrs(dead, live), func(fd int, peer netfd.Addr, err error) {
		took = l.Now().Sub(start)
		if err != nil || name(peer) != live {
			t.Errorf("connected with %s, %v", name(peer), err)
		}
		netfd.CloseFD(fd)
		l.Stop()
	})
	for range 10 {
		netdial.StartAddrs(l, &netdial.Config{}, addrs(dead, dead), func(int, netfd.Addr, error) {
			t.Error("a hole answers")
		})
	}
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if took < 20*ms {
		t.Errorf("the fallback began early, %v", took)
	}
}

// The loop is closed right after, or in, each turn of dials that go different ways.
func TestLoopClosedMeanwhile(t *testing.T) {
	dead, live, no := hole(t), serve(t, "tcp", "127.0.0.1:0"), refusing(t)
	path := filepath.Join(t.TempDir(), "s")
	serve(t, "unix", path)
	for turns := range 12 {
		before := descriptors()
		l, err := loop.New(loop.Config{})
		if err != nil {
			t.Fatal(err)
		}
		done := func(fd int, _ netfd.Addr, _ error) {
			if fd >= 0 {
				netfd.CloseFD(fd)
			}
			l.Stop()
		}
		var ds []*netdial.Dial
		for range 5 {
			ds = append(ds,
				netdial.StartAddrs(l, &netdial.Config{FallbackDelay: 1}, addrs(dead, dead, no, live), done),
				netdial.Start(l, &netdial.Config{Address: live}, done),
				netdial.Start(l, &netdial.Config{Network: "unix", Address: path}, done),
				netdial.Start(l, &netdial.Config{Address: "localhost:1"}, done),
				netdial.Start(l, &netdial.Config{Address: "stuck.invalid:1", Resolver: deaf(nil)}, done))
		}
		for range turns {
			l.Stop()
			if err := l.Run(); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if after := eventually(before); after > before {
			t.Errorf("closed after %d turns: %d descriptors open, %d before", turns, after, before)
		}
		for _, d := range ds {
			d.Cancel() // of a dial on a closed loop, does nothing
		}
	}
}

// eventually waits until servers and resolvers' goroutines have closed what they
// had.
func eventually(want int) int {
	n := descriptors()
	for i := 0; n > want && i < 100; i++ {
		time.Sleep(10 * ms)
		n = descriptors()
	}
	return n
}

// Of two connects that end in the same look, the first cancels the other behind
// its event.
func TestCancelBehindTheEvent(t *testing.T) {
	l := realLoop(t)
	live, no := serve(t, "tcp", "127.0.0.1:0"), refusing(t)
	for _, to := range []string{live, no} {
		var ds [2]*netdial.Dial
		calls := 0
		for i := range ds {
			ds[i] = netdial.StartAddrs(l, &netdial.Config{}, addrs(to), func(fd int, _ netfd.Addr, _ error) {
				if calls++; fd >= 0 {
					netfd.CloseFD(fd)
				}
				ds[1-i].Cancel()
				l.CallLater(ms, l.Stop)
			})
		}
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
		if calls != 1 {
			t.Errorf("%d dials to %s have ended, want 1", calls, to)
		}
	}
}

// A socket that connects to its own port is connected with itself: that is no
// connection.
func TestNotWithItself(t *testing.T) {
	l := realLoop(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	self := netfd.LocalAddr(fd)
	netfd.CloseFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	cfg := netdial.Config{Address: name(self), Local: self}
	n := netdial.CountConnects(&cfg)
	if _, _, err := dial(t, l, &cfg); *n < 2 && err == nil {
		t.Errorf("connected %s with itself at the first try", cfg.Address)
	}
}

// A listener's queue that is full is tried again until there is room.
func TestUnixQueueFull(t *testing.T) {
	l := realLoop(t)
	path := filepath.Join(t.TempDir(), "s")
	ln := socket(t, unix.AF_UNIX)
	if err := unix.Bind(ln, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(ln, 0); err != nil {
		t.Fatal(err)
	}
	cfg := netdial.Config{Network: "unix", Address: path}
	connected := 0
	var all []int
	for range 4 {
		netdial.Start(l, &cfg, func(fd int, _ netfd.Addr, err error) {
			if err != nil {
				t.Error(err)
			}
			all = append(all, fd)
			if connected++; connected == 4 {
				l.Stop()
			}
		})
	}
	var accept func()
	accept = func() {
		if fd, _, err := unix.Accept(ln); err == nil {
			unix.Close(fd)
		}
		l.CallLater(5*ms, accept)
	}
	if err := unix.SetNonblock(ln, true); err != nil {
		t.Fatal(err)
	}
	l.CallLater(20*ms, accept)
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	for _, fd := range all {
		netfd.CloseFD(fd)
	}
	cfg.AttemptTimeout = 10 * ms
	fill(t, path)
	if _, _, err := dial(t, l, &cfg); !errors.Is(err, os.ErrDeadlineExceeded) && err != nil {
		t.Errorf("a full queue: %v, want a timeout", err)
	}
}

// fill connects until the queue is full.
func fill(t *testing.T, path string) {
	t.Helper()
	for {
		fd, err := netfd.ConnectUnix(path)
		if err != nil {
			return
		}
		t.Cleanup(func() { unix.Close(fd) })
	}
}

// R13: 10⁴ mixed: refused, blackholed, canceled in flight, a dead first address, a
// live one. Each ends as it should, and no descriptor is left.
func TestMixedDials(t *testing.T) {
	n := 10_000
	if testing.Short() || raceEnabled {
		n = 2_000
	}
	dead, live, no := hole(t), serve(t, "tcp", "127.0.0.1:0"), refusing(t)
	l := realLoop(t)
	before := descriptors()
	rnd := rand.New(rand.NewPCG(13, 13))
	started, ended := 0, 0
	var count [5]int
	var next func()
	end := func(kind int, ok bool) {
		if !ok {
			t.Errorf("kind %d ended badly", kind)
		}
		count[kind]++
		if ended++; ended == n {
			l.Stop()
		}
		next()
	}
	next = func() {
		if started == n {
			return
		}
		started++
		kind := rnd.IntN(5)
		cfg := netdial.Config{FallbackDelay: ms, AttemptTimeout: time.Duration(1+rnd.IntN(8)) * ms}
		if kind == 2 || kind == 4 {
			cfg.AttemptTimeout = time.Minute
		}
		to := [][]string{{no, no}, {dead}, {dead, live}, {dead, no}, {live}}[kind]
		d := netdial.StartAddrs(l, &cfg, addrs(to...), func(fd int, _ netfd.Addr, err error) {
			if fd >= 0 {
				unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
				netfd.CloseFD(fd)
			}
			switch kind {
			case 0:
				end(kind, errors.Is(err, syscall.ECONNREFUSED))
			case 1, 3:
				end(kind, errors.Is(err, os.ErrDeadlineExceeded))
			default:
				end(kind, err == nil && fd >= 0)
			}
		})
		if kind == 3 || rnd.IntN(10) == 0 { // canceled at some moment, or too late
			l.CallLater(time.Duration(rnd.IntN(3000))*time.Microsecond, func() {
				if d.Cancel() {
					end(kind, true)
				}
			})
		}
	}
	for range 200 {
		next()
	}
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if after := eventually(before); after > before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
	t.Logf("refused %d, blackholed %d, dead and live %d, canceled or dead %d, live %d", count[0], count[1], count[2], count[3], count[4])
}

// deaf returns a resolver whose questions hang until they are given up. asked, if
// not nil, hears of each.
func deaf(asked chan<- struct{}) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if asked == nil {
			return nil, errors.New("nobody to ask")
		}
		asked <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
}
