package task_test

import (
	"context"
	"testing"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

func runBench(b *testing.B, fn func(ctx context.Context, l *loop.Loop) error) {
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
	runBench(b, func(ctx context.Context, l *loop.Loop) error {
		b.ReportAllocs()
		f, p := future.New[struct{}](l)
		c := &chain{l, b.N, p}
		l.Queue(c)
		_, err := f.Await(ctx)
		return err
	})
}

func BenchmarkCallSoonChain(b *testing.B) {
	runBench(b, func(ctx context.Context, l *loop.Loop) error {
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
	runBench(b, func(ctx context.Context, l *loop.Loop) error {
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
	runBench(b, func(ctx context.Context, l *loop.Loop) error {
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
	runBench(b, func(ctx context.Context, l *loop.Loop) error {
		b.ReportAllocs()
		_, err := task.StartMachine(ctx, &mach{l: l, n: b.N}).Await(ctx)
		return err
	})
}
