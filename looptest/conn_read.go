package looptest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"

	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

func connOrder(g *connRig) error {
	data := noise(1, 64<<10)
	got := g.collect(g.r, len(data))
	for off, n := 0, 1; off < len(data); n = n*3/2 + 1 {
		p := data[off:min(len(data), off+n)]
		g.send(g.w, string(p))
		off += len(p)
	}
	p, err := got.Await(g.ctx)
	g.same("read", p, data)
	return err
}

// splitMessage has 64 bytes, and parts that are the beginning of a separator.
const splitMessage = "one\r\n\ntwo=\r==three--\r--=four\n-=-=--=-five===\n====six--=-seven\n\r\n"

var splitSeparators = [][]byte{[]byte("\n"), []byte("=="), []byte("--=")}

// connSplits sends the message in all pairs of pieces, and byte by byte; parse reads
// one message and returns its parts.
func connSplits(g *connRig, want []string, parse func(ctx context.Context, r *stream.Reader) ([]string, error)) error {
	r := stream.NewReader(g.r, 0)
	for i := range len(splitMessage) + 1 {
		pieces := []string{splitMessage[:i], splitMessage[i:]}
		if i == len(splitMessage) {
			pieces = strings.Split(splitMessage, "")
		}
		got := task.Start(g.ctx, func(ctx context.Context) ([]string, error) { return parse(ctx, r) })
		for _, p := range pieces {
			g.send(g.w, p)
			g.pause()
		}
		parts, err := got.Await(g.ctx)
		if err != nil || !slices.Equal(parts, want) {
			g.Errorf("split at %d: %q, %v; want %q", i, parts, err, want)
		}
		if n := r.Buffered(); n != 0 {
			g.Fatalf("split at %d: %d bytes are left", i, n)
		}
	}
	return nil
}

func connSplitLines(g *connRig) error {
	want := strings.Split(strings.TrimSuffix(splitMessage, "\n"), "\n")
	for i, line := range want {
		want[i] = strings.TrimSuffix(line, "\r")
	}
	return connSplits(g, want, func(ctx context.Context, r *stream.Reader) (lines []string, err error) {
		for range want {
			line, err := r.ReadLine(ctx)
			if err != nil {
				return lines, err
			}
			lines = append(lines, line)
		}
		return lines, nil
	})
}

func connSplitFull(g *connRig) error {
	sizes := []int{1, 0, 2, 3, 5, 8, 13}
	var want []string
	rest := splitMessage
	for _, n := range sizes {
		want = append(want, rest[:n])
		rest = rest[n:]
	}
	want = append(want, rest)
	return connSplits(g, want, func(ctx context.Context, r *stream.Reader) (parts []string, err error) {
		for _, part := range want {
			p := make([]byte, len(part))
			if _, err := r.ReadFull(ctx, p); err != nil {
				return parts, err
			}
			parts = append(parts, string(p))
		}
		return parts, nil
	})
}

func connSplitUntil(g *connRig) error {
	var want []string
	for start, end := 0, 1; end <= len(splitMessage); end++ {
		part := splitMessage[start:end]
		if slices.ContainsFunc(splitSeparators, func(sep []byte) bool { return strings.HasSuffix(part, string(sep)) }) {
			want = append(want, part)
			start = end
		}
	}
	return connSplits(g, want, func(ctx context.Context, r *stream.Reader) (parts []string, err error) {
		for range want {
			part, err := r.ReadUntil(ctx, splitSeparators...)
			if err != nil {
				return parts, err
			}
			parts = append(parts, string(part))
		}
		return parts, nil
	})
}

// What a Reader has read too much is the Conn's, and the other way round.
func connTurns(g *connRig) error {
	r := stream.NewReader(g.r, 100)
	g.send(g.w, "line 1\r\nline 2\nBYTESline 3\nuntil;peeked"+strings.Repeat("x", 200)+"\nlast\n")
	line, err := g.r.ReadLine(g.ctx)
	if line != "line 1" || err != nil {
		g.Errorf("the Conn's line is %q, %v", line, err)
	}
	line, err = r.ReadLine(g.ctx)
	if line != "line 2" || err != nil {
		g.Errorf("the Reader's line is %q, %v", line, err)
	}
	g.expect(g.r, "BYTES")
	if line, err = g.r.ReadLine(g.ctx); line != "line 3" || err != nil {
		g.Errorf("the Conn's line is %q, %v", line, err)
	}
	if p, err := r.ReadUntil(g.ctx, []byte(";")); string(p) != "until;" || err != nil {
		g.Errorf("ReadUntil: %q, %v", p, err)
	}
	if p, err := r.Peek(g.ctx, 6); string(p) != "peeked" || err != nil {
		g.Errorf("Peek: %q, %v", p, err)
	}
	_, err = r.ReadLine(g.ctx)
	g.wantErr("a long line", err, stream.ErrTooLong)
	if n, err := r.Discard(g.ctx, 6); n != 6 || err != nil {
		g.Errorf("Discard: %d, %v", n, err)
	}
	if n, err := r.SkipUntil(g.ctx, []byte("\n")); n != 201 || err != nil {
		g.Errorf("SkipUntil: %d, %v", n, err)
	}
	got, err := io.ReadAll(io.LimitReader(g.r.NetConn(g.ctx), 5))
	if string(got) != "last\n" {
		g.Errorf("the NetConn's bytes are %q, %v", got, err)
	}
	return err
}

func connMuch(g *connRig) error {
	data := noise(2, 512<<10)
	rnd := rand.New(rand.NewPCG(3, 4))
	got := g.collect(g.r, len(data))
	for off := 0; off < len(data); {
		n := min(len(data)-off, 1+rnd.IntN(1<<rnd.IntN(19)))
		g.send(g.w, string(data[off:off+n]))
		off += n
	}
	p, err := got.Await(g.ctx)
	g.same("read", p, data)
	return err
}

// A Close right behind the data takes nothing away from it.
func connEnd(g *connRig) error {
	g.send(g.w, "the end")
	g.must(g.w.Close())
	g.pause()
	got, err := readAll(g.ctx, g.r)
	if string(got) != "the end" {
		g.Errorf("read %q, %v", got, err)
	}
	for range 2 {
		_, again := g.r.Read(g.ctx, make([]byte, 1))
		g.wantErr("after the end", again, io.EOF)
	}
	return err
}

// What was written goes on its way after Close, however much.
func connEndFull(g *connRig) error {
	data := noise(24, g.lot)
	sent, err := 0, error(nil)
	for err == nil {
		var n int
		n, err = g.w.TryWrite(data[sent:])
		sent += n
	}
	g.wantErr("TryWrite without room", err, stream.ErrWouldBlock)
	g.must(g.w.Close())
	g.pause()
	got, err := readAll(g.ctx, g.r)
	g.same("read", got, data[:sent])
	return err
}

func connCloseWrite(g *connRig) error {
	data := noise(3, 256<<10)
	got := task.Start(g.ctx, func(ctx context.Context) ([]byte, error) { return stream.NewReader(g.r, 0).ReadAll(ctx) })
	g.send(g.w, string(data))
	if err := g.w.CloseWrite(); errors.Is(err, errors.ErrUnsupported) {
		got.Cancel(nil)
		_, err = got.Await(g.ctx)
		g.wantErr("canceled ReadAll", err, context.Canceled)
		p := make([]byte, len(data))
		_, err = stream.NewReader(g.r, 0).ReadFull(g.ctx, p)
		g.same("read again", p, data)
		return err
	} else if err != nil {
		return err
	}
	p, err := got.Await(g.ctx)
	g.same("read", p, data)
	if _, err := g.w.Write(g.ctx, []byte("x")); err == nil {
		g.Error("a write after CloseWrite succeeds")
	}
	return err
}

// Reads of all kinds are canceled after all numbers of turns.
func connCancelReads(g *connRig) error {
	rnd := rand.New(rand.NewPCG(5, 6))
	var data []byte
	for range 300 {
		data = append(data, strings.Repeat("a", rnd.IntN(60))...)
		data = append(data, '\n')
	}
	sender := task.Go(g.ctx, func(ctx context.Context) error { return sendInPieces(ctx, g.w, data, 40) })
	var got []byte
	r := stream.NewReader(g.r, 0)
	canceled, steps := 0, 0
	for ; len(got) < len(data); steps++ {
		t := task.Go(g.ctx, func(ctx context.Context) error {
			p, err := readSome(ctx, g.r, r, steps%7, len(data)-len(got))
			got = append(got, p...)
			return err
		})
		for range rnd.IntN(5) {
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
	g.same("read", got, data)
	if canceled == 0 {
		g.Errorf("none of %d reads was canceled", steps)
	}
	_, err := sender.Await(g.ctx)
	return err
}

// readSome reads a message in one of 7 ways. left bytes are to come.
func readSome(ctx context.Context, c *stream.Conn, r *stream.Reader, way, left int) ([]byte, error) {
	p := make([]byte, min(left, 100))
	var n int
	var err error
	switch way {
	case 0:
		n, err = c.Read(ctx, p)
	case 1:
		n, err = r.Read(ctx, p)
	case 2:
		n, err = r.ReadFull(ctx, p)
	case 3:
		return r.ReadUntil(ctx, []byte("\n"))
	case 4:
		line, err := r.ReadLine(ctx)
		return lineBytes(line, err), err
	case 5:
		line, err := c.ReadLine(ctx)
		return lineBytes(line, err), err
	case 6:
		var q []byte
		if q, err = r.Peek(ctx, len(p)); err == nil {
			n = copy(p, q)
			_, err = r.Discard(ctx, int64(n))
		}
	}
	return p[:n], err
}

func lineBytes(line string, err error) []byte {
	if err != nil {
		return nil
	}
	return append([]byte(line), '\n')
}

// sendInPieces writes data in pieces of up to n bytes, and lets others run in between.
func sendInPieces(ctx context.Context, c *stream.Conn, data []byte, n int) error {
	rnd := rand.New(rand.NewPCG(7, 8))
	for len(data) > 0 {
		k := min(len(data), 1+rnd.IntN(n))
		if _, err := c.Write(ctx, data[:k]); err != nil {
			return err
		}
		data = data[k:]
		if err := task.Yield(ctx); err != nil {
			return err
		}
	}
	return nil
}

func connBusyReader(g *connRig) error {
	r := stream.NewReader(g.r, 0)
	for i, second := range []func(ctx context.Context) error{
		func(ctx context.Context) error { _, err := g.r.Read(ctx, make([]byte, 1)); return err },
		func(ctx context.Context) error { _, err := g.r.TryRead(make([]byte, 1)); return err },
		func(ctx context.Context) error { _, err := g.r.ReadLine(ctx); return err },
		func(ctx context.Context) error { return g.r.NextMessage(ctx) },
		func(ctx context.Context) error { _, err := r.Read(ctx, make([]byte, 1)); return err },
		func(ctx context.Context) error { _, err := r.ReadFull(ctx, make([]byte, 1)); return err },
		func(ctx context.Context) error { _, err := r.ReadAll(ctx); return err },
		func(ctx context.Context) error { _, err := r.ReadLine(ctx); return err },
		func(ctx context.Context) error { _, err := r.ReadUntil(ctx, []byte("x")); return err },
		func(ctx context.Context) error { _, err := r.SkipUntil(ctx, []byte("x")); return err },
		func(ctx context.Context) error { _, err := r.Peek(ctx, 1); return err },
		func(ctx context.Context) error { _, err := r.Discard(ctx, 1); return err },
		func(ctx context.Context) error { _, err := g.r.NetConn(ctx).Read(make([]byte, 1)); return err },
	} {
		first := g.collect(g.r, 2)
		for range 2 { // the first has nothing, and then a part
			g.pause()
			if err := second(g.ctx); !errors.Is(err, stream.ErrBusy) {
				g.Errorf("second reader %d: %v, want ErrBusy", i, err)
			}
			g.send(g.w, "x")
		}
		p, err := first.Await(g.ctx)
		if !bytes.Equal(p, []byte("xx")) || err != nil {
			g.Fatalf("first reader: %q, %v", p, err)
		}
	}
	return nil
}

func connCloseReader(g *connRig) error {
	r := stream.NewReader(g.r, 0)
	got := task.Start(g.ctx, func(ctx context.Context) ([]byte, error) { return r.ReadUntil(ctx, []byte("\n")) })
	g.send(g.w, "begun")
	g.pause()
	g.must(g.r.Close())
	_, err := got.Await(g.ctx)
	g.wantErr("waiting ReadUntil", err, net.ErrClosed)
	if n := r.Buffered(); n != 0 {
		g.Errorf("%d bytes are kept", n)
	}
	return nil
}
