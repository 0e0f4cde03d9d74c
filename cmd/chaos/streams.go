//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

const streamSection = "Streams, back pressure, parsers, TLS"

func streamRows() []scenario {
	return in(streamSection, []scenario{
		{
			id: "R21", title: "readers that stall while much is written to them",
			naive:  "a queue without a bound, until memory is out",
			target: "1,000 stalled readers, 10 GB offered: memory bounded by the caps, none of what was taken lost", parts: one(r21Stalled),
		},
		{
			id: "R22", title: "many tasks wait for one slow connection to drain",
			naive:  "an assertion, or only one is woken",
			target: "10³ waiters, all woken, in order", parts: one(r22Drain),
		},
		{
			id: "R23", title: "partial writes: the smallest socket buffers, thousands of pieces",
			naive:  "data is cut or overtakes itself",
			target: "10 GB, equal sums, in order", parts: one(r23Partial),
		},
		{
			id: "R24", title: "input cut at every byte",
			naive:  "parsers are off by one where reads end",
			target: "the same result for all splits of messages of up to 64 bytes", parts: one(r24Splits),
		},
		{
			id: "R25", title: "a line without an end",
			naive:  "memory grows, or the stream is left in a state that nobody knows",
			target: "1 GB without a newline: memory flat, the next message readable", parts: one(r25Endless),
		},
		{
			id: "R26", title: "bad TLS: garbage, half a hello, silence, no goodbye",
			naive:  "descriptors of handshakes that never end, a log that fills the disk",
			target: "5,000 bad handshakes among 500 good ones: no descriptor left, p99 of the good within 20 %", parts: one(r26TLS),
		},
		{
			id: "R27", title: "writes by other goroutines after a connection was closed",
			naive:  "they go to the connection that has the number now",
			target: "10⁶ late writes, none delivered", parts: one(r27Late),
		},
		{
			id: "R28", title: "connections closed while they are read",
			naive:  "two share a pooled buffer: bytes of one client are shown to another",
			target: "10⁹ bytes, none foreign", parts: one(r28Foreign),
		},
		{
			id: "R29", title: "cancellation in the middle of a message, and of a wait for an item",
			naive:  "bytes that were read, or the item, are lost",
			target: "10⁵ cancellations, nothing lost", parts: one(r29Cancel),
		},
		{
			id: "R30", title: "a proxy between a fast and a slow side",
			naive:  "memory is the difference of speeds times time",
			target: "100 MB through, buffered no more than twice the watermark", parts: one(r30Proxy),
		},
	})
}

// r21Stalled writes to readers that read nothing, by transports and by Writers, and
// then lets them read.
func r21Stalled(r *run) {
	const limit = 64 << 10
	n := r.n(1000, 10)
	n = min(n, files(2*n+100)/2)
	offer := 10 << 20 // to each
	r.loop(func(ctx context.Context) error {
		t := &stalled{run: r, offer: offer}
		cfg := transport.ListenConfig{Config: transport.Config{MaxBuffered: limit, HighWater: limit / 2}}
		tl, err := transport.Listen(loop.FromContext(ctx), "unix", unixName("transport"), func() transport.Protocol { return &offering{t: t} }, cfg)
		if err != nil {
			return err
		}
		srv, err := serveAt(ctx, "unix", unixName("stream"), stream.ServeConfig{}, t.offerByWriter)
		if err != nil {
			return err
		}
		fds := make([]int, n)
		err = r.others(ctx, n, 8, func(i int) (err error) {
			name := unixName("transport")
			if i%2 == 1 {
				name = unixName("stream")
			}
			fds[i], err = rawDialUnix(name)
			return errors.Join(err, writeN(fds[i], []byte("x")))
		})
		for t.offers < n && err == nil {
			err = task.Sleep(ctx, time.Millisecond)
		}
		r.mu.Lock()
		peak := r.row.RSSPeakKB
		r.mu.Unlock()
		r.load("%d stalled readers, half of transports, half of Writers; %d MB offered to each, %d MB in all; %d KB buffered at most", n, offer>>20, n*offer>>20, limit>>10)
		r.found("%d MB were taken, of these %d MB buffered; %d writes refused with ErrBufferFull; RSS %+d MB", t.taken>>20, t.buffered>>20, t.refused, peak>>10)
		r.check(t.refused > 0, "nothing was refused")
		r.check(peak < 64<<10+int64(n)*limit>>10, "RSS has grown by %d KB", peak)
		r.faults.Add(int64(t.refused))
		var got atomic.Int64
		err = errors.Join(err, r.others(ctx, n, 16, func(i int) error { return t.drain(fds[i], &got) }))
		r.lost.Add(t.taken - got.Load())
		tl.Abort()
		return errors.Join(err, srv.stop(ctx))
	})
}

type stalled struct {
	*run
	offer           int
	offers          int
	taken, buffered int64
	refused         int
}

var piece = bytes.Repeat([]byte("0123456789abcdef"), 16<<10/16)

// give offers pieces until there were enough, whether or not they are taken.
func (t *stalled) give(write func(p []byte) error, buffered func() int) {
	for range t.offer / len(piece) {
		switch err := write(piece); {
		case err == nil:
			t.taken += int64(len(piece))
		case errors.Is(err, transport.ErrBufferFull) || errors.Is(err, stream.ErrBufferFull):
			t.refused++
		default:
			t.fail("write: %v", err)
			return
		}
	}
	t.buffered += int64(buffered())
	t.offers++
}

type offering struct {
	transport.Defaults
	t  *stalled
	tr *transport.Transport
}

func (p *offering) Connected(t *transport.Transport) { p.tr = t }
func (p *offering) Data([]byte) {
	p.t.give(p.tr.Write, p.tr.WriteBufferSize)
	p.tr.Close()
}

func (t *stalled) offerByWriter(ctx context.Context, c *stream.Conn) error {
	if _, err := c.Read(ctx, make([]byte, 1)); err != nil {
		return err
	}
	w := c.Writer()
	w.SetLimits(1<<10, 32<<10, 64<<10)
	t.give(func(p []byte) error { _, err := w.Write(p); return err }, w.Buffered)
	_ = w.Close()
	return w.WaitClosed(ctx)
}

// drain reads what was taken; all of it must be whole pieces.
func (t *stalled) drain(fd int, got *atomic.Int64) error {
	defer unix.Close(fd)
	buf := make([]byte, len(piece))
	for {
		err := readN(fd, buf[:16])
		if err != nil && strings.Contains(err.Error(), "end of stream") {
			return nil
		}
		if err == nil {
			err = readN(fd, buf[16:])
		}
		if err != nil {
			return err
		}
		if !bytes.Equal(buf, piece) {
			t.misdelivered.Add(1)
		}
		got.Add(int64(len(buf)))
	}
}

// r22Drain has tasks wait for a Writer whose peer reads nothing for a while.
func r22Drain(r *run) {
	waiters, rounds := r.n(1000, 10), r.n(100, 2)
	r.loop(func(ctx context.Context) error {
		a, b, err := rawPair()
		if err != nil {
			return err
		}
		defer unix.Close(b)
		c, err := stream.AdoptFD(ctx, a)
		if err != nil {
			return err
		}
		defer c.Close()
		w := c.Writer()
		w.SetLimits(0, 1<<10, 64<<20)
		for range rounds {
			var order []int
			var tasks []*task.Task[struct{}]
			size := 512 << 10
			if _, err := w.Write(make([]byte, size)); err != nil {
				return err
			}
			for i := range waiters {
				tasks = append(tasks, task.Go(ctx, func(ctx context.Context) error {
					err := w.Drain(ctx)
					order = append(order, i)
					return err
				}))
			}
			for range 3 {
				_ = task.Yield(ctx)
			}
			r.check(len(order) == 0, "%d did not wait", len(order))
			if err := r.others(ctx, 1, 1, func(int) error { return readN(b, make([]byte, size)) }); err != nil {
				return err
			}
			for _, t := range tasks {
				if _, err := task.WaitFor(ctx, 5*time.Second, t); err != nil {
					r.lost.Add(1)
				}
			}
			for i, k := range order {
				if i != k {
					r.misdelivered.Add(1)
				}
			}
		}
		r.load("%d tasks in Drain of one Writer, %d times", waiters, rounds)
		return nil
	})
}

// r23Partial writes through the smallest buffers, in very many pieces.
func r23Partial(r *run) {
	total := r.n(960<<20, 1<<20)
	kinds := []string{"Conn.Write", "Writer.Writev", "Transport.WriteAll"}
	for _, kind := range kinds {
		r.loop(func(ctx context.Context) error { return sumThrough(ctx, r, kind, rawPair, total/3) })
		r.loop(func(ctx context.Context) error { return sumThrough(ctx, r, kind, rawTCP, total/200) })
	}
	r.load("%d MB through unix and %d MB through TCP sockets with the smallest send buffer: a third each by Conn.Write, by Writer.Writev and by Transport.WriteAll of 2,000 pieces",
		total>>20, 3*(total/200)>>20)
}

// sumThrough writes through a pair of sockets, and compares the sums of both ends.
func sumThrough(ctx context.Context, r *run, kind string, pair func() (a, b int, err error), total int) error {
	a, b, err := pair()
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(a, unix.SOL_SOCKET, unix.SO_SNDBUF, 1)
	sent := sha256.New()
	rng := rand.New(rand.NewPCG(r.opt.seed, 2))
	got := make(chan []byte, 1)
	reading := task.Go(ctx, func(ctx context.Context) error {
		return r.others(ctx, 1, 1, func(int) error { return sumAll(b, got) })
	})
	if err := writePieces(ctx, kind, a, total, rng, sent); err != nil {
		return err
	}
	if _, err := reading.Await(ctx); err != nil {
		return err
	}
	if !bytes.Equal(<-got, sent.Sum(nil)) {
		r.misdelivered.Add(1)
		r.fail("%s: the sums differ", kind)
	}
	return nil
}

// rawTCP returns a connected pair of TCP sockets.
func rawTCP() (a, b int, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	defer ln.Close()
	if b, err = rawDial(0, ln.Addr()); err != nil {
		return 0, 0, err
	}
	c, err := ln.Accept()
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	a, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	return a, b, err
}

func sumAll(fd int, got chan<- []byte) error {
	defer unix.Close(fd)
	h := sha256.New()
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			got <- h.Sum(nil)
			return nil
		}
		h.Write(buf[:n])
	}
}

// writePieces writes total bytes, 2,000 pieces of 1 to 1,000 bytes at a time.
func writePieces(ctx context.Context, kind string, fd, total int, rng *rand.Rand, sum hash.Hash) error {
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	write, end, err := writerOf(ctx, kind, fd)
	if err != nil {
		return err
	}
	for left := total; left > 0; {
		pieces := make([][]byte, 0, 2000)
		for range cap(pieces) {
			n := 1 + rng.IntN(1000)
			at := rng.IntN(len(data) - n)
			pieces = append(pieces, data[at:at+n])
			sum.Write(data[at : at+n])
			left -= n
		}
		if err := write(pieces); err != nil {
			return err
		}
	}
	return end()
}

func writerOf(ctx context.Context, kind string, fd int) (write func([][]byte) error, end func() error, err error) {
	if kind == "Transport.WriteAll" {
		p := &sendingProtocol{}
		p.lost, p.told = future.New[error](loop.FromContext(ctx))
		t, err := transport.AdoptFD(loop.FromContext(ctx), fd, p, transport.Config{})
		write := func(pieces [][]byte) error {
			err := t.WriteAll(pieces)
			for t.WriteBufferSize() > 0 && err == nil {
				err = task.Sleep(ctx, 100*time.Microsecond)
			}
			return err
		}
		end := func() error {
			t.Close()
			lost, err := p.lost.Await(ctx)
			return errors.Join(lost, err)
		}
		return write, end, err
	}
	c, err := stream.AdoptFD(ctx, fd)
	if err != nil {
		return nil, nil, err
	}
	if kind == "Conn.Write" {
		return func(pieces [][]byte) error { _, err := c.Write(ctx, bytes.Join(pieces, nil)); return err }, c.Close, nil
	}
	w := c.Writer()
	write = func(pieces [][]byte) error {
		if _, err := w.Writev(pieces...); err != nil {
			return err
		}
		return w.Drain(ctx)
	}
	return write, func() error { _ = w.Close(); return w.WaitClosed(ctx) }, nil
}

type sendingProtocol struct {
	transport.Defaults
	lost *future.Future[error]
	told future.Promise[error]
}

func (p *sendingProtocol) Lost(err error) { p.told.Resolve(err) }

// r24Splits feeds every parser with its input in two and in three parts, cut
// everywhere.
func r24Splits(r *run) {
	splits := 0
	r.loop(func(ctx context.Context) error {
		for _, p := range parsers() {
			want, err := parseSplit(ctx, p, len(p.input), len(p.input))
			if err != nil {
				return err
			}
			step := max(1, int(1/r.opt.scale)/10)
			for i := 0; i <= len(p.input); i++ {
				for j := i; j <= len(p.input); j += step {
					got, err := parseSplit(ctx, p, i, j)
					splits++
					if err != nil || got != want {
						r.misdelivered.Add(1)
						r.fail("%s cut at %d and %d: %q, %v, want %q", p.name, i, j, got, err, want)
					}
				}
			}
		}
		r.load("%d splits of %d inputs: lines, separators, lengths, HTTP/1.1 requests, line limits (there is no WebSocket in eddy)", splits, len(parsers()))
		return nil
	})
}

type parser struct {
	name, input string
	parse       func(ctx context.Context, c *stream.Conn) (string, error)
}

func parsers() []parser {
	return []parser{
		{"lines", "one\r\ntwo\n\n\r\nthree\rfour\r\n\nlast line without an end", func(ctx context.Context, c *stream.Conn) (string, error) {
			var all []string
			for line, err := range stream.NewReader(c, 0).Lines(ctx) {
				if err != nil {
					return "", err
				}
				all = append(all, line)
			}
			return strings.Join(all, "|"), nil
		}},
		{"separators", "a--b---c-END-d--END-----ENDE", func(ctx context.Context, c *stream.Conn) (string, error) {
			var all []string
			rd := stream.NewReader(c, 0)
			for {
				b, err := rd.ReadUntil(ctx, []byte("-END-"), []byte("--"))
				if err != nil {
					return strings.Join(append(all, err.Error()), "|"), nil
				}
				all = append(all, string(b))
			}
		}},
		{"lengths", "\x03abc\x00\x01x\x0a0123456789\x02ab\x05abc", func(ctx context.Context, c *stream.Conn) (string, error) {
			var all []string
			rd := stream.NewReader(c, 0)
			for {
				var n [1]byte
				if _, err := rd.ReadFull(ctx, n[:]); err != nil {
					return strings.Join(append(all, err.Error()), "|"), nil
				}
				b := make([]byte, n[0])
				if _, err := rd.ReadFull(ctx, b); err != nil {
					return strings.Join(append(all, err.Error()), "|"), nil
				}
				all = append(all, string(b))
			}
		}},
		{"limits", "short\n0123456789abcdefghij\nnext\n", func(ctx context.Context, c *stream.Conn) (string, error) {
			var all []string
			rd := stream.NewReader(c, 10)
			for {
				line, err := rd.ReadLine(ctx)
				if err == stream.ErrTooLong {
					line = "too long"
					_, err = rd.SkipUntil(ctx, []byte("\n"))
				}
				if err != nil {
					return strings.Join(append(all, err.Error()), "|"), nil
				}
				all = append(all, line)
			}
		}},
		{"http", "POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\nabc", func(ctx context.Context, c *stream.Conn) (string, error) {
			req, err := http.ReadRequest(bufio.NewReader(c.NetConn(ctx)))
			if err != nil {
				return "", err
			}
			body, err := io.ReadAll(req.Body)
			return req.Method + req.URL.Path + req.Host + string(body), err
		}},
	}
}

func parseSplit(ctx context.Context, p parser, i, j int) (string, error) {
	a, b := stream.Pipe(loop.FromContext(ctx))
	defer a.Close()
	t := task.StartNow(ctx, func(ctx context.Context) (string, error) { return p.parse(ctx, a) })
	for _, part := range []string{p.input[:i], p.input[i:j], p.input[j:]} {
		if part == "" {
			continue
		}
		if _, err := b.Write(ctx, []byte(part)); err != nil {
			return "", err
		}
		_ = task.Yield(ctx)
		_ = task.Yield(ctx)
	}
	_ = b.Close()
	return t.Await(ctx)
}

// r25Endless sends a line without an end, then a line that has one.
func r25Endless(r *run) {
	size := r.n(1<<30, 1<<20) &^ (64<<10 - 1)
	r.loop(func(ctx context.Context) error {
		srv, err := serve(ctx, stream.ServeConfig{}, func(ctx context.Context, c *stream.Conn) error {
			rd := stream.NewReader(c, 0)
			for {
				line, err := rd.ReadLine(ctx)
				if err == stream.ErrTooLong {
					var n int64
					n, err = rd.SkipUntil(ctx, []byte("\n"))
					r.check(n >= int64(size), "%d bytes skipped", n)
					line = "too long"
				}
				if err != nil {
					return err
				}
				if _, err := c.Write(ctx, []byte(line)); err != nil {
					return err
				}
			}
		})
		if err != nil {
			return err
		}
		r.mu.Lock()
		before := r.row.RSSPeakKB
		r.mu.Unlock()
		err = r.others(ctx, 1, 1, func(int) error { return endless(srv.ln.Addr(), size) })
		r.mu.Lock()
		grown := r.row.RSSPeakKB - before
		r.mu.Unlock()
		r.load("a line of %d MB, then a short one; the limit is 64 KB", size>>20)
		r.check(grown < 16<<10, "RSS has grown by %d KB", grown)
		return errors.Join(err, srv.stop(ctx))
	})
}

func endless(addr net.Addr, size int) error {
	fd, err := rawDial(0, addr)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for range size / len(chunk) {
		if err := writeN(fd, chunk); err != nil {
			return err
		}
	}
	if err := writeN(fd, []byte("\nthe next\n")); err != nil {
		return err
	}
	got := make([]byte, len("too longthe next"))
	if err := readN(fd, got); err != nil {
		return err
	}
	if string(got) != "too longthe next" {
		return errors.New("got " + string(got))
	}
	return nil
}
