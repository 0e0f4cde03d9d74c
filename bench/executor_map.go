package main

import (
	"context"
	"iter"
	"runtime"
	"slices"
	"sync"

	"github.com/eddyloop/eddy/executor"
)

// executor_map: a call that does next to nothing for each of a million numbers, in
// chunks of a thousand on GOMAXPROCS workers; the results are added up in order.
//
//	eddy             executor.Map
//	goroutine        workers that take chunks from a channel, and a channel for the
//	                 results of each; it reads a sequence, ends at an error and keeps
//	                 no more than some chunks in memory, as Map does
//	goroutine-slice  workers that put results into a slice as long as the input, which
//	                 is a slice, too: no sequences, no errors; the addition comes last
var executorMap = bench{
	name:  "executor_map",
	procs: []int{1, 2},
	ops:   1_000_000,
	impls: []impl{
		{"eddy", mapOnPool, goal{ratio: 1.2}},
		{"goroutine", mapByHand, goal{}},
		{"goroutine-slice", mapSlices, goal{}},
	},
}

const mapChunk = 1000

func square(_ context.Context, n int) (int, error) { return n * n, nil }

// mapInput returns numbers, and the sum of their squares.
func mapInput(n int) (in []int, want int) {
	in = make([]int, n)
	for i := range in {
		in[i] = i
		want += i * i
	}
	return in, want
}

func mapOnPool(m *meter) {
	in, want := mapInput(m.n)
	ctx := context.Background()
	p := executor.New(executor.Config{Limit: runtime.GOMAXPROCS(0)})
	sum := 0
	m.start()
	for v, err := range executor.Map(ctx, p, slices.Values(in), square, executor.MapConfig{Chunk: mapChunk}) {
		must(err)
		sum += v
	}
	m.stop()
	must(p.Shutdown(ctx))
	mustBe(sum, want)
}

func mapByHand(m *meter) {
	in, want := mapInput(m.n)
	m.start()
	sum, err := byHand(slices.Values(in), square)
	m.stop()
	must(err)
	mustBe(sum, want)
}

// A handful is a chunk on its way.
type handful struct {
	in, out []int
	done    chan error
}

// byHand adds the results of fn.
func byHand(seq iter.Seq[int], fn func(ctx context.Context, n int) (int, error)) (sum int, err error) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	workers := runtime.GOMAXPROCS(0)
	todo, order := make(chan *handful, 2*workers), make(chan *handful, 2*workers)
	for range workers {
		go func() {
			for h := range todo {
				h.done <- h.work(ctx, fn)
			}
		}()
	}
	go handOut(ctx, seq, todo, order)
	for h := range order {
		if err := <-h.done; err != nil {
			return 0, err
		}
		for _, v := range h.out {
			sum += v
		}
	}
	return sum, nil
}

func (h *handful) work(ctx context.Context, fn func(ctx context.Context, n int) (int, error)) error {
	for _, v := range h.in {
		r, err := fn(ctx, v)
		if err != nil {
			return err
		}
		h.out = append(h.out, r)
	}
	return nil
}

// handOut cuts a sequence into chunks.
func handOut(ctx context.Context, seq iter.Seq[int], todo, order chan<- *handful) {
	defer close(todo)
	defer close(order)
	send := func(in []int) bool {
		h := &handful{in, make([]int, 0, len(in)), make(chan error, 1)}
		select {
		case order <- h:
		case <-ctx.Done():
			return false
		}
		todo <- h
		return true
	}
	in := make([]int, 0, mapChunk)
	for v := range seq {
		if in = append(in, v); len(in) == mapChunk {
			if !send(in) {
				return
			}
			in = make([]int, 0, mapChunk)
		}
	}
	send(in)
}

func mapSlices(m *meter) {
	in, want := mapInput(m.n)
	sum := 0
	m.start()
	for _, v := range bySlices(in, square) {
		sum += v
	}
	m.stop()
	mustBe(sum, want)
}

func bySlices(in []int, fn func(ctx context.Context, n int) (int, error)) []int {
	ctx := context.Background()
	out := make([]int, len(in))
	chunks := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for low := range chunks {
				for i := low; i < min(low+mapChunk, len(in)); i++ {
					out[i], _ = fn(ctx, in[i])
				}
			}
		})
	}
	for low := 0; low < len(in); low += mapChunk {
		chunks <- low
	}
	close(chunks)
	workers.Wait()
	return out
}

func mustBe(got, want int) {
	if got != want {
		panic("bench: a wrong result")
	}
}
