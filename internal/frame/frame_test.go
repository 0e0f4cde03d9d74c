package frame_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/internal/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func frames() []frame.Frame {
	return []frame.Frame{
		{Kind: 1, ID: 7},
		{Kind: 2, ID: 1<<64 - 1, Payload: []byte("hello")},
		{Kind: 255, ID: 0, Payload: bytes.Repeat([]byte{0xED, 0xD1}, 9000)},
		{Kind: 3, ID: 1, Payload: bytes.Repeat([]byte("x"), 3<<20+5)},
	}
}

func stream() (s []byte) {
	for _, f := range frames() {
		s = frame.Append(s, f)
	}
	return s
}

func checkNext(t *testing.T, r *frame.Reader, want frame.Frame) {
	t.Helper()
	f, err := r.Next()
	if err != nil || f.Kind != want.Kind || f.ID != want.ID || !bytes.Equal(f.Payload, want.Payload) {
		t.Fatalf("got frame %d %d of %d bytes, %v, want %d %d of %d bytes",
			f.Kind, f.ID, len(f.Payload), err, want.Kind, want.ID, len(want.Payload))
	}
}

func TestRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    io.Reader
	}{
		{"whole", bytes.NewReader(stream())},
		{"halves", iotest.HalfReader(bytes.NewReader(stream()))},
		{"end with the data", iotest.DataErrReader(bytes.NewReader(stream()))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := frame.NewReader(tt.r, 4<<20)
			for _, want := range frames() {
				checkNext(t, r, want)
			}
			if _, err := r.Next(); err != io.EOF {
				t.Errorf("at the end: %v, want io.EOF", err)
			}
		})
	}
}

func TestBeginEnd(t *testing.T) {
	buf := []byte("left over from before, which does not matter")
	buf = append(frame.Begin(buf), "payload"...)
	frame.End(buf, 9, 4)
	checkNext(t, frame.NewReader(bytes.NewReader(buf), 100), frame.Frame{Kind: 9, ID: 4, Payload: []byte("payload")})
}

// Each prefix of a frame but the empty one ends unexpectedly.
func TestCutOff(t *testing.T) {
	whole := frame.Append(nil, frame.Frame{Kind: 2, ID: 3, Payload: []byte("payload")})
	for n := 1; n < len(whole); n++ {
		if _, err := frame.NewReader(bytes.NewReader(whole[:n]), 100).Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("%d of %d bytes: %v, want io.ErrUnexpectedEOF", n, len(whole), err)
		}
	}
}

// A frame of which one bit differs is none.
func TestBitFlips(t *testing.T) {
	whole := frame.Append(nil, frame.Frame{Kind: 2, ID: 3, Payload: []byte("payload")})
	for bit := range 8 * len(whole) {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		_, err := frame.NewReader(bytes.NewReader(b), 100).Next()
		if !errors.Is(err, frame.ErrGarbage) && err != io.ErrUnexpectedEOF {
			t.Errorf("bit %d: %v", bit, err)
		}
	}
}

func TestLimit(t *testing.T) {
	b := frame.Append(nil, frame.Frame{Kind: 1, Payload: make([]byte, 100)})
	if _, err := frame.NewReader(bytes.NewReader(b), 100).Next(); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	_, err := frame.NewReader(bytes.NewReader(b), 99).Next()
	if !errors.Is(err, frame.ErrGarbage) || !strings.Contains(err.Error(), "100 bytes, over the limit of 99") {
		t.Errorf("over the limit: %v", err)
	}
}

// A header that claims a gigabyte does not make anybody allocate it.
func TestLyingHeader(t *testing.T) {
	b := frame.Append(nil, frame.Frame{Kind: 1, Payload: []byte("x")})
	b[4] = 0x40
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := frame.NewReader(bytes.NewReader(b), 1<<31-1).Next()
	runtime.ReadMemStats(&after)
	if err != io.ErrUnexpectedEOF {
		t.Errorf("got %v, want io.ErrUnexpectedEOF", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{})
	f.Add(frame.Append(nil, frame.Frame{Kind: 1, ID: 2, Payload: []byte("three")}))
	f.Add(append(frame.Append(nil, frame.Frame{Kind: 5}), "and garbage of some length"...))
	f.Add([]byte("panic: something that was printed to the wrong descriptor\n"))
	f.Add(frame.Append(nil, frame.Frame{Kind: 1, Payload: make([]byte, 1<<13)})[:100])
	const limit = 1 << 12
	f.Fuzz(func(t *testing.T, data []byte) {
		r := frame.NewReader(bytes.NewReader(data), limit)
		var again []byte
		for {
			fr, err := r.Next()
			if err != nil {
				if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, frame.ErrGarbage) {
					t.Fatalf("error %v", err)
				}
				if err == io.EOF && len(again) != len(data) {
					t.Fatalf("the end after %d of %d bytes", len(again), len(data))
				}
				return
			}
			if len(fr.Payload) > limit {
				t.Fatalf("a payload of %d bytes", len(fr.Payload))
			}
			// What is accepted is what would have been written.
			again = frame.Append(again, fr)
			if !bytes.HasPrefix(data, again) {
				t.Fatalf("accepted %x, which is %x", again, data)
			}
		}
	})
}

func BenchmarkRoundTrip(b *testing.B) {
	payload := []byte("a small argument")
	var buf []byte
	b.ReportAllocs()
	src := new(bytes.Reader)
	r := frame.NewReader(src, 1<<20)
	for b.Loop() {
		buf = append(frame.Begin(buf), payload...)
		frame.End(buf, 1, 2)
		src.Reset(buf)
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
