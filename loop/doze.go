package loop

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// A doze is a wait in the Go runtime's own poller, which watches ours: the
// goroutine is parked and holds neither a thread nor a P, so whoever posts wakes
// it as fast as any goroutine. It costs two more system calls than a sleep, is
// late by up to a millisecond for timers, and beside goroutines that compute on
// every P it waits for its turn like any goroutine, up to 20 ms.
type doze struct {
	file atomic.Pointer[os.File] // a duplicate of the poller's descriptor; nil: not opened
	conn syscall.RawConn
	none bool // not possible with this poller or on this system
	look func(fd uintptr) bool

	// Of the look.
	n   int
	err error
}

// open makes the doze possible, if it is.
func (z *doze) open(l *Loop) bool {
	if z.none || z.file.Load() != nil {
		return !z.none
	}
	z.none = true
	p, ok := l.poller.(interface{ FD() int })
	if !ok {
		return false
	}
	fd, err := duplicate(p.FD())
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), "poller")
	conn, err := f.SyscallConn()
	if err != nil || f.SetReadDeadline(time.Time{}) != nil {
		f.Close() // kqueue: it cannot be watched for writing, and the runtime asks for both
		return false
	}
	z.file.Store(f)
	z.conn, z.none = conn, false
	z.look = func(uintptr) bool {
		z.n, _, z.err = l.poller.Wait(l.events, 0)
		return z.n > 0 || z.err != nil || l.inbox.posted.Load()
	}
	return true
}

// take waits for d ns, for ever if negative, and returns what poller.Wait would.
// The loop's state must be dozing, for wake to end it.
func (z *doze) take(d int64) (int, error) {
	var deadline time.Time
	if d >= 0 {
		deadline = time.Now().Add(time.Duration(d))
	}
	_ = z.file.Load().SetReadDeadline(deadline)
	z.n, z.err = 0, nil
	_ = z.conn.Read(z.look) // its error is the deadline: the time, or wake
	return z.n, z.err
}

// wake ends a doze. It may be called from any goroutine. One that comes late ends
// the next doze, which then finds nothing and begins again.
func (z *doze) wake() {
	if f := z.file.Load(); f != nil {
		_ = f.SetReadDeadline(time.Unix(1, 0))
	}
}

// close undoes open.
func (z *doze) close() {
	if f := z.file.Swap(nil); f != nil {
		f.Close()
	}
}
