//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/datagram"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

func packetRows() []scenario {
	return in(streamSection, []scenario{
		{
			id: "R31", title: "datagrams: a flood, many peers, nobody there, too long",
			naive:  "an error kills the socket, or the flood starves the loop",
			target: "10⁶ datagrams; what is lost is what the kernel has counted", parts: one(r31Flood),
		},
		{
			id: "R32", title: "a network that loses, is slow, or is cut",
			naive:  "transfers hang",
			target: "1,000 transfers of 1 MB, none hung, none corrupt",
			parts:  []part{{name: "5 % lost", run: r32Lossy}, {name: "cut", run: r32Cut}, {name: "8 Mbit/s", netns: true, run: r32Slow}},
		},
	})
}

// r31Flood sends from many sockets more than a small buffer holds.
func r31Flood(r *run) {
	n := r.n(1_000_000, 1000)
	const peers = 50
	r.loop(func(ctx context.Context) error {
		cfg := datagram.Config{ReadBuffer: 64 << 10}
		s, err := cfg.Listen(ctx, "udp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer s.Close()
		var sent atomic.Int64
		to := s.LocalAddr()
		sending := task.Go(ctx, func(ctx context.Context) error {
			return r.others(ctx, peers, 4, func(i int) error { return flood(i, to, n/peers, &sent) })
		})
		seen := make(map[uint64]bool, n)
		buf := make([]byte, 64)
		for {
			k, err := readSoon(ctx, s, buf)
			if errors.Is(err, context.DeadlineExceeded) {
				if sending.Done() {
					break
				}
				continue
			}
			if err != nil {
				return err
			}
			var id uint64
			if _, err := fmt.Sscanf(string(buf[:k]), "%d", &id); err != nil {
				r.misdelivered.Add(1)
			}
			if seen[id] {
				r.duplicated.Add(1)
			}
			seen[id] = true
		}
		st := s.Stats()
		r.load("%d datagrams of %d peers, to a socket with a buffer of 64 KB", sent.Load(), peers)
		r.found("%d received, %d dropped as the kernel counts them", st.Received, st.Dropped)
		r.faults.Add(int64(st.Dropped))
		r.lost.Add(sent.Load() - int64(st.Received) - int64(st.Dropped))
		_, err = sending.Await(ctx)
		return errors.Join(err, badDatagrams(ctx, r))
	})
}

func flood(i int, to net.Addr, n int, sent *atomic.Int64) error {
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: loopback(i)}, to.(*net.UDPAddr))
	if err != nil {
		return err
	}
	defer c.Close()
	for k := range n {
		if _, err := fmt.Fprintf(c, "%d", i<<32|k); err != nil {
			return err
		}
		sent.Add(1)
	}
	return nil
}

// readSoon reads what comes within a while.
func readSoon(ctx context.Context, s *datagram.Conn, buf []byte) (int, error) {
	if n, err := s.TryRead(buf); err != datagram.ErrWouldBlock {
		return n, err
	}
	ctx, cancel := task.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	return s.Read(ctx, buf)
}

// badDatagrams makes errors, after each of which the socket must work.
func badDatagrams(ctx context.Context, r *run) error {
	n := r.n(10_000, 10)
	peer, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	addr := peer.LocalAddr().String()
	s, err := datagram.Dial(ctx, "udp", addr)
	if err != nil {
		return err
	}
	defer s.Close()
	buf := make([]byte, 4)
	for range n {
		if err := s.Write(ctx, make([]byte, 70_000)); !errors.Is(err, syscall.EMSGSIZE) {
			r.fail("a datagram of 70,000 bytes: %v, want EMSGSIZE", err)
		}
		if err := s.Write(ctx, []byte("x")); err != nil {
			r.lost.Add(1)
		}
		_, _ = peer.WriteTo([]byte("too long"), s.LocalAddr())
		if k, err := s.Read(ctx, buf); k != 4 || err != datagram.ErrTruncated {
			r.fail("a datagram that is too long for its buffer: %d, %v", k, err)
		}
		r.faults.Add(2)
	}
	_ = peer.Close()
	refused := 0
	for range n {
		err := s.Write(ctx, []byte("x"))
		if err == nil {
			rctx, cancel := task.WithTimeout(ctx, time.Second)
			_, err = s.Read(rctx, buf)
			cancel()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			r.fail("nobody there: %v, want ECONNREFUSED", err)
		}
		refused++
	}
	r.faults.Add(int64(refused))
	again, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	defer again.Close()
	if err := s.Write(ctx, []byte("x")); err != nil {
		r.lost.Add(1)
	}
	r.load("%d each: too long to send, too long to receive, nobody there", n)
	return nil
}

// upload sends size bytes on a raw socket that is made a Conn, and wants their sum
// back.
func upload(ctx context.Context, c *stream.Conn, data []byte) error {
	if _, err := c.Write(ctx, data); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	got, err := stream.NewReader(c, 0).ReadAll(ctx)
	if err != nil {
		return err
	}
	want := sha256.Sum256(data)
	if !bytes.Equal(got, want[:]) {
		return errCorrupt
	}
	return nil
}

var errCorrupt = errors.New("the sums differ")

// sumUp answers with the sum of all that comes.
func sumUp(ctx context.Context, c *stream.Conn) error {
	h := sha256.New()
	buf := make([]byte, 32<<10)
	for {
		n, err := c.Read(ctx, buf)
		h.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if _, err := c.Write(ctx, h.Sum(nil)); err != nil {
		return err
	}
	return c.CloseWrite()
}

// lossy is a server whose connections lose one segment of n.
func lossyServer(ctx context.Context, n int) (*server, error) {
	srv, err := serve(ctx, stream.ServeConfig{}, sumUp)
	if err != nil || n == 0 {
		return srv, err
	}
	f, err := srv.ln.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return srv, drop(int(f.Fd()), n)
}

func randomBytes(r *run, n int) []byte {
	p := make([]byte, n)
	rng := rand.New(rand.NewPCG(r.opt.seed, 3))
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// r32Lossy transfers while every 20th segment is lost in each direction. Segments of
// the loopback interface would be 64 KB; they are 1,400 bytes here.
func r32Lossy(r *run) {
	n := r.n(1000, 4)
	data := randomBytes(r, 1<<20)
	files(2*n + 100)
	r.loop(func(ctx context.Context) error {
		srv, err := lossyServer(ctx, 20)
		if err != nil {
			return err
		}
		hung, corrupt, slowest := 0, 0, time.Duration(0)
		err = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.SetLimit(200)
			for i := range n {
				g.Go(func(ctx context.Context) error {
					start := time.Now()
					err := lossyUpload(ctx, i, srv.ln.Addr(), data)
					slowest = max(slowest, time.Since(start))
					switch {
					case err == errCorrupt:
						corrupt++
					case errors.Is(err, context.DeadlineExceeded):
						hung++
					case err != nil:
						r.fail("transfer %d: %v", i, err)
					}
					return nil
				})
			}
			return nil
		})
		r.lost.Add(int64(hung))
		r.misdelivered.Add(int64(corrupt))
		r.load("%d transfers of 1 MB, 200 at a time, in segments of 1,400 bytes; each end loses 1 of 20 that it gets", n)
		r.found("the slowest took %v", slowest.Round(time.Millisecond))
		return errors.Join(err, srv.stop(ctx))
	})
}

func lossyUpload(ctx context.Context, i int, to net.Addr, data []byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	a := to.(*net.TCPAddr)
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1400),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte(loopback(i).To4())}), drop(fd, 20))
	if err == nil {
		err = stream.SockConnect(ctx, fd, a.AddrPort())
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	c, err := stream.AdoptFD(ctx, fd)
	if err != nil {
		unix.Close(fd)
		return err
	}
	defer c.Close()
	return task.Timeout(ctx, 60*time.Second, func(ctx context.Context, _ *task.TimeoutScope) error { return upload(ctx, c, data) })
}

// r32Cut cuts connections in the middle of a transfer, for a while or for good.
func r32Cut(r *run) {
	n := r.n(100, 4)
	data := randomBytes(r, 8<<20)
	cut := 3 * time.Second
	if r.opt.scale < 0.1 {
		cut = 200 * time.Millisecond
	}
	r.loop(func(ctx context.Context) error {
		srv, err := serve(ctx, stream.ServeConfig{IdleTimeout: 20 * time.Second}, sumUp)
		if err != nil {
			return err
		}
		finished, timedOut := 0, 0
		err = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			for i := range n {
				g.Go(func(ctx context.Context) error {
					forGood := i%2 == 0
					err := cutUpload(ctx, i, srv.ln.Addr(), data, cut, forGood)
					switch {
					case err == nil && !forGood:
						finished++
					case errors.Is(err, os.ErrDeadlineExceeded) && forGood:
						timedOut++
					default:
						r.lost.Add(1)
						r.fail("cut for good %v: %v", forGood, err)
					}
					return nil
				})
			}
			return nil
		})
		r.faults.Add(int64(n))
		r.load("%d transfers of 8 MB whose client hears nothing any more, half for %v, half for good", n, cut)
		r.found("%d finished, %d ended with os.ErrDeadlineExceeded", finished, timedOut)
		return errors.Join(err, srv.stop(ctx))
	})
}

func cutUpload(ctx context.Context, i int, to net.Addr, data []byte, cut time.Duration, forGood bool) error {
	fd, err := rawDial(i, to)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10)
	c, err := stream.AdoptFD(ctx, fd)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(ctx, data[:1<<20]); err != nil {
		return err
	}
	if err := drop(fd, 1); err != nil {
		return err
	}
	if forGood {
		c.SetTimeouts(cut, 0)
		return upload(ctx, c, data)
	}
	mend := task.Go(ctx, func(ctx context.Context) error {
		if err := task.Sleep(ctx, cut); err != nil {
			return err
		}
		return undrop(fd)
	})
	defer mend.Await(ctx)
	rest := data[1<<20:]
	if _, err := c.Write(ctx, rest); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	got, err := stream.NewReader(c, 0).ReadAll(ctx)
	if want := sha256.Sum256(data); err == nil && !bytes.Equal(got, want[:]) {
		err = errCorrupt
	}
	return err
}

// r32Slow transfers through 8 Mbit/s, in a network of its own.
func r32Slow(r *run) {
	for _, args := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "8mbit", "burst", "32kb", "limit", "200kb"},
		{"ip", "link", "set", "lo", "mtu", "1500"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			r.skip("%v: %v %s", args, err, out)
			return
		}
	}
	n := r.n(8, 1)
	size := r.n(1<<20, 64<<10)
	data := randomBytes(r, size)
	r.loop(func(ctx context.Context) error {
		srv, err := lossyServer(ctx, 0)
		if err != nil {
			return err
		}
		start := time.Now()
		err = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			for range n {
				g.Go(func(ctx context.Context) error {
					c, err := stream.Dial(ctx, "tcp", srv.addr())
					if err != nil {
						return err
					}
					defer c.Close()
					return upload(ctx, c, data)
				})
			}
			return nil
		})
		if err != nil {
			r.lost.Add(1)
		}
		took := time.Since(start)
		r.load("%d transfers of %d KB at a time, through a link of 8 Mbit/s with 200 KB of queue (tbf)", n, size>>10)
		r.found("%.1f Mbit/s in all", float64(8*n*size)/took.Seconds()/1e6)
		return errors.Join(err, srv.stop(ctx))
	})
}
