//go:build unix

package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// withPipe runs fn with a Reader of a Pipe and the end that is written to, in virtual
// time.
func withPipe(t testing.TB, limit int, fn func(ctx context.Context, r *stream.Reader, w *stream.Conn) error) {
	t.Helper()
	looptest.Run(t, func(ctx context.Context) error {
		a, b := stream.Pipe(loop.FromContext(ctx))
		defer a.Close()
		defer b.Close()
		return fn(ctx, stream.NewReader(b, limit), a)
	})
}

// feed writes without waiting, as asyncio's feed_data.
func feed(t testing.TB, w *stream.Conn, s string) {
	t.Helper()
	if n, err := w.TryWrite([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("TryWrite of %d bytes: %d, %v", len(s), n, err)
	}
}

func seps(s ...string) (bs [][]byte) {
	for _, s := range s {
		bs = append(bs, []byte(s))
	}
	return bs
}

// wantIncomplete wants an IncompleteReadError.
func wantIncomplete(t testing.TB, what string, err error, partial string, want int) {
	t.Helper()
	var e *stream.IncompleteReadError
	if !errors.As(err, &e) || !errors.Is(err, io.ErrUnexpectedEOF) || string(e.Partial) != partial || e.Want != want {
		t.Errorf("%s: %#v, want an IncompleteReadError of %q for %d", what, err, partial, want)
	}
}

// asyncio pauses the transport at twice the limit; a Reader reads only when asked, so
// what is buffered beyond a message is at most a buffer's worth, however much comes.
func TestEdge115_ReaderIsFedOnDemand(t *testing.T) {
	withPipe(t, 100, func(ctx context.Context, r *stream.Reader, w *stream.Conn) error {
		sent := 0
		sender := task.Go(ctx, func(ctx context.Context) error {
			for {
				n, err := w.Write(ctx, []byte(strings.Repeat("x", 99)+"\n"))
				if sent += n; err != nil {
					return err
				}
			}
		})
		for range 50 {
			testkit.Idle(t, ctx)
			if n := r.Buffered(); n > 4096 {
				t.Errorf("%d bytes are buffered", n)
			}
			if _, err := r.ReadLine(ctx); err != nil {
				return err
			}
		}
		if sent > 64<<10+5000+5000 {
			t.Errorf("%d bytes were sent", sent)
		}
		sender.Cancel(nil)
		_, err := sender.Await(ctx)
		wantErr(t, "sender", err, context.Canceled)
		return nil
	})
}

func TestEdge116_ReadUntil(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit int
		input string
		end   bool // then the stream ends
		seps  [][]byte
		want  []string // parts; an error's name at the end
		rest  string   // what is buffered then
	}{
		{"parts", 0, "one--two--", false, seps("--"), []string{"one--", "two--"}, ""},
		{"the limit does not count the separator", 3, "abc--", false, seps("--"), []string{"abc--"}, ""},
		{"found too far on", 3, "abcd--", false, seps("--"), []string{"too long"}, "abcd--"},
		{"not found within the limit", 3, "abcdef", false, seps("--"), []string{"too long"}, "abcdef"},
		{"a separator may have begun", 3, "abc-", true, seps("--"), []string{"incomplete abc-"}, ""},
		{"an end", 0, "one--two", true, seps("--"), []string{"one--", "incomplete two"}, ""},
		{"an end between parts", 0, "one--", true, seps("--"), []string{"one--", "EOF"}, ""},
		{"shortest match", 0, "one;;two", true, seps(";;", ";"), []string{"one;", ";", "incomplete two"}, ""},
		{"whichever ends first", 0, "a<end>b<e>", false, seps("<end>", "<e>", "nd"), []string{"a<end", ">b<e>"}, ""},
		{"of two that end together the shorter one counts for the limit", 3, "abcd\r\n", false, seps("\r\n", "\n"), []string{"too long"}, "abcd\r\n"},
		{"overlapping begin", 0, "aaab", false, seps("aab"), []string{"aaab"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for cut := range len(tt.input) + 1 {
				withPipe(t, tt.limit, func(ctx context.Context, r *stream.Reader, w *stream.Conn) error {
					sender := task.Go(ctx, func(ctx context.Context) error {
						feed(t, w, tt.input[:cut])
						testkit.Idle(t, ctx)
						feed(t, w, tt.input[cut:])
						if tt.end {
							return w.CloseWrite()
						}
						return nil
					})
					var got []string
					for range tt.want {
						got = append(got, outcomeOf(r.ReadUntil(ctx, tt.seps...)))
					}
					if _, err := sender.Await(ctx); err != nil {
						return err
					}
					if !slices.Equal(got, tt.want) {
						t.Errorf("cut at %d: %q, want %q", cut, got, tt.want)
					}
					rest := make([]byte, len(tt.rest))
					if _, err := r.ReadFull(ctx, rest); string(rest) != tt.rest || err != nil || r.Buffered() != 0 {
						t.Errorf("cut at %d: %q, %v is left and %d bytes, want %q", cut, rest, err, r.Buffered(), tt.rest)
					}
					return nil
				})
			}
		})
	}
}

func outcomeOf(p []byte, err error) string {
	var e *stream.IncompleteReadError
	switch {
	case err == nil:
		return string(p)
	case errors.Is(err, stream.ErrTooLong):
		return "too long"
	case errors.As(err, &e):
		return "incomplete " + string(e.Partial)
	}
	return err.Error()
}

// Where asyncio's readline drops a part of a line that is too long, and goes on in its
// middle, ours drops nothing, and SkipUntil goes on with the next line.
func TestEdge116_LineTooLong(t *testing.T) {
	for _, n := range []int{11, 4096, 60_000} {
		withPipe(t, 10, func(ctx context.Context, r *stream.Reader, w *stream.Conn) error {
			feed(t, w, "short\r\n"+strings.Repeat("x", n)+"\nnext\nlast")
			if err := w.CloseWrite(); err != nil {
				return err
			}
			if line, err := r.ReadLine(ctx); line != "short" || err != nil {
				t.Errorf("%q, %v", line, err)
			}
			for range 2 {
				_, err := r.ReadLine(ctx)
				wantErr(t, "ReadLine", err, stream.ErrTooLong)
			}
			if k, err := r.SkipUntil(ctx, []byte("\n")); k != int64(n+1) || err != nil {
				t.Errorf("SkipUntil: %d, %v; want %d", k, err, n+1)
			}
			for _, want := range []string{"next", "last"} {
				if line, err := r.ReadLine(ctx); line != want || err != nil {
					t.Errorf("%q, %v; want %q", line, err, want)
				}
			}
			_, err := r.ReadLine(ctx)
			wantErr(t, "after the end", err, io.EOF)
			_, err = r.SkipUntil(ctx, []byte("\n"))
			wantErr(t, "SkipUntil after the end", err, io.EOF)
			return nil
		})
	}
}

func TestEdge117_ReadFull(t *testing.T) {
	withPipe(t, 10, func(ctx context.Context, r *stream.Reader, w *stream.Conn) error {
		long := strings.Repeat("0123456789", 3000)
		feed(t, w, long+"abc")
		p := make([]byte, len(long))
		if n, err := r.ReadFull(ctx, p); n != len(p) || string(p) != long || err != nil {
			t.Errorf("ReadFull beyond the limit: %d, %v", n, err)
		}
		if n, err := r.Read(ctx, nil); n != 0 || err != nil {
			t.Errorf("Read of nothing: %d, %v", n, err)
		}
		busy := task.Go(ctx, func(ctx context.Context) error {
			_, err := r.ReadFull(ctx, make([]byte, 8))
			wantIncomplete(t, "ReadFull", err, "abcdef", 8)
			return nil
		})
		testkit.Idle(t, ctx)
		for name, read := range map[string]func() error{
			"Read":      func() error { _, err := r.Read(ctx, p); return err },
			"ReadFull":  func() error { _, err := r.ReadFull(ctx, p); return err },
			"ReadAll":   func() error { _, err := r.ReadAll(ctx); return err },
			"ReadUntil": func() error { _, err := r.ReadUntil(ctx, []byte("\n")); return err },
			"ReadLine":  func() error { _, err := r.ReadLine(ctx); return err },
			"Peek":      func() error { _, err := r.Peek(ctx, 1); return err },
			"Discard":   func() error { _, err := r.Discard(ctx, 1); return err },
			"SkipUntil": func() error { _, err := r.SkipUntil(ctx, []byte("\n")); return err },
		} {
			wantErr(t, name, read(), stream.ErrBusy)
		}
		feed(t, w, "def")
		_, err := r.Read(ctx, p) // the first has been woken, but has not run yet
		wantErr(t, "Read", err, stream.ErrBusy)
		testkit.Idle(t, ctx)
		if err := w.CloseWrite(); err != nil {
			return err
		}
		_, err = busy.Await(ctx)
		n, eof := r.ReadFull(ctx, make([]byte, 1))
		if n != 0 || eof != io.EOF {
			t.Errorf("ReadFull at the end: %d, %v", n, eof)
		}
		return err
	})
	withPipe(t, 10, func(ctx context.Context, r *stream.Reader, w *stream.Conn) error {
		all := task.Start(ctx, r.ReadAll)
		want := strings.Repeat("read(-1)", 5000)
		for range 3 {
			feed(t, w, want)
			testkit.Idle(t, ctx)
		}
		if err := w.CloseWrite(); err != nil {
			return err
		}
		p, err := all.Await(ctx)
		if string(p) != strings.Repeat(want, 3) {
			t.Errorf("ReadAll: %d bytes, want %d", len(p), 3*len(want))
		}
		return err
	})
}

func TestEdge118_AtEOF(t *testing.T) {
	withPipe(t, 0, func(ctx context.Context, r *stream.Reader, w *stream.Conn) error {
		feed(t, w, "some")
		if err := w.CloseWrite(); err != nil {
			return err
		}
		if r.AtEOF() {
			t.Error("at the end before a read")
		}
		if p, err := r.Peek(ctx, 5); string(p) != "some" || err != io.EOF {
			t.Errorf("Peek: %q, %v", p, err)
		}
		if r.AtEOF() {
			t.Error("at the end with bytes buffered")
		}
		p := make([]byte, 4)
		if n, err := r.Read(ctx, p); n != 4 || err != nil {
			t.Errorf("Read: %d, %v", n, err)
		}
		if !r.AtEOF() {
			t.Error("not at the end")
		}
		return nil
	})
}

// An error comes after the bytes that came before it, and stays, although the system
// tells it once.
func TestEdge118_ErrorStays(t *testing.T) {
	run(t, func(ctx context.Context) error {
		x, y, err := netPair()
		if err != nil {
			return err
		}
		c, err := stream.Adopt(ctx, y)
		if err != nil {
			return err
		}
		defer c.Close()
		r := stream.NewReader(c, 0)
		if _, err := x.Write([]byte("before\nhalf")); err != nil {
			return err
		}
		if line, err := r.ReadLine(ctx); line != "before" || err != nil {
			t.Errorf("%q, %v", line, err)
		}
		waiting := task.Start(ctx, r.ReadLine)
		testkit.Yield(ctx, 2)
		if err := x.(interface{ SetLinger(int) error }).SetLinger(0); err != nil {
			return err
		}
		x.Close()
		_, err = waiting.Await(ctx)
		wantErr(t, "waiting ReadLine", err, syscall.ECONNRESET)
		_, err = r.ReadFull(ctx, make([]byte, 5))
		wantErr(t, "ReadFull", err, syscall.ECONNRESET)
		p := make([]byte, 10)
		if n, err := r.Read(ctx, p); string(p[:n]) != "half" || err != nil {
			t.Errorf("what came before: %q, %v", p[:n], err)
		}
		for range 3 {
			_, err = r.ReadLine(ctx)
			wantErr(t, "ReadLine", err, syscall.ECONNRESET)
		}
		if r.AtEOF() {
			t.Error("at the end, but the stream has failed")
		}
		return nil
	})
}

// Parts of all lengths with several separators in writes of all lengths, read in all
// ways, against strings.
func TestReaderModel(t *testing.T) {
	for seed := range uint64(300) {
		withPipe(t, 200_000, func(ctx context.Context, r *stream.Reader, w *stream.Conn) error {
			rnd := rand.New(rand.NewPCG(seed, 3))
			var input strings.Builder
			for input.Len() < 100_000 {
				input.WriteString(strings.Repeat("ab", rnd.IntN(1<<rnd.IntN(13))))
				input.WriteString([]string{"\n", "\r\n", "aba", "#"}[rnd.IntN(4)])
			}
			input.WriteString("\n")
			rest := input.String()
			sender := task.Go(ctx, func(ctx context.Context) error {
				for s := rest; s != ""; {
					n := min(len(s), 1+rnd.IntN(1<<rnd.IntN(15)))
					if _, err := w.Write(ctx, []byte(s[:n])); err != nil {
						return err
					}
					s = s[n:]
				}
				return w.CloseWrite()
			})
			for rest != "" {
				got, n, err := readModel(ctx, r, rnd, rest)
				if err != nil {
					return fmt.Errorf("seed %d, %d bytes before the end: %w", seed, len(rest), err)
				}
				if got != rest[:n] {
					return fmt.Errorf("seed %d, %d bytes before the end: %.50q, want %.50q", seed, len(rest), got, rest[:n])
				}
				rest = rest[n:]
			}
			if n, err := r.Read(ctx, make([]byte, 1)); n != 0 || err != io.EOF {
				return fmt.Errorf("seed %d: %d, %w at the end", seed, n, err)
			}
			_, err := sender.Await(ctx)
			return err
		})
		if t.Failed() {
			return
		}
	}
}

// readModel reads once in some way, and returns what was read and how much it should
// have been.
func readModel(ctx context.Context, r *stream.Reader, rnd *rand.Rand, rest string) (got string, n int, err error) {
	n = min(len(rest), rnd.IntN(1<<rnd.IntN(16)))
	var p []byte
	switch rnd.IntN(6) {
	case 0:
		p = make([]byte, n)
		_, err = r.ReadFull(ctx, p)
	case 1:
		p = make([]byte, n)
		n, err = r.Read(ctx, p)
		p = p[:n]
	case 2:
		n = strings.Index(rest, "\n") + 1
		p, err = r.ReadUntil(ctx, []byte("\n"))
	case 3:
		n = len(rest)
		for _, sep := range []string{"\r\n", "#", "aba"} {
			if i := strings.Index(rest, sep); i >= 0 {
				n = min(n, i+len(sep))
			}
		}
		if n == len(rest) {
			return "", 0, nil
		}
		p, err = r.ReadUntil(ctx, seps("\r\n", "#", "aba")...)
	case 4:
		if p, err = r.Peek(ctx, n); err == nil {
			p = bytes.Clone(p)
			_, err = r.Discard(ctx, int64(n))
		}
	case 5:
		n = strings.Index(rest, "\n") + 1
		var k int64
		if k, err = r.SkipUntil(ctx, []byte("\n")); int(k) == n {
			return rest[:n], n, err
		}
	}
	return string(p), n, err
}

// R29: a hundred thousand reads are canceled after all numbers of turns, and no byte is
// lost or comes twice.
func TestReaderCancelStorm(t *testing.T) {
	const total = 100_000
	withPipe(t, 0, func(ctx context.Context, r *stream.Reader, w *stream.Conn) error {
		rnd := rand.New(rand.NewPCG(1, 9))
		sent, next, canceled := 0, 0, 0
		stop := false
		sender := task.Go(ctx, func(ctx context.Context) error {
			for !stop {
				p := make([]byte, 1+rnd.IntN(12))
				for i := range p {
					p[i] = byte('a' + sent%23)
					if sent%10 == 9 {
						p[i] = '\n'
					}
					sent++
				}
				if _, err := w.Write(ctx, p); err != nil {
					return err
				}
				testkit.Yield(ctx, rnd.IntN(6))
			}
			return nil
		})
		check := func(p []byte) error {
			for _, b := range p {
				want := byte('a' + next%23)
				if next%10 == 9 {
					want = '\n'
				}
				if b != want {
					return fmt.Errorf("byte %d is %q, want %q", next, b, want)
				}
				next++
			}
			return nil
		}
		for i := 0; canceled < total; i++ {
			t := task.Go(ctx, func(ctx context.Context) error {
				p, err := readAnyhow(ctx, r, i%5)
				if err != nil {
					return err
				}
				return check(p)
			})
			testkit.Yield(ctx, rnd.IntN(4))
			t.Cancel(nil)
			_, err := t.Await(ctx)
			switch {
			case errors.Is(err, context.Canceled):
				canceled++
			case err != nil:
				return err
			}
		}
		stop = true
		_, err := sender.Await(ctx)
		if next == 0 || next > sent {
			t.Errorf("read %d bytes of %d", next, sent)
		}
		return err
	})
}

func readAnyhow(ctx context.Context, r *stream.Reader, way int) ([]byte, error) {
	p := make([]byte, 17)
	var n int
	var err error
	switch way {
	case 0:
		n, err = r.Read(ctx, p)
	case 1:
		n, err = r.ReadFull(ctx, p)
	case 2:
		return r.ReadUntil(ctx, []byte("\n"))
	case 3:
		line, err := r.ReadLine(ctx)
		if err != nil {
			return nil, err
		}
		return append([]byte(line), '\n'), nil
	case 4:
		var q []byte
		if q, err = r.Peek(ctx, len(p)); err == nil {
			n = copy(p, q)
			_, err = r.Discard(ctx, int64(n))
		}
	}
	return p[:n], err
}

// Canceled SkipUntil and Discard have dropped what they say.
func TestReaderCancelSkip(t *testing.T) {
	withPipe(t, 0, func(ctx context.Context, r *stream.Reader, w *stream.Conn) error {
		skip := func(fn func(ctx context.Context) (int64, error)) int64 {
			var dropped int64
			sk := task.Go(ctx, func(ctx context.Context) (err error) {
				dropped, err = fn(ctx)
				return err
			})
			testkit.Idle(t, ctx)
			sk.Cancel(nil)
			_, err := sk.Await(ctx)
			wantErr(t, "canceled skip", err, context.Canceled)
			return dropped
		}
		feed(t, w, "dropped-")
		if n := skip(func(ctx context.Context) (int64, error) { return r.SkipUntil(ctx, []byte("--")) }); n != 7 {
			t.Errorf("SkipUntil has dropped %d bytes, want 7", n)
		}
		feed(t, w, "-next")
		if n, err := r.SkipUntil(ctx, []byte("--")); n != 2 || err != nil {
			t.Errorf("SkipUntil: %d, %v; want 2", n, err)
		}
		if n := skip(func(ctx context.Context) (int64, error) { return r.Discard(ctx, 10) }); n != 4 {
			t.Errorf("Discard has dropped %d bytes, want 4", n)
		}
		return nil
	})
}

func TestReaderMisuse(t *testing.T) {
	withPipe(t, 8, func(ctx context.Context, r *stream.Reader, w *stream.Conn) error {
		testkit.WantPanic(t, "stream: ReadUntil without a separator", func() { _, _ = r.ReadUntil(ctx) })
		testkit.WantPanic(t, "stream: SkipUntil with an empty separator", func() { _, _ = r.SkipUntil(ctx, []byte("x"), nil) })
		testkit.WantPanic(t, "stream: Peek", func() { _, _ = r.Peek(ctx, -1) })
		testkit.WantPanic(t, "stream: Discard", func() { _, _ = r.Discard(ctx, -1) })
		_, err := r.Peek(ctx, 9)
		wantErr(t, "Peek", err, stream.ErrTooLong)
		return nil
	})
}

// A Reader that never waits gives way to others.
func TestReaderGivesWay(t *testing.T) {
	withPipe(t, 0, func(ctx context.Context, r *stream.Reader, w *stream.Conn) error {
		feed(t, w, strings.Repeat("line\n", 1000))
		turns := 0
		other := task.Go(ctx, func(ctx context.Context) error {
			for {
				if err := task.Yield(ctx); err != nil {
					return err
				}
				turns++
			}
		})
		for range 1000 {
			if _, err := r.ReadLine(ctx); err != nil {
				return err
			}
		}
		other.Cancel(nil)
		_, _ = other.Await(ctx)
		if turns < 10 {
			t.Errorf("others had %d turns while 1000 lines were read", turns)
		}
		return nil
	})
}

// R25: an endless line costs no memory, and what comes after it is read.
func TestLargeLineWithoutEnd(t *testing.T) {
	size := int64(1 << 30)
	if raceEnabled {
		size = 1 << 26
	}
	run(t, func(ctx context.Context) error {
		w, c := pair(ctx, t)
		defer w.Close()
		defer c.Close()
		r := stream.NewReader(c, 0)
		chunk := bytes.Repeat([]byte{'x'}, 64<<10)
		sender := task.Go(ctx, func(ctx context.Context) error {
			for n := int64(0); n < size; n += int64(len(chunk)) {
				if _, err := w.Write(ctx, chunk); err != nil {
					return err
				}
			}
			_, err := w.Write(ctx, []byte("\nnext\n"))
			return err
		})
		_, err := r.ReadLine(ctx)
		wantErr(t, "ReadLine", err, stream.ErrTooLong)
		before := memory()
		peak := int64(0)
		watch := task.Go(ctx, func(ctx context.Context) error {
			for {
				peak = max(peak, memory()-before)
				for range 1000 {
					if err := task.Yield(ctx); err != nil {
						return err
					}
				}
			}
		})
		if n, err := r.SkipUntil(ctx, []byte("\n")); n != size+1 || err != nil {
			t.Errorf("SkipUntil: %d, %v; want %d", n, err, size+1)
		}
		watch.Cancel(nil)
		if line, err := r.ReadLine(ctx); line != "next" || err != nil {
			t.Errorf("then %q, %v", line, err)
		}
		if peak > 4<<20 {
			t.Errorf("memory grew by %d bytes", peak)
		}
		_, err = sender.Await(ctx)
		return err
	})
}

// memory is what was taken from the system.
func memory() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

// R24: what ReadUntil returns depends neither on how the input is cut nor on the order of
// the separators.
func FuzzReadUntil(f *testing.F) {
	f.Add("one;;two;", ";;", ";", uint8(3), uint8(5))
	f.Add("aaaaab", "aab", "ab", uint8(1), uint8(0))
	f.Add("a\r\nb\n", "\n", "\r\n", uint8(2), uint8(1))
	f.Fuzz(func(t *testing.T, input, sep, other string, cut, limit uint8) {
		if len(input) > 4096 || sep == "" || other == "" || cut == 0 {
			return
		}
		whole := untilAll(t, input, len(input)+1, int(limit), seps(sep, other))
		if got := untilAll(t, input, int(cut), int(limit), seps(other, sep)); !slices.Equal(got, whole) {
			t.Errorf("in pieces of %d: %q, want %q", cut, got, whole)
		}
		last := len(whole) - 1
		switch all, end := strings.Join(whole[:last], ""), whole[last]; end {
		case "too long":
			if !strings.HasPrefix(input, all) {
				t.Errorf("parts %q are not of %q", whole, input)
			}
		case "EOF":
			if all != input {
				t.Errorf("parts %q are not %q", whole, input)
			}
		default:
			if all+strings.TrimPrefix(end, "incomplete ") != input {
				t.Errorf("parts %q are not %q", whole, input)
			}
		}
	})
}

// untilAll feeds the input in pieces of n bytes and reads parts up to an error.
func untilAll(t *testing.T, input string, n, limit int, seps [][]byte) (got []string) {
	withPipe(t, limit, func(ctx context.Context, r *stream.Reader, w *stream.Conn) error {
		sender := task.Go(ctx, func(ctx context.Context) error {
			for s := input; s != ""; s = s[min(n, len(s)):] {
				feed(t, w, s[:min(n, len(s))])
				testkit.Idle(t, ctx)
			}
			return w.CloseWrite()
		})
		for {
			p, err := r.ReadUntil(ctx, seps...)
			got = append(got, outcomeOf(p, err))
			if err != nil {
				break
			}
		}
		_, err := sender.Await(ctx)
		return err
	})
	return got
}
