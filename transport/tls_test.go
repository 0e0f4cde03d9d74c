//go:build unix

package transport_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/transport"
)

// certificate returns the configurations of a server and of clients that trust it.
var certificate = sync.OnceValues(func() (server, client *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"eddy.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"echo"}}
	client = &tls.Config{RootCAs: roots, NextProtos: []string{"echo"}}
	return server, client
})

// listenTLS returns an echo server with TLS.
func listenTLS(t testing.TB, l *loop.Loop, factory func() transport.Protocol, cfg transport.Config) *transport.Listener {
	t.Helper()
	cfg.TLS, _ = certificate()
	ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", factory, transport.ListenConfig{Config: cfg})
	must(t, err)
	return ln
}

func dialTLS(ctx context.Context, t testing.TB, l *loop.Loop, ln *transport.Listener, p transport.Protocol) *transport.Transport {
	t.Helper()
	_, client := certificate()
	tr, err := transport.Dial(l, "tcp", ln.Addr().String(), p, transport.DialConfig{Config: transport.Config{TLS: client}}).Await(ctx)
	must(t, err)
	return tr
}

func TestTLSEcho(t *testing.T) {
	for _, size := range []int{1, 100, 16 << 10, 1 << 20} {
		run(t, func(ctx context.Context, l *loop.Loop) {
			ln := listenTLS(t, l, newEcho, transport.Config{})
			var r recorder
			tr := dialTLS(ctx, t, l, ln, &r)
			if s, ok := tr.TLS(); !ok || s.NegotiatedProtocol != "echo" || !s.HandshakeComplete {
				t.Errorf("state %v %+v", ok, s)
			}
			msg := make([]byte, size)
			_, _ = rand.Read(msg)
			must(t, tr.Write(msg[:size/2]))
			must(t, tr.WriteAll([][]byte{msg[size/2 : size*3/4], nil, msg[size*3/4:]}))
			until(ctx, t, "all is back", func() bool { return len(r.bytes) >= size })
			if !bytes.Equal(r.bytes, msg) {
				t.Error("what came back is not what was sent")
			}
			tr.Close()
			must(t, ln.Close())
			_, err := ln.Ended().Await(ctx)
			must(t, err)
			until(ctx, t, "Lost", func() bool { return r.lost })
			must(t, r.err)
			if n := tr.WriteBufferSize(); n != 0 {
				t.Errorf("%d bytes are buffered", n)
			}
		})
	}
}

// A peer of package crypto/tls, in both roles.
func TestTLSWithNet(t *testing.T) {
	server, client := certificate()
	t.Run("client", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			ln := listenTLS(t, l, newEcho, transport.Config{})
			out := make(chan error, 1)
			release := l.Hold()
			go func() {
				defer release()
				out <- func() error {
					c, err := tls.Dial("tcp", ln.Addr().String(), client)
					if err != nil {
						return err
					}
					defer c.Close()
					msg := bytes.Repeat([]byte("0123456789"), 50_000)
					go func() {
						_, _ = c.Write(msg)
						_ = c.CloseWrite()
					}()
					got, err := io.ReadAll(c)
					if err == nil && !bytes.Equal(got, msg) {
						err = errors.New("what came back is not what was sent")
					}
					return err
				}()
			}()
			var err error
			until(ctx, t, "the client is done", func() bool {
				select {
				case err = <-out:
					return true
				default:
					return false
				}
			})
			must(t, err)
			must(t, ln.Close())
			_, err = ln.Ended().Await(ctx)
			must(t, err)
		})
	})
	t.Run("server", func(t *testing.T) {
		ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
		must(t, err)
		defer ln.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
		run(t, func(ctx context.Context, l *loop.Loop) {
			var r recorder
			r.keepOpen = true
			tr, err := transport.Dial(l, "tcp", ln.Addr().String(), &r, transport.DialConfig{Config: transport.Config{TLS: client}}).Await(ctx)
			must(t, err)
			msg := bytes.Repeat([]byte("0123456789"), 50_000)
			must(t, tr.Write(msg))
			tr.CloseWrite() // reading goes on
			if err := tr.Write(msg); err != transport.ErrWriteClosed {
				t.Errorf("write after CloseWrite: %v", err)
			}
			until(ctx, t, "EOF", func() bool { return len(r.Lines) > 0 && r.Lines[len(r.Lines)-1] == "eof" })
			if !bytes.Equal(r.bytes, msg) {
				t.Errorf("%d bytes of %d came back", len(r.bytes), len(msg))
			}
			tr.Close()
			until(ctx, t, "Lost", func() bool { return r.lost })
			must(t, r.err)
			until(ctx, t, "the server is done", func() bool {
				select {
				case <-done:
					return true
				default:
					return false
				}
			})
		})
	})
}

// The names are wrong, or the other end speaks something else: the Dial fails, and the
// protocol is never called.
func TestTLSHandshakeFails(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		ln := listenTLS(t, l, newEcho, transport.Config{})
		var r recorder
		_, client := certificate()
		client = client.Clone()
		client.ServerName = "elsewhere.test"
		_, err := transport.Dial(l, "tcp", ln.Addr().String(), &r, transport.DialConfig{Config: transport.Config{TLS: client}}).Await(ctx)
		var wrong x509.HostnameError
		if !errors.As(err, &wrong) {
			t.Errorf("Dial: %v", err)
		}
		turns(ctx, t, 3)
		r.Want(t)
		until(ctx, t, "the server has lost it", func() bool { return ln.Stats().Open == 0 })
		if s := ln.Stats(); s.Failed != 1 || s.Accepted != 1 {
			t.Errorf("stats: %+v", s)
		}
		must(t, ln.Close())
	})
}

// A peer that says nothing is not waited for for ever.
func TestTLSTimeouts(t *testing.T) {
	t.Run("handshake", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer ln.Close()
			_, client := certificate()
			cfg := transport.Config{TLS: client, HandshakeTimeout: time.Millisecond}
			_, err = transport.Dial(l, "tcp", ln.Addr().String(), new(recorder), transport.DialConfig{Config: cfg}).Await(ctx)
			if !errors.Is(err, transport.ErrHandshakeTimeout) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Dial: %v", err)
			}
		})
	})
	t.Run("shutdown", func(t *testing.T) {
		run(t, func(ctx context.Context, l *loop.Loop) {
			var stuck recorder // does not read, so it never sees the end
			stuck.connected = func(t *transport.Transport) { t.PauseReading() }
			ln := listenTLS(t, l, func() transport.Protocol { return &stuck }, transport.Config{})
			_, client := certificate()
			var r recorder
			cfg := transport.Config{TLS: client, ShutdownTimeout: time.Millisecond}
			tr, err := transport.Dial(l, "tcp", ln.Addr().String(), &r, transport.DialConfig{Config: cfg}).Await(ctx)
			must(t, err)
			tr.Close()
			until(ctx, t, "Lost", func() bool { return r.lost })
			if !errors.Is(r.err, transport.ErrShutdownTimeout) {
				t.Errorf("lost by %v", r.err)
			}
			ln.Abort()
			_, err = ln.Ended().Await(ctx)
			must(t, err)
		})
	})
}

// What was received before the upgrade is not lost, what was written before it is sent
// as it is, what is written during the handshake after it.
func TestEdge128_StartTLS(t *testing.T) {
	server, client := certificate()
	client = client.Clone()
	client.ServerName = "eddy.test"
	run(t, func(ctx context.Context, l *loop.Loop) {
		var a, b recorder
		start := func(r *recorder, cfg transport.TLSConfig) func([]byte) {
			return func(p []byte) {
				if rest, ok := bytes.CutPrefix(p, []byte("tls\n")); ok {
					cfg.Early = rest
					must(t, r.t.Write(bytes.Repeat([]byte("-"), 8<<20)))
					must(t, r.t.Write([]byte("go\n")))
					f := r.t.StartTLS(cfg)
					f.OnDone(func() { r.Log("upgraded %v", f.Err()) })
					must(t, r.t.Write([]byte("first")))
				}
			}
		}
		a.data = start(&a, transport.TLSConfig{TLS: server, Server: true})
		ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", func() transport.Protocol { return &a }, transport.ListenConfig{})
		must(t, err)
		plain := 0
		b.data = func(p []byte) {
			if plain += len(p); plain == 8<<20+3 && bytes.HasSuffix(p, []byte("go\n")) {
				b.Journal.Lines, b.bytes, b.data = nil, nil, nil
				f := b.t.StartTLS(transport.TLSConfig{TLS: client})
				f.OnDone(func() { b.Log("upgraded %v", f.Err()) })
				must(t, b.t.Write([]byte("hello")))
			}
		}
		tr, err := transport.Dial(l, "tcp", ln.Addr().String(), &b, transport.DialConfig{}).Await(ctx)
		must(t, err)
		must(t, tr.Write([]byte("tls\n")))
		until(ctx, t, "both have heard", func() bool { return len(b.bytes) == 5 && strings.HasSuffix(string(a.bytes), "hello") })
		b.Want(t, "upgraded <nil>", "data first")
		a.Want(t, "made", "data tls\n", "pause", "resume", "upgraded <nil>", "data hello")
		tr.Close()
		must(t, ln.Close())
		_, err = ln.Ended().Await(ctx)
		must(t, err)
	})
}

// Bytes of the handshake that Data was given already are handed in.
func TestEdge128_EarlyBytes(t *testing.T) {
	server, client := certificate()
	client = client.Clone()
	client.ServerName = "eddy.test"
	run(t, func(ctx context.Context, l *loop.Loop) {
		var a, b recorder
		var fa *future.Future[struct{}]
		a.data = func(p []byte) {
			a.data = nil
			fa = a.t.StartTLS(transport.TLSConfig{TLS: server, Server: true, Early: p}) // all of the peer's first flight
		}
		ta, pa := pair(t, l, &a, transport.Config{})
		defer pa.close()
		tb, pb := pair(t, l, &b, transport.Config{})
		defer pb.close()
		turns(ctx, t, 1)
		f := tb.StartTLS(transport.TLSConfig{TLS: client})
		until(ctx, t, "the handshake is done", func() bool { // the peers are a wire
			if s := pb.read(); s != "" {
				pa.write(s)
			}
			if s := pa.read(); s != "" {
				pb.write(s)
			}
			return f.Done() && fa.Done()
		})
		must(t, errors.Join(f.Err(), fa.Err()))
		if a.Lines[1][:4] != "data" {
			t.Errorf("nothing came early: %q", a.Lines)
		}
		ta.Abort()
		tb.Abort()
		turns(ctx, t, 2)
	})
}

// A canceled upgrade aborts the connection.
func TestEdge128_Cancel(t *testing.T) {
	_, client := certificate()
	client = client.Clone()
	client.ServerName = "eddy.test"
	run(t, func(ctx context.Context, l *loop.Loop) {
		var r recorder
		tr, p := pair(t, l, &r, transport.Config{})
		defer p.close()
		turns(ctx, t, 1)
		f := tr.StartTLS(transport.TLSConfig{TLS: client})
		turns(ctx, t, 2)
		if !f.Cancel(nil) || f.State() != future.Canceled {
			t.Errorf("the future is %v", f)
		}
		turns(ctx, t, 2)
		r.Want(t, "made", "lost nil")
	})
}

// Close flushes, then says the end, and waits for the peer's. What the peer still sends
// meanwhile is delivered.
func TestEdge129_Shutdown(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		const size = 4 << 20
		var a recorder
		a.connected = func(t *transport.Transport) { t.PauseReading() }
		ln := listenTLS(t, l, func() transport.Protocol { return &a }, transport.Config{})
		var b recorder
		tr := dialTLS(ctx, t, l, ln, &b)
		until(ctx, t, "both are there", func() bool { return a.t != nil })
		must(t, tr.Write(make([]byte, size)))
		tr.Close()
		must(t, a.t.Write([]byte("trailing")))
		until(ctx, t, "data", func() bool { return len(b.Lines) == 3 })
		b.Want(t, "made", "pause", "data trailing")
		a.t.ResumeReading()
		until(ctx, t, "Lost", func() bool { return b.lost && a.lost })
		b.Want(t, "resume", "lost nil")
		if len(a.bytes) != size || a.err != nil || a.Lines[len(a.Lines)-2] != "eof" {
			t.Errorf("the peer read %d bytes of %d, lost by %v", len(a.bytes), size, a.err)
		}
		must(t, ln.Close())
	})
}

// Reading that is paused between two records goes on with what crypto/tls has already,
// though no event tells of it.
func TestTLSPause(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var a, b recorder
		ln := listenTLS(t, l, func() transport.Protocol { return &a }, transport.Config{})
		tr := dialTLS(ctx, t, l, ln, &b)
		until(ctx, t, "both are there", func() bool { return a.t != nil })
		a.data = func([]byte) { a.t.PauseReading() }
		for _, s := range []string{"one", "two", "three"} {
			must(t, tr.Write([]byte(s)))
		}
		tr.Close()
		for n := 2; n <= 4; n++ {
			until(ctx, t, "data", func() bool { return len(a.Lines) >= n })
			turns(ctx, t, 5)
			if len(a.Lines) != n {
				t.Fatalf("happened: %q", a.Lines)
			}
			a.t.ResumeReading()
		}
		until(ctx, t, "Lost", func() bool { return a.lost && b.lost })
		a.Want(t, "made", "data one", "data two", "data three", "eof", "lost nil")
		must(t, ln.Close())
	})
}

// A stream that ends without the peer's word for it was cut.
func TestTLSCut(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var a, b recorder
		ln := listenTLS(t, l, func() transport.Protocol { return &a }, transport.Config{})
		dialTLS(ctx, t, l, ln, &b)
		until(ctx, t, "both are there", func() bool { return a.t != nil })
		a.t.Abort()
		until(ctx, t, "Lost", func() bool { return b.lost })
		if !errors.Is(b.err, io.ErrUnexpectedEOF) {
			t.Errorf("lost by %v", b.err)
		}
		must(t, ln.Close())
	})
}

// A loop that closes in the middle of a handshake leaves nothing behind.
func TestTLSLoopCloses(t *testing.T) {
	_, client := certificate()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	run(t, func(ctx context.Context, l *loop.Loop) {
		transport.Dial(l, "tcp", ln.Addr().String(), new(recorder), transport.DialConfig{Config: transport.Config{TLS: client}})
		turns(ctx, t, 10)
	})
}
