package tlsio_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/internal/tlsio"
)

// A cutter says how many of n bytes the next piece has.
type cutter func(n int) int

func pieces(of int) cutter { return func(n int) int { return min(of, n) } }

func randomly(seed uint64) cutter {
	r := rand.New(rand.NewPCG(seed, 1))
	return func(n int) int {
		if r.IntN(2) == 0 {
			return 1 + r.IntN(min(n, 8))
		}
		return 1 + r.IntN(n)
	}
}

// shakeInPieces is shake with a step after each piece.
func shakeInPieces(t testing.TB, c, s *end, cut cutter) {
	t.Helper()
	pass := func(from, to *end) (err error) {
		err = netfd.ErrWouldBlock
		for p := slices.Clone(from.Pending()); len(p) > 0; {
			n := cut(len(p))
			to.Feed(p[:n])
			from.Advance(n)
			p = p[n:]
			if err = to.Handshake(); err != nil && err != netfd.ErrWouldBlock {
				t.Fatalf("handshake: %v", err)
			}
		}
		return err
	}
	if err := c.Handshake(); err != netfd.ErrWouldBlock {
		t.Fatalf("client's first step: %v", err)
	}
	for range 10 {
		_ = pass(c, s)
		_ = pass(s, c)
		if !c.Shaking() && !s.Shaking() {
			return
		}
	}
	t.Fatal("handshakes hang")
}

// chat sends data both ways with every reading of the wire cut into pieces.
func chat(t testing.TB, c, s *end, cut cutter) {
	t.Helper()
	data := make([]byte, 40_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	for _, dir := range [][2]*end{{c, s}, {s, c}, {c, s}} {
		from, to := dir[0], dir[1]
		var got []byte
		buf := make([]byte, 5000)
		for chunk := range slices.Chunk(data, 16<<10) {
			if n, err := from.Write(chunk); n != len(chunk) || err != nil {
				t.Fatalf("Write: %d, %v", n, err)
			}
			for p := from.Pending(); p != nil; p = from.Pending() {
				n := cut(len(p))
				to.in.buf = append(to.in.buf, p[:n]...)
				from.Advance(n)
				for {
					n, err := to.TryRead(buf)
					if err == netfd.ErrWouldBlock {
						break
					}
					if err != nil {
						t.Fatalf("TryRead: %v", err)
					}
					got = append(got, buf[:n]...)
				}
			}
		}
		if !bytes.Equal(got, data) {
			t.Fatalf("%d bytes have arrived, want %d, or others", len(got), len(data))
		}
	}
}

func versions(cfg *tls.Config, v uint16) *tls.Config {
	cfg.MinVersion, cfg.MaxVersion = v, v
	return cfg
}

func TestSplits(t *testing.T) {
	for _, way := range ways {
		for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, cut := range []struct {
				name string
				cut  cutter
			}{
				{"single bytes", pieces(1)},
				{"pairs", pieces(2)},
				{"sevens", pieces(7)},
				{"whole", func(n int) int { return n }},
				{"random 1", randomly(1)},
				{"random 2", randomly(2)},
			} {
				t.Run(way.name+"/"+tls.VersionName(v)+"/"+cut.name, func(t *testing.T) {
					server := versions(serverTLS(), v)
					server.ClientAuth = tls.RequireAndVerifyClientCert
					client := clientTLS()
					client.Certificates = server.Certificates
					c, s := newPair(t, way, client, server)
					shakeInPieces(t, c, s, cut.cut)
					for _, e := range []*end{c, s} {
						st := e.State()
						if !st.HandshakeComplete || st.Version != v || st.NegotiatedProtocol != "echo" ||
							st.ServerName != "eddy.test" || len(st.PeerCertificates) != 1 {
							t.Errorf("State of %s: %+v", e.in.at, st)
						}
					}
					chat(t, c, s, cut.cut)
				})
			}
		}
	}
}

// TestCipherSuites has the CBC suites, whose records grow most.
func TestCipherSuites(t *testing.T) {
	for _, suite := range []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	} {
		t.Run(tls.CipherSuiteName(suite), func(t *testing.T) {
			server := versions(serverTLS(), tls.VersionTLS12)
			server.CipherSuites = []uint16{suite}
			c, s := connected(t, onWorker, clientTLS(), server)
			chat(t, c, s, randomly(3))
			if got := s.State().CipherSuite; got != suite {
				t.Errorf("suite %s", tls.CipherSuiteName(got))
			}
		})
	}
}

// TestPendingOfAChunk holds the promise of the package comment.
func TestPendingOfAChunk(t *testing.T) {
	c, _ := connected(t, onWorker, clientTLS(), serverTLS())
	for i := range 100 {
		if _, err := c.Write(make([]byte, 16<<10)); err != nil {
			t.Fatal(err)
		}
		if n := len(c.Pending()); n > 17<<10 {
			t.Errorf("chunk %d has made %d bytes", i, n)
		}
		c.Advance(len(c.Pending()))
	}
}

func TestPendingInParts(t *testing.T) {
	c, s := connected(t, onWorker, clientTLS(), serverTLS())
	r := rand.New(rand.NewPCG(5, 5))
	var want strings.Builder
	for range 300 {
		part := strings.Repeat("x", r.IntN(3000))
		want.WriteString(part)
		if _, err := c.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
		n := r.IntN(len(c.Pending()) + 1)
		s.in.buf = append(s.in.buf, c.Pending()[:n]...)
		c.Advance(n)
	}
	send(c, s)
	wantRead(t, s, want.String(), netfd.ErrWouldBlock)
	if p := c.Pending(); p != nil {
		t.Errorf("%d bytes are pending", len(p))
	}
}

func TestSilentPeer(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			_, s := newPair(t, way, clientTLS(), serverTLS())
			for range 3 {
				if err := s.Handshake(); err != netfd.ErrWouldBlock {
					t.Errorf("Handshake: %v", err)
				}
			}
			if st := s.State(); st.HandshakeComplete || s.Pending() != nil {
				t.Error("a server that has heard nothing has something to say")
			}
			s.FeedEOF()
			for range 2 {
				if err := s.Handshake(); err != io.ErrUnexpectedEOF {
					t.Errorf("Handshake at the end: %v", err)
				}
			}
		})
	}
}

// TestTruncatedHandshake ends the stream after each byte of the first flight, of
// each side.
func TestTruncatedHandshake(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			c, s := newPair(t, way, clientTLS(), serverTLS())
			_ = c.Handshake()
			hello := slices.Clone(c.Pending())
			feed(c, s)
			_ = s.Handshake()
			for n := range hello {
				_, s := newPair(t, way, clientTLS(), serverTLS())
				s.Feed(hello[:n])
				_ = s.Handshake()
				s.FeedEOF()
				if err := s.Handshake(); err != errCut {
					t.Fatalf("server, %d bytes: %v", n, err)
				}
			}
			for n := 1; n < len(s.Pending()); n += 13 {
				c, _ := newPair(t, way, clientTLS(), serverTLS())
				_ = c.Handshake()
				c.Feed(s.Pending()[:n])
				c.FeedEOF() // with a hello for another client: it fails anyhow
				if err := c.Handshake(); err == nil || err == netfd.ErrWouldBlock || c.Shaking() {
					t.Fatalf("client, %d bytes: %v", n, err)
				}
			}
		})
	}
}

func TestGarbage(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		alert      bool
	}{
		{"http", "GET / HTTP/1.1\r\nHost: eddy.test\r\n\r\n", false},
		{"zeros", strings.Repeat("\x00", 100), false},
		{"SSLv2", "\x80\x2e\x01\x00\x02" + strings.Repeat("x", 50), true},
		{"a record too long", "\x16\x03\x01\xff\xff", true},
		{"no hello", "\x16\x03\x01\x00\x04\x0e\x00\x00\x00", true},
		{"a hello that is none", "\x16\x03\x01\x00\x08\x01\x00\x00\x04abcd", true},
		{"an alert", "\x15\x03\x01\x00\x02\x02\x28", false},
		{"warnings", strings.Repeat("\x15\x03\x01\x00\x02\x01\x5a", 40), true},
	} {
		for _, way := range ways {
			t.Run(tt.name+"/"+way.name, func(t *testing.T) {
				_, s := newPair(t, way, clientTLS(), serverTLS())
				s.Feed([]byte(tt.data))
				err := s.Handshake()
				if err == nil || err == netfd.ErrWouldBlock || s.Shaking() {
					t.Fatalf("Handshake: %v", err)
				}
				p := slices.Clone(s.Pending())
				if got := len(p) == 7 && p[0] == 21; got != tt.alert || !got && len(p) > 0 {
					t.Errorf("pending %q, want an alert: %t", p, tt.alert)
				}
				s.Feed([]byte(tt.data))
				for name, fn := range map[string]func() error{
					"Handshake":  s.Handshake,
					"TryRead":    func() error { _, err := s.TryRead(make([]byte, 1)); return err },
					"Write":      func() error { _, err := s.Write([]byte("x")); return err },
					"CloseWrite": s.CloseWrite,
				} {
					if again := fn(); again.Error() != err.Error() {
						t.Errorf("%s afterwards: %v, want %v", name, again, err)
					}
				}
				if !bytes.Equal(p, s.Pending()) {
					t.Errorf("pending afterwards: %q, want %q", s.Pending(), p)
				}
			})
		}
	}
}

// TestAnswerToPlainHTTP is what net/http does with a *tls.RecordHeaderError.
func TestAnswerToPlainHTTP(t *testing.T) {
	_, s := newPair(t, onWorker, clientTLS(), serverTLS())
	s.Feed([]byte("GET / HTTP/1.1\r\n\r\n"))
	var e tls.RecordHeaderError
	if err := s.Handshake(); !errors.As(err, &e) {
		t.Fatalf("Handshake: %v", err)
	}
	if _, err := io.WriteString(e.Conn, "HTTP/1.0 400 Bad Request\r\n\r\n"); err != nil {
		t.Error(err)
	}
	if !bytes.HasPrefix(s.Pending(), []byte("HTTP/1.0 400")) {
		t.Errorf("pending %q", s.Pending())
	}
}

func TestRefusals(t *testing.T) {
	errNo := errors.New("I do not like you")
	refuse := func(tls.ConnectionState) error { return errNo }
	for _, tt := range []struct {
		name           string
		change         func(client, server *tls.Config)
		client, server string // part of the errors; of the client's first read if its handshake is done
	}{
		{"client's VerifyConnection", func(c, _ *tls.Config) { c.VerifyConnection = refuse }, errNo.Error(), "bad certificate"},
		{"server's VerifyConnection", func(_, s *tls.Config) { s.VerifyConnection = refuse }, "bad certificate", errNo.Error()},
		{
			"no client certificate", func(_, s *tls.Config) { s.ClientAuth = tls.RequireAnyClientCert },
			"certificate required", "didn't provide a certificate",
		},
		{
			"unknown authority", func(c, _ *tls.Config) { c.RootCAs = x509.NewCertPool() },
			"unknown authority", "bad certificate",
		},
		{"another name", func(c, _ *tls.Config) { c.ServerName = "other.test" }, "not other.test", "bad certificate"},
		{
			"no common protocol", func(c, _ *tls.Config) { c.NextProtos = []string{"smoke"} },
			"no application protocol", "unsupported application protocols",
		},
		{
			"no common version", func(c, s *tls.Config) { versions(c, tls.VersionTLS12); versions(s, tls.VersionTLS13) },
			"protocol version not supported", "unsupported versions",
		},
		{"no certificate", func(_, s *tls.Config) { s.Certificates = nil }, "unrecognized name", "no certificates configured"},
		{"no name", func(c, _ *tls.Config) { c.ServerName = "" }, "either ServerName or InsecureSkipVerify", ""},
	} {
		for _, way := range ways {
			t.Run(tt.name+"/"+way.name, func(t *testing.T) {
				client, server := clientTLS(), serverTLS()
				tt.change(client, server)
				c, s := newPair(t, way, client, server)
				cerr, serr := shake(t, c, s)
				if cerr == netfd.ErrWouldBlock || cerr == nil && c.Shaking() {
					cerr = c.Handshake() // the alert
				}
				if cerr == nil {
					_, cerr = c.TryRead(make([]byte, 1))
				}
				if s.Shaking() && tt.server != "" {
					serr = s.Handshake()
				}
				if cerr == nil || !strings.Contains(cerr.Error(), tt.client) {
					t.Errorf("client: %v, want %q", cerr, tt.client)
				}
				if tt.server != "" && (serr == nil || !strings.Contains(serr.Error(), tt.server)) {
					t.Errorf("server: %v, want %q", serr, tt.server)
				}
			})
		}
	}
}

func TestErrorOfCallbackUnwraps(t *testing.T) {
	errNo := errors.New("no")
	client := clientTLS()
	client.VerifyConnection = func(tls.ConnectionState) error { return errNo }
	c, s := newPair(t, onThread, client, serverTLS())
	if cerr, _ := shake(t, c, s); !errors.Is(cerr, errNo) {
		t.Errorf("client: %v", cerr)
	}
}

func TestCallbacksSeeAddresses(t *testing.T) {
	var got string
	server := serverTLS()
	server.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		got = h.Conn.LocalAddr().String() + ", " + h.Conn.RemoteAddr().String() + ", " + h.ServerName
		return nil, nil
	}
	connected(t, onWorker, clientTLS(), server)
	if want := "local of server, remote of server, eddy.test"; got != want {
		t.Errorf("saw %q, want %q", got, want)
	}
}

func TestResumption(t *testing.T) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(v), func(t *testing.T) {
			client, server := clientTLS(), versions(serverTLS(), v)
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for i := range 3 {
				c, s := connected(t, onWorker, client, server)
				if got := c.State().DidResume; got != (i > 0) {
					t.Errorf("connection %d: DidResume %t", i, got)
				}
				wantRead(t, c, "", netfd.ErrWouldBlock) // the ticket
				chat(t, c, s, randomly(uint64(i)))
			}
		})
	}
}

func TestRenegotiationIsRefused(t *testing.T) {
	client := versions(clientTLS(), tls.VersionTLS12)
	client.Renegotiation = tls.RenegotiateFreelyAsClient
	c, _ := connected(t, onWorker, client, serverTLS())
	// Not available where a connection may renegotiate.
	st := c.State()
	if _, err := st.ExportKeyingMaterial("EXPERIMENTAL", nil, 16); err != nil {
		t.Errorf("ExportKeyingMaterial: %v", err)
	}
	if client.Renegotiation != tls.RenegotiateFreelyAsClient {
		t.Error("the caller's tls.Config has been changed")
	}
}

// TestEdge129_TrailingData: both close, one after the other, and nothing is lost.
func TestEdge129_TrailingData(t *testing.T) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(v), func(t *testing.T) {
			c, s := connected(t, onWorker, clientTLS(), versions(serverTLS(), v))
			long := strings.Repeat("flush before shutdown ", 4000)
			if _, err := c.Write([]byte(long)); err != nil {
				t.Error(err)
			}
			for range 2 {
				testkit.Must(t, c.CloseWrite())
			}
			send(c, s)
			wantRead(t, s, long, io.EOF)
			if _, err := c.Write([]byte("x")); err == nil || c.Pending() != nil {
				t.Errorf("Write after CloseWrite: %v, pending %d", err, len(c.Pending()))
			}
			say(t, s, c, "trailing data")
			wantRead(t, c, "trailing data", netfd.ErrWouldBlock)
			say(t, s, c, ", and more")
			testkit.Must(t, s.CloseWrite())
			send(s, c)
			c.in.end = io.EOF
			wantRead(t, c, ", and more", io.EOF)
			wantRead(t, c, "", io.EOF)
			wantRead(t, s, "", io.EOF)
		})
	}
}

// TestEdge128_BytesBeforeUpgrade: what a plain reader has read of the hello, and
// what follows the client's last flight in one piece, is not lost.
func TestEdge128_BytesBeforeUpgrade(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			c, s := newPair(t, way, clientTLS(), serverTLS())
			_ = c.Handshake()
			feed(c, s) // before the server knows of an upgrade
			if err := s.Handshake(); err != netfd.ErrWouldBlock {
				t.Fatal(err)
			}
			feed(s, c)
			testkit.Must(t, c.Handshake())
			if _, err := c.Write([]byte("early, ")); err != nil {
				t.Error(err)
			}
			feed(c, s)
			say(t, c, s, "late")
			testkit.Must(t, s.Handshake())
			wantRead(t, s, "early, late", netfd.ErrWouldBlock)
			_, _ = c.Write([]byte("fed"))
			feed(c, s)
			wantRead(t, s, "fed", netfd.ErrWouldBlock)
			s.FeedEOF()
			s.in.buf = []byte("not looked at")
			wantRead(t, s, "", io.ErrUnexpectedEOF)
		})
	}
}

func TestStreamCutOff(t *testing.T) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(v), func(t *testing.T) {
			for lost := range 120 {
				c, s := connected(t, onWorker, clientTLS(), versions(serverTLS(), v))
				say(t, c, s, "one")
				whole := len(s.in.buf)
				say(t, c, s, strings.Repeat("2", 60))
				s.in.buf = s.in.buf[:max(whole, len(s.in.buf)-lost)]
				s.in.end = io.EOF
				want := "one"
				if lost == 0 {
					want += strings.Repeat("2", 60)
				}
				wantRead(t, s, want, io.ErrUnexpectedEOF)
				wantRead(t, s, "", io.ErrUnexpectedEOF)
				say(t, s, c, "the other direction lives")
				wantRead(t, c, "the other direction lives", netfd.ErrWouldBlock)
			}
		})
	}
}

// A resets is an error that calls itself temporary. The carrier's word for
// that is another.
type resets struct{}

func (resets) Error() string   { return "reset" }
func (resets) Timeout() bool   { return true }
func (resets) Temporary() bool { return true }

func TestCarrierError(t *testing.T) {
	for _, fault := range []error{errors.New("unplugged"), resets{}, net.ErrClosed} {
		c, s := connected(t, onWorker, clientTLS(), serverTLS())
		say(t, c, s, "last words")
		s.in.end = fault
		wantRead(t, s, "last words", fault)
		s.in.end = nil
		wantRead(t, s, "", fault)
	}
}

func TestCorruptRecord(t *testing.T) {
	c, s := connected(t, onWorker, clientTLS(), serverTLS())
	say(t, c, s, "whole")
	say(t, c, s, "spoiled")
	s.in.buf[len(s.in.buf)-1] ^= 1
	got, err := readAll(s)
	if string(got) != "whole" || !strings.Contains(err.Error(), "bad record MAC") {
		t.Errorf("read %q, %v", got, err)
	}
	send(s, c)
	if _, err := readAll(c); err == nil || !strings.Contains(err.Error(), "remote error: tls: bad record MAC") {
		t.Errorf("the peer has read %v", err)
	}
	if n, err := s.Write([]byte("x")); n != 0 || err == nil {
		t.Errorf("Write after the alert: %d, %v", n, err)
	}
}

func TestEmptyReadAndWrite(t *testing.T) {
	c, s := connected(t, onWorker, clientTLS(), serverTLS())
	if n, err := c.Write(nil); n != 0 || err != nil || c.Pending() != nil {
		t.Errorf("Write: %d, %v, pending %d", n, err, len(c.Pending()))
	}
	for _, p := range [][]byte{nil, {}} {
		if n, err := s.TryRead(p); n != 0 || err != nil {
			t.Errorf("TryRead: %d, %v", n, err)
		}
	}
	c.Advance(0)
}

func TestNoConfig(t *testing.T) {
	for _, server := range []bool{false, true} {
		e := tlsio.New(new(wire), tlsio.Config{Server: server})
		e.Abandon()
		if st := e.State(); st.HandshakeComplete {
			t.Error("abandoned and complete")
		}
		e = tlsio.New(new(wire), tlsio.Config{Server: server})
		e.FeedEOF()
		if err := e.Handshake(); err == nil || e.Shaking() {
			t.Errorf("Handshake: %v", err)
		}
	}
}

func TestMisuse(t *testing.T) {
	c, s := newPair(t, onWorker, clientTLS(), serverTLS())
	_ = c.Handshake()
	for _, e := range []*end{c, s} {
		testkit.WantPanic(t, "tlsio: TryRead before", func() { _, _ = e.TryRead(nil) })
		testkit.WantPanic(t, "tlsio: Write before", func() { _, _ = e.Write(nil) })
		testkit.WantPanic(t, "tlsio: CloseWrite before", func() { _ = e.CloseWrite() })
		testkit.WantPanic(t, "tlsio: Advance by more", func() { e.Advance(len(e.Pending()) + 1) })
		testkit.WantPanic(t, "tlsio: Advance by more", func() { e.Advance(-1) })
	}
	var _ tlsio.Carrier = &c.in
}
