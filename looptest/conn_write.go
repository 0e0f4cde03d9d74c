package looptest

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// Writes are canceled after all numbers of turns, while the peer reads now and then.
func connCancelWrites(g *connRig) error {
	data := noise(4, 1<<20)
	rnd := rand.New(rand.NewPCG(9, 10))
	reader := task.Start(g.ctx, func(ctx context.Context) ([]byte, error) {
		got := make([]byte, 0, len(data))
		for len(got) < len(data) {
			n, err := g.r.Read(ctx, got[len(got):min(len(got)+100<<10, cap(got))])
			got = got[:len(got)+n]
			if err == nil {
				err = task.Yield(ctx)
			}
			if err != nil {
				return got, err
			}
		}
		return got, nil
	})
	canceled := 0
	for off := 0; off < len(data); {
		t := task.Go(g.ctx, func(ctx context.Context) error {
			n, err := g.w.Write(ctx, data[off:min(len(data), off+300<<10)])
			off += n
			return err
		})
		for range rnd.IntN(6) {
			g.must(task.Yield(g.ctx))
		}
		t.Cancel(nil)
		_, err := t.Await(g.ctx)
		switch {
		case errors.Is(err, context.Canceled):
			canceled++
		case err != nil:
			return err
		}
	}
	got, err := reader.Await(g.ctx)
	g.same("read", got, data)
	if canceled == 0 {
		g.Error("no write was canceled")
	}
	return err
}

// Canceling those who wait for a Writer does nothing to what is written.
func connCancelDrain(g *connRig) error {
	data := noise(5, g.lot)
	w := g.w.Writer()
	w.SetLimits(1, 1000, g.lot)
	if _, err := w.Write(data); err != nil {
		return err
	}
	g.until("the Writer holds bytes", func() bool { return w.Buffered() > 1000 })
	for i := range 20 {
		t := task.Go(g.ctx, func(ctx context.Context) error {
			if i%2 == 0 {
				return w.Drain(ctx)
			}
			return w.Flush(ctx)
		})
		for range i % 5 {
			g.must(task.Yield(g.ctx))
		}
		t.Cancel(nil)
		_, err := t.Await(g.ctx)
		g.wantErr("canceled wait", err, context.Canceled)
	}
	got := g.collect(g.r, len(data))
	g.must(w.Flush(g.ctx))
	p, err := got.Await(g.ctx)
	g.same("read", p, data)
	return err
}

func connBusyWriter(g *connRig) error {
	data := noise(6, g.lot)
	first := g.fill(data)
	for i, second := range []func() error{
		func() error { _, err := g.w.Write(g.ctx, []byte("x")); return err },
		func() error { _, err := g.w.TryWrite([]byte("x")); return err },
		func() error { _, err := g.w.Writer().Write([]byte("x")); return err },
		func() error { _, err := g.w.Writer().Writev([]byte("x"), []byte("y")); return err },
		func() error { _, err := g.w.NetConn(g.ctx).Write([]byte("x")); return err },
		func() error { return waitFor(g.ctx, g.w.Writable()) },
		g.w.CloseWrite,
	} {
		if err := second(); !errors.Is(err, stream.ErrBusy) {
			g.Errorf("second writer %d: %v, want ErrBusy", i, err)
		}
	}
	got, err := g.collect(g.r, len(data)).Await(g.ctx)
	g.same("read", got, data)
	g.must(err)
	_, err = first.Await(g.ctx)
	return err
}

// waitFor waits as a machine would.
func waitFor(ctx context.Context, w future.Waiter) error {
	_, err := task.StartMachine[struct{}](ctx, &waiting{w: w}).Await(ctx)
	return err
}

type waiting struct {
	w      future.Waiter
	waited bool
}

func (m *waiting) Step(_ context.Context, thrown error) (future.Waiter, error) {
	switch {
	case thrown != nil:
		return task.Done, thrown
	case m.waited:
		return task.Done, m.w.Err()
	}
	m.waited = true
	return m.w, nil
}

func (m *waiting) Result() struct{} { return struct{}{} }

func connBackpressure(g *connRig) error {
	data := noise(7, g.lot)
	w := g.fill(data)
	g.pause()
	if w.Done() {
		g.Error("a peer that does not read takes everything")
	}
	got, err := g.collect(g.r, len(data)).Await(g.ctx)
	g.same("read", got, data)
	g.must(err)
	n, err := w.Await(g.ctx)
	if n != len(data) {
		g.Errorf("wrote %d bytes of %d, %v", n, len(data), err)
	}
	return err
}

func connCloseWriter(g *connRig) error {
	w := g.fill(noise(8, g.lot))
	g.must(g.w.Close())
	_, err := w.Await(g.ctx)
	g.wantErr("waiting Write", err, net.ErrClosed)
	return nil
}

func connAbortWriter(g *connRig) error {
	w := g.fill(noise(9, g.lot))
	g.must(g.w.Abort())
	_, err := w.Await(g.ctx)
	g.wantErr("waiting Write", err, net.ErrClosed)
	// The other end gets some of it and then the end, or an error, but no silence.
	if _, err := readAll(g.ctx, g.r); errors.Is(err, net.ErrClosed) {
		g.Errorf("the other end is closed, too: %v", err)
	}
	return nil
}

func connAbortReader(g *connRig) error {
	reader := g.collect(g.r, 10)
	g.send(g.w, "begun")
	g.pause()
	g.must(g.r.Abort())
	_, err := reader.Await(g.ctx)
	g.wantErr("waiting Read", err, net.ErrClosed)
	g.must(g.r.Abort()) // does nothing
	_, err = g.r.Read(g.ctx, make([]byte, 1))
	g.wantErr("Read", err, net.ErrClosed)
	return nil
}

func connAfterClose(g *connRig) error {
	g.send(g.w, "unread\n")
	g.pause()
	if _, err := stream.NewReader(g.r, 0).Peek(g.ctx, 1); err != nil {
		return err
	}
	r, w := stream.NewReader(g.r, 0), g.w.Writer()
	for _, c := range []*stream.Conn{g.r, g.w} {
		g.must(c.Close())
		g.must(c.Close())
		if !c.Closed() {
			g.Error("not Closed")
		}
	}
	p := make([]byte, 1)
	for name, use := range map[string]func() error{
		"Read":              func() error { _, err := g.r.Read(g.ctx, p); return err },
		"Read of nothing":   func() error { _, err := g.r.Read(g.ctx, nil); return err },
		"TryRead":           func() error { _, err := g.r.TryRead(p); return err },
		"ReadLine":          func() error { _, err := g.r.ReadLine(g.ctx); return err },
		"NextMessage":       func() error { return g.r.NextMessage(g.ctx) },
		"Reader.Read":       func() error { _, err := r.Read(g.ctx, p); return err },
		"Reader.ReadLine":   func() error { _, err := r.ReadLine(g.ctx); return err },
		"Reader.ReadFull":   func() error { _, err := r.ReadFull(g.ctx, p); return err },
		"Reader.Peek":       func() error { _, err := r.Peek(g.ctx, 1); return err },
		"Write":             func() error { _, err := g.w.Write(g.ctx, p); return err },
		"TryWrite":          func() error { _, err := g.w.TryWrite(p); return err },
		"CloseWrite":        g.w.CloseWrite,
		"CloseGraceful":     func() error { return g.w.CloseGraceful(g.ctx, 1) },
		"NetConn.Write":     func() error { _, err := g.w.NetConn(g.ctx).Write(p); return err },
		"Writer.Write":      func() error { _, err := w.Write(p); return err },
		"Writer.Writev":     func() error { _, err := w.Writev(p, p); return err },
		"Writer.Drain":      func() error { return w.Drain(g.ctx) },
		"Writer.Flush":      func() error { return w.Flush(g.ctx) },
		"Writer.CloseWrite": w.CloseWrite,
	} {
		g.wantErr(name, use(), net.ErrClosed)
	}
	g.must(waitFor(g.ctx, g.r.Readable())) // it is worthwhile to look
	g.must(waitFor(g.ctx, g.w.Writable()))
	g.must(w.Close())
	return w.WaitClosed(g.ctx)
}

// Writes to a peer that is gone fail in the end, as the connection's error.
func connPeerGone(g *connRig) error {
	g.must(g.r.Close())
	p := make([]byte, 4<<10)
	g.until("a write fails", func() bool {
		_, err := g.w.Write(g.ctx, p)
		if err != nil && !errors.As(err, new(*net.OpError)) {
			g.Errorf("Write: %v is no *net.OpError", err)
		}
		return err != nil
	})
	w := g.w.Writer()
	g.until("a Writer fails", func() bool {
		_, err := w.Write(p)
		return err != nil
	})
	if err := w.Drain(g.ctx); err == nil {
		g.Error("Drain succeeds after that")
	}
	return nil
}

func connZero(g *connRig) error {
	var sender *task.Task[struct{}]
	for range 2 { // without data, and with
		if n, err := g.r.Read(g.ctx, nil); n != 0 || err != nil {
			g.Errorf("Read of nothing: %d, %v", n, err)
		}
		r := stream.NewReader(g.r, 0)
		if n, err := r.Read(g.ctx, nil); n != 0 || err != nil {
			g.Errorf("Reader's Read of nothing: %d, %v", n, err)
		}
		if n, err := r.ReadFull(g.ctx, nil); n != 0 || err != nil {
			g.Errorf("ReadFull of nothing: %d, %v", n, err)
		}
		if p, err := r.Peek(g.ctx, 0); len(p) != 0 || err != nil {
			g.Errorf("Peek of nothing: %q, %v", p, err)
		}
		if n, err := g.w.Write(g.ctx, nil); n != 0 || err != nil {
			g.Errorf("Write of nothing: %d, %v", n, err)
		}
		if n, err := g.w.Writer().Writev(nil, []byte{}); n != 0 || err != nil {
			g.Errorf("Writev of nothing: %d, %v", n, err)
		}
		sender = task.Go(g.ctx, func(ctx context.Context) error {
			_, err := g.w.Write(ctx, []byte("x"))
			return err
		})
		g.pause()
	}
	g.expect(g.r, "xx")
	_, err := sender.Await(g.ctx)
	return err
}

// As callbacks and machines use it.
func connTry(g *connRig) error {
	buf := make([]byte, 1<<20)
	if _, err := g.r.TryRead(buf); !errors.Is(err, stream.ErrWouldBlock) {
		g.Errorf("TryRead without data: %v", err)
	}
	data := noise(10, g.lot)
	sent, err := 0, error(nil)
	for err == nil {
		var n int
		n, err = g.w.TryWrite(data[sent:])
		if sent += n; sent == len(data) {
			g.Fatal("a peer that does not read takes everything")
		}
	}
	g.wantErr("TryWrite without room", err, stream.ErrWouldBlock)
	var got []byte
	for len(got) < sent {
		g.must(waitFor(g.ctx, g.r.Readable()))
		n, err := g.r.TryRead(buf)
		if err != nil && err != stream.ErrWouldBlock {
			return err
		}
		got = append(got, buf[:n]...)
	}
	g.same("read", got, data[:sent])
	g.must(waitFor(g.ctx, g.w.Writable()))
	g.until("there is room again", func() bool {
		n, err := g.w.TryWrite([]byte("."))
		if err != nil && err != stream.ErrWouldBlock {
			g.Fatal(err)
		}
		return n == 1
	})
	g.expect(g.r, ".")
	return nil
}

func connReadDeadline(g *connRig) error {
	nc := g.r.NetConn(g.ctx)
	p := make([]byte, 4)
	g.must(nc.SetReadDeadline(g.now().Add(2 * time.Millisecond)))
	for range 2 { // then it is in the past
		n, err := io.ReadFull(nc, p)
		g.wantErr("Read", err, os.ErrDeadlineExceeded)
		if ne := net.Error(nil); n != 0 || !errors.As(err, &ne) || !ne.Timeout() {
			g.Errorf("Read: %d, %v, which is no timeout", n, err)
		}
	}
	g.send(g.w, "late")
	g.must(nc.SetReadDeadline(time.Time{}))
	if _, err := io.ReadFull(nc, p); string(p) != "late" || err != nil {
		g.Errorf("then %q, %v", p, err)
	}
	return nil
}

func connWriteDeadline(g *connRig) error {
	data := noise(11, g.lot)
	nc := g.w.NetConn(g.ctx)
	g.must(nc.SetWriteDeadline(g.now().Add(20 * time.Millisecond)))
	n, err := nc.Write(data)
	g.wantErr("Write", err, os.ErrDeadlineExceeded)
	if n >= len(data) {
		g.Fatalf("wrote all %d bytes", n)
	}
	got, err := g.collect(g.r, n).Await(g.ctx)
	g.same("read", got, data[:n])
	g.must(err)
	g.must(nc.SetWriteDeadline(time.Time{}))
	if _, err := nc.Write([]byte("next")); err != nil {
		return err
	}
	g.expect(g.r, "next")
	return nil
}

// SetTimeouts bounds reads, writes and the waits of a Writer; the connection goes on.
func connTimeouts(g *connRig) error {
	const bound = 5 * time.Millisecond
	g.r.SetTimeouts(bound, 0)
	_, err := g.r.Read(g.ctx, make([]byte, 1))
	g.wantErr("Read", err, os.ErrDeadlineExceeded)
	_, err = stream.NewReader(g.r, 0).ReadLine(g.ctx)
	g.wantErr("ReadLine", err, os.ErrDeadlineExceeded)
	g.r.SetTimeouts(0, 0)

	g.w.SetTimeouts(bound, 0)
	data := noise(12, g.lot)
	n, err := g.w.Write(g.ctx, data)
	g.wantErr("Write", err, os.ErrDeadlineExceeded)
	w := g.w.Writer()
	w.SetLimits(0, 0, 2*g.lot)
	if _, err := w.Write(data[n:]); err != nil {
		return err
	}
	g.wantErr("Flush", w.Flush(g.ctx), os.ErrDeadlineExceeded)
	g.w.SetTimeouts(0, 0)
	got, err := g.collect(g.r, len(data)).Await(g.ctx)
	g.same("read", got, data)
	return err
}
