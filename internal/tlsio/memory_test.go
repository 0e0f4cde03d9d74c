package tlsio_test

import (
	"reflect"
	"testing"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/internal/tlsio"
)

// owned is what an engine has of its own beside crypto/tls: bytes of buffers, and
// whether a stack.
func owned(e *end) (bytes int, stack bool) {
	v := reflect.ValueOf(e.Engine).Elem()
	for _, name := range []string{"in", "out"} {
		bytes += v.FieldByName(name).FieldByName("buf").Cap()
	}
	return bytes, !v.FieldByName("stack").IsNil()
}

func wantNothing(t *testing.T, when string, ends ...*end) {
	t.Helper()
	for _, e := range ends {
		if n, stack := owned(e); n > 0 || stack {
			t.Errorf("%s, %s owns %d bytes, a stack: %t", when, e.in.at, n, stack)
		}
	}
}

func TestIdleEngineOwnsNothing(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			c, s := newPair(t, way, clientTLS(), serverTLS())
			wantNothing(t, "new", c, s)
			if _, serr := shake(t, c, s); serr != nil {
				t.Fatal(serr)
			}
			wantNothing(t, "after the handshake", c, s)
			_, _ = c.Write([]byte("fed"))
			feed(c, s)
			wantRead(t, s, "fed", netfd.ErrWouldBlock)
			wantNothing(t, "after what was fed", c, s)
			chat(t, c, s, randomly(4))
			_, _ = c.Write(nil)
			wantNothing(t, "after a conversation", c, s)
			testkit.Must(t, c.CloseWrite())
			_, _ = c.Write([]byte("too late"))
			send(c, s)
			_, _ = c.Write([]byte("too late"))
			wantNothing(t, "after CloseWrite", c, s)
		})
	}
	c, s := newPair(t, onThread, clientTLS(), serverTLS())
	_ = c.Handshake()
	feed(c, s)
	c.Feed([]byte("\x16\x03\x03"))
	c.Abandon()
	wantNothing(t, "abandoned", c)
}

func TestBuffersAreLent(t *testing.T) {
	bufs := new(tlsio.Buffers)
	c, s := newEnds(nil, bufs, clientTLS(), serverTLS())
	if cerr, serr := shake(t, c, s); cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	before := bufs.Idle()
	if before == 0 {
		t.Error("the handshake has left no buffer")
	}
	for range 3 {
		for range 2 {
			_, _ = c.Write([]byte("x"))
			if n := bufs.Idle(); n != before-1 {
				t.Errorf("%d buffers while one is lent, want %d", n, before-1)
			}
		}
		c.Advance(1)
		c.Advance(len(c.Pending()))
		if n := bufs.Idle(); n != before {
			t.Errorf("%d buffers, want %d", n, before)
		}
	}
	_, _ = c.Write(make([]byte, 1<<20))
	c.Advance(len(c.Pending()))
	if n := bufs.Idle(); n != before-1 {
		t.Errorf("%d buffers after a large one, want %d: it should be left to the collector", n, before-1)
	}
	for range 100 {
		c, _ := newEnds(nil, bufs, clientTLS(), serverTLS())
		_ = c.Handshake()
		c.Advance(len(c.Pending()))
		c.Abandon()
	}
	if n := bufs.Idle(); n != 16 {
		t.Errorf("%d buffers, want 16", n)
	}
}
