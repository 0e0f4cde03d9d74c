package tlsio_test

import (
	"io"
	"testing"

	"github.com/eddyloop/eddy/internal/netfd"
)

// FuzzSplits cuts a conversation into pieces as the input says.
func FuzzSplits(f *testing.F) {
	for _, seed := range []string{"", "\x01", "\x05\x01", "\xff\x00\x10", "abcdefgh"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, cuts []byte) {
		i := 0
		cut := func(n int) int {
			if len(cuts) == 0 {
				return n
			}
			i++
			return min(n, 1+int(cuts[i%len(cuts)])*(1+i%7))
		}
		c, s := newPair(t, ways[len(cuts)%2], clientTLS(), serverTLS())
		shakeInPieces(t, c, s, cut)
		chat(t, c, s, cut)
	})
}

// FuzzGarbage has an engine hear anything at all: instead of a handshake, in the
// middle of one, or instead of data.
func FuzzGarbage(f *testing.F) {
	for _, seed := range []string{
		"", "\x16", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x04\x01\x00\x00\x00",
		"\x15\x03\x03\x00\x02\x01\x00", "\x15\x01\x07\x00\x02\x01\x00", "\x17\x03\x03\x00\x01x", "\x14\x03\x03\x00\x01\x01",
	} {
		for phase := range byte(6) {
			f.Add(phase, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, phase byte, data []byte) {
		c, s := newPair(t, ways[phase%2], clientTLS(), serverTLS())
		e := s
		switch phase / 2 % 3 {
		case 1:
			_ = c.Handshake()
			feed(c, s)
			_ = s.Handshake()
			e = c
		case 2:
			_, _ = shake(t, c, s)
		}
		over := !e.Shaking()
		e.Feed(data)
		_ = e.Handshake()
		e.FeedEOF()
		err := e.Handshake()
		if err == netfd.ErrWouldBlock || e.Shaking() || !over && err == nil {
			t.Fatalf("handshake has no end: %v", err)
		}
		got, err := readAll(e)
		if err == nil || err == netfd.ErrWouldBlock || len(got) > 0 {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
		if _, again := readAll(e); again != err {
			t.Errorf("read %v, then %v", err, again)
		}
		if err == io.EOF && !hasCloseNotify(data) {
			t.Error("a clean end without an alert")
		}
	})
}

// hasCloseNotify reports whether somewhere in data there is a close_notify in the
// clear, of any version and level.
func hasCloseNotify(data []byte) bool {
	for ; len(data) >= 7; data = data[1:] {
		if data[0] == 21 && data[3] == 0 && data[4] == 2 && data[6] == 0 {
			return true
		}
	}
	return false
}
