// Package poller is one kernel readiness queue: epoll, kqueue or poll(2) behind one contract.
//
// Picture a desk with a bell. The owner of the desk hands in descriptors, each with a [Token] of
// its own choosing, and sits down with [Poller.Wait] until some of them are ready, a time has
// passed or somebody rings the bell. The poller calls nobody: events are returned, never
// dispatched from inside.
//
// # Terms
//
// Readiness is a hint: it says that trying is worthwhile, not that the operation will succeed.
// Always try, and treat EAGAIN as "not yet".
//
// A registration is level-triggered unless it has [Edge]: it is reported by every Wait for as long
// as the direction is ready. With Edge each change towards readiness is reported once, so one
// registration for both directions serves a socket for life, provided that its owner tries first
// and waits only after EAGAIN.
//
// # Who may call
//
// A Poller belongs to one goroutine at a time. Only [Poller.Wake] may be called from any goroutine,
// at any time, also during and after Close.
package poller

import (
	"errors"
	"strings"
	"time"
)

// ErrClosed is returned by all methods of a closed [Poller] except Close.
var ErrClosed = errors.New("poller: closed")

// A Token names a registration in the events it causes. The caller chooses it, commonly an index
// and a generation, and the poller only carries it. All values are allowed except ^Token(0), which
// the poller keeps for its bell.
//
// Descriptor numbers make bad tokens: a number that was closed and given out again within one
// batch of events cannot be told from the old one.
type Token uint64

// wakeToken is the bell's.
const wakeToken = ^Token(0)

// Interest is what a registration wants to hear of: a set of directions, and how to report them.
// A set without a direction is not valid; to pause a registration, remove it, because hang-ups and
// failures would be reported regardless.
type Interest uint8

const (
	Readable Interest = 1 << iota // data to read, a connection to accept, or end of file
	Writable                      // room to write, or the end of a connect
	Edge                          // report changes once, rather than while they last
)

// String returns the names of in's members joined by "|", for example "Readable|Edge".
func (in Interest) String() string {
	return names(uint8(in), [...]string{"Readable", "Writable", "Edge"})
}

// Ready is what an event tells about a descriptor, as a set of hints. It is not limited to the
// directions that were asked for: a hang-up or a failure concerns both sides and sets both.
type Ready uint8

const (
	// CanRead means that a read, or an accept, will not wait.
	CanRead Ready = 1 << iota
	// CanWrite means that a write will not wait, or that a connect has ended.
	CanWrite
	// HangUp means that the peer closed its write side, or everything. It always comes with
	// CanRead: data may still be unread, and the reader must drain it up to end of file.
	// Systems whose poll(2) lacks POLLRDHUP report a half-closed stream as CanRead only, so end
	// of file is the truth and HangUp the early notice.
	HangUp
	// Failed means that there is an error to be fetched. It always comes with CanRead and
	// CanWrite: both sides must look.
	Failed
	// Urgent means that urgent data of TCP is or was among what can be read: a read
	// stops there, so one that came back short has not drained the socket. Only epoll
	// tells, and only for registrations with Edge.
	Urgent
)

// String returns the names of r's members joined by "|", for example "CanRead|HangUp".
func (r Ready) String() string {
	return names(uint8(r), [...]string{"CanRead", "CanWrite", "HangUp", "Failed", "Urgent"})
}

// An Event says that the descriptor registered under Token is Ready.
type Event struct {
	Token Token
	Ready Ready
}

// A Poller is one kernel readiness queue. [New] returns the system's best.
//
// # Optional methods
//
// A poller without true edges also has the method of [Rearmer].
//
// A poller that is itself a descriptor has a method
//
//	FD() int
//
// that returns it, for a loop that nests in another poller: the descriptor is readable while Wait
// would return events or a wake-up. It stays the poller's: do not read, close or keep it. Wait's
// deadlines do not show in it. Pollers made by epoll and kqueue have it.
//
// # Faults of the caller
//
// The methods panic for ^Token(0), for an Interest without a direction, and for a Wait without
// room for one event.
type Poller interface {
	// Add registers fd under tok. What is ready already counts as a change, so an edge-triggered
	// registration is reported at least once if it can be.
	//
	// The descriptor should be non-blocking. It must stay open until Remove, and can be registered
	// once per poller. Errors are system call errors that wrap EEXIST if fd is registered, EPERM if
	// it is a file or a directory, which are always ready and cannot be waited for, EBADF if it is
	// not open, and whatever else the kernel answers (ENOSPC, ENOMEM). After an error fd is not
	// registered, save for EEXIST, which leaves the registration alone.
	Add(fd int, tok Token, in Interest) error

	// Modify replaces token and interest of a registration, and reports afresh what is ready, also
	// to an edge-triggered one. The error wraps ENOENT if fd is not registered. After any other
	// error only Remove makes sense.
	Modify(fd int, tok Token, in Interest) error

	// Remove ends a registration, and must be called before fd is closed. No later Wait returns
	// its token. A batch that was returned before may still hold it: the caller compares the
	// generation in the token before it acts on an event.
	//
	// The error wraps ENOENT if fd is not registered. If fd was closed already, Remove returns an
	// error (EBADF, or ENOENT if the system noticed) and forgets it all the same.
	Remove(fd int) error

	// Wait fills events with what is ready and returns their number. It waits
	//
	//	d < 0   until there is an event or a wake-up,
	//	d == 0  not at all,
	//	d > 0   no longer than d, to the precision of the system: on Linux 5.11 and on kqueue a
	//	        fraction of a millisecond. It does not return empty before d has passed except
	//	        when a signal interrupts it. A d over 11 days is cut to that.
	//
	// woken reports that Wake was called; n may be positive too. An empty result is no error: the
	// caller computes its deadline anew and waits again. EINTR is such an empty result.
	//
	// If more is ready than events has room for, the rest comes with the next calls, and all
	// registrations are served in turn. A descriptor may appear twice in a batch, once for each
	// direction, where the kernel has a queue entry for each (kqueue). Wait keeps nothing of
	// events and does not allocate once it has seen a slice of that length.
	//
	// On Linux a Wait with d == 0 keeps its P: it is not announced to the Go scheduler, so it is
	// cheap and other goroutines do not gain from it.
	Wait(events []Event, d time.Duration) (n int, woken bool, err error)

	// Wake makes the current Wait, or else the next, return with woken set. It may be called from
	// any goroutine. Calls that come before that return share one system call and one return.
	// What the caller did before Wake happens before that return, for all of them.
	// After Close it does nothing and returns [ErrClosed].
	Wake() error

	// Close frees the poller. Registered descriptors stay open and are forgotten. It must not be
	// called during a Wait. Calls after the first do nothing and return nil.
	Close() error
}

// A Rearmer is a [Poller] that has no true edges. It reports a direction of an edge-triggered
// registration once and then no more, until it is armed again.
//
// Whoever registers with [Edge] asks its poller for this interface once, and if it is there calls
// Rearm each time before it waits for a direction: after EAGAIN, and after a short transfer that it
// takes for one. Data that arrived between the EAGAIN and the call is not missed, because Rearm
// looks at the state and not at changes.
type Rearmer interface {
	// Rearm makes the next Wait report the directions in dir if they are ready then or become so
	// later. The Edge bit in dir is ignored. It does nothing for a descriptor that is
	// level-triggered or not registered.
	Rearm(fd int, dir Interest)
}

// maxWait keeps every representation of a timeout in range: milliseconds in 31 bits, and darwin's
// kevent, which answers EINVAL to long ones. The caller cannot tell it from an interruption.
const maxWait = 1e6 * time.Second

// validate panics for what only a bug in the caller can pass.
func validate(tok Token, in Interest) {
	if tok == wakeToken {
		panic("poller: the token ^0 is reserved")
	}
	if in&(Readable|Writable) == 0 {
		panic("poller: interest in neither direction")
	}
}

func validateWait(events []Event) {
	if len(events) == 0 {
		panic("poller: Wait needs room for an event")
	}
}

// names spells a set of bits; bits without a name are left out.
func names[A [3]string | [5]string](set uint8, members A) string {
	var b strings.Builder
	for i := range len(members) {
		if set&(1<<i) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('|')
		}
		b.WriteString(members[i])
	}
	if b.Len() == 0 {
		return "0"
	}
	return b.String()
}
