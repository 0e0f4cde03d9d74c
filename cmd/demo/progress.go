package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// A progress shows how far something is: a bar on a terminal, lines otherwise.
type progress struct {
	f        *os.File
	terminal bool
	every    time.Duration // how often to show it
	shown    int
}

func newProgress(f *os.File) *progress {
	p := &progress{f: f, every: 500 * time.Millisecond, shown: -1}
	if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb" {
		p.terminal, p.every = true, 50*time.Millisecond
	}
	return p
}

const barWidth = 40

func (p *progress) show(done, total int) {
	percent := 100 * done / max(total, 1)
	if !p.terminal {
		if done != p.shown {
			fmt.Fprintf(p.f, "%3d %%  %d of %d lines\n", percent, done, total)
			p.shown = done
		}
		return
	}
	n := barWidth * done / max(total, 1)
	fmt.Fprintf(p.f, "\r[%s%s] %3d %%  %d lines", strings.Repeat("#", n), strings.Repeat(".", barWidth-n), percent, done)
}

func (p *progress) end() {
	if p.terminal {
		fmt.Fprintln(p.f)
	}
}
