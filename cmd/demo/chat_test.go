package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// A guest is a client in memory, and the task that serves it.
type guest struct {
	t    *testing.T
	ctx  context.Context
	c    *stream.Conn
	task *task.Task[struct{}]
}

func enter(ctx context.Context, t *testing.T, r *room, name string) *guest {
	t.Helper()
	c, served := stream.Pipe(loop.FromContext(ctx))
	g := &guest{t, ctx, c, task.Go(ctx, func(ctx context.Context) error {
		defer served.Close()
		return r.client(ctx, served)
	})}
	g.want(hello)
	if name != "" {
		g.say(name)
		testkit.Idle(t, ctx)
	}
	return g
}

func (g *guest) say(line string) {
	g.t.Helper()
	if _, err := g.c.Write(g.ctx, []byte(line+"\n")); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) want(lines ...string) {
	g.t.Helper()
	for _, want := range lines {
		if got, err := g.c.ReadLine(g.ctx); got != want || err != nil {
			g.t.Fatalf("read %q, %v, want %q", got, err, want)
		}
	}
}

// rest reads all there is to the end.
func (g *guest) rest() (lines []string) {
	g.t.Helper()
	for line, err := range g.c.Lines(g.ctx) {
		if err != nil {
			g.t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

func (g *guest) leave() {
	g.t.Helper()
	_ = g.c.Close()
	if _, err := g.task.Await(g.ctx); err != nil {
		g.t.Error(err)
	}
}

func TestChatTalk(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		r := newRoom(10, false)
		ann := enter(ctx, t, r, "ann")
		ann.want("* here: ann")
		bob := enter(ctx, t, r, "a b")
		bob.want("* a name is one word of up to 20 bytes. what is yours?")
		bob.say("ann")
		bob.want("* ann is here already. what is your name?")
		bob.say("bob")
		bob.want("* here: ann, bob")
		ann.want("* bob has joined")
		ann.say("hello\x1b[2J, you\r")
		bob.want("ann: hello[2J, you")
		bob.say("/who")
		bob.want("* here: ann, bob")
		bob.say("/nonsense")
		bob.want("* there are /who and /quit")
		bob.say("/quit")
		bob.want("* goodbye!")
		if rest := bob.rest(); rest != nil {
			t.Errorf("after the goodbye: %q", rest)
		}
		bob.leave()
		ann.want("* bob has left")
		ann.leave()
		if len(r.clients) != 0 {
			t.Errorf("%d clients are left", len(r.clients))
		}
		return nil
	})
}

func TestChatLineTooLong(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		g := enter(ctx, t, newRoom(10, false), "")
		g.say(strings.Repeat("x", maxLine+1))
		g.want("* lines have up to 1000 bytes. goodbye!")
		g.leave()
		return nil
	})
}

// A client that does not read misses lines and is told how many: each line has
// arrived in its order, or is counted.
func TestChatSlowClientMissesLines(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		const limit, said = 10, 500
		r := newRoom(limit, false)
		slow := enter(ctx, t, r, "slow")
		slow.want("* here: slow")
		ann := enter(ctx, t, r, "ann")
		slow.want("* ann has joined")
		padding := strings.Repeat(".", 900)
		for i := range said {
			ann.say(fmt.Sprintf("%d%s", i, padding))
			testkit.Idle(t, ctx)
			if n := r.clients["slow"].lines.Len(); n > limit {
				t.Fatalf("%d lines wait, the limit is %d", n, limit)
			}
		}
		last := task.Go(ctx, func(ctx context.Context) error { // when slow has caught up
			if err := task.Sleep(ctx, 1); err != nil {
				return err
			}
			ann.say("the end")
			return nil
		})
		next, dropped := 0, 0
		for line, err := range slow.c.Lines(ctx) {
			if err != nil || line == "ann: the end" {
				break
			}
			var n int
			if _, err := fmt.Sscanf(line, "... %d lines dropped", &n); err == nil {
				next, dropped = next+n, dropped+n
			} else if want := fmt.Sprintf("ann: %d%s", next, padding); line == want {
				next++
			} else {
				t.Fatalf("line %d is %.20q", next, line)
			}
		}
		if next != said || dropped == 0 {
			t.Errorf("%d lines are accounted for, %d of them dropped; want %d, and some", next, dropped, said)
		}
		if _, err := last.Await(ctx); err != nil {
			return err
		}
		slow.leave()
		ann.leave()
		return nil
	})
}

// What is missed is in one piece, also when there is room again before all that waits
// was taken: the note comes where the lines are missing.
func TestChatMissesLinesInOnePiece(t *testing.T) {
	me := &chatter{lines: queue.New[string](2)}
	for _, line := range []string{"1", "2", "missed"} {
		me.send(line)
	}
	if line, err := me.lines.TryGet(); line != "1" || err != nil {
		t.Fatal(line, err)
	}
	me.send("missed, too")
	if n := me.lines.Len(); n != 1 || me.dropped != 2 {
		t.Errorf("%d lines wait and %d are dropped, want 1 and 2", n, me.dropped)
	}
}

func TestChatSlowClientIsCut(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		r := newRoom(10, true)
		slow := enter(ctx, t, r, "slow")
		ann := enter(ctx, t, r, "ann")
		ann.want("* here: ann, slow")
		for range 500 {
			ann.say(strings.Repeat(".", 900))
			testkit.Idle(t, ctx)
		}
		ann.want("* slow was cut off: too slow")
		ann.say("/who")
		ann.want("* here: ann")
		if _, err := slow.task.Await(ctx); err != nil {
			t.Error(err)
		}
		ann.leave()
		return nil
	})
}

// Ctrl-C, which cancels the server's task, ends all connections with a goodbye.
func TestChatShutdown(t *testing.T) {
	looptest.RunConfig(t, looptest.Config{Real: true}, func(ctx context.Context) error {
		ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		r := newRoom(10, false)
		server := task.Go(ctx, func(ctx context.Context) error { return r.serve(ctx, ln) })
		var guests []*guest
		for _, name := range []string{"ann", "bob", ""} {
			c, err := stream.Dial(ctx, "tcp", ln.Addr().String())
			if err != nil {
				return err
			}
			defer c.Close()
			g := &guest{t: t, ctx: ctx, c: c}
			g.want(hello)
			if name != "" {
				g.say(name)
				if line, err := c.ReadLine(ctx); !strings.HasPrefix(line, "* here: ") {
					t.Errorf("%q, %v", line, err)
				}
			}
			guests = append(guests, g)
		}
		guests[0].want("* bob has joined")
		server.Cancel(nil)
		for _, g := range guests {
			if rest := g.rest(); !slices.Equal(rest, []string{goodbye}) {
				t.Errorf("at the end: %q", rest)
			}
		}
		_, err = server.Await(ctx)
		return err
	})
}
