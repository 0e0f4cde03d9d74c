//go:build unix

package datagram_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eddyloop/eddy/datagram"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

func TestEcho(t *testing.T) {
	for _, tt := range []struct{ network, address, to string }{
		{"udp", "127.0.0.1:0", "127.0.0.1"},
		{"udp4", "127.0.0.1:0", "localhost"}, // a lookup
		{"udp6", "[::1]:0", "::1"},
		{"udp", ":0", "127.0.0.1"}, // a socket of both families
		{"udp", ":0", "::1"},
	} {
		t.Run(tt.network+" "+tt.address+" "+tt.to, func(t *testing.T) {
			run(t, func(ctx context.Context) error {
				srv, err := datagram.Listen(ctx, tt.network, tt.address)
				if err != nil {
					return err
				}
				defer srv.Close()
				_, port, _ := net.SplitHostPort(srv.LocalAddr().String())
				c, err := datagram.Dial(ctx, tt.network, net.JoinHostPort(tt.to, port))
				if err != nil {
					return err
				}
				defer c.Close()
				echo := task.Go(ctx, func(ctx context.Context) error {
					buf := make([]byte, 1500)
					for {
						n, from, err := srv.ReadFrom(ctx, buf)
						if err != nil {
							return err
						}
						if from != c.LocalAddrPort() {
							t.Errorf("from %v, want %v", from, c.LocalAddrPort())
						}
						if err := srv.WriteTo(ctx, buf[:n], from); err != nil {
							return err
						}
					}
				})
				buf := make([]byte, 1500)
				for _, m := range []string{"one", "", strings.Repeat("x", 1400)} {
					must(t, c.Write(ctx, []byte(m)))
					n, from, err := c.ReadFrom(ctx, buf)
					if string(buf[:n]) != m || from != c.RemoteAddrPort() || err != nil {
						t.Errorf("read %q from %v, %v; want %q from %v", buf[:n], from, err, m, c.RemoteAddrPort())
					}
				}
				if s := c.Stats(); s != (datagram.Stats{Received: 3, Sent: 3}) {
					t.Errorf("stats %+v", s)
				}
				echo.Cancel(nil)
				_, err = echo.Await(ctx)
				wantErr(t, "the canceled server", err, context.Canceled)
				return nil
			})
		})
	}
}

func TestTruncated(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := listen(ctx, t), listen(ctx, t)
		defer a.Close()
		defer b.Close()
		for _, m := range []string{"longer", "four", "longer still"} {
			must(t, b.WriteTo(ctx, []byte(m), a.LocalAddrPort()))
		}
		p := make([]byte, 4)
		n, from, err := a.ReadFrom(ctx, p)
		if string(p[:n]) != "long" || from != b.LocalAddrPort() || err != datagram.ErrTruncated {
			t.Errorf("read %q from %v, %v", p[:n], from, err)
		}
		if n, err := a.Read(ctx, p); string(p[:n]) != "four" || err != nil {
			t.Errorf("read %q, %v", p[:n], err)
		}
		if n, err := a.Read(ctx, nil); n != 0 || err != datagram.ErrTruncated { // drops one
			t.Errorf("read %d, %v", n, err)
		}
		if _, err := a.TryRead(p); err != datagram.ErrWouldBlock {
			t.Errorf("TryRead: %v", err)
		}
		if s := a.Stats(); s.Received != 3 || s.Truncated != 2 {
			t.Errorf("stats %+v", s)
		}
		return nil
	})
}

// nobody returns an address where nobody listens.
func nobody(ctx context.Context, t testing.TB) netip.AddrPort {
	c := listen(ctx, t)
	defer c.Close()
	return c.LocalAddrPort()
}

// Edge 114: a send error on a connected socket is told, and not fatal. R31: what
// the network says is an error of the next call only.
func TestEdge114_ErrorsAreNotFatal(t *testing.T) {
	run(t, func(ctx context.Context) error {
		to := nobody(ctx, t)
		c := dial(ctx, t, to)
		defer c.Close()
		p := make([]byte, 8)
		// Of Read, that waits and that is called later.
		reader := task.Go(ctx, func(ctx context.Context) error {
			_, err := c.Read(ctx, p)
			return err
		})
		must(t, task.Yield(ctx))
		must(t, c.Write(ctx, []byte("x")))
		_, err := reader.Await(ctx)
		wantErr(t, "Read", err, syscall.ECONNREFUSED)
		must(t, c.Write(ctx, []byte("x")))
		_, err = c.Read(ctx, p)
		wantErr(t, "Read", err, syscall.ECONNREFUSED)
		// Of Write.
		must(t, c.Write(ctx, []byte("x")))
		must(t, task.Sleep(ctx, 10*time.Millisecond))
		err = c.Write(ctx, []byte("x"))
		wantErr(t, "Write", err, syscall.ECONNREFUSED)
		var oe *net.OpError
		if !errors.As(err, &oe) || oe.Op != "write" || oe.Net != "udp" || oe.Addr.String() != to.String() {
			t.Errorf("%#v", err)
		}
		// The socket lives on.
		srv, err := datagram.Listen(ctx, "udp", to.String())
		must(t, err)
		defer srv.Close()
		must(t, c.Write(ctx, []byte("works")))
		if n, from, err := srv.ReadFrom(ctx, p); string(p[:n]) != "works" || from != c.LocalAddrPort() || err != nil {
			t.Errorf("read %q from %v, %v", p[:n], from, err)
		}
		return nil
	})
}

func TestTooBig(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := listen(ctx, t), listen(ctx, t)
		defer a.Close()
		defer b.Close()
		wantErr(t, "WriteTo", a.WriteTo(ctx, make([]byte, 1<<16), b.LocalAddrPort()), syscall.EMSGSIZE)
		must(t, a.WriteTo(ctx, []byte("fits"), b.LocalAddrPort()))
		p := make([]byte, 8)
		if n, err := b.Read(ctx, p); string(p[:n]) != "fits" || err != nil {
			t.Errorf("read %q, %v", p[:n], err)
		}
		if s := a.Stats(); s.Sent != 1 {
			t.Errorf("stats %+v", s)
		}
		return nil
	})
}

func TestBusyAndCanceled(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := listen(ctx, t), listen(ctx, t)
		defer a.Close()
		defer b.Close()
		p := make([]byte, 8)
		reader := task.Go(ctx, func(ctx context.Context) error {
			_, _, err := a.ReadFrom(ctx, p)
			return err
		})
		must(t, task.Yield(ctx))
		_, _, err := a.ReadFrom(ctx, p)
		wantErr(t, "a second reader", err, datagram.ErrBusy)
		_, err = a.TryRead(p)
		wantErr(t, "TryRead", err, datagram.ErrBusy)
		if w := a.Readable(); !errors.Is(future.CellOf(w).Err(), datagram.ErrBusy) {
			t.Errorf("Readable: %v, want ErrBusy", future.CellOf(w).Err())
		}
		reader.Cancel(nil)
		must(t, b.WriteTo(ctx, []byte("kept"), a.LocalAddrPort()))
		_, err = reader.Await(ctx)
		wantErr(t, "the canceled reader", err, context.Canceled)
		if n, from, err := a.ReadFrom(ctx, p); string(p[:n]) != "kept" || from != b.LocalAddrPort() || err != nil {
			t.Errorf("read %q from %v, %v", p[:n], from, err)
		}
		return nil
	})
}

func TestClose(t *testing.T) {
	run(t, func(ctx context.Context) error {
		c := listen(ctx, t)
		at := c.LocalAddrPort()
		reader := task.Go(ctx, func(ctx context.Context) error {
			_, _, err := c.ReadFrom(ctx, make([]byte, 1))
			return err
		})
		must(t, task.Yield(ctx))
		must(t, c.Close())
		must(t, c.Close())
		_, err := reader.Await(ctx)
		wantErr(t, "the reader", err, net.ErrClosed)
		_, err = c.Read(ctx, nil)
		wantErr(t, "Read", err, net.ErrClosed)
		wantErr(t, "WriteTo", c.WriteTo(ctx, nil, at), net.ErrClosed)
		wantErr(t, "SetBroadcast", c.SetBroadcast(true), net.ErrClosed)
		if !c.Closed() || c.LocalAddrPort() != at {
			t.Errorf("closed %v, at %v, was at %v", c.Closed(), c.LocalAddrPort(), at)
		}
		if w := c.Readable(); !future.CellOf(w).Done() {
			t.Error("Readable of a closed one is not settled")
		}
		return nil
	})
}

// What a loop closes.
func TestLoopClosesSockets(t *testing.T) {
	var c *datagram.Conn
	run(t, func(ctx context.Context) error {
		c = listen(ctx, t)
		task.Go(ctx, func(ctx context.Context) error {
			_, err := c.Read(ctx, nil)
			return err
		})
		return task.Yield(ctx)
	})
	if !c.Closed() || c.Close() != nil {
		t.Error("open after the loop was closed, or Close fails")
	}
}

func TestErrors(t *testing.T) {
	run(t, func(ctx context.Context) error {
		var (
			unknown net.UnknownNetworkError
			addr    *net.AddrError
		)
		_, err := datagram.Listen(ctx, "tcp", ":0")
		if !errors.As(err, &unknown) {
			t.Errorf("%v", err)
		}
		_, err = datagram.Dial(ctx, "udp", "no-port")
		if !errors.As(err, &addr) {
			t.Errorf("%v", err)
		}
		_, err = datagram.Dial(ctx, "udp4", "[::1]:1")
		if !errors.As(err, &addr) {
			t.Errorf("%v", err)
		}
		c := listen(ctx, t)
		defer c.Close()
		_, err = datagram.Listen(ctx, "udp", c.LocalAddr().String())
		wantErr(t, "Listen", err, syscall.EADDRINUSE)
		canceled := task.Go(ctx, func(ctx context.Context) error {
			_, err := datagram.Dial(ctx, "udp", "localhost:1")
			return err
		})
		must(t, task.Yield(ctx))
		canceled.Cancel(nil)
		if _, err := canceled.Await(ctx); err == nil || future.AsCanceled(err) == nil {
			t.Errorf("the canceled Dial: %v", err)
		}
		return nil
	})
}

func TestPanics(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a := listen(ctx, t)
		defer a.Close()
		c := dial(ctx, t, a.LocalAddrPort())
		defer c.Close()
		for what, fn := range map[string]func(){
			"not connected":       func() { a.Write(ctx, nil) },
			"is connected":        func() { c.TryWriteTo(nil, a.LocalAddrPort()) },
			"without an address":  func() { a.TryWriteTo(nil, netip.AddrPort{}) },
			"not a multicast":     func() { a.JoinGroup(netip.MustParseAddr("127.0.0.1"), nil) },
			"a TTL is from":       func() { a.SetMulticastTTL(256) },
			"outside of a task":   func() { datagram.Listen(context.Background(), "udp", ":0") },
			"datagram: ListenUni": func() { datagram.ListenUnix(context.Background(), "x") },
		} {
			func() {
				defer func() {
					if v, ok := recover().(string); !ok || !strings.Contains(v, what) || !strings.HasPrefix(v, "datagram: ") {
						t.Errorf("panicked with %q, want %q", v, what)
					}
				}()
				fn()
			}()
		}
		return nil
	})
}

func TestConfig(t *testing.T) {
	run(t, func(ctx context.Context) error {
		cfg := datagram.Config{ReusePort: true, ReadBuffer: 1 << 16, WriteBuffer: 1 << 16}
		a, err := cfg.Listen(ctx, "udp4", "127.0.0.1:0")
		must(t, err)
		defer a.Close()
		b, err := cfg.Listen(ctx, "udp4", a.LocalAddr().String())
		must(t, err)
		defer b.Close()
		cfg = datagram.Config{Local: netip.MustParseAddrPort("127.0.0.1:0")}
		c, err := cfg.Dial(ctx, "udp", a.LocalAddr().String())
		must(t, err)
		defer c.Close()
		if got := c.LocalAddrPort().Addr(); got != cfg.Local.Addr() {
			t.Errorf("from %v, want %v", got, cfg.Local)
		}
		free := nobody(ctx, t).Port()
		cfg = datagram.Config{Local: netip.AddrPortFrom(netip.IPv6Unspecified(), free)}
		d, err := cfg.Dial(ctx, "udp", a.LocalAddr().String())
		must(t, err)
		defer d.Close()
		if got := d.LocalAddrPort().Port(); got != free {
			t.Errorf("from port %d, want %d", got, free)
		}
		return nil
	})
}

func TestBroadcast(t *testing.T) {
	run(t, func(ctx context.Context) error {
		to := netip.MustParseAddrPort("255.255.255.255:9")
		c := listen(ctx, t)
		defer c.Close()
		wantErr(t, "WriteTo", c.WriteTo(ctx, []byte("x"), to), syscall.EACCES)
		must(t, c.SetBroadcast(true))
		if err := c.WriteTo(ctx, []byte("x"), to); errors.Is(err, syscall.EACCES) {
			t.Error(err)
		}
		cfg := datagram.Config{Broadcast: true}
		d, err := cfg.Listen(ctx, "udp4", "127.0.0.1:0")
		must(t, err)
		defer d.Close()
		if err := d.WriteTo(ctx, []byte("x"), to); errors.Is(err, syscall.EACCES) {
			t.Error(err)
		}
		return nil
	})
}

// A flood that never ends starves nobody, neither who reads nor who writes: R31.
func TestFloodGivesWay(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, b := listen(ctx, t), listen(ctx, t)
		defer a.Close()
		defer b.Close()
		turns := 0
		ticker := task.Go(ctx, func(ctx context.Context) error {
			for {
				turns++
				if err := task.Yield(ctx); err != nil {
					return nil
				}
			}
		})
		p, to := make([]byte, 8), a.LocalAddrPort()
		const n = 1 << 12
		for what, once := range map[string]func() error{
			"ReadFrom": func() error { // finds one each time
				must(t, b.TryWriteTo(p, to))
				_, _, err := a.ReadFrom(ctx, p)
				return err
			},
			"Read": func() error {
				must(t, b.TryWriteTo(p, to))
				_, err := a.Read(ctx, p)
				return err
			},
			"WriteTo": func() error { return b.WriteTo(ctx, p, to) },
		} {
			turns = 0
			for range n {
				if err := once(); err != nil {
					return err
				}
			}
			if turns < n/80 || turns > n/8 {
				t.Errorf("%s: another task had %d turns during %d datagrams", what, turns, n)
			}
		}
		ticker.Cancel(nil)
		_, err := ticker.Await(ctx)
		return err
	})
}

// A machine reads by TryReadFrom and Readable.
type machine struct {
	c   *datagram.Conn
	got []string
}

func (m *machine) Step(_ context.Context, thrown error) (future.Waiter, error) {
	if thrown != nil {
		return task.Done, thrown
	}
	p := make([]byte, 16)
	for {
		n, from, err := m.c.TryReadFrom(p)
		switch {
		case err == datagram.ErrWouldBlock:
			return m.c.Readable(), nil
		case err != nil:
			return task.Done, err
		case n == 0:
			return task.Done, nil
		}
		m.got = append(m.got, string(p[:n]))
		if err := m.c.TryWriteTo(p[:n], from); err == datagram.ErrWouldBlock {
			return m.c.Writable(), nil
		}
	}
}

func (m *machine) Result() []string { return m.got }

func TestMachine(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a := listen(ctx, t)
		defer a.Close()
		c := dial(ctx, t, a.LocalAddrPort())
		defer c.Close()
		m := task.StartMachine[[]string](ctx, &machine{c: a})
		want, p := 0, make([]byte, 16)
		for want < 200 {
			want++
			must(t, c.Write(ctx, []byte("x")))
			if _, err := c.Read(ctx, p); err != nil {
				return err
			}
		}
		must(t, c.Write(ctx, nil))
		got, err := m.Await(ctx)
		if len(got) != want {
			t.Errorf("it got %d, want %d", len(got), want)
		}
		return err
	})
}

func TestAdopt(t *testing.T) {
	run(t, func(ctx context.Context) error {
		srv, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		must(t, err)
		at := srv.LocalAddr().String()
		a, err := datagram.Adopt(ctx, srv)
		must(t, err)
		defer a.Close()
		if _, err := srv.Write(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the original is open: %v", err)
		}
		plain, err := net.Dial("udp4", at)
		must(t, err)
		f, err := plain.(*net.UDPConn).File()
		must(t, err)
		plain.Close()
		c, err := datagram.Adopt(ctx, f)
		must(t, err)
		defer c.Close()
		if a.LocalAddr().String() != at || c.RemoteAddr().String() != at || a.RemoteAddr() != nil {
			t.Errorf("at %v, connected with %v, want %v", a.LocalAddr(), c.RemoteAddr(), at)
		}
		must(t, c.Write(ctx, []byte("x")))
		p := make([]byte, 4)
		if n, from, err := a.ReadFrom(ctx, p); n != 1 || from != c.LocalAddrPort() || err != nil {
			t.Errorf("read %d from %v, %v", n, from, err)
		}
		r, w, err := os.Pipe()
		must(t, err)
		defer r.Close()
		defer w.Close()
		_, err = datagram.Adopt(ctx, r)
		wantErr(t, "a pipe", err, errors.ErrUnsupported)
		_, err = datagram.AdoptFD(ctx, int(r.Fd())) // stays ours
		wantErr(t, "a pipe", err, errors.ErrUnsupported)
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
		must(t, err)
		d, err := datagram.AdoptFD(ctx, fd)
		must(t, err)
		defer d.Close()
		must(t, d.WriteTo(ctx, []byte("y"), a.LocalAddrPort()))
		if n, from, err := a.ReadFrom(ctx, p); n != 1 || from.Port() != d.LocalAddrPort().Port() || err != nil {
			t.Errorf("read %d from %v, %v", n, from, err)
		}
		_, err = datagram.AdoptUnix(ctx, r)
		wantErr(t, "a pipe", err, errors.ErrUnsupported)
		return nil
	})
}

// Debug mode looks who calls.
func TestString(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a := listen(ctx, t)
		defer a.Close()
		c := dial(ctx, t, a.LocalAddrPort())
		defer c.Close()
		if got, want := a.String(), "udp "+a.LocalAddr().String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := c.String(); got != a.String() {
			t.Errorf("%q, want %q", got, a.String())
		}
		if c.Loop() != loop.FromContext(ctx) {
			t.Error("another loop")
		}
		return nil
	})
}
