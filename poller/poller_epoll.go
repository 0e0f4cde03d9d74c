//go:build linux && !pollonly

package poller

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What epoll really does
//
// A registration belongs to an open file description, not to a descriptor. The kernel's key is the
// pair of number and description. close(fd) ends the registration only if fd was the last reference
// to the description; after a dup, or in a child that has not called exec yet, it lives on and goes
// on reporting. Nobody can remove it then: EPOLL_CTL_DEL wants the number, and the number is closed
// (EBADF) or means another description (ENOENT). A level-triggered zombie spins at 100 %. Hence DEL
// before close, always. A caller who sees a token it does not know batch after batch has met such a
// zombie; the cure is a new poller. The number, once reused, can be added next to the zombie.
//
// A batch is a copy. Events that epoll_wait has returned are not taken back when one of them leads
// to DEL, close and a new descriptor of the same number. So the kernel carries the caller's token,
// and the caller compares generations. The 64-bit data word could hold a Go pointer, and must not:
// the collector does not see it there, and would free its target between DEL and the end of the
// batch. It holds the token, split over the fields that x/sys calls Fd and Pad.
//
// Level and edge. epoll_wait takes entries from a ready list. For each it asks the file what is
// ready now, and drops it if nothing is. A level-triggered entry goes back to the tail of the list,
// so it is looked at again next time, and a batch too small for all serves them in turn. An
// edge-triggered one (EPOLLET) is put back only by a new wake-up from the file: by data that
// arrives, also if the old was not read, or by room that opens up; never by the passing of time.
// ADD and MOD look at the state themselves, so what is ready then counts as an edge, and MOD re-arms.
// EPOLLET with both directions is one entry: an edge for writing reports CanRead along with
// CanWrite if there is data at that moment. There are more edges than changes, too; a unix socket
// wakes its writer for each message that the peer reads. Spurious edges are harmless to an owner
// who tries first.
//
// EPOLLERR and EPOLLHUP cannot be switched off. EPOLLHUP means that both directions are shut: a
// connection fully closed, a pipe whose writers are gone, and also a TCP socket that was never
// connected, which has EPOLLOUT|EPOLLHUP from the start: add it after connect. EPOLLERR is a pending
// socket error, or the write end of a pipe without readers. EPOLLRDHUP means that the peer shut its
// writing side, with its data perhaps unread. We ask for it together with Readable only: a
// level-triggered writer would spin on a half-closed connection that can live on for hours.
//
// EPERM is the answer for files without a poll operation, which are regular files, directories and
// devices like /dev/null. Select and poll call those always ready; epoll is honest.
//
// Time. epoll_wait counts in milliseconds, and one that rounds down returns early and makes the loop
// spin until its timer is due. epoll_pwait2 (Linux 5.11) takes a timespec. Older kernels answer
// ENOSYS, some seccomp filters EPERM; we remember it and round up to milliseconds. Either way the
// kernel adds the thread's timer slack, 50 µs unless changed: waits end late by about that, and
// never early.
//
// EINTR. epoll_wait is never restarted after a signal, whatever SA_RESTART says, and the Go runtime
// sends SIGURG to preempt. It may come at any time and means nothing: an empty batch.
//
// Raw and announced calls. syscall.Syscall tells the scheduler that this goroutine may be away for
// long; after 20 µs or more its monitor takes the P away. A call with a zero timeout comes back in
// 200 ns, and announcing it would add a fifth to that, so it is raw. A blocking call must not be:
// it would hold its P, and stop the collector, for as long as it sleeps.
//
// The race detector. Neither kind of call tells it anything, nor does the one in package syscall, so
// a race build needs no variant here. The order between Wake and Wait is in the bell's atomic word,
// which it sees. Order between a peer's write and our read is made by the calls that move the data;
// readiness alone promises none, as with the runtime's own poller.
//
// The bell is an eventfd, edge-triggered and never read. Each write is an edge, so a wake-up costs
// one system call and not two. Its counter is full after 2^64-2 writes; signal knows what to do then.
// O_CLOEXEC goes in with the creating calls, for a fork may come between two.

// epoll is the [Poller] of Linux.
type epoll struct {
	fd     int // the queue; -1 after Close
	bellFD int // an eventfd

	bell bell

	noPwait2 bool              // the kernel lacks epoll_pwait2
	timeout  timespec          // here and not on the stack, which would move it to the heap
	buf      []unix.EpollEvent // what the kernel filled last; as long as the caller's longest slice
}

// timespec is the kernel's __kernel_timespec, 64 bits wide on 32-bit systems too, unlike
// unix.Timespec.
type timespec struct{ sec, nsec int64 }

// New opens an epoll instance. The error is that of the system call, for example EMFILE.
func New() (Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	bellFD, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("eventfd2", err)
	}
	p := &epoll{fd: fd, bellFD: bellFD}
	if err := p.ctl(unix.EPOLL_CTL_ADD, bellFD, wakeToken, unix.EPOLLIN|unix.EPOLLET); err != nil {
		unix.Close(bellFD)
		unix.Close(fd)
		return nil, err
	}
	return p, nil
}

func (p *epoll) Add(fd int, tok Token, in Interest) error {
	validate(tok, in)
	return p.ctl(unix.EPOLL_CTL_ADD, fd, tok, epollEvents(in))
}

func (p *epoll) Modify(fd int, tok Token, in Interest) error {
	validate(tok, in)
	return p.ctl(unix.EPOLL_CTL_MOD, fd, tok, epollEvents(in))
}

func (p *epoll) Remove(fd int) error {
	return p.ctl(unix.EPOLL_CTL_DEL, fd, 0, 0)
}

func (p *epoll) ctl(op, fd int, tok Token, events uint32) error {
	if p.fd < 0 {
		return ErrClosed
	}
	// Before Linux 2.6.9 DEL needed an event too; it does no harm.
	ev := unix.EpollEvent{Events: events, Fd: int32(tok), Pad: int32(tok >> 32)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, op, fd, &ev))
}

func (p *epoll) Wait(events []Event, d time.Duration) (n int, woken bool, err error) {
	validateWait(events)
	if p.fd < 0 {
		return 0, false, ErrClosed
	}
	if len(p.buf) < len(events) {
		p.buf = make([]unix.EpollEvent, len(events))
	}
	got, errno := p.wait(p.buf[:len(events)], min(d, maxWait))
	if errno != 0 {
		if errno == unix.EINTR {
			return 0, false, nil
		}
		return 0, false, os.NewSyscallError("epoll_wait", errno)
	}
	for i := range got {
		ev := &p.buf[i]
		tok := Token(uint32(ev.Fd)) | Token(uint32(ev.Pad))<<32
		if tok == wakeToken {
			woken = true
			continue
		}
		events[n] = Event{tok, epollReady(ev.Events)}
		n++
	}
	if woken {
		p.bell.heard() // the edge is consumed: see type bell for why not earlier
	}
	return n, woken, nil
}

// wait is the system call, chosen by the kind of timeout.
func (p *epoll) wait(buf []unix.EpollEvent, d time.Duration) (int, syscall.Errno) {
	fd, addr, room := uintptr(p.fd), unsafe.Pointer(&buf[0]), uintptr(len(buf))
	if d == 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(addr), room, 0, 0, 0)
		return int(n), errno
	}
	if d > 0 && !p.noPwait2 {
		p.timeout = timespec{int64(d / time.Second), int64(d % time.Second)}
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, fd, uintptr(addr), room, uintptr(unsafe.Pointer(&p.timeout)), 0, 0)
		if errno != unix.ENOSYS && errno != unix.EPERM {
			return int(n), errno
		}
		p.noPwait2 = true
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(addr), room, uintptr(millis(d)), 0, 0)
	return int(n), errno
}

// millis is d in whole milliseconds, rounded up; -1 means forever.
func millis(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int((d + time.Millisecond - 1) / time.Millisecond) // maxWait keeps it in range
}

func (p *epoll) Wake() error { return p.bell.ring(p) }

// signal makes an edge. The eventfd does not block, so the call is raw: whoever wakes the loop
// should not hand over its P for it.
func (p *epoll) signal() error {
	one := uint64(1)
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(p.bellFD), uintptr(unsafe.Pointer(&one)), 8)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		case unix.EAGAIN:
			// The counter is full. Readable it is, but no edge was made: empty it and go again.
			var count uint64
			unix.RawSyscall(unix.SYS_READ, uintptr(p.bellFD), uintptr(unsafe.Pointer(&count)), 8)
		default:
			return os.NewSyscallError("write", errno)
		}
	}
}

func (p *epoll) Close() error {
	var err error
	p.bell.shut(func() {
		err = os.NewSyscallError("close", unix.Close(p.fd))
		unix.Close(p.bellFD)
		p.fd, p.bellFD, p.buf = -1, -1, nil
	})
	return err
}

// FD returns the descriptor of the queue, readable while Wait would return at once; see [Poller].
func (p *epoll) FD() int { return p.fd }

func epollEvents(in Interest) uint32 {
	var ev uint32
	if in&Readable != 0 {
		ev |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if in&Writable != 0 {
		ev |= unix.EPOLLOUT
	}
	if in&Edge != 0 && in&Readable != 0 {
		ev |= unix.EPOLLPRI
	}
	if in&Edge != 0 {
		ev |= unix.EPOLLET
	}
	return ev
}

func epollReady(ev uint32) Ready {
	var r Ready
	if ev&unix.EPOLLIN != 0 {
		r |= CanRead
	}
	if ev&unix.EPOLLOUT != 0 {
		r |= CanWrite
	}
	if ev&unix.EPOLLPRI != 0 {
		r |= Urgent | CanRead
	}
	if ev&unix.EPOLLRDHUP != 0 {
		r |= HangUp | CanRead
	}
	if ev&unix.EPOLLHUP != 0 {
		r |= HangUp | CanRead | CanWrite
	}
	if ev&unix.EPOLLERR != 0 {
		r |= Failed | CanRead | CanWrite
	}
	return r
}
