// Trace runs programs of the conformance language on eddy and prints their
// traces, in the form of CPython's.
//
//	trace FILE          one program; - is standard input
//	trace --batch FILE  a program a line; "### ID" before each trace
//	trace --batch --sha FILE  a line "ID SHA16" for each program
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/eddyloop/eddy/conformance"
)

func main() {
	batch := flag.Bool("batch", false, "a program a line")
	sha := flag.Bool("sha", false, "with -batch: print a hash of each trace")
	flag.Parse()
	if err := run(*batch, *sha, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "trace:", err)
		os.Exit(1)
	}
}

func run(batch, sha bool, name string) error {
	in := io.Reader(os.Stdin)
	if name != "" && name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	if !batch {
		data, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		t, err := trace(data)
		if err != nil {
			return err
		}
		_, err = io.WriteString(out, t)
		return err
	}
	lines := bufio.NewReaderSize(in, 1<<20)
	for n := 0; ; n++ {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if err := one(out, line, n, sha); err != nil {
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

func one(out io.Writer, line []byte, n int, sha bool) error {
	p, err := conformance.Parse(line)
	if err != nil {
		return fmt.Errorf("program %d: %w", n, err)
	}
	id := string(p.ID)
	if id == "" {
		id = strconv.Itoa(n)
	} else if s, err := strconv.Unquote(id); err == nil {
		id = s
	}
	t, err := conformance.Run(p)
	if err != nil {
		return fmt.Errorf("program %s: %w", id, err)
	}
	if sha {
		sum := sha256.Sum256([]byte(t))
		fmt.Fprintf(out, "%s %s\n", id, hex.EncodeToString(sum[:])[:16])
		return nil
	}
	fmt.Fprintf(out, "### %s\n%s", id, t)
	return nil
}

func trace(data []byte) (string, error) {
	p, err := conformance.Parse(data)
	if err != nil {
		return "", err
	}
	return conformance.Run(p)
}
