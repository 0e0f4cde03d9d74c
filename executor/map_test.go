package executor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/internal/testkit"
)

// numbers is 0 to n-1, or without end if n is negative. It notes how far it is read.
func numbers(n int, read *int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i != n; i++ {
			*read = i + 1
			if !yield(i) {
				return
			}
		}
	}
}

func TestMap(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 4, Queue: 1}) // whose queue does not limit a Map
	for _, n := range []int{0, 1, 2, 9, 100} {
		for _, cfg := range []executor.MapConfig{
			{}, {Buffer: 1}, {Chunk: 1, Buffer: 3}, {Chunk: 7}, {Chunk: 7, Buffer: 1}, {Chunk: 1000, Buffer: 1000},
		} {
			t.Run(fmt.Sprintf("%d %+v", n, cfg), func(t *testing.T) {
				read := 0
				var got, want []int
				for i := range n {
					want = append(want, i*i)
				}
				seq := executor.Map(context.Background(), p, numbers(n, &read), func(ctx context.Context, v int) (int, error) {
					for range (n - v) % 5 {
						runtime.Gosched() // the order of finishing is another
					}
					return v * v, nil
				}, cfg)
				for range 2 { // it may be ranged over again
					got = nil
					for v, err := range seq {
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, v)
					}
					if !slices.Equal(got, want) {
						t.Errorf("got %v, want %v", got, want)
					}
				}
			})
		}
	}
}

func TestMapIsLazy(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 4})
	for _, tt := range []struct {
		cfg  executor.MapConfig
		most int // values read ahead of the results
	}{
		{executor.MapConfig{}, 8}, {executor.MapConfig{Buffer: 3}, 3}, {executor.MapConfig{Chunk: 5, Buffer: 2}, 10},
	} {
		t.Run(fmt.Sprintf("%+v", tt.cfg), func(t *testing.T) {
			read, got := 0, 0
			seq := executor.Map(context.Background(), p, numbers(-1, &read), square, tt.cfg)
			if read != 0 {
				t.Errorf("%d values were read before the range", read)
			}
			for v, err := range seq {
				if v != got*got || err != nil {
					t.Fatalf("result %d is %d, %v", got, v, err)
				}
				if read-got > tt.most {
					t.Fatalf("%d values were read at result %d, want no more than %d ahead", read, got, tt.most)
				}
				if got++; got == 1000 {
					break
				}
			}
		})
	}
}

func TestMapFails(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 4})
	closed := executor.New(executor.Config{})
	if err := closed.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		ex    executor.Executor
		fault func(v int) error // of value 20 and of those behind it
		index int
		is    error
		text  string
	}{
		{"error", p, func(int) error { return io.EOF }, 20, io.EOF, "executor: map of value 20: EOF"},
		{"panic", p, func(v int) error { panic(v) }, 20, nil, "executor: map of value 20: "},
		{"Goexit", p, func(int) error { runtime.Goexit(); return nil }, 20, executor.ErrGoexit, "20"},
		{"closed", closed, nil, 0, executor.ErrClosed, "0"},
	} {
		for _, cfg := range []executor.MapConfig{{}, {Chunk: 8}, {Chunk: 100}} {
			t.Run(fmt.Sprintf("%s %+v", tt.name, cfg), func(t *testing.T) {
				var got, read int
				var last error
				for v, err := range executor.Map(context.Background(), tt.ex, numbers(-1, &read), func(_ context.Context, v int) (int, error) {
					if v >= 20 {
						return 0, tt.fault(v)
					}
					return v, nil
				}, cfg) {
					if last != nil {
						t.Fatal("an error was not the last")
					}
					if last = err; err == nil {
						if v != got {
							t.Errorf("result %d is %d", got, v)
						}
						got++
					}
				}
				var m *executor.MapError
				if !errors.As(last, &m) || m.Index != tt.index || got != tt.index || tt.is != nil && !errors.Is(last, tt.is) {
					t.Errorf("ended with %v after %d results, want %v after %d", last, got, tt.is, tt.index)
				}
				var pe *coro.PanicError
				if errors.As(last, &pe) != (tt.name == "panic") || !strings.Contains(last.Error(), tt.text) {
					t.Errorf("ended with %v, want %q in it", last, tt.text)
				}
			})
		}
	}
}

// Whoever leaves a Map early has what has not begun canceled, and what has, told.
func TestMapEndsEarly(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leave func(cancel context.CancelCauseFunc) (leave bool)
		is    error
	}{
		{"break", func(context.CancelCauseFunc) bool { return true }, nil},
		{"ctx", func(cancel context.CancelCauseFunc) bool { cancel(io.EOF); return false }, io.EOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := executor.New(executor.Config{Limit: 2})
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			var began, told atomic.Int32
			read := 0
			var last error
			started := make(chan struct{}, 10)
			for v, err := range executor.Map(ctx, p, numbers(-1, &read), func(ctx context.Context, v int) (int, error) {
				began.Add(1)
				started <- struct{}{}
				if v == 0 {
					return 0, nil
				}
				<-ctx.Done()
				told.Add(1)
				return 0, ctx.Err()
			}, executor.MapConfig{Buffer: 10}) {
				if last = err; err != nil {
					continue
				}
				if v != 0 {
					t.Errorf("result %d", v)
				}
				for range 3 { // the first, which has ended, and two that wait
					<-started
				}
				if tt.leave(cancel) {
					break
				}
			}
			if !errors.Is(last, tt.is) {
				t.Errorf("ended with %v, want %v", last, tt.is)
			}
			if err := p.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if began.Load() != 3 || told.Load() != 2 {
				t.Errorf("%d calls began and %d were told, want 3 and 2", began.Load(), told.Load())
			}
			if s := p.Stats(); s.Done != 3 || s.Done+s.Canceled > 10 || s.Done+s.Canceled < 3 {
				t.Errorf("stats are %+v", s)
			}
		})
	}
}

// A chunk that was interrupted makes no more calls.
func TestMapEndsInAChunk(t *testing.T) {
	p := executor.New(executor.Config{Limit: 1})
	ctx, cancel := context.WithCancel(context.Background())
	var calls atomic.Int32
	read := 0
	for _, err := range executor.Map(ctx, p, numbers(100, &read), func(ctx context.Context, v int) (int, error) {
		if calls.Add(1); v == 3 {
			cancel()
			<-ctx.Done()
		}
		return v, nil
	}, executor.MapConfig{Chunk: 100}) {
		if err != context.Canceled {
			t.Errorf("error is %v, want Canceled", err)
		}
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n := calls.Load(); n != 4 {
		t.Errorf("%d calls were made, want 4", n)
	}
}

// A panic of the input or of the consumer goes through, and ends what is under way.
func TestMapPanics(t *testing.T) {
	p := executor.New(executor.Config{Limit: 1})
	stuck := func(ctx context.Context, v int) (int, error) {
		if v > 0 {
			<-ctx.Done()
		}
		return v, ctx.Err()
	}
	testkit.WantPanic(t, "ouch", func() {
		for range executor.Map(context.Background(), p, func(yield func(int) bool) {
			for i := range 3 {
				yield(i)
			}
			panic("ouch")
		}, stuck, executor.MapConfig{Buffer: 10}) {
		}
	})
	read := 0
	testkit.WantPanic(t, "ouch", func() {
		for range executor.Map(context.Background(), p, numbers(5, &read), stuck, executor.MapConfig{}) {
			panic("ouch")
		}
	})
	if err := p.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	for what, fn := range map[string]func(){
		"Map without an executor": func() { executor.Map(t.Context(), nil, numbers(1, &read), square, executor.MapConfig{}) },
		"job without a function": func() {
			executor.Map[int, int](t.Context(), p, numbers(1, &read), nil, executor.MapConfig{})
		},
		"MapConfig is negative": func() {
			executor.Map(t.Context(), p, numbers(1, &read), square, executor.MapConfig{Chunk: -1})
		},
	} {
		testkit.WantPanic(t, "executor: "+what, fn)
	}
}

func TestMapUnordered(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 3})
	// Each call waits for the one behind it.
	var ended [4]chan struct{}
	for i := range ended {
		ended[i] = make(chan struct{})
	}
	close(ended[3])
	read := 0
	var got []int
	for v, err := range executor.MapUnordered(t.Context(), p, numbers(3, &read), func(_ context.Context, v int) (int, error) {
		<-ended[v+1]
		return v, nil
	}, executor.MapConfig{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v)
		close(ended[v])
	}
	if want := []int{2, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("came in order %v, want %v", got, want)
	}
}

func TestMapUnorderedIsLazyAndComplete(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 3})
	for _, tt := range []struct {
		cfg  executor.MapConfig
		most int // values read ahead of the results
	}{
		{executor.MapConfig{}, 6},
		{executor.MapConfig{Buffer: 1}, 1},
		{executor.MapConfig{Chunk: 7, Buffer: 3}, 21},
		{executor.MapConfig{Chunk: 1000}, 500},
	} {
		read := 0
		var got, want []int
		for i := range 500 {
			want = append(want, i)
		}
		for v, err := range executor.MapUnordered(t.Context(), p, numbers(500, &read), func(_ context.Context, v int) (int, error) {
			for range v % 5 {
				runtime.Gosched()
			}
			return v, nil
		}, tt.cfg) {
			if err != nil {
				t.Fatal(err)
			}
			if ahead := read - len(got); ahead > tt.most {
				t.Fatalf("%+v: %d values were read ahead, want no more than %d", tt.cfg, ahead, tt.most)
			}
			got = append(got, v)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%+v: got %v, want %v", tt.cfg, got, want)
		}
	}
}

func TestMapUnorderedFails(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 3})
	read := 0
	var last error
	for v, err := range executor.MapUnordered(t.Context(), p, numbers(-1, &read), func(ctx context.Context, v int) (int, error) {
		if v == 2 {
			return 0, io.EOF
		}
		<-ctx.Done()
		return v, ctx.Err()
	}, executor.MapConfig{}) {
		if last = err; err == nil {
			t.Errorf("result %d", v)
		}
	}
	var m *executor.MapError
	if !errors.As(last, &m) || m.Index != 2 || !errors.Is(last, io.EOF) {
		t.Errorf("ended with %v, want EOF of value 2", last)
	}
}

func TestMapUnorderedContext(t *testing.T) {
	p := newPool(t, executor.Config{Limit: 3})
	ctx, cancel := context.WithCancelCause(t.Context())
	read := 0
	var last error
	for _, last = range executor.MapUnordered(ctx, p, numbers(1, &read), func(ctx context.Context, v int) (int, error) {
		cancel(io.EOF)
		<-ctx.Done()
		return v, ctx.Err()
	}, executor.MapConfig{}) {
	}
	if !errors.Is(last, io.EOF) || !errors.Is(last, context.Canceled) {
		t.Errorf("ended with %v, want EOF", last)
	}
}

func TestMapValues(t *testing.T) {
	p := newPool(t, executor.Config{})
	ctx := context.WithValue(context.Background(), ctxKey{}, "kept")
	for v, err := range executor.Map(ctx, p, slices.Values([]int{1}), func(ctx context.Context, _ int) (any, error) {
		return ctx.Value(ctxKey{}), nil
	}, executor.MapConfig{}) {
		if v != "kept" || err != nil {
			t.Errorf("in Map the value is %v, %v", v, err)
		}
	}
}
