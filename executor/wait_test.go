package executor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/future"
)

// A stage has jobs that end when they are told to, in that order.
type stage struct {
	jobs []*executor.Job[int]
	ends []chan error
}

func newStage(t testing.TB, n int) *stage {
	p := newPool(t, executor.Config{Limit: n})
	s := new(stage)
	for i := range n {
		end := make(chan error, 1)
		s.ends = append(s.ends, end)
		s.jobs = append(s.jobs, executor.Go(p, func(ctx context.Context) (int, error) {
			select {
			case err := <-end:
				return i, err
			case <-ctx.Done():
				return i, ctx.Err()
			}
		}))
	}
	return s
}

// end ends job i, and waits until it has.
func (s *stage) end(i int, err error) {
	s.ends[i] <- err
	<-s.jobs[i].Done()
}

// indexes tells which of all jobs are.
func (s *stage) indexes(jobs []*executor.Job[int]) []int {
	var is []int
	for _, j := range jobs {
		is = append(is, slices.Index(s.jobs, j))
	}
	return is
}

func TestWait(t *testing.T) {
	canceled := &future.CanceledError{}
	type step struct {
		job int
		err error
	}
	for _, tt := range []struct {
		name   string
		when   executor.When
		before []step
		after  []step // the last of these ends the wait
		done   []int
		rest   []int
	}{
		{"all", executor.AllCompleted, nil, []step{{2, nil}, {0, io.EOF}, {1, nil}}, []int{0, 1, 2}, nil},
		{"all, done before", executor.AllCompleted, []step{{1, nil}, {0, nil}, {2, nil}}, nil, []int{0, 1, 2}, nil},
		{"first", executor.FirstCompleted, nil, []step{{1, nil}}, []int{1}, []int{0, 2}},
		{"first, done before", executor.FirstCompleted, []step{{2, nil}}, nil, []int{2}, []int{0, 1}},
		{"exception", executor.FirstException, nil, []step{{2, nil}, {1, io.EOF}}, []int{1, 2}, []int{0}},
		{"exception, done before", executor.FirstException, []step{{0, io.EOF}}, nil, []int{0}, []int{1, 2}},
		{"no exception", executor.FirstException, nil, []step{{2, nil}, {0, canceled}, {1, nil}}, []int{0, 1, 2}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t, 3)
			for _, e := range tt.before {
				s.end(e.job, e.err)
			}
			var early []int
			var wg sync.WaitGroup
			over := make(chan struct{})
			wg.Go(func() {
				defer close(over)
				// One twice: it is returned once.
				done, pending, err := executor.Wait(context.Background(), tt.when, s.jobs[0], s.jobs[1], s.jobs[0], s.jobs[2])
				if d, p := s.indexes(done), s.indexes(pending); err != nil || !slices.Equal(d, tt.done) || !slices.Equal(p, tt.rest) {
					t.Errorf("got %v and %v, %v, want %v and %v", d, p, err, tt.done, tt.rest)
				}
			})
			for i, e := range tt.after {
				select {
				case <-over:
					early = append(early, i)
				case <-time.After(time.Millisecond):
				}
				s.end(e.job, e.err)
			}
			wg.Wait()
			if early != nil {
				t.Errorf("returned before steps %v", early)
			}
		})
	}
}

func TestWaitEnds(t *testing.T) {
	bg := context.Background()
	s := newStage(t, 3)
	s.end(1, nil)
	start := time.Now()
	done, pending, err := executor.WaitTimeout(bg, 5*time.Millisecond, executor.AllCompleted, s.jobs...)
	if d, p := s.indexes(done), s.indexes(pending); err != nil || !slices.Equal(d, []int{1}) || !slices.Equal(p, []int{0, 2}) {
		t.Errorf("after the time: %v and %v, %v", d, p, err)
	}
	if took := time.Since(start); took < 5*time.Millisecond {
		t.Errorf("returned after %v", took)
	}
	if _, _, err := executor.WaitTimeout(bg, 0, executor.AllCompleted, s.jobs...); err != nil {
		t.Errorf("without any time: %v", err)
	}
	ctx, cancel := context.WithCancelCause(bg)
	cancel(io.EOF)
	done, pending, err = executor.Wait(ctx, executor.AllCompleted, s.jobs...)
	if !errors.Is(err, io.EOF) || !errors.Is(err, context.Canceled) || len(done) != 1 || len(pending) != 2 {
		t.Errorf("with an ended ctx: %v and %v, %v", s.indexes(done), s.indexes(pending), err)
	}
	done, pending, err = executor.Wait[*executor.Job[int]](bg, executor.AllCompleted)
	if done != nil || pending != nil || err != nil {
		t.Errorf("for nothing: %v, %v, %v", done, pending, err)
	}
	// Jobs of several types.
	other := executor.Go(newPool(t, executor.Config{}), func(context.Context) (string, error) { return "", nil })
	<-other.Done()
	mixed, _, err := executor.Wait[executor.AnyJob](bg, executor.FirstCompleted, s.jobs[0], other)
	if err != nil || len(mixed) != 1 || mixed[0] != executor.AnyJob(other) {
		t.Errorf("mixed: %v, %v", mixed, err)
	}
}

func TestAsCompleted(t *testing.T) {
	for _, before := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			s := newStage(t, 4)
			order := []int{2, 0, 3, 1}
			want := append(slices.Sorted(slices.Values(order[:before])), order[before:]...)
			for _, i := range order[:before] {
				s.end(i, nil)
			}
			var got []int
			for j, err := range executor.AsCompleted(context.Background(), s.jobs[0], s.jobs[1], s.jobs[2], s.jobs[3], s.jobs[0]) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, slices.Index(s.jobs, j))
				if n := len(got); n >= before && n < len(order) {
					s.ends[order[n]] <- nil // not before: those that are done already come in another order
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("came in order %v, want %v", got, want)
			}
		})
	}
}

func TestAsCompletedEnds(t *testing.T) {
	bg := context.Background()
	canceled, cancel := context.WithCancelCause(bg)
	cancel(io.EOF)
	for _, tt := range []struct {
		name string
		ctx  context.Context
		d    time.Duration
		is   []error
	}{
		{"timeout", bg, 5 * time.Millisecond, []error{executor.ErrTimeout, context.DeadlineExceeded}},
		{"no time", bg, 0, []error{executor.ErrTimeout}},
		{"ctx", canceled, -1, []error{io.EOF, context.Canceled}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t, 3)
			s.end(1, nil)
			var got []int
			var last error
			for j, err := range executor.AsCompletedTimeout(tt.ctx, tt.d, s.jobs...) {
				if last != nil {
					t.Error("an error was not the last")
				}
				if last = err; err == nil {
					got = append(got, slices.Index(s.jobs, j))
				}
			}
			for _, is := range tt.is {
				if !errors.Is(last, is) {
					t.Errorf("ended with %v, want %v", last, is)
				}
			}
			if !slices.Equal(got, []int{1}) {
				t.Errorf("came: %v, want [1]", got)
			}
		})
	}
	// Leaving the loop cancels nothing.
	s := newStage(t, 2)
	s.end(0, nil)
	for range executor.AsCompleted(bg, s.jobs...) {
		break
	}
	if s.jobs[1].Err() != future.ErrNotDone {
		t.Errorf("left alone: %v", s.jobs[1])
	}
	for range executor.AsCompleted[executor.AnyJob](bg) {
		t.Error("something came of nothing")
	}
	if !errors.Is(executor.ErrTimeout, context.DeadlineExceeded) || executor.ErrTimeout.Error() != "executor: timeout" {
		t.Errorf("ErrTimeout is %v", executor.ErrTimeout)
	}
}

// Jobs that wait for others of their own pool get an error where they would hang.
func TestDeadlock(t *testing.T) {
	bg := context.Background()
	type waiter func(ctx context.Context, p *executor.Pool, j *executor.Job[int]) error
	for name, wait := range map[string]waiter{
		"Result": func(ctx context.Context, _ *executor.Pool, j *executor.Job[int]) error {
			_, err := j.Result(ctx)
			return err
		},
		"derived": func(ctx context.Context, _ *executor.Pool, j *executor.Job[int]) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			_, err := j.Result(ctx)
			return err
		},
		"Wait": func(ctx context.Context, _ *executor.Pool, j *executor.Job[int]) error {
			done, pending, err := executor.Wait(ctx, executor.AllCompleted, j)
			if err == executor.ErrDeadlock && len(done)+len(pending) != 1 {
				t.Errorf("got %v, %v", done, pending)
			}
			return err
		},
		"AsCompleted": func(ctx context.Context, _ *executor.Pool, j *executor.Job[int]) error {
			for _, err := range executor.AsCompleted(ctx, j) {
				return err
			}
			return nil
		},
		"Map": func(ctx context.Context, p *executor.Pool, _ *executor.Job[int]) error {
			for _, err := range executor.Map(ctx, p, slices.Values([]int{1, 2}), square, executor.MapConfig{}) {
				return err
			}
			return nil
		},
		"MapUnordered": func(ctx context.Context, p *executor.Pool, _ *executor.Job[int]) error {
			for _, err := range executor.MapUnordered(ctx, p, slices.Values([]int{1, 2}), square, executor.MapConfig{}) {
				return err
			}
			return nil
		},
	} {
		for _, limit := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s of %d", name, limit), func(t *testing.T) {
				p := newPool(t, executor.Config{Limit: limit})
				var ready sync.WaitGroup
				ready.Add(limit)
				var outer []*executor.Job[int]
				for range limit {
					outer = append(outer, executor.Go(p, func(ctx context.Context) (int, error) {
						ready.Done()
						ready.Wait() // now every place is taken
						return 0, wait(ctx, p, executor.Go(p, nothing))
					}))
				}
				deadlocks := 0
				for _, j := range outer {
					_, err := j.Result(bg)
					if errors.Is(err, executor.ErrDeadlock) {
						deadlocks++
					} else if err != nil {
						t.Error(err)
					}
				}
				if deadlocks == 0 || limit == 3 && deadlocks == limit {
					t.Errorf("%d of %d got ErrDeadlock: as few as possible should, and one must", deadlocks, limit)
				}
			})
		}
	}
}

// Where another place, another lane or another pool is left, waiting is fine.
func TestNoDeadlock(t *testing.T) {
	bg := context.Background()
	p := newPool(t, executor.Config{Limit: 2})
	other := newPool(t, executor.Config{Limit: 1})
	for name, ex := range map[string]executor.Executor{
		"a place": p, "a lane": p.Lane("other", executor.LaneConfig{Limit: 1}), "a pool": other,
	} {
		for range 200 {
			j := executor.Go(p, func(ctx context.Context) (int, error) { return executor.Go(ex, nothing).Result(ctx) })
			if v, err := j.Result(bg); v != 1 || err != nil {
				t.Fatalf("%s: %d, %v", name, v, err)
			}
		}
	}
	// All places wait, but for jobs elsewhere.
	for name, ex := range map[string]executor.Executor{
		"a lane": p.Lane("held", executor.LaneConfig{Limit: 1}), "a pool": newPool(t, executor.Config{Limit: 1}),
	} {
		open := occupy(ex, 1)
		far := executor.Go(ex, nothing)
		var jobs []*executor.Job[int]
		for range 2 {
			jobs = append(jobs, executor.Go(p, func(ctx context.Context) (int, error) { return far.Result(ctx) }))
		}
		until(t, "both run", func() bool { return jobs[0].Running() && jobs[1].Running() })
		time.Sleep(5 * time.Millisecond) // and wait
		open()
		for _, j := range jobs {
			if _, err := j.Result(bg); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	// A pool so full that each place is always needed, and waits are short.
	busy := newPool(t, executor.Config{Limit: 4})
	var jobs []*executor.Job[int]
	for range 3 {
		jobs = append(jobs, executor.Go(busy, func(ctx context.Context) (int, error) {
			for range 2000 {
				if _, err := executor.Go(busy, nothing).Result(ctx); err != nil {
					return 0, err
				}
			}
			return 0, nil
		}))
	}
	for _, j := range jobs {
		if _, err := j.Result(bg); err != nil {
			t.Error(err)
		}
	}
}

// A wait that is over counts no longer, also before the job that waited has noticed.
func TestNoDeadlockWhenAWaitIsOver(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := newPool(t, executor.Config{Limit: 2})
	end := make(chan struct{})
	var ctx context.Context
	first := executor.Go(p, func(c context.Context) (int, error) {
		ctx = c
		<-end
		return 1, nil
	})
	waits := executor.Go(p, func(ctx context.Context) (int, error) { return first.Result(ctx) })
	until(t, "both run", func() bool { return first.Running() && waits.Running() })
	time.Sleep(5 * time.Millisecond) // and one waits
	got := make(chan error, 1)
	first.OnDone(func() { // in the place of first, which is done
		_, err := executor.Go(p, nothing).Result(ctx)
		got <- err
	})
	close(end)
	if err := <-got; errors.Is(err, executor.ErrDeadlock) {
		t.Errorf("error is %v while a wait was over", err)
	}
	if _, err := waits.Result(t.Context()); err != nil {
		t.Error(err)
	}
}
