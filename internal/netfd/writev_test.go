//go:build unix

package netfd_test

import (
	"bytes"
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/eddyloop/eddy/internal/netfd"
)

func TestWritev(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct {
		name   string
		pieces int
		size   int
	}{
		{"none", 0, 0},
		{"empty ones", 3, 0},
		{"a few", 5, 100},
		{"more than a call takes", 1000, 7},
		{"large ones", 4, 100_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := r.pair()
			var pieces [][]byte
			var want []byte
			for i := range tt.pieces {
				p := bytes.Repeat([]byte{byte(i)}, tt.size)
				pieces = append(pieces, p, nil)
				want = append(want, p...)
			}
			var got []byte
			buf := make([]byte, 1<<20)
			for len(got) < len(want) {
				n, err := a.TryWritev(pieces)
				if err != nil && err != netfd.ErrWouldBlock {
					t.Fatal(err)
				}
				for n > 0 || len(pieces) > 0 && len(pieces[0]) == 0 {
					k := min(n, len(pieces[0]))
					n -= k
					if pieces[0] = pieces[0][k:]; len(pieces[0]) == 0 {
						pieces = pieces[1:]
					}
				}
				k, err := syscall.Read(b, buf)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, buf[:k]...)
				a.SetWritable(true)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes arrived, or others, want %d", len(got), len(want))
			}
			if n, err := a.TryWritev(nil); n != 0 || err != nil {
				t.Errorf("of nothing: %d, %v", n, err)
			}
			if err := syscall.Close(b); err != nil {
				t.Fatal(err)
			}
			if _, err := a.TryWritev([][]byte{{1}}); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("with nobody there: %v", err)
			}
			if _, err := a.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := a.TryWritev([][]byte{{1}}); err != net.ErrClosed {
				t.Errorf("when closed: %v", err)
			}
		})
	}
}

// A full socket says so, and not again until an event tells of room.
func TestWritevFull(t *testing.T) {
	r := newRig(t)
	a, b := r.pair()
	defer syscall.Close(b)
	pieces := [][]byte{make([]byte, 64<<10), make([]byte, 64<<10)}
	for range 1000 {
		if _, err := a.TryWritev(pieces); err == netfd.ErrWouldBlock {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if a.Writable() {
		t.Error("writable when full")
	}
	a.SetWritable(true)
	if _, err := a.TryWritev(pieces); err != netfd.ErrWouldBlock || a.Writable() {
		t.Errorf("tried again: %v, writable %v", err, a.Writable())
	}
}

// A hint of the end makes reading go on to it.
func TestHintEnd(t *testing.T) {
	r := newRig(t)
	a, b := r.pair()
	if _, err := syscall.Write(b, []byte("last")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Close(b); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if _, err := a.TryRead(buf); err != netfd.ErrWouldBlock {
		t.Fatalf("read before any event: %v", err)
	}
	a.HintEnd()
	if n, err := a.TryRead(buf); n != 4 || err != nil || !a.Readable() {
		t.Errorf("read %d, %v, readable %v", n, err, a.Readable())
	}
	if _, err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a.HintEnd()
	a.SetWritable(true)
	if a.Readable() || a.Writable() {
		t.Error("a closed socket can be read, or written")
	}
}

// pair returns a socket of the loop and the other end.
func (r *rig) pair() (*sock, int) {
	r.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		r.Fatal(err)
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		r.Fatal(err)
	}
	return r.open(fds[0], true), fds[1]
}
