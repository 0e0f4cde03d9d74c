package tlsio_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"reflect"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/tlsio"
)

// move is a flush to a socket that the peer then reads, by way of socket.
func move(from, to *end, socket []byte) {
	p := from.Pending()
	to.in.buf = append(socket[:0], p...)
	from.Advance(len(p))
}

func mustRead(b testing.TB, e *end, p []byte) {
	for n := 0; n < len(p); {
		m, err := e.TryRead(p[n:])
		if err != nil {
			b.Fatal(err)
		}
		n += m
	}
}

// A bufConn is a net.Conn in memory whose reads never have to wait.
type bufConn struct {
	in, out *bytes.Buffer
	net.Conn
}

func (c bufConn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c bufConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c bufConn) SetWriteDeadline(time.Time) error { return nil }

// A switchConn is a net.Conn that is replaced after the handshake.
type switchConn struct{ net.Conn }

// connPair returns two tls.Conns over net.Pipe.
func connPair(b testing.TB) (c, s *tls.Conn, under [2]*switchConn) {
	p1, p2 := net.Pipe()
	b.Cleanup(func() { _, _ = p1.Close(), p2.Close() })
	under = [2]*switchConn{{p1}, {p2}}
	c, s = tls.Client(under[0], clientTLS()), tls.Server(under[1], serverTLS())
	handshakeBoth(b, c, s)
	return c, s, under
}

func handshakeBoth(b testing.TB, c, s *tls.Conn) {
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		b.Fatal(err)
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkEcho sends data there and back, with a look at the empty carrier before
// each as a loop has it.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"1K", 1 << 10}, {"16K", 16 << 10}} {
		msg, buf, socket := make([]byte, size.n), make([]byte, size.n), make([]byte, 2*size.n)
		b.Run(size.name+"/engine", func(b *testing.B) {
			c, s := connected(b, onWorker, clientTLS(), serverTLS())
			b.SetBytes(int64(2 * size.n))
			b.ReportAllocs()
			for b.Loop() {
				for _, dir := range [][2]*end{{c, s}, {s, c}} {
					if _, err := dir[1].TryRead(buf); err != netfd.ErrWouldBlock {
						b.Fatal(err)
					}
					_, _ = dir[0].Write(msg)
					move(dir[0], dir[1], socket)
					mustRead(b, dir[1], buf)
				}
			}
		})
		b.Run(size.name+"/conn-buffers", func(b *testing.B) {
			c, s, under := connPair(b)
			there, back := new(bytes.Buffer), new(bytes.Buffer)
			under[0].Conn, under[1].Conn = bufConn{in: back, out: there}, bufConn{in: there, out: back}
			b.SetBytes(int64(2 * size.n))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Write(msg)
				_, _ = io.ReadFull(s, buf)
				_, _ = s.Write(msg)
				_, _ = io.ReadFull(c, buf)
			}
		})
		b.Run(size.name+"/conn-netpipe", func(b *testing.B) {
			c, s, _ := connPair(b)
			go func() {
				buf := make([]byte, size.n)
				for {
					if _, err := io.ReadFull(s, buf); err != nil {
						return
					}
					_, _ = s.Write(buf)
				}
			}()
			b.SetBytes(int64(2 * size.n))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Write(msg)
				_, _ = io.ReadFull(c, buf)
			}
		})
	}
}

// BenchmarkWouldBlock is a read that finds nothing.
func BenchmarkWouldBlock(b *testing.B) {
	_, s := connected(b, onWorker, clientTLS(), serverTLS())
	buf := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.TryRead(buf)
	}
}

// BenchmarkHandshake is both sides of a handshake.
func BenchmarkHandshake(b *testing.B) {
	server := serverTLS()
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			pool, bufs := way.pool(b), new(tlsio.Buffers)
			b.ReportAllocs()
			for b.Loop() {
				c, s := newEnds(pool, bufs, clientTLS(), server)
				if cerr, serr := shake(b, c, s); cerr != nil || serr != nil {
					b.Fatal(cerr, serr)
				}
			}
		})
	}
	b.Run("conn-netpipe", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p1, p2 := net.Pipe()
			handshakeBoth(b, tls.Client(p1, clientTLS()), tls.Server(p2, server))
			_, _ = p1.Close(), p2.Close()
		}
	})
}

// BenchmarkStep is a handshake of four steps that do nothing but begin and end. The
// caller is locked to its thread, or not.
func BenchmarkStep(b *testing.B) {
	server := serverTLS()
	for _, way := range ways {
		for _, locked := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/locked=%t", way.name, locked), func(b *testing.B) {
				if locked {
					runtime.LockOSThread() // for the rest of it: the stacks are freed then
				}
				pool := way.pool(b)
				for b.Loop() {
					_, s := newEnds(pool, nil, nil, server)
					for _, data := range []byte{22, 3, 1} {
						s.Feed([]byte{data})
						_ = s.Handshake()
					}
					s.Abandon()
				}
			})
		}
	}
}

// BenchmarkIdle tells what a connected pair keeps, per side, in bytes: all, what of
// it is buffers of crypto/tls, and what is the Engine.
func BenchmarkIdle(b *testing.B) {
	const pairs = 500
	for _, tt := range []struct {
		name string
		data int
	}{{"fresh", 0}, {"after-1K", 1 << 10}, {"after-256K", 256 << 10}} {
		data, buf, socket := make([]byte, tt.data), make([]byte, tt.data), make([]byte, 32<<10)
		cfgs := [2]*tls.Config{clientTLS(), serverTLS()}
		b.Run(tt.name+"/engine", func(b *testing.B) {
			pool, bufs := onWorker.pool(b), new(tlsio.Buffers)
			for b.Loop() {
				ends := make([]*end, 0, 2*pairs)
				before := inUse()
				for range pairs {
					c, s := newEnds(pool, bufs, cfgs[0], cfgs[1])
					_, _ = shake(b, c, s)
					for off := 0; off < tt.data; off += 16 << 10 {
						part := data[off:min(tt.data, off+16<<10)]
						_, _ = c.Write(part)
						move(c, s, socket)
						mustRead(b, s, buf[:len(part)])
						_, _ = s.Write(part)
						move(s, c, socket)
						mustRead(b, c, buf[:len(part)])
					}
					c.in.buf, s.in.buf = nil, nil
					ends = append(ends, c, s)
				}
				b.ReportMetric(float64(inUse()-before)/(2*pairs), "B/side")
				b.ReportMetric(float64(unsafe.Sizeof(tlsio.Engine{})), "B/engine")
				b.ReportMetric(unread(reflect.ValueOf(ends[0].Engine).Elem().FieldByName("tls")), "B/client-bufs")
				b.ReportMetric(unread(reflect.ValueOf(ends[1].Engine).Elem().FieldByName("tls")), "B/server-bufs")
			}
		})
		b.Run(tt.name+"/conn", func(b *testing.B) {
			for b.Loop() {
				conns := make([]*tls.Conn, 0, 2*pairs)
				before := inUse()
				for range pairs {
					p1, p2 := net.Pipe()
					u := [2]*switchConn{{p1}, {p2}}
					c, s := tls.Client(u[0], cfgs[0]), tls.Server(u[1], cfgs[1])
					handshakeBoth(b, c, s)
					there, back := new(bytes.Buffer), new(bytes.Buffer)
					u[0].Conn, u[1].Conn = bufConn{in: back, out: there}, bufConn{in: there, out: back}
					for off := 0; off < tt.data; off += 16 << 10 {
						part := data[off:min(tt.data, off+16<<10)]
						_, _ = c.Write(part)
						_, _ = io.ReadFull(s, buf[:len(part)])
						_, _ = s.Write(part)
						_, _ = io.ReadFull(c, buf[:len(part)])
					}
					u[0].Conn, u[1].Conn = nil, nil
					conns = append(conns, c, s)
				}
				b.ReportMetric(float64(inUse()-before)/(2*pairs), "B/side")
				b.ReportMetric(unread(reflect.ValueOf(conns[0])), "B/client-bufs")
				b.ReportMetric(unread(reflect.ValueOf(conns[1])), "B/server-bufs")
			}
		})
	}
}

// unread is the capacity of the buffers of a *tls.Conn for what comes in.
func unread(conn reflect.Value) float64 {
	n := 0
	for _, name := range []string{"rawInput", "hand"} {
		n += conn.Elem().FieldByName(name).FieldByName("buf").Cap()
	}
	return float64(n)
}

// inUse is the memory that heap and stacks take.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
