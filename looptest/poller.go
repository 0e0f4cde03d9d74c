//go:build unix

package looptest

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/poller"
)

// TestPoller checks the contract of [poller.Poller] on the pollers that open makes. It calls open
// anew for each subtest, in some more than once, and closes what it gets.
//
// The suite works with real descriptors: socket pairs, pipes and TCP over loopback. It takes about
// three seconds, most of them spent on making sure that nothing happens. It must not run beside
// tests that open descriptors, because some subtests need a certain number to be free.
func TestPoller(t *testing.T, open func() (poller.Poller, error)) {
	for _, tt := range []struct {
		name string
		test func(*pollerRig)
	}{
		{"level repeats while it lasts", pollerLevelRepeats},
		{"level writable follows the room", pollerLevelWritable},
		{"edge comes once, and again with new data", pollerEdgeOnce},
		{"edge between EAGAIN and waiting is not lost", pollerEdgeNotLost},
		{"edge for both directions, registered once", pollerEdgeBoth},
		{"what is ready at Add counts as an edge", pollerEdgeAtAdd},
		{"hang-up comes with the data still to be read", pollerHangUp},
		{"hang-up of a pipe's writer", pollerHangUpPipe},
		{"half-close tells the reader", pollerHalfClose},
		{"half-close leaves a waiting writer alone", pollerHalfCloseWriter},
		{"reset fails both sides", pollerReset},
		{"refused connect fails", pollerRefused},
		{"completed connect is writable, and the listener readable", pollerConnect},
		{"broken pipe fails the writer", pollerBrokenPipe},
		{"Remove ends the events", pollerRemove},
		{"tokens tell a reused number from the old one in a batch", pollerReuse},
		{"a dup does not keep a removed descriptor spinning", pollerDup},
		{"Remove after close is an error and forgets", pollerRemoveClosed},
		{"errors of Add, Modify and Remove", pollerErrors},
		{"Modify changes direction and token", pollerModify},
		{"Modify reports afresh", pollerModifyEdge},
		{"Wake before Wait", pollerWakeBefore},
		{"Wake during Wait", pollerWakeDuring},
		{"Wake among events", pollerWakeAmong},
		{"Wake from 8 goroutines, each acknowledged", pollerWakeHandshake},
		{"Wake from 8 goroutines, coalesced", pollerWakeFlood},
		{"a coalesced Wake publishes what came before it", pollerWakePublishes},
		{"Wake against Close", pollerWakeClose},
		{"Close", pollerClose},
		{"Wait(0) does not wait", pollerWaitZero},
		{"Wait of 300µs is not early", pollerWaitShort},
		{"huge and negative durations wait", pollerWaitHuge},
		{"more ready than room: all are served", pollerStarvation},
		{"more edges than room: each comes once", pollerEdgesBeyondRoom},
		{"signals interrupt without an error", pollerSignals},
		{"Wait does not allocate", pollerAllocs},
		{"nested in another poller", pollerNested},
		{"misuse panics", pollerMisuse},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := open()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := p.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			r := &pollerRig{T: t, p: p, open: open}
			r.rearmer, _ = p.(poller.Rearmer)
			tt.test(r)
		})
	}
}

const (
	pollerPatience = 10 * time.Second      // for what must happen
	pollerSilence  = 20 * time.Millisecond // for what must not
)

// A pollerRig is a poller under test and the verbs to test it with.
type pollerRig struct {
	*testing.T
	p       poller.Poller
	rearmer poller.Rearmer // nil for true edges
	open    func() (poller.Poller, error)
}

// wait returns what Wait reports first within d: a batch, or nil. Empty returns are interruptions.
func (r *pollerRig) wait(d time.Duration) (batch []poller.Event, woken bool) {
	r.Helper()
	events := make([]poller.Event, 16)
	for end := time.Now().Add(d); ; {
		n, woken, err := r.p.Wait(events, max(0, time.Until(end)))
		if err != nil {
			r.Fatalf("Wait: %v", err)
		}
		if n > 0 || woken || !time.Now().Before(end) {
			return events[:n], woken
		}
	}
}

// expect waits until all of want was reported for tok, and for nothing else.
func (r *pollerRig) expect(tok poller.Token, want poller.Ready) {
	r.Helper()
	var got poller.Ready
	for end := time.Now().Add(pollerPatience); got&want != want; {
		batch, _ := r.wait(time.Until(end))
		if len(batch) == 0 {
			r.Fatalf("token %#x is %v, want %v", tok, got, want)
		}
		for _, ev := range batch {
			if ev.Token != tok {
				r.Fatalf("event %#x %v, want only token %#x", ev.Token, ev.Ready, tok)
			}
			if ev.Ready&poller.Failed != 0 && ev.Ready&(poller.CanRead|poller.CanWrite) != poller.CanRead|poller.CanWrite {
				r.Errorf("%v, want Failed to wake both sides", ev.Ready)
			}
			if ev.Ready&poller.HangUp != 0 && ev.Ready&poller.CanRead == 0 {
				r.Errorf("%v, want HangUp to wake the reader", ev.Ready)
			}
			got |= ev.Ready
		}
	}
}

// quiet fails if anything is reported for a while.
func (r *pollerRig) quiet() {
	r.Helper()
	if batch, woken := r.wait(pollerSilence); len(batch) != 0 || woken {
		r.Fatalf("got %v, woken %v; want silence", batch, woken)
	}
}

// settle takes what is reported until there is silence.
func (r *pollerRig) settle() {
	r.Helper()
	for range 100 {
		if batch, _ := r.wait(pollerSilence); len(batch) == 0 {
			return
		}
	}
	r.Fatal("events without end")
}

func (r *pollerRig) add(fd int, tok poller.Token, in poller.Interest) {
	r.Helper()
	r.ok(r.p.Add(fd, tok, in))
}

func (r *pollerRig) rearm(fd int, dir poller.Interest) {
	if r.rearmer != nil {
		r.rearmer.Rearm(fd, dir)
	}
}

func (r *pollerRig) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// is checks that err is one of want.
func (r *pollerRig) is(err error, want ...error) {
	r.Helper()
	if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
		r.Errorf("error is %v, want %v", err, want)
	}
}

// A pollerFD is a non-blocking descriptor, closed once: by the test or at its end.
type pollerFD struct {
	r    *pollerRig
	fd   int
	open bool
}

func (r *pollerRig) own(fd int) *pollerFD {
	r.Helper()
	f := &pollerFD{r, fd, true}
	r.Cleanup(func() {
		if f.open {
			f.close()
		}
	})
	unix.CloseOnExec(fd)
	r.ok(unix.SetNonblock(fd, true))
	return f
}

func (r *pollerRig) pair() (a, b *pollerFD) {
	r.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	r.ok(err)
	return r.own(fds[0]), r.own(fds[1])
}

func (r *pollerRig) pipe() (rd, wr *pollerFD) {
	r.Helper()
	var fds [2]int
	r.ok(unix.Pipe(fds[:]))
	return r.own(fds[0]), r.own(fds[1])
}

func (r *pollerRig) listen() (l *pollerFD, at unix.Sockaddr) {
	r.Helper()
	l = r.tcp()
	r.ok(unix.Bind(l.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	r.ok(unix.Listen(l.fd, 8))
	at, err := unix.Getsockname(l.fd)
	r.ok(err)
	return l, at
}

func (r *pollerRig) tcp() *pollerFD {
	r.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	r.ok(err)
	return r.own(fd)
}

// connect starts to connect; it may end at once or be in progress.
func (f *pollerFD) connect(at unix.Sockaddr) error {
	f.r.Helper()
	err := unix.Connect(f.fd, at)
	if err == unix.EINPROGRESS || err == unix.EINTR {
		return nil
	}
	return err
}

// at moves f to a descriptor number that must be free, which makes its own free.
func (f *pollerFD) at(number int) {
	f.r.Helper()
	got, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD, number)
	f.r.ok(err)
	unix.CloseOnExec(got)
	f.close()
	f.fd, f.open = got, true
	if got != number {
		f.r.Fatalf("descriptor is %d, want %d: does something else open descriptors?", got, number)
	}
}

func (f *pollerFD) dup() *pollerFD {
	f.r.Helper()
	fd, err := unix.Dup(f.fd)
	f.r.ok(err)
	return f.r.own(fd)
}

func (f *pollerFD) close() {
	f.r.Helper()
	f.open = false
	f.r.ok(unix.Close(f.fd))
}

func (f *pollerFD) write(s string) {
	f.r.Helper()
	if n, err := unix.Write(f.fd, []byte(s)); n != len(s) || err != nil {
		f.r.Fatalf("write: %d, %v", n, err)
	}
}

// drain reads until EAGAIN or end of file, and returns what was there.
func (f *pollerFD) drain() (s string, eof bool) {
	f.r.Helper()
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Read(f.fd, buf)
		switch {
		case err == unix.EAGAIN:
			return s, false
		case err == unix.EINTR:
		case err != nil:
			f.r.Fatalf("read: %v", err)
		case n == 0:
			return s, true
		default:
			s += string(buf[:n])
		}
	}
}

// fill writes until EAGAIN.
func (f *pollerFD) fill() {
	f.r.Helper()
	for buf := make([]byte, 1<<12); ; {
		if _, err := unix.Write(f.fd, buf); err == unix.EAGAIN {
			return
		} else if err != nil && err != unix.EINTR {
			f.r.Fatalf("write: %v", err)
		}
	}
}

func pollerLevelRepeats(r *pollerRig) {
	a, b := r.pair()
	r.add(a.fd, 1, poller.Readable)
	r.quiet()
	b.write("x")
	for range 3 {
		r.expect(1, poller.CanRead)
	}
	a.drain()
	r.quiet()
	b.write("x")
	r.expect(1, poller.CanRead)
}

func pollerLevelWritable(r *pollerRig) {
	a, b := r.pair()
	r.add(a.fd, 1, poller.Writable)
	for range 3 {
		r.expect(1, poller.CanWrite)
	}
	a.fill()
	r.quiet()
	b.drain()
	r.expect(1, poller.CanWrite)
}

func pollerEdgeOnce(r *pollerRig) {
	a, b := r.pair()
	r.add(a.fd, 1, poller.Readable|poller.Edge)
	r.quiet()
	b.write("x")
	r.expect(1, poller.CanRead)
	r.quiet()
	if r.rearmer == nil { // a true edge needs no EAGAIN in between
		b.write("y")
		r.expect(1, poller.CanRead)
		r.quiet()
	}
	for range 3 {
		a.drain()
		r.rearm(a.fd, poller.Readable)
		r.quiet()
		b.write("z")
		r.expect(1, poller.CanRead)
		r.quiet()
	}
}

func pollerEdgeNotLost(r *pollerRig) {
	a, b := r.pair()
	r.add(a.fd, 1, poller.Readable|poller.Edge)
	for range 3 {
		b.write("x")
		r.expect(1, poller.CanRead)
		a.drain()
		b.write("y") // after EAGAIN
		r.rearm(a.fd, poller.Readable)
		r.expect(1, poller.CanRead)
		a.drain()
		r.rearm(a.fd, poller.Readable)
	}
	if r.rearmer != nil { // arming twice, at the wrong time or a stranger is harmless
		r.rearmer.Rearm(a.fd, poller.Readable|poller.Writable)
		r.rearmer.Rearm(b.fd, poller.Readable)
		r.quiet()
	}
}

func pollerEdgeBoth(r *pollerRig) {
	a, b := r.pair()
	r.add(a.fd, 1, poller.Readable|poller.Writable|poller.Edge)
	r.expect(1, poller.CanWrite)
	r.quiet()
	for range 3 {
		b.write("x")
		r.expect(1, poller.CanRead)
		a.drain()
		r.rearm(a.fd, poller.Readable)
		r.settle() // a filled and emptied buffer may make edges that nobody needs

		a.fill()
		r.rearm(a.fd, poller.Writable)
		r.settle()
		b.drain()
		r.expect(1, poller.CanWrite)
		r.settle()
	}
}

func pollerEdgeAtAdd(r *pollerRig) {
	a, b := r.pair()
	b.write("x")
	r.add(a.fd, 1, poller.Readable|poller.Writable|poller.Edge)
	r.expect(1, poller.CanRead|poller.CanWrite)
	r.quiet()
}

func pollerHangUp(r *pollerRig) {
	for i, in := range []poller.Interest{poller.Readable, poller.Readable | poller.Edge, poller.Readable | poller.Writable | poller.Edge} {
		a, b := r.pair()
		tok := poller.Token(i)
		r.add(a.fd, tok, in)
		b.write("last words")
		b.close()
		r.expect(tok, poller.HangUp|poller.CanRead)
		if s, eof := a.drain(); s != "last words" || !eof {
			r.Errorf("%v: read %q, eof %v; want the data and the end", in, s, eof)
		}
		r.ok(r.p.Remove(a.fd))
	}
}

func pollerHangUpPipe(r *pollerRig) {
	rd, wr := r.pipe()
	r.add(rd.fd, 1, poller.Readable)
	wr.write("x")
	r.expect(1, poller.CanRead)
	wr.close()
	r.expect(1, poller.HangUp|poller.CanRead)
	if s, eof := rd.drain(); s != "x" || !eof {
		r.Errorf("read %q, eof %v; want the data and the end", s, eof)
	}
}

// pollerSeesHalfClose is false where poll(2) is all there is and has no POLLRDHUP.
var pollerSeesHalfClose = !slices.Contains([]string{"solaris", "illumos", "aix"}, runtime.GOOS)

func pollerHalfClose(r *pollerRig) {
	a, b := r.pair()
	r.add(a.fd, 1, poller.Readable|poller.Writable|poller.Edge)
	r.expect(1, poller.CanWrite)
	b.write("x")
	r.ok(unix.Shutdown(b.fd, unix.SHUT_WR))
	want := poller.CanRead
	if pollerSeesHalfClose {
		want |= poller.HangUp
	}
	r.expect(1, want)
	if s, eof := a.drain(); s != "x" || !eof {
		r.Errorf("read %q, eof %v; want the data and the end", s, eof)
	}
	a.write("answer")
	if s, eof := b.drain(); s != "answer" || eof {
		r.Errorf("the other way: read %q, eof %v", s, eof)
	}
}

func pollerHalfCloseWriter(r *pollerRig) {
	a, b := r.pair()
	a.fill()
	r.add(a.fd, 1, poller.Writable)
	r.ok(unix.Shutdown(b.fd, unix.SHUT_WR))
	r.quiet() // a writer with a full buffer would spin on a peer that only listens
	b.drain()
	r.expect(1, poller.CanWrite)
}

func pollerReset(r *pollerRig) {
	for i, in := range []poller.Interest{poller.Readable, poller.Readable | poller.Writable | poller.Edge} {
		l, at := r.listen()
		a := r.tcp()
		r.add(l.fd, 100, poller.Readable)
		r.ok(a.connect(at))
		r.expect(100, poller.CanRead)
		r.ok(r.p.Remove(l.fd))
		fd, _, err := unix.Accept(l.fd)
		r.ok(err)
		b := r.own(fd)

		tok := poller.Token(i)
		r.add(a.fd, tok, in)
		if in&poller.Writable != 0 {
			r.expect(tok, poller.CanWrite)
		}
		r.ok(unix.SetsockoptLinger(b.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		b.close()
		r.expect(tok, poller.Failed|poller.CanRead|poller.CanWrite)
		if _, err := unix.Read(a.fd, make([]byte, 1)); err != unix.ECONNRESET {
			r.Errorf("read: %v, want ECONNRESET", err)
		}
		r.ok(r.p.Remove(a.fd))
	}
}

func pollerRefused(r *pollerRig) {
	l, at := r.listen()
	l.close() // its port is nobody's now
	a := r.tcp()
	if err := a.connect(at); err != nil {
		r.Skipf("refused at once: %v", err)
	}
	r.add(a.fd, 1, poller.Writable|poller.Edge)
	r.expect(1, poller.Failed|poller.CanWrite)
	if e, err := unix.GetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || syscall.Errno(e) != unix.ECONNREFUSED {
		r.Errorf("SO_ERROR: %v, %v; want ECONNREFUSED", syscall.Errno(e), err)
	}
}

func pollerConnect(r *pollerRig) {
	l, at := r.listen()
	a := r.tcp()
	r.add(l.fd, 1, poller.Readable)
	r.ok(a.connect(at))
	r.expect(1, poller.CanRead)
	fd, _, err := unix.Accept(l.fd)
	r.ok(err)
	r.own(fd)
	r.add(a.fd, 2, poller.Readable|poller.Writable|poller.Edge)
	r.expect(2, poller.CanWrite)
	r.quiet()
}

func pollerBrokenPipe(r *pollerRig) {
	rd, wr := r.pipe()
	wr.fill()
	r.add(wr.fd, 1, poller.Writable|poller.Edge)
	r.quiet()
	rd.close()
	r.expect(1, poller.Failed|poller.CanWrite)
}

func pollerRemove(r *pollerRig) {
	for _, in := range []poller.Interest{poller.Readable | poller.Writable, poller.Readable | poller.Edge} {
		a, b := r.pair()
		r.add(a.fd, 1, in)
		b.write("x") // ready, and not yet reported
		r.ok(r.p.Remove(a.fd))
		r.quiet()
		b.write("x")
		r.quiet()
		r.add(a.fd, 2, in) // as if it had never been
		r.expect(2, poller.CanRead)
		r.ok(r.p.Remove(a.fd))
	}
}

// The first event of a batch leads to the end of another descriptor in it, whose number goes to a
// new connection before its own event is looked at.
func pollerReuse(r *pollerRig) {
	const gen1, gen2 = 1 << 32, 2 << 32
	for _, edge := range []poller.Interest{0, poller.Edge} {
		fds := map[poller.Token]*pollerFD{}
		for i := range poller.Token(2) {
			a, b := r.pair()
			r.add(a.fd, gen1|i, poller.Readable|edge)
			b.write("x")
			fds[gen1|i] = a
		}
		batch, _ := r.wait(pollerPatience)
		if len(batch) != 2 {
			r.Fatalf("batch is %v, want both descriptors", batch)
		}
		first, victim := batch[0].Token, batch[1].Token

		number := fds[victim].fd
		r.ok(r.p.Remove(number))
		fds[victim].close()
		a, b := r.pair()
		if a.fd != number {
			a.at(number)
		}
		successor := gen2 | victim&0xffffffff
		r.add(number, successor, poller.Readable|edge)

		if batch[1].Token != victim || victim == successor {
			r.Fatalf("the stale event has token %#x, want %#x", batch[1].Token, victim)
		}
		fds[first].drain()
		r.rearm(fds[first].fd, poller.Readable)
		r.quiet() // no later Wait returns the old token
		b.write("y")
		r.expect(successor, poller.CanRead)
		r.ok(r.p.Remove(number))
		r.ok(r.p.Remove(fds[first].fd))
		a.close() // so that the cleanups do not close the number twice
	}
}

func pollerDup(r *pollerRig) {
	a, b := r.pair()
	a2 := a.dup()
	r.add(a.fd, 1, poller.Readable)
	b.write("x")
	r.expect(1, poller.CanRead)
	r.ok(r.p.Remove(a.fd))
	a.close()
	r.quiet() // a2 keeps the socket alive and readable
	r.add(a2.fd, 2, poller.Readable)
	r.expect(2, poller.CanRead)
}

func pollerRemoveClosed(r *pollerRig) {
	a, b := r.pair()
	number := a.fd
	r.add(number, 1, poller.Readable|poller.Writable)
	a.close()
	if err := r.p.Remove(number); err == nil {
		r.Error("Remove of a closed descriptor: no error")
	}
	r.quiet()
	r.is(r.p.Remove(number), unix.EBADF, unix.ENOENT)
	b.close()

	c, d := r.pair()
	if c.fd != number {
		c.at(number)
	}
	r.add(number, 2, poller.Readable)
	d.write("x")
	r.expect(2, poller.CanRead)
	r.ok(r.p.Remove(number))
}

func pollerErrors(r *pollerRig) {
	a, b := r.pair()
	r.add(a.fd, 1, poller.Readable)
	r.is(r.p.Add(a.fd, 2, poller.Writable), unix.EEXIST)
	b.write("x")
	r.expect(1, poller.CanRead) // the first registration is untouched
	r.is(r.p.Modify(b.fd, 3, poller.Readable), unix.ENOENT)
	r.is(r.p.Remove(b.fd), unix.ENOENT)

	var wrapped *os.SyscallError
	if err := r.p.Remove(b.fd); !errors.As(err, &wrapped) || wrapped.Syscall == "" {
		r.Errorf("error is %#v, want an *os.SyscallError that names the call", err)
	}

	c, d := r.pair()
	c.close()
	r.is(r.p.Add(c.fd, 4, poller.Readable), unix.EBADF)
	r.is(r.p.Add(-1, 4, poller.Readable), unix.EBADF)
	d.close()

	f, err := os.CreateTemp(r.TempDir(), "")
	r.ok(err)
	defer f.Close()
	dir, err := os.Open(r.TempDir())
	r.ok(err)
	defer dir.Close()
	for _, f := range []*os.File{f, dir} {
		raw, err := f.SyscallConn()
		r.ok(err)
		r.ok(raw.Control(func(fd uintptr) {
			r.is(r.p.Add(int(fd), 5, poller.Readable), unix.EPERM)
			if err := r.p.Remove(int(fd)); err == nil {
				r.Error("Remove after a failed Add: no error")
			}
		}))
	}
	r.expect(1, poller.CanRead) // and nothing else
}

func pollerModify(r *pollerRig) {
	a, b := r.pair()
	b.write("x")
	r.add(a.fd, 1, poller.Readable)
	r.expect(1, poller.CanRead)
	r.ok(r.p.Modify(a.fd, 2, poller.Readable|poller.Writable))
	r.expect(2, poller.CanRead|poller.CanWrite)
	r.ok(r.p.Modify(a.fd, 3, poller.Writable))
	for range 3 {
		batch, _ := r.wait(pollerPatience)
		if want := []poller.Event{{Token: 3, Ready: poller.CanWrite}}; !slices.Equal(batch, want) {
			r.Fatalf("got %v, want %v", batch, want)
		}
	}
	r.ok(r.p.Modify(a.fd, 4, poller.Readable))
	for range 3 {
		batch, _ := r.wait(pollerPatience)
		if want := []poller.Event{{Token: 4, Ready: poller.CanRead}}; !slices.Equal(batch, want) {
			r.Fatalf("got %v, want %v", batch, want)
		}
	}
	a.drain()
	r.quiet()
	r.ok(r.p.Remove(a.fd))
	r.is(r.p.Modify(a.fd, 5, poller.Readable), unix.ENOENT)
}

func pollerModifyEdge(r *pollerRig) {
	a, b := r.pair()
	b.write("x")
	const both = poller.Readable | poller.Writable
	r.add(a.fd, 1, both|poller.Edge)
	r.expect(1, poller.CanRead|poller.CanWrite)
	r.quiet()
	for tok := range poller.Token(3) {
		r.ok(r.p.Modify(a.fd, tok, both|poller.Edge))
		r.expect(tok, poller.CanRead|poller.CanWrite)
		r.quiet()
	}
	r.ok(r.p.Modify(a.fd, 7, poller.Readable)) // to level
	for range 3 {
		r.expect(7, poller.CanRead)
	}
	r.ok(r.p.Modify(a.fd, 8, both|poller.Edge)) // and back
	r.expect(8, poller.CanRead|poller.CanWrite)
	r.quiet()
}

// expectWoken waits for a wake-up, and for nothing else.
func (r *pollerRig) expectWoken() {
	r.Helper()
	if batch, woken := r.wait(pollerPatience); !woken || len(batch) != 0 {
		r.Fatalf("got %v, woken %v; want a wake-up", batch, woken)
	}
}

// needWake ends a test that would hang if Wake did not work.
func (r *pollerRig) needWake() {
	r.Helper()
	for range 3 {
		r.ok(r.p.Wake())
		r.expectWoken()
	}
}

func pollerWakeBefore(r *pollerRig) {
	for range 3 {
		r.ok(r.p.Wake())
		r.ok(r.p.Wake())
		r.expectWoken()
		r.quiet() // two calls, one return
	}
	r.ok(r.p.Wake())
	if n, woken, err := r.p.Wait(make([]poller.Event, 1), 0); n != 0 || !woken || err != nil {
		r.Errorf("Wait(0) = %d, %v, %v; want a wake-up", n, woken, err)
	}
	r.quiet()
}

func pollerWakeDuring(r *pollerRig) {
	for range 5 {
		var failed error
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(5 * time.Millisecond) // most likely it waits by then; both orders must work
			failed = r.p.Wake()
		}()
		r.expectWoken()
		<-done
		r.ok(failed)
	}
	r.quiet()
}

func pollerWakeAmong(r *pollerRig) {
	var rd []*pollerFD
	for i := range 8 {
		a, b := r.pair()
		r.add(a.fd, poller.Token(i), poller.Readable)
		b.write("x")
		rd = append(rd, a)
	}
	for range 3 {
		r.ok(r.p.Wake())
		wakes := 0
		for range 40 { // room for one of nine: the wake-up has its turn too
			n, woken, err := r.p.Wait(make([]poller.Event, 1), 0)
			r.ok(err)
			if woken {
				wakes++
			} else if n != 1 {
				r.Fatalf("n = %d beside ready descriptors", n)
			}
		}
		if wakes != 1 {
			r.Fatalf("woken %d times, want 1", wakes)
		}
	}
	for _, a := range rd {
		r.ok(r.p.Remove(a.fd))
	}
	r.quiet()
}

// Each goroutine waits for its post to be seen before it posts again, so a lost wake-up is not
// covered up by the next.
func pollerWakeHandshake(r *pollerRig) {
	const posters, rounds = 8, 1000
	type slot struct {
		posted atomic.Int64
		ack    chan struct{}
	}
	slots := make([]slot, posters)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(quit)
	for i := range slots {
		s := &slots[i]
		s.ack = make(chan struct{}, 1)
		wg.Go(func() {
			for range rounds {
				s.posted.Add(1)
				if err := r.p.Wake(); err != nil {
					r.Errorf("Wake: %v", err)
				}
				select {
				case <-s.ack:
				case <-quit:
					return
				}
			}
		})
	}
	var seen [posters]int64
	for total := 0; total < posters*rounds; {
		if _, woken := r.wait(pollerPatience); !woken {
			r.Fatalf("a wake-up was lost: %d of %d posts seen", total, posters*rounds)
		}
		for i := range slots {
			if slots[i].posted.Load() != seen[i] {
				seen[i]++
				total++
				slots[i].ack <- struct{}{}
			}
		}
	}
}

func pollerWakeFlood(r *pollerRig) {
	const posters, rounds = 8, 10_000
	var posted atomic.Int64
	var wg sync.WaitGroup
	defer wg.Wait()
	for range posters {
		wg.Go(func() {
			for i := range rounds {
				posted.Add(1)
				if err := r.p.Wake(); err != nil {
					r.Errorf("Wake: %v", err)
				}
				if i%16 == 0 {
					runtime.Gosched() // or one flood is over before the waiter has a processor
				}
			}
		})
	}
	returns := 0
	for seen := int64(0); seen < posters*rounds; seen = posted.Load() {
		// A post is still to come, and its Wake after it.
		if _, woken := r.wait(pollerPatience); !woken {
			r.Fatalf("a wake-up was lost after %d of %d posts", seen, posters*rounds)
		}
		returns++
	}
	r.Logf("%d calls of Wake, %d returns of Wait", posters*rounds, returns)
	wg.Wait()
	r.wait(0) // the last calls may have come after the last look
	r.quiet()
}

// Two goroutines write a plain variable each and call Wake; one of the calls is coalesced. The race
// detector decides whether the return of Wait orders both. That they are done is learned through a
// pipe, written by x/sys and read by package syscall: between the two the race detector sees no order.
func pollerWakePublishes(r *pollerRig) {
	rd, wr := r.pipe()
	var plain [2]int
	for i := range plain {
		go func() {
			plain[i] = 1
			r.p.Wake()
			unix.Write(wr.fd, []byte{1})
		}()
	}
	for n := 0; n < len(plain); {
		got, err := syscall.Read(rd.fd, make([]byte, 1))
		if err == nil {
			n += got
			continue
		}
		time.Sleep(time.Millisecond)
	}
	r.expectWoken()
	if plain != [2]int{1, 1} {
		r.Errorf("seen after Wait: %v, want both writes", plain)
	}
}

// Wake goes on while Close gives the descriptors back and others get their numbers.
func pollerWakeClose(r *pollerRig) {
	for range 20 {
		p, err := r.open()
		r.ok(err)
		quit := make(chan struct{})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for {
					select {
					case <-quit:
						return
					default:
					}
					if err := p.Wake(); err != nil && !errors.Is(err, poller.ErrClosed) {
						r.Errorf("Wake: %v", err)
					}
				}
			})
		}
		p.Wait(make([]poller.Event, 1), time.Millisecond/2)
		err = p.Close()
		var rds, wrs [4]*pollerFD
		for i := range rds {
			rds[i], wrs[i] = r.pair() // both ends: whatever number is written to, it shows
		}
		runtime.Gosched()
		close(quit)
		wg.Wait()
		r.ok(err)
		r.ok(p.Close())
		r.is(p.Wake(), poller.ErrClosed)
		for i := range rds {
			for _, f := range []*pollerFD{rds[i], wrs[i]} {
				if s, _ := f.drain(); s != "" {
					r.Fatalf("Wake wrote %q to a stranger's descriptor", s)
				}
			}
			rds[i].close()
			wrs[i].close()
		}
	}
}

func pollerClose(r *pollerRig) {
	a, b := r.pair()
	r.add(a.fd, 1, poller.Readable)
	r.ok(r.p.Wake())
	r.ok(r.p.Close())
	r.ok(r.p.Close())
	r.is(r.p.Wake(), poller.ErrClosed)
	r.is(r.p.Add(b.fd, 1, poller.Readable), poller.ErrClosed)
	r.is(r.p.Modify(a.fd, 1, poller.Readable), poller.ErrClosed)
	r.is(r.p.Remove(a.fd), poller.ErrClosed)
	if n, woken, err := r.p.Wait(make([]poller.Event, 1), -1); n != 0 || woken || !errors.Is(err, poller.ErrClosed) {
		r.Errorf("Wait = %d, %v, %v; want ErrClosed", n, woken, err)
	}
	r.rearm(a.fd, poller.Readable)
	b.write("x") // the descriptors are still open
	if s, _ := a.drain(); s != "x" {
		r.Errorf("read %q, want x", s)
	}
}

func pollerWaitZero(r *pollerRig) {
	a, _ := r.pair()
	r.add(a.fd, 1, poller.Readable)
	events := make([]poller.Event, 4)
	best := time.Duration(math.MaxInt64)
	for range 100 {
		start := time.Now()
		n, woken, err := r.p.Wait(events, 0)
		best = min(best, time.Since(start))
		if n != 0 || woken || err != nil {
			r.Fatalf("Wait = %d, %v, %v; want nothing", n, woken, err)
		}
	}
	if best > time.Millisecond/2 {
		r.Errorf("Wait(0) took %v at best", best)
	}
}

func pollerWaitShort(r *pollerRig) {
	const d = 300 * time.Microsecond
	events := make([]poller.Event, 1)
	var late []time.Duration
	early := 0
	for range 200 {
		start := time.Now()
		n, woken, err := r.p.Wait(events, d)
		if n != 0 || woken || err != nil {
			r.Fatalf("Wait = %d, %v, %v; want nothing", n, woken, err)
		}
		if took := time.Since(start); took < d {
			early++ // a signal cannot be told from a mistake, but a mistake is there most times
		} else {
			late = append(late, took-d)
		}
	}
	if early > 100 { // short of that, let signals be injected
		r.Errorf("%d of 200 waits were early", early)
	}
	if len(late) > 0 {
		slices.Sort(late)
		r.Logf("late by %v at least, %v in the median, %v at most", late[0], late[len(late)/2], late[len(late)-1])
	}
}

func pollerWaitHuge(r *pollerRig) {
	r.needWake()
	events := make([]poller.Event, 1)
	for _, d := range []time.Duration{
		math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64 / 2,
		math.MaxInt32 * time.Millisecond, (math.MaxInt32 + 1) * time.Millisecond, (math.MaxUint32 + 1) * time.Millisecond,
		math.MaxInt32 * time.Second, (math.MaxInt32 + 1) * time.Second,
		-1, -time.Millisecond, math.MinInt64,
	} {
		var failed error
		done := make(chan struct{})
		start := time.Now()
		go func() {
			defer close(done)
			time.Sleep(3 * time.Millisecond)
			failed = r.p.Wake()
		}()
		rounds := 0
		for woken := false; !woken; rounds++ {
			var err error
			if _, woken, err = r.p.Wait(events, d); err != nil {
				r.Fatalf("Wait(%v): %v", d, err)
			}
		}
		took := time.Since(start)
		<-done
		r.ok(failed)
		if took < 3*time.Millisecond || rounds > 3 { // a signal or two are fair
			r.Errorf("Wait(%v) was called %d times in %v, want it to wait", d, rounds, took)
		}
	}
}

func pollerStarvation(r *pollerRig) {
	const fds, room = 20, 3
	for i := range fds {
		a, b := r.pair()
		r.add(a.fd, poller.Token(i), poller.Readable)
		b.write("x")
	}
	events := make([]poller.Event, room)
	for range 3 {
		seen := map[poller.Token]bool{}
		rounds := 0
		for ; len(seen) < fds; rounds++ {
			if rounds > 3*fds/room {
				r.Fatalf("after %d waits only %d of %d were served", rounds, len(seen), fds)
			}
			n, _, err := r.p.Wait(events, 0)
			r.ok(err)
			if n != room {
				r.Fatalf("n = %d with %d ready, want %d", n, fds, room)
			}
			for _, ev := range events[:n] {
				seen[ev.Token] = true
			}
		}
	}
}

func pollerEdgesBeyondRoom(r *pollerRig) {
	const fds, room = 20, 3
	for i := range fds {
		a, b := r.pair()
		r.add(a.fd, poller.Token(i), poller.Readable|poller.Edge)
		b.write("x")
	}
	count := map[poller.Token]int{}
	events := make([]poller.Event, room)
	for range 2 * fds {
		n, _, err := r.p.Wait(events, 0)
		r.ok(err)
		for _, ev := range events[:n] {
			count[ev.Token]++
		}
	}
	for i := range poller.Token(fds) {
		if count[i] != 1 {
			r.Errorf("token %d was reported %d times, want 1", i, count[i])
		}
	}
}

// SIGURG is the signal that the Go runtime sends itself. It may go to any thread, so how many waits
// it interrupts is only logged.
func pollerSignals(r *pollerRig) {
	const d = 100 * time.Millisecond
	quit := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(quit)
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
				unix.Kill(os.Getpid(), unix.SIGURG)
				time.Sleep(50 * time.Microsecond)
			}
		}
	})
	events := make([]poller.Event, 1)
	start, empty := time.Now(), 0
	for end := start.Add(d); time.Now().Before(end); empty++ {
		n, woken, err := r.p.Wait(events, time.Until(end))
		if n != 0 || woken || err != nil {
			r.Fatalf("Wait = %d, %v, %v; want nothing", n, woken, err)
		}
	}
	if took := time.Since(start); took < d || took > d+pollerPatience {
		r.Errorf("took %v, want %v", took, d)
	}
	r.Logf("%d waits to reach the deadline", empty)

	a, b := r.pair() // and nothing is lost
	r.add(a.fd, 1, poller.Readable)
	for range 50 {
		b.write("x")
		r.expect(1, poller.CanRead)
		a.drain()
		r.ok(r.p.Wake())
		r.expectWoken()
	}
}

func pollerAllocs(r *pollerRig) {
	r.needWake()
	a, b := r.pair()
	r.add(a.fd, 1, poller.Readable)
	b.write("x")
	events := make([]poller.Event, 64)
	for _, d := range []time.Duration{0, time.Microsecond, -1} {
		if allocs := testing.AllocsPerRun(100, func() {
			r.p.Wake()
			r.p.Wait(events, d)
		}); allocs != 0 {
			r.Errorf("Wake and Wait(%v) allocate %v times", d, allocs)
		}
	}
}

func pollerNested(r *pollerRig) {
	inner, ok := r.p.(interface{ FD() int })
	if !ok {
		r.Skip("the poller is not a descriptor")
	}
	outer, err := r.open()
	r.ok(err)
	defer outer.Close()
	look := &pollerRig{T: r.T, p: outer}
	look.rearmer, _ = outer.(poller.Rearmer)
	look.add(inner.FD(), 1, poller.Readable)
	look.quiet()

	r.ok(r.p.Wake())
	look.expect(1, poller.CanRead)
	r.expectWoken()
	look.quiet()

	a, b := r.pair()
	r.add(a.fd, 2, poller.Readable|poller.Edge)
	b.write("x")
	look.expect(1, poller.CanRead)
	r.expect(2, poller.CanRead)
	look.quiet()
	r.ok(look.p.Remove(inner.FD()))
}

func pollerMisuse(r *pollerRig) {
	a, _ := r.pair()
	for name, call := range map[string]func(){
		"Add with the reserved token":     func() { r.p.Add(a.fd, ^poller.Token(0), poller.Readable) },
		"Modify with the reserved token":  func() { r.p.Modify(a.fd, ^poller.Token(0), poller.Readable) },
		"Add without a direction":         func() { r.p.Add(a.fd, 1, poller.Edge) },
		"Modify without a direction":      func() { r.p.Modify(a.fd, 1, 0) },
		"Wait without room for one event": func() { r.p.Wait(nil, 0) },
	} {
		func() {
			defer func() {
				if msg := fmt.Sprint(recover()); len(msg) < 8 || msg[:8] != "poller: " {
					r.Errorf("%s: panic %q, want one of the package's", name, msg)
				}
			}()
			call()
		}()
	}
	r.quiet()
}
