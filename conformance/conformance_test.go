package conformance

import (
	"compress/gzip"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// levels are the files of testdata.
var levels = []string{"portable", "full", "eager"}

// A testCase is a program and its trace on CPython.
type testCase struct {
	id   string
	p    *Program
	want string
}

// readCases returns the programs of a level; under -race one in five.
func readCases(t testing.TB, level string) []testCase {
	t.Helper()
	open := func(name string) *gzip.Reader {
		f, err := os.Open("testdata/" + level + name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	golden, err := ReadTraces(open(".golden.gz"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []testCase
	err = ReadPrograms(open(".ndjson.gz"), func(n int, p *Program) error {
		id, err := p.Label(n)
		if err != nil {
			return err
		}
		if i := len(cases); i >= len(golden) || golden[i].ID != id {
			return fmt.Errorf("program %s has no trace in its place", id)
		}
		cases = append(cases, testCase{id, p, golden[len(cases)].Text})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 || len(cases) != len(golden) {
		t.Fatalf("%d programs, %d traces", len(cases), len(golden))
	}
	if raceEnabled {
		few := cases[:0]
		for i := 0; i < len(cases); i += 5 {
			few = append(few, cases[i])
		}
		cases = few
	}
	return cases
}

// chunk is how many programs one subtest runs.
const chunk = 250

// maxShown bounds how many differences are shown whole: a bug in the loop makes
// nearly all programs differ.
const maxShown = 5

func TestGolden(t *testing.T) {
	var shown atomic.Int32
	for _, level := range levels {
		cases := readCases(t, level)
		for from := 0; from < len(cases); from += chunk {
			part := cases[from:min(from+chunk, len(cases))]
			name := fmt.Sprintf("%s/%s-%s", level, part[0].id, part[len(part)-1].id)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for _, c := range part {
					if d := difference(c.p, c.want); d == "" {
						continue
					} else if shown.Add(1) > maxShown {
						t.Errorf("%s %s differs", level, c.id)
					} else {
						t.Errorf("%s %s differs: %s\n%s", level, c.id, d, shrunk(t, c))
					}
				}
			})
		}
	}
}

// difference runs a program and says how its trace differs, or "".
func difference(p *Program, want string) string {
	got, err := Run(p)
	if err != nil {
		return err.Error()
	}
	return Diff(got, want)
}

func TestProgramRoundTrip(t *testing.T) {
	for _, level := range levels {
		for _, c := range readCases(t, level) {
			checkRoundTrip(t, c.p)
		}
	}
}

func checkRoundTrip(t *testing.T, p *Program) {
	t.Helper()
	text := p.String()
	q, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in what String has made: %s", err, text)
	}
	if again := q.String(); again != text {
		t.Fatalf("read back:\n%s\nwant:\n%s", again, text)
	}
}

func TestParseRejects(t *testing.T) {
	// main is a body before a and b; l, f, e and q are objects of all sorts.
	with := func(ops string) string {
		return `{"objs":{"l":{"kind":"lock"},"f":{"kind":"future"},"e":{"kind":"event"},"q":{"kind":"queue"}},` +
			`"bodies":{"main":[],"a":[` + ops + `],"b":[]}}`
	}
	obj := func(o string) string { return `{"objs":{"x":` + o + `},"bodies":{"main":[]}}` }
	for _, tt := range []struct{ name, program, err string }{
		{"not JSON", `{`, "unexpected end"},
		{"more than one value", `{} {}`, "invalid character"},
		{"no object", `[]`, "not an object"},
		{"no bodies", `{}`, "first body"},
		{"bodies of no kind", `{"bodies":[]}`, "not an object"},
		{"main is not first", `{"bodies":{"a":[],"main":[]}}`, "first body"},
		{"mode", `{"mode":"fast","bodies":{"main":[]}}`, "no mode"},
		{"mode null", `{"mode":null,"bodies":{"main":[]}}`, "mode: null"},
		{"eager number", `{"eager":1,"bodies":{"main":[]}}`, "eager"},
		{"object without a kind", obj(`{}`), "no kind"},
		{"object of no kind", obj(`{"kind":"fork"}`), "no kind"},
		{"object that is none", obj(`7`), "not an object"},
		{"condition without its lock", obj(`{"kind":"cond","lock":"l"}`), "no lock"},
		{"condition with itself", obj(`{"kind":"cond","lock":"x"}`), "no lock"},
		{"negative semaphore", obj(`{"kind":"sem","value":-1}`), "value -1"},
		{"semaphore null", obj(`{"kind":"sem","value":null}`), "null"},
		{"barrier for nobody", obj(`{"kind":"barrier","parties":0}`), "parties 0"},
		{"block of no kind", with(`["group",7]`), "not a block"},
		{"op of no kind", with(`7`), "not an op"},
		{"empty op", with(`[]`), "not an op"},
		{"op without a name", with(`[7]`), "not an op"},
		{"unknown op", with(`["jump"]`), "no op"},
		{"too few arguments", with(`["log"]`), "takes 1"},
		{"too many arguments", with(`["log","a","b"]`), "takes 1"},
		{"log of a number", with(`["log",1]`), "bad argument"},
		{"unknown body", with(`["spawn","z"]`), "no body"},
		{"body that is none", with(`["spawn",["b"]]`), "no body"},
		{"earlier body", with(`["spawn","main"]`), "not a later"},
		{"own body", with(`["call","a"]`), "not a later"},
		{"earlier item", with(`["await",["t","main"]]`), "not a later"},
		{"unknown item", with(`["await",["x","b"]]`), "bad item"},
		{"item of no kind", with(`["await","b"]`), "bad item"},
		{"item without a future", with(`["await",["f","l"]]`), "no future"},
		{"body in a wait", with(`["wait",[["b","b"]],"ALL",null]`), "bad item"},
		{"body in on_done", with(`["on_done",["b","b"],"k",[]]`), "bad item"},
		{"no items", with(`["gather",[],false]`), "bad argument"},
		{"mode of a wait", with(`["wait",[["t","b"]],"SOME",null]`), "bad argument"},
		{"object of another kind", with(`["put","l",1]`), "bad argument"},
		{"unknown object", with(`["put","z",1]`), "bad argument"},
		{"negative time", with(`["sleep",-1]`), "bad argument"},
		{"fraction", with(`["sleep",1.0]`), "invalid syntax"},
		{"time beyond all bounds", with(`["sleep",100000001]`), "bad argument"},
		{"number beyond all bounds", with(`["return",99999999999999999999]`), "out of range"},
		{"bool", with(`["gather",[["t","b"]],1]`), "bad argument"},
		{"waiting in a callback", with(`["call_soon","k",[["sleep",0]]]`), "in a callback"},
		{"task's op in a callback", with(`["on_done",["t","b"],"k",[["uncancel"]]]`), "in a callback"},
		{"return in finally", with(`["try",[],[],[["repeat",1,[["return",1]]]]]`), "return in finally"},
		{"handlers of no kind", with(`["try",[],7,[]]`), "handlers"},
		{"handler too short", with(`["try",[],[["any",[]]],[]]`), "not a handler"},
		{"handler of no kind", with(`["try",[],[["some",[],"swallow"]],[]]`), "bad handler"},
		{"handler that does nothing known", with(`["try",[],[["any",[],"forget"]],[]]`), "bad handler"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Parse([]byte(tt.program))
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Parse returns %v and error %v, want an error with %q", p, err, tt.err)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	for _, tt := range []struct{ name, program, want string }{
		{"the least", `{"bodies":{"main":[]}}`, `{"mode":"idle","objs":{},"bodies":{"main":[]}}`},
		{
			"of two of a name the last, in the place of the first", // as Python reads JSON
			`{"bodies":{"main":[["log","x"]],"a":[],"main":[]}}`,
			`{"mode":"idle","objs":{},"bodies":{"main":[],"a":[]}}`,
		},
		{"names are as they are", `{"Mode":7,"bodies":{"main":[["log","<&\u00e9>"]]}}`, `{"mode":"idle","objs":{},"bodies":{"main":[["log","<&é>"]]}}`},
		{
			"a callback may start any body",
			`{"bodies":{"main":[["call_soon","k",[["spawn","main"]]]]}}`,
			`{"mode":"idle","objs":{},"bodies":{"main":[["call_soon","k",[["spawn","main"]]]]}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Parse([]byte(tt.program))
			if err != nil {
				t.Fatal(err)
			}
			if got := p.String(); got != tt.want {
				t.Errorf("read as %s, want %s", got, tt.want)
			}
		})
	}
}

// Programs without end are ended by the limit on ops.
func TestRunIsBounded(t *testing.T) {
	for _, tt := range []struct{ name, program string }{
		{"ops", `{"bodies":{"main":[["repeat",100000000,[["log","x"]]]]}}`},
		{"empty rounds", `{"bodies":{"main":[["repeat",100000000,[["repeat",100000000,[]]]]]}}`},
		{"callbacks", `{"bodies":{"main":[["call_soon","k",[["spawn","main"]]]]}}`},
		{"timers", `{"bodies":{"main":[["call_later",100000000,"k",[["spawn","main"]]]]}}`},
		{"run", `{"mode":"run","bodies":{"main":[["repeat",100000000,[["sleep",100000000]]]]}}`},
		{"swallowed", `{"mode":"run","bodies":{"main":[["repeat",100000000,[["try",[["spawn","a"],["sleep",1]],[["any",[],"swallow"]],[["log","x"]]]]]],"a":[["repeat",100000000,[["try",[["sleep",9]],[["any",[],"swallow"]],[]]]]]}}`},
		{"eager", `{"eager":true,"bodies":{"main":[["repeat",100000000,[["group",[["gspawn","a"]]]]]],"a":[["call_soon","k",[["spawn","main"]]]]}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Parse([]byte(tt.program))
			if err != nil {
				t.Fatal(err)
			}
			trace, err := Run(p)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(trace, "\n"); n > 10*maxOps {
				t.Errorf("a trace of %d lines", n)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	const want = "1\n2\n3\n4\n5\n6\n7\n8\n9\n"
	for _, tt := range []struct{ name, got, diff string }{
		{"equal", want, ""},
		{"a line", "1\n2\n3\n4\n5\nx\n7\n8\n9\n", `line 6
       2
       3
       4
       5
got    x
       7
       8
       9
want   6
       7
       8
       9
`},
		{"too short", "1\n", "line 2\n       1\ngot    (the end)\nwant   2\n       3\n       4\n       5\n"},
		{"nothing", "", "line 1\ngot    (the end)\nwant   1\n       2\n       3\n       4\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Diff(tt.got, want); got != tt.diff {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.diff)
			}
		})
	}
}
