//go:build unix

package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/transport"
)

// The numbers are those of the cases in which asyncio is easily misread.

// Connected comes by the queue, before anything is read; Lost exactly once, by the
// queue, with nil after a clean close.
func TestEdge107_MadeAndLost(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var r recorder
		tr, p := pair(t, l, &r, transport.Config{})
		defer p.close()
		p.write("early")
		l.CallSoon(func() { r.Log("call") })
		r.Want(t)
		turns(ctx, t, 3)
		r.Want(t, "made", "call", "data early")
		tr.Close()
		tr.Close()
		tr.Abort()
		l.CallSoon(func() { r.Log("call") })
		r.Want(t)
		turns(ctx, t, 1)
		r.Want(t, "lost nil", "call")
		if got := p.read(); got != "EOF" {
			t.Errorf("the peer read %q", got)
		}
	})
}

// Write tries the socket at once, and buffers the rest. After the end it is dropped,
// and said so from the fifth time.
func TestEdge108_WriteAtOnce(t *testing.T) {
	var reports []string
	cfg := loop.Config{OnError: func(e *loop.CallError) { reports = append(reports, e.Error()) }}
	runConfig(t, cfg, func(ctx context.Context, l *loop.Loop) {
		var r recorder
		tr, p := pair(t, l, &r, transport.Config{})
		defer p.close()
		must(t, tr.Write([]byte("at once")))
		if got := p.read(); got != "at once" {
			t.Errorf("the peer read %q before the loop had a turn", got)
		}
		big := strings.Repeat("x", 4<<20)
		must(t, tr.Write([]byte(big)))
		buffered := tr.WriteBufferSize()
		if buffered == 0 || buffered >= len(big) {
			t.Errorf("%d bytes of %d are buffered", buffered, len(big))
		}
		got := ""
		until(ctx, t, "the peer has all", func() bool { got += p.read(); return len(got) >= len(big) })
		if got != big || tr.WriteBufferSize() != 0 {
			t.Errorf("the peer read %d bytes, %d are buffered", len(got), tr.WriteBufferSize())
		}
		tr.Abort()
		for i := range 6 {
			if err := tr.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write %d after the end: %v", i+1, err)
			}
		}
		if len(reports) != 2 || tr.Dropped() != 6 || !strings.Contains(reports[0], "write number 5") {
			t.Errorf("%d writes dropped, reports: %q", tr.Dropped(), reports)
		}
		if got := p.read(); got != "" {
			t.Errorf("the peer read %q", got)
		}
	})
}

// Close flushes, Abort does not. An error of a write is fatal, and drops the buffer.
func TestEdge109_CloseAndAbort(t *testing.T) {
	big := make([]byte, 4<<20)
	t.Run("close", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			var r recorder
			tr, p := pair(t, l, &r, transport.Config{})
			defer p.close()
			must(t, tr.Write(big))
			tr.Close()
			turns(ctx, t, 3)
			r.Want(t, "made", "pause")
			n := 0
			until(ctx, t, "Lost", func() bool { n += len(p.read()); return r.lost })
			n += len(strings.TrimSuffix(p.read(), "EOF"))
			r.Want(t, "resume", "lost nil")
			if n < len(big) {
				t.Errorf("the peer read %d bytes of %d", n, len(big))
			}
		})
	})
	t.Run("abort", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			var r recorder
			tr, p := pair(t, l, &r, transport.Config{})
			defer p.close()
			must(t, tr.Write(big))
			tr.Abort()
			turns(ctx, t, 3)
			r.Want(t, "made", "lost nil")
			if n := len(p.read()); n >= len(big) || tr.WriteBufferSize() != 0 {
				t.Errorf("the peer read %d bytes of %d, %d are buffered", n, len(big), tr.WriteBufferSize())
			}
		})
	})
	t.Run("error", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			var r recorder
			tr, p := pair(t, l, &r, transport.Config{})
			turns(ctx, t, 1)
			must(t, tr.Write(big))
			p.close()
			until(ctx, t, "Lost", func() bool { return r.lost })
			if !errors.Is(r.err, syscall.EPIPE) && !errors.Is(r.err, syscall.ECONNRESET) {
				t.Errorf("lost by %v", r.err)
			}
			if tr.WriteBufferSize() != 0 {
				t.Errorf("%d bytes are buffered", tr.WriteBufferSize())
			}
		})
	})
}

// Pause comes above the high limit, not at it; resume at the low one. A high of 0
// pauses for any byte.
func TestEdge110_Watermarks(t *testing.T) {
	for _, tt := range []struct {
		low, high int
		add       []int // bytes, each time
		want      []string
	}{
		{-1, -1, []int{64 << 10}, nil},
		{-1, -1, []int{64 << 10, 1, 1}, []string{"pause"}},
		{0, 0, []int{1}, []string{"pause"}},
		{2, 5, []int{5}, nil},
		{2, 5, []int{6}, []string{"pause"}},
	} {
		t.Run(fmt.Sprint(tt.low, tt.high, tt.add), func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				var r recorder
				tr, p := pair(t, l, &r, transport.Config{HighWater: 16 << 20})
				defer p.close()
				turns(ctx, t, 1)
				for tr.WriteBufferSize() == 0 { // fill the socket
					must(t, tr.Write(make([]byte, 1)))
				}
				r.Want(t, "made")
				before := tr.WriteBufferSize()
				low, high := tt.low, tt.high
				if high < 0 {
					tr.SetWriteLimits(low, high)
					low, high = tr.WriteLimits()
				}
				tr.SetWriteLimits(low, high+before)
				for _, n := range tt.add {
					must(t, tr.Write(make([]byte, n)))
				}
				r.Want(t, tt.want...)
			})
		})
	}
}

// Resume comes when the buffer has fallen to the low limit, and not before.
func TestEdge110_Resume(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var r recorder
		tr, p := pair(t, l, &r, transport.Config{HighWater: 1 << 20, LowWater: 256 << 10})
		defer p.close()
		turns(ctx, t, 1)
		must(t, tr.Write(make([]byte, 4<<20)))
		r.Want(t, "made", "pause")
		for len(r.Lines) == 0 {
			if n := tr.WriteBufferSize(); n <= 256<<10 {
				t.Fatalf("%d bytes are buffered and nobody has said so", n)
			}
			p.read()
			must(t, tr.Write([]byte("x"))) // no second pause
			turns(ctx, t, 1)
		}
		r.Want(t, "resume")
	})
}

// Pausing and resuming are idempotent, also in Connected and when closing.
func TestEdge111_PauseReading(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		r := recorder{connected: func(t *transport.Transport) {
			t.PauseReading()
			t.PauseReading()
		}}
		tr, p := pair(t, l, &r, transport.Config{})
		defer p.close()
		p.write("early")
		turns(ctx, t, 5)
		r.Want(t, "made")
		if tr.IsReading() {
			t.Error("reads while paused")
		}
		tr.ResumeReading()
		tr.ResumeReading()
		if !tr.IsReading() {
			t.Error("does not read when resumed")
		}
		r.Want(t)
		turns(ctx, t, 2)
		r.Want(t, "data early")
		tr.PauseReading()
		p.write("late")
		turns(ctx, t, 3)
		tr.Close()
		tr.PauseReading()
		tr.ResumeReading()
		turns(ctx, t, 3)
		r.Want(t, "lost nil")
		if tr.IsReading() {
			t.Error("reads when closed")
		}
	})
}

// An EOF that returns false closes; true keeps our side. CloseWrite comes after the
// buffer, and a write after it is refused.
func TestEdge112_HalfClose(t *testing.T) {
	t.Run("closes", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			var r recorder
			_, p := pair(t, l, &r, transport.Config{})
			defer p.close()
			p.write("last")
			p.closeWrite()
			until(ctx, t, "Lost", func() bool { return r.lost })
			r.Want(t, "made", "data last", "eof", "lost nil")
		})
	})
	t.Run("keeps open", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			r := recorder{keepOpen: true}
			tr, p := pair(t, l, &r, transport.Config{})
			defer p.close()
			p.closeWrite()
			turns(ctx, t, 5)
			r.Want(t, "made", "eof")
			must(t, tr.Write([]byte("still there")))
			if got := p.read(); got != "still there" {
				t.Errorf("the peer read %q", got)
			}
			tr.PauseReading()
			tr.ResumeReading()
			turns(ctx, t, 5)
			r.Want(t)
			tr.Close()
			turns(ctx, t, 2)
			r.Want(t, "lost nil")
		})
	})
	t.Run("CloseWrite", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			var r recorder
			tr, p := pair(t, l, &r, transport.Config{})
			defer p.close()
			big := strings.Repeat("x", 1<<20)
			must(t, tr.Write([]byte(big)))
			tr.CloseWrite()
			tr.CloseWrite()
			for _, err := range []error{tr.Write([]byte("more")), tr.WriteAll([][]byte{{1}})} {
				if err != transport.ErrWriteClosed {
					t.Errorf("write after CloseWrite: %v", err)
				}
			}
			got := ""
			until(ctx, t, "the peer's end", func() bool { got += p.read(); return strings.HasSuffix(got, "EOF") })
			if got != big+"EOF" {
				t.Errorf("the peer read %d bytes", len(got))
			}
			p.write("answer")
			turns(ctx, t, 3)
			tr.Close()
			tr.CloseWrite()
			turns(ctx, t, 2)
			r.Want(t, "made", "pause", "resume", "data answer", "lost nil")
		})
	})
}

// A buffered is a protocol with memory of its own.
type buffered struct {
	recorder
	buf   []byte
	panic bool
}

func (b *buffered) GetBuffer(hint int) []byte {
	if b.panic {
		panic("no buffer")
	}
	return b.buf
}

func (b *buffered) BufferUpdated(n int) { b.Log("updated %s", b.buf[:n]) }

// An empty buffer, or a GetBuffer that panics, is fatal. The kind of the protocol may
// change in flight.
func TestEdge113_BufferedProtocol(t *testing.T) {
	t.Run("fills", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			b := buffered{buf: make([]byte, 3)}
			_, p := pair(t, l, &b, transport.Config{})
			defer p.close()
			p.write("abcdefgh")
			p.closeWrite()
			until(ctx, t, "Lost", func() bool { return b.lost })
			b.Want(t, "made", "updated abc", "updated def", "updated gh", "eof", "lost nil")
		})
	})
	t.Run("empty", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			var b buffered
			_, p := pair(t, l, &b, transport.Config{})
			defer p.close()
			p.write("x")
			until(ctx, t, "Lost", func() bool { return b.lost })
			b.Want(t, "made", "lost "+transport.ErrEmptyBuffer.Error())
		})
	})
	t.Run("panics", func(t *testing.T) {
		var reports []*loop.CallError
		cfg := loop.Config{OnError: func(e *loop.CallError) { reports = append(reports, e) }}
		runConfig(t, cfg, func(ctx context.Context, l *loop.Loop) {
			b := buffered{panic: true}
			_, p := pair(t, l, &b, transport.Config{})
			defer p.close()
			p.write("x")
			until(ctx, t, "Lost", func() bool { return b.lost })
			b.Want(t, "made", "lost panic in GetBuffer")
			if len(reports) != 1 || !strings.Contains(reports[0].Error(), "GetBuffer of unix") {
				t.Errorf("reports: %v", reports)
			}
		})
	})
	t.Run("changes", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			b := buffered{buf: make([]byte, 8)}
			r := recorder{}
			r.data = func([]byte) { r.t.SetProtocol(&b) }
			tr, p := pair(t, l, &r, transport.Config{})
			defer p.close()
			p.write("one")
			turns(ctx, t, 3)
			r.Want(t, "made", "data one")
			p.write("two")
			turns(ctx, t, 3)
			b.Want(t, "updated two")
			tr.SetProtocol(&r)
			p.write("three")
			turns(ctx, t, 3)
			r.Want(t, "data three")
			if tr.Protocol() != transport.Protocol(&b) {
				t.Error("the protocol was not changed back")
			}
		})
	})
}
