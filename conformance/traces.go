package conformance

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// lines calls fn for each line, without its end, with its number from 0.
func lines(r io.Reader, fn func(n int, line string) error) error {
	b := bufio.NewReaderSize(r, 1<<16)
	for n := 0; ; n++ {
		line, err := b.ReadString('\n')
		if line != "" {
			if err := fn(n, strings.TrimSuffix(line, "\n")); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// A Trace is a trace in a file of many.
type Trace struct {
	ID   string // the label of its program
	Text string
}

// ReadTraces reads a file of traces, each after a line "### ID".
func ReadTraces(r io.Reader) ([]Trace, error) {
	var ts []Trace
	var text strings.Builder
	end := func() {
		if len(ts) > 0 {
			ts[len(ts)-1].Text = text.String()
		}
		text.Reset()
	}
	err := lines(r, func(n int, line string) error {
		// No line of a trace begins so: it would have to be the rest of a label
		// with a newline in it.
		if id, ok := strings.CutPrefix(line, "### "); ok {
			end()
			ts = append(ts, Trace{ID: id})
			return nil
		}
		if len(ts) == 0 {
			return fmt.Errorf("line %d: no ### before the first trace", n+1)
		}
		text.WriteString(line + "\n")
		return nil
	})
	end()
	return ts, err
}

// around is how many lines Diff shows around the first that differs.
const around = 4

// Diff returns "" if the traces are equal, and else the first line that differs,
// with those before it and some that follow.
func Diff(got, want string) string {
	if got == want {
		return ""
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	i := 0
	for i < len(g) && i < len(w) && g[i] == w[i] {
		i++
	}
	var b strings.Builder
	fmt.Fprintf(&b, "line %d\n", i+1)
	for _, s := range g[max(0, i-around):i] {
		fmt.Fprintf(&b, "       %s\n", s)
	}
	show := func(mark string, ls []string) {
		for j := i; j < min(i+around, len(ls)); j++ {
			if j == len(ls)-1 && ls[j] == "" {
				ls[j] = "(the end)"
			}
			fmt.Fprintf(&b, "%-6s %s\n", mark, ls[j])
			mark = ""
		}
	}
	show("got", g)
	show("want", w)
	return b.String()
}
