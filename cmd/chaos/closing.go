//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

// r27Late has goroutines write on connections that the loop closes, while new ones
// take the numbers.
func r27Late(r *run) {
	n := r.n(1_000_000, 200)
	const writers = 8
	t := &lateWrites{run: r, want: int64(n)}
	r.loop(func(ctx context.Context) error {
		if err := t.open(ctx, 64); err != nil {
			return err
		}
		loop.FromContext(ctx).CallLater(20*time.Millisecond, func() {
			for _, c := range t.conns {
				_ = c.Close()
			}
		})
		done := false
		reuse := task.Go(ctx, func(ctx context.Context) error {
			for !done {
				if err := t.takeNumber(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		err := r.others(ctx, writers, writers, t.write)
		done = true
		_, rerr := reuse.Await(ctx)
		got := 0
		for _, b := range t.peers {
			data, _ := readAll(b)
			got += len(data) / 4
		}
		r.lost.Add(t.early.Load() - int64(got))
		r.load("%d writes by %d goroutines after the close, %d before, while the numbers are used again", t.late.Load(), writers, t.early.Load())
		r.faults.Add(t.late.Load())
		return errors.Join(err, rerr)
	})
}

type lateWrites struct {
	*run
	conns       []*stream.Conn
	views       []net.Conn
	peers       []int
	want        int64
	late, early atomic.Int64
}

func (t *lateWrites) open(ctx context.Context, n int) error {
	for range n {
		a, b, err := rawPair()
		if err != nil {
			return err
		}
		c, err := stream.AdoptFD(ctx, a)
		if err != nil {
			return err
		}
		t.conns, t.views, t.peers = append(t.conns, c), append(t.views, c.Blocking()), append(t.peers, b)
	}
	return nil
}

// takeNumber makes a connection that nobody writes to, and closes it twice.
func (t *lateWrites) takeNumber(ctx context.Context) error {
	a, b, err := rawPair()
	if err != nil {
		return err
	}
	defer unix.Close(b)
	c, err := stream.AdoptFD(ctx, a)
	if err != nil {
		return err
	}
	for range 2 {
		if err := task.Yield(ctx); err != nil {
			return err
		}
	}
	if err := unix.SetNonblock(b, true); err != nil {
		return err
	}
	if k, err := unix.Read(b, make([]byte, 10)); k > 0 && err == nil {
		t.misdelivered.Add(1)
	}
	return errors.Join(c.Close(), c.Close())
}

// write is a goroutine that writes on and on.
func (t *lateWrites) write(w int) error {
	for i := 0; t.late.Load() < t.want; i++ {
		_, err := t.views[(i*8+w)%len(t.views)].Write([]byte("late"))
		switch {
		case err == nil:
			t.early.Add(1)
			time.Sleep(time.Millisecond)
		case errors.Is(err, net.ErrClosed):
			t.late.Add(1)
		default:
			return err
		}
	}
	return nil
}

func readAll(fd int) ([]byte, error) {
	defer unix.Close(fd)
	var all []byte
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		if n <= 0 || err != nil {
			return all, err
		}
		all = append(all, buf[:n]...)
	}
}

// r28Foreign has clients send their own id all the time, and servers close half of
// the connections in the middle of it.
func r28Foreign(r *run) {
	total := int64(r.n(1_000_000_000, 1_000_000))
	const clients = 32
	var got atomic.Int64
	var next atomic.Uint64
	r.loop(func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		tl, err := transport.Listen(l, "tcp", "127.0.0.1:0", func() transport.Protocol { return &idReader{r: r, got: &got} }, transport.ListenConfig{})
		if err != nil {
			return err
		}
		srv, err := serve(ctx, stream.ServeConfig{}, func(ctx context.Context, c *stream.Conn) error {
			w := &idWatch{r: r, limit: int64(rand.IntN(4 << 20))}
			buf := make([]byte, 32<<10)
			for {
				n, err := c.Read(ctx, buf)
				if err != nil {
					return err
				}
				got.Add(int64(n))
				if w.see(buf[:n]) {
					return c.Close() // with more on its way
				}
			}
		})
		if err != nil {
			return err
		}
		closes := atomic.Int64{}
		err = r.others(ctx, clients, clients, func(i int) error {
			addr := tl.Addr()
			if i%2 == 1 {
				addr = srv.ln.Addr()
			}
			for got.Load() < total {
				if err := sendID(i, addr, next.Add(1)); err != nil {
					return err
				}
				closes.Add(1)
			}
			return nil
		})
		r.load("%d MB of ids on %d connections, each closed while it is read", got.Load()>>20, closes.Load())
		r.faults.Add(closes.Load())
		tl.Abort()
		return errors.Join(err, srv.stop(ctx))
	})
}

// sendID sends an id, 8 bytes each, until the server closes.
func sendID(i int, addr net.Addr, id uint64) error {
	fd, err := rawDial(i, addr)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, 64<<10)
	for k := 0; k < len(buf); k += 8 {
		binary.LittleEndian.PutUint64(buf[k:], id)
	}
	for p := buf; ; {
		n, err := unix.SendmsgN(fd, p, nil, nil, unix.MSG_NOSIGNAL)
		if err != nil && err != unix.EINTR {
			return nil // closed, as was to be
		}
		if p = p[max(n, 0):]; len(p) == 0 {
			p = buf
		}
	}
}

// An idWatch sees whether all bytes of a connection are of one id.
type idWatch struct {
	r     *run
	id    [8]byte
	seen  int64
	limit int64
}

func (w *idWatch) see(p []byte) (enough bool) {
	for len(p) > 0 {
		if w.seen >= 8 && w.seen%8 == 0 && len(p) >= 8 {
			if [8]byte(p) != w.id {
				w.r.misdelivered.Add(1)
			}
			w.seen, p = w.seen+8, p[8:]
			continue
		}
		k := w.seen % 8
		if w.seen < 8 {
			w.id[k] = p[0]
		} else if w.id[k] != p[0] {
			w.r.misdelivered.Add(1)
		}
		w.seen, p = w.seen+1, p[1:]
	}
	return w.seen > w.limit
}

type idReader struct {
	transport.Defaults
	r   *run
	got *atomic.Int64
	w   *idWatch
	t   *transport.Transport
}

func (p *idReader) Connected(t *transport.Transport) {
	p.t, p.w = t, &idWatch{r: p.r, limit: int64(rand.IntN(4 << 20))}
}

func (p *idReader) Data(b []byte) {
	p.got.Add(int64(len(b)))
	if p.w.see(b) {
		p.t.Abort()
	}
}

// r29Cancel cancels reads of messages, and of a queue, at every moment.
func r29Cancel(r *run) {
	n := r.n(100_000, 200)
	r.loop(func(ctx context.Context) error {
		if err := cancelReads(ctx, r, n/2); err != nil {
			return err
		}
		return cancelGets(ctx, r, n/2)
	})
	r.load("%d cancellations: half in ReadFull, ReadLine and ReadUntil of a TCP connection, half in Queue.Get", r.faults.Load())
}

func cancelReads(ctx context.Context, r *run, cancels int) error {
	a, b, err := rawTCP()
	if err != nil {
		return err
	}
	c, err := stream.AdoptFD(ctx, a)
	if err != nil {
		return err
	}
	defer c.Close()
	var enough atomic.Bool
	sent := 0
	sending := task.Go(ctx, func(ctx context.Context) error {
		return r.others(ctx, 1, 1, func(int) error {
			defer unix.Close(b)
			for ; !enough.Load(); sent++ {
				msg := fmt.Sprintf("%08d line %d\npart %d;", sent, sent, sent)
				for len(msg) > 0 {
					k := min(len(msg), 1+rand.IntN(len(msg)))
					if err := writeN(b, []byte(msg[:k])); err != nil {
						return err
					}
					msg = msg[k:]
				}
			}
			return nil
		})
	})
	rd := stream.NewReader(c, 0)
	buf := make([]byte, 9)
	got := 0
	steps := []func(ctx context.Context) (string, error){
		func(ctx context.Context) (string, error) { _, err := rd.ReadFull(ctx, buf); return string(buf), err },
		rd.ReadLine,
		func(ctx context.Context) (string, error) {
			b, err := rd.ReadUntil(ctx, []byte(";"))
			return string(b), err
		},
	}
	for done := 0; ; {
		wants := []string{fmt.Sprintf("%08d ", got), fmt.Sprintf("line %d", got), fmt.Sprintf("part %d;", got)}
		for i, step := range steps {
			s, canceled, err := canceledUntilDone(ctx, r, step)
			done += canceled
			if err == io.EOF && i == 0 {
				r.lost.Add(int64(sent - got))
				_, err := sending.Await(ctx)
				return err
			}
			if err != nil || s != wants[i] {
				r.lost.Add(1)
				return fmt.Errorf("message %d: got %q, %v, want %q", got, s, err, wants[i])
			}
		}
		if got++; done >= cancels {
			enough.Store(true)
		}
	}
}

// canceledUntilDone begins a step again and again, and cancels it after no, one or a
// few turns, until it ends before that.
func canceledUntilDone(ctx context.Context, r *run, step func(ctx context.Context) (string, error)) (s string, canceled int, err error) {
	for {
		t := task.Start(ctx, step)
		for range rand.IntN(4) {
			_ = task.Yield(ctx)
		}
		t.Cancel(nil)
		s, err = t.Await(ctx)
		if future.AsCanceled(err) == nil {
			return s, canceled, err
		}
		canceled++
		r.faults.Add(1)
	}
}

// cancelGets has tasks get items and be canceled, in the same turn or not, as items
// are put. Each item must come out once.
func cancelGets(ctx context.Context, r *run, cancels int) error {
	q := queue.New[int](4)
	seen := map[int]int{}
	put := 0
	for done := 0; done < cancels; {
		var gets []*task.Task[int]
		for range 4 {
			gets = append(gets, task.StartNow(ctx, q.Get))
		}
		for range rand.IntN(5) {
			if q.TryPut(put) == nil {
				put++
			}
		}
		for range rand.IntN(3) {
			_ = task.Yield(ctx)
		}
		for _, g := range gets {
			g.Cancel(nil)
		}
		for _, g := range gets {
			v, err := g.Await(ctx)
			if err == nil {
				seen[v]++
			} else {
				done++
				r.faults.Add(1)
			}
		}
	}
	for {
		v, err := q.TryGet()
		if err != nil {
			break
		}
		seen[v]++
	}
	for i := range put {
		switch n := seen[i]; {
		case n == 0:
			r.lost.Add(1)
		case n > 1:
			r.duplicated.Add(1)
		}
	}
	return nil
}

// r30Proxy sends through a proxy whose other side takes 20 MB a second.
func r30Proxy(r *run) {
	size := r.n(100<<20, 1<<20)
	const high = 64 << 10
	peak := 0
	r.loop(func(ctx context.Context) error {
		slow, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer slow.Close()
		srv, err := serve(ctx, stream.ServeConfig{}, func(ctx context.Context, c *stream.Conn) error {
			to, err := stream.Dial(ctx, "tcp", slow.Addr().String())
			if err != nil {
				return err
			}
			return pump(ctx, c, to, high, &peak)
		})
		if err != nil {
			return err
		}
		start := time.Now()
		got := 0
		err = r.others(ctx, 2, 2, func(i int) (err error) {
			if i == 0 {
				got, err = takeSlowly(slow)
				return err
			}
			return sendFast(srv.addr(), size)
		})
		r.load("%d MB through a proxy, from a side that is fast to one that takes 20 MB a second", size>>20)
		r.found("buffered at most %d bytes, the watermark is %d; it took %v", peak, high, time.Since(start).Round(time.Millisecond))
		r.lost.Add(int64(size - got))
		r.check(peak <= 2*high, "%d bytes were buffered", peak)
		return errors.Join(err, srv.stop(ctx))
	})
}

// pump is one direction of a proxy.
func pump(ctx context.Context, from, to *stream.Conn, high int, peak *int) error {
	w := to.Writer()
	w.SetLimits(high/4, high, 2*high)
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(ctx, buf)
		if err == io.EOF {
			_ = w.Close()
			return w.WaitClosed(ctx)
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		*peak = max(*peak, w.Buffered())
		if err := w.Drain(ctx); err != nil {
			return err
		}
	}
}

func takeSlowly(ln net.Listener) (got int, err error) {
	c, err := ln.Accept()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetReadBuffer(32 << 10)
	buf := make([]byte, 20<<10)
	for start := time.Now(); ; {
		n, err := c.Read(buf)
		for k, b := range buf[:n] {
			if b != byte((got+k)>>10) {
				return got, fmt.Errorf("byte %d is wrong", got+k)
			}
		}
		got += n
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		time.Sleep(time.Until(start.Add(time.Duration(got) * time.Second / (20 << 20))))
	}
}

func sendFast(addr string, size int) error {
	c, err := dialFrom(0, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, 1<<20)
	for at := 0; at < size; at += len(buf) {
		for k := range buf {
			buf[k] = byte((at + k) >> 10)
		}
		if _, err := c.Write(buf[:min(len(buf), size-at)]); err != nil {
			return err
		}
	}
	return nil
}
