package conformance

import (
	"slices"
	"strings"
	"testing"
)

// contains reports whether a block has the op inner, or has it somewhere inside
// of the op outer if that is not "".
func contains(ops []Op, outer, inner string) bool {
	for i := range ops {
		if outer == "" && ops[i].Name == inner {
			return true
		}
		rest := outer
		if ops[i].Name == outer {
			rest = ""
		}
		for _, b := range nested(&ops[i]) {
			if contains(b.ops, rest, inner) {
				return true
			}
		}
	}
	return false
}

// hasInside returns whether a program has one op inside of another.
func hasInside(outer, inner string) func(*Program) bool {
	return func(p *Program) bool {
		for _, b := range p.Bodies {
			if contains(b.Ops, outer, inner) {
				return true
			}
		}
		return false
	}
}

func traceHas(s string) func(*Program) bool {
	return func(p *Program) bool {
		t, err := Run(p)
		return err == nil && strings.Contains(t, s)
	}
}

func TestShrink(t *testing.T) {
	const big = `{"id":9,"mode":"run","eager":true,"objs":{"l0":{"kind":"lock"},"c0":{"kind":"cond","lock":"l0"},
		"s0":{"kind":"sem","value":3,"bounded":true},"q0":{"kind":"queue","maxsize":2},"f0":{"kind":"future"}},"bodies":{
		"main":[["spawn","a"],["spawn","b"],["sleep",5],["with","c0",[["log","x"],["timeout",7,[["cond_wait","c0"],["notify","c0",4]]]]],
			["gather",[["t","a"],["f","f0"],["b","b"]],true],["wait",[["t","a"],["f","f0"]],"EXC",8],
			["on_done",["f","f0"],"k",[["put_nowait","q0",-9],["spawn","main"]]],["repeat",2,[["fut_set","f0",3]]],["acquire","s0"]],
		"a":[["try",[["call","b"],["raise","k"]],[["timeout",[["log","t"]],"reraise"],["error",[["sleep",3]],"swallow"]],[["log","f"]]]],
		"b":[["group",[["gspawn","c"],["put","q0",6],["await",["f","f0"]]]],["return",5]],
		"c":[["sleep",9]]}}`
	program := func(objs, bodies string) string {
		return `{"id":9,"mode":"idle","objs":{` + objs + `},"bodies":{` + bodies + `}}`
	}
	for _, tt := range []struct {
		name    string
		differs func(*Program) bool
		want    string
	}{
		{"anything", func(*Program) bool { return true }, program("", `"main":[]`)},
		{
			"mode and eager", func(p *Program) bool { return p.Mode == "run" && p.Eager },
			`{"id":9,"mode":"run","eager":true,"objs":{},"bodies":{"main":[]}}`,
		},
		{"an op in an op", hasInside("timeout", "notify"), program(`"c0":{"kind":"cond"}`, `"main":[["timeout",null,[["notify","c0",0]]]]`)},
		{
			"an op in a callback", hasInside("on_done", "put_nowait"),
			program(`"q0":{"kind":"queue"},"f0":{"kind":"future"}`, `"main":[["on_done",["f","f0"],"k",[["put_nowait","q0",0]]]]`),
		},
		{"an op in a handler", hasInside("try", "sleep"), program("", `"main":[],"a":[["try",[],[["error",[["sleep",0]],"swallow"]],[]]]`)},
		{"a block without its op", hasInside("", "raise"), program("", `"main":[],"a":[["raise","k"]]`)},
		{"an object", func(p *Program) bool { return slices.ContainsFunc(p.Objs, func(o Obj) bool { return o.Kind == "sem" }) }, program(`"s0":{"kind":"sem"}`, `"main":[]`)},
		{
			"a value", func(p *Program) bool {
				return strings.Contains(p.String(), `["return",`) && !strings.Contains(p.String(), `["return",0]`)
			},
			program("", `"main":[],"b":[["return",1]]`),
		},
		{"what happens", traceHas("error E(k)"), program("", `"main":[["spawn","a"]],"a":[["raise","k"]]`)},
		{"a body in between", traceHas("c.1 < sleep"), program("", `"main":[["gather",[["b","c"]],false]],"c":[["sleep",0]]`)},
		{"when it happens", traceHas("3 a.1 < sleep"), program("", `"main":[["spawn","a"]],"a":[["sleep",3]]`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Parse([]byte(big))
			if err != nil {
				t.Fatal(err)
			}
			before := p.String()
			asked := make(map[string]bool)
			got := Shrink(p, func(p *Program) bool {
				if err := p.Validate(); err != nil {
					t.Errorf("asked about %s: %v", p, err)
				}
				if asked[p.String()] {
					t.Errorf("asked twice about %s", p)
				}
				asked[p.String()] = true
				return tt.differs(p)
			})
			if got.String() != tt.want {
				t.Errorf("shrunk to\n\t%s\nwant\n\t%s", got, tt.want)
			}
			if p.String() != before {
				t.Errorf("Shrink has changed its argument: %s", p)
			}
		})
	}
}
