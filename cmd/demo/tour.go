package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// runTour is what `make demo` runs.
func runTour(fs *flag.FlagSet, args []string) int {
	clients := fs.Int("clients", 500, "concurrent clients")
	lines := fs.Int("lines", 200, "lines that each of them sends")
	if !parse(fs, args) {
		return 2
	}
	if *clients < 3 || *lines < 4 {
		fmt.Fprintln(os.Stderr, "demo tour: needs at least 3 clients and 4 lines")
		return 2
	}
	before := runtime.NumGoroutine()
	t := &tour{clients: *clients, lines: *lines, kinds: make(map[string]int), began: time.Now()}
	t.out = newProgress(os.Stdout)
	err := task.RunConfig(context.Background(), loop.Config{OnError: t.onError}, t.main)
	t.goroutines = settled(before) - before
	t.summary(err)
	if err != nil || !t.accounted() {
		return 1
	}
	return 0
}

// A tour is one run. Nothing in it is locked: all of it lives on one loop.
type tour struct {
	clients, lines int
	out            *progress
	began          time.Time

	connections int // accepted by the server
	sent        int // lines that clients wrote
	answered    int // lines that came back right
	wrong       int // lines that came back wrong
	vanished    int // lines of the client that vanished and got no answer
	finished    int // clients that are done
	kinds       map[string]int
	errors      []error // that nobody expected

	stats      loop.Stats
	left       int // tasks still there at the end
	goroutines int // more than before, at the end
}

// The three clients that are not like the others.
const (
	slowClient = iota
	vanishingClient
	ordinaryClient
)

func (t *tour) main(ctx context.Context) error {
	l := loop.FromContext(ctx)
	ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	fmt.Printf("tour: one loop, %d clients x %d lines, on %s\n", t.clients, t.lines, ln.Addr())

	server := task.Go(ctx, func(ctx context.Context) error { return ln.Serve(ctx, t.serve) })
	server.SetName("server")
	ticker := task.Go(ctx, t.tick)
	ticker.SetName("ticker")

	err = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
		for i := range t.clients {
			g.Go(func(ctx context.Context) error {
				defer func() { t.finished++ }()
				return t.client(ctx, i, ln.Addr().String())
			}).SetName(fmt.Sprintf("client-%d", i))
		}
		g.Go(t.canceled).SetName("canceled")
		g.Go(t.timesOut).SetName("times-out")
		return nil
	})

	ticker.Cancel(nil)
	server.Cancel(nil)
	_, _ = ticker.Await(ctx)
	_, _ = server.Await(ctx)
	t.stats = l.Stats()
	t.left = len(task.All(l)) - 1 // but for this one
	return err
}

// shout is the blocking function that every line goes through.
func shout(line string) string {
	time.Sleep(50 * time.Microsecond) // a database, say
	return strings.ToUpper(line)
}

// serve answers one client.
func (t *tour) serve(ctx context.Context, c *stream.Conn) error {
	t.connections++
	for line, err := range c.Lines(ctx) {
		if err != nil {
			return t.gone(err)
		}
		answer, err := executor.Do(ctx, func(context.Context) (string, error) { return shout(line), nil })
		if err != nil {
			return err
		}
		if _, err := c.Write(ctx, []byte(answer+"\n")); err != nil {
			return t.gone(err)
		}
	}
	return nil
}

// gone counts the connection of a client that vanished. It may also end by the
// server's own end.
func (t *tour) gone(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return t.count(err)
}

// client sends its lines and checks the answers.
func (t *tour) client(ctx context.Context, i int, addr string) error {
	c, err := stream.Dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if i == vanishingClient {
		return t.vanish(ctx, c, i)
	}
	for n := range t.lines {
		if i == slowClient {
			if err := task.Sleep(ctx, 2*time.Millisecond); err != nil {
				return err
			}
		}
		if err := t.send(ctx, c, i, n); err != nil {
			return err
		}
		if err := t.receive(ctx, c, i, n); err != nil {
			return err
		}
	}
	return nil
}

func (t *tour) send(ctx context.Context, c *stream.Conn, i, n int) error {
	if _, err := fmt.Fprintf(writer{ctx, c}, "line %d of client %d\n", n, i); err != nil {
		return err
	}
	t.sent++
	return nil
}

func (t *tour) receive(ctx context.Context, c *stream.Conn, i, n int) error {
	line, err := c.ReadLine(ctx)
	if err != nil {
		return err
	}
	if line != fmt.Sprintf("LINE %d OF CLIENT %d", n, i) {
		t.wrong++
		return nil
	}
	t.answered++
	return nil
}

// vanish answers for half of its lines, sends the rest without waiting for an
// answer, and is gone.
func (t *tour) vanish(ctx context.Context, c *stream.Conn, i int) error {
	for n := range t.lines {
		if err := t.send(ctx, c, i, n); err != nil {
			return err
		}
		if n >= t.lines/2 {
			t.vanished++
			continue
		}
		if err := t.receive(ctx, c, i, n); err != nil {
			return err
		}
	}
	return nil
}

// canceled is the task that is canceled: it would wait for an hour.
func (t *tour) canceled(ctx context.Context) error {
	sleeper := task.Go(ctx, func(ctx context.Context) error { return task.Sleep(ctx, time.Hour) })
	if err := task.Sleep(ctx, 20*time.Millisecond); err != nil {
		return err
	}
	sleeper.Cancel(errors.New("the tour is over"))
	_, err := sleeper.Await(ctx)
	t.count(err)
	return nil
}

// timesOut is the task that times out: its job takes longer than it may.
func (t *tour) timesOut(ctx context.Context) error {
	err := task.Timeout(ctx, 20*time.Millisecond, func(ctx context.Context, _ *task.TimeoutScope) error {
		_, err := executor.Do(ctx, func(ctx context.Context) (struct{}, error) {
			<-ctx.Done() // ends when the wait for it does
			return struct{}{}, ctx.Err()
		})
		return err
	})
	t.count(err)
	return nil
}

// count counts an error that was to be expected, by kind, and returns any other.
func (t *tour) count(err error) error {
	switch {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded):
		t.kinds["timed out"]++
	case errors.Is(err, context.Canceled):
		t.kinds["canceled"]++
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		t.kinds["client vanished"]++
	default:
		return err
	}
	return nil
}

func (t *tour) onError(e *loop.CallError) { t.errors = append(t.errors, e) }

// tick reports progress until it is canceled.
func (t *tour) tick(ctx context.Context) error {
	total := t.clients * t.lines
	for {
		t.out.show(t.answered+t.vanished, total)
		if err := task.Sleep(ctx, t.out.every); err != nil {
			t.out.show(t.answered+t.vanished, total)
			t.out.end()
			return err
		}
	}
}

// accounted reports whether nothing is missing and nothing is left over.
func (t *tour) accounted() bool {
	return t.sent == t.clients*t.lines &&
		t.sent == t.answered+t.vanished && t.wrong == 0 &&
		t.connections == t.clients && t.finished == t.clients &&
		t.kinds["canceled"] == 1 && t.kinds["timed out"] == 1 &&
		len(t.errors) == 0 && t.left == 0 && t.goroutines <= 0
}

func (t *tour) summary(err error) {
	s := &t.stats
	fmt.Printf("\nconnections        %d\n", t.connections)
	fmt.Printf("lines sent         %d\n", t.sent)
	fmt.Printf("lines answered     %d\n", t.answered)
	fmt.Printf("lines vanished     %d (sent by the client that vanished, not waited for)\n", t.vanished)
	if t.wrong > 0 {
		fmt.Printf("lines wrong        %d\n", t.wrong)
	}
	for _, kind := range slices.Sorted(maps.Keys(t.kinds)) {
		fmt.Printf("%-18s %d\n", kind, t.kinds[kind])
	}
	fmt.Printf("loop utilization   %.0f %%\n", 100*s.Utilization())
	fmt.Printf("loop lag           p50 %v, p99 %v, max %v\n",
		round(s.Lag.Quantile(0.5)), round(s.Lag.Quantile(0.99)), round(s.Lag.Max))
	fmt.Printf("posts, events      %d, %d\n", s.Posts, s.Events)
	fmt.Printf("tasks left         %d\n", t.left)
	fmt.Printf("goroutines left    %d\n", t.goroutines)
	fmt.Printf("time               %v\n", time.Since(t.began).Round(time.Millisecond))
	for _, e := range t.errors {
		fmt.Printf("unexpected: %v\n", e)
	}
	switch {
	case err != nil:
		fmt.Printf("FAILED: %v\n", err)
	case !t.accounted():
		fmt.Println("FAILED: not everything is accounted for")
	default:
		fmt.Println("every line is accounted for")
		fmt.Println("\nOther demos are servers to try and programs to read: demo -h lists them.")
	}
}

func round(d time.Duration) time.Duration { return d.Round(time.Microsecond) }

// settled waits a moment for goroutines that are about to end.
func settled(want int) int {
	for range 100 {
		if n := runtime.NumGoroutine(); n <= want {
			return n
		}
		time.Sleep(time.Millisecond)
	}
	return runtime.NumGoroutine()
}

// A writer is a Conn as an io.Writer inside a task.
type writer struct {
	ctx context.Context
	c   *stream.Conn
}

func (w writer) Write(p []byte) (int, error) { return w.c.Write(w.ctx, p) }

var _ io.Writer = writer{}
