//go:build !race

// The race detector has memory of its own.

package task_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// A restMachine waits for one future for ever.
type restMachine struct{ f *future.Future[struct{}] }

func (m *restMachine) Step(_ context.Context, thrown error) (future.Waiter, error) {
	if thrown != nil {
		return task.Done, thrown
	}
	return m.f, nil
}
func (m *restMachine) Result() struct{} { return struct{}{} }

func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func TestLargeParkedTasksCostLittle(t *testing.T) {
	const n = 100_000
	for _, tt := range []struct {
		name  string
		limit uint64 // bytes a task
		start func(ctx context.Context, f *future.Future[struct{}])
	}{
		// The machine's own 8 bytes and its place among the future's watchers are
		// part of it.
		{"machine", 256, func(ctx context.Context, f *future.Future[struct{}]) {
			task.StartMachine(ctx, &restMachine{f})
		}},
		{"function", 4096, func(ctx context.Context, f *future.Future[struct{}]) {
			task.Go(ctx, func(ctx context.Context) error { _, err := f.Await(ctx); return err })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				fs := make([]*future.Future[struct{}], n)
				for i := range fs {
					fs[i], _ = future.New[struct{}](l)
				}
				yield(ctx, 1)
				before := memory()
				for _, f := range fs {
					tt.start(ctx, f)
				}
				yield(ctx, 2)
				per := (memory() - before) / n
				t.Logf("%d bytes a parked task", per)
				if per > tt.limit {
					t.Errorf("%d bytes a parked task, want at most %d", per, tt.limit)
				}
				runtime.KeepAlive(fs)
			})
		})
	}
}
