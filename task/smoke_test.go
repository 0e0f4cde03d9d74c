package task_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

func TestSmoke(t *testing.T) {
	err := task.Run(context.Background(), func(ctx context.Context) error {
		a := task.Start(ctx, func(ctx context.Context) (int, error) {
			return 1, task.Sleep(ctx, time.Millisecond)
		})
		b := task.Start(ctx, func(ctx context.Context) (int, error) {
			return 2, task.Sleep(ctx, time.Millisecond)
		})
		v, err := task.Gather(ctx, a, b)
		fmt.Println(v, err)
		_, err = task.Gather(ctx, []*future.Future[int]{a.Future, b.Future}...)
		err = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			g.Go(func(ctx context.Context) error { return task.Sleep(ctx, time.Hour) })
			g.Go(func(ctx context.Context) error { return errors.New("boom") })
			return task.Sleep(ctx, time.Hour)
		})
		fmt.Println(err)
		err = task.Timeout(ctx, time.Millisecond, func(ctx context.Context, s *task.TimeoutScope) error {
			return task.Sleep(ctx, time.Hour)
		})
		fmt.Println(err)
		sub, cancel := task.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		fmt.Println(task.Sleep(sub, time.Hour), task.Sleep(sub, time.Hour))
		sub2, cancel2 := context.WithTimeout(ctx, time.Millisecond)
		defer cancel2()
		fmt.Println(task.Sleep(sub2, time.Hour), task.Sleep(sub2, time.Hour))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func run(b *testing.B, fn func(ctx context.Context, l *loop.Loop) error) {
	err := task.Run(context.Background(), func(ctx context.Context) error {
		return fn(ctx, loop.FromContext(ctx))
	})
	if err != nil {
		b.Fatal(err)
	}
}

type chain struct {
	l *loop.Loop
	n int
	p future.Promise[struct{}]
}

func (c *chain) Run() {
	if c.n--; c.n <= 0 {
		c.p.Resolve(struct{}{})
		return
	}
	c.l.Queue(c)
}

func BenchmarkQueueChain(b *testing.B) {
	run(b, func(ctx context.Context, l *loop.Loop) error {
		b.ReportAllocs()
		f, p := future.New[struct{}](l)
		c := &chain{l, b.N, p}
		l.Queue(c)
		_, err := f.Await(ctx)
		return err
	})
}

func BenchmarkCallSoonChain(b *testing.B) {
	run(b, func(ctx context.Context, l *loop.Loop) error {
		b.ReportAllocs()
		f, p := future.New[struct{}](l)
		n := b.N
		var fn func()
		fn = func() {
			if n--; n <= 0 {
				p.Resolve(struct{}{})
				return
			}
			l.CallSoon(fn)
		}
		l.CallSoon(fn)
		_, err := f.Await(ctx)
		return err
	})
}

type resolver struct{ p future.Promise[int] }

func (r *resolver) Run() { r.p.Resolve(1) }

func BenchmarkAwait(b *testing.B) {
	run(b, func(ctx context.Context, l *loop.Loop) error {
		b.ReportAllocs()
		r := &resolver{}
		for range b.N {
			f, p := future.New[int](l)
			r.p = p
			l.Queue(r)
			if _, err := f.Await(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

func BenchmarkSpawn(b *testing.B) {
	run(b, func(ctx context.Context, l *loop.Loop) error {
		b.ReportAllocs()
		n := 0
		for range b.N {
			task.Start(ctx, func(ctx context.Context) (int, error) { return 1, nil })
			if n++; n == 100 {
				n = 0
				task.Yield(ctx)
			}
		}
		return nil
	})
}

type mach struct {
	l *loop.Loop
	f future.Future[int]
	p future.Promise[int]
	n int
}

func (m *mach) Run() { m.p.Resolve(1) }
func (m *mach) Step(ctx context.Context, thrown error) (future.Waiter, error) {
	if m.n--; m.n <= 0 {
		return task.Done, nil
	}
	m.p = future.Init(&m.f, m.l, nil)
	m.l.Queue(m)
	return &m.f, nil
}
func (m *mach) Result() int { return 0 }

func BenchmarkMachine(b *testing.B) {
	run(b, func(ctx context.Context, l *loop.Loop) error {
		b.ReportAllocs()
		_, err := task.StartMachine(ctx, &mach{l: l, n: b.N}).Await(ctx)
		return err
	})
}
