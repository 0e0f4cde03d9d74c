//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/internal/cputime"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

const pollerSection = "Poller and descriptors"

func pollerRows() []scenario {
	rows := []scenario{
		{
			id: "R01", title: "descriptor numbers used again inside one batch of events",
			naive:  "the stale event of a closed descriptor goes to the new connection with its number",
			target: "3·10⁶ numbers used again, none misdelivered", parts: one(r01Reuse),
		},
		{
			id: "R02", title: "a descriptor closed behind the loop's back, with a duplicate open",
			naive:  "the waiter hangs, or the loop spins on a registration that cannot be removed",
			target: "10⁴ closes, no hang, less than 1 % of a processor after them", parts: one(r02Closed),
		},
		{
			id: "R03", title: "EINTR from waits, reads, writes and accepts",
			naive:  "the loop ends, a deadline starts anew, or a wake-up is eaten",
			target: "10⁵ interruptions, no post lost", parts: []part{{
				run: r03Interrupted,
				// Not connect: an interrupted one goes on, but strace's has never begun.
				inject: "epoll_pwait,epoll_pwait2,read,write,accept4,recvfrom,sendto,writev:error=EINTR:when=2+3",
			}},
		},
		{
			id: "R04", title: "hang-ups of descriptors that nobody reads",
			naive:  "level-triggered events without an end: a processor at 100 %",
			target: "5,000 descriptors: less than 50 looks a second, less than 2 % of a processor", parts: one(r04Hangup),
		},
		{
			id: "R05", title: "reading paused and resumed all the time while data flows",
			naive:  "readiness is lost, or each flip is a system call",
			target: "10⁶ flips, no byte lost, no more epoll_ctl than turns", parts: []part{
				{run: func(r *run) { r05Flapping(r, r.n(1_000_000, 5000)) }},
				{name: "counted", trace: "epoll_ctl", run: func(r *run) { r05Flapping(r, r.n(100_000, 5000)) }, check: func(w *row, calls map[string]int64) {
					w.found("%d calls of epoll_ctl in the whole process", calls["epoll_ctl"])
					w.check(calls["epoll_ctl"] < 100, "%d calls of epoll_ctl", calls["epoll_ctl"])
				}},
			},
		},
		{
			id: "R06", title: "two waiters for one direction of a connection",
			naive:  "the second takes the place of the first, which hangs",
			target: "ErrBusy, in every combination; several may wait to accept", parts: one(r06Busy),
		},
		{
			id: "R07", title: "epoll_ctl refuses: EPERM for files, ENOSPC, ENOMEM",
			naive:  "a panic, or a registration that never fires",
			target: "10³ refusals, each an error, nothing leaked", parts: []part{
				{run: r07Files},
				{name: "ENOSPC", inject: "epoll_ctl:error=ENOSPC:when=50+3", run: r07Refused(syscall.ENOSPC)},
				{name: "ENOMEM", inject: "epoll_ctl:error=ENOMEM:when=50+3", run: r07Refused(syscall.ENOMEM)},
			},
		},
		{
			id: "R08", title: "more descriptors ready than a batch holds, and one that is always ready",
			naive:  "those with low numbers are served first, timers starve",
			target: "each served in its turn; timers p99 less than 5 ms late", parts: one(r08Many),
		},
		{
			id: "R09", title: "kqueue, on other systems",
			naive:  "a busy loop that only users of another system see",
			target: "builds for darwin, freebsd, netbsd, openbsd, dragonfly; their poller's contract is looptest.TestPoller, which runs there", parts: []part{{run: r09Build, limit: 5 * time.Minute}},
		},
	}
	return in(pollerSection, rows)
}

func in(section string, rows []scenario) []scenario {
	for i := range rows {
		rows[i].section = section
	}
	return rows
}

// r01Reuse keeps 64 socket pairs ready. The first callback of each batch closes 32
// of those whose events are on their way, and opens 32 with the same numbers. Each
// stream carries its own id.
func r01Reuse(r *run) {
	batches := r.n(94_000, 20)
	r.loop(func(ctx context.Context) error {
		b := &reuse{r: r, l: loop.FromContext(ctx), left: batches}
		for i := range b.pairs {
			if err := b.open(i); err != nil {
				return err
			}
		}
		for b.left > 0 && b.err == nil {
			b.round = false
			if err := task.Yield(ctx); err != nil {
				return err
			}
			b.feed()
		}
		for i := range b.pairs {
			b.close(i)
		}
		r.load("%d batches of 64 ready descriptors, %d numbers used again, %d messages", batches, b.reused, b.messages)
		r.faults.Add(int64(b.stale))
		r.found("%d events of closed descriptors were on their way, none arrived", b.stale)
		r.check(b.reused >= batches*8, "only %d numbers were used again", b.reused)
		return b.err
	})
}

type reuse struct {
	r        *run
	l        *loop.Loop
	pairs    [64]struct{ fd, peer int }
	ids      [64]uint64
	fed      [64]bool
	last     uint64
	round    bool // the first callback of the batch has run
	left     int
	reused   int
	messages int
	stale    int // events of descriptors that were closed before their call
	err      error
}

func (b *reuse) open(i int) error {
	fd, peer, err := rawPair()
	if err != nil {
		return err
	}
	b.last++
	id := b.last
	b.pairs[i].fd, b.pairs[i].peer, b.ids[i], b.fed[i] = fd, peer, id, false
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	return b.l.AddReader(fd, func() { b.ready(i, fd, id) })
}

func (b *reuse) close(i int) {
	if !b.l.RemoveReader(b.pairs[i].fd) {
		b.r.fail("RemoveReader = false")
	}
	unix.Close(b.pairs[i].fd)
	unix.Close(b.pairs[i].peer)
}

// feed gives every stream its id to read.
func (b *reuse) feed() {
	for i, p := range b.pairs {
		if b.fed[i] {
			continue
		}
		var buf [8]byte
		binary.LittleEndian.PutUint64(buf[:], b.ids[i])
		if _, err := unix.Write(p.peer, buf[:]); err != nil {
			b.err = err
		}
		b.fed[i] = true
	}
}

func (b *reuse) ready(i, fd int, id uint64) {
	var buf [8]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil || n != 8 || binary.LittleEndian.Uint64(buf[:]) != id {
		b.r.misdelivered.Add(1)
		return
	}
	b.messages++
	b.fed[i] = false
	if b.round {
		return
	}
	b.round = true
	b.left--
	numbers := map[int]bool{}
	for k := range 32 { // all but the one that runs
		p := b.pairs[(i+1+k)%64]
		numbers[p.fd], numbers[p.peer] = true, true
		if b.fed[(i+1+k)%64] {
			b.stale++
		}
		b.close((i + 1 + k) % 64)
	}
	for k := range 32 {
		j := (i + 1 + k) % 64
		if err := b.open(j); err != nil {
			b.err = err
			return
		}
		if numbers[b.pairs[j].fd] {
			b.reused++
		}
	}
}

// r02Closed closes descriptors that the loop watches, while duplicates keep what
// they stand for alive: read by a callback, and by a task.
func r02Closed(r *run) {
	n := r.n(10_000, 20)
	r.loop(func(ctx context.Context) error {
		var dups []int
		for i := range n {
			dup, err := closedBehind(ctx, r, i%2 == 0)
			if err != nil {
				return err
			}
			dups = append(dups, dup...)
			if len(dups) > 200 { // the others stay as zombies
				unix.Close(dups[0])
				unix.Close(dups[1])
				dups = dups[2:]
			}
			r.faults.Add(1)
		}
		r.quiet.Store(true)
		l := loop.FromContext(ctx)
		if err := task.Sleep(ctx, 300*time.Millisecond); err != nil {
			return err
		}
		polls, cpu := l.Stats().Polls, cputime.Used()
		const pause = 2 * time.Second
		if err := task.Sleep(ctx, pause); err != nil {
			return err
		}
		polls, cpu = l.Stats().Polls-polls, cputime.Used()-cpu
		r.load("%d descriptors closed, half watched by AddReader, half read by a task", n)
		r.found("with %d zombies left: %d looks and %.2f %% of a processor in %v (the count of RSS included)", len(dups)/2, polls, 100*cpu.Seconds()/pause.Seconds(), pause)
		r.check(polls < 100, "%d looks in %v: the loop spins", polls, pause)
		r.check(cpu < pause/50, "%v of processor time in %v", cpu, pause)
		for _, fd := range dups {
			unix.Close(fd)
		}
		return nil
	})
}

// closedBehind returns the duplicate and the peer, which are left open.
func closedBehind(ctx context.Context, r *run, callback bool) ([]int, error) {
	a, b, err := rawPair()
	if err != nil {
		return nil, err
	}
	dup, err := unix.Dup(a)
	if err != nil {
		return nil, err
	}
	left := []int{dup, b}
	l := loop.FromContext(ctx)
	if callback {
		told := false
		if err := l.AddReader(a, func() {
			_, err := unix.Read(a, make([]byte, 1))
			told = err == unix.EBADF
			l.RemoveReader(a)
		}); err != nil {
			return left, err
		}
		unix.Close(a)
		_, _ = unix.Write(b, []byte("x"))
		for end := time.Now().Add(5 * time.Second); !told && time.Now().Before(end); {
			if err := task.Yield(ctx); err != nil {
				return left, err
			}
		}
		if !told {
			l.RemoveReader(a)
			r.lost.Add(1)
		}
		return left, nil
	}
	c, err := stream.AdoptFD(ctx, a)
	if err != nil {
		return left, err
	}
	reads := task.StartNow(ctx, func(ctx context.Context) (int, error) { return c.Read(ctx, make([]byte, 1)) })
	unix.Close(a)
	_, _ = unix.Write(b, []byte("x"))
	_, err = task.WaitFor(ctx, 5*time.Second, reads)
	if !errors.Is(err, syscall.EBADF) {
		r.fail("Read of a closed descriptor: %v, want EBADF", err)
		r.lost.Add(1)
	}
	_ = c.Close()
	return left, nil
}

// r03Interrupted posts, serves and dials while strace interrupts one call of three.
func r03Interrupted(r *run) {
	posts, rounds := r.n(100_000, 100), r.n(50_000, 50)
	r.loop(func(ctx context.Context) error {
		srv, err := serve(ctx, stream.ServeConfig{}, echo)
		if err != nil {
			return err
		}
		l := loop.FromContext(ctx)
		var ran, refused atomic.Int64
		posters := task.Go(ctx, func(ctx context.Context) error {
			return r.others(ctx, 4, 4, func(int) error {
				for i := range posts / 4 {
					if l.CallSoonThreadsafe(func() { ran.Add(1) }) != nil {
						refused.Add(1)
					}
					if i%16 == 0 {
						time.Sleep(50 * time.Microsecond) // let the loop fall asleep
					}
				}
				return nil
			})
		})
		err = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			for range 20 {
				g.Go(func(ctx context.Context) error { return pingPong(ctx, r, srv.addr(), rounds/20) })
			}
			return nil
		})
		if _, perr := posters.Await(ctx); err == nil {
			err = perr
		}
		for range 3 {
			_ = task.Yield(ctx)
		}
		want := int64(posts / 4 * 4)
		r.load("%d posts of 4 goroutines, %d echoes on 20 connections", want, rounds)
		r.lost.Add(want - ran.Load())
		r.check(refused.Load() == 0, "%d posts refused", refused.Load())
		return errors.Join(err, srv.stop(ctx))
	})
}

// pingPong sends numbers and wants them back.
func pingPong(ctx context.Context, r *run, addr string, n int) error {
	c, err := stream.Dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	rd := stream.NewReader(c, 0)
	var out, back [8]byte
	for i := range n {
		binary.LittleEndian.PutUint64(out[:], uint64(i))
		if _, err := c.Write(ctx, out[:]); err != nil {
			return err
		}
		if _, err := rd.ReadFull(ctx, back[:]); err != nil {
			return err
		}
		if out != back {
			r.misdelivered.Add(1)
		}
	}
	return nil
}

// r04Hangup has peers that go while nobody reads: sockets of tasks that do other
// things, transports whose reading is paused, and pipes whose reader has gone.
func r04Hangup(r *run) {
	n := min(r.n(5_000, 30), files(10_500)/2)
	r.loop(func(ctx context.Context) error {
		h, err := hangUps(ctx, n)
		if err != nil {
			return err
		}
		r.quiet.Store(true)
		if err := task.Sleep(ctx, 500*time.Millisecond); err != nil {
			return err
		}
		l := loop.FromContext(ctx)
		polls, cpu := l.Stats().Polls, cputime.Used()
		const pause = 2 * time.Second
		if err := task.Sleep(ctx, pause); err != nil {
			return err
		}
		polls, cpu = l.Stats().Polls-polls, cputime.Used()-cpu
		r.quiet.Store(false)
		r.load("%d descriptors hung up: streams, paused transports, pipes without a reader", n)
		r.found("%.1f looks a second, %.2f %% of a processor (the count of RSS included)", float64(polls)/pause.Seconds(), 100*cpu.Seconds()/pause.Seconds())
		r.check(polls < 100, "%d looks in %v", polls, pause)
		r.check(cpu < pause/50, "%v of processor time in %v", cpu, pause)
		r.faults.Add(int64(n))
		return h.end(ctx, r)
	})
}

type hungUp struct {
	transport.Defaults
	ends, losses int
	t            *transport.Transport
}

func (h *hungUp) Connected(t *transport.Transport) { h.t = t; t.PauseReading() }
func (h *hungUp) EOF() bool                        { h.ends++; return false }
func (h *hungUp) Lost(error)                       { h.losses++ }

type hangingUp struct {
	conns  []*stream.Conn
	protos []*hungUp
	pipes  []*stream.Conn
}

func hangUps(ctx context.Context, n int) (*hangingUp, error) {
	h := &hangingUp{}
	l := loop.FromContext(ctx)
	for i := range n {
		pair := rawPair
		if i%3 == 2 {
			pair = rawPipe
		}
		a, b, err := pair()
		if err != nil {
			return h, err
		}
		if i%3 == 1 {
			p := &hungUp{}
			h.protos = append(h.protos, p)
			_, err = transport.AdoptFD(l, a, p, transport.Config{})
		} else {
			var c *stream.Conn
			c, err = stream.AdoptFD(ctx, a)
			if i%3 == 0 {
				h.conns = append(h.conns, c)
			} else {
				h.pipes = append(h.pipes, c)
			}
		}
		if err != nil {
			return h, err
		}
		if err := task.Yield(ctx); err != nil { // Connected has been called
			return h, err
		}
		unix.Close(b)
	}
	return h, nil
}

// end looks whether each is told of its end, once.
func (h *hangingUp) end(ctx context.Context, r *run) error {
	for _, c := range h.conns {
		if _, err := c.Read(ctx, make([]byte, 1)); err != io.EOF {
			r.lost.Add(1)
			r.fail("Read: %v, want EOF", err)
		}
		_ = c.Close()
	}
	for _, c := range h.pipes {
		if _, err := c.Write(ctx, []byte("x")); !errors.Is(err, syscall.EPIPE) {
			r.lost.Add(1)
			r.fail("Write: %v, want EPIPE", err)
		}
		_ = c.Close()
	}
	for _, p := range h.protos {
		p.t.ResumeReading()
	}
	if err := task.Sleep(ctx, 100*time.Millisecond); err != nil {
		return err
	}
	for _, p := range h.protos {
		if p.ends != 1 || p.losses != 1 {
			r.fail("EOF was called %d times, Lost %d times", p.ends, p.losses)
		}
	}
	return nil
}

// flapper reads a stream of which every byte is known, and pauses at every turn.
type flapper struct {
	transport.Defaults
	r    *run
	t    *transport.Transport
	got  uint64
	lost bool
}

func (f *flapper) Connected(t *transport.Transport) { f.t = t }
func (f *flapper) Lost(error)                       { f.lost = true }
func (f *flapper) Data(p []byte) {
	for _, b := range p {
		if b != byte(f.got*31>>3) {
			f.r.misdelivered.Add(1)
		}
		f.got++
	}
}

func r05Flapping(r *run, flips int) {
	r.loop(func(ctx context.Context) error {
		a, b, err := rawPair()
		if err != nil {
			return err
		}
		f := &flapper{r: r}
		if _, err := transport.AdoptFD(loop.FromContext(ctx), a, f, transport.Config{}); err != nil {
			return err
		}
		if err := task.Yield(ctx); err != nil {
			return err
		}
		var stop atomic.Bool
		var sent atomic.Uint64
		writer := task.Go(ctx, func(ctx context.Context) error {
			return r.others(ctx, 1, 1, func(int) error {
				defer unix.Close(b)
				buf := make([]byte, 1500)
				for !stop.Load() {
					n := sent.Load()
					for i := range buf {
						buf[i] = byte((n + uint64(i)) * 31 >> 3)
					}
					if err := writeN(b, buf); err != nil {
						return err
					}
					sent.Add(uint64(len(buf)))
				}
				return nil
			})
		})
		turns := loop.FromContext(ctx).Stats().Turns
		for i := range flips / 2 {
			f.t.PauseReading()
			f.t.ResumeReading()
			if i%4 == 0 { // otherwise many in one turn
				if err := task.Yield(ctx); err != nil {
					return err
				}
			}
		}
		turns = loop.FromContext(ctx).Stats().Turns - turns
		stop.Store(true)
		_, err = writer.Await(ctx)
		for end := time.Now().Add(10 * time.Second); !f.lost && time.Now().Before(end); {
			_ = task.Sleep(ctx, time.Millisecond)
		}
		r.load("%d flips in %d turns, %d bytes", flips, turns, sent.Load())
		r.lost.Add(int64(sent.Load()) - int64(f.got))
		return err
	})
}

// r06Busy has two tasks wait for each direction of a connection.
func r06Busy(r *run) {
	n := r.n(10_000, 10)
	r.loop(func(ctx context.Context) error {
		for range n {
			if err := busyPair(ctx, r); err != nil {
				return err
			}
		}
		r.load("%d connections: two readers, two writers, a reader beside a writer", n)
		return severalAccept(ctx, r)
	})
}

func busyPair(ctx context.Context, r *run) error {
	a, b, err := rawPair()
	if err != nil {
		return err
	}
	c, err := stream.AdoptFD(ctx, a)
	if err != nil {
		return err
	}
	defer unix.Close(b)
	defer c.Close()
	_ = unix.SetsockoptInt(a, unix.SOL_SOCKET, unix.SO_SNDBUF, 1)
	read := func(ctx context.Context) (int, error) { return c.Read(ctx, make([]byte, 1)) }
	write := func(ctx context.Context) (int, error) { return c.Write(ctx, make([]byte, 64<<10)) }
	first, second := task.StartNow(ctx, read), task.StartNow(ctx, read)
	wfirst, wsecond := task.StartNow(ctx, write), task.StartNow(ctx, write)
	_, rerr := second.Await(ctx)
	_, werr := wsecond.Await(ctx)
	if rerr != stream.ErrBusy || werr != stream.ErrBusy {
		r.fail("the second got %v and %v, want ErrBusy", rerr, werr)
	}
	r.faults.Add(2)
	_, _ = unix.Write(b, []byte("x"))
	if err := unix.SetNonblock(b, true); err != nil {
		return err
	}
	got := make([]byte, 64<<10)
	for left, end := len(got), time.Now().Add(5*time.Second); left > 0 && time.Now().Before(end); {
		k, _ := unix.Read(b, got) // what the first writes
		left -= max(k, 0)
		_ = task.Yield(ctx)
	}
	if k, err := task.WaitFor(ctx, 5*time.Second, first); k != 1 || err != nil {
		r.lost.Add(1)
	}
	if k, err := task.WaitFor(ctx, 5*time.Second, wfirst); k != 64<<10 || err != nil {
		r.lost.Add(1)
	}
	return nil
}

func severalAccept(ctx context.Context, r *run) error {
	ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	const n = 100
	var waits []*task.Task[*stream.Conn]
	for range n {
		waits = append(waits, task.StartNow(ctx, ln.Accept))
	}
	if err := r.others(ctx, n, 10, func(i int) error {
		fd, err := rawDial(i, ln.Addr())
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	}); err != nil {
		return err
	}
	for _, w := range waits {
		c, err := task.WaitFor(ctx, 10*time.Second, w)
		if err != nil {
			r.lost.Add(1)
			continue
		}
		_ = c.Close()
	}
	r.load("%d tasks waiting to accept", n)
	return nil
}

func r07Files(r *run) {
	n := r.n(1000, 10)
	r.loop(func(ctx context.Context) error {
		f, err := os.CreateTemp("", "chaos")
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		fd := int(f.Fd())
		for range n {
			if err := loop.FromContext(ctx).AddReader(fd, func() {}); !errors.Is(err, syscall.EPERM) {
				r.fail("AddReader of a file: %v, want EPERM", err)
			}
			if _, err := stream.AdoptFD(ctx, fd); !errors.Is(err, errors.ErrUnsupported) {
				r.fail("AdoptFD of a file: %v, want ErrUnsupported", err)
			}
			r.faults.Add(2)
		}
		if _, err := unix.Write(fd, []byte("x")); err != nil {
			r.fail("the file was harmed: %v", err)
		}
		c, err := stream.Adopt(ctx, f) // by blocking calls elsewhere
		if err != nil {
			return err
		}
		_, err = c.Write(ctx, []byte("y"))
		r.load("%d regular files given to AddReader and AdoptFD", n)
		return errors.Join(err, c.Close())
	})
}

// r07Refused adopts sockets, each second of which strace refuses to register.
func r07Refused(want syscall.Errno) func(r *run) {
	return func(r *run) {
		n := r.n(1200, 100)
		r.loopConfig(loop.Config{LockThread: true}, func(ctx context.Context) error {
			refused := 0
			for range n {
				a, b, err := rawPair()
				if err != nil {
					return err
				}
				c, err := stream.AdoptFD(ctx, a)
				switch {
				case err == nil:
					_, _ = unix.Write(b, []byte("x"))
					if _, err := c.Read(ctx, make([]byte, 1)); err != nil {
						r.fail("Read: %v", err)
					}
					_ = c.Close()
				case errors.Is(err, want):
					refused++
					if err := unix.Close(a); err != nil { // is still ours
						r.fail("the descriptor was harmed: %v", err)
					}
				default:
					r.fail("AdoptFD: %v, want %v", err, want)
				}
				unix.Close(b)
			}
			r.load("%d sockets adopted", n)
			r.found("%d were refused with %v", refused, want)
			r.check(refused > 0, "none was refused")
			return nil
		})
	}
}

// r08Many makes many descriptors ready at once, beside one that always is.
func r08Many(r *run) {
	n := r.n(20_000, 100)
	n = min(n, files(2*n+100)/2)
	const rounds = 30
	r.loop(func(ctx context.Context) error {
		m := &many{l: loop.FromContext(ctx)}
		if err := r.blocking(ctx, func() error { return m.open(n) }); err != nil {
			return err
		}
		for range rounds {
			m.left = n
			if err := r.others(ctx, 1, 1, func(int) error { return m.feed() }); err != nil {
				return err
			}
			for m.left > 0 {
				if err := task.Yield(ctx); err != nil {
					return err
				}
			}
		}
		for _, k := range m.served {
			if k != rounds {
				r.duplicated.Add(1)
			}
		}
		_ = r.blocking(ctx, m.close)
		r.load("%d descriptors made ready while the loop runs, %d times, beside one that is always ready", n, rounds)
		r.found("each was served once each time, the greedy one %d times in all", m.greedy)
		return nil
	})
	r.lagBelow(5 * time.Millisecond)
}

type many struct {
	l      *loop.Loop
	pairs  [][2]int
	served []int
	greedy int
	left   int
}

func (m *many) open(n int) error {
	a, b, err := rawPair()
	if err != nil {
		return err
	}
	m.pairs = append(m.pairs, [2]int{a, b})
	if err := m.l.AddReader(a, func() { m.greedy++ }); err != nil {
		return err
	}
	if _, err := unix.Write(b, []byte("x")); err != nil {
		return err
	}
	m.served = make([]int, n)
	for i := range n {
		a, b, err := rawPair()
		if err != nil {
			return err
		}
		m.pairs = append(m.pairs, [2]int{a, b})
		if err := m.l.AddReader(a, func() {
			var buf [1]byte
			_, _ = unix.Read(a, buf[:])
			m.served[i]++
			m.left--
		}); err != nil {
			return err
		}
	}
	return nil
}

func (m *many) feed() error {
	for _, p := range m.pairs[1:] {
		if _, err := unix.Write(p[1], []byte("x")); err != nil {
			return err
		}
	}
	return nil
}

func (m *many) close() error {
	for _, p := range m.pairs {
		m.l.RemoveReader(p[0])
		unix.Close(p[0])
		unix.Close(p[1])
	}
	return nil
}

// r09Build compiles for the systems that are not here.
func r09Build(r *run) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	name, dir, _ := strings.Cut(strings.TrimSpace(string(root)), " ")
	if err != nil || name != "github.com/eddyloop/eddy" {
		r.skip("go and the source of eddy are not here")
		return
	}
	systems := []string{"darwin", "freebsd", "netbsd", "openbsd", "dragonfly"}
	if r.opt.scale < 0.01 {
		systems = systems[:1]
	}
	for _, system := range systems {
		cmd := exec.Command("go", "build", "./poller", "./loop", "./stream")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH=arm64", "CGO_ENABLED=0")
		if system == "dragonfly" {
			cmd.Env = append(cmd.Env, "GOARCH=amd64")
		}
		out, err := cmd.CombinedOutput()
		r.check(err == nil, "%s: %v %s", system, err, out)
	}
	r.load("poller, loop and stream compiled for %s", strings.Join(systems, ", "))
	r.found("nothing was run on those systems")
}
