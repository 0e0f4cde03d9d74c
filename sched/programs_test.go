package sched_test

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/sched"
)

// What CPython 3.13's sched.scheduler did in random programs; testdata/programs.py
// explains the lines.
//
//go:embed testdata/programs.txt
var programs string

func TestDoesWhatCPythonsDoes(t *testing.T) {
	n := 0
	for _, text := range strings.Split(programs, "program\n")[1:] {
		n++
		p := newProgram()
		for line := range strings.Lines(text) {
			if got := p.do(line); got != strings.TrimSpace(line) {
				t.Fatalf("program %d:\n%s\nhappened: %s\nwant:     %s", n, text, got, line)
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d programs", n)
	}
}

// A definition is what an event is when it is entered.
type definition struct {
	delay    time.Duration
	priority int
	script   []string
}

// A program is a scheduler whose clock is its own, and that writes a trace.
type program struct {
	s       *sched.Scheduler
	start   time.Time
	now     time.Duration // since start
	defs    map[int]definition
	handles map[int]*sched.Event
	trace   []string
}

func newProgram() *program {
	p := &program{start: time.Unix(0, 0), defs: map[int]definition{}, handles: map[int]*sched.Event{}}
	p.s = sched.New(p)
	return p
}

func (p *program) log(format string, args ...any) {
	p.trace = append(p.trace, fmt.Sprintf(format, args...))
}

func (p *program) Now() time.Time { return p.start.Add(p.now) }

func (p *program) Sleep(_ context.Context, d time.Duration) error {
	p.log("delay%d", d)
	if d > 4 {
		d /= 2
	}
	p.now += d
	return nil
}

// do does what a line says, and returns the line that says what has happened.
func (p *program) do(line string) string {
	words := strings.Fields(line)
	p.trace = nil
	switch words[0] {
	case "event":
		d := definition{time.Duration(number(words[2])), number(words[3]), nil}
		if len(words) > 4 {
			d.script = strings.Split(words[4], ",")
		}
		p.defs[number(words[1])] = d
		return strings.Join(words, " ")
	case "enter":
		for _, w := range words[1:] {
			p.enter(number(w))
		}
		return strings.Join(words, " ")
	case "pending":
		for _, e := range p.s.Pending() {
			p.log("%d/%d", e.When().Sub(p.start), e.Priority())
		}
		return strings.Join(append([]string{"pending"}, p.trace...), " ")
	}
	p.run(words[0])
	return strings.Join(append([]string{words[0], "->"}, p.trace...), " ")
}

func (p *program) run(name string) {
	var err error
	var left time.Duration
	ok := false
	if name == "run" {
		err = p.s.Run(bg)
	} else {
		left, ok, err = p.s.RunDue(bg)
	}
	switch {
	case err != nil:
		p.log("%v", err)
	case ok:
		p.log("next%d", left)
	default:
		p.log("end")
	}
}

func (p *program) enter(i int) {
	d := p.defs[i]
	p.handles[i] = p.s.After(d.delay, d.priority, func(context.Context) error { return p.act(i) })
}

func (p *program) act(i int) error {
	p.log("%d:%d", p.now, i)
	for _, word := range p.defs[i].script {
		n := number(word[1:])
		e, known := p.handles[n]
		switch word[0] {
		case 'e':
			p.enter(n)
		case 'c':
			switch {
			case !known:
			case p.s.Cancel(e):
				p.log("canceled%d", n)
			default:
				p.log("no%d", n)
			}
		case 's':
			p.now += time.Duration(n)
		case 'f':
			return errFail
		}
	}
	return nil
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
