//go:build unix

package datagram_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/datagram"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs fn on a loop with the system's clock, and checks that it leaves no
// descriptor open.
func run(t *testing.T, fn func(ctx context.Context) error) {
	t.Helper()
	before := descriptors()
	looptest.RunConfig(t, looptest.Config{Real: true, Loop: loop.Config{}}, fn)
	after := descriptors()
	for wait := time.Millisecond; after > before && wait < time.Second; wait *= 2 {
		time.Sleep(wait) // a lookup that was given up has a socket until the resolver has heard of it
		after = descriptors()
	}
	if after > before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
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

func listen(ctx context.Context, t testing.TB) *datagram.Conn {
	t.Helper()
	return listenAt(ctx, t, "127.0.0.1:0")
}

func listenAt(ctx context.Context, t testing.TB, address string) *datagram.Conn {
	t.Helper()
	c, err := datagram.Listen(ctx, "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func dial(ctx context.Context, t testing.TB, to netip.AddrPort) *datagram.Conn {
	t.Helper()
	c, err := datagram.Dial(ctx, "udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if err == nil || !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
