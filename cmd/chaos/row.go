//go:build linux

package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
)

// The verdicts of a row.
const (
	held   = "held"
	broken = "broken"
	notRun = "not run"
)

// A row is what became of a scenario.
type row struct {
	ID      string `json:"id"`
	Section string `json:"section"`
	Title   string `json:"title"`
	Naive   string `json:"naive"`
	Target  string `json:"target"`
	Seed    uint64 `json:"seed"`

	Load     []string `json:"load"`
	Faults   int64    `json:"faults"` // injected, or caused by peers
	Measured []string `json:"measured,omitempty"`

	Lost         int64 `json:"lost"`
	Duplicated   int64 `json:"duplicated"`
	Misdelivered int64 `json:"misdelivered"`

	LeakedFDs        int `json:"leaked_fds"`
	LeakedGoroutines int `json:"leaked_goroutines"`
	LeakedTimers     int `json:"leaked_timers"`
	LeakedTasks      int `json:"leaked_tasks"`

	RSSPeakKB  int64   `json:"rss_peak_kb"`  // above what the process had before
	HeapLeftKB int64   `json:"heap_left_kb"` // above what it had before, after a collection
	LagP50     int64   `json:"lag_p50_us"`   // how late a timer of 1 ms on the loop was
	LagP99     int64   `json:"lag_p99_us"`   //
	LagMax     int64   `json:"lag_max_us"`   //
	Ticks      int     `json:"lag_samples"`  // 0: not measured
	Seconds    float64 `json:"seconds"`      // wall time
	CPU        float64 `json:"cpu_seconds"`  // of the process

	Verdict string   `json:"verdict"`
	Reasons []string `json:"reasons,omitempty"` // why broken, or not run
}

// add adds what another part of the same scenario has found.
func (w *row) add(p row, part string) {
	mark := func(s string) string {
		if part == "" {
			return s
		}
		return part + ": " + s
	}
	for _, s := range p.Load {
		w.Load = append(w.Load, mark(s))
	}
	for _, s := range p.Measured {
		w.Measured = append(w.Measured, mark(s))
	}
	for _, s := range p.Reasons {
		w.Reasons = append(w.Reasons, mark(s))
	}
	w.Faults += p.Faults
	w.Lost += p.Lost
	w.Duplicated += p.Duplicated
	w.Misdelivered += p.Misdelivered
	w.LeakedFDs += p.LeakedFDs
	w.LeakedGoroutines += p.LeakedGoroutines
	w.LeakedTimers += p.LeakedTimers
	w.LeakedTasks += p.LeakedTasks
	w.RSSPeakKB = max(w.RSSPeakKB, p.RSSPeakKB)
	w.HeapLeftKB = max(w.HeapLeftKB, p.HeapLeftKB)
	w.LagP50 = max(w.LagP50, p.LagP50)
	w.LagP99 = max(w.LagP99, p.LagP99)
	w.LagMax = max(w.LagMax, p.LagMax)
	w.Ticks += p.Ticks
	w.Seconds += p.Seconds
	w.CPU += p.CPU
	switch {
	case p.Verdict == broken || w.Verdict == broken:
		w.Verdict = broken
	case w.Verdict == "" || w.Verdict == notRun:
		w.Verdict = p.Verdict
	}
}

func (w *row) found(format string, args ...any) {
	w.Measured = append(w.Measured, fmt.Sprintf(format, args...))
}

func (w *row) check(ok bool, format string, args ...any) {
	if !ok {
		w.Verdict, w.Reasons = broken, append(w.Reasons, fmt.Sprintf(format, args...))
	}
}

// A report is what -json prints.
type report struct {
	Date   string  `json:"date"`
	System string  `json:"system"`
	Go     string  `json:"go"`
	CPUs   int     `json:"cpus"`
	Scale  float64 `json:"scale"` // of the loads
	Rows   []row   `json:"rows"`
}

func newReport(o options) report {
	return report{
		Date: time.Now().UTC().Format(time.DateOnly), System: kernel() + " " + runtime.GOARCH,
		Go: runtime.Version(), CPUs: runtime.NumCPU(), Scale: o.scale,
	}
}

func printRow(w io.Writer, r row) {
	fmt.Fprintf(w, "%s %s: %s\n", r.ID, r.Title, strings.ToUpper(r.Verdict))
	for _, s := range r.Reasons {
		fmt.Fprintf(w, "    ! %s\n", s)
	}
	for _, s := range r.Load {
		fmt.Fprintf(w, "    load  %s\n", s)
	}
	for _, s := range r.Measured {
		fmt.Fprintf(w, "    found %s\n", s)
	}
	if r.Verdict == notRun {
		return
	}
	fmt.Fprintf(w, "    %s; leaked %s; lag %s; RSS +%d KB; %.1f s, %.1f s of processor\n",
		r.counts(), r.leaks(), r.lag(), r.RSSPeakKB, r.Seconds, r.CPU)
}

func (r *row) counts() string {
	return fmt.Sprintf("%d faults, %d lost, %d duplicated, %d misdelivered", r.Faults, r.Lost, r.Duplicated, r.Misdelivered)
}

func (r *row) leaks() string {
	return fmt.Sprintf("%d fds, %d goroutines, %d timers, %d tasks", r.LeakedFDs, r.LeakedGoroutines, r.LeakedTimers, r.LeakedTasks)
}

func (r *row) lag() string {
	if r.Ticks == 0 {
		return "not measured"
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	return fmt.Sprintf("p50 %.2f p99 %.2f max %.2f ms", ms(r.LagP50), ms(r.LagP99), ms(r.LagMax))
}
