//go:build unix

package loop_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
)

// pair returns two connected sockets, non-blocking, closed after the test.
func pair(t testing.TB) (a, b int) {
	t.Helper()
	a, b = rawPair(t)
	t.Cleanup(func() { unix.Close(a); unix.Close(b) })
	return a, b
}

func rawPair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	return fds[0], fds[1]
}

func write(t testing.TB, fd int, s string) {
	t.Helper()
	if n, err := unix.Write(fd, []byte(s)); n != len(s) || err != nil {
		t.Fatalf("write = %d, %v", n, err)
	}
}

// read returns what there is to read, up to max bytes.
func read(t testing.TB, fd, max int) string {
	t.Helper()
	buf := make([]byte, max)
	n, err := unix.Read(fd, buf)
	if err != nil {
		t.Fatalf("read of %d: %v", fd, err)
	}
	return string(buf[:n])
}

func addReader(t testing.TB, l *loop.Loop, fd int, fn func()) {
	t.Helper()
	if err := l.AddReader(fd, fn); err != nil {
		t.Fatal(err)
	}
}

func addWriter(t testing.TB, l *loop.Loop, fd int, fn func()) {
	t.Helper()
	if err := l.AddWriter(fd, fn); err != nil {
		t.Fatal(err)
	}
}

func TestAReaderIsCalledAsLongAsThereIsSomethingToRead(t *testing.T) {
	l := real(t)
	a, b := pair(t)
	write(t, b, "abc")
	got := ""
	addReader(t, l, a, func() {
		got += read(t, a, 1)
		if len(got) == 3 {
			l.CallLater(2*time.Millisecond, l.Stop) // time for a call too many: read would fail
		}
	})
	run(t, l)
	if got != "abc" {
		t.Errorf("read %q, want abc", got)
	}
	if s := l.Stats(); s.Descriptors != 1 || s.Events != 3 {
		t.Errorf("%d descriptors, %d events; want 1, 3", s.Descriptors, s.Events)
	}
	if !l.RemoveReader(a) || l.RemoveReader(a) {
		t.Error("RemoveReader, twice: want true, false")
	}
	if s := l.Stats(); s.Descriptors != 0 || l.Outside() {
		t.Errorf("%d descriptors after RemoveReader, outside %v; want 0, false", s.Descriptors, l.Outside())
	}
}

func TestAReaderIsCalledAtTheEndOfFile(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(t *testing.T) (r, w int)
	}{
		{"socket", rawPairOf},
		{"pipe", func(t *testing.T) (r, w int) {
			var p [2]int
			if err := unix.Pipe(p[:]); err != nil {
				t.Fatal(err)
			}
			return p[0], p[1]
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := real(t)
			r, w := tt.open(t)
			defer unix.Close(r)
			write(t, w, "x")
			unix.Close(w)
			var got record
			addReader(t, l, r, func() {
				s := read(t, r, 1)
				got.add(s)
				if s == "" {
					l.RemoveReader(r)
					l.Stop()
				}
			})
			run(t, l)
			got.want(t, "x", "")
		})
	}
}

func rawPairOf(t *testing.T) (a, b int) { return rawPair(t) }

func TestAWriterIsCalledWhenThereIsRoomAndWhenTheReaderIsGone(t *testing.T) {
	l := real(t)
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	r, w := p[0], p[1]
	defer unix.Close(w)
	if err := unix.SetNonblock(w, true); err != nil {
		t.Fatal(err)
	}
	var got record
	wrote := 0
	full := false
	addWriter(t, l, w, func() {
		n, err := unix.Write(w, make([]byte, 4096))
		switch {
		case err == unix.EAGAIN:
			t.Error("called without room")
			l.Stop()
		case err == unix.EPIPE:
			got.add("reader is gone")
			l.RemoveWriter(w)
			l.Stop()
		default:
			wrote += n
			if !full && wrote >= 1<<16 {
				full = true
				got.add("full")
				l.CallLater(2*time.Millisecond, func() { got.add("closing"); unix.Close(r) })
			}
		}
	})
	run(t, l)
	got.want(t, "full", "closing", "reader is gone")
}

func TestReaderAndWriterOfOneDescriptor(t *testing.T) {
	l := real(t)
	a, b := pair(t)
	write(t, b, "x")
	var got record
	addReader(t, l, a, func() { read(t, a, 1); got.add("read"); l.RemoveReader(a) })
	addWriter(t, l, a, func() {
		got.add("write")
		if len(got) >= 2 {
			if !l.RemoveWriter(a) || l.RemoveWriter(a) {
				t.Error("RemoveWriter, twice: want true, false")
			}
			l.CallLater(time.Millisecond, l.Stop)
		}
	})
	run(t, l)
	got.want(t, "read", "write")
	if l.Stats().Descriptors != 0 {
		t.Errorf("%d descriptors, want none", l.Stats().Descriptors)
	}
}

func TestEdge126_ASecondReaderReplacesTheFirst(t *testing.T) {
	l := real(t)
	a, b := pair(t)
	write(t, b, "x")
	var got record
	addReader(t, l, a, func() { t.Error("the replaced reader was called") })
	addReader(t, l, a, func() {
		got.add("second")
		addReader(t, l, a, func() { got.add("third"); l.RemoveReader(a); l.Stop() })
	})
	run(t, l)
	got.want(t, "second", "third")
}

func TestAReaderRemovedOrReplacedInTheSameBatchIsNotCalled(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, l *loop.Loop, fd int)
	}{
		{"removed", func(t *testing.T, l *loop.Loop, fd int) { l.RemoveReader(fd) }},
		{"replaced", func(t *testing.T, l *loop.Loop, fd int) { addReader(t, l, fd, func() {}) }},
		{"removed and added", func(t *testing.T, l *loop.Loop, fd int) {
			l.RemoveReader(fd)
			addReader(t, l, fd, func() {})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := real(t)
			a, b := pair(t)
			c, d := pair(t)
			write(t, b, "x")
			write(t, d, "x")
			called := 0
			// Whichever is called first ends the other: both are in the batch.
			both := func(me, other int) func() {
				return func() {
					called++
					tt.end(t, l, other)
					l.RemoveReader(me)
					l.Stop()
				}
			}
			addReader(t, l, a, both(a, c))
			addReader(t, l, c, both(c, a))
			run(t, l)
			if called != 1 {
				t.Errorf("%d callbacks were called, want 1", called)
			}
		})
	}
}

func TestDescriptorsThatCannotBeWatched(t *testing.T) {
	l := real(t)
	a, _ := pair(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	closed, other := rawPair(t)
	unix.Close(closed)
	defer unix.Close(other)
	if err := l.Watch(a, sink(func(poller.Ready) {})); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		fd   int
		want error
	}{
		{"EPERM for a regular file", int(file.Fd()), unix.EPERM},
		{"EBADF for a closed one", closed, unix.EBADF},
		{"an error for -1", -1, nil},
		{"ErrBusy for a watched one", a, loop.ErrBusy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := l.Stats().Descriptors
			for name, err := range map[string]error{
				"AddReader": l.AddReader(tt.fd, func() { t.Error("called") }),
				"AddWriter": l.AddWriter(tt.fd, func() { t.Error("called") }),
			} {
				if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
					t.Errorf("%s = %v, want %v", name, err, tt.want)
				}
			}
			if err := l.Watch(tt.fd, nil); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("Watch = %v, want %v", err, tt.want)
			}
			if l.RemoveReader(tt.fd) || l.RemoveWriter(tt.fd) {
				t.Error("RemoveReader or RemoveWriter = true, want false")
			}
			if n := l.Stats().Descriptors; n != before {
				t.Errorf("%d descriptors, want %d", n, before)
			}
		})
	}
	l.Unwatch(a)
	l.Unwatch(a)
	addReader(t, l, a, func() {})
	if err := l.Watch(a, nil); !errors.Is(err, loop.ErrBusy) {
		t.Errorf("Watch of a descriptor with a reader = %v, want %v", err, loop.ErrBusy)
	}
	l.Unwatch(a) // not watched: nothing
	if !l.RemoveReader(a) {
		t.Error("Unwatch took the reader away")
	}
}

type sink func(poller.Ready)

func (s sink) Ready(r poller.Ready) { s(r) }

func TestRemovingWhatWasNeverAddedCostsNothing(t *testing.T) {
	l := real(t)
	before := heapBytes()
	const fd = 1 << 22
	if l.RemoveReader(fd) || l.RemoveWriter(fd) {
		t.Error("RemoveReader or RemoveWriter = true, want false")
	}
	l.Unwatch(fd)
	if grown := int64(heapBytes()) - int64(before); grown > 1<<20 {
		t.Errorf("the heap grew by %d B", grown)
	}
	runtime.KeepAlive(l)
}

func TestAWatchedDescriptorIsReportedOnceForEachEdge(t *testing.T) {
	l := real(t)
	a, b := pair(t)
	var got []poller.Ready
	if err := l.Watch(a, sink(func(r poller.Ready) { got = append(got, r) })); err != nil {
		t.Fatal(err)
	}
	turn := func() poller.Ready {
		got = nil
		l.CallLater(time.Millisecond, l.Stop)
		run(t, l)
		var all poller.Ready
		for _, r := range got {
			all |= r
		}
		return all
	}
	if r := turn(); r&poller.CanWrite == 0 {
		t.Errorf("at first %v, want CanWrite", r)
	}
	if r := turn(); r != 0 {
		t.Errorf("without an edge %v, want nothing", r)
	}
	write(t, b, "x")
	if r := turn(); r&poller.CanRead == 0 {
		t.Errorf("after data %v, want CanRead", r)
	}
	if r := turn(); r != 0 {
		t.Errorf("with the data unread %v, want nothing", r)
	}
	l.Unwatch(a)
	write(t, b, "y")
	if r := turn(); r != 0 {
		t.Errorf("after Unwatch %v, want nothing", r)
	}
}

// TestEdge004_OrderWithinATurn: the clock's Idle brings all four kinds of work in
// one look.
func TestEdge004_OrderWithinATurn(t *testing.T) {
	clock := newManualClock()
	l := open(t, loop.Config{Clock: clock})
	a, b := pair(t)
	write(t, b, "x")
	var got record
	l.CallLater(time.Second, got.note("timer"))
	addReader(t, l, a, func() { got.add("descriptor"); l.RemoveReader(a) })
	clock.idle = func(next time.Time, outside bool) (time.Duration, error) {
		if len(got) > 0 {
			return 0, loop.ErrDeadlock
		}
		if !outside {
			t.Error("outside = false with a descriptor")
		}
		clock.now = next
		_ = l.CallSoonThreadsafe(got.note("post"))
		l.CallSoon(func() { got.add("ready"); l.Stop() })
		return 0, nil
	}
	run(t, l) // one turn
	got.want(t, "ready", "descriptor", "post", "timer")
}

func TestVirtualTimeStandsStillForADescriptor(t *testing.T) {
	l := virtual(t)
	a, b := pair(t)
	start := l.Now()
	var got record
	addReader(t, l, a, func() {
		got.add("reader")
		if !l.Now().Equal(start) {
			t.Errorf("%v have passed", l.Now().Sub(start))
		}
		l.RemoveReader(a)
	})
	l.CallLater(time.Hour, got.note("timer"))
	done := make(chan bool)
	go func() {
		defer close(done)
		_, _ = unix.Write(b, []byte("x"))
	}()
	finish(t, l)
	<-done
	got.want(t, "reader", "timer")
}

func TestEdge003_SpinningCallsDoNotStarveDescriptorsPostsOrTimers(t *testing.T) {
	l := real(t)
	a, b := pair(t)
	write(t, b, "x")
	spins := 0
	served := map[string]int{}
	serve := func(what string) {
		served[what] = spins
		if len(served) == 3 {
			l.Stop()
		}
	}
	var spin func()
	spin = func() {
		spins++
		l.CallSoon(spin)
	}
	spin()
	addReader(t, l, a, func() { l.RemoveReader(a); serve("descriptor") })
	_ = l.CallSoonThreadsafe(func() { serve("post") })
	l.CallLater(1, func() { serve("timer") })
	run(t, l)
	for what, n := range served {
		if n > 200 {
			t.Errorf("a %s waited for %d calls, want at most 200", what, n)
		}
	}
}

// TestReusedNumbersGetNoEventsOfTheOld is R01: of 64 descriptors ready in one
// batch the first callback closes 32 and opens 32 with the same numbers.
func TestReusedNumbersGetNoEventsOfTheOldLarge(t *testing.T) {
	rounds := 2000
	if raceEnabled {
		rounds = 100
	}
	const n = 64
	l := real(t)
	type stream struct{ fd, peer int }
	streams := make([]stream, n)
	generation := uint64(0)
	delivered, reused, batches := 0, 0, 0
	inBatch := false
	var open func(i int)
	closeStream := func(i int) {
		if !l.RemoveReader(streams[i].fd) {
			t.Fatal("RemoveReader = false")
		}
		unix.Close(streams[i].fd)
		unix.Close(streams[i].peer)
	}
	open = func(i int) {
		generation++
		id := generation
		fd, peer := rawPair(t)
		streams[i] = stream{fd, peer}
		var buf [8]byte
		binary.LittleEndian.PutUint64(buf[:], id)
		addReader(t, l, fd, func() {
			var buf [8]byte
			if m, err := unix.Read(fd, buf[:]); m != 8 || err != nil {
				t.Fatalf("stream %d: read = %d, %v: called for an event of another", id, m, err)
			}
			if got := binary.LittleEndian.Uint64(buf[:]); got != id {
				t.Fatalf("stream %d got what was sent to %d", id, got)
			}
			delivered++
			if inBatch {
				return
			}
			inBatch = true
			batches++
			if batches == rounds {
				l.Stop()
			}
			l.CallSoon(func() { // after the batch: each that was read gets new data
				inBatch = false
				for k := range streams {
					fill(t, streams[k].peer)
				}
			})
			numbers := map[int]bool{}
			for k := range n / 2 {
				victim := (i + 1 + k) % n // all but the one that runs
				numbers[streams[victim].fd], numbers[streams[victim].peer] = true, true
				closeStream(victim)
			}
			for k := range n / 2 {
				open((i + 1 + k) % n)
				if numbers[streams[(i+1+k)%n].fd] {
					reused++
				}
			}
		})
		ids[peer] = buf
		fill(t, peer)
	}
	clear(ids)
	for i := range n {
		open(i)
	}
	run(t, l)
	for i := range n {
		closeStream(i)
	}
	t.Logf("%d batches, %d messages, %d numbers reused, %d stale events", batches, delivered, reused, l.Stats().Stale)
	if reused < rounds*n/4 {
		t.Errorf("only %d numbers were reused: the test is too tame", reused)
	}
}

// ids is what is written to a descriptor in the test above.
var ids = map[int][8]byte{}

// fill sends a descriptor its id, unless an earlier one is unread.
func fill(t testing.TB, peer int) {
	if n, err := unix.IoctlGetInt(peer, unix.TIOCOUTQ); err == nil && n > 0 {
		return
	}
	b := ids[peer]
	if n, err := unix.Write(peer, b[:]); n != 8 || err != nil {
		t.Fatalf("write = %d, %v", n, err)
	}
}

func TestADescriptorClosedBehindTheLoopsBack(t *testing.T) { // R02
	t.Run("the loop goes on", func(t *testing.T) {
		l := real(t)
		a, b := rawPair(t)
		defer unix.Close(b)
		addReader(t, l, a, func() { t.Error("called") })
		unix.Close(a)
		if !l.RemoveReader(a) {
			t.Error("RemoveReader = false, want true")
		}
		c, d := pair(t)
		write(t, d, "x")
		addReader(t, l, c, func() { read(t, c, 1); l.RemoveReader(c); l.Stop() })
		run(t, l)
	})
	t.Run("its number is used again", func(t *testing.T) {
		l := real(t)
		a, b := rawPair(t)
		addReader(t, l, a, func() { t.Error("the old reader was called") })
		unix.Close(a)
		unix.Close(b)
		c, d := pair(t)
		if c != a && d != a { // give it to c: the lowest number that is free from a on
			again, err := unix.FcntlInt(uintptr(c), unix.F_DUPFD_CLOEXEC, a)
			if err != nil || again != a {
				t.Fatalf("the duplicate is %d, %v, want %d", again, err, a)
			}
			defer unix.Close(a)
			c = a
		}
		other := c + d - a
		write(t, other, "x")
		served := false
		err := l.AddReader(a, func() { served = true; l.RemoveReader(a); l.Stop() })
		l.CallLater(20*time.Millisecond, l.Stop)
		run(t, l)
		// An error would do: what must not be is a reader that is never called.
		if err == nil && !served {
			t.Error("AddReader = nil, but the reader is not called")
		}
	})
	t.Run("a duplicate does not spin the loop", func(t *testing.T) {
		l := real(t)
		a, b := rawPair(t)
		defer unix.Close(b)
		dup, err := unix.Dup(a)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(dup)
		write(t, b, "x")
		calls := 0
		addReader(t, l, a, func() {
			if calls++; calls == 1 {
				unix.Close(a)
				return
			}
			if _, err := unix.Read(a, make([]byte, 1)); err != unix.EBADF {
				t.Errorf("read = %v, want %v", err, unix.EBADF)
			}
			l.RemoveReader(a) // as code does that reads an error
		})
		l.CallLater(50*time.Millisecond, l.Stop)
		run(t, l)
		if polls := l.Stats().Polls; polls > 100 {
			t.Errorf("%d polls, %d stale events in 50 ms: the loop spins", polls, l.Stats().Stale)
		}
	})
}

// TestAChainOfCallsStarvesNothingLarge is R41. What is measured is how late a
// timer is, and how long a byte waits, while calls queue each other.
func TestAChainOfCallsStarvesNothingLarge(t *testing.T) {
	calls := 10_000_000
	if raceEnabled {
		calls = 200_000
	}
	l := real(t)
	a, b := pair(t)
	left := calls
	var spin call
	spin = func() {
		if left--; left <= 0 {
			l.Stop()
			return
		}
		l.Queue(spin)
	}
	var late, waited []time.Duration
	var tick func()
	due, sent := time.Now(), time.Time{}
	tick = func() {
		now := time.Now()
		late = append(late, now.Sub(due))
		if sent.IsZero() {
			sent = now
			write(t, b, "x")
		}
		due = time.Now().Add(500 * time.Microsecond)
		l.CallAt(due, tick)
	}
	addReader(t, l, a, func() {
		read(t, a, 1)
		waited = append(waited, time.Since(sent))
		sent = time.Time{}
	})
	l.CallLater(0, tick)
	before := heapBytes()
	start := time.Now()
	l.Queue(spin)
	run(t, l)
	took := time.Since(start)
	grown := int64(heapBytes()) - int64(before)
	t.Logf("%d calls in %v, %.1f ns each; heap grew by %d B", calls, took, float64(took)/float64(calls), grown)
	if grown > 1<<20 {
		t.Errorf("the heap grew by %d B", grown)
	}
	for what, d := range map[string][]time.Duration{"timers were late": late, "bytes waited": waited} {
		if len(d) < 10 && !raceEnabled {
			t.Errorf("%s: only %d samples", what, len(d))
		}
		if len(d) == 0 {
			continue
		}
		p50, p90, p99 := quantiles(d)
		t.Logf("%s %v, %v, %v (p50, p90, p99 of %d)", what, p50, p90, p99, len(d))
		if p90 > 5*time.Millisecond && !raceEnabled {
			t.Errorf("%s: p90 %v, want at most 5 ms", what, p90)
		}
	}
	l.RemoveReader(a)
}
