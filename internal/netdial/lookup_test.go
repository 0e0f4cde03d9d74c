//go:build unix

package netdial_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
)

func TestResolve(t *testing.T) {
	l := realLoop(t)
	for _, tt := range []struct {
		network, address string
		passive          bool
		want             string // of which one is
		err              bool
	}{
		{"udp", "localhost:9", false, "127.0.0.1:9", false},
		{"tcp", "localhost:9", true, "127.0.0.1:9", false},
		{"tcp4", "127.0.0.1:http", false, "127.0.0.1:80", false},
		{"udp", "127.0.0.1:9", false, "127.0.0.1:9", false},
		{"udp", ":9", true, "0.0.0.0:9", false},
		{"udp", "127.0.0.1:no-such-service", false, "", true},
		{"udp", "127.0.0.1", false, "", true},
		{"ip", "127.0.0.1:1", false, "", true},
	} {
		calls := 0
		netdial.Resolve(l, tt.network, tt.address, tt.passive, func(as []netfd.Addr, err error) {
			calls++
			if (err != nil) != tt.err || err == nil && !slices.Contains(as, addr(tt.want)) {
				t.Errorf("Resolve(%q, %q) = %v, %v; want %s", tt.network, tt.address, as, err, tt.want)
			}
			l.Stop()
		})
		if calls != 0 {
			t.Error("done was called by Resolve")
		}
		testkit.Must(t, l.Run())
		if calls != 1 {
			t.Errorf("done was called %d times", calls)
		}
	}
}

func TestLookupAddr(t *testing.T) {
	l := realLoop(t)
	netdial.LookupAddr(l, netip.MustParseAddr("127.0.0.1"), func(names []string, err error) {
		if err != nil || !slices.Contains(names, "localhost") {
			t.Errorf("names of this machine: %v, %v", names, err)
		}
		l.Stop()
	})
	testkit.Must(t, l.Run())
}

func TestResolveCanceled(t *testing.T) {
	l := realLoop(t)
	called := func([]netfd.Addr, error) { t.Error("done after cancel") }
	for _, address := range []string{"localhost:9", "127.0.0.1:9"} {
		cancel := netdial.Resolve(l, "tcp", address, false, called)
		cancel()
		cancel()
		netdial.LookupAddr(l, netip.MustParseAddr("127.0.0.1"), func([]string, error) { t.Error("done after cancel") })()
	}
	l.CallLater(20*ms, l.Stop)
	testkit.Must(t, l.Run())
	if running, waiting := netdial.Lookups(l); running+waiting != 0 {
		t.Errorf("%d lookups run, %d wait", running, waiting)
	}
}

// R59, and the time-outs of a pool that everybody shares: 200 lookups that hang
// take 64 goroutines and nothing else; those given up make room for the rest in
// the order they came, and a dial by number does not notice.
func TestStuckLookups(t *testing.T) {
	l := realLoop(t)
	asked := make(chan struct{}, 1000)
	cfg := netdial.Config{Address: "stuck.invalid:1", Resolver: deaf(asked)}
	var ended []int
	var ds []*netdial.Dial
	for i := range 200 {
		cfg.Address = fmt.Sprintf("stuck%d.invalid:1", i)
		ds = append(ds, netdial.Start(l, &cfg, func(int, netfd.Addr, error) { ended = append(ended, i) }))
	}
	check := func(wantRunning, wantWaiting int) {
		t.Helper()
		if r, w := netdial.Lookups(l); r != wantRunning || w != wantWaiting {
			t.Errorf("%d run, %d wait; want %d, %d", r, w, wantRunning, wantWaiting)
		}
	}
	check(64, 136)
	start := time.Now()
	if _, _, err := dial(t, l, &netdial.Config{Address: serve(t, "tcp", "127.0.0.1:0")}); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("a dial by number took %v", d)
	}
	for i := 64; i < 190; i++ { // of those that wait
		if !ds[i].Cancel() {
			t.Error("Cancel came too late")
		}
	}
	check(64, 10)
	for i := range 64 {
		ds[i].Cancel()
	}
	check(64, 10) // until the resolver has heard of it
	for i := 0; i < 1000; i++ {
		if r, w := netdial.Lookups(l); r == 10 && w == 0 {
			break
		}
		l.CallLater(ms, l.Stop)
		testkit.Must(t, l.Run())
	}
	check(10, 0)
	for i := 190; i < 200; i++ {
		ds[i].Cancel()
	}
	for i := 0; i < 1000; i++ {
		if r, _ := netdial.Lookups(l); r == 0 {
			break
		}
		l.CallLater(ms, l.Stop)
		testkit.Must(t, l.Run())
	}
	check(0, 0)
	if len(ended) != 0 {
		t.Errorf("done of canceled dials: %v", ended)
	}
}

// Names are answered in the order they came if the resolver does so.
func TestLookupsInLine(t *testing.T) {
	l := realLoop(t)
	const n = 300
	ended := 0
	for range n {
		netdial.Resolve(l, "tcp", "localhost:1", false, func(_ []netfd.Addr, err error) {
			if err != nil {
				t.Error(err)
			}
			if r, _ := netdial.Lookups(l); r > netdial.MaxLookups {
				t.Errorf("%d lookups run", r)
			}
			if ended++; ended == n {
				l.Stop()
			}
		})
	}
	testkit.Must(t, l.Run())
	if r, w := netdial.Lookups(l); r+w != 0 {
		t.Errorf("%d lookups run, %d wait", r, w)
	}
}

// Virtual time stands still while a lookup runs or waits, and not for one that was
// given up.
func TestLookupHoldsTime(t *testing.T) {
	l := testkit.NewLoop(t, loop.Config{})
	start := l.Now()
	for range 2 * netdial.MaxLookups {
		netdial.Resolve(l, "tcp", "localhost:1", false, func([]netfd.Addr, error) {
			if !l.Now().Equal(start) {
				t.Error("time has passed")
			}
		})
	}
	slow := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		time.Sleep(20 * ms)
		return nil, errors.New("nobody to ask")
	}}
	netdial.Start(l, &netdial.Config{Address: "slow.invalid:1", Resolver: slow}, func(int, netfd.Addr, error) {
		if !l.Now().Equal(start) {
			t.Error("time has passed")
		}
	})
	l.CallLater(time.Hour, l.Stop)
	testkit.Must(t, l.Run())

	asked := make(chan struct{}, 1000)
	cfg := netdial.Config{Address: "stuck.invalid:1", Resolver: deaf(asked)}
	d := netdial.Start(l, &cfg, func(int, netfd.Addr, error) { t.Error("done after Cancel") })
	<-asked
	if !l.Outside() {
		t.Error("a lookup does not hold time")
	}
	if d.Cancel(); l.Outside() {
		t.Error("a lookup that was given up holds time")
	}
	l.CallLater(time.Hour, l.Stop)
	testkit.Must(t, l.Run()) // ends
}

// Closing the loop gives lookups up, those in line too.
func TestCloseEndsLookups(t *testing.T) {
	l, err := loop.New(loop.Config{})
	testkit.Must(t, err)
	asked := make(chan struct{}, 1000)
	cfg := netdial.Config{Address: "stuck.invalid:1", Resolver: deaf(asked)}
	var ds []*netdial.Dial
	for i := range 100 {
		cfg.Address = fmt.Sprintf("stuck%d.invalid:1", i) // the resolver asks once for a name
		ds = append(ds, netdial.Start(l, &cfg, func(int, netfd.Addr, error) { t.Error("done of a closed loop") }))
	}
	for range netdial.MaxLookups {
		<-asked
	}
	testkit.Must(t, l.Close())
	ds[0].Cancel() // does nothing any more
	ds[99].Cancel()
	if _, w := netdial.Lookups(l); w != 0 {
		t.Errorf("%d wait on a closed loop", w)
	}
	// That the goroutines end is goleak's to see.
}

// A failed lookup is told as such, with what the resolver said.
func TestLookupFails(t *testing.T) {
	l := realLoop(t)
	_, _, err := dial(t, l, &netdial.Config{Address: "nobody.invalid:80", Resolver: deaf(nil)})
	var dns *net.DNSError
	if !errors.As(err, &dns) || dns.Name != "nobody.invalid" {
		t.Errorf("%v, want a *net.DNSError", err)
	}
}
