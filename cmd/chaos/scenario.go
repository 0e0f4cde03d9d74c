//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A scenario is what can go wrong, and how it is made to.
type scenario struct {
	id, section, title string
	naive              string // what would go wrong in a naive implementation
	target             string // what is aimed for
	parts              []part
}

// A part of a scenario runs in a process of its own.
type part struct {
	name string // empty for the main one
	run  func(r *run)
	// inject is what strace injects into system calls, trace is which it counts: then
	// the part runs under it. check is called by the parent, with the counts.
	inject string
	trace  string
	check  func(w *row, calls map[string]int64)
	netns  bool          // in a network namespace of its own
	limit  time.Duration // after which it is taken to hang; default 100 s
}

func one(run func(r *run)) []part { return []part{{run: run}} }

// scenarios returns all of them, in the order of their ids.
func scenarios() []scenario {
	all := slices.Concat(pollerRows(), acceptRows(), streamRows(), packetRows(), executorRows(), systemRows())
	slices.SortStableFunc(all, func(a, b scenario) int { return strings.Compare(a.id, b.id) })
	return all
}

// find returns the part of a scenario that a child is to run: "R10" or "R10/name".
func find(name string) (scenario, part, error) {
	id, sub, _ := strings.Cut(name, "/")
	for _, s := range scenarios() {
		for _, p := range s.parts {
			if s.id == id && p.name == sub {
				return s, p, nil
			}
		}
	}
	return scenario{}, part{}, fmt.Errorf("no scenario %q", name)
}

type options struct {
	scale float64
	root  bool
	seed  uint64
}
