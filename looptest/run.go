package looptest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
	"github.com/eddyloop/eddy/task"
)

// Config configures [RunConfig]. The zero value is that of Run.
type Config struct {
	// Loop configures the loop. Its Clock is replaced, unless Real is set.
	// OnError defaults to failing the test.
	Loop loop.Config
	// Start is what the clock reads first. Default: midnight of January 1, 2000,
	// UTC.
	Start time.Time
	// Real uses the system's clock: for tests of sockets and processes.
	Real bool
	// Patience is how long, in real time, nothing may happen while virtual time is
	// held up from outside: by a descriptor that is registered, a job, a signal
	// that is watched, a Hold. Then the test fails with a report, instead of
	// hanging. Default: 30 s. Negative: for ever.
	Patience time.Duration
	// Shuffle permutes what is promised to nobody, drawn from Seed: the order of
	// descriptors that are ready together. A test that fails prints its seed.
	Shuffle bool
	// Seed is that of Shuffle. Default 0: a new one each time.
	Seed uint64
}

// Run runs fn as a task on a loop with a virtual clock, until it is done, and
// closes the loop. The test fails if fn returns an error, if an error that nobody
// can receive is reported, or if nothing can run any more. t.FailNow and the like
// work in fn and its tasks.
func Run(t testing.TB, fn func(ctx context.Context) error) {
	t.Helper()
	RunConfig(t, Config{}, fn)
}

// RunConfig is [Run] with a configuration.
func RunConfig(t testing.TB, cfg Config, fn func(ctx context.Context) error) {
	t.Helper()
	c := NewClock(cfg.Start)
	if !cfg.Real {
		cfg.Loop.Clock = c
	}
	if cfg.Loop.OnError == nil {
		cfg.Loop.OnError = func(e *loop.CallError) {
			t.Helper()
			t.Errorf("%v\n%s", e, e.Stack())
		}
	}
	if cfg.Shuffle {
		shuffle(t, &cfg)
	}
	l, err := loop.New(cfg.Loop)
	if err != nil {
		t.Fatal(err)
	}
	var report string
	c.deadlock = func() {
		if report == "" { // of the first one; ending the tasks may find more
			report = Report(l)
		}
	}
	if !cfg.Real {
		c.attach(l)
		c.patience = cfg.Patience
		if c.patience == 0 {
			c.patience = defaultPatience
		}
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Errorf("closing the loop: %v", err)
		}
	}()
	err = task.RunOn(context.Background(), l, fn)
	switch {
	case errors.Is(err, loop.ErrDeadlock), errors.Is(err, ErrHeldUp):
		t.Fatalf("%v\n%s", err, report)
	case err != nil:
		var p *coro.PanicError
		if errors.As(err, &p) {
			t.Fatalf("%v\n%s", err, p.Stack)
		}
		t.Fatal(err)
	}
}

// shuffle makes the loop's poller one that shuffles.
func shuffle(t testing.TB, cfg *Config) {
	seed := cfg.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("looptest: Config{Shuffle: true, Seed: %d}", seed)
		}
	})
	open := cfg.Loop.Poller
	if open == nil {
		open = poller.New
	}
	cfg.Loop.Poller = func() (poller.Poller, error) {
		p, err := open()
		if err != nil {
			return nil, err
		}
		return ShufflePoller(p, seed), nil
	}
}

// Report lists the loop's tasks that are not done, what each awaits, and where
// it is. It must be called on the loop.
func Report(l *loop.Loop) string {
	var b strings.Builder
	stacks := task.Stacks(l)
	for _, t := range task.All(l) {
		fmt.Fprintf(&b, "%s, %s", t, t.Body())
		if by, ok := t.CanceledBy(); ok {
			fmt.Fprintf(&b, ", canceled by %q", by)
		}
		b.WriteString("\n")
		for line := range strings.Lines(string(stacks[t.ID()])) {
			b.WriteString("\t" + line)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// A Clock is a virtual clock for a loop: it stands still while the loop has
// something to run, and jumps to the next timer when it has not. One Clock
// belongs to one loop.
type Clock struct {
	now      time.Time
	waiters  []future.Promise[struct{}]
	deadlock func()

	l        *loop.Loop
	patience time.Duration // 0 or less: no end
	since    time.Time     // real time at which the loop was last seen to do something
	calls    uint64        // that it had made then
}

// ErrHeldUp is the failure of a test in which nothing has happened for too long, in
// real time, because something outside of the loop may still bring work, and so
// timers do not fire. Tests of sockets use Config.Real, or stream.Pipe.
var ErrHeldUp = errors.New("looptest: virtual time is held up from outside, and nothing happens")

const defaultPatience = 30 * time.Second

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// NewClock returns a clock that reads start, or midnight of January 1, 2000, UTC,
// if start is zero.
func NewClock(start time.Time) *Clock {
	if start.IsZero() {
		start = epoch
	}
	return &Clock{now: start}
}

var clockKey = new(int)

func (c *Clock) attach(l *loop.Loop) {
	c.l = l
	l.Local(clockKey, func() any { return c })
}

// Now implements [loop.Clock].
func (c *Clock) Now() time.Time { return c.now }

// Idle implements [loop.Clock].
func (c *Clock) Idle(next time.Time, outside bool) (time.Duration, error) {
	switch {
	case outside:
		return c.outside()
	case len(c.waiters) > 0:
		for _, p := range c.waiters {
			p.Resolve(struct{}{})
		}
		c.waiters = c.waiters[:0]
	case !next.IsZero():
		c.now = next
	default:
		if c.deadlock != nil {
			c.deadlock()
		}
		return 0, loop.ErrDeadlock
	}
	return 0, nil
}

// outside waits for what may come from outside, as long as patience lasts.
func (c *Clock) outside() (time.Duration, error) {
	if c.l == nil || c.patience <= 0 {
		return -1, nil
	}
	now, s := time.Now(), c.l.Stats()
	if s.Calls != c.calls || c.since.IsZero() {
		c.since, c.calls = now, s.Calls
	}
	left := c.patience - now.Sub(c.since)
	if left > 0 {
		return left, nil
	}
	if c.deadlock != nil {
		c.deadlock()
	}
	return 0, fmt.Errorf("%w: for %v now, with %d descriptors, and %d jobs and Holds, out", ErrHeldUp, c.patience, s.Descriptors, s.Outside)
}

// WaitIdle suspends the task until no other has anything to do before time moves
// on: every other task waits for a timer, for another, or for another WaitIdle.
// It works only on the loops of this package. (trio: wait_all_tasks_blocked)
func WaitIdle(ctx context.Context) error {
	l := loop.FromContext(ctx)
	c := l.Local(clockKey, func() any { return (*Clock)(nil) }).(*Clock)
	if c == nil {
		panic("looptest: WaitIdle on a loop without a virtual clock")
	}
	f, p := future.New[struct{}](l)
	c.waiters = append(c.waiters, p)
	_, err := f.Await(ctx)
	return err
}
