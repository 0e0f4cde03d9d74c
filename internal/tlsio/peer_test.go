package tlsio_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/eddyloop/eddy/internal/netfd"
)

// A pump reads a net.Conn on a goroutine of its own, so that the engine's owner,
// which is the test, can write at the same time.
type pump struct {
	conn   net.Conn
	chunks chan []byte
}

func newPump(conn net.Conn) *pump {
	p := &pump{conn: conn, chunks: make(chan []byte, 1000)}
	go func() {
		defer close(p.chunks)
		for {
			buf := make([]byte, 700)
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			p.chunks <- buf[:n]
		}
	}()
	return p
}

// drive flushes what is pending, and feeds what comes, until fn says something
// else than netfd.ErrWouldBlock.
func (p *pump) drive(t testing.TB, e *end, fn func() error) error {
	t.Helper()
	for {
		err := fn()
		for b := e.Pending(); b != nil; b = e.Pending() {
			if n, err := p.conn.Write(b); err != nil {
				t.Fatalf("write: %v", err)
			} else {
				e.Advance(n)
			}
		}
		if err != netfd.ErrWouldBlock {
			return err
		}
		if chunk, ok := <-p.chunks; !ok {
			e.FeedEOF()
		} else if e.Shaking() {
			e.Feed(chunk)
		} else {
			e.in.buf = append(e.in.buf, chunk...)
		}
	}
}

// echoOverPipe has an engine speak with a tls.Conn over net.Pipe: 64 KB there and
// back in lines of growing length, and a close_notify from each.
func echoOverPipe(t *testing.T, e *end, peer func(net.Conn) *tls.Conn) {
	ours, theirs := net.Pipe()
	deadline := time.Now().Add(20 * time.Second)
	_ = theirs.SetDeadline(deadline)
	_ = ours.SetDeadline(deadline)
	done := make(chan error, 1)
	go func() {
		conn := peer(theirs)
		_, err := io.Copy(conn, conn)
		if err == nil {
			err = conn.Close()
		}
		done <- err
	}()
	p := newPump(ours)
	if err := p.drive(t, e, e.Handshake); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	for size := 1; size <= 32<<10; size *= 2 {
		if _, err := e.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, size)
		for got := 0; got < size; {
			err := p.drive(t, e, func() error {
				n, err := e.TryRead(buf[got:])
				got += n
				return err
			})
			if err != nil {
				t.Fatalf("after %d of %d bytes: %v", got, size, err)
			}
		}
	}
	if err := e.CloseWrite(); err != nil {
		t.Error(err)
	}
	err := p.drive(t, e, func() error { _, err := e.TryRead(make([]byte, 1)); return err })
	if err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("peer: %v", err)
	}
	_ = ours.Close()
	for range p.chunks { // until its goroutine has ended
	}
}

func TestAgainstConn(t *testing.T) {
	for _, way := range ways {
		for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(way.name+"/"+tls.VersionName(v), func(t *testing.T) {
				client, server := clientTLS(), versions(serverTLS(), v)
				t.Run("client", func(t *testing.T) {
					c, _ := newPair(t, way, client, server)
					echoOverPipe(t, c, func(conn net.Conn) *tls.Conn { return tls.Server(conn, server) })
				})
				t.Run("server", func(t *testing.T) {
					_, s := newPair(t, way, client, server)
					echoOverPipe(t, s, func(conn net.Conn) *tls.Conn { return tls.Client(conn, client) })
				})
			})
		}
	}
}
