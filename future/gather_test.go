package future_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/cputime"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

func TestEdge065_GatherOfWhatIsDone(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var fs []*future.Future[int]
		for i := range 3 {
			f, p := future.New[int](l)
			p.Resolve(i)
			fs = append(fs, f)
		}
		if g := future.Gather(l, fs...); !g.Done() || fmt.Sprint(g) != "future resolved [0 1 2]" {
			t.Errorf("all done: %v", g)
		}
		if g := future.Gather[*future.Future[int]](l); !g.Done() {
			t.Errorf("of nothing: %v", g)
		}
		bad, p := future.New[int](l)
		p.Fail(errBoom)
		pending, _ := future.New[int](l)
		if g := future.Gather(l, pending, bad); g.State() != future.Failed || g.Err() != errBoom {
			t.Errorf("one failed already: %v", g)
		}
		if g := future.GatherAll(l, fs[1], bad); !g.Done() || g.Outcome().Value[0].Value != 1 || g.Outcome().Value[1].Err != errBoom {
			t.Errorf("GatherAll: %v", g)
		}
	})
}

func TestEdge063_CancelOfAGatherCancelsTheChildren(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, _ := future.New[int](l)
		g, p := future.New[int](l)
		p.Resolve(1)
		all := future.GatherAll(l, f, g)
		if !all.Cancel(errBoom) || !f.Canceled() || all.Done() {
			t.Errorf("GatherAll: %v, child %v", all, f)
		}
		if _, err := all.Await(ctx); outcome(err) != "Canceled(boom)" && outcome(err) != "Canceled" {
			t.Errorf("GatherAll ended with %v", err)
		}
		// Nothing left to cancel: all children are done, their callbacks on the way.
		f, p = future.New[int](l)
		one := future.Gather(l, f)
		p.Resolve(5)
		if one.Cancel(nil) {
			t.Error("Cancel has an effect although no child is pending")
		}
		if vs, err := one.Await(ctx); !slices.Equal(vs, []int{5}) || err != nil {
			t.Errorf("%v, %v", vs, err)
		}
	})
}

func TestGatherOfManyKinds(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		tasks := []*task.Task[int]{}
		for i := range 5 {
			tasks = append(tasks, task.Start(ctx, func(ctx context.Context) (int, error) {
				return i, task.Sleep(ctx, time.Duration(5-i)*time.Second)
			}))
		}
		if vs, err := future.Gather(l, tasks...).Await(ctx); !slices.Equal(vs, []int{0, 1, 2, 3, 4}) || err != nil {
			t.Errorf("%v, %v", vs, err)
		}
	})
}

func TestEdge071_ShieldBothDirections(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		f, p := future.New[int](l)
		s := future.Shield(f)
		if !s.Cancel(errBoom) || f.Done() || s.Cancel(nil) {
			t.Errorf("outer canceled: %v, inner %v", s, f)
		}
		p.Resolve(1)
		yield(ctx, 2)
		if _, err := s.Result(); outcome(err) != "Canceled(boom)" {
			t.Errorf("outer: %v", err)
		}
		for _, tt := range []struct {
			settle func(p future.Promise[int])
			want   string
		}{
			{func(p future.Promise[int]) { p.Resolve(5) }, "5 ok"},
			{func(p future.Promise[int]) { p.Fail(errBoom) }, "0 boom"},
			{func(p future.Promise[int]) { p.Future().Cancel(errBoom) }, "0 Canceled(boom)"},
		} {
			f, p := future.New[int](l)
			s := future.Shield(f)
			tt.settle(p)
			if s.Done() {
				t.Error("settled without a turn")
			}
			v, err := s.Await(ctx)
			if got := fmt.Sprint(v, " ", outcome(err)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if future.Shield(f) != f {
				t.Error("a settled one is not returned itself")
			}
		}
		// Canceled between the inner's end and its callback.
		f, p = future.New[int](l)
		s = future.Shield(f)
		p.Resolve(1)
		if !s.Cancel(nil) {
			t.Error("Cancel has no effect")
		}
		yield(ctx, 2)
		if !s.Canceled() {
			t.Errorf("got %v", s)
		}
	})
}

func TestLargeManyShieldsOfOneFuture(t *testing.T) {
	n := 100_000
	if raceEnabled {
		n = 2_000
	}
	run(t, func(ctx context.Context, l *loop.Loop) {
		start := cputime.Used()
		f, p := future.New[int](l)
		ss := make([]*future.Future[int], n)
		for i := range ss {
			ss[i] = future.Shield(f)
		}
		for i := range ss {
			if i%2 == 0 {
				ss[i].Cancel(nil)
			}
		}
		p.Resolve(1)
		yield(ctx, 2)
		for i, s := range ss {
			if s.Canceled() != (i%2 == 0) || !s.Done() {
				t.Fatalf("%d: %v", i, s)
			}
		}
		if d := cputime.Used() - start; d > 2*time.Second && !raceEnabled {
			t.Errorf("took %v", d)
		}
	})
}
