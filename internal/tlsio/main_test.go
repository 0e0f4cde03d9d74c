package tlsio_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/tlsio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// identity is a certificate for eddy.test, for both sides, and the pool that
// trusts it.
var identity = sync.OnceValue(func() (id struct {
	cert tls.Certificate
	pool *x509.CertPool
},
) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "eddy.test"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(1, 0, 0), DNSNames: []string{"eddy.test"},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	id.cert.Certificate, id.cert.PrivateKey = [][]byte{der}, key
	id.cert.Leaf, _ = x509.ParseCertificate(der)
	id.pool = x509.NewCertPool()
	id.pool.AddCert(id.cert.Leaf)
	return id
})

func serverTLS() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{identity().cert}, ClientCAs: identity().pool,
		NextProtos: []string{"h9", "echo"},
	}
}

func clientTLS() *tls.Config {
	return &tls.Config{ServerName: "eddy.test", RootCAs: identity().pool, NextProtos: []string{"echo"}}
}

// An addr is a net.Addr of that name.
type addr string

func (a addr) Network() string { return "memory" }
func (a addr) String() string  { return string(a) }

// A wire is a carrier in memory: what is in buf, then end, if not nil.
type wire struct {
	buf  []byte
	end  error
	step int // bytes that a read gives at most; 0: as many as fit
	at   addr
}

func (w *wire) TryRead(p []byte) (int, error) {
	if len(w.buf) == 0 {
		if w.end != nil {
			return 0, w.end
		}
		return 0, netfd.ErrWouldBlock
	}
	if w.step > 0 {
		p = p[:min(w.step, len(p))]
	}
	n := copy(p, w.buf)
	w.buf = w.buf[n:]
	return n, nil
}

func (w *wire) LocalAddr() net.Addr  { return addr("local of " + w.at) }
func (w *wire) RemoteAddr() net.Addr { return addr("remote of " + w.at) }

// An end is an engine with the wire that it reads from.
type end struct {
	*tlsio.Engine
	in wire
}

// A stacks is how handshakes get their stack.
type stacks struct {
	name string
	pool func(t testing.TB) *coro.Pool
}

var (
	onWorker = stacks{"worker", func(t testing.TB) *coro.Pool {
		p := new(coro.Pool)
		t.Cleanup(p.Close)
		return p
	}}
	onThread = stacks{"thread", func(testing.TB) *coro.Pool { return nil }}
	ways     = []stacks{onWorker, onThread}
)

// newPair returns two ends that have not begun. What is left of their handshakes
// at the end of the test is abandoned.
func newPair(t testing.TB, way stacks, client, server *tls.Config) (c, s *end) {
	c, s = newEnds(way.pool(t), new(tlsio.Buffers), client, server)
	t.Cleanup(func() {
		c.Abandon()
		s.Abandon()
	})
	return c, s
}

// newEnds is newPair with what a loop has of its own. Who calls it abandons.
func newEnds(pool *coro.Pool, bufs *tlsio.Buffers, client, server *tls.Config) (c, s *end) {
	c, s = new(end), new(end)
	c.in.at, s.in.at = "client", "server"
	c.Engine = tlsio.New(&c.in, tlsio.Config{TLS: client, Stacks: pool, Buffers: bufs})
	s.Engine = tlsio.New(&s.in, tlsio.Config{TLS: server, Server: true, Stacks: pool, Buffers: bufs})
	return c, s
}

// feed moves what from has to send into the engine to, as for a handshake.
func feed(from, to *end) (n int) {
	for p := from.Pending(); p != nil; p = from.Pending() {
		to.Feed(p)
		n += len(p)
		from.Advance(len(p))
	}
	return n
}

// send moves what from has to send to the wire of to.
func send(from, to *end) {
	p := from.Pending()
	to.in.buf = append(to.in.buf, p...)
	from.Advance(len(p))
}

// shake runs both handshakes to their ends, and returns their errors. Steps that
// can get nowhere fail the test.
func shake(t testing.TB, c, s *end) (cerr, serr error) {
	t.Helper()
	cerr, serr = netfd.ErrWouldBlock, netfd.ErrWouldBlock
	for range 20 {
		if c.Shaking() {
			cerr = c.Handshake()
		}
		feed(c, s)
		if s.Shaking() {
			serr = s.Handshake()
		}
		feed(s, c)
		if !c.Shaking() && !s.Shaking() || cerr != nil && !c.Shaking() || serr != nil && !s.Shaking() {
			return cerr, serr
		}
	}
	t.Fatalf("handshakes hang: client %v, server %v", cerr, serr)
	return
}

// connected returns two ends whose handshakes are done.
func connected(t testing.TB, way stacks, client, server *tls.Config) (c, s *end) {
	t.Helper()
	c, s = newPair(t, way, client, server)
	if cerr, serr := shake(t, c, s); cerr != nil || serr != nil {
		t.Fatalf("handshake: client %v, server %v", cerr, serr)
	}
	return c, s
}

// readAll reads until an error, which it returns.
func readAll(e *end) ([]byte, error) {
	var got bytes.Buffer
	buf := make([]byte, 1000)
	for {
		n, err := e.TryRead(buf)
		if n > 0 && err != nil {
			panic("bytes and an error")
		}
		if err != nil {
			return got.Bytes(), err
		}
		got.Write(buf[:n])
	}
}

// wantRead fails the test unless e reads data, and then err.
func wantRead(t testing.TB, e *end, data string, err error) {
	t.Helper()
	got, gotErr := readAll(e)
	if string(got) != data || gotErr != err {
		t.Errorf("read %d bytes %.40q and %v, want %d bytes %.40q and %v", len(got), got, gotErr, len(data), data, err)
	}
}

// say writes data to from and moves it to the wire of to.
func say(t testing.TB, from, to *end, data string) {
	t.Helper()
	if n, err := from.Write([]byte(data)); n != len(data) || err != nil {
		t.Errorf("Write: %d, %v, want %d bytes", n, err, len(data))
	}
	send(from, to)
}

var errCut = io.ErrUnexpectedEOF
