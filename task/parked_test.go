//go:build !race

// The race detector has memory of its own.

package task_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
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

// A process of its own: the runtime gives new stacks the size that those of before
// have had on the average.
func TestLargeParkedTasksCostLittle(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit int // bytes a task
	}{
		// The machine's own 8 bytes and its place among the future's watchers are
		// part of it.
		{"machine", 256},
		{"function", 4096},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := strings.TrimSpace(childOutput(t, "parked "+tt.name))
			per, err := strconv.Atoi(out)
			if err != nil {
				t.Fatalf("the child said %q", out)
			}
			t.Logf("%d bytes a parked task", per)
			if per > tt.limit {
				t.Errorf("%d bytes a parked task, want at most %d", per, tt.limit)
			}
		})
	}
}

func init() {
	children["parked machine"] = func() {
		parked(func(ctx context.Context, f *future.Future[struct{}]) {
			task.StartMachine(ctx, &restMachine{f})
		})
	}
	children["parked function"] = func() {
		parked(func(ctx context.Context, f *future.Future[struct{}]) {
			task.Go(ctx, func(ctx context.Context) error { _, err := f.Await(ctx); return err })
		})
	}
}

// parked prints the bytes of a task that waits for a future.
func parked(start func(ctx context.Context, f *future.Future[struct{}])) {
	const n = 100_000
	err := task.Run(context.Background(), func(ctx context.Context) error {
		fs := make([]*future.Future[struct{}], n)
		for i := range fs {
			fs[i], _ = future.New[struct{}](loop.FromContext(ctx))
		}
		yield(ctx, 1)
		before := memory()
		for _, f := range fs {
			start(ctx, f)
		}
		yield(ctx, 2)
		fmt.Println((memory() - before) / n)
		runtime.KeepAlive(fs)
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
}
