package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	childMain()
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
