package layering

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	module = "github.com/eddyloop/eddy"
	self   = "internal/layering"
	marker = "<!-- layering -->"
)

// allowed lists the modules outside the standard library that non-test files
// may import.
var allowed = []string{"golang.org/x/sys"}

// A table tells on which level each folder stands: what is in it may import
// only from lower ones. Folders are paths relative to the module root.
type table map[string]row

type row struct {
	level   int  // in halves: 2½ is 5
	planned bool // written in parentheses: the folder need not exist yet
}

// parseTable reads the fenced block that follows the line with the marker.
func parseTable(doc string) (table, error) {
	_, rest, ok := strings.Cut(doc, marker)
	if !ok {
		return nil, fmt.Errorf("no line with %s", marker)
	}
	_, rest, ok = strings.Cut(rest, "\n```")
	if !ok {
		return nil, fmt.Errorf("no fenced block after %s", marker)
	}
	_, rest, _ = strings.Cut(rest, "\n") // what follows the fence on its line
	block, _, ok := strings.Cut("\n"+rest, "\n```")
	if !ok {
		return nil, fmt.Errorf("the block after %s has no end", marker)
	}
	tab := table{}
	for line := range strings.Lines(block) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		level, err := parseLevel(words[0])
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", strings.TrimSpace(line), err)
		}
		if len(words) == 1 {
			return nil, fmt.Errorf("line %q names no package", strings.TrimSpace(line))
		}
		for _, w := range words[1:] {
			name, opened := strings.CutPrefix(w, "(")
			name, closed := strings.CutSuffix(name, ")")
			if opened != closed || name == "" || strings.ContainsAny(name, "(),") {
				return nil, fmt.Errorf("line %q: %q is not a package, nor one in parentheses", strings.TrimSpace(line), w)
			}
			if _, twice := tab[name]; twice {
				return nil, fmt.Errorf("%s is there twice", name)
			}
			tab[name] = row{level, opened}
		}
	}
	if len(tab) == 0 {
		return nil, errors.New("the table is empty")
	}
	return tab, nil
}

// parseLevel reads 2, 2½ or ½, and returns halves.
func parseLevel(s string) (int, error) {
	whole, half := strings.CutSuffix(s, "½")
	n := 0
	if whole != "" || !half {
		u, err := strconv.ParseUint(whole, 10, 8)
		if err != nil {
			return 0, fmt.Errorf("%q is not a level", s)
		}
		n = 2 * int(u)
	}
	if half {
		n++
	}
	return n, nil
}

func levelString(halves int) string {
	switch {
	case halves%2 == 0:
		return strconv.Itoa(halves / 2)
	case halves == 1:
		return "½"
	}
	return strconv.Itoa(halves/2) + "½"
}

// find returns the entry that pkg belongs to: its own, or that of the innermost
// folder around it, so that cmd/demo/internal/x belongs to cmd/demo.
func (tab table) find(pkg string) (name string, ok bool) {
	for name = pkg; ; {
		if _, ok := tab[name]; ok {
			return name, true
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return "", false
		}
		name = name[:i]
	}
}

// A graph holds the imports of each package, by import path.
type graph map[string][]string

// relative returns the path of an import relative to the module root.
func relative(path string) (rel string, ok bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// check returns a sentence for each way in which g differs from tab, in order
// of package and import.
func check(tab table, g graph) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, path := range slices.Sorted(maps.Keys(g)) {
		pkg, ok := relative(path)
		if !ok {
			fault("%s is not in module %s", path, module)
			continue
		}
		if pkg == self {
			continue
		}
		from, known := tab.find(pkg)
		if !known {
			fault("%s is not in the table: add it to DESIGN.md, on the line above all it imports", pkg)
		}
		for _, imp := range slices.Sorted(slices.Values(g[path])) {
			dep, inside := relative(imp)
			if !inside {
				if why := checkOutside(imp); why != "" {
					fault("%s imports %q: %s", pkg, imp, why)
				}
				continue
			}
			to, ok := tab.find(dep)
			if !known || !ok || from == to {
				continue // said where dep is the importer; or within one entry
			}
			if a, b := tab[from].level, tab[to].level; b >= a {
				fault("%s (level %s) imports %s (level %s): an import may only go to a lower level",
					pkg, levelString(a), dep, levelString(b))
			}
		}
	}
	return faults
}

// checkOutside says what is wrong with the import of a package from outside the
// module, or nothing.
func checkOutside(imp string) string {
	if imp == "C" {
		return "eddy needs no C compiler"
	}
	if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	for _, m := range allowed {
		if imp == m || strings.HasPrefix(imp, m+"/") {
			return ""
		}
	}
	return "the root module depends on nothing but " + strings.Join(allowed, ", ")
}

// checkFolders returns a sentence for each entry that claims a folder that does
// not exist, and each that is still called planned though it is there.
func checkFolders(tab table, exists func(folder string) bool) []string {
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(tab)) {
		switch planned, there := tab[name].planned, exists(name); {
		case !planned && !there:
			faults = append(faults, fmt.Sprintf("%s is in the table but has no Go files: write (%s) while it is planned", name, name))
		case planned && there:
			faults = append(faults, fmt.Sprintf("(%s) is in the table as planned, but it is there: drop the parentheses", name))
		}
	}
	return faults
}

func TestRepository(t *testing.T) {
	root := filepath.Join("..", "..")
	doc, err := os.ReadFile(filepath.Join(root, "DESIGN.md"))
	if err != nil {
		t.Fatalf("DESIGN.md, which has the table of layers, cannot be read: %v", err)
	}
	tab, err := parseTable(string(doc))
	if err != nil {
		t.Fatalf("DESIGN.md: table of layers: %v", err)
	}
	folders := goFolders(t, root)
	for _, f := range check(tab, listImports(t, root)) {
		t.Error(f)
	}
	for _, f := range checkFolders(tab, func(name string) bool { return folders[name] }) {
		t.Error(f)
	}
}

// goFolders returns the folders with Go files in or below them, nested modules
// included. As it looks at every file, go test knows that its result depends on
// them all, and does not answer from its cache when one has changed; it would
// not know it from the go list that listImports runs.
func goFolders(t *testing.T, root string) map[string]bool {
	t.Helper()
	folders := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && (name[0] == '.' || name[0] == '_' || name == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		if _, err := os.Stat(path); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		for ; err == nil && !folders[rel]; rel = filepath.Dir(rel) {
			folders[filepath.ToSlash(rel)] = true
		}
		return err
	})
	if err != nil {
		t.Fatalf("looking for Go files: %v", err)
	}
	return folders
}

// builds are the systems and tags whose files are looked at. go list sees only
// the files of one build, so a forbidden import in the kqueue poller would go
// unseen on Linux.
var builds = []struct{ goos, tags string }{
	{"linux", ""},
	{"linux", "pollonly"},
	{"linux", "race"},
	{"darwin", ""},
	{"freebsd", ""},
	{"openbsd", ""},
	{"netbsd", ""},
	{"solaris", ""},
	{"windows", ""},
}

// listImports returns what the non-test files of the module import in any of
// the builds.
func listImports(t *testing.T, root string) graph {
	t.Helper()
	g := graph{}
	for _, b := range builds {
		cmd := exec.Command("go", "list", "-e", "-tags="+b.tags, "-json=ImportPath,Imports", "./...")
		cmd.Dir = root
		// With cgo on, files that import "C" are listed too; none is compiled.
		cmd.Env = append(os.Environ(), "GOOS="+b.goos, "GOARCH=amd64", "CGO_ENABLED=1", "GOFLAGS=", "GOWORK=off")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list for %s: %v\n%s", b.goos, err, &stderr)
		}
		for dec := json.NewDecoder(bytes.NewReader(out)); ; {
			var p struct {
				ImportPath string
				Imports    []string
			}
			if err := dec.Decode(&p); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("go list for %s: %v", b.goos, err)
			}
			for _, imp := range append(p.Imports, g[p.ImportPath]...) {
				if !slices.Contains(g[p.ImportPath], imp) {
					g[p.ImportPath] = append(g[p.ImportPath], imp)
				}
			}
			if _, ok := g[p.ImportPath]; !ok {
				g[p.ImportPath] = nil
			}
		}
	}
	if _, ok := g[module+"/"+self]; !ok {
		t.Fatalf("go list did not even find %s: it saw %d packages", self, len(g))
	}
	return g
}

func TestParseTable(t *testing.T) {
	for _, tt := range []struct {
		name string
		doc  string
		want table
		err  string // part of it
	}{
		{
			name: "levels, halves and planned packages",
			doc: "# Design\n```\n9 other\n```\n<!-- layering -->\n\n```text\n" +
				"5   cmd/demo   (inspect)\n\n2½  internal/waitq\n½   a\n0   timerheap poller\n```\nmore\n```\n7 z\n```\n",
			want: table{
				"cmd/demo": {10, false}, "inspect": {10, true}, "internal/waitq": {5, false},
				"a": {1, false}, "timerheap": {0, false}, "poller": {0, false},
			},
		},
		{name: "no marker", doc: "```\n1 a\n```\n", err: "no line with"},
		{name: "no block", doc: "<!-- layering -->\n1 a\n", err: "no fenced block"},
		{name: "open block", doc: "<!-- layering -->\n```\n1 a\n", err: "has no end"},
		{name: "empty block", doc: "<!-- layering -->\n```\n```\n", err: "is empty"},
		{name: "no level", doc: "<!-- layering -->\n```\nloop sched\n```\n", err: `"loop" is not a level`},
		{name: "negative level", doc: "<!-- layering -->\n```\n-1 sched\n```\n", err: "is not a level"},
		{name: "level alone", doc: "<!-- layering -->\n```\n3\n```\n", err: "names no package"},
		{name: "twice", doc: "<!-- layering -->\n```\n3 a\n2 (a)\n```\n", err: "a is there twice"},
		{name: "remark", doc: "<!-- layering -->\n```\n3 a (planned b)\n```\n", err: "nor one in parentheses"},
		{name: "commas", doc: "<!-- layering -->\n```\n3 a, b\n```\n", err: "is not a package"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseTable(tt.doc)
			if !maps.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got error %v, want one with %q", err, tt.err)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	tab := table{
		"cmd/demo": {10, false}, "internal/waitq": {5, false}, "future": {4, false}, "transport": {4, false},
		"loop": {2, false}, "poller": {0, false}, "poller/odd": {9, false},
	}
	const m = module + "/"
	for _, tt := range []struct {
		name string
		g    graph
		want []string // parts of the faults, in order
	}{
		{"downward", graph{m + "future": {m + "loop", "context"}, m + "loop": {m + "poller"}, m + "poller": nil}, nil},
		{"over several levels", graph{m + "internal/waitq": {m + "poller"}}, nil},
		{
			"same level",
			graph{m + "future": {m + "transport"}},
			[]string{"future (level 2) imports transport (level 2)"},
		},
		{
			"upward",
			graph{m + "loop": {m + "future"}},
			[]string{"loop (level 1) imports future (level 2)"},
		},
		{
			"upward by a half",
			graph{m + "future": {m + "internal/waitq"}},
			[]string{"future (level 2) imports internal/waitq (level 2½)"},
		},
		{
			"unknown importer",
			graph{m + "wheel": {m + "loop"}},
			[]string{"wheel is not in the table: add it"},
		},
		{
			"unknown root package",
			graph{module: {m + "loop"}},
			[]string{". is not in the table"},
		},
		{
			"prefix of a name is not a folder",
			graph{m + "loops": nil},
			[]string{"loops is not in the table"},
		},
		{"folder below an entry", graph{m + "cmd/demo": {m + "cmd/demo/internal/x"}, m + "cmd/demo/internal/x": {m + "loop"}}, nil},
		{
			"folder below an entry, upward",
			graph{m + "loop/internal/x": {m + "cmd/demo"}},
			[]string{"loop/internal/x (level 1) imports cmd/demo (level 5)"},
		},
		{
			"longest entry counts",
			graph{m + "loop": {m + "poller/odd/x"}},
			[]string{"loop (level 1) imports poller/odd/x (level 4½)"},
		},
		{"the test itself", graph{m + self: {m + "future"}}, nil},
		{"x/sys", graph{m + "poller": {"golang.org/x/sys/unix"}}, nil},
		{"standard library", graph{m + "poller": {"unsafe", "net/http"}}, nil},
		{
			"stranger",
			graph{m + "poller": {"golang.org/x/sync/errgroup", "golang.org/x/system"}},
			[]string{`poller imports "golang.org/x/sync/errgroup": the root module`, `poller imports "golang.org/x/system"`},
		},
		{
			"stranger of an unknown package",
			graph{m + "wheel": {"example.org/a"}},
			[]string{"wheel is not in the table", `wheel imports "example.org/a"`},
		},
		{"C", graph{m + "poller": {"C"}}, []string{`poller imports "C"`}},
		{"another module", graph{"example.org/a": nil}, []string{"example.org/a is not in module"}},
		{
			"in order",
			graph{m + "poller": {m + "loop", m + "future"}, m + "loop": {m + "future"}},
			[]string{"loop (level 1) imports future", "poller (level 0) imports future", "poller (level 0) imports loop"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			compare(t, check(tab, tt.g), tt.want)
		})
	}
}

func TestCheckFolders(t *testing.T) {
	tab := table{"loop": {2, false}, "lop": {2, false}, "inspect": {10, true}, "queue": {6, true}}
	there := map[string]bool{"loop": true, "queue": true}
	compare(t, checkFolders(tab, func(name string) bool { return there[name] }), []string{
		"lop is in the table but has no Go files: write (lop)",
		"(queue) is in the table as planned, but it is there",
	})
}

// compare checks that each fault has the wanted part.
func compare(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.EqualFunc(got, want, strings.Contains) {
		t.Errorf("got faults\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
