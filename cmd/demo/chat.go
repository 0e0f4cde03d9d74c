package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

func runChat(fs *flag.FlagSet, args []string) int {
	addr := fs.String("addr", "127.0.0.1:7778", "where to listen")
	limit := fs.Int("limit", 100, "lines that wait for a client that takes them slowly")
	slow := fs.String("slow", "drop", "what happens to a client for whom more would wait.\n"+
		"drop: it misses them, and is told how many; cut: its connection is closed")
	if !parse(fs, args) {
		return 2
	}
	if *limit < 1 || *slow != "drop" && *slow != "cut" {
		fmt.Fprintln(os.Stderr, "demo chat: -limit is at least 1, -slow is drop or cut")
		return 2
	}
	task.Main(func(ctx context.Context) error {
		ln, err := stream.Listen(ctx, "tcp", *addr)
		if err != nil {
			return err
		}
		host, port, _ := net.SplitHostPort(ln.Addr().String())
		fmt.Printf("listening on %s\ntry: nc %s %s\n", ln.Addr(), host, port)
		r := newRoom(*limit, *slow == "cut")
		return r.serve(ctx, ln)
	})
	return 0
}

const (
	maxLine = 1000            // bytes, of what a client sends
	maxName = 20              // bytes
	linger  = 5 * time.Second // for what a client has not taken when it leaves
	hello   = "* welcome! what is your name?"
	goodbye = "* the server closes. goodbye!"
)

// A room is where clients talk. All of it is on one loop, so it has no lock: nobody
// joins or leaves in the middle of a broadcast.
type room struct {
	limit   int
	cut     bool
	clients map[string]*chatter // by name
	closing bool
}

func newRoom(limit int, cut bool) *room {
	return &room{limit: limit, cut: cut, clients: make(map[string]*chatter)}
}

// serve serves until its task is canceled, as by Ctrl-C, and then ends in peace.
func (r *room) serve(ctx context.Context, ln *stream.Listener) error {
	defer ln.Close()
	server := task.Go(ctx, func(ctx context.Context) error { return ln.Serve(ctx, r.client) })
	_, err := future.Shield(server).Await(ctx) // the cancellation is ours, not the server's
	if future.AsCanceled(err) == nil {
		return err
	}
	r.closing = true
	ctx, cancel := task.WithTimeout(ctx, 2*linger)
	defer cancel()
	return ln.Shutdown(ctx) // ends the waits for lines; the handlers say goodbye
}

// client serves one connection: this task reads, another one writes, and between
// them and everybody else's there are queues.
func (r *room) client(ctx context.Context, c *stream.Conn) error {
	c.SetLineLimit(maxLine)
	me := &chatter{c: c, lines: queue.New[string](r.limit), cut: r.cut}
	return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
		writer := g.Go(me.write)
		err := r.talk(ctx, me)
		if errors.Is(err, stream.ErrTooLong) {
			me.send(fmt.Sprintf("* lines have up to %d bytes. goodbye!", maxLine))
			err = nil
		}
		r.leave(me)
		if err != nil { // it is gone, or this task is canceled: nothing more to say
			_ = c.Close()
			if future.AsCanceled(err) == nil {
				err = nil
			}
		}
		me.lines.ShutDown(c.Closed()) // the writer ends, when all is written
		if err != nil {
			return err
		}
		if _, err = task.WaitFor(ctx, linger, writer); errors.Is(err, task.ErrTimeout) {
			err = nil
		}
		return err
	})
}

// talk reads lines until the client leaves.
func (r *room) talk(ctx context.Context, me *chatter) error {
	me.send(hello)
	for line, err := range me.c.Lines(ctx) {
		if err != nil {
			return err
		}
		switch line = printable(line); {
		case line == "/quit":
			me.send("* goodbye!")
			return nil
		case me.name == "":
			r.join(me, line)
		case line == "/who":
			me.send("* here: " + strings.Join(r.names(), ", "))
		case strings.HasPrefix(line, "/"):
			me.send("* there are /who and /quit")
		case line != "":
			r.broadcast(me, me.name+": "+line)
		}
	}
	return nil
}

// join lets a client in by a name that nobody has.
func (r *room) join(me *chatter, name string) {
	switch {
	case name == "" || len(name) > maxName || strings.ContainsAny(name, " /*:"):
		me.send(fmt.Sprintf("* a name is one word of up to %d bytes. what is yours?", maxName))
	case r.clients[name] != nil:
		me.send("* " + name + " is here already. what is your name?")
	default:
		me.name = name
		r.clients[name] = me
		r.broadcast(me, "* "+name+" has joined")
		me.send("* here: " + strings.Join(r.names(), ", "))
	}
}

// leave tells everybody, but for the end of the whole, which each is told.
func (r *room) leave(me *chatter) {
	if r.closing {
		me.send(goodbye)
		return
	}
	if me.name == "" {
		return
	}
	delete(r.clients, me.name)
	how := " has left"
	if me.tooSlow {
		how = " was cut off: too slow"
	}
	r.broadcast(me, "* "+me.name+how)
}

// broadcast sends a line to all but one. It does not wait for anybody.
func (r *room) broadcast(but *chatter, line string) {
	for _, name := range r.names() {
		if to := r.clients[name]; to != but {
			to.send(line)
		}
	}
}

// names returns who is here, in order.
func (r *room) names() []string {
	names := make([]string, 0, len(r.clients))
	for name := range r.clients {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// A chatter is a client.
type chatter struct {
	c       *stream.Conn
	name    string // "": none yet
	lines   *queue.Queue[string]
	dropped int // since the queue was full
	cut     bool
	tooSlow bool // and cut off for it
}

// send queues a line. A client that is behind misses what is sent until it has taken
// all that waits; so what it misses is in one piece.
func (me *chatter) send(line string) {
	if me.dropped == 0 && me.lines.TryPut(line) == nil {
		return
	}
	me.dropped++
	if me.cut {
		me.tooSlow = true
		_ = me.c.Abort()
	}
}

// write writes what is queued, until the queue is shut down or the client is gone.
func (me *chatter) write(ctx context.Context) error {
	for line, err := range me.lines.All(ctx) {
		if err == nil {
			err = me.println(ctx, line)
		}
		if err != nil {
			return me.gone(err)
		}
		if missed := me.dropped; missed > 0 && me.lines.Empty() {
			me.dropped = 0
			if err := me.println(ctx, fmt.Sprintf("... %d lines dropped", missed)); err != nil {
				return me.gone(err)
			}
		}
	}
	return nil
}

func (me *chatter) println(ctx context.Context, line string) error {
	_, err := io.WriteString(writer{ctx, me.c}, line+"\n")
	return err
}

// gone closes the connection that cannot be written to, which ends its reader.
func (me *chatter) gone(err error) error {
	_ = me.c.Close()
	if future.AsCanceled(err) != nil {
		return err
	}
	return nil
}

// printable removes what could play tricks on others' terminals.
func printable(line string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(line, "")))
}
