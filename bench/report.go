package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// A row is one line of the report: medians over the rounds.
type row struct {
	Bench  string  `json:"bench"`
	Impl   string  `json:"impl"`
	Procs  int     `json:"procs"`
	NS     float64 `json:"ns"`
	Bytes  float64 `json:"bytes"`
	Allocs float64 `json:"allocs"`
	Ratio  float64 `json:"ratio,omitempty"`  // to goroutine; taken inside each round
	Spread float64 `json:"spread,omitempty"` // (max - min) / median of the rounds
	Goal   string  `json:"goal,omitempty"`
	Missed bool    `json:"missed,omitempty"`
}

// measure runs the rounds of a bench. Impls that fail have no row.
func measure(b bench, procs int, opt options) (rows []row, err error) {
	children := make([]*child, len(b.impls))
	samples := make([][]sample, len(b.impls))
	fail := func(i int, e error) {
		err = fmt.Errorf("%s/%s at GOMAXPROCS=%d: %w", b.name, b.impls[i].name, procs, e)
		samples[i], children[i] = nil, nil
	}
	start := func(i int) {
		j := job{Bench: b.name, Impl: b.impls[i].name, Target: opt.target, Quick: opt.quick}
		if b.pin {
			j.Cores = twoCores()
		}
		c, e := startChild(j, procs)
		if children[i] = c; e != nil {
			fail(i, e)
		}
	}
	for i := range children {
		start(i)
	}
	for round := range opt.rounds {
		for k := range children {
			i := (round + k) % len(children) // each has the first place in turn
			if children[i] == nil {
				continue
			}
			if b.fresh && round > 0 {
				_ = children[i].close()
				start(i)
			}
			s, e := children[i].round()
			if e != nil {
				fail(i, e)
				continue
			}
			samples[i] = append(samples[i], s)
		}
	}
	for _, c := range children {
		if c != nil {
			_ = c.close()
		}
	}
	rows = summarize(b, procs, samples)
	if opt.quick {
		for i := range rows {
			rows[i].Goal, rows[i].Missed = "", false // nothing is measured well enough
		}
	}
	return rows, err
}

// summarize turns the samples of each impl into rows.
func summarize(b bench, procs int, samples [][]sample) (rows []row) {
	if !b.cold || slices.ContainsFunc(samples, func(s []sample) bool { return len(s) < 2 }) {
		return summarizeRounds(b, procs, samples)
	}
	first, rest := make([][]sample, len(samples)), make([][]sample, len(samples))
	for i, s := range samples {
		first[i], rest[i] = s[:1], s[1:]
	}
	rows = summarizeRounds(b, procs, rest)
	b.name += ".cold"
	for _, r := range summarizeRounds(b, procs, first) {
		r.Spread, r.Goal, r.Missed = 0, "", false
		rows = append(rows, r)
	}
	return rows
}

func summarizeRounds(b bench, procs int, samples [][]sample) (rows []row) {
	value := func(s sample) float64 { return s.NS }
	if b.unit == "bytes" {
		value = func(s sample) float64 { return s.Bytes }
	}
	base := slices.IndexFunc(b.impls, func(i impl) bool { return i.name == baseline })
	for i, im := range b.impls {
		got := samples[i]
		if len(got) == 0 {
			continue
		}
		r := row{
			Bench: b.name, Impl: im.name, Procs: procs,
			NS:     medianOf(got, func(s sample) float64 { return s.NS }),
			Bytes:  medianOf(got, func(s sample) float64 { return s.Bytes }),
			Allocs: medianOf(got, func(s sample) float64 { return s.Allocs }),
		}
		vs := each(got, value)
		r.Spread = (slices.Max(vs) - slices.Min(vs)) / median(vs)
		if base >= 0 && len(samples[base]) == len(got) {
			ratios := each(samples[base], value)
			for k := range ratios {
				ratios[k] = vs[k] / ratios[k]
			}
			r.Ratio = median(ratios)
		}
		r.judge(im.goal, got)
		rows = append(rows, r)
		var others []sample
		if r.Ratio > 0 {
			others = samples[base]
		}
		rows = append(rows, alsoRows(r, got, others, im.goal.also)...)
	}
	return rows
}

// alsoRows returns the further rows of an impl. base is what their ratios are to.
func alsoRows(r row, got, base []sample, goals map[string]goal) (rows []row) {
	for _, name := range slices.Sorted(maps.Keys(got[0].Also)) {
		ns := each(got, func(s sample) float64 { return s.Also[name] })
		also := row{Bench: r.Bench + "." + name, Impl: r.Impl, Procs: r.Procs, NS: median(ns)}
		switch {
		case strings.HasPrefix(name, "worst"):
			also.NS = slices.Max(ns)
		case name == "waited": // that is the machine's affair
		case base != nil && base[0].Also[name] > 0:
			for k := range ns {
				ns[k] /= base[k].Also[name]
			}
			also.Ratio = median(ns)
		}
		also.judge(goals[name], got)
		rows = append(rows, also)
	}
	return rows
}

// judge compares with the goal.
func (r *row) judge(g goal, got []sample) {
	switch {
	case g.ns > 0:
		r.Goal, r.Missed = fmt.Sprintf("≤ %.10g ns", g.ns), r.NS > g.ns
	case g.bytes > 0:
		r.Goal, r.Missed = fmt.Sprintf("≤ %g B", g.bytes), r.Bytes > g.bytes
	case g.to != "":
		toRow := medianOf(got, func(s sample) float64 { return s.NS / s.Also[g.to] })
		r.Goal = fmt.Sprintf("%.2fx %s, ≤ %gx", toRow, g.to, g.ratio)
		r.Missed = toRow > g.ratio
	case g.share > 0:
		share := medianOf(got, func(s sample) float64 { return s.Also["cpu"] / s.NS }) / float64(r.Procs)
		r.Goal, r.Missed = fmt.Sprintf("%.0f%% of %d cores, ≥ %.0f%%", 100*share, r.Procs, 100*g.share), share < g.share
	case g.rate > 0 && r.Ratio > 0:
		r.Goal, r.Missed = fmt.Sprintf("%.2fx requests/s, ≥ %gx", 1/r.Ratio, g.rate), 1/r.Ratio < g.rate
	case g.ratio > 0 && r.Ratio > 0:
		r.Goal, r.Missed = fmt.Sprintf("≤ %gx", g.ratio), r.Ratio > g.ratio
	}
}

func each(s []sample, f func(sample) float64) []float64 {
	vs := make([]float64, len(s))
	for i := range s {
		vs[i] = f(s[i])
	}
	return vs
}

func medianOf(s []sample, f func(sample) float64) float64 { return median(each(s, f)) }

func median(vs []float64) float64 {
	vs = slices.Sorted(slices.Values(vs))
	n := len(vs)
	return (vs[(n-1)/2] + vs[n/2]) / 2
}

// A printer prints rows as they come.
type printer struct {
	out  io.Writer
	json bool
	last string // bench
}

const line = "%-28s %-18s %5s %10s %8s %7s %9s %7s  %s\n"

func (p *printer) header(about string) {
	if p.json {
		return
	}
	fmt.Fprintf(p.out, "%s\n\n", about)
	fmt.Fprintf(p.out, line, "bench", "impl", "procs", "ns", "bytes", "allocs", "ratio", "spread", "goal")
}

func (p *printer) rows(rows []row) {
	for _, r := range rows {
		if p.json {
			must(json.NewEncoder(p.out).Encode(r))
			continue
		}
		if bench, _, _ := strings.Cut(r.Bench, "."); bench != p.last {
			p.last = bench
			fmt.Fprintln(p.out)
		}
		goal := r.Goal
		if r.Missed {
			goal += "  MISSED"
		}
		fmt.Fprintf(p.out, line, r.Bench, r.Impl, fmt.Sprint(r.Procs), number(r.NS), number(r.Bytes), number(r.Allocs),
			ratio(r.Ratio), percent(r.Spread), goal)
	}
}

// number prints three digits or so, and - for nothing.
func number(v float64) string {
	switch {
	case v < 0.005:
		return "-"
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func ratio(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.*fx", int(max(0, 2-math.Floor(math.Log10(max(v, 0.001))))), v)
}

func percent(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", 100*v)
}
