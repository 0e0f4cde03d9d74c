package future

import (
	"maps"
	"runtime"
	"slices"
	"unsafe"

	"github.com/eddyloop/eddy/loop"
)

// look notes that a failure has been seen.
func (c *Cell) look() {
	c.looked = true
	if c.recorded {
		c.forget()
	}
}

func (c *Cell) forget() {
	c.recorded = false
	failuresOf(c.loop).forget(c)
}

// record begins to wait for somebody to see the failure.
func (c *Cell) record() {
	if !c.looked {
		failuresOf(c.loop).add(c)
	}
}

// failures are a loop's failed futures that nobody has seen. Most are seen by
// the task that waits, one turn after they fail; so a failure is first kept for
// a turn, and only then given a cleanup, which costs a microsecond and tells
// when the future can never be seen any more.
type failures struct {
	l      *loop.Loop
	fresh  []*Cell            // failed in this turn or the last
	unseen map[uintptr]unseen // by the future's address, which is not a reference
	seq    uint64
}

// An unseen is what is left of a future that failed, once it is gone.
type unseen struct {
	seq  uint64
	err  error
	name string
}

var failuresKey = new(int)

func failuresOf(l *loop.Loop) *failures {
	return l.Local(failuresKey, func() any {
		return &failures{l: l, unseen: make(map[uintptr]unseen)}
	}).(*failures)
}

func (f *failures) add(c *Cell) {
	f.fresh = append(f.fresh, c)
	if len(f.fresh) == 1 && !f.l.Closed() {
		f.l.Queue(f)
	}
}

// Run attends to the failures of the last turn.
func (f *failures) Run() {
	for _, c := range f.fresh {
		if c.looked {
			continue
		}
		c.recorded = true
		f.seq++
		u := unseen{seq: f.seq, err: c.err, name: c.name()}
		f.unseen[key(c)] = u
		runtime.AddCleanup(c, f.gone, gone{key(c), u.seq})
	}
	clear(f.fresh)
	f.fresh = f.fresh[:0]
}

func key(c *Cell) uintptr { return uintptr(unsafe.Pointer(c)) }

// A gone names an unseen failure whose future was collected. The address alone
// may belong to another by now.
type gone struct {
	key uintptr
	seq uint64
}

// gone is called by the runtime, on a goroutine of its own.
func (f *failures) gone(g gone) {
	_ = f.l.CallSoonThreadsafe(func() { // a loop that is closed has reported it
		if u, ok := f.unseen[g.key]; ok && u.seq == g.seq {
			delete(f.unseen, g.key)
			f.report(u)
		}
	})
}

func (f *failures) forget(c *Cell) { delete(f.unseen, key(c)) }

// Closed reports what nobody has seen when the loop ends, oldest first.
func (f *failures) Closed() {
	f.Run()
	left := slices.SortedFunc(maps.Values(f.unseen), func(a, b unseen) int { return int(a.seq) - int(b.seq) })
	clear(f.unseen)
	for _, u := range left {
		f.report(u)
	}
}

func (f *failures) report(u unseen) {
	f.l.Report(&loop.CallError{Op: "result never retrieved", Name: u.name, Err: u.err})
}

// name returns the producer's name.
func (c *Cell) name() string {
	if s, ok := c.canceler.(interface{ Name() string }); ok {
		return s.Name()
	}
	return ""
}
