// Trace runs programs of the conformance language on eddy and prints their
// traces, in the form of CPython's.
//
//	trace FILE                  one program; - or nothing is standard input
//	trace --batch FILE          a program a line; "### ID" before each trace
//	trace --batch --sha FILE    a line "ID SHA16" for each program
//	trace --compare GOLDEN FILE a program a line; where its trace differs from GOLDEN's
//	trace --check-only FILE     only checks that the program can be run
//
// A name that ends in .gz is of a compressed file. With --compare the exit status
// is 1 if a trace differs.
package main

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/eddyloop/eddy/conformance"
)

func main() {
	out := bufio.NewWriter(os.Stdout)
	err := run(os.Args[1:], os.Stdin, out)
	if ferr := out.Flush(); err == nil {
		err = ferr
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "trace:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	batch, sha, check bool
	compare           string
	max               int
}

func run(args []string, stdin io.Reader, out io.Writer) error {
	var o options
	fs := flag.NewFlagSet("trace", flag.ContinueOnError)
	fs.BoolVar(&o.batch, "batch", false, "a program a line")
	fs.BoolVar(&o.sha, "sha", false, "with -batch: print a hash of each trace")
	fs.BoolVar(&o.check, "check-only", false, "run nothing")
	fs.StringVar(&o.compare, "compare", "", "show where the traces differ from those in this `file`")
	fs.IntVar(&o.max, "max", 10, "with -compare: show the differences of so many programs")
	var names []string
	for len(args) > 0 { // flags may follow the name
		if err := fs.Parse(args); err != nil {
			return err
		}
		if args = fs.Args(); len(args) > 0 {
			names = append(names, args[0])
			args = args[1:]
		}
	}
	if len(names) > 1 {
		return fmt.Errorf("one file at a time, not %q", names)
	}
	in := stdin
	if len(names) == 1 && names[0] != "-" {
		f, err := open(names[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	switch {
	case o.compare != "":
		return compare(o, in, out)
	case o.batch:
		return batch(o, in, out)
	}
	return single(o, in, out)
}

func single(o options, in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	p, err := conformance.Parse(data)
	if err != nil || o.check {
		return err
	}
	t, err := conformance.Run(p)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, t)
	return err
}

func batch(o options, in io.Reader, out io.Writer) error {
	return conformance.ReadPrograms(in, func(n int, p *conformance.Program) error {
		id, err := p.Label(n)
		if err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		if o.check {
			return nil
		}
		t, err := conformance.Run(p)
		if err != nil {
			return fmt.Errorf("program %s: %w", id, err)
		}
		if o.sha {
			sum := sha256.Sum256([]byte(t))
			_, err = fmt.Fprintf(out, "%s %s\n", id, hex.EncodeToString(sum[:])[:16])
		} else {
			_, err = fmt.Fprintf(out, "### %s\n%s", id, t)
		}
		return err
	})
}

// compare runs the programs and shows the first difference of each of the first
// that differ, and how many do.
func compare(o options, in io.Reader, out io.Writer) error {
	f, err := open(o.compare)
	if err != nil {
		return err
	}
	defer f.Close()
	golden, err := conformance.ReadTraces(f)
	if err != nil {
		return fmt.Errorf("%s: %w", o.compare, err)
	}
	count, differ := 0, 0
	err = conformance.ReadPrograms(in, func(n int, p *conformance.Program) error {
		id, err := p.Label(n)
		if err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		if count >= len(golden) || golden[count].ID != id {
			return fmt.Errorf("line %d: program %s has no trace in its place in %s", n+1, id, o.compare)
		}
		want := golden[count].Text
		count++
		got, err := conformance.Run(p)
		d := conformance.Diff(got, want)
		if err != nil {
			d = err.Error() + "\n"
		}
		if d == "" {
			return nil
		}
		if differ++; differ <= o.max {
			_, err = fmt.Fprintf(out, "### %s %s%s\n\n", id, d, p)
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	if count < len(golden) {
		return fmt.Errorf("%s has %d traces for %d programs", o.compare, len(golden), count)
	}
	if differ > 0 {
		return fmt.Errorf("%d of %d programs differ", differ, count)
	}
	_, err = fmt.Fprintf(out, "%d programs, none differs\n", count)
	return err
}

// open opens a file, which may be compressed.
func open(name string) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err != nil || !strings.HasSuffix(name, ".gz") {
		return f, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return &compressed{z, f}, nil
}

// A compressed is a compressed file: it reads one thing and closes another.
type compressed struct {
	io.Reader
	io.Closer
}
