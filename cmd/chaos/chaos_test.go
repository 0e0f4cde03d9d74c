//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/executor"
)

// The test binary plays the children of the scenarios, too.
func TestMain(m *testing.M) {
	runProgram()
	executor.WorkerMain()
	if len(os.Args) > 1 && os.Args[1] == "-child" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

func TestEveryScenarioIsThere(t *testing.T) {
	var want []string
	for i := 1; i <= 66; i++ {
		if i <= 32 || i >= 58 {
			want = append(want, fmt.Sprintf("R%02d", i))
		}
	}
	var got []string
	parts := map[string]bool{}
	for _, s := range scenarios() {
		got = append(got, s.id)
		if s.section == "" || s.title == "" || s.naive == "" || s.target == "" || len(s.parts) == 0 {
			t.Errorf("%s is not complete", s.id)
		}
		for _, p := range s.parts {
			name := s.id + "/" + p.name
			if parts[name] {
				t.Errorf("%s is there twice", name)
			}
			parts[name] = true
			if _, _, err := find(strings.TrimSuffix(name, "/")); err != nil || p.run == nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("scenarios are %v, want %v", got, want)
	}
}

// A handful of scenarios, with the smallest of loads.
func TestScenariosHold(t *testing.T) {
	for _, s := range scenarios() {
		switch s.id {
		case "R01", "R06", "R13", "R15", "R22", "R24", "R27", "R29", "R31", "R60", "R61", "R62", "R64", "R65":
		default:
			continue
		}
		t.Run(s.id, func(t *testing.T) {
			t.Parallel()
			row := runScenario(s, options{scale: 0.0005})
			if row.Verdict != held || len(row.Load) == 0 || row.Seconds == 0 || row.Seed == 0 {
				t.Errorf("%s: %s: %s", row.Verdict, row.Reasons, row.Load)
			}
		})
	}
}

func TestAChildThatHangsOrDiesIsAnError(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"sleep", "60"}, "it hangs"},
		{[]string{"sh", "-c", "echo said; exit 3"}, "exit status 3\nsaid"},
		{[]string{"true"}, "unexpected end of JSON input"},
		{[]string{"/nowhere"}, "no such file"},
	} {
		start := time.Now()
		_, err := runProcess(tt.args, 100*time.Millisecond)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want an error with %q", tt.args, err, tt.want)
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%v took %v", tt.args, d)
		}
	}
}

func TestWhatIsNotAllowedIsNotRun(t *testing.T) {
	w := runScenario(scenario{id: "X", parts: []part{{inject: "read:error=EINTR"}, {name: "ns", netns: true}}}, options{scale: 1})
	if w.Verdict != notRun || len(w.Reasons) != 2 || w.Reasons[1] != "ns: not run: -root=false" {
		t.Errorf("%s: %q", w.Verdict, w.Reasons)
	}
}

func TestRowOfParts(t *testing.T) {
	for _, tt := range []struct {
		verdicts []string
		want     string
	}{
		{[]string{held, held}, held},
		{[]string{held, notRun}, held},
		{[]string{notRun, held}, held},
		{[]string{notRun, notRun}, notRun},
		{[]string{held, broken}, broken},
		{[]string{broken, held, notRun}, broken},
	} {
		var w row
		for i, v := range tt.verdicts {
			w.add(row{Verdict: v, Lost: 1, LagP99: int64(i), RSSPeakKB: int64(i), Load: []string{"a"}}, fmt.Sprint(i))
		}
		n := len(tt.verdicts)
		if w.Verdict != tt.want || w.Lost != int64(n) || w.LagP99 != int64(n-1) || w.Load[1] != "1: a" {
			t.Errorf("%v: %+v", tt.verdicts, w)
		}
	}
}

func TestReadTrace(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	const log = `10 accept4(5, NULL) = -1 EMFILE (Too many open files) (INJECTED)
11 accept4(5, <unfinished ...>
11 <... accept4 resumed>) = -1 EMFILE (Too many open files) (INJECTED)
10   epoll_ctl(3, EPOLL_CTL_ADD, 4) = 0
10 +++ exited with 0 +++
`
	if err := os.WriteFile(name, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	calls, injected := readTrace(name)
	if calls["accept4"] != 2 || calls["epoll_ctl"] != 1 || injected != 2 || len(calls) != 2 {
		t.Errorf("calls are %v, %d injected", calls, injected)
	}
}

func TestDocument(t *testing.T) {
	rep := newReport(options{scale: 1})
	rep.Rows = []row{
		{ID: "X01", Section: "One", Title: "a | b", Load: []string{"much"}, Verdict: held, Faults: 3},
		{ID: "X02", Section: "One", Title: "c", Verdict: broken, Reasons: []string{"it broke\nat once"}},
		{ID: "X03", Section: "Two", Title: "d", Verdict: notRun, Reasons: []string{"not run: no tool"}},
	}
	b, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "x.json")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var d strings.Builder
	if err := writeDoc(&d, name); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1 scenarios held, 1 broken, 1 not run", "## One\n", "## Two\n", "## Promises\n",
		`| X01 | a \| b | much | 3 | 0 / 0 / 0 | 0 / 0 / 0 / 0 | – | 0 MB | 0.0 | held |`,
		"**broken**: it broke |", "**not run**: not run: no tool |",
	} {
		if !strings.Contains(d.String(), want) {
			t.Errorf("%q is not in the document:\n%s", want, &d)
		}
	}
}
