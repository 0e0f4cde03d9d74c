package loop

import (
	"sync"
	"sync/atomic"
)

// An inbox is where other goroutines leave calls for a loop.
//
// No post is lost between the loop's last look and its sleep, because both sides
// write before they read: the loop sets its state and then looks at posted; a
// poster sets posted and then looks at the state. Whichever comes second sees the
// other. The loop is woken only by the poster that takes the state back, so a
// busy loop costs its posters no system call, and a sleeping one costs one.
//
// Check and enqueue are one step under the lock: a post either is in items,
// and will run, or gets ErrClosed.
type inbox struct {
	mu     sync.Mutex
	items  []Runnable
	closed bool

	posted atomic.Bool  // items is not empty
	state  atomic.Int32 // of the loop
	total  uint64       // posts taken by the loop; on the loop
}

// States of a loop, as far as its posters care.
const (
	awake  = int32(iota) // it looks at the inbox by itself
	asleep               // it is, or is about to be, in the poller: wake that
	dozing               // likewise, in the Go runtime's poller
)

// post adds r and returns the state that the caller must wake the loop from.
func (b *inbox) post(r Runnable) (from int32, err error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return awake, ErrClosed
	}
	b.items = append(b.items, r)
	if len(b.items) == 1 {
		b.posted.Store(true)
	}
	b.mu.Unlock()
	if from = b.state.Load(); from != awake && !b.state.CompareAndSwap(from, awake) {
		from = awake // another has taken it, or the loop is awake by itself
	}
	return from, nil
}

// maxSpare bounds what a burst of posts leaves allocated, in entries.
const maxSpare = 1 << 14

// take exchanges the posts for an empty slice. The posts run without the lock.
func (b *inbox) take(spare []Runnable) []Runnable {
	if cap(spare) > maxSpare {
		spare = nil
	}
	b.mu.Lock()
	items := b.items
	b.items = spare[:0]
	b.posted.Store(false)
	b.mu.Unlock()
	b.total += uint64(len(items))
	return items
}

// close refuses all further posts and returns those accepted before.
func (b *inbox) close() []Runnable {
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items, b.closed = nil, true
	b.posted.Store(false)
	return items
}

// CallSoonThreadsafe queues fn and wakes the loop. It may be called from any
// goroutine, and never blocks. Calls posted by one goroutine are made in the
// order posted. It returns [ErrClosed], and drops fn, if the loop is closed; if
// it returns nil, fn will be called: Close calls what is still waiting.
// fn runs without the context of its caller. (asyncio: call_soon_threadsafe)
func (l *Loop) CallSoonThreadsafe(fn func()) error {
	return l.QueueThreadsafe(funcCall(fn))
}

// QueueThreadsafe is [Loop.CallSoonThreadsafe] for a [Runnable].
func (l *Loop) QueueThreadsafe(r Runnable) error {
	from, err := l.inbox.post(r)
	switch from {
	case asleep:
		_ = (*l.bell.Load()).Wake() // fails only if that one is closed, and the loop awake
	case dozing:
		l.doze.wake()
	}
	return err
}

// funcCall makes a function a Runnable, without allocating.
type funcCall func()

func (f funcCall) Run() { f() }

// queueInbox queues what other goroutines have posted.
func (l *Loop) queueInbox() {
	if !l.inbox.posted.Load() {
		l.quiet++
		return
	}
	l.quiet = 0
	items := l.inbox.take(l.spare)
	for i, r := range items {
		l.ready.push(r)
		items[i] = nil
	}
	l.spare = items
}
