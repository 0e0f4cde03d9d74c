package netdial

import (
	"container/list"
	"context"
	"net"
	"net/netip"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
)

// MaxLookups is how many lookups a loop has under way; the others wait in line.
// Each takes a goroutine, and maybe a thread and sockets: a flood of dials must
// not become a flood of those. They share nothing with executors, so names that
// are slow to resolve delay nothing but names.
const MaxLookups = 64

// lookups are those of a loop.
type lookups struct {
	l       *loop.Loop
	running map[*lookup]struct{} // those that were given up, too, until they end
	waiting list.List            // of *lookup
	closed  bool
}

var lookupsKey = new(int)

func lookupsOf(l *loop.Loop) *lookups {
	return l.Local(lookupsKey, func() any {
		return &lookups{l: l, running: make(map[*lookup]struct{})}
	}).(*lookups)
}

// Lookups returns how many lookups of l run, and how many wait until others have
// ended. Those that were canceled run until the resolver has heard of it.
func Lookups(l *loop.Loop) (running, waiting int) {
	s := lookupsOf(l)
	return len(s.running), s.waiting.Len()
}

// Closed gives up what runs. The goroutines end on their own.
func (s *lookups) Closed() {
	s.closed = true
	for q := range s.running {
		q.cancel()
	}
	for s.waiting.Len() > 0 {
		s.waiting.Front().Value.(*lookup).cancel()
	}
}

// A lookup is a question to a resolver.
//
//	waiting --others end--> running --answered--> ended
//	waiting --cancel--> ended
//	running --cancel--> given up --answered--> ended
type lookup struct {
	of      *lookups
	ask     func(ctx context.Context) // on a goroutine
	tell    func()                    // on the loop, after ask; nil once given up
	ctx     context.Context
	stop    context.CancelFunc
	release func()        // of the loop's Hold
	place   *list.Element // in the line; nil: not there
}

// start begins a lookup, or puts it in the line.
func (s *lookups) start(ask func(ctx context.Context), tell func()) *lookup {
	q := &lookup{of: s, ask: ask, tell: tell, release: s.l.Hold()}
	if len(s.running) < MaxLookups {
		s.run(q)
	} else {
		q.place = s.waiting.PushBack(q)
	}
	return q
}

func (s *lookups) run(q *lookup) {
	s.running[q] = struct{}{}
	q.ctx, q.stop = context.WithCancel(context.Background())
	go q.answer()
}

// answer runs on a goroutine of its own.
func (q *lookup) answer() {
	defer q.release() // after the post: virtual time must not run ahead of it
	defer func() {
		q.stop()
		_ = q.of.l.QueueThreadsafe(q) // a closed loop does not wait
	}()
	q.ask(q.ctx)
}

// Run brings the answer to the loop, and makes room for the next.
func (q *lookup) Run() {
	s := q.of
	delete(s.running, q)
	if e := s.waiting.Front(); e != nil && !s.closed {
		next := s.waiting.Remove(e).(*lookup)
		next.place = nil
		s.run(next)
	}
	if q.tell != nil {
		q.tell()
	}
}

// cancel gives the answer up. One that runs keeps its place until it has ended.
func (q *lookup) cancel() {
	q.tell = nil
	q.release()
	if q.place != nil {
		q.of.waiting.Remove(q.place)
		q.place = nil
	} else if q.stop != nil {
		q.stop()
	}
}

// Resolve finds the addresses of "host:port" by net.DefaultResolver, in its order,
// at least one unless err is set: see [Literal] for network, address and passive.
// done is called from the queue unless cancel comes before. A second cancel, and
// one after done, does nothing. It must be called on the loop, as cancel.
func Resolve(l *loop.Loop, network, address string, passive bool, done func([]netfd.Addr, error)) (cancel func()) {
	e, err := parseEndpoint(network, address, passive)
	var addrs []netfd.Addr
	known := err != nil
	if !known {
		addrs, known, err = e.literal()
	}
	if known {
		h := answer{func() { done(addrs, err) }}
		l.Queue(&h)
		return h.cancel
	}
	return lookupsOf(l).start(
		func(ctx context.Context) { addrs, err = e.ask(ctx, nil) },
		func() { done(addrs, err) },
	).cancel
}

// An answer is one that was known at once.
type answer struct{ tell func() }

func (a *answer) Run() {
	if a.tell != nil {
		a.tell()
	}
}

func (a *answer) cancel() { a.tell = nil }

// LookupAddr finds the names of an address by net.DefaultResolver. done is called
// as that of [Resolve]. (asyncio: getnameinfo)
func LookupAddr(l *loop.Loop, ip netip.Addr, done func(names []string, err error)) (cancel func()) {
	var names []string
	var err error
	return lookupsOf(l).start(
		func(ctx context.Context) { names, err = net.DefaultResolver.LookupAddr(ctx, ip.String()) },
		func() { done(names, err) },
	).cancel
}
