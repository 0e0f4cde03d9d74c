package thread_test

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/eddyloop/eddy/thread"
)

// What CPython 3.13's queues did in random programs of calls that wait and calls that
// do not; testdata/programs.py explains the lines.
//
//go:embed testdata/programs.txt
var programs string

func TestQueueDoesWhatCPythonsDoes(t *testing.T) {
	n := 0
	for _, text := range strings.Split(programs, "program ")[1:] {
		n++
		bubble(t, func(t *testing.T) { runProgram(t, strings.Split(strings.TrimSpace(text), "\n")) })
		if t.Failed() {
			t.Fatalf("in program %d", n)
		}
	}
	if n < 100 {
		t.Errorf("only %d programs", n)
	}
}

// A caller makes the calls of one program.
type caller struct {
	q     *thread.Queue[int]
	mu    sync.Mutex
	ended []string // of those that waited
}

func runProgram(t *testing.T, lines []string) {
	kind, bound, _ := strings.Cut(lines[0], " ")
	limit, err := strconv.Atoi(bound)
	must(t, err)
	c := &caller{q: newQueue(kind, limit)}
	for number, line := range lines[1:] {
		number = min(number, 40) // the last ones are all called 40
		call, want, _ := strings.Cut(line, "->")
		if got := c.call(number, strings.Fields(call)); strings.Join(got, " ") != strings.TrimSpace(want) {
			t.Fatalf("%s of %s\n%s\nhappened: %v", kind, bound, strings.Join(lines[1:number+2], "\n"), got)
		}
	}
}

func newQueue(kind string, bound int) *thread.Queue[int] {
	switch kind {
	case "lifo":
		return thread.NewLIFO[int](bound)
	case "priority":
		return thread.NewPriority(bound, func(a, b int) bool { return a < b })
	}
	return thread.NewQueue[int](bound)
}

// call makes a call and returns its result and those of the calls that it has ended.
func (c *caller) call(number int, words []string) []string {
	v := 0
	if len(words) > 1 {
		v, _ = strconv.Atoi(words[1])
	}
	var own []string
	switch words[0] {
	case "put", "get", "join":
		go func() {
			r := fmt.Sprintf("%d=%s", number, c.waits(words[0], v))
			c.mu.Lock()
			defer c.mu.Unlock()
			c.ended = append(c.ended, r)
		}()
	default:
		own = []string{fmt.Sprintf("%d=%s", number, c.atOnce(words[0], v))}
	}
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	ended := c.ended
	c.ended = nil
	slices.SortFunc(ended, func(a, b string) int { return numberOf(a) - numberOf(b) })
	return append(own, ended...)
}

func numberOf(result string) int {
	n, _, _ := strings.Cut(result, "=")
	i, _ := strconv.Atoi(n)
	return i
}

func (c *caller) waits(name string, v int) string {
	switch name {
	case "put":
		return named(c.q.Put(bg, v))
	case "join":
		return named(c.q.Join(bg))
	}
	return item(c.q.Get(bg))
}

func (c *caller) atOnce(name string, v int) (result string) {
	q := c.q
	defer func() {
		if recover() != nil {
			result = "ValueError"
		}
	}()
	switch name {
	case "put?":
		return named(q.TryPut(v))
	case "put0":
		return named(q.PutTimeout(bg, v, 0))
	case "get?":
		return item(q.TryGet())
	case "get0":
		return item(q.GetTimeout(bg, 0))
	case "done":
		q.Done()
	case "shutdown", "shutdown!":
		q.ShutDown(name == "shutdown!")
	case "len":
		return strconv.Itoa(q.Len())
	case "unfinished":
		return strconv.Itoa(q.Unfinished())
	case "empty":
		return strconv.FormatBool(q.Empty())
	case "full":
		return strconv.FormatBool(q.Full())
	default:
		return "no such call"
	}
	return "ok"
}

func item(v int, err error) string {
	if err == nil {
		return strconv.Itoa(v)
	}
	return named(err)
}

// named returns CPython's name of an error.
func named(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, thread.ErrFull):
		return "Full"
	case errors.Is(err, thread.ErrEmpty):
		return "Empty"
	case errors.Is(err, thread.ErrShutDown):
		return "ShutDown"
	}
	return err.Error()
}
