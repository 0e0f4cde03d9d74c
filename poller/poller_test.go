//go:build unix

package poller_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/poller"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPoller(t *testing.T) { looptest.TestPoller(t, poller.New) }

func TestNames(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{poller.Interest(0).String(), "0"},
		{(poller.Readable | poller.Writable | poller.Edge).String(), "Readable|Writable|Edge"},
		{poller.Ready(0).String(), "0"},
		{(poller.CanRead | poller.HangUp).String(), "CanRead|HangUp"},
		{(poller.CanWrite | poller.Failed).String(), "CanWrite|Failed"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func open(b *testing.B) poller.Poller {
	p, err := poller.New()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	return p
}

// BenchmarkWaitZero is a look at a queue of n silent descriptors.
func BenchmarkWaitZero(b *testing.B) {
	for _, bb := range []struct {
		name string
		n    int
	}{{"1", 1}, {"100", 100}} {
		b.Run(bb.name, func(b *testing.B) {
			p := open(b)
			for i := range bb.n {
				fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
				if err != nil {
					b.Fatal(err)
				}
				defer unix.Close(fds[0])
				defer unix.Close(fds[1])
				if err := p.Add(fds[0], poller.Token(i), poller.Readable); err != nil {
					b.Fatal(err)
				}
			}
			events := make([]poller.Event, 64)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := p.Wait(events, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWaitReady is the price of an event: 64 level-triggered descriptors, ready all the time.
func BenchmarkWaitReady(b *testing.B) {
	p := open(b)
	const n = 64
	for i := range n {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer unix.Close(fds[0])
		defer unix.Close(fds[1])
		if err := p.Add(fds[0], poller.Token(i), poller.Writable); err != nil {
			b.Fatal(err)
		}
	}
	events := make([]poller.Event, n)
	b.ReportAllocs()
	for b.Loop() {
		if got, _, err := p.Wait(events, 0); got != n || err != nil {
			b.Fatal(got, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
}

// BenchmarkWakeWait rings and hears, on one goroutine, and between two with a blocking Wait; the
// channels are the honest alternative to the latter.
func BenchmarkWakeWait(b *testing.B) {
	b.Run("same goroutine", func(b *testing.B) {
		p := open(b)
		events := make([]poller.Event, 64)
		b.ReportAllocs()
		for b.Loop() {
			p.Wake()
			if _, woken, err := p.Wait(events, 0); !woken || err != nil {
				b.Fatal(woken, err)
			}
		}
	})
	b.Run("coalesced", func(b *testing.B) {
		p := open(b)
		b.ReportAllocs()
		for b.Loop() {
			p.Wake()
		}
	})
	b.Run("two goroutines", func(b *testing.B) {
		p := open(b)
		events := make([]poller.Event, 64)
		ping := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range ping {
				p.Wake()
			}
		}()
		b.ReportAllocs()
		for b.Loop() {
			ping <- struct{}{}
			for woken := false; !woken; {
				_, woken, _ = p.Wait(events, -1)
			}
		}
		close(ping)
		<-done
	})
	b.Run("two goroutines, channels", func(b *testing.B) {
		ping, pong := make(chan struct{}), make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range ping {
				pong <- struct{}{}
			}
		}()
		b.ReportAllocs()
		for b.Loop() {
			ping <- struct{}{}
			<-pong
		}
		close(ping)
		<-done
	})
}

// BenchmarkSubMillisecond reports how late a wait of 300 µs ends, beside time.Sleep.
func BenchmarkSubMillisecond(b *testing.B) {
	const d = 300 * time.Microsecond
	late := func(b *testing.B, wait func()) {
		var sum time.Duration
		b.ReportAllocs()
		for b.Loop() {
			start := time.Now()
			wait()
			sum += time.Since(start) - d
		}
		b.ReportMetric(float64(sum.Nanoseconds())/float64(b.N), "ns-late/op")
	}
	b.Run("Wait", func(b *testing.B) {
		p := open(b)
		events := make([]poller.Event, 1)
		late(b, func() { p.Wait(events, d) })
	})
	b.Run("time.Sleep", func(b *testing.B) {
		late(b, func() { time.Sleep(d) })
	})
}
