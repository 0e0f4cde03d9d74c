package netdial_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func addr(s string) netfd.Addr {
	a := netip.MustParseAddrPort(s)
	return netfd.AddrFrom(a.Addr(), netdial.ZoneIndex(a.Addr().Zone()), a.Port())
}

func addrs(ss ...string) (as []netfd.Addr) {
	for _, s := range ss {
		as = append(as, addr(s))
	}
	return as
}

func name(a netfd.Addr) string { return netdial.TCPAddr(&a).String() }

// Addresses of the tests on a virtual clock.
const (
	six1, six2, six3 = "[2001:db8::1]:80", "[2001:db8::2]:80", "[2001:db8::3]:80"
	four1, four2     = "192.0.2.1:80", "192.0.2.2:80"
)

// A fakeNet connects as it is told: per address, after how long and with what. An
// address without an entry never answers.
type fakeNet map[string]fate

type fate struct {
	after  time.Duration
	err    error
	atOnce bool // the connect itself fails
}

var errRefused = errors.New("refused")

// connectTo makes cfg connect through f, and writes down what happens when.
func (f fakeNet) connectTo(l *loop.Loop, cfg *netdial.Config, j *testkit.Journal) {
	start, next := l.Now(), 100
	at := func() time.Duration { return l.Now().Sub(start) }
	netdial.FakeConnect(cfg, func(to netfd.Addr, end func(int, error)) (func(), error) {
		j.Log("%v begin %s", at(), name(to))
		fd := next
		next++
		t, ok := f[name(to)]
		if t.atOnce {
			return nil, t.err
		}
		var h *loop.Handle
		if ok {
			h = l.CallLater(t.after, func() { end(fd, t.err) })
		}
		return func() {
			if h != nil {
				h.Cancel()
			}
			j.Log("%v close %s", at(), name(to))
		}, nil
	})
}

const ms = time.Millisecond

// Edge 124: all addresses are tried, errors are merged; happy eyeballs cancels the
// losers.
func TestEdge124_HappyEyeballs(t *testing.T) {
	for _, tt := range []struct {
		name    string
		cfg     netdial.Config
		net     fakeNet
		to      []string
		happens []string
		peer    string // or
		errs    []string
	}{
		{
			"the first answers in time",
			netdial.Config{},
			fakeNet{six1: {after: 249 * ms}},
			[]string{six1, four1},
			[]string{"0s begin " + six1},
			six1, nil,
		},
		{
			"the second begins after 250 ms and wins",
			netdial.Config{},
			fakeNet{four1: {after: 30 * ms}},
			[]string{six1, four1},
			[]string{"0s begin " + six1, "250ms begin " + four1, "280ms close " + six1},
			four1, nil,
		},
		{
			"the first wins although others have begun",
			netdial.Config{FallbackDelay: 100 * ms},
			fakeNet{six1: {after: 310 * ms}},
			[]string{six1, six2, four1, four2, six3},
			[]string{
				"0s begin " + six1, "100ms begin " + four1, "200ms begin " + six2, "300ms begin " + four2,
				"310ms close " + four1, "310ms close " + six2, "310ms close " + four2,
			},
			six1, nil,
		},
		{
			"a failure begins the next at once, which has its whole delay",
			netdial.Config{},
			fakeNet{six1: {10 * ms, errRefused, false}, six2: {after: 20 * ms}},
			[]string{six1, four1, six2},
			[]string{"0s begin " + six1, "10ms begin " + four1, "260ms begin " + six2, "280ms close " + four1},
			six2, nil,
		},
		{
			"a failure at the moment of the fallback begins one only",
			netdial.Config{},
			fakeNet{six1: {250 * ms, errRefused, false}, four1: {after: 300 * ms}},
			[]string{six1, four1, six2},
			[]string{"0s begin " + six1, "250ms begin " + four1, "500ms begin " + six2, "550ms close " + six2},
			four1, nil,
		},
		{
			"another's failure at the moment of the fallback begins one only",
			netdial.Config{},
			fakeNet{six1: {500 * ms, errRefused, false}, four1: {after: 550 * ms}},
			[]string{six1, four1, six2, four2},
			[]string{
				"0s begin " + six1, "250ms begin " + four1, "500ms begin " + six2, "750ms begin " + four2,
				"800ms close " + six2, "800ms close " + four2,
			},
			four1, nil,
		},
		{
			"connects that fail at once",
			netdial.Config{},
			fakeNet{six1: {0, errRefused, true}, six2: {0, errRefused, true}, four1: {after: ms}},
			[]string{six1, six2, four1},
			[]string{"0s begin " + six1, "0s begin " + four1},
			four1, nil,
		},
		{
			"all fail",
			netdial.Config{},
			fakeNet{six1: {300 * ms, errRefused, false}, four1: {10 * ms, errRefused, false}, six2: {0, errRefused, true}},
			[]string{six1, six2, four1},
			[]string{"0s begin " + six1, "250ms begin " + four1, "260ms begin " + six2},
			"",
			[]string{six1, four1, six2},
		},
		{
			"one after another, in the given order",
			netdial.Config{FallbackDelay: -1, AttemptTimeout: time.Second},
			fakeNet{six2: {2 * ms, errRefused, false}, four1: {after: 5 * ms}},
			[]string{six1, six2, four1},
			[]string{"0s begin " + six1, "1s close " + six1, "1s begin " + six2, "1.002s begin " + four1},
			four1, nil,
		},
		{
			"a timeout is a failure",
			netdial.Config{AttemptTimeout: 100 * ms},
			fakeNet{},
			[]string{six1, four1},
			[]string{"0s begin " + six1, "100ms close " + six1, "100ms begin " + four1, "200ms close " + four1},
			"",
			[]string{six1, four1},
		},
		{
			"a local address is of one family",
			netdial.Config{Local: addr("192.0.2.9:0")},
			fakeNet{},
			[]string{six1, four1, four2},
			[]string{"0s begin " + four1, "250ms begin " + four2},
			"never", nil,
		},
		{
			"a local port is one socket's",
			netdial.Config{Local: addr("192.0.2.9:99"), AttemptTimeout: time.Second},
			fakeNet{four2: {after: ms}},
			[]string{four1, four2},
			[]string{"0s begin " + four1, "1s close " + four1, "1s begin " + four2},
			four2, nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := testkit.NewLoop(t, loop.Config{})
			var j testkit.Journal
			tt.net.connectTo(l, &tt.cfg, &j)
			calls := 0
			var peer netfd.Addr
			var fd int
			var err error
			d := netdial.StartAddrs(l, &tt.cfg, addrs(tt.to...), func(gotFD int, p netfd.Addr, e error) {
				calls++
				fd, peer, err = gotFD, p, e
				l.CallLater(time.Hour, l.Stop) // is it the end?
			})
			if tt.peer == "never" {
				l.CallLater(time.Minute, l.Stop)
				testkit.Must(t, l.Run())
				j.Want(t, tt.happens...)
				if !d.Cancel() || d.Cancel() {
					t.Error("Cancel did not report true and then false")
				}
				j.Want(t, "1m0s close "+four1, "1m0s close "+four2)
				return
			}
			testkit.Must(t, l.Run())
			j.Want(t, tt.happens...)
			if calls != 1 || d.Cancel() {
				t.Errorf("done was called %d times, or Cancel came in time; want once", calls)
			}
			if tt.errs == nil {
				if err != nil || fd < 100 || peer != addr(tt.peer) {
					t.Errorf("done(%d, %s, %v), want %s", fd, name(peer), err, tt.peer)
				}
				return
			}
			if fd != -1 || peer.Valid() {
				t.Errorf("done(%d, %s, …) with an error", fd, name(peer))
			}
			checkMerged(t, err, tt.errs)
		})
	}
}

// checkMerged checks that err has an error for each address, in order.
func checkMerged(t *testing.T, err error, want []string) {
	t.Helper()
	all, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%v does not unwrap to all errors", err)
	}
	var got []string
	for _, err := range all.Unwrap() {
		oe := err.(*net.OpError)
		got = append(got, oe.Addr.String())
		if oe.Op != "dial" || oe.Net != "tcp" || !errors.Is(oe, errRefused) && !errors.Is(oe, os.ErrDeadlineExceeded) {
			t.Errorf("got %#v", oe)
		}
		if !strings.Contains(err.Error(), oe.Addr.String()) {
			t.Errorf("%v does not tell the address", err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("errors of %v, want %v", got, want)
	}
	var first *net.OpError
	if !errors.As(err, &first) || first.Addr.String() != want[0] {
		t.Errorf("found %v first, want that of %s", first, want[0])
	}
	var ne net.Error
	if timedOut := errors.Is(err, os.ErrDeadlineExceeded); !errors.As(err, &ne) || ne.Timeout() != timedOut {
		t.Errorf("Timeout is not %v", timedOut)
	}
}

func TestEdge124_OneErrorIsItself(t *testing.T) {
	l := testkit.NewLoop(t, loop.Config{})
	var j testkit.Journal
	cfg := netdial.Config{Address: four1}
	fakeNet{four1: {ms, errRefused, false}}.connectTo(l, &cfg, &j)
	netdial.Start(l, &cfg, func(fd int, _ netfd.Addr, err error) {
		if oe, ok := err.(*net.OpError); !ok || oe.Err != errRefused || fd != -1 {
			t.Errorf("done(%d, _, %v)", fd, err)
		}
		l.Stop()
	})
	testkit.Must(t, l.Run())
}

// The same for every moment at which Cancel may come.
func TestCancelAtAnyTime(t *testing.T) {
	for at := -1; at < 700; at += 10 {
		l := testkit.NewLoop(t, loop.Config{})
		var j testkit.Journal
		cfg := netdial.Config{AttemptTimeout: 400 * ms}
		fakeNet{six1: {90 * ms, errRefused, false}, six2: {after: 280 * ms}}.connectTo(l, &cfg, &j)
		called := false
		d := netdial.StartAddrs(l, &cfg, addrs(six1, four1, six2, four2), func(int, netfd.Addr, error) { called = true })
		inTime := false
		stop := func() {
			if inTime = d.Cancel(); inTime == called {
				t.Errorf("at %d: Cancel = %v, done called %v", at, inTime, called)
			}
		}
		if at < 0 {
			stop()
		} else {
			l.CallLater(time.Duration(at)*ms, stop)
		}
		l.CallLater(time.Hour, l.Stop)
		testkit.Must(t, l.Run())
		if called == inTime {
			t.Errorf("at %d: Cancel = %v, done called %v", at, inTime, called)
		}
		begun, closed := 0, 0
		for _, line := range j.Lines {
			if strings.Contains(line, "begin") {
				begun++
			} else {
				closed++
			}
		}
		// What has ended by itself is not closed here: the refused one, the winner.
		ended := 0
		if at >= 90 || !inTime {
			ended++
		}
		if !inTime {
			ended++
		}
		if begun != closed+ended {
			t.Errorf("at %d: %d begun, %d closed, %d ended: %v", at, begun, closed, ended, j.Lines)
		}
	}
}

func TestInterleave(t *testing.T) {
	for _, tt := range []struct{ in, want []string }{
		{[]string{six1, six2, six3, four1, four2}, []string{six1, four1, six2, four2, six3}},
		{[]string{four1, six1, six2, four2}, []string{four1, six1, four2, six2}},
		{[]string{four1, four2}, []string{four1, four2}},
		{[]string{six1}, []string{six1}},
	} {
		if got := netdial.Interleave(addrs(tt.in...)); !slices.Equal(got, addrs(tt.want...)) {
			t.Errorf("interleave(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestLiteral(t *testing.T) {
	for _, tt := range []struct {
		network, address string
		passive          bool
		want             string // "?": unknown, "!": error
	}{
		{"tcp", "192.0.2.1:80", false, "192.0.2.1:80"},
		{"tcp4", "192.0.2.1:80", false, "192.0.2.1:80"},
		{"tcp6", "192.0.2.1:80", false, "!"},
		{"tcp4", "[::1]:80", false, "!"},
		{"udp", "[2001:db8::1]:80", true, "[2001:db8::1]:80"},
		{"udp6", "[::ffff:192.0.2.1]:1", false, "!"},
		{"udp", "[::ffff:192.0.2.1]:1", false, "192.0.2.1:1"},
		{"tcp", "name:80", false, "?"},
		{"tcp", "192.0.2.1:http", false, "?"},
		{"tcp", "192.0.2.1:", false, "192.0.2.1:0"},
		{"tcp", ":80", false, "127.0.0.1:80 [::1]:80"},
		{"tcp6", ":80", false, "[::1]:80"},
		{"tcp", ":80", true, "[::]:80 0.0.0.0:80"},
		{"tcp4", ":80", true, "0.0.0.0:80"},
		{"tcp", "0.0.0.0:80", false, "127.0.0.1:80"},
		{"tcp", "[::]:80", false, "[::1]:80"},
		{"tcp", "0.0.0.0:80", true, "0.0.0.0:80"},
		{"tcp", "192.0.2.1:65536", false, "?"}, // the resolver says what is wrong
		{"tcp", "192.0.2.1", false, "!"},
		{"ip", "192.0.2.1:1", false, "!"},
		{"unix", "x.sock", false, "!"},
	} {
		as, known, err := netdial.Literal(tt.network, tt.address, tt.passive)
		var got string
		switch {
		case !known:
			got = "?"
		case err != nil:
			got = "!"
		default:
			for _, a := range as {
				got += " " + name(a)
			}
			got = got[1:]
		}
		if got != tt.want {
			t.Errorf("Literal(%q, %q, %v) = %s (%v), want %s", tt.network, tt.address, tt.passive, got, err, tt.want)
		}
	}
}

func TestAddrConversions(t *testing.T) {
	ifs, err := net.Interfaces()
	if err != nil || len(ifs) == 0 {
		t.Fatal("no interfaces", err)
	}
	a := addr("[fe80::1%" + ifs[0].Name + "]:9")
	if got, want := netdial.UDPAddr(&a).String(), fmt.Sprintf("[fe80::1%%%s]:9", ifs[0].Name); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := netdial.ZoneName(1 << 30); got != "1073741824" || netdial.ZoneIndex(got) != 1<<30 {
		t.Errorf("the name of no interface is %q, %d", got, netdial.ZoneIndex(got))
	}
	if got := netdial.ZoneIndex("no such interface"); got != 0 {
		t.Errorf("the index of no interface is %d", got)
	}
	if got := netdial.TCPAddr(new(netfd.Addr)).String(); got != ":0" {
		t.Errorf("no address is %q", got)
	}
}
