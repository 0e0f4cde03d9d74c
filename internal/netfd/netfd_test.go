//go:build unix

package netfd_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A rig is a loop that the test turns by hand.
type rig struct {
	testing.TB
	l *loop.Loop
}

func newRig(t testing.TB) *rig {
	l, err := loop.New(loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rig{t, l}
}

// look lets the loop look outside once, without waiting.
func (r *rig) look() {
	r.l.Stop()
	if err := r.l.Run(); err != nil {
		r.Fatal(err)
	}
}

// lookFor is look for the reader of s.
func (r *rig) lookFor(s *sock) {
	r.Helper()
	if !s.Readable() {
		s.WantRead()
	}
	r.look()
}

// A sock is an FD and its owner.
type sock struct {
	netfd.FD
	seen           poller.Ready // since it was cleared last
	reader, writer int          // times to wake each
	onReader       func()       // queued instead, if set
	l              *loop.Loop
}

func (s *sock) Ready(r poller.Ready) {
	s.seen |= r
	reader, writer := s.Note(r)
	if reader {
		s.reader++
		if s.onReader != nil {
			s.l.CallSoon(s.onReader)
		}
	}
	if writer {
		s.writer++
	}
}

func (r *rig) open(fd int, connected bool) *sock {
	r.Helper()
	s := &sock{l: r.l}
	if err := s.Open(r.l, fd, s, connected); err != nil {
		r.Fatal(err)
	}
	return s
}

// unixPair returns a socket of the loop and its peer.
func (r *rig) unixPair() (*sock, int) {
	r.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		r.Fatal(err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			r.Fatal(err)
		}
	}
	return r.open(fds[0], true), fds[1]
}

// tcpPair returns an accepted connection of the loop and its peer.
func (r *rig) tcpPair() (*sock, *net.TCPConn) {
	r.Helper()
	fd, err := netfd.Listen(netfd.AddrFrom(netip.MustParseAddr("127.0.0.1"), 0, 0), false, false)
	if err != nil {
		r.Fatal(err)
	}
	ln := r.open(fd, false)
	defer ln.Close()
	a := ln.Local()
	peer, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: a.IP().AsSlice(), Port: int(a.Port())})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { peer.Close() })
	r.look()
	c, from, err := ln.TryAccept()
	if err != nil {
		r.Fatal(err)
	}
	if got, want := netip.AddrPortFrom(from.IP(), from.Port()).String(), peer.LocalAddr().String(); got != want {
		r.Errorf("accepted from %v, want %v", got, want)
	}
	if _, _, err := ln.TryAccept(); err != netfd.ErrWouldBlock {
		r.Errorf("second accept: %v, want ErrWouldBlock", err)
	}
	return r.open(c, true), peer
}

func (r *rig) write(fd int, s string) {
	r.Helper()
	if _, err := unix.Write(fd, []byte(s)); err != nil {
		r.Fatal(err)
	}
}

// try compares what a read of up to n bytes gives.
func (r *rig) try(s *sock, n int, want string, wantErr error) {
	r.Helper()
	p := make([]byte, n)
	k, err := s.TryRead(p)
	if k < 0 || string(p[:max(k, 0)]) != want || !errors.Is(err, wantErr) || wantErr == nil && err != nil {
		r.Errorf("TryRead(%d) = %q, %v; want %q, %v", n, p[:max(k, 0)], err, want, wantErr)
	}
}

func TestShortReadHasDrained(t *testing.T) {
	r := newRig(t)
	s, peer := r.unixPair()
	defer unix.Close(peer)
	r.try(s, 8, "", netfd.ErrWouldBlock) // before the first event
	r.write(peer, "abc")
	r.try(s, 8, "", netfd.ErrWouldBlock)
	r.lookFor(s)
	r.try(s, 8, "abc", nil)
	// That was short. What comes now is not looked for before its edge was seen.
	r.write(peer, "def")
	r.try(s, 8, "", netfd.ErrWouldBlock)
	r.lookFor(s)
	r.try(s, 3, "def", nil)
	// That was full, so there may be more: the system is asked.
	r.write(peer, "ghi")
	r.try(s, 8, "ghi", nil)
}

func TestEndBehindData(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(fd int) error
	}{
		{"half-close", func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }},
		{"close", unix.Close},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			s, peer := r.unixPair()
			r.write(peer, "abc")
			if err := tt.end(peer); err != nil {
				t.Fatal(err)
			}
			r.lookFor(s) // one event for both
			r.try(s, 8, "abc", nil)
			r.try(s, 8, "", io.EOF)
			r.try(s, 8, "", io.EOF)
		})
		t.Run(tt.name+" after the event for the data", func(t *testing.T) {
			r := newRig(t)
			s, peer := r.unixPair()
			r.write(peer, "abc")
			r.look()
			if err := tt.end(peer); err != nil {
				t.Fatal(err)
			}
			r.try(s, 8, "abc", nil) // short, and the end not announced yet
			r.try(s, 8, "", netfd.ErrWouldBlock)
			s.WantRead()
			r.look()
			if s.reader != 1 {
				t.Errorf("reader woken %d times, want 1", s.reader)
			}
			r.try(s, 8, "", io.EOF)
		})
	}
}

func TestResetBehindData(t *testing.T) {
	r := newRig(t)
	s, peer := r.tcpPair()
	if _, err := peer.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	r.look()
	peer.SetLinger(0)
	peer.Close()
	for range 10 {
		r.look()
	}
	p := make([]byte, 8)
	n, err := s.TryRead(p)
	if n > 0 { // systems may drop it
		if string(p[:n]) != "abc" || err != nil {
			t.Errorf("read %q, %v", p[:n], err)
		}
		for _, err = s.TryRead(p); err == netfd.ErrWouldBlock; _, err = s.TryRead(p) {
			r.lookFor(s)
		}
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want ECONNRESET", err)
	}
	if _, err := s.TryWrite(p); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write: %v, want EPIPE", err)
	}
}

// Any sequence of writes, an end, looks and reads gives the bytes in order and
// then the end; and what TryRead answers follows from the events seen.
func TestReadModel(t *testing.T) {
	seeds := 300
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		r := newRig(t)
		rnd := rand.New(rand.NewPCG(uint64(seed), 1))
		s, peer := r.unixPair()
		var sent, got []byte
		ended, sawEnd, ready := false, false, false
		for step := 0; step < 400 && !sawEnd; step++ {
			switch k := rnd.IntN(8); {
			case k < 2 && !ended:
				p := make([]byte, 1+rnd.IntN(20))
				for i := range p {
					p[i] = byte(len(sent) + i)
				}
				r.write(peer, string(p))
				sent = append(sent, p...)
			case k == 2 && !ended && rnd.IntN(20) == 0:
				ended = true
				unix.Shutdown(peer, unix.SHUT_WR)
			case k < 5:
				s.seen = 0
				r.lookFor(s)
				ready = ready || s.seen&poller.CanRead != 0
				if len(sent) > len(got) && !ready {
					t.Fatalf("seed %d step %d: data, but not ready", seed, step)
				}
			default:
				p := make([]byte, 1+rnd.IntN(16))
				n, err := s.TryRead(p)
				if err == netfd.ErrWouldBlock && ready && len(sent) > len(got) {
					t.Fatalf("seed %d step %d: would block beside an event", seed, step)
				}
				if !ready && err != netfd.ErrWouldBlock {
					t.Fatalf("seed %d step %d: a system call without an event: %d, %v", seed, step, n, err)
				}
				switch {
				case err == io.EOF:
					sawEnd = true
				case err == netfd.ErrWouldBlock:
					ready = false
				case err != nil:
					t.Fatal(err)
				default:
					got = append(got, p[:n]...)
					ready = s.Readable()
				}
			}
		}
		for !sawEnd { // the rest
			if !ended {
				ended = true
				unix.Shutdown(peer, unix.SHUT_WR)
			}
			p := make([]byte, 7)
			n, err := s.TryRead(p)
			got = append(got, p[:max(n, 0)]...)
			if err == netfd.ErrWouldBlock {
				s.seen = 0
				if r.lookFor(s); s.seen == 0 {
					t.Fatalf("seed %d: it would block for ever after %d of %d bytes", seed, len(got), len(sent))
				}
			}
			sawEnd = err == io.EOF
		}
		if !bytes.Equal(got, sent) {
			t.Fatalf("seed %d: got %d bytes, want %d", seed, len(got), len(sent))
		}
		unix.Close(peer)
		s.Close()
	}
}

func TestShortWriteHasFilled(t *testing.T) {
	r := newRig(t)
	s, peer := r.unixPair()
	defer unix.Close(peer)
	p := make([]byte, 64<<10)
	total := 0
	for {
		n, err := s.TryWrite(p)
		total += n
		if err == netfd.ErrWouldBlock {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if s.Writable() {
		t.Error("Writable after ErrWouldBlock")
	}
	r.look() // an edge that was on its way
	for s.Writable() {
		n, _ := s.TryWrite(p)
		total += n
	}
	s.WantWrite()
	r.look()
	if s.writer != 0 {
		t.Error("writer woken although the socket is full")
	}
	for total > 0 {
		n, err := unix.Read(peer, p)
		if err != nil {
			t.Fatal(err)
		}
		total -= n
	}
	r.look()
	if s.writer != 1 || !s.Writable() {
		t.Errorf("writer woken %d times, writable %v; want 1, true", s.writer, s.Writable())
	}
}

func TestWriteToClosed(t *testing.T) {
	r := newRig(t)
	s, peer := r.unixPair()
	unix.Close(peer)
	if _, err := s.TryWrite([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write: %v, want EPIPE", err)
	}
	s.Close()
	r.try(s, 1, "", net.ErrClosed)
	if _, err := s.TryWrite([]byte("x")); err != net.ErrClosed {
		t.Errorf("write: %v, want ErrClosed", err)
	}
	if ok, err := s.Close(); ok || err != nil {
		t.Errorf("second Close = %v, %v; want false, nil", ok, err)
	}
}

func TestLoopClosesSockets(t *testing.T) {
	l, err := loop.New(loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t, l}
	s, peer := r.unixPair()
	defer unix.Close(peer)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if s.Num() >= 0 {
		t.Error("open after the loop was closed")
	}
	if n, err := unix.Read(peer, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("peer reads %d, %v; want the end", n, err)
	}
}

// The numbers of closed sockets are given out again at once, while events for the
// old ones are in the batch: none may reach the new. Each stream carries its id.
func TestReuseInBatch(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	r := newRig(t)
	type stream struct {
		*sock
		peer int
		id   uint64
		want int // bytes written and not read
	}
	lastID := uint64(0)
	misdelivered, reused, served := 0, 0, 0
	var live []*stream
	var numbers map[int]bool
	first := true
	var onReady func(s *stream)
	fresh := func(speak bool) *stream {
		k, peer := r.unixPair()
		lastID++
		s := &stream{sock: k, peer: peer, id: lastID}
		k.onReader = func() { onReady(s) }
		k.WantRead()
		if numbers[k.Num()] {
			reused++
		}
		if speak {
			var b [8]byte
			binary.NativeEndian.PutUint64(b[:], s.id)
			r.write(peer, string(b[:]))
			s.want = 8
		}
		live = append(live, s)
		return s
	}
	onReady = func(s *stream) {
		if s.Num() < 0 {
			return // closed after its event was queued, as an owner checks
		}
		if first { // closes half of the others and opens as many
			first = false
			var keep []*stream
			for _, o := range live {
				if o != s && len(numbers) < 32 {
					numbers[o.Num()] = true
					o.Close()
					unix.Close(o.peer)
					continue
				}
				keep = append(keep, o)
			}
			live = keep
			for i := range 32 {
				fresh(i%2 == 0) // half of the new ones have nothing to say
			}
		}
		served++
		var b [8]byte
		n, err := s.TryRead(b[:])
		if s.want == 0 {
			misdelivered++
			t.Errorf("stream %d was told to read: %d, %v", s.id, n, err)
			return
		}
		if id := binary.NativeEndian.Uint64(b[:]); n != 8 || err != nil || id != s.id {
			misdelivered++
			t.Errorf("stream %d read %d, %v, id %d", s.id, n, err, id)
		}
		s.want = 0
	}
	for round := range rounds {
		first, numbers = true, map[int]bool{}
		for range 64 {
			fresh(true)
		}
		for range 6 {
			r.look()
		}
		for _, s := range live {
			if s.want != 0 {
				t.Fatalf("round %d: stream %d was never told of its bytes", round, s.id)
			}
			s.Close()
			unix.Close(s.peer)
		}
		live = live[:0]
	}
	if misdelivered != 0 || reused < rounds*16 {
		t.Errorf("%d misdelivered, %d numbers reused", misdelivered, reused)
	}
	t.Logf("%d rounds, %d served, %d numbers reused, %d stale events", rounds, served, reused, r.l.Stats().Stale)
}

func TestConnect(t *testing.T) {
	r := newRig(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := ln.Addr().(*net.TCPAddr).AddrPort()
	connect := func() (*sock, error) {
		fd, err := netfd.Connect(netfd.AddrFrom(to.Addr(), 0, to.Port()), netfd.Addr{})
		if err != nil {
			return nil, err
		}
		s := r.open(fd, false)
		for range 1000 {
			if err = s.TryConnect(); err != netfd.ErrWouldBlock {
				break
			}
			r.look()
		}
		return s, err
	}
	s, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	if v, err := unix.GetsockoptInt(s.Num(), unix.IPPROTO_TCP, unix.TCP_NODELAY); v == 0 || err != nil {
		t.Errorf("TCP_NODELAY = %d, %v", v, err)
	}
	s.Close()
	ln.Close()
	if _, err = connect(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connect: %v, want ECONNREFUSED", err)
	}
}

func TestAcceptedOptions(t *testing.T) {
	r := newRig(t)
	s, _ := r.tcpPair()
	if err := netfd.Accepted(s.Num()); err != nil {
		t.Fatal(err)
	}
	if v, err := unix.GetsockoptInt(s.Num(), unix.IPPROTO_TCP, unix.TCP_NODELAY); v == 0 || err != nil {
		t.Errorf("TCP_NODELAY = %d, %v", v, err)
	}
	fl, err := unix.FcntlInt(uintptr(s.Num()), unix.F_GETFL, 0)
	if err != nil || fl&unix.O_NONBLOCK == 0 {
		t.Errorf("flags %x, %v; want O_NONBLOCK", fl, err)
	}
	fl, err = unix.FcntlInt(uintptr(s.Num()), unix.F_GETFD, 0)
	if err != nil || fl&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %x, %v; want FD_CLOEXEC", fl, err)
	}
}
