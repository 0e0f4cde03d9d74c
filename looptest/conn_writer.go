package looptest

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"

	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// Many writes of all sizes, some in pieces, with waits in between.
func connWriterOrder(g *connRig) error {
	data := noise(13, 1<<20)
	rnd := rand.New(rand.NewPCG(11, 12))
	w := g.w.Writer()
	w.SetLimits(1<<10, 100<<10, 1<<20)
	got := g.collect(g.r, len(data)+5)
	for off := 0; off < len(data); {
		n := min(len(data)-off, rnd.IntN(1<<rnd.IntN(19)))
		p := data[off : off+n]
		var err error
		if rnd.IntN(2) == 0 {
			_, err = w.Write(p)
		} else {
			i, j := rnd.IntN(n+1), rnd.IntN(n+1)
			_, err = w.Writev(p[:min(i, j)], p[min(i, j):max(i, j)], p[max(i, j):])
		}
		switch {
		case err == nil:
			off += n
		case !errors.Is(err, stream.ErrBufferFull):
			return err
		}
		if err != nil || rnd.IntN(5) == 0 {
			g.must(w.Drain(g.ctx))
		}
	}
	g.must(w.Flush(g.ctx))
	if n := w.Buffered(); n != 0 {
		g.Errorf("%d bytes are buffered after Flush", n)
	}
	g.send(g.w, "after")
	p, err := got.Await(g.ctx)
	g.same("read", p, append(data, "after"...))
	return err
}

func connWriterFull(g *connRig) error {
	w := g.w.Writer()
	w.SetLimits(0, 32<<10, 100<<10)
	data := noise(14, 70<<10)
	var sent []byte
	for len(sent) < g.lot {
		if _, err := w.Write(data); err != nil {
			g.wantErr("Write", err, stream.ErrBufferFull)
			break
		}
		sent = append(sent, data...)
	}
	_, err := w.Writev(data[:1], data)
	g.wantErr("Writev", err, stream.ErrBufferFull)
	if n := w.Buffered(); n > 100<<10 || n == 0 {
		g.Errorf("%d bytes are buffered", n)
	}
	got := g.collect(g.r, len(sent)+4)
	g.must(w.Drain(g.ctx))
	if n := w.Buffered(); n > 8<<10 {
		g.Errorf("%d bytes are buffered after Drain", n)
	}
	if _, err := w.Write([]byte("next")); err != nil {
		return err
	}
	p, err := got.Await(g.ctx)
	g.same("read", p, append(sent, "next"...))
	return err
}

// What a Writer holds is overtaken by nobody.
func connWriterHolds(g *connRig) error {
	data := noise(15, g.lot)
	w := g.w.Writer()
	w.SetLimits(0, 0, g.lot)
	if n, err := w.Write(data); n != len(data) || err != nil {
		g.Fatalf("Write: %d, %v", n, err)
	}
	g.pause()
	if w.Buffered() == 0 {
		g.Fatal("a peer that does not read takes everything")
	}
	_, err := g.w.Write(g.ctx, []byte("x"))
	g.wantErr("Write", err, stream.ErrBusy)
	_, err = g.w.TryWrite([]byte("x"))
	g.wantErr("TryWrite", err, stream.ErrBusy)
	g.wantErr("CloseWrite", g.w.CloseWrite(), stream.ErrBusy)
	var order []int
	var waits []*task.Task[struct{}]
	for i := range 20 {
		waits = append(waits, task.Go(g.ctx, func(ctx context.Context) error {
			err := w.Drain(ctx)
			order = append(order, i)
			return err
		}))
	}
	g.pause()
	got, err := g.collect(g.r, len(data)).Await(g.ctx)
	g.same("read", got, data)
	g.must(err)
	for _, t := range waits {
		if _, err := t.Await(g.ctx); err != nil {
			return err
		}
	}
	for i := range order {
		if order[i] != i {
			g.Errorf("woken in order %v", order)
			break
		}
	}
	return nil
}

// Close sends what is held, to a peer that begins to read after that.
func connWriterClose(g *connRig) error {
	data := noise(16, g.lot)
	w := g.w.Writer()
	w.SetLimits(0, 0, 2*g.lot)
	if _, err := w.Write(data); err != nil {
		return err
	}
	if _, err := w.Write(data[:100]); err != nil {
		return err
	}
	g.must(w.Close())
	g.must(w.Close())
	_, err := w.Write([]byte("x"))
	g.wantErr("Write after Close", err, net.ErrClosed)
	g.wantErr("CloseWrite after Close", w.CloseWrite(), net.ErrClosed)
	if !w.Closing() || g.w.Closed() {
		g.Errorf("closing %v, closed %v, with %d bytes held", w.Closing(), g.w.Closed(), w.Buffered())
	}
	g.pause()
	got, err := stream.NewReader(g.r, 0).ReadAll(g.ctx)
	g.same("read", got, append(data, data[:100]...))
	g.must(err)
	g.must(w.WaitClosed(g.ctx))
	if !g.w.Closed() {
		g.Error("not closed")
	}
	return nil
}

func connWriterDropped(g *connRig) error {
	w := g.w.Writer()
	w.SetLimits(0, 0, g.lot)
	if _, err := w.Write(noise(17, g.lot)); err != nil {
		return err
	}
	var waits []*task.Task[struct{}]
	for _, wait := range []func(context.Context) error{w.Drain, w.Flush, w.WaitClosed} {
		waits = append(waits, task.Go(g.ctx, wait))
	}
	g.pause()
	g.must(g.w.Close())
	for _, t := range waits {
		_, err := t.Await(g.ctx)
		g.wantErr("wait for a Writer", err, net.ErrClosed)
	}
	return nil
}

func connBothWays(g *connRig) error {
	const size = 512 << 10
	return task.Scope(g.ctx, func(ctx context.Context, group *task.Group) error {
		for i, c := range []*stream.Conn{g.w, g.r} {
			group.Go(func(ctx context.Context) error {
				return sendInPieces(ctx, c, noise(byte(20+i), size), 64<<10)
			})
			group.Go(func(ctx context.Context) error {
				p := make([]byte, size)
				_, err := stream.NewReader(c, 0).ReadFull(ctx, p)
				g.same("read", p, noise(byte(21-i), size))
				return err
			})
		}
		return nil
	})
}

func connHalfClose(g *connRig) error {
	g.send(g.w, "question")
	if err := g.w.CloseWrite(); errors.Is(err, errors.ErrUnsupported) {
		g.expect(g.r, "question")
		g.send(g.r, "answer") // nothing has changed
		g.expect(g.w, "answer")
		return nil
	} else if err != nil {
		return err
	}
	p, err := readAll(g.ctx, g.r)
	if string(p) != "question" || err != nil {
		g.Errorf("read %q, %v", p, err)
	}
	_, err = g.r.Read(g.ctx, make([]byte, 1))
	g.wantErr("after the end", err, io.EOF)
	answer := noise(22, 256<<10)
	got := task.Start(g.ctx, func(ctx context.Context) ([]byte, error) { return readAll(ctx, g.w) })
	g.send(g.r, string(answer))
	g.must(g.r.CloseWrite())
	p, err = got.Await(g.ctx)
	g.same("answer", p, answer)
	return err
}

// The peer ends its stream and goes on to send: all of the answer arrives, although
// the one who answers does not read what comes behind the question.
func connGraceful(g *connRig) error {
	answer := noise(23, 256<<10)
	g.send(g.w, "question, and more that nobody reads")
	server := task.Go(g.ctx, func(ctx context.Context) error {
		if _, err := g.r.Read(ctx, make([]byte, 8)); err != nil {
			return err
		}
		if _, err := g.r.Writer().Write(answer); err != nil {
			return err
		}
		return g.r.CloseGraceful(ctx, 1<<10)
	})
	p := make([]byte, len(answer))
	_, err := stream.NewReader(g.w, 0).ReadFull(g.ctx, p)
	g.same("answer", p, answer)
	g.must(err)
	g.must(g.w.Close())
	_, err = server.Await(g.ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

func connEcho(g *connRig) error {
	server := task.Go(g.ctx, func(ctx context.Context) error {
		r, w := stream.NewReader(g.r, 0), g.r.Writer()
		for line, err := range r.Lines(ctx) {
			if err != nil {
				return err
			}
			if _, err := w.Writev([]byte(line), []byte("\n")); err != nil {
				return err
			}
			if err := w.Drain(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	r := stream.NewReader(g.w, 0)
	for i := range 200 {
		want := string(noise('a', i))
		want = stripLine(want)
		g.send(g.w, want+"\n")
		line, err := r.ReadLine(g.ctx)
		if line != want || err != nil {
			g.Fatalf("line %d: %q, %v; want %q", i, line, err, want)
		}
	}
	g.end()
	_, err := server.Await(g.ctx)
	return err
}

// stripLine takes out what a line may not have.
func stripLine(s string) string {
	p := []byte(s)
	for i, b := range p {
		if b == '\n' || b == '\r' {
			p[i] = '.'
		}
	}
	return string(p)
}
