package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

func runProxy(fs *flag.FlagSet, args []string) int {
	addr := fs.String("addr", "127.0.0.1:7779", "where to listen")
	to := fs.String("to", "", "HOST:PORT, where connections go on to")
	rate := fs.Int64("rate", 0, "bytes a second, of each connection in each direction; 0: as fast as it goes")
	if !parse(fs, args) {
		return 2
	}
	if *to == "" || *rate < 0 {
		fmt.Fprintln(os.Stderr, "demo proxy: -to HOST:PORT is needed, -rate is not negative")
		return 2
	}
	p := &proxy{to: *to, rate: *rate, out: os.Stdout}
	task.Main(func(ctx context.Context) error {
		ln, err := stream.Listen(ctx, "tcp", *addr)
		if err != nil {
			return err
		}
		defer ln.Close()
		fmt.Printf("listening on %s\nproxy to %s\n", ln.Addr(), *to)
		err = ln.Serve(ctx, p.handle)
		fmt.Printf("\n%d connections, %d B there, %d B back\n", p.conns, p.there, p.back)
		if future.AsCanceled(err) != nil {
			return nil // a signal: this is how a server ends
		}
		return err
	})
	return 0
}

// A proxy hands what it gets on to somewhere else, and the other way round.
type proxy struct {
	to   string
	rate int64 // bytes a second; 0: no bound
	out  io.Writer

	conns       int
	there, back int64 // bytes, of all connections that have ended
}

// handle serves one connection, and prints what became of it.
func (p *proxy) handle(ctx context.Context, client *stream.Conn) error {
	l := loop.FromContext(ctx)
	began := l.Now()
	p.conns++
	var there, back int64
	server, err := stream.Dial(ctx, "tcp", p.to)
	if err == nil {
		defer server.Close()
		there, back, err = p.join(ctx, client, server)
		p.there += there
		p.back += back
	}
	how := "ended"
	if err != nil {
		how = err.Error()
		_ = client.Abort() // so that it does not take this for an end
	}
	fmt.Fprintf(p.out, "%v: %d B there, %d B back in %v; %s\n",
		client.RemoteAddr(), there, back, l.Now().Sub(began).Round(time.Millisecond), how)
	if future.AsCanceled(err) != nil {
		return err
	}
	return nil
}

// join pumps both ways, until both have ended. When one side fails the other is
// reset, too: it must not take what it has got for all.
func (p *proxy) join(ctx context.Context, client, server *stream.Conn) (there, back int64, err error) {
	err = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
		g.Go(func(ctx context.Context) error { return p.pump(ctx, server, client, &there) })
		g.Go(func(ctx context.Context) error { return p.pump(ctx, client, server, &back) })
		return nil
	})
	if err != nil {
		_ = server.Abort()
	}
	var failures *task.GroupError
	if errors.As(err, &failures) {
		err = failures.Errors()[0]
	}
	return there, back, err
}

// pump copies one direction to its end, and then ends it there: the other direction
// may go on. What it holds is one buffer: while the receiver takes nothing, nothing
// is read, and the sender has to wait.
func (p *proxy) pump(ctx context.Context, to, from *stream.Conn, n *int64) error {
	limit := newBucket(loop.FromContext(ctx), p.rate)
	buf := make([]byte, bufferSize)
	for {
		k, err := from.Read(ctx, buf[:limit.piece(bufferSize)])
		if errors.Is(err, io.EOF) {
			return to.CloseWrite()
		} else if err != nil {
			return err
		}
		if err := limit.take(ctx, k); err != nil {
			return err
		}
		w, err := to.Write(ctx, buf[:k])
		*n += int64(w)
		if err != nil {
			return err
		}
	}
}

// A bucket holds tokens, one for each byte, of which rate come in each second, until
// it is full.
type bucket struct {
	l      *loop.Loop
	rate   int64 // tokens a second; 0: no end of them
	full   int64
	tokens int64 // fewer than none: those are owed
	at     time.Time
}

// newBucket returns a full bucket, of what comes in a tenth of a second.
func newBucket(l *loop.Loop, rate int64) *bucket {
	full := max(rate/10, 1)
	return &bucket{l: l, rate: rate, full: full, tokens: full, at: l.Now()}
}

// piece returns how many bytes to take at once, up to most, so that they come evenly.
func (b *bucket) piece(most int64) int64 {
	if b.rate == 0 {
		return most
	}
	return min(most, b.full)
}

// take takes n tokens, and waits until they were there.
func (b *bucket) take(ctx context.Context, n int) error {
	if b.rate == 0 {
		return nil
	}
	b.fill()
	b.tokens -= int64(n)
	if b.tokens >= 0 {
		return nil
	}
	return task.SleepUntil(ctx, b.at.Add(b.lasts(-b.tokens)))
}

// fill adds what has come in.
func (b *bucket) fill() {
	now := b.l.Now()
	since := now.Sub(b.at)
	if since >= b.lasts(b.full-b.tokens) {
		b.tokens, b.at = b.full, now
		return
	}
	came := int64(since.Seconds() * float64(b.rate))
	b.tokens += came
	b.at = b.at.Add(b.lasts(came)) // what is less than a token counts the next time
}

// lasts returns how long it takes until n tokens come in.
func (b *bucket) lasts(n int64) time.Duration {
	return time.Duration(float64(n) / float64(b.rate) * float64(time.Second))
}
