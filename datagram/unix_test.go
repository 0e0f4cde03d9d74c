//go:build unix

package datagram_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/eddyloop/eddy/datagram"
)

func TestUnixEcho(t *testing.T) {
	run(t, func(ctx context.Context) error {
		dir := t.TempDir()
		at, from := filepath.Join(dir, "server"), filepath.Join(dir, "client")
		srv, err := datagram.ListenUnix(ctx, at)
		must(t, err)
		c, err := datagram.DialUnix(ctx, from, at)
		must(t, err)
		anon, err := datagram.DialUnix(ctx, "", at)
		must(t, err)
		p := make([]byte, 8)
		for _, m := range []string{"a", "", "b"} {
			must(t, c.Write(ctx, []byte(m)))
			n, who, err := srv.ReadFrom(ctx, p)
			if string(p[:n]) != m || who != from || err != nil {
				t.Errorf("read %q from %q, %v", p[:n], who, err)
			}
			must(t, srv.WriteTo(ctx, p[:n], who))
			if n, err := c.Read(ctx, p); string(p[:n]) != m || err != nil {
				t.Errorf("read %q, %v", p[:n], err)
			}
		}
		must(t, anon.Write(ctx, []byte("0123456789")))
		if n, who, err := srv.ReadFrom(ctx, p); n != 8 || who != "" || err != datagram.ErrTruncated {
			t.Errorf("read %d from %q, %v", n, who, err)
		}
		for a, want := range map[net.Addr]string{srv.LocalAddr(): at, c.LocalAddr(): from, c.RemoteAddr(): at, anon.LocalAddr(): ""} {
			if a.String() != want || a.Network() != "unixgram" {
				t.Errorf("%s %q, want %q", a.Network(), a, want)
			}
		}
		for _, c := range []*datagram.UnixConn{srv, c, anon} {
			must(t, c.Close())
			must(t, c.Close())
		}
		if es, err := os.ReadDir(dir); len(es) != 0 || err != nil {
			t.Errorf("files are left: %v, %v", es, err)
		}
		return nil
	})
}

func TestUnixErrors(t *testing.T) {
	run(t, func(ctx context.Context) error {
		dir := t.TempDir()
		at := filepath.Join(dir, "s")
		_, err := datagram.DialUnix(ctx, "", at)
		wantErr(t, "Dial", err, syscall.ENOENT)
		a, err := datagram.ListenUnix(ctx, at)
		must(t, err)
		_, err = datagram.ListenUnix(ctx, at)
		wantErr(t, "a second one", err, syscall.EADDRINUSE)
		b, err := datagram.DialUnix(ctx, "", at)
		must(t, err)
		defer b.Close()
		must(t, os.Rename(at, at+"2")) // the file that Close finds is not its own
		must(t, os.WriteFile(at, nil, 0o600))
		must(t, a.Close())
		if _, err := os.Stat(at); err != nil {
			t.Errorf("Close removed another's file: %v", err)
		}
		must(t, os.Remove(at))
		must(t, os.Rename(at+"2", at))
		// Nobody is there any more, but the file is.
		if err := b.Write(ctx, nil); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) &&
			!errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ENOTCONN) {
			t.Errorf("Write: %v", err)
		}
		a, err = datagram.ListenUnix(ctx, at) // replaces it
		must(t, err)
		defer a.Close()
		wantErr(t, "WriteTo", a.WriteTo(ctx, nil, filepath.Join(dir, "none")), syscall.ENOENT)
		_, err = a.TryRead(nil)
		wantErr(t, "TryRead", err, datagram.ErrWouldBlock)
		_, _, err = a.TryReadFrom(nil)
		wantErr(t, "TryReadFrom", err, datagram.ErrWouldBlock)
		return nil
	})
}

func TestAdoptUnix(t *testing.T) {
	run(t, func(ctx context.Context) error {
		at := filepath.Join(t.TempDir(), "s")
		srv, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: at})
		must(t, err)
		_, err = datagram.Adopt(ctx, srv)
		wantErr(t, "Adopt", err, errors.ErrUnsupported)
		a, err := datagram.AdoptUnix(ctx, srv)
		must(t, err)
		defer a.Close()
		plain, err := net.Dial("unixgram", at)
		must(t, err)
		c, err := datagram.AdoptUnix(ctx, plain.(*net.UnixConn))
		must(t, err)
		defer c.Close()
		must(t, c.Write(ctx, []byte("x")))
		if n, err := a.Read(ctx, make([]byte, 4)); n != 1 || err != nil || c.RemoteAddr().String() != at {
			t.Errorf("read %d, %v; connected with %v", n, err, c.RemoteAddr())
		}
		return nil
	})
}
