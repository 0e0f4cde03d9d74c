//go:build linux && !pollonly

package poller_test

import (
	"testing"
	"time"

	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/poller"
)

// Kernels before 5.11 have no epoll_pwait2 and wait in milliseconds.
func TestPollerMillis(t *testing.T) {
	looptest.TestPoller(t, func() (poller.Poller, error) {
		p, err := poller.New()
		if err == nil {
			poller.DisablePwait2(p)
		}
		return p, err
	})
}

func TestMillisRoundUp(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want int
	}{
		{-1, -1},
		{0, 0},
		{1, 1},
		{time.Millisecond, 1},
		{time.Millisecond + 1, 2},
		{1e6 * time.Second, 1e9},
	} {
		if got := poller.Millis(tt.d); got != tt.want {
			t.Errorf("Millis(%v) = %d, want %d", tt.d, got, tt.want)
		}
	}
}

// A full eventfd refuses the write that would be the edge.
func TestWakeFullEventfd(t *testing.T) {
	p, err := poller.New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	events := make([]poller.Event, 1)
	if err := poller.FillBell(p); err != nil {
		t.Fatal(err)
	}
	if _, woken, err := p.Wait(events, 0); !woken || err != nil {
		t.Fatalf("Wait = %v, %v; want the edge of filling it", woken, err)
	}
	for range 3 {
		if err := p.Wake(); err != nil {
			t.Fatal(err)
		}
		if _, woken, err := p.Wait(events, 0); !woken || err != nil {
			t.Fatalf("Wait = %v, %v; want a wake-up", woken, err)
		}
	}
}
