package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/eddyloop/eddy/executor"
)

func TestMain(m *testing.M) {
	executor.WorkerMain()
	childMain()
	if os.Getenv("GORACE") == "" {
		must(os.Setenv("GORACE", "atexit_sleep_ms=0")) // else each child rests for a second at its end
	}
	os.Exit(m.Run())
}

// TestEachRuns runs every impl once, with next to nothing to do.
func TestEachRuns(t *testing.T) {
	for _, b := range benches {
		for _, procs := range b.gomaxprocs() {
			for _, i := range b.impls {
				t.Run(fmt.Sprintf("%s/%s-%d", b.name, i.name, procs), func(t *testing.T) {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
					n := 150
					if b.ops > 0 {
						n = max(1, min(n, b.ops/10))
					}
					m := &meter{n: n, quick: true}
					i.run(m)
					if m.NS == 0 && m.Bytes == 0 {
						t.Error("nothing was measured")
					}
				})
			}
		}
	}
}

// TestProgram runs a bench as the program does, in children, and reads its JSON.
func TestProgram(t *testing.T) {
	var out bytes.Buffer
	opt := options{rounds: 2, target: time.Millisecond, quick: true}
	if err := runAll(regexp.MustCompile("^await/eddy-machine$"), opt, &printer{out: &out, json: true}); err != nil {
		t.Fatal(err)
	}
	var impls []string
	for d := json.NewDecoder(&out); d.More(); {
		var r row
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if r.Bench != "await" || r.Procs != 1 || r.NS <= 0 || r.Ratio <= 0 {
			t.Errorf("got %+v, want ns and a ratio of await at 1", r)
		}
		impls = append(impls, r.Impl)
	}
	if got, want := fmt.Sprint(impls), "[eddy-machine goroutine]"; got != want {
		t.Errorf("got impls %v, want %v", got, want)
	}
}

// TestGoals judges by the goals that are more than a number of nanoseconds.
func TestGoals(t *testing.T) {
	of := func(ns, cpu, other float64) []sample {
		return []sample{{NS: ns, Also: map[string]float64{"cpu": cpu, "other": other, "waited": 5}}}
	}
	for _, tt := range []struct {
		name string
		goal goal
		want []string // the row itself, cpu, other, waited
	}{
		{"rate", goal{rate: 1.3}, []string{"1.33x requests/s, ≥ 1.3x", "", "", ""}},
		{"rate missed", goal{rate: 1.4}, []string{"1.33x requests/s, ≥ 1.4x MISSED", "", "", ""}},
		{"share", goal{share: 0.5}, []string{"67% of 2 cores, ≥ 50%", "", "", ""}},
		{"share missed", goal{share: 0.8}, []string{"67% of 2 cores, ≥ 80% MISSED", "", "", ""}},
		{
			"further rows",
			goal{also: map[string]goal{"cpu": {ratio: 0.7}, "other": {ns: 8e6}}},
			[]string{"", "≤ 0.7x MISSED", "≤ 8000000 ns", ""},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bench{name: "b", impls: []impl{{"eddy", nil, tt.goal}, {baseline, nil, goal{}}}}
			rows := summarize(b, 2, [][]sample{of(30, 40, 7e6), of(40, 50, 7e6)})
			var got []string
			for _, r := range rows[:4] {
				if r.Missed {
					r.Goal += " MISSED"
				}
				got = append(got, r.Goal)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if rows[1].Ratio != 0.8 || rows[3].Ratio != 0 {
				t.Errorf("got ratios %v of cpu and %v of waited, want 0.8 and none", rows[1].Ratio, rows[3].Ratio)
			}
		})
	}
}

func TestSummarize(t *testing.T) {
	b := bench{name: "b", impls: []impl{{"eddy", nil, goal{ns: 15}}, {baseline, nil, goal{}}}}
	ns := func(vs ...float64) (s []sample) {
		for _, v := range vs {
			s = append(s, sample{NS: v, Also: map[string]float64{"worst": 2 * v}})
		}
		return s
	}
	var got []string
	for _, r := range summarize(b, 2, [][]sample{ns(10, 60, 20), ns(20, 30, 80)}) {
		got = append(got, fmt.Sprintf("%s/%s-%d %g %g %v", r.Bench, r.Impl, r.Procs, r.NS, r.Ratio, r.Missed))
	}
	want := []string{
		"b/eddy-2 20 0.5 true", // 10/20, 60/30, 20/80
		"b.worst/eddy-2 120 0 false",
		"b/goroutine-2 30 1 false",
		"b.worst/goroutine-2 160 0 false",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
