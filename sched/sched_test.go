package sched_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/sched"
	"github.com/eddyloop/eddy/task"
)

// A journal is what happened, and when.
type journal struct {
	mu    sync.Mutex
	start time.Time
	lines []string
}

func (j *journal) log(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf("%v %s", time.Since(j.start), what))
}

// says returns an action that logs.
func (j *journal) says(what string) func(context.Context) error {
	return func(context.Context) error { j.log(what); return nil }
}

func (j *journal) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.lines, want) {
		t.Errorf("happened:\n\t%s\nwant:\n\t%s", strings.Join(j.lines, "\n\t"), strings.Join(want, "\n\t"))
	}
	j.lines = nil
}

func bubble(t *testing.T, fn func(t *testing.T, s *sched.Scheduler, j *journal)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { fn(t, sched.New(nil), &journal{start: time.Now()}) })
}

// inBackground calls Run; the channel gives what it returned.
func inBackground(ctx context.Context, s *sched.Scheduler) <-chan error {
	result := make(chan error, 1)
	go func() { result <- s.Run(ctx) }()
	synctest.Wait()
	return result
}

func TestRunsInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, s *sched.Scheduler, j *journal) {
		now := time.Now()
		s.After(2*time.Second, 0, j.says("e"))
		s.At(now.Add(time.Second), 1, j.says("c"))
		s.At(now.Add(time.Second), 1, j.says("d"))
		s.At(now.Add(time.Second), -1, j.says("b"))
		s.At(now.Add(-time.Hour), 5, j.says("a"))
		if s.Empty() || s.Len() != 5 {
			t.Errorf("empty %v, %d events", s.Empty(), s.Len())
		}
		if err := s.Run(bg); err != nil {
			t.Error(err)
		}
		j.want(t, "0s a", "1s b", "1s c", "1s d", "2s e")
		if !s.Empty() || s.Len() != 0 || len(s.Pending()) != 0 {
			t.Errorf("empty %v, %d events", s.Empty(), s.Len())
		}
		if err := s.Run(bg); err != nil { // returns at once
			t.Error(err)
		}
	})
}

// Pending, and what Run does, against a stable sort, after many were entered and
// canceled.
func TestOrderAfterManyChanges(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 3))
		p := newProgram() // its clock jumps
		var model, ran []*sched.Event
		for range 200 {
			if len(model) > 0 && r.IntN(3) == 0 {
				i := r.IntN(len(model))
				if !p.s.Cancel(model[i]) || p.s.Cancel(model[i]) {
					t.Fatalf("seed %d: an event was not canceled, or twice", seed)
				}
				model = slices.Delete(model, i, i+1)
				continue
			}
			at := p.start.Add(time.Duration(r.IntN(20)))
			var e *sched.Event
			e = p.s.At(at, r.IntN(3), func(context.Context) error { ran = append(ran, e); return nil })
			if !e.When().Equal(at) {
				t.Fatalf("When is %v, want %v", e.When(), at)
			}
			model = append(model, e)
		}
		slices.SortStableFunc(model, func(a, b *sched.Event) int {
			if c := a.When().Compare(b.When()); c != 0 {
				return c
			}
			return a.Priority() - b.Priority()
		})
		if !slices.Equal(p.s.Pending(), model) {
			t.Fatalf("seed %d: Pending is not in order", seed)
		}
		if err := p.s.Run(bg); err != nil || !slices.Equal(ran, model) {
			t.Fatalf("seed %d: did not run in order; %v", seed, err)
		}
	}
}

func TestCancelOfWhatIsNotThere(t *testing.T) {
	bubble(t, func(t *testing.T, s *sched.Scheduler, j *journal) {
		var self *sched.Event
		self = s.After(0, 0, func(context.Context) error {
			if s.Cancel(self) {
				t.Error("an event was canceled while its action runs")
			}
			return nil
		})
		if err := s.Run(bg); err != nil {
			t.Error(err)
		}
		other := sched.New(nil).After(0, 0, j.says("other"))
		for name, e := range map[string]*sched.Event{"one that has run": self, "another's": other, "none": nil} {
			if s.Cancel(e) {
				t.Errorf("%s was canceled", name)
			}
		}
	})
}

// A Run that sleeps hears of what comes first now, and not of the rest.
func TestChangesWhileRunSleeps(t *testing.T) {
	bubble(t, func(t *testing.T, s *sched.Scheduler, j *journal) {
		hour := s.After(time.Hour, 0, j.says("hour"))
		run := inBackground(bg, s)
		s.After(time.Minute, 0, j.says("minute"))
		second := s.After(time.Second, 0, j.says("second"))
		s.Cancel(second)
		s.After(2*time.Hour, 0, j.says("two hours"))
		time.Sleep(time.Minute)
		j.want(t, "1m0s minute")
		s.Cancel(hour)
		if err := <-run; err != nil {
			t.Error(err)
		}
		j.want(t, "2h0m0s two hours")

		last := s.After(time.Hour, 0, j.says("last"))
		run = inBackground(bg, s)
		s.Cancel(last) // nothing is left: Run returns at once
		if err := <-run; err != nil || time.Since(j.start) != 2*time.Hour {
			t.Errorf("%v, after %v", err, time.Since(j.start))
		}
		j.want(t)
	})
}

// A hookedCtx calls fn when it is first asked for Done: when Run has seen what comes
// first and does not sleep yet.
type hookedCtx struct {
	context.Context
	once sync.Once
	fn   func()
}

func (c *hookedCtx) Done() <-chan struct{} {
	c.once.Do(c.fn)
	return c.Context.Done()
}

func TestChangeJustBeforeRunSleeps(t *testing.T) {
	bubble(t, func(t *testing.T, s *sched.Scheduler, j *journal) {
		s.After(time.Hour, 0, j.says("hour"))
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		hooked := &hookedCtx{Context: ctx, fn: func() { s.After(time.Minute, 0, j.says("minute")) }}
		if err := s.Run(hooked); err != nil {
			t.Error(err)
		}
		j.want(t, "1m0s minute", "1h0m0s hour")
	})
}

func TestRunDue(t *testing.T) {
	bubble(t, func(t *testing.T, s *sched.Scheduler, j *journal) {
		want := func(next time.Duration, more bool) {
			t.Helper()
			if d, ok, err := s.RunDue(bg); d != next || ok != more || err != nil {
				t.Errorf("%v, %v, %v; want %v, %v", d, ok, err, next, more)
			}
		}
		want(0, false)
		s.After(time.Second, 0, func(context.Context) error {
			j.log("a")
			s.After(0, 0, j.says("b")) // due at once
			s.After(time.Minute, 0, j.says("c"))
			return nil
		})
		want(time.Second, true)
		time.Sleep(3 * time.Second)
		want(time.Minute, true)
		j.want(t, "3s a", "3s b")
		time.Sleep(time.Minute)
		want(0, false)
		j.want(t, "1m3s c")
	})
}

// What an action that fails leaves behind: all but itself.
func TestFailureLeavesTheRest(t *testing.T) {
	for _, tt := range []struct {
		name   string
		action func(context.Context) error
		want   string
	}{
		{"error", func(context.Context) error { return errFail }, "fail"},
		{"panic", func(context.Context) error { panic(errFail) }, "panic: fail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *sched.Scheduler, j *journal) {
				s.After(time.Second, 0, j.says("a"))
				s.After(time.Second, 1, tt.action)
				s.After(time.Second, 2, j.says("b"))
				s.After(2*time.Second, 0, tt.action)
				s.After(2*time.Second, 1, j.says("c"))
				err := s.Run(bg)
				if err == nil || err.Error() != tt.want || !errors.Is(err, errFail) {
					t.Errorf("%v, want %s", err, tt.want)
				}
				var p *sched.PanicError
				if errors.As(err, &p) && !strings.Contains(string(p.Stack), "sched_test") {
					t.Errorf("stack %s", p.Stack)
				}
				j.want(t, "1s a")
				if len(s.Pending()) != 3 {
					t.Errorf("%d are left, want 3", len(s.Pending()))
				}
				time.Sleep(time.Second)
				if _, _, err := s.RunDue(bg); !errors.Is(err, errFail) {
					t.Errorf("%v", err)
				}
				if err := s.Run(bg); err != nil {
					t.Error(err)
				}
				j.want(t, "2s b", "2s c")
			})
		})
	}
}

// An action that calls Goexit ends the goroutine of Run; another can go on.
func TestGoexitLeavesTheRest(t *testing.T) {
	bubble(t, func(t *testing.T, s *sched.Scheduler, j *journal) {
		s.After(0, 0, func(context.Context) error { runtime.Goexit(); return nil })
		s.After(time.Second, 0, j.says("a"))
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = s.Run(bg)
			t.Error("Run has returned")
		})
		wg.Wait()
		if err := s.Run(bg); err != nil {
			t.Error(err)
		}
		j.want(t, "1s a")
	})
}

func TestCtxEndsRun(t *testing.T) {
	bubble(t, func(t *testing.T, s *sched.Scheduler, j *journal) {
		s.After(time.Hour, 0, j.says("a"))
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		if err := s.Run(ctx); err != context.DeadlineExceeded || time.Since(j.start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(j.start))
		}
		if _, _, err := s.RunDue(ctx); err != context.DeadlineExceeded {
			t.Errorf("%v", err)
		}
		// An action that always enters another one does not keep ctx from being seen.
		ctx, cancel = context.WithCancel(bg)
		n := 0
		var again func(context.Context) error
		again = func(got context.Context) error {
			if got != ctx {
				t.Error("the action was given another ctx")
			}
			n++
			if n == 5 {
				cancel()
			}
			s.After(0, 0, again)
			return nil
		}
		s.After(0, 0, again)
		if err := s.Run(ctx); err != context.Canceled || n != 5 {
			t.Errorf("%v after %d calls", err, n)
		}
		if s.Len() != 2 {
			t.Errorf("%d events are left, want 2", s.Len())
		}
	})
}

// What changes just when ctx ends does not hide that end.
func TestCtxEndsAtTheMomentOfAChange(t *testing.T) {
	for range 100 {
		bubble(t, func(t *testing.T, s *sched.Scheduler, j *journal) {
			s.After(time.Hour, 0, j.says("hour"))
			ctx, cancel := context.WithCancel(bg)
			run := inBackground(ctx, s)
			go s.After(time.Minute, 0, j.says("minute"))
			go cancel()
			if err := <-run; err != context.Canceled {
				t.Errorf("%v", err)
			}
			j.want(t)
		})
	}
}

// Many enter, many cancel, many run: each event that was not canceled runs once, and
// exactly at its time, since here time passes only when all wait.
func TestManyGoroutines(t *testing.T) {
	bubble(t, func(t *testing.T, s *sched.Scheduler, j *journal) {
		const n, each = 8, 200
		var mu sync.Mutex
		ran := map[int]int{}
		canceled := map[int]bool{}
		keep := s.After(time.Hour, 0, func(context.Context) error { return nil }) // so that Run does not end
		var runs []<-chan error
		for range 3 {
			runs = append(runs, inBackground(bg, s))
		}
		var wg sync.WaitGroup
		for g := range n {
			r := rand.New(rand.NewPCG(uint64(g), 5))
			wg.Go(func() {
				for i := range each {
					id := g*each + i
					due := time.Now().Add(time.Duration(r.IntN(5)) * time.Second)
					e := s.At(due, r.IntN(3), func(context.Context) error {
						mu.Lock()
						defer mu.Unlock()
						ran[id]++
						if !time.Now().Equal(due) {
							t.Errorf("event %d ran %v late", id, time.Since(due))
						}
						return nil
					})
					if r.IntN(4) == 0 {
						time.Sleep(time.Duration(r.IntN(4)) * time.Second)
						ok := s.Cancel(e)
						mu.Lock()
						canceled[id] = ok
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(10 * time.Second)
		if !s.Cancel(keep) {
			t.Error("the last event has run")
		}
		for _, run := range runs {
			if err := <-run; err != nil {
				t.Error(err)
			}
		}
		if s.Sleepers() != 0 {
			t.Errorf("%d still sleep", s.Sleepers())
		}
		for id := range n * each {
			if want := 1; ran[id] != want && !canceled[id] || canceled[id] && ran[id] != 0 {
				t.Fatalf("event %d: ran %d times, canceled %v", id, ran[id], canceled[id])
			}
		}
	})
}

// A clock that fails.
type badClock struct{ time.Time }

func (c badClock) Now() time.Time { return c.Time }
func (c badClock) Sleep(_ context.Context, d time.Duration) error {
	return fmt.Errorf("slept %v: %w", d, errFail)
}

func TestErrorOfTheClock(t *testing.T) {
	s := sched.New(badClock{time.Unix(0, 0)})
	s.After(time.Second, 0, func(context.Context) error { return nil })
	for range 2 {
		if err := s.Run(bg); !errors.Is(err, errFail) || err.Error() != "slept 1s: fail" {
			t.Errorf("%v", err)
		}
	}
	if s.Len() != 1 {
		t.Errorf("%d events", s.Len())
	}
}

func TestMisuse(t *testing.T) {
	defer func() {
		if v := recover(); v != "sched: event without an action" {
			t.Errorf("panicked with %v", v)
		}
	}()
	sched.New(nil).After(0, 0, nil)
}

// Times from the ends of time do not upset the order.
func TestTimesAtTheEndsOfTime(t *testing.T) {
	s := sched.New(nil)
	nothing := func(context.Context) error { return nil }
	late := s.At(time.Unix(1<<40, 0), 0, nothing)
	soon := s.After(time.Hour, 0, nothing)
	early := s.At(time.Time{}, 0, nothing)
	if !slices.Equal(s.Pending(), []*sched.Event{early, soon, late}) {
		t.Error("not in order")
	}
	if next, ok, err := s.RunDue(bg); next <= 0 || !ok || err != nil || s.Len() != 2 {
		t.Errorf("%v, %v, %v", next, ok, err)
	}
}

// A taskClock is the clock of a loop, for Run in a task.
type taskClock struct{ *loop.Loop }

func (taskClock) Sleep(ctx context.Context, d time.Duration) error { return task.Sleep(ctx, d) }

// On a loop, in virtual time: Run in one task, changes from another, and both ways to
// end it.
func TestInATask(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		start := l.Now()
		s := sched.New(taskClock{l})
		var lines []string
		says := func(what string) func(context.Context) error {
			return func(ctx context.Context) error {
				lines = append(lines, fmt.Sprintf("%v %s", l.Now().Sub(start), what))
				return task.Sleep(ctx, time.Second) // an action may wait
			}
		}
		s.After(time.Hour, 0, says("hour"))
		run := task.Go(ctx, s.Run)
		if err := task.Sleep(ctx, time.Minute); err != nil {
			return err
		}
		s.After(time.Minute, 0, says("minute"))
		if _, err := run.Await(ctx); err != nil {
			return err
		}
		want := []string{"2m0s minute", "1h0m0s hour"}
		if !slices.Equal(lines, want) {
			t.Errorf("%q, want %q", lines, want)
		}

		s.After(time.Hour, 0, says("never"))
		run = task.Go(ctx, s.Run)
		if err := task.Sleep(ctx, time.Minute); err != nil {
			return err
		}
		s.After(time.Minute, 0, says("never")) // wakes it in the turn in which it is canceled
		run.Cancel(errFail)
		_, err := run.Await(ctx)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, errFail) {
			t.Errorf("canceled: %v", err)
		}
		sub, cancel := task.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := s.Run(sub); !errors.Is(err, context.DeadlineExceeded) || s.Len() != 2 {
			t.Errorf("timeout: %v, %d left", err, s.Len())
		}
		return nil
	})
}
