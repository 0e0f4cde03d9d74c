//go:build amd64 || arm64

// Elsewhere crypto/tls may choose ChaCha20, which the standard library does not
// export.

package tlsio_test

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"
	"testing"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/tlsio"
)

// A half is one direction of TLS 1.3 done by hand: crypto/tls takes key updates
// and answers them, but sends none of its own.
type half struct {
	hash   func() hash.Hash
	keyLen int
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// newHalf finds the first secret of a direction in what a KeyLogWriter was given.
func newHalf(t testing.TB, keys, label string, suite uint16) *half {
	t.Helper()
	h := &half{hash: sha256.New, keyLen: 16}
	if suite == tls.TLS_AES_256_GCM_SHA384 {
		h.hash, h.keyLen = sha512.New384, 32
	}
	for s := bufio.NewScanner(strings.NewReader(keys)); s.Scan(); {
		if words := strings.Fields(s.Text()); words[0] == label {
			secret, err := hex.DecodeString(words[2])
			if err != nil {
				t.Fatal(err)
			}
			h.use(secret)
			return h
		}
	}
	t.Fatalf("no %s for suite %s", label, tls.CipherSuiteName(suite))
	return nil
}

func (h *half) expand(label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(6+len(label)))
	info = append(info, "tls13 "+label+"\x00"...)
	out, err := hkdf.Expand(h.hash, h.secret, string(info), n)
	if err != nil {
		panic(err)
	}
	return out
}

func (h *half) use(secret []byte) {
	h.secret, h.seq = secret, 0
	block, err := aes.NewCipher(h.expand("key", h.keyLen))
	if err != nil {
		panic(err)
	}
	h.iv = h.expand("iv", 12)
	if h.aead, err = cipher.NewGCM(block); err != nil {
		panic(err)
	}
}

func (h *half) update() { h.use(h.expand("traffic upd", h.hash().Size())) }

func (h *half) nonce() []byte {
	n := bytes.Clone(h.iv)
	for i, b := range binary.BigEndian.AppendUint64(nil, h.seq) {
		n[4+i] ^= b
	}
	h.seq++
	return n
}

// seal makes a record.
func (h *half) seal(typ byte, data string) []byte {
	hdr := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(data)+1+h.aead.Overhead()))
	return h.aead.Seal(hdr, h.nonce(), append([]byte(data), typ), hdr)
}

// open takes the first record of p apart, and returns what is behind it.
func (h *half) open(p []byte) (what string, rest []byte) {
	n := 5 + int(binary.BigEndian.Uint16(p[3:]))
	data, err := h.aead.Open(nil, h.nonce(), p[5:n], p[:5])
	if err != nil {
		return err.Error(), nil
	}
	last := len(data) - 1
	return fmt.Sprintf("%d %q", data[last], data[:last]), p[n:]
}

const (
	handshake, appData   = 22, 23
	keyUpdate, askUpdate = "\x18\x00\x00\x01\x00", "\x18\x00\x00\x01\x01"
)

// handPair returns a server, and the two directions of its client, which is spent.
func handPair(t testing.TB) (s *end, toServer, toClient *half) {
	var keys bytes.Buffer
	client := clientTLS()
	client.KeyLogWriter = &keys
	c, s := connected(t, onWorker, client, serverTLS())
	suite := c.State().CipherSuite
	return s, newHalf(t, keys.String(), "CLIENT_TRAFFIC_SECRET_0", suite),
		newHalf(t, keys.String(), "SERVER_TRAFFIC_SECRET_0", suite)
}

func TestKeyUpdate(t *testing.T) {
	s, in, out := handPair(t)
	for round := range 3 {
		s.in.buf = append(s.in.buf, in.seal(appData, "before, ")...)
		s.in.buf = append(s.in.buf, in.seal(handshake, askUpdate)...)
		in.update()
		s.in.buf = append(s.in.buf, in.seal(appData, "after")...)
		s.in.step = round // 0: whole; else byte by byte, in pairs
		wantRead(t, s, "before, after", netfd.ErrWouldBlock)

		got, rest := out.open(s.Pending())
		if want := fmt.Sprintf("%d %q", handshake, keyUpdate); got != want || len(rest) != 0 {
			t.Errorf("pending %s, then %d bytes, want %s", got, len(rest), want)
		}
		out.update()
		s.Advance(len(s.Pending()))
		_, _ = s.Write([]byte("hello"))
		if got, _ := out.open(s.Pending()); got != fmt.Sprintf("%d %q", appData, "hello") {
			t.Errorf("written %s", got)
		}
		s.Advance(len(s.Pending()))
	}
}

// TestKeyUpdateInPieces splits the message over two records, with a would-block
// in between.
func TestKeyUpdateInPieces(t *testing.T) {
	s, in, out := handPair(t)
	s.in.buf = in.seal(handshake, askUpdate[:2])
	wantRead(t, s, "", netfd.ErrWouldBlock)
	s.in.buf = in.seal(handshake, askUpdate[2:])
	wantRead(t, s, "", netfd.ErrWouldBlock)
	if got, _ := out.open(s.Pending()); got != fmt.Sprintf("%d %q", handshake, keyUpdate) {
		t.Errorf("pending %s", got)
	}
	in.update()
	s.in.buf = in.seal(appData, "after")
	wantRead(t, s, "after", netfd.ErrWouldBlock)
}

// TestFlood asks for answers and does not read them, beside data, which makes
// crypto/tls count anew.
func TestFlood(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		t.Run(fmt.Sprintf("flushed %t", flushed), func(t *testing.T) {
			s, in, _ := handPair(t)
			var err error
			most := 0
			for range 2000 {
				s.in.buf = in.seal(handshake, askUpdate)
				in.update()
				s.in.buf = append(s.in.buf, in.seal(appData, "x")...)
				if _, err = readAll(s); err != netfd.ErrWouldBlock {
					break
				}
				most = max(most, len(s.Pending()))
				if flushed {
					s.Advance(len(s.Pending()))
				}
			}
			want := tlsio.ErrFlooded
			if flushed {
				want = netfd.ErrWouldBlock
			}
			if err != want || most > 17<<10 {
				t.Errorf("%v, at most %d pending, want %v", err, most, want)
			}
			if _, again := readAll(s); again != want {
				t.Errorf("again: %v", again)
			}
		})
	}
}

func TestUnexpectedMessage(t *testing.T) {
	s, in, out := handPair(t)
	s.in.buf = in.seal(handshake, "\x0d\x00\x00\x00") // CertificateRequest
	_, err := readAll(s)
	if err == nil || err == netfd.ErrWouldBlock || err == io.EOF {
		t.Fatalf("read: %v", err)
	}
	if got, _ := out.open(s.Pending()); !strings.HasPrefix(got, "21 ") {
		t.Errorf("pending %s, want an alert", got)
	}
	s.in.buf = in.seal(appData, "x")
	wantRead(t, s, "", err)
}
