package locks_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/eddyloop/eddy/locks"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

const modelOps = 100

func modelSeeds() uint64 {
	if raceEnabled {
		return 60
	}
	return 1000
}

// eachSeed runs fn on a loop of its own for each seed. That nothing is stuck at
// the end of one is found by looptest: fn waits for all that it has started.
func eachSeed(t *testing.T, fn func(ctx context.Context, r *rand.Rand) error) {
	for seed := range modelSeeds() {
		looptest.Run(t, func(ctx context.Context) error {
			if err := fn(ctx, rand.New(rand.NewPCG(seed, 1))); err != nil {
				return fmt.Errorf("seed %d: %w", seed, err)
			}
			return nil
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// A request is one task's wish for a lock or a permit.
type request struct {
	t      *task.Task[struct{}]
	cancel context.CancelFunc // nil, or ends the scope that the wait is in
	ends   time.Time          // zero, or the deadline of the wait
	begun  bool
	asked  bool // it was canceled, or its scope was
	over   bool // it has got it, or an error
}

// requests are all of a seed, in the order in which they begin.
type requests struct {
	r    *rand.Rand
	all  []*request
	line []*request // those that have begun
	got  int
	errs int
	bad  error
}

// start starts a task that waits with wait, in one of three kinds of context,
// stays inside for some turns or some time and then calls leave.
func (rs *requests) start(ctx context.Context, wait func(ctx context.Context) error, inside, leave func()) {
	q := new(request)
	kind, stay := rs.r.IntN(4), rs.r.IntN(6)
	sub, deadline := ctx, time.Duration(1+rs.r.IntN(5))*time.Second
	switch kind {
	case 0:
		sub, q.cancel = task.WithTimeout(ctx, time.Hour)
	case 1:
		sub, q.cancel = task.WithTimeout(ctx, deadline)
	}
	if kind == 1 || kind == 2 {
		q.ends = loop.FromContext(ctx).Now().Add(deadline)
	}
	q.t = task.Go(sub, func(ctx context.Context) error {
		if q.cancel != nil {
			defer q.cancel()
		}
		q.begun = true
		rs.line = append(rs.line, q)
		var err error
		if kind == 2 {
			err = task.Timeout(ctx, deadline, func(ctx context.Context, _ *task.TimeoutScope) error { return wait(ctx) })
		} else {
			err = wait(ctx)
		}
		q.over = true
		if err != nil {
			rs.errs++
			return nil
		}
		rs.got++
		rs.checkLine(q, loop.FromContext(ctx).Now())
		inside()
		defer leave()
		if stay == 5 {
			_ = task.Sleep(ctx, time.Duration(rs.r.IntN(3000))*time.Millisecond)
			return nil
		}
		for range stay {
			_ = task.Yield(ctx)
		}
		return nil
	})
	rs.all = append(rs.all, q)
}

// checkLine is called when q has got what it waited for: all that came before it
// must have got theirs, or an error, or be about to get one.
func (rs *requests) checkLine(q *request, now time.Time) {
	for i, earlier := range rs.line {
		if earlier == q {
			return
		}
		expired := !earlier.ends.IsZero() && !now.Before(earlier.ends)
		if !earlier.over && !earlier.asked && !expired {
			rs.fail(fmt.Errorf("number %d in line was overtaken", i))
		}
	}
}

func (rs *requests) fail(err error) {
	if rs.bad == nil {
		rs.bad = err
	}
}

// cancelOne cancels some task, or the scope that it waits in.
func (rs *requests) cancelOne() {
	if len(rs.all) == 0 {
		return
	}
	q := rs.all[rs.r.IntN(len(rs.all))]
	q.asked = true
	if q.cancel != nil && rs.r.IntN(2) == 0 {
		q.cancel()
		return
	}
	q.t.Cancel(errBoom)
}

// finish waits for all and counts them.
func (rs *requests) finish(ctx context.Context) error {
	notBegun := 0
	for _, q := range rs.all {
		if _, err := q.t.Await(ctx); err != nil && q.begun {
			// Canceled inside, where Yield and Sleep ignore it, or not at all.
			if !q.over {
				return fmt.Errorf("a task ended without an answer: %w", err)
			}
		}
		if !q.begun {
			notBegun++
		}
	}
	if n := rs.got + rs.errs + notBegun; n != len(rs.all) {
		return fmt.Errorf("%d tasks have an answer, want %d", n, len(rs.all))
	}
	return rs.bad
}

// pass lets turns pass, or time, or all that can be done without time.
func pass(ctx context.Context, r *rand.Rand) error {
	switch r.IntN(6) {
	case 0:
		return looptest.WaitIdle(ctx)
	case 1:
		return task.Sleep(ctx, time.Duration(r.IntN(2000))*time.Millisecond)
	}
	for range r.IntN(3) {
		if err := task.Yield(ctx); err != nil {
			return err
		}
	}
	return nil
}

func TestMutexModel(t *testing.T) {
	total, waited := 0, 0
	eachSeed(t, func(ctx context.Context, r *rand.Rand) error {
		var m locks.Mutex
		rs := &requests{r: r}
		holders := 0
		inside := func() {
			if holders++; holders != 1 || !m.Locked() {
				rs.fail(fmt.Errorf("%d tasks hold the lock; locked: %v", holders, m.Locked()))
			}
		}
		leave := func() { holders--; m.Unlock() }
		for range modelOps {
			switch op := r.IntN(10); {
			case op < 4:
				rs.start(ctx, m.Lock, inside, leave)
			case op < 6:
				rs.cancelOne()
			case op == 6:
				if m.TryLock() {
					inside()
					leave()
				}
			default:
				if err := pass(ctx, r); err != nil {
					return err
				}
			}
			waited += m.Waiting()
			if m.Locked() != (holders == 1) {
				rs.fail(fmt.Errorf("locked %v with %d holders", m.Locked(), holders))
			}
		}
		if err := looptest.WaitIdle(ctx); err != nil {
			return err
		}
		if !m.Locked() && m.Waiting() > 0 {
			return fmt.Errorf("a wake-up is lost: the lock is free, %d wait and nothing happens", m.Waiting())
		}
		if err := rs.finish(ctx); err != nil {
			return err
		}
		total += rs.got
		if m.Locked() || m.Waiting() != 0 || holders != 0 {
			return fmt.Errorf("at the end: locked %v, %d wait, %d holders", m.Locked(), m.Waiting(), holders)
		}
		return nil
	})
	t.Logf("%d seeds: %d locks taken, %.1f waited on average", modelSeeds(), total, float64(waited)/float64(modelSeeds()*modelOps))
}

func TestSemaphoreModel(t *testing.T) {
	total := 0
	eachSeed(t, func(ctx context.Context, r *rand.Rand) error {
		permits := r.IntN(4)
		s := locks.NewSemaphore(permits)
		bounded := permits > 0 && r.IntN(2) == 0
		if bounded {
			s = locks.NewBoundedSemaphore(permits)
		}
		rs := &requests{r: r}
		held := 0
		inside := func() {
			if held++; held > permits {
				rs.fail(fmt.Errorf("%d hold one of %d permits", held, permits))
			}
		}
		leave := func() { held--; s.Release() }
		quiet := func() error {
			if err := looptest.WaitIdle(ctx); err != nil {
				return err
			}
			if s.Value()+held != permits {
				return fmt.Errorf("%d free, %d held, of %d permits", s.Value(), held, permits)
			}
			if s.Value() > 0 && s.Waiting() > 0 {
				return fmt.Errorf("a wake-up is lost: %d free, %d wait and nothing happens", s.Value(), s.Waiting())
			}
			return nil
		}
		for range modelOps {
			switch op := r.IntN(20); {
			case op < 8:
				rs.start(ctx, s.Acquire, inside, leave)
			case op < 12:
				rs.cancelOne()
			case op == 12:
				if s.TryAcquire() {
					inside()
					leave()
				}
			case op == 13 && !bounded && permits < 5:
				permits++
				s.Release()
			case op == 14:
				if err := quiet(); err != nil {
					return err
				}
			default:
				if err := pass(ctx, r); err != nil {
					return err
				}
			}
			if s.Value() < 0 || s.Value()+held > permits {
				return fmt.Errorf("%d free, %d held, of %d permits", s.Value(), held, permits)
			}
		}
		if permits == 0 {
			permits++
			s.Release()
		}
		if err := quiet(); err != nil {
			return err
		}
		if err := rs.finish(ctx); err != nil {
			return err
		}
		total += rs.got
		if s.Value() != permits || s.Waiting() != 0 || s.Locked() {
			return fmt.Errorf("at the end: %d free of %d, %d wait", s.Value(), permits, s.Waiting())
		}
		return nil
	})
	t.Logf("%d seeds: %d permits taken", modelSeeds(), total)
}

// Producers and consumers over a Cond, with cancels everywhere: no item stays
// while a consumer waits for it.
func TestCondModel(t *testing.T) {
	total := 0
	eachSeed(t, func(ctx context.Context, r *rand.Rand) error {
		c := locks.NewCond(nil)
		rs := &requests{r: r}
		items, taken, holders := 0, 0, 0
		held := func() {
			if holders++; holders != 1 || !c.L.Locked() {
				rs.fail(fmt.Errorf("%d tasks hold the lock", holders))
			}
		}
		take := func(ctx context.Context) error {
			if err := c.L.Lock(ctx); err != nil {
				return err
			}
			held()
			defer func() { holders--; c.L.Unlock() }()
			for items == 0 {
				holders--
				err := c.Wait(ctx)
				held()
				if err != nil {
					return err
				}
			}
			items--
			taken++
			return nil
		}
		rs.line = nil // a Cond keeps no order between the lock and the wait
		for range modelOps {
			switch op := r.IntN(10); {
			case op < 3:
				rs.startUnordered(ctx, take)
			case op < 5:
				rs.cancelOne()
			case op < 7:
				if err := c.L.Lock(ctx); err != nil {
					return err
				}
				held()
				n := 1 + r.IntN(2)
				items += n
				c.SignalN(n)
				for range r.IntN(3) { // those that are woken come to wait for the lock
					if err := task.Yield(ctx); err != nil {
						return err
					}
					if r.IntN(2) == 0 {
						rs.cancelOne()
					}
				}
				holders--
				c.L.Unlock()
			default:
				if err := pass(ctx, r); err != nil {
					return err
				}
			}
		}
		if err := looptest.WaitIdle(ctx); err != nil {
			return err
		}
		if c.L.Locked() || c.L.Waiting() > 0 || items > 0 && c.Waiting() > 0 {
			return fmt.Errorf("a wake-up is lost: %d items, %d wait; lock taken %v, %d wait for it",
				items, c.Waiting(), c.L.Locked(), c.L.Waiting())
		}
		if err := c.L.Lock(ctx); err != nil {
			return err
		}
		items += len(rs.all)
		c.Broadcast()
		c.L.Unlock()
		if err := rs.finish(ctx); err != nil {
			return err
		}
		total += taken
		return nil
	})
	t.Logf("%d seeds: %d items taken", modelSeeds(), total)
}

// startUnordered is start for what need not be first come, first served.
func (rs *requests) startUnordered(ctx context.Context, wait func(ctx context.Context) error) {
	none := func() {}
	line := rs.line
	rs.start(ctx, wait, none, none)
	rs.line = line
	q := rs.all[len(rs.all)-1]
	q.asked = true // may be overtaken
}
