//go:build linux

package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

//go:embed promises.md
var promises string

// writeDoc writes the document of a report.
func writeDoc(w io.Writer, name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var rep report
	if err := json.Unmarshal(b, &rep); err != nil {
		return err
	}
	for _, s := range scenarios() { // words are the code's, numbers the run's
		for i := range rep.Rows {
			if w := &rep.Rows[i]; w.ID == s.id {
				w.Section, w.Title, w.Naive, w.Target = s.section, s.title, s.naive, s.target
			}
		}
	}
	var d strings.Builder
	head(&d, rep)
	section := ""
	for _, row := range rep.Rows {
		if row.Section != section {
			section = row.Section
			table(&d, section, rep.Rows)
		}
	}
	d.WriteString("\n" + promises)
	_, err = io.WriteString(w, d.String())
	return err
}

func head(d *strings.Builder, rep report) {
	counts := map[string]int{}
	for _, row := range rep.Rows {
		counts[row.Verdict]++
	}
	fmt.Fprintf(d, `# Reliability

What eddy survives, shown by a command: each scenario makes something go wrong, counts what was lost, delivered twice or
to the wrong one, and looks for what has leaked. This page is written by it:

    go run ./cmd/chaos -json > x.json
    go run ./cmd/chaos -doc x.json > docs/RELIABILITY.md

It takes some minutes; -quick has a tenth of the load, -run 'R1[0-9]' chooses, -list lists. Each part of a scenario runs in a process of
its own with a time limit: one that hangs is broken. What needs root, strace or a network namespace is run where that is there.

This run: %s, %s, %s, %d processors, which server and load share; loads times %v. %d scenarios held, %d broken, %d not run.

How to read the tables. *Faults*: errors injected into system calls by strace, or caused by peers. *Lag*: how late a timer of 1 ms on
the loop was, 99th percentile; what else the machine does is in it. Leaks are descriptors, goroutines, timers and
tasks that are more than before when all is closed. RSS is the peak above the start, peers and load included.
`, rep.Date, rep.System, rep.Go, rep.CPUs, rep.Scale, counts[held], counts[broken], counts[notRun])
}

func table(d *strings.Builder, section string, rows []row) {
	fmt.Fprintf(d, "\n## %s\n\n", section)
	d.WriteString("| | scenario | load | faults | lost / dup / misdelivered | leaks: fds / goroutines / timers / tasks | lag p99 | RSS | s | verdict |\n")
	d.WriteString("|---|---|---|--:|---|---|--:|--:|--:|---|\n")
	for _, r := range rows {
		if r.Section != section {
			continue
		}
		lag := "–"
		if r.Ticks > 0 {
			lag = fmt.Sprintf("%.2f ms", float64(r.LagP99)/1000)
		}
		load := cell(strings.Join(r.Load, "; "))
		if r.Verdict == notRun {
			load, lag = "–", "–"
		}
		fmt.Fprintf(d, "| %s | %s | %s | %d | %d / %d / %d | %d / %d / %d / %d | %s | %d MB | %.1f | %s |\n",
			r.ID, cell(r.Title), load, r.Faults, r.Lost, r.Duplicated, r.Misdelivered,
			r.LeakedFDs, r.LeakedGoroutines, r.LeakedTimers, r.LeakedTasks, lag, r.RSSPeakKB>>10, r.Seconds, cell(verdict(r)))
	}
	d.WriteString("\nWhat was aimed at, what goes wrong elsewhere, and what was found:\n\n")
	for _, r := range rows {
		if r.Section != section {
			continue
		}
		fmt.Fprintf(d, "- **%s** Aim: %s. Elsewhere: %s.", r.ID, r.Target, r.Naive)
		if len(r.Measured) > 0 {
			fmt.Fprintf(d, " Found: %s.", strings.Join(r.Measured, "; "))
		}
		d.WriteString("\n")
	}
}

func verdict(r row) string {
	if r.Verdict == held && len(r.Reasons) == 0 {
		return held
	}
	return "**" + r.Verdict + "**: " + firstLine([]byte(strings.Join(r.Reasons, "; ")))
}

// cell makes a text fit a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "|", `\|`)
}
