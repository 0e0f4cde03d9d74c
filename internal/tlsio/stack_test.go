package tlsio_test

import (
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/internal/tlsio"
)

// TestAbandonInEachStep leaves handshakes of both sides after each of their steps,
// every byte of the peer's being one.
func TestAbandonInEachStep(t *testing.T) {
	for _, way := range ways {
		for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(way.name+"/"+tls.VersionName(v), func(t *testing.T) {
				before := goleak.IgnoreCurrent()
				places := 0
				for steps := 0; ; steps++ {
					c, s := newPair(t, way, clientTLS(), versions(serverTLS(), v))
					if !stepsOf(c, s, 100*steps) {
						break
					}
					for _, e := range []*end{c, s} {
						abandon(t, e)
					}
					places++
				}
				if places < 10 {
					t.Errorf("only %d places to leave", places)
				}
				if way.name == onThread.name {
					testkit.Must(t, goleak.Find(before))
				}
			})
		}
	}
}

// stepsOf takes n steps, each with a byte. It reports false if the handshakes are
// done before.
func stepsOf(c, s *end, n int) bool {
	_ = c.Handshake()
	for n > 0 {
		moved := 0
		for _, dir := range [][2]*end{{c, s}, {s, c}} {
			for _, b := range slices.Clone(dir[0].Pending()) {
				if n == 0 {
					return true
				}
				n--
				moved++
				dir[1].Feed([]byte{b})
				dir[0].Advance(1)
				_ = dir[1].Handshake()
			}
		}
		if moved == 0 {
			return false
		}
	}
	return true
}

func abandon(t *testing.T, e *end) {
	t.Helper()
	want := error(net.ErrClosed)
	if !e.Shaking() {
		want = nil // it was done already
	}
	for range 2 {
		e.Abandon()
		if err := e.Handshake(); err != want || e.Shaking() {
			t.Errorf("%s, Handshake after Abandon: %v, want %v", e.in.at, err, want)
		}
	}
	if want != nil {
		if e.State().HandshakeComplete {
			t.Errorf("%s is abandoned and complete", e.in.at)
		}
		if _, err := e.TryRead(make([]byte, 1)); err != want {
			t.Errorf("TryRead: %v", err)
		}
		e.Feed([]byte("late"))
	}
}

func TestStacksAreGivenBack(t *testing.T) {
	pool := new(coro.Pool)
	defer pool.Close()
	way := stacks{"", func(testing.TB) *coro.Pool { return pool }}
	for range 5 {
		connected(t, way, clientTLS(), serverTLS())
		c, _ := newPair(t, way, clientTLS(), serverTLS())
		_ = c.Handshake()
		c.Abandon()
	}
	if n := pool.Idle(); n != 2 {
		t.Errorf("%d stacks, want the 2 of one handshake after another", n)
	}
}

func TestSilentPeerCostsNoStack(t *testing.T) {
	pool := new(coro.Pool)
	defer pool.Close()
	_, s := newPair(t, stacks{"", func(testing.TB) *coro.Pool { return pool }}, clientTLS(), serverTLS())
	_ = s.Handshake()
	s.Abandon()
	if n := pool.Idle(); n != 0 {
		t.Errorf("%d stacks were made", n)
	}
}

func TestPanicOfCallback(t *testing.T) {
	errBoom := errors.New("boom")
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			server := serverTLS()
			server.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic(errBoom) }
			server.Certificates = nil
			c, s := newPair(t, way, clientTLS(), server)
			_ = c.Handshake()
			feed(c, s)
			v := testkit.Panics(t, func() { _ = s.Handshake() })
			if e, ok := v.(*coro.PanicError); !ok || e.Value != errBoom {
				t.Errorf("panicked with %v", v)
			}
			if err := s.Handshake(); !errors.Is(err, errBoom) {
				t.Errorf("Handshake again: %v", err)
			}
		})
	}
}

func TestGoexitOfCallback(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			client := clientTLS()
			client.VerifyConnection = func(tls.ConnectionState) error { runtime.Goexit(); return nil }
			c, s := newPair(t, way, client, serverTLS())
			exited := true
			var wg sync.WaitGroup
			wg.Go(func() {
				_ = c.Handshake()
				feed(c, s)
				_ = s.Handshake()
				feed(s, c)
				_ = c.Handshake()
				exited = false
			})
			wg.Wait()
			if !exited {
				t.Error("Handshake has returned")
			}
			if err := c.Handshake(); err != coro.ErrGoexit {
				t.Errorf("Handshake again: %v", err)
			}
		})
	}
}

// TestStepsOfManyGoroutines makes each step on another goroutine, half of them
// locked to threads, which coroutines do not survive.
func TestStepsOfManyGoroutines(t *testing.T) {
	for _, abandonAfter := range []int{1, 2, 3, 100} {
		step := 0
		elsewhere := func(fn func()) {
			step++
			done := make(chan struct{})
			go func() {
				defer close(done)
				if step%2 == 0 {
					runtime.LockOSThread()
					defer runtime.UnlockOSThread()
				}
				fn()
			}()
			<-done
		}
		c, s := newPair(t, onThread, clientTLS(), serverTLS())
		for range 5 {
			if step == abandonAfter {
				break
			}
			elsewhere(func() { _ = c.Handshake() })
			feed(c, s)
			elsewhere(func() { _ = s.Handshake() })
			feed(s, c)
		}
		if abandonAfter < 100 {
			elsewhere(c.Abandon)
			elsewhere(s.Abandon)
			continue
		}
		testkit.Must(t, c.Handshake())
		testkit.Must(t, s.Handshake())
		chat(t, c, s, randomly(7))
	}
}

// TestHandshakeElsewhere has steps of a handshake made elsewhere while the loop, which
// is the test, uses what its engines share.
func TestHandshakeElsewhere(t *testing.T) {
	bufs := new(tlsio.Buffers)
	busyClient, busyServer := newEnds(nil, bufs, clientTLS(), serverTLS())
	_, _ = shake(t, busyClient, busyServer)
	meanwhile := func(step func() error) error {
		done := make(chan error)
		go func() { done <- step() }()
		for {
			chat(t, busyClient, busyServer, pieces(4096))
			select {
			case err := <-done:
				return err
			default:
			}
		}
	}
	for range 3 {
		c, s := newEnds(nil, bufs, clientTLS(), serverTLS())
		for c.Shaking() || s.Shaking() {
			cerr := meanwhile(c.Handshake)
			feed(c, s)
			serr := meanwhile(s.Handshake)
			feed(s, c)
			for _, err := range []error{cerr, serr} {
				if err != nil && err != netfd.ErrWouldBlock {
					t.Fatal(err)
				}
			}
		}
		chat(t, c, s, randomly(9))
	}
}

// TestLockedThread is a handshake on the stacks of a loop that is locked to its
// thread: a mistake is a fatal error of the runtime.
func TestLockedThread(t *testing.T) {
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		pool := new(coro.Pool)
		defer pool.Close()
		for _, p := range []*coro.Pool{pool, nil} {
			way := stacks{"", func(testing.TB) *coro.Pool { return p }}
			c, s := newPair(t, way, clientTLS(), serverTLS())
			if cerr, serr := shake(t, c, s); cerr != nil || serr != nil {
				t.Errorf("handshake: client %v, server %v", cerr, serr)
			}
			c, _ = newPair(t, way, clientTLS(), serverTLS())
			if err := c.Handshake(); err != netfd.ErrWouldBlock {
				t.Error(err)
			}
			c.Abandon()
		}
	})
	wg.Wait()
}
