//go:build unix

package stream_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// socket returns a non-blocking socket of a program's own.
func socket(t *testing.T, kind int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, kind, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	return fd
}

// bound returns one that is bound to a free port of this machine.
func bound(t *testing.T, kind int) (int, netip.AddrPort) {
	t.Helper()
	fd := socket(t, kind)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, 16); err != nil {
			t.Fatal(err)
		}
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*unix.SockaddrInet4).Port))
}

func TestSockStream(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln, addr := bound(t, unix.SOCK_STREAM)
		defer unix.Close(ln)
		data := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
		server := task.Go(ctx, func(ctx context.Context) error {
			fd, from, err := stream.SockAccept(ctx, ln)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if from.Addr() != addr.Addr() {
				t.Errorf("accepted from %v", from)
			}
			return stream.SockSendall(ctx, fd, data)
		})
		fd := socket(t, unix.SOCK_STREAM)
		defer unix.Close(fd)
		if err := stream.SockConnect(ctx, fd, addr); err != nil {
			return err
		}
		h := sha256.New()
		first, err := stream.SockRecv(ctx, fd, 7)
		if err != nil || string(first) != "0123456" {
			t.Errorf("SockRecv: %q, %v", first, err)
		}
		h.Write(first)
		for p := make([]byte, 32<<10); ; {
			n, err := stream.SockRecvInto(ctx, fd, p)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			h.Write(p[:n])
		}
		if want := sha256.Sum256(data); !bytes.Equal(h.Sum(nil), want[:]) {
			t.Error("the bytes differ")
		}
		_, err = server.Await(ctx)
		return err
	})
}

func TestSockDatagrams(t *testing.T) {
	run(t, func(ctx context.Context) error {
		a, addrA := bound(t, unix.SOCK_DGRAM)
		defer unix.Close(a)
		b, addrB := bound(t, unix.SOCK_DGRAM)
		defer unix.Close(b)
		got := task.Start(ctx, func(ctx context.Context) (string, error) {
			p := make([]byte, 16)
			n, from, err := stream.SockRecvFrom(ctx, b, p)
			if from != addrA {
				t.Errorf("from %v, want %v", from, addrA)
			}
			return string(p[:n]), err
		})
		_ = task.Yield(ctx)
		if err := stream.SockSendTo(ctx, a, []byte("hello"), addrB); err != nil {
			return err
		}
		s, err := got.Await(ctx)
		if s != "hello" {
			t.Errorf("got %q", s)
		}
		return err
	})
}

func TestSockErrors(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln, addr := bound(t, unix.SOCK_STREAM)
		unix.Close(ln)
		fd := socket(t, unix.SOCK_STREAM)
		if err := stream.SockConnect(ctx, fd, addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connect to nobody: %v", err)
		}
		unix.Close(fd)
		if _, err := stream.SockRecv(ctx, fd, 1); !errors.Is(err, syscall.EBADF) {
			t.Errorf("read of a closed one: %v", err)
		}
		if err := stream.SockConnect(ctx, fd, netip.AddrPort{}); err == nil {
			t.Error("connect to no address succeeded")
		}
		path := filepath.Join(t.TempDir(), "none")
		u, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(u)
		if err := stream.SockConnectUnix(ctx, u, path); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("connect to no path: %v", err)
		}
		return nil
	})
}

// A canceled call takes its watcher away, also when its socket was closed and
// another has the number already.
func TestEdge127_SockCallsRaceWithAReusedNumber(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln, addr := bound(t, unix.SOCK_STREAM)
		defer unix.Close(ln)
		for range 100 {
			fd := socket(t, unix.SOCK_STREAM)
			if err := stream.SockConnect(ctx, fd, addr); err != nil {
				return err
			}
			old := task.Start(ctx, func(ctx context.Context) ([]byte, error) { return stream.SockRecv(ctx, fd, 1) })
			_ = task.Yield(ctx) // it waits
			old.Cancel(nil)
			unix.Close(fd)
			again := socket(t, unix.SOCK_STREAM)
			if again != fd {
				t.Fatalf("the system gave %d, not %d", again, fd)
			}
			if err := stream.SockConnect(ctx, again, addr); err != nil {
				return err
			}
			young := task.Start(ctx, func(ctx context.Context) ([]byte, error) { return stream.SockRecv(ctx, again, 8) })
			if _, err := old.Await(ctx); future.AsCanceled(err) == nil {
				t.Errorf("canceled: %v", err)
			}
			for range 2 { // the first that was accepted is the closed one
				c, _, err := stream.SockAccept(ctx, ln)
				if err != nil {
					return err
				}
				_ = stream.SockSendall(ctx, c, []byte("x"))
				unix.Close(c)
			}
			if got, err := young.Await(ctx); string(got) != "x" || err != nil {
				t.Fatalf("the new socket reads %q, %v", got, err)
			}
			unix.Close(again)
		}
		return nil
	})
}

func TestSockBusy(t *testing.T) {
	run(t, func(ctx context.Context) error {
		ln, _ := bound(t, unix.SOCK_STREAM)
		defer unix.Close(ln)
		first := task.Start(ctx, func(ctx context.Context) (int, error) {
			fd, _, err := stream.SockAccept(ctx, ln)
			return fd, err
		})
		_ = task.Yield(ctx)
		if _, _, err := stream.SockAccept(ctx, ln); !errors.Is(err, stream.ErrBusy) {
			t.Errorf("a second accept: %v", err)
		}
		first.Cancel(nil)
		_, _ = first.Await(ctx)
		// The watcher is gone, or an accept in this turn could not wait.
		second := task.Start(ctx, func(ctx context.Context) (int, error) {
			fd, _, err := stream.SockAccept(ctx, ln)
			return fd, err
		})
		sa, _ := unix.Getsockname(ln)
		peer, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: sa.(*unix.SockaddrInet4).Port})
		if err != nil {
			return err
		}
		defer peer.Close()
		fd, err := second.Await(ctx)
		unix.Close(fd)
		return err
	})
}

func TestSockSendfile(t *testing.T) {
	data := bytes.Repeat([]byte("the quick brown fox "), 100_000)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		off, n int64
	}{
		{"all", 0, -1},
		{"part", 1000, 1_500_000},
		{"beyond the end", int64(len(data)) - 10, 100},
		{"nothing", 5, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) error {
				f, err := os.Open(path)
				if err != nil {
					return err
				}
				defer f.Close()
				fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
				if err != nil {
					return err
				}
				for _, fd := range fds {
					_ = unix.SetNonblock(fd, true)
				}
				peer, err := stream.AdoptFD(ctx, fds[1])
				if err != nil {
					return err
				}
				defer peer.Close()
				got := task.Start(ctx, func(ctx context.Context) ([]byte, error) { return io.ReadAll(peer.NetConn(ctx)) })
				n, err := stream.SockSendfile(ctx, fds[0], f, tt.off, tt.n)
				unix.Close(fds[0])
				want := data[tt.off:]
				if tt.n >= 0 {
					want = want[:min(int(tt.n), len(want))]
				}
				if int(n) != len(want) || err != nil {
					t.Errorf("SockSendfile = %d, %v; want %d", n, err, len(want))
				}
				b, err := got.Await(ctx)
				if !bytes.Equal(b, want) {
					t.Errorf("%d bytes arrived, or others", len(b))
				}
				return err
			})
		})
	}
}
