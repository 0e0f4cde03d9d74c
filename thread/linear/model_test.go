package linear_test

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"
)

// A kind is which queue, and its bound.
type kind struct {
	name  string // fifo, lifo, priority, simple
	bound int
}

func (k kind) String() string { return fmt.Sprintf("%s %d", k.name, k.bound) }

// An input is a call.
type input struct {
	op string
	v  byte // of puts
}

// An output is what a call returned.
type output struct {
	v   int // of gets; of len and unfinished the number
	err string
}

// A state is what is in the queue: the next item first. It is comparable.
type state struct {
	items      string
	unfinished int
	shut       bool
}

// rank is what orders the items of a priority queue: many are equal.
func rank(v byte) int { return int(v) % 4 }

// model returns the queue that all others are compared with.
func model(k kind) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, in, out any) (bool, any) { return step(k, s.(state), in.(input), out.(output)) },
		DescribeOperation: func(in, out any) string {
			i, o := in.(input), out.(output)
			return fmt.Sprintf("%s %d -> %d %s", i.op, i.v, o.v, o.err)
		},
		DescribeState: func(s any) string { return fmt.Sprintf("%+v", s) },
	}
}

// step reports whether a queue in state s may give this answer, and what state it is
// in then.
//
// A put that timed out must have found the queue full, at one moment, and a get must
// have found it empty. A call that was canceled must have done nothing.
func step(k kind, s state, in input, out output) (bool, state) {
	op, _, _ := strings.Cut(in.op, " ") // without the way it waits
	switch {
	case out.err == "canceled":
		return true, s
	case op == "put":
		return stepPut(k, s, in.v, out.err)
	case op == "get":
		return stepGet(s, out)
	}
	switch in.op {
	case "len":
		return out.v == len(s.items), s
	case "unfinished":
		return out.v == s.unfinished, s
	case "shutdown":
		s.shut = true
		return true, s
	case "shutdown now":
		s.unfinished -= len(s.items)
		s.items, s.shut = "", true
		return true, s
	}
	return false, s
}

func stepPut(k kind, s state, v byte, err string) (bool, state) {
	full := k.bound > 0 && len(s.items) >= k.bound
	switch err {
	case "shut down":
		return s.shut, s
	case "full":
		return full && !s.shut, s
	}
	if full || s.shut {
		return false, s
	}
	place := 0 // of a lifo
	switch k.name {
	case "fifo", "simple":
		place = len(s.items)
	case "priority":
		for place < len(s.items) && rank(s.items[place]) <= rank(v) {
			place++
		}
	}
	s.items = s.items[:place] + string([]byte{v}) + s.items[place:]
	s.unfinished++
	return true, s
}

func stepGet(s state, out output) (bool, state) {
	switch {
	case out.err == "shut down":
		return s.shut && s.items == "", s
	case out.err == "empty":
		return !s.shut && s.items == "", s
	case s.items == "" || int(s.items[0]) != out.v:
		return false, s
	}
	s.items = s.items[1:]
	return true, s
}
