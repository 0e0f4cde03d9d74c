//go:build linux

// Chaos shows what eddy survives: descriptors that are used again, storms of
// connections, peers that reset, stall and lie, system calls that fail, networks
// that lose, children that die. Each scenario runs in a process of its own with a
// time limit, so that one that hangs is a verdict; each counts what was lost, and
// what has leaked.
//
//	go run ./cmd/chaos                 all of them, as text
//	go run ./cmd/chaos -run 'R1[0-9]'  some
//	go run ./cmd/chaos -json > x.json  as JSON
//	go run ./cmd/chaos -doc x.json     that as docs/RELIABILITY.md
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"

	"github.com/eddyloop/eddy/executor"
)

func main() {
	runProgram()
	executor.WorkerMain()
	var (
		asJSON = flag.Bool("json", false, "print JSON")
		run    = flag.String("run", "", "only the scenarios whose id or title matches this `regexp`")
		quick  = flag.Bool("quick", false, "a tenth of the load")
		list   = flag.Bool("list", false, "list the scenarios, run none")
		root   = flag.Bool("root", true, "run also what needs root, strace or other tools, where it can be run")
		doc    = flag.String("doc", "", "write the document made of this `file` of JSON, run nothing")
		child  = flag.String("child", "", "run one part of a scenario here; for the command's own use")
		scale  = flag.Float64("scale", 0, "multiply the loads by this `factor`; default 1")
		seed   = flag.Uint64("seed", 0, "seed of what is random; default: a new one")
	)
	flag.Parse()
	o := options{scale: *scale, root: *root, seed: *seed}
	if o.scale <= 0 {
		o.scale = 1
	}
	if *quick {
		o.scale /= 10
	}
	switch {
	case *child != "":
		os.Exit(runChild(*child, o))
	case *list:
		for _, s := range scenarios() {
			fmt.Printf("%s  %s\n", s.id, s.title)
		}
	case *doc != "":
		exitOn(writeDoc(os.Stdout, *doc))
	default:
		only, err := regexp.Compile(*run)
		exitOn(err)
		os.Exit(runAll(only, o, *asJSON))
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	}
}

// runAll runs the scenarios, one after the other, and returns the exit status: 1
// if one is broken.
func runAll(only *regexp.Regexp, o options, asJSON bool) int {
	rep := newReport(o)
	status := 0
	for _, s := range scenarios() {
		if !only.MatchString(s.id) && !only.MatchString(s.title) {
			continue
		}
		if asJSON {
			fmt.Fprintf(os.Stderr, "%s %s\n", s.id, s.title)
		}
		row := runScenario(s, o)
		if row.Verdict == broken {
			status = 1
		}
		rep.Rows = append(rep.Rows, row)
		if !asJSON {
			printRow(os.Stdout, row)
		} else if row.Verdict != held {
			printRow(os.Stderr, row)
		}
	}
	if asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "\t")
		exitOn(enc.Encode(rep))
	}
	return status
}
