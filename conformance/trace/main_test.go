package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	logs  = `"bodies":{"main":[["log","hi"]]}}`
	trace = "0 main.1 - begin main\n0 main.1 - log hi\n0 main.1 - end main return null\n" +
		"= end 0\n= main.1 result null cancelling=0\n"
	hash = "76c03ab4505ff138" // of trace
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return name
	}
	one := write("one.json", "{\n"+logs+"\n")
	many := write("many.ndjson", `{"id":7,`+logs+"\n\n"+`{"id":"a \u00e9\/b",`+logs+"\r\n"+`{`+logs+"\n"+`{"id":null,`+logs)
	bad := write("bad.ndjson", `{"id":1,`+logs+"\n"+`{"id":2,"bodies":{}}`+"\n")
	all := "### 7\n" + trace + "### a é/b\n" + trace + "### 3\n" + trace + "### None\n" + trace
	golden := write("golden", all)
	wrong := write("wrong", strings.Replace(all, "log hi", "log ho", 1))
	short := write("short", "### 7\n"+trace)
	for _, tt := range []struct {
		name, args, stdin string
		want, err         string
	}{
		{"a file", one, "", trace, ""},
		{"standard input", "-", "{" + logs, trace, ""},
		{"no name", "", "{" + logs, trace, ""},
		{"hash of a single program is its trace", "--sha " + one, "", trace, ""},
		{"not JSON", "-", "{" + logs + "}", "", "invalid character"},
		{"batch", "--batch " + many, "", all, ""},
		{"one dash", "-batch " + many, "", all, ""},
		{"flag after the name", many + " --batch", "", all, ""},
		{"flags after -", "- --batch --sha", "{" + logs, "0 HASH\n", ""},
		{"hashes", "--batch --sha " + many, "", "7 HASH\na é/b HASH\n3 HASH\nNone HASH\n", ""},
		{"check", "--check-only " + one, "", "", ""},
		{"traces before a bad program are printed", "--batch " + bad, "", "### 1\n" + trace, "line 2: the first body is not main"},
		{"no difference", "--compare " + golden + " " + many, "", "4 programs, none differs\n", ""},
		{
			"a difference", many + " -compare " + wrong, "",
			"### 7 line 2\n       0 main.1 - begin main\n" +
				"got    0 main.1 - log hi\n       0 main.1 - end main return null\n       = end 0\n       = main.1 result null cancelling=0\n" +
				"want   0 main.1 - log ho\n       0 main.1 - end main return null\n       = end 0\n       = main.1 result null cancelling=0\n" +
				`{"id":7,"mode":"idle","objs":{},"bodies":{"main":[["log","hi"]]}}` + "\n\n",
			"1 of 4 programs differ",
		},
		{"too few golden traces", "--compare " + short + " " + many, "", "", "no trace in its place"},
		{"two files", one + " " + one, "", "", "one file at a time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			err := run(strings.Fields(tt.args), strings.NewReader(tt.stdin), &out)
			if want := strings.ReplaceAll(tt.want, "HASH", hash); out.String() != want {
				t.Errorf("printed:\n%s\nwant:\n%s", out.String(), want)
			}
			if got := fmt.Sprint(err); tt.err == "" && err != nil || !strings.Contains(got, tt.err) {
				t.Errorf("error %v, want one with %q", err, tt.err)
			}
		})
	}
}
