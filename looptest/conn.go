package looptest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// TestConn checks that connections behave as [stream.Conn] promises, whatever is
// below them. open is called in a task, anew for each subtest, and returns the two
// ends of a connection; the suite closes them. Each subtest is run in both directions,
// on a loop of its own with the system's clock. It takes a second or two.
//
// A connection need not be able to half-close: CloseWrite may return
// errors.ErrUnsupported.
func TestConn(t *testing.T, open func(ctx context.Context) (a, b *stream.Conn, err error)) {
	t.Helper()
	lot := connRoom(t, open)
	back := func(ctx context.Context) (b, a *stream.Conn, err error) {
		a, b, err = open(ctx)
		return b, a, err
	}
	for _, tt := range append(oneWayTests(), bothWaysTests()...) {
		t.Run(tt.name, func(t *testing.T) {
			t.Run("there", func(t *testing.T) { runConnTest(t, lot, open, tt.test) })
			t.Run("back", func(t *testing.T) { runConnTest(t, lot, back, tt.test) })
		})
	}
}

// TestOneWayConn is [TestConn] for connections that carry bytes in one direction
// only, such as pipes: from w to r.
func TestOneWayConn(t *testing.T, open func(ctx context.Context) (w, r *stream.Conn, err error)) {
	t.Helper()
	lot := connRoom(t, open)
	for _, tt := range oneWayTests() {
		t.Run(tt.name, func(t *testing.T) { runConnTest(t, lot, open, tt.test) })
	}
}

// connRoom returns how much is more than there is room for between the two ends.
func connRoom(t *testing.T, open func(ctx context.Context) (w, r *stream.Conn, err error)) (lot int) {
	t.Helper()
	runConnTest(t, 0, open, func(g *connRig) error {
		sent := 0
		w := task.Go(g.ctx, func(ctx context.Context) error {
			for p := make([]byte, 64<<10); ; {
				n, err := g.w.Write(ctx, p)
				if sent += n; err != nil {
					return err
				}
			}
		})
		for last := -1; sent > last; {
			last = sent
			g.must(task.Sleep(g.ctx, 20*time.Millisecond))
		}
		w.Cancel(nil)
		_, err := w.Await(g.ctx)
		lot = sent + sent/4 + 512<<10
		g.wantErr("Write", err, context.Canceled)
		return nil
	})
	return lot
}

type connTest struct {
	name string
	test func(*connRig) error
}

// oneWayTests write to one end and read from the other.
func oneWayTests() []connTest {
	return []connTest{
		{"bytes keep their order", connOrder},
		{"every split of lines", connSplitLines},
		{"every split of ReadFull", connSplitFull},
		{"every split of ReadUntil", connSplitUntil},
		{"Conn and Reader by turns", connTurns},
		{"much", connMuch},
		{"the end comes after the data", connEnd},
		{"the end comes after all that there is room for", connEndFull},
		{"end of a stream by CloseWrite", connCloseWrite},
		{"canceled reads take nothing", connCancelReads},
		{"canceled writes say how much", connCancelWrites},
		{"canceled waits of a Writer", connCancelDrain},
		{"a second reader is busy", connBusyReader},
		{"a second writer is busy", connBusyWriter},
		{"a peer that does not read holds the writer up", connBackpressure},
		{"Close wakes the reader", connCloseReader},
		{"Close wakes the writer", connCloseWriter},
		{"Abort wakes the reader", connAbortReader},
		{"Abort wakes the writer", connAbortWriter},
		{"closed twice, used after", connAfterClose},
		{"a peer that is gone", connPeerGone},
		{"nothing read, nothing written", connZero},
		{"Try and Readable, Writable", connTry},
		{"deadline of a read", connReadDeadline},
		{"deadline of a write", connWriteDeadline},
		{"bounds of waits", connTimeouts},
		{"Writer keeps the order", connWriterOrder},
		{"Writer refuses what does not fit", connWriterFull},
		{"Writer holds others off", connWriterHolds},
		{"Writer closes when all is sent", connWriterClose},
		{"Close drops what a Writer holds", connWriterDropped},
	}
}

// bothWaysTests need both directions.
func bothWaysTests() []connTest {
	return []connTest{
		{"much both ways at once", connBothWays},
		{"half-close", connHalfClose},
		{"an answer after the end of the question", connGraceful},
		{"echo", connEcho},
	}
}

const (
	connPatience = 5 * time.Second  // for what must happen
	connLimit    = 10 * time.Second // for a subtest
	connPause    = 100 * time.Microsecond
)

// A connRig is a connection under test and the verbs to test it with: what is
// written to w is read from r.
type connRig struct {
	*testing.T
	ctx  context.Context
	w, r *stream.Conn
	lot  int // bytes: more than w takes while nobody reads from r
}

func runConnTest(t *testing.T, lot int, open func(ctx context.Context) (w, r *stream.Conn, err error), test func(*connRig) error) {
	t.Helper()
	RunConfig(t, Config{Real: true}, func(ctx context.Context) error {
		w, r, err := open(ctx)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		defer w.Close()
		defer r.Close()
		ctx, cancel := task.WithTimeout(ctx, connLimit)
		defer cancel()
		err = test(&connRig{T: t, ctx: ctx, w: w, r: r, lot: lot})
		if errors.Is(err, task.ErrTimeout) {
			err = fmt.Errorf("something waits in vain: %w", err)
		}
		return err
	})
}

// noise returns n bytes that are never the same for two seeds.
func noise(seed byte, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// pause lets what was written arrive.
func (g *connRig) pause() {
	for range 3 {
		g.must(task.Yield(g.ctx))
	}
	g.must(task.Sleep(g.ctx, connPause))
}

// until waits until ok.
func (g *connRig) until(what string, ok func() bool) {
	g.Helper()
	for end := time.Now().Add(connPatience); !ok(); g.pause() {
		if time.Now().After(end) {
			g.Fatalf("waited in vain until %s", what)
		}
	}
}

func (g *connRig) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

func (g *connRig) wantErr(what string, err, want error) {
	g.Helper()
	if err == nil || !errors.Is(err, want) {
		g.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (g *connRig) send(c *stream.Conn, s string) {
	g.Helper()
	if n, err := c.Write(g.ctx, []byte(s)); n != len(s) || err != nil {
		g.Fatalf("Write of %d bytes: %d, %v", len(s), n, err)
	}
}

func (g *connRig) expect(c *stream.Conn, want string) {
	g.Helper()
	got := make([]byte, len(want))
	if n, err := stream.NewReader(c, 0).ReadFull(g.ctx, got); string(got) != want || err != nil {
		g.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

// readAll reads to the end, in reads of all sizes.
func readAll(ctx context.Context, c *stream.Conn) ([]byte, error) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var all bytes.Buffer
	buf := make([]byte, 128<<10)
	for {
		n, err := c.Read(ctx, buf[:1+rnd.IntN(1<<rnd.IntN(18))])
		all.Write(buf[:n])
		if err == io.EOF {
			return all.Bytes(), nil
		}
		if err != nil {
			return all.Bytes(), err
		}
	}
}

// collect starts a task that reads n bytes.
func (g *connRig) collect(c *stream.Conn, n int) *task.Task[[]byte] {
	return task.Start(g.ctx, func(ctx context.Context) ([]byte, error) {
		p := make([]byte, n)
		n, err := stream.NewReader(c, 0).ReadFull(ctx, p)
		return p[:n], err
	})
}

// same compares what was read with what was written.
func (g *connRig) same(what string, got, want []byte) {
	g.Helper()
	if len(got) != len(want) || sha256.Sum256(got) != sha256.Sum256(want) {
		i := 0
		for i < len(got) && i < len(want) && got[i] == want[i] {
			i++
		}
		g.Errorf("%s: %d bytes, which differ from the %d that were sent at %d", what, len(got), len(want), i)
	}
}

// end ends the stream from w to r.
func (g *connRig) end() {
	g.Helper()
	if err := g.w.CloseWrite(); errors.Is(err, errors.ErrUnsupported) {
		g.must(g.w.Close())
	} else {
		g.must(err)
	}
}

// fill starts a task that writes more than there is room for, and waits until it is
// suspended. It reports how many bytes it has written.
func (g *connRig) fill(data []byte) *task.Task[int] {
	g.Helper()
	t := task.Start(g.ctx, func(ctx context.Context) (int, error) { return g.w.Write(ctx, data) })
	g.until("a write is suspended", func() bool {
		if t.Done() {
			n, err := t.Result()
			g.Fatalf("Write of %d bytes to a peer that does not read: %d, %v", len(data), n, err)
		}
		_, err := g.w.TryWrite(nil)
		return errors.Is(err, stream.ErrBusy)
	})
	g.pause()
	return t
}

// now is the time of the loop.
func (g *connRig) now() time.Time { return loop.FromContext(g.ctx).Now() }
