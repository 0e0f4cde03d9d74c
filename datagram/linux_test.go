package datagram_test

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/eddyloop/eddy/datagram"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// A writer waits while the receiver's queue is full, which happens to be full of
// somebody else's datagrams, and nothing is lost. On other systems it gets ENOBUFS.
func TestUnixWriterWaits(t *testing.T) {
	run(t, func(ctx context.Context) error {
		at := filepath.Join(t.TempDir(), "s")
		srv, err := datagram.ListenUnix(ctx, at)
		must(t, err)
		defer srv.Close()
		filler, err := datagram.ListenUnix(ctx, at+"f")
		must(t, err)
		defer filler.Close()
		c, err := datagram.DialUnix(ctx, "", at)
		must(t, err)
		defer c.Close()
		free, err := datagram.ListenUnix(ctx, at+"w")
		must(t, err)
		defer free.Close()
		filled := 0
		for ; filler.TryWriteTo([]byte("f"), at) == nil; filled++ {
		}
		wantErr(t, "TryWrite", c.TryWrite([]byte("c")), datagram.ErrWouldBlock)
		writers := []*task.Task[struct{}]{
			task.Go(ctx, func(ctx context.Context) error { return c.Write(ctx, []byte("c")) }),
			task.Go(ctx, func(ctx context.Context) error { return free.WriteTo(ctx, []byte("w"), at) }),
		}
		polls := loop.FromContext(ctx).Stats().Polls
		must(t, task.Sleep(ctx, 20*time.Millisecond))
		if polls = loop.FromContext(ctx).Stats().Polls - polls; polls > 30 {
			t.Errorf("the loop has looked %d times while the writers waited", polls)
		}
		wantErr(t, "a second writer", free.TryWriteTo(nil, at), datagram.ErrBusy)
		for _, w := range writers {
			if w.Done() {
				t.Error("a writer did not wait")
			}
		}
		p := make([]byte, 4)
		for range filled + 2 {
			if _, err := srv.Read(ctx, p); err != nil {
				return err
			}
		}
		_, err = task.Gather(ctx, writers...)
		return err
	})
}

// A canceled writer has sent nothing, and the retry does not outlive it.
func TestUnixWriterCanceled(t *testing.T) {
	run(t, func(ctx context.Context) error {
		at := filepath.Join(t.TempDir(), "s")
		srv, err := datagram.ListenUnix(ctx, at)
		must(t, err)
		defer srv.Close()
		c, err := datagram.ListenUnix(ctx, at+"c")
		must(t, err)
		defer c.Close()
		filled := 0
		for ; c.TryWriteTo([]byte("f"), at) == nil; filled++ {
		}
		for range 3 { // each anew
			w := task.Go(ctx, func(ctx context.Context) error { return c.WriteTo(ctx, []byte("w"), at) })
			must(t, task.Sleep(ctx, 5*time.Millisecond))
			w.Cancel(nil)
			_, err = w.Await(ctx)
			wantErr(t, "the writer", err, context.Canceled)
		}
		p := make([]byte, 4)
		for range filled {
			if n, err := srv.Read(ctx, p); string(p[:n]) != "f" || err != nil {
				t.Fatalf("read %q, %v", p[:n], err)
			}
		}
		must(t, task.Sleep(ctx, 40*time.Millisecond))
		if _, err := srv.TryRead(p); err != datagram.ErrWouldBlock {
			t.Errorf("TryRead: %v", err)
		}
		return nil
	})
}

func TestMulticast(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	must(t, err)
	for _, tt := range []struct {
		network, group string
		send           bool
	}{
		{"udp4", "224.0.0.251", true},
		{"udp", "224.0.0.251", true}, // a socket of both families
		{"udp6", "ff02::fb", false},  // there is no route over the loopback
	} {
		t.Run(tt.network+" "+tt.group, func(t *testing.T) {
			run(t, func(ctx context.Context) error {
				group := netip.MustParseAddr(tt.group)
				a, err := datagram.Listen(ctx, tt.network, ":0")
				must(t, err)
				defer a.Close()
				must(t, a.JoinGroup(group, lo))
				b, err := datagram.Listen(ctx, tt.network, ":0")
				must(t, err)
				defer b.Close()
				must(t, b.SetMulticastInterface(lo))
				must(t, b.SetMulticastTTL(1))
				must(t, b.SetMulticastLoopback(true))
				if tt.send {
					hear(ctx, t, a, b, group)
				}
				must(t, a.LeaveGroup(group, lo))
				if err := a.LeaveGroup(group, lo); err == nil {
					t.Error("left twice")
				}
				return nil
			})
		})
	}
}

// hear sends from b to the group, which a has joined.
func hear(ctx context.Context, t *testing.T, a, b *datagram.Conn, group netip.Addr) {
	must(t, b.WriteTo(ctx, []byte("all"), netip.AddrPortFrom(group, a.LocalAddrPort().Port())))
	must(t, task.Timeout(ctx, 5*time.Second, func(ctx context.Context, _ *task.TimeoutScope) error {
		p := make([]byte, 8)
		n, from, err := a.ReadFrom(ctx, p)
		if string(p[:n]) != "all" || from.Port() != b.LocalAddrPort().Port() {
			t.Errorf("read %q from %v", p[:n], from)
		}
		return err
	}))
}

// flood sends n datagrams as fast as it can, while a reader takes what it can.
func flood(t *testing.T, n, pause int) {
	run(t, func(ctx context.Context) error {
		cfg := datagram.Config{ReadBuffer: 1 << 16}
		a, err := cfg.Listen(ctx, "udp4", "127.0.0.1:0")
		must(t, err)
		defer a.Close()
		received := uint64(0)
		reader := task.Go(ctx, func(ctx context.Context) error {
			p := make([]byte, 16)
			for {
				if _, err := a.Read(ctx, p); err != nil {
					return err
				}
				received++
			}
		})
		b := dial(ctx, t, a.LocalAddrPort())
		defer b.Close()
		p := make([]byte, 16)
		for i := range n {
			for err := b.TryWrite(p); err != nil; err = b.TryWrite(p) {
				if err != datagram.ErrWouldBlock {
					return err
				}
				must(t, await(ctx, b.Writable()))
			}
			if i%pause == 0 {
				must(t, task.Yield(ctx)) // a look at the kernel takes some of these
			}
		}
		must(t, task.Sleep(ctx, 20*time.Millisecond))
		s := a.Stats()
		t.Logf("%d sent, %d received, %d dropped", n, received, s.Dropped)
		if s.Received != received || s.Received+s.Dropped != uint64(n) || s.Dropped == 0 || b.Stats().Sent != uint64(n) {
			t.Errorf("of %d sent the reader has %d; stats %+v, sender %+v", n, received, s, b.Stats())
		}
		reader.Cancel(nil)
		_, err = reader.Await(ctx)
		wantErr(t, "the reader", err, context.Canceled)
		must(t, a.Close())
		if s2 := a.Stats(); s2 != s {
			t.Errorf("stats %+v after Close, %+v before", s2, s)
		}
		return nil
	})
}

func await(ctx context.Context, w future.Waiter) error {
	_, _, err := task.Wait(ctx, task.FirstCompleted, w)
	return err
}

// R31: what was lost the kernel has counted.
func TestDropsAreCounted(t *testing.T) { flood(t, 20_000, 500) }

// R31 with 10⁶ datagrams.
func TestLargeDropsAreCounted(t *testing.T) {
	n := 1_000_000
	if raceEnabled {
		n /= 50
	}
	flood(t, n, 500)
}
