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
	unseen map[uint64]unseen  // by number
	number map[uintptr]uint64 // by the future's address, which is not a reference
	last   uint64
}

// An unseen is what is left of a future that failed, once it is gone.
type unseen struct {
	err  error
	name string
	site string
}

var failuresKey = new(int)

func failuresOf(l *loop.Loop) *failures {
	return l.Local(failuresKey, func() any {
		return &failures{l: l, unseen: make(map[uint64]unseen), number: make(map[uintptr]uint64)}
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
		f.last++
		f.unseen[f.last] = unseen{err: c.err, name: c.name(), site: c.site()}
		f.number[key(c)] = f.last
		runtime.AddCleanup(c, f.gone, gone{f.last, key(c)})
	}
	clear(f.fresh)
	f.fresh = f.fresh[:0]
}

func key(c *Cell) uintptr { return uintptr(unsafe.Pointer(c)) }

// A gone names an unseen failure whose future was collected.
type gone struct {
	number uint64
	key    uintptr // maybe of another future by now
}

// gone is called by the runtime, on a goroutine of its own, when the future can
// not be seen any more. By then its address may be another's.
func (f *failures) gone(g gone) {
	_ = f.l.CallSoonThreadsafe(func() { // a loop that is closed has reported it
		if f.number[g.key] == g.number {
			delete(f.number, g.key)
		}
		if u, ok := f.unseen[g.number]; ok {
			delete(f.unseen, g.number)
			f.report(u)
		}
	})
}

func (f *failures) forget(c *Cell) {
	k := key(c)
	delete(f.unseen, f.number[k])
	delete(f.number, k)
}

// Closed reports what nobody has seen when the loop ends, oldest first.
func (f *failures) Closed() {
	f.Run()
	left := maps.Clone(f.unseen)
	clear(f.unseen)
	clear(f.number)
	for _, n := range slices.Sorted(maps.Keys(left)) {
		f.report(left[n])
	}
}

func (f *failures) report(u unseen) {
	f.l.Report(&loop.CallError{Op: "result never retrieved", Name: u.name, Site: u.site, Err: u.err})
}

// site returns where the producer was started, in debug mode.
func (c *Cell) site() string {
	if s, ok := c.canceler.(interface{ Site() string }); ok {
		return s.Site()
	}
	return ""
}

// name returns the producer's name.
func (c *Cell) name() string {
	if s, ok := c.canceler.(interface{ Name() string }); ok {
		return s.Name()
	}
	return ""
}
