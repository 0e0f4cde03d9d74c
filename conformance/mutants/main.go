// Mutants tells how sharp the programs of package conformance are: it puts bugs
// into copies of eddy, one at a time, and reports which of them no program
// notices. Its exit status is 1 if there is one.
//
//	mutants [-run REGEXP] [-v]
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/eddyloop/eddy/conformance"
)

// patience bounds the run of all programs of a level, which takes a second.
const patience = 30 * time.Second

func main() {
	only := flag.String("run", "", "only the mutants whose names match this `regexp`")
	verbose := flag.Bool("v", false, "print a command that shows the differences")
	flag.Parse()
	if err := run(*only, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(only string, verbose bool) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	if !verbose {
		defer os.RemoveAll(dir)
	}
	levels, err := readLevels(filepath.Join(root, "conformance", "testdata"), dir)
	if err != nil {
		return err
	}
	// The copy without a bug: else every mutant would seem to be caught.
	if v := judge(root, filepath.Join(dir, "none"), mutant{name: "none"}, levels); v.err != nil || v.caught() {
		return fmt.Errorf("eddy as it is: %v", v)
	}
	var chosen []mutant
	for _, m := range mutants {
		if match.MatchString(m.name) {
			chosen = append(chosen, m)
		}
	}
	verdicts := make([]verdict, len(chosen))
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(2, runtime.GOMAXPROCS(0)/2))
	for i, m := range chosen {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			copied := filepath.Join(dir, fmt.Sprint(i))
			verdicts[i] = judge(root, copied, m, levels)
			if verbose {
				verdicts[i].where = copied
			}
			fmt.Printf("%-50s %v\n", m.name, verdicts[i])
		})
	}
	wg.Wait()
	escaped, failed := 0, 0
	for _, v := range verdicts {
		if v.err != nil {
			failed++
		} else if !v.caught() {
			escaped++
		}
	}
	if escaped+failed > 0 {
		return fmt.Errorf("of %d mutants %d escaped, and %d could not be tried", len(chosen), escaped, failed)
	}
	fmt.Printf("all %d mutants are caught\n", len(chosen))
	return nil
}

// moduleRoot returns the folder of the module that the current one is in.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("not in the module")
	}
	return filepath.Dir(mod), nil
}

// A level is a file of programs and what they should print.
type level struct {
	programs string   // the file, not compressed
	want     []string // lines of trace --batch --sha
}

func readLevels(testdata, dir string) ([]level, error) {
	names, err := filepath.Glob(filepath.Join(testdata, "*.ndjson.gz"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no programs in %s", testdata)
	}
	var levels []level
	for _, name := range names {
		programs, err := expand(name)
		if err != nil {
			return nil, err
		}
		l := level{programs: filepath.Join(dir, filepath.Base(strings.TrimSuffix(name, ".gz")))}
		if err := os.WriteFile(l.programs, programs, 0o666); err != nil {
			return nil, err
		}
		golden, err := expand(strings.TrimSuffix(name, ".ndjson.gz") + ".golden.gz")
		if err != nil {
			return nil, err
		}
		traces, err := conformance.ReadTraces(bytes.NewReader(golden))
		if err != nil {
			return nil, err
		}
		for _, t := range traces {
			sum := sha256.Sum256([]byte(t.Text))
			l.want = append(l.want, t.ID+" "+hex.EncodeToString(sum[:])[:16])
		}
		levels = append(levels, l)
	}
	return levels, nil
}

func expand(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return io.ReadAll(z)
}

// A verdict is what became of a mutant.
type verdict struct {
	programs, differ int
	died             string // how the run of some programs ended early
	first            string // the first difference
	where            string // the copy, if it is kept
	err              error  // it could not be tried
}

func (v verdict) caught() bool { return v.differ > 0 || v.died != "" }

func (v verdict) String() string {
	s := "ESCAPED"
	switch {
	case v.err != nil:
		s = fmt.Sprintf("ERROR: %v", v.err)
	case v.died != "":
		s = fmt.Sprintf("caught: %s; %d of %d programs differ", v.died, v.differ, v.programs)
	case v.differ > 0:
		s = fmt.Sprintf("caught: %d of %d programs differ", v.differ, v.programs)
	}
	if v.where != "" {
		s += "\n\tin " + v.where + ", first " + v.first
	}
	return s
}

// judge copies the module to dir, puts the bug in, and runs the programs.
func judge(root, dir string, m mutant, levels []level) (v verdict) {
	if v.err = copyModule(root, dir); v.err != nil {
		return v
	}
	if v.err = m.apply(dir); v.err != nil {
		return v
	}
	binary := filepath.Join(dir, "trace.exe")
	// With -trimpath a second run finds the packages in the build cache.
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./conformance/trace")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		v.err = fmt.Errorf("it does not build: %w\n%s", err, out)
		return v
	}
	for _, l := range levels {
		v.run(binary, l)
	}
	return v
}

// run runs the programs of a level, and counts those that differ. What a run that
// ended early has not said is not counted.
func (v *verdict) run(binary string, l level) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "--batch", "--sha", l.programs)
	out, err := cmd.Output()
	v.programs += len(l.want)
	if ctx.Err() != nil {
		v.died = "hangs"
	} else if err != nil {
		v.died = "crashes"
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		line, whole := strings.CutSuffix(line, "\n")
		if !whole || n == len(l.want) {
			break
		}
		if line != l.want[n] {
			v.differ++
			if id, _, _ := strings.Cut(line, " "); v.first == "" {
				v.first = filepath.Base(l.programs) + " " + id
			}
		}
		n++
	}
	if n < len(l.want) && v.died == "" {
		v.died = "ends early"
	}
}

// copyModule copies what a build needs.
func copyModule(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if rel == "." {
				return os.MkdirAll(to, 0o777)
			}
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if strings.HasPrefix(name, ".") || name == "testdata" || err == nil { // or a module of its own
				return filepath.SkipDir
			}
			return os.Mkdir(filepath.Join(to, rel), 0o777)
		}
		source := strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
		if !source && rel != "go.mod" && rel != "go.sum" {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o666)
	})
}

// apply puts the bug into the module in dir.
func (m mutant) apply(dir string) error {
	for _, e := range m.edits {
		name := filepath.Join(dir, filepath.FromSlash(e.file))
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		text, err := e.apply(string(data))
		if err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// apply returns the text of the file with the edit made. Text that is not found,
// or found twice, is an error: a mutant that changes nothing would seem to escape,
// one that changes something else to be caught.
func (e edit) apply(text string) (string, error) {
	if n := strings.Count(text, e.old); n != 1 {
		return "", fmt.Errorf("%s: found %d times, not once: %q; mend the mutant in conformance/mutants", e.file, n, e.old)
	}
	return strings.Replace(text, e.old, e.new, 1), nil
}
