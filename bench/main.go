// Command bench compares eddy with what a Go programmer would write without it:
// goroutines, channels, WaitGroup and time.AfterFunc.
//
//	go run . [-json] [-run REGEXP] [-count N] [-quick]
//
// See README.md for how to read the numbers.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"time"

	"github.com/eddyloop/eddy/executor"
)

// benches is every scenario, in the order of the table.
var benches = slices.Concat([]bench{
	callSoonChain,
	callSoonBurst,
	await,
	spawn,
	machineStep,
	timersAddCancel,
	timersFire,
	threadsafePost,
	threadsafeRoundtrip,
	executorRoundtrip,
	executorWakeSleep,
	executorWakeCompute,
	waitsRoundtrip,
	waitsWakeSleep,
	waitsWakeCompute,
	waitsHog,
	executor64,
	gatherSleep0,
	gatherRandom,
	parkedBytes,
	hogLatency,
	executorMap,
	processRoundtrip,
	processCPU,
}, connectionBenches)

// options are the flags.
type options struct {
	rounds int
	target time.Duration // of a calibrated round
	quick  bool
}

func main() {
	executor.WorkerMain() // a worker of the process rows
	childMain()
	asJSON := flag.Bool("json", false, "print a JSON object per row in place of the table")
	pattern := flag.String("run", "", "run the benches whose name matches `REGEXP`, and impls by BENCH/IMPL: await/eddy-machine")
	rounds := flag.Int("count", 5, "rounds: `N` measurements of each row, of which the median is shown")
	quick := flag.Bool("quick", false, "a smoke test: one small round of each, no figures to believe")
	flag.Parse()
	match, err := regexp.Compile(*pattern)
	if err != nil || flag.NArg() > 0 || *rounds < 1 {
		fmt.Fprintln(os.Stderr, "bench: bad -run or -count, or arguments:", err, flag.Args())
		os.Exit(2)
	}
	opt := options{rounds: *rounds, target: 150 * time.Millisecond}
	if *quick {
		opt = options{rounds: 1, target: 5 * time.Millisecond, quick: true}
	}
	p := printer{out: os.Stdout, json: *asJSON}
	p.header(fmt.Sprintf("%s %s/%s, %d cores; medians of %d rounds", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU(), opt.rounds))
	if err := runAll(match, opt, &p); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// runAll measures what matches and prints it, bench by bench.
func runAll(match *regexp.Regexp, opt options, p *printer) (err error) {
	found := false
	for _, b := range benches {
		if b = b.only(match); len(b.impls) == 0 {
			continue
		}
		found = true
		for _, procs := range b.gomaxprocs() {
			rows, berr := measure(b, procs, opt)
			if berr != nil {
				err = berr
				fmt.Fprintln(os.Stderr, berr)
			}
			p.rows(rows)
		}
	}
	if !found {
		return fmt.Errorf("no bench matches %v", match)
	}
	return err
}

// only returns b with the impls that match and, if there is one, with that which
// the ratios are to.
func (b bench) only(match *regexp.Regexp) bench {
	any := false
	b.impls = slices.DeleteFunc(slices.Clone(b.impls), func(i impl) bool {
		ok := match.MatchString(b.name) || match.MatchString(b.name+"/"+i.name)
		any = any || ok
		return !ok && i.name != baseline
	})
	if !any {
		b.impls = nil
	}
	return b
}
