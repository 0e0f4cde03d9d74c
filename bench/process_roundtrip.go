package main

import (
	"context"
	"encoding/binary"
	"io"
	"os"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/loop"
)

// process_roundtrip: a number goes to another process and comes back doubled, one
// call after the other.
//
//	eddy            a call of a ProcessPool with one worker, by Go and Result
//	eddy-coroutine  the same by Do in a task
//	pipe            8 bytes to a process that one has started oneself, and 8 back:
//	                nothing is encoded, nothing may fail
//	goroutine       a goroutine that takes jobs from a channel: the same process
var processRoundtrip = bench{
	name:  "process_roundtrip",
	procs: []int{1, 2},
	impls: []impl{
		{"eddy", processResults, goal{ns: 60_000}},
		{"eddy-coroutine", processInTask, goal{ns: 60_000}},
		{"pipe", pipeResults, goal{}},
		{"goroutine", func(m *meter) { jobsChannel(m, 1) }, goal{}},
	},
}

var processDouble = executor.Register("bench.double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })

// withProcesses calls fn with a pool whose workers have all begun.
func withProcesses(workers int, fn func(ctx context.Context, p *executor.ProcessPool)) {
	ctx := context.Background()
	must(executor.WithProcesses(ctx, executor.ProcessConfig{Workers: workers}, func(p *executor.ProcessPool) error {
		for len(p.PIDs()) < workers {
			var first []*executor.Job[int64]
			for range 4 * workers {
				first = append(first, processCompute.Go(p, 1<<20))
			}
			for _, j := range first {
				_, err := j.Result(ctx)
				must(err)
			}
		}
		fn(ctx, p)
		return nil
	}))
}

func processResults(m *meter) {
	withProcesses(1, func(ctx context.Context, p *executor.ProcessPool) {
		m.start()
		for i := range m.n {
			v, err := processDouble.Go(p, i).Result(ctx)
			must(err)
			mustBe(v, 2*i)
		}
		m.stop()
	})
}

func processInTask(m *meter) {
	withProcesses(1, func(_ context.Context, p *executor.ProcessPool) {
		onLoop(func(ctx context.Context, _ *loop.Loop) {
			m.start()
			for i := range m.n {
				v, err := processDouble.Do(ctx, p, i)
				must(err)
				mustBe(v, 2*i)
			}
			m.stop()
		})
	})
}

func pipeResults(m *meter) {
	cmd := command(job{Pipe: true})
	in, err := cmd.StdinPipe()
	must(err)
	out, err := cmd.StdoutPipe()
	must(err)
	must(cmd.Start())
	var b [8]byte
	call := func(i int) int {
		binary.LittleEndian.PutUint64(b[:], uint64(i))
		_, err := in.Write(b[:])
		must(err)
		_, err = io.ReadFull(out, b[:])
		must(err)
		return int(binary.LittleEndian.Uint64(b[:]))
	}
	mustBe(call(1), 2) // it has begun
	m.start()
	for i := range m.n {
		mustBe(call(i), 2*i)
	}
	m.stop()
	must(in.Close())
	must(cmd.Wait())
}

// answerPipe is the other process of pipeResults.
func answerPipe() {
	var b [8]byte
	for {
		_, err := io.ReadFull(os.Stdin, b[:])
		if err == io.EOF {
			return
		}
		must(err)
		binary.LittleEndian.PutUint64(b[:], 2*binary.LittleEndian.Uint64(b[:]))
		_, err = os.Stdout.Write(b[:])
		must(err)
	}
}
