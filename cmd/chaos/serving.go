//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

// r15HalfClose has clients that send a number of bytes and end their stream at once,
// and then read an answer that is longer than any buffer for some of them.
func r15HalfClose(r *run) {
	n := r.n(100_000, 20)
	big := max(1, n/2500)
	r.loop(func(ctx context.Context) error {
		srv, err := serve(ctx, stream.ServeConfig{}, answerAtEnd)
		if err != nil {
			return err
		}
		tl, err := transport.Listen(loop.FromContext(ctx), "tcp", "127.0.0.1:0",
			func() transport.Protocol { return &atEnd{} }, transport.ListenConfig{})
		if err != nil {
			return err
		}
		err = r.others(ctx, n, 32, func(i int) error {
			addr := srv.addr()
			if i%2 == 1 {
				addr = tl.Addr().String()
			}
			size := 1000 + i%3000
			if i%(n/big) < 2 {
				size = 10 << 20
			}
			lost, err := sendThenClose(i, addr, size)
			r.lost.Add(lost)
			return err
		})
		r.load("%d clients of 1 to 4 KB and %d of 10 MB answers, half against stream, half against transport", n, 2*big)
		tl.Abort()
		return errors.Join(err, srv.stop(ctx))
	})
}

// answerAtEnd reads to the end, and then writes what was asked for: what was read,
// after a size.
func answerAtEnd(ctx context.Context, c *stream.Conn) error {
	got, err := stream.NewReader(c, 0).ReadAll(ctx)
	if err != nil {
		return err
	}
	if _, err := c.Write(ctx, make([]byte, sizeOf(got))); err != nil {
		return err
	}
	_, err = c.Write(ctx, got)
	return err
}

func sizeOf(got []byte) int { return int(binary.LittleEndian.Uint32(got)) }

type atEnd struct {
	transport.Defaults
	t   *transport.Transport
	got []byte
}

func (p *atEnd) Connected(t *transport.Transport) { p.t = t }
func (p *atEnd) Data(b []byte)                    { p.got = append(p.got, b...) }
func (p *atEnd) EOF() bool {
	_ = p.t.Write(make([]byte, sizeOf(p.got)))
	_ = p.t.Write(p.got)
	p.t.Close()
	return true
}

// sendThenClose is the client. It returns how many bytes are missing.
func sendThenClose(i int, addr string, size int) (lost int64, err error) {
	c, err := dialFrom(i, addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	sent := make([]byte, 1000+i%3000)
	for k := range sent {
		sent[k] = byte(i + k)
	}
	binary.LittleEndian.PutUint32(sent, uint32(size))
	if _, err := c.Write(sent); err != nil {
		return 0, err
	}
	if err := c.CloseWrite(); err != nil {
		return 0, err
	}
	skipped, err := io.CopyN(io.Discard, c, int64(size))
	if err != nil {
		return int64(size) - skipped, err
	}
	got, err := io.ReadAll(c)
	if err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("%d bytes came back, want %d", len(got), len(sent))
	}
	return int64(len(sent) - len(got)), err
}

// r16Unread has clients that send more than the server reads before it answers and
// closes.
func r16Unread(r *run) {
	n := r.n(10_000, 20)
	r.loop(func(ctx context.Context) error {
		graceful, err := serve(ctx, stream.ServeConfig{}, answerUnread(true))
		if err != nil {
			return err
		}
		plain, err := serve(ctx, stream.ServeConfig{}, answerUnread(false))
		if err != nil {
			return err
		}
		var cut atomic.Int64
		err = r.others(ctx, n, 16, func(i int) error {
			if err := wantAnswer(i, graceful.addr()); err != nil {
				r.lost.Add(1)
				return err
			}
			return nil
		})
		m := min(n, 1000)
		err = errors.Join(err, r.others(ctx, m, 16, func(i int) error {
			if wantAnswer(i, plain.addr()) != nil {
				cut.Add(1)
			}
			return nil
		}))
		r.load("%d answers of 1 MB by CloseGraceful to clients that have sent 128 KB too much", n)
		r.found("of %d answers by Close %d were cut", m, cut.Load())
		r.faults.Add(int64(n))
		return errors.Join(err, graceful.stop(ctx), plain.stop(ctx))
	})
}

func answerUnread(graceful bool) stream.Handler {
	return func(ctx context.Context, c *stream.Conn) error {
		if _, err := c.Read(ctx, make([]byte, 10)); err != nil {
			return err
		}
		if _, err := c.Write(ctx, make([]byte, answerSize)); err != nil {
			return err
		}
		if !graceful {
			return c.Close()
		}
		ctx, cancel := task.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return c.CloseGraceful(ctx, 1<<20)
	}
}

const answerSize = 1 << 20

func wantAnswer(i int, addr string) error {
	c, err := dialFrom(i, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetReadBuffer(128 << 10)
	if _, err := c.Write([]byte("request 10")); err != nil {
		return err
	}
	_, _ = c.Write(make([]byte, 128<<10)) // too much: may fail, of course
	buf := make([]byte, 32<<10)
	for got := 0; got < answerSize; { // takes its time: much is on its way when the server closes
		n, err := c.Read(buf)
		got += n
		if err != nil {
			return fmt.Errorf("%d bytes of the answer: %w", got, err)
		}
	}
	return nil
}

// r17Churn connects, speaks and closes.
func r17Churn(r *run) {
	n := r.n(500_000, 100)
	r.loop(func(ctx context.Context) error {
		srv, err := serve(ctx, stream.ServeConfig{}, echo)
		if err != nil {
			return err
		}
		var before, after int64
		if err := r.blocking(ctx, heapNow(&before)); err != nil {
			return err
		}
		start := time.Now()
		err = r.others(ctx, n, 8, func(i int) error {
			fd, err := rawDial(i, srv.ln.Addr())
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return ping(fd, []byte("hi"))
		})
		took := time.Since(start)
		r.lost.Add(int64(n) - int64(srv.ln.Stats().Accepted))
		r.load("%d connections, 8 at a time, an echo on each", n)
		err = errors.Join(err, r.blocking(ctx, heapNow(&after)))
		r.found("%.0f connections a second, the clients on the same processors; heap %+d KB", float64(n)/took.Seconds(), (after-before)>>10)
		return errors.Join(err, srv.stop(ctx))
	})
}

// heapNow returns a function that collects garbage and says what is left.
func heapNow(to *int64) func() error {
	return func() error {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		*to = int64(m.HeapAlloc + m.StackInuse)
		return nil
	}
}

// r18Idle holds connections that have spoken once, and has all of them speak again.
func r18Idle(r *run) {
	n := r.n(10_000, 20)
	n = min(n, files(2*n+100)/2)
	for _, kind := range []string{"transport", "stream, handler when ready", "stream, parked task", "goroutine of package net"} {
		r.loop(func(ctx context.Context) error {
			addr, stop, err := idleServer(ctx, kind)
			if err != nil {
				return err
			}
			clients := make([]int, n)
			before, after := int64(0), int64(0)
			if err := r.blocking(ctx, heapNow(&before)); err != nil {
				return err
			}
			speak := func(i int) (err error) {
				if clients[i] == 0 {
					if clients[i], err = rawDial(i, addr); err != nil {
						return err
					}
				}
				if err = ping(clients[i], []byte("hello")); err != nil {
					r.lost.Add(1)
				}
				return err
			}
			if err := r.others(ctx, n, 16, speak); err != nil {
				return err
			}
			if err := task.Sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
			if err := r.blocking(ctx, heapNow(&after)); err != nil {
				return err
			}
			each := (after - before) / int64(n)
			start := time.Now()
			err = r.others(ctx, n, 16, speak)
			r.load("%d connections held by: %s", n, kind)
			r.found("%s: %d bytes of heap and stacks for each; all answered in %v", kind, each, time.Since(start).Round(time.Millisecond))
			_ = r.blocking(ctx, closeAll(clients))
			return errors.Join(err, stop(ctx))
		})
	}
}

// r19Slow has clients that send a byte now and then among good ones.
func r19Slow(r *run) {
	slow, good := r.n(5000, 20), max(4, r.n(20, 4))
	slow = min(slow, files(2*slow+200)/2)
	const message, idle, every = 2 * time.Second, time.Second, 200 * time.Millisecond
	r.loop(func(ctx context.Context) error {
		cut := 0
		cfg := stream.ServeConfig{MessageTimeout: message, IdleTimeout: idle, MaxConns: slow + good + 10}
		srv, err := serve(ctx, cfg, func(ctx context.Context, c *stream.Conn) error {
			for {
				if err := c.NextMessage(ctx); err != nil {
					return err
				}
				line, err := c.ReadLine(ctx)
				if err != nil {
					cut++
					return err
				}
				if _, err := c.Write(ctx, []byte(line+"\n")); err != nil {
					return err
				}
			}
		})
		if err != nil {
			return err
		}
		alone, err := lines(ctx, r, srv, good, message+every)
		if err != nil {
			return err
		}
		fds := make([]int, slow)
		if err := r.others(ctx, slow, 8, func(i int) (err error) {
			fds[i], err = rawDial(i, srv.ln.Addr())
			return err
		}); err != nil {
			return err
		}
		held := new(drips)
		dripping := task.Go(ctx, func(ctx context.Context) error {
			return r.others(ctx, 1, 1, func(int) error { return held.drip(fds, every, message+3*time.Second) })
		})
		beside, err := lines(ctx, r, srv, good, message+every)
		_, derr := dripping.Await(ctx)
		r.load("%d clients that send a byte each %v, %d good ones; a message may take %v", slow, every, good, message)
		r.found("good clients: p99 %v alone, %v beside the slow ones; the slow were cut %v to %v after their first byte",
			alone.Round(time.Microsecond), beside.Round(time.Microsecond), held.first.Round(time.Millisecond), held.last.Round(time.Millisecond))
		r.faults.Add(int64(slow))
		r.lost.Add(int64(slow - cut))
		r.check(held.cut == slow, "%d of %d were cut", held.cut, slow)
		r.check(held.last < message+time.Second, "one was cut after %v", held.last)
		r.check(beside < alone+alone/5+10*time.Millisecond, "p99 of good clients is %v, was %v (the limit is 20 %% and 10 ms more, for thousands of peers on the same 2 processors)", beside, alone)
		return errors.Join(err, derr, srv.stop(ctx))
	})
}

// drips are slow clients.
type drips struct {
	cut         int
	first, last time.Duration // from the first byte to the end
}

func (d *drips) drip(fds []int, every, limit time.Duration) error {
	begun := make([]time.Time, len(fds))
	start := time.Now()
	for d.cut < len(fds) && time.Since(start) < limit {
		round := time.Now()
		for i, fd := range fds {
			if slice := max(1, len(fds)/20); i%slice == 0 { // not all at once
				time.Sleep(time.Until(round.Add(every / 20 * time.Duration(i/slice))))
			}
			if fd < 0 {
				continue
			}
			if begun[i].IsZero() {
				begun[i] = time.Now()
			}
			_, err := unix.SendmsgN(fd, []byte("x"), nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
			if err == nil {
				continue
			}
			took := time.Since(begun[i])
			if d.cut == 0 {
				d.first = took
			}
			d.cut++
			d.first, d.last = min(d.first, took), max(d.last, took)
			unix.Close(fd)
			fds[i] = -1
		}
		time.Sleep(time.Until(round.Add(every)))
	}
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	return nil
}

// lines has good clients send lines for d, and returns the p99 of their answers.
func lines(ctx context.Context, r *run, srv *server, n int, d time.Duration) (time.Duration, error) {
	var mu sync.Mutex
	var took []time.Duration
	err := r.others(ctx, n, n, func(i int) error {
		fd, err := rawDial(i, srv.ln.Addr())
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Millisecond) {
			start := time.Now()
			if err := ping(fd, []byte("a line of a good client\n")); err != nil {
				return err
			}
			t := time.Since(start)
			mu.Lock()
			took = append(took, t)
			mu.Unlock()
		}
		return nil
	})
	return quantile(took, 0.99), err
}

// r20Shutdown ends servers whose clients are idle, busy, or never done.
func r20Shutdown(r *run) {
	idle, busy := r.n(1000, 10), r.n(100, 4)
	files(2*(idle+busy) + 200)
	for _, strength := range []string{"Shutdown", "Shutdown, some never end", "CloseClients", "Abort"} {
		r.loop(func(ctx context.Context) error { return shutDown(ctx, r, strength, idle, busy) })
	}
	r.load("%d idle and %d busy clients; Shutdown, Shutdown beside handlers that never end, Close with CloseClients, Abort", idle, busy)
}

const patience = 500 * time.Millisecond

func shutDown(ctx context.Context, r *run, strength string, idle, busy int) error {
	stuck := strength == "Shutdown, some never end"
	srv, err := serve(ctx, stream.ServeConfig{}, slowAnswer(stuck))
	if err != nil {
		return err
	}
	fds := make([]int, idle+busy)
	if err := r.others(ctx, len(fds), 8, func(i int) (err error) {
		if fds[i], err = rawDial(i, srv.ln.Addr()); err != nil {
			return err
		}
		if err := ping(fds[i], []byte("a")); err != nil || i < idle {
			return err
		}
		return writeN(fds[i], []byte("b")) // asks for what takes 100 ms
	}); err != nil {
		return err
	}
	_ = task.Sleep(ctx, 10*time.Millisecond)
	start := time.Now()
	sctx, cancel := task.WithTimeout(ctx, patience)
	defer cancel()
	switch strength {
	case "CloseClients":
		_ = srv.ln.Close()
		srv.ln.CloseClients()
	case "Abort":
		srv.ln.Abort()
	default:
		err = srv.ln.Shutdown(sctx)
	}
	_, serr := srv.task.Await(ctx)
	took := time.Since(start)
	answered, ended := 0, 0
	var buf [1]byte
	for i, fd := range fds {
		err := readN(fd, buf[:])
		switch {
		case err != nil:
			ended++
		case i >= idle && buf[0] == 'b':
			answered++
		}
		unix.Close(fd)
	}
	r.found("%s: ended in %v, %d of %d busy clients answered, error %v", strength, took.Round(time.Millisecond), answered, busy, err)
	limit := 50 * time.Millisecond
	switch {
	case stuck:
		r.check(errors.Is(err, context.DeadlineExceeded), "Shutdown: %v", err)
		limit = patience + 50*time.Millisecond
	case strength == "Shutdown":
		r.check(err == nil, "Shutdown: %v", err)
		r.lost.Add(int64(busy - answered))
		limit = 100*time.Millisecond + 50*time.Millisecond
	}
	r.check(took < limit+100*time.Millisecond, "%s took %v, the limit is %v, and 100 ms for the 1,100 peers on the same processors", strength, took, limit)
	r.check(answered+ended == len(fds), "%d answered, %d ended", answered, ended)
	return serr
}

// slowAnswer answers "a" at once and "b" after 100 ms, or never.
func slowAnswer(stuck bool) stream.Handler {
	return func(ctx context.Context, c *stream.Conn) error {
		var buf [1]byte
		for {
			if err := c.NextMessage(ctx); err != nil {
				return err
			}
			if _, err := c.Read(ctx, buf[:]); err != nil {
				return err
			}
			if buf[0] == 'b' {
				d := 100 * time.Millisecond
				if stuck {
					d = time.Hour
				}
				if err := task.Sleep(ctx, d); err != nil {
					return err
				}
			}
			if _, err := c.Write(ctx, buf[:]); err != nil {
				return err
			}
		}
	}
}
