package netfd_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/eddyloop/eddy/internal/netfd"
)

func TestSendfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	a, b := r.pair()
	defer syscall.Close(b)
	for _, tt := range []struct {
		off  int64
		n    int
		want string
	}{{0, 4, "0123"}, {8, 100, "89"}, {10, 100, ""}, {20, 1, ""}} {
		n, err := netfd.Sendfile(a.Num(), f, tt.off, tt.n)
		if n != len(tt.want) || err != nil {
			t.Errorf("from %d: %d, %v, want %q", tt.off, n, err, tt.want)
		}
		buf := make([]byte, 20)
		if len(tt.want) > 0 {
			n, err = syscall.Read(b, buf)
			if string(buf[:n]) != tt.want || err != nil {
				t.Errorf("from %d: %q arrived, %v, want %q", tt.off, buf[:n], err, tt.want)
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := netfd.Sendfile(a.Num(), f, 0, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("of a closed file: %v", err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	if _, err := netfd.Sendfile(a.Num(), in, 0, 1); err != errors.ErrUnsupported {
		t.Errorf("of a pipe: %v", err)
	}
}
