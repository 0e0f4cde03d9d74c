//go:build unix && (pollonly || solaris || illumos || aix)

package poller

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// What poll(2) really does
//
// poll has no memory: each call hands the kernel the whole array, and costs in proportion to its
// length. It is the fallback for systems that have nothing better here, and, under the build tag
// pollonly, a second opinion on the contract that runs everywhere.
//
// It looks up descriptor numbers at each call, and knows nothing of descriptions. A dup is no
// trouble. A number closed behind our back is reported as POLLNVAL, at every call: we stop polling
// it, which is how epoll forgets. A number closed and reused without Remove, though, is the new file
// under the old token, and nothing can tell.
//
// POLLERR, POLLHUP and POLLNVAL come whether asked for or not. Only a negative number makes poll
// skip an entry.
//
// It is level-triggered, and no bookkeeping here can make edges of it: a direction that is ready in
// two calls may have been emptied and filled in between. Only the owner of the descriptor knows that
// it met EAGAIN, and must say so: [Rearmer]. An edge-triggered direction is taken out when it is
// reported, and both are at a hang-up or a failure; an entry with none is skipped.
//
// The pipe of the bell is entry 0. The others are scanned from where the last batch ended, so that a
// batch too small for all serves them in turn.
//
// Timeouts are whole milliseconds, rounded up, except where poll takes a timespec (ppoll; linux).

// pollPoller is the [Poller] of systems with nothing but poll(2).
type pollPoller struct {
	pipe   wakePipe
	bell   bell
	closed bool

	fds   []unix.PollFd // entry 0 is the pipe
	regs  []pollReg     // beside fds
	index map[int]int   // descriptor number -> entry
	next  int           // entry to scan first
	clock pollClock
}

type pollReg struct {
	fd  int // fds has -1 for it while nothing is armed
	tok Token
	in  Interest
}

// New opens a poller over poll(2). The error is that of the pipe it needs, for example EMFILE.
func New() (Poller, error) {
	p := &pollPoller{index: make(map[int]int), next: 1}
	if err := p.pipe.open(); err != nil {
		return nil, err
	}
	p.fds = []unix.PollFd{{Fd: int32(p.pipe.r), Events: unix.POLLIN}}
	p.regs = []pollReg{{fd: p.pipe.r, tok: wakeToken}}
	return p, nil
}

func (p *pollPoller) Add(fd int, tok Token, in Interest) error {
	validate(tok, in)
	if p.closed {
		return ErrClosed
	}
	if _, ok := p.index[fd]; ok {
		return os.NewSyscallError("poll", unix.EEXIST)
	}
	if err := refuseFile(fd); err != nil {
		return err
	}
	p.index[fd] = len(p.fds)
	p.fds = append(p.fds, unix.PollFd{Fd: -1})
	p.regs = append(p.regs, pollReg{fd, tok, in})
	p.arm(p.index[fd], in)
	return nil
}

func (p *pollPoller) Modify(fd int, tok Token, in Interest) error {
	validate(tok, in)
	if p.closed {
		return ErrClosed
	}
	i, ok := p.index[fd]
	if !ok {
		return os.NewSyscallError("poll", unix.ENOENT)
	}
	p.disarm(i, Readable|Writable)
	p.regs[i] = pollReg{fd, tok, in}
	p.arm(i, in)
	return nil
}

func (p *pollPoller) Remove(fd int) error {
	if p.closed {
		return ErrClosed
	}
	i, ok := p.index[fd]
	if !ok {
		return os.NewSyscallError("poll", unix.ENOENT)
	}
	last := len(p.fds) - 1
	p.fds[i], p.regs[i] = p.fds[last], p.regs[last]
	p.index[p.regs[i].fd] = i
	delete(p.index, fd) // after the line above: i may be the last
	p.fds, p.regs = p.fds[:last], p.regs[:last]
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return os.NewSyscallError("fcntl", err)
}

// Rearm implements [Rearmer].
func (p *pollPoller) Rearm(fd int, dir Interest) {
	if i, ok := p.index[fd]; ok && p.regs[i].in&Edge != 0 {
		p.arm(i, dir&p.regs[i].in)
	}
}

func (p *pollPoller) arm(i int, dir Interest) {
	if dir&Readable != 0 {
		p.fds[i].Events |= unix.POLLIN | pollRDHUP
	}
	if dir&Writable != 0 {
		p.fds[i].Events |= unix.POLLOUT
	}
	if p.fds[i].Events != 0 {
		p.fds[i].Fd = int32(p.regs[i].fd)
	}
}

func (p *pollPoller) disarm(i int, dir Interest) {
	if dir&Readable != 0 {
		p.fds[i].Events &^= unix.POLLIN | pollRDHUP
	}
	if dir&Writable != 0 {
		p.fds[i].Events &^= unix.POLLOUT
	}
	if p.fds[i].Events == 0 {
		p.fds[i].Fd = -1
	}
}

func (p *pollPoller) Wait(events []Event, d time.Duration) (n int, woken bool, err error) {
	validateWait(events)
	if p.closed {
		return 0, false, ErrClosed
	}
	for i := range p.fds {
		p.fds[i].Revents = 0 // some kernels leave it alone in entries they skip
	}
	left, err := p.clock.poll(p.fds, min(d, maxWait))
	if err != nil {
		if err == unix.EINTR || err == unix.EAGAIN { // EAGAIN: solaris, short of memory
			return 0, false, nil
		}
		return 0, false, os.NewSyscallError("poll", err)
	}
	if p.fds[0].Revents != 0 {
		left--
		woken = true
	}
	for seen := len(p.fds) - 1; seen > 0 && left > 0 && n < len(events); seen-- {
		if p.next >= len(p.fds) {
			p.next = 1
		}
		i := p.next
		p.next++
		revents := int(p.fds[i].Revents)
		if revents == 0 {
			continue
		}
		left--
		if revents&unix.POLLNVAL != 0 {
			p.disarm(i, Readable|Writable)
			continue
		}
		r := pollReady(revents)
		if p.regs[i].in&Edge != 0 {
			p.disarm(i, reported(r))
		}
		events[n] = Event{p.regs[i].tok, r}
		n++
	}
	if woken {
		p.pipe.consume()
		p.bell.heard() // only now: see type bell
	}
	return n, woken, nil
}

// reported is the directions that r has told about.
func reported(r Ready) Interest {
	var in Interest
	if r&CanRead != 0 {
		in |= Readable
	}
	if r&CanWrite != 0 {
		in |= Writable
	}
	return in
}

func pollReady(revents int) Ready {
	var r Ready
	if revents&unix.POLLIN != 0 {
		r |= CanRead
	}
	if revents&unix.POLLOUT != 0 {
		r |= CanWrite
	}
	if revents&pollRDHUP != 0 {
		r |= HangUp | CanRead
	}
	if revents&unix.POLLHUP != 0 {
		r |= HangUp | CanRead | CanWrite
	}
	if revents&unix.POLLERR != 0 {
		r |= Failed | CanRead | CanWrite
	}
	return r
}

func (p *pollPoller) Wake() error { return p.bell.ring(p) }

func (p *pollPoller) signal() error { return p.pipe.signal() }

func (p *pollPoller) Close() error {
	p.bell.shut(func() {
		p.pipe.close()
		p.closed = true
		p.fds, p.regs, p.index = nil, nil, nil
	})
	return nil
}
