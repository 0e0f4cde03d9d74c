//go:build unix

package netfd

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
)

// maxIO bounds the bytes that one system call moves: some 20 µs worth.
const maxIO = 128 << 10

// An FD is a non-blocking socket of a loop, or a pipe or terminal. It is made to be
// part of a larger struct, its owner, which is the loop's [loop.Sink] for it. The zero value is
// closed. It must be used on the loop, and not be copied.
//
//	closed --Open--> open --Close, or the loop's--> closed
//
// Of an open one each direction is in one of three states:
//
//	ready --EAGAIN, short--> not ready --WantRead--> wanted
//	not ready, wanted --event--> ready
type FD struct {
	l     *loop.Loop
	fd    int32 // undefined unless open
	state state
}

type state uint8

const (
	canRead   state = 1 << iota // trying is worthwhile
	canWrite                    //
	wantRead                    // the owner waits
	wantWrite                   //
	ending                      // an event told of an end or an error: a short read drains nothing
	open
	file // read and write, not recv and send; being short means nothing
)

// Open registers a non-blocking socket with the loop. From now on the loop calls
// sink's Ready, which is to call [FD.Note]; and it closes the socket when it is
// closed itself. A direction is tried without an event only if f is told that it
// is ready: reading never pays, because the first event is on its way, whatever
// it says. On an error, of [loop.Loop.Watch], the socket is left to the caller.
func (f *FD) Open(l *loop.Loop, fd int, sink loop.Sink, writable bool) error {
	return f.open(l, fd, sink, writable, 0)
}

// OpenFile is Open for a pipe, a terminal or another character device, or one end
// of it: what cannot be read or written answers so when it is tried.
func (f *FD) OpenFile(l *loop.Loop, fd int, sink loop.Sink) error {
	return f.open(l, fd, sink, true, file)
}

func (f *FD) open(l *loop.Loop, fd int, sink loop.Sink, writable bool, kind state) error {
	if err := l.Watch(fd, sink); err != nil {
		return err
	}
	f.l, f.fd, f.state = l, int32(fd), open|kind
	if writable {
		f.state |= canWrite
	}
	socketsOf(l).add(f)
	return nil
}

// Loop returns the loop that f was opened on, also when f is closed.
func (f *FD) Loop() *loop.Loop { return f.l }

// Num returns the descriptor, or -1 if f is closed.
func (f *FD) Num() int {
	if f.state&open == 0 {
		return -1
	}
	return int(f.fd)
}

// Note takes down what the loop found ready, and returns which side, of those
// that wait, to wake. It is for the owner's Ready.
func (f *FD) Note(r poller.Ready) (reader, writer bool) {
	s := f.state
	if r&(poller.CanRead|poller.HangUp|poller.Failed) != 0 {
		reader = s&wantRead != 0
		s = s&^wantRead | canRead
	}
	if r&(poller.CanWrite|poller.Failed) != 0 {
		writer = s&wantWrite != 0
		s = s&^wantWrite | canWrite
	}
	if r&(poller.HangUp|poller.Failed|poller.Urgent) != 0 {
		s |= ending
	}
	f.state = s
	return reader, writer
}

// Readable reports whether TryRead and TryAccept make a system call: they may
// still find that they would block.
func (f *FD) Readable() bool { return f.state&canRead != 0 }

// Writable reports whether TryWrite makes a system call.
func (f *FD) Writable() bool { return f.state&canWrite != 0 }

// WantRead makes Note ask to wake the reader, once, at the next event for it.
// f must be open and not Readable.
func (f *FD) WantRead() {
	f.state |= wantRead
	f.l.Rearm(int(f.fd), poller.Readable)
}

// WantWrite is WantRead for the writer.
func (f *FD) WantWrite() {
	f.state |= wantWrite
	f.l.Rearm(int(f.fd), poller.Writable)
}

// AssumeReadable makes the next TryRead ask the system, although no event has told of
// anything: there may be something that nobody has waited for.
func (f *FD) AssumeReadable() {
	if f.state&open != 0 {
		f.state |= canRead
	}
}

// TryRead reads what is there, up to len(p) bytes. It returns [ErrWouldBlock] if
// nothing is, io.EOF at the end of the stream, net.ErrClosed, and errors of the
// system as *os.SyscallError.
func (f *FD) TryRead(p []byte) (int, error) {
	if f.state&canRead == 0 {
		return 0, f.notNow()
	}
	if len(p) > maxIO {
		p = p[:maxIO]
	}
	for {
		var n int
		var errno syscall.Errno
		if f.state&file == 0 { // here, and not in a function: see DESIGN.md, section 3
			n, errno = sysRead(int(f.fd), p)
		} else {
			n, errno = sysReadFile(int(f.fd), p)
		}
		switch {
		case n == len(p):
			return n, nil
		case n > 0:
			if f.state&(ending|file) == 0 {
				f.state &^= canRead
			}
			return n, nil
		case errno == 0:
			return 0, io.EOF
		case errno == syscall.EAGAIN:
			f.state &^= canRead | ending
			return 0, ErrWouldBlock
		case errno != syscall.EINTR:
			return 0, os.NewSyscallError("read", errno)
		}
	}
}

// TryWrite writes as much of p as there is room for, and maybe less, and returns
// how much. Its errors are those of TryRead.
func (f *FD) TryWrite(p []byte) (int, error) {
	if f.state&canWrite == 0 {
		return 0, f.notNow()
	}
	if len(p) > maxIO {
		p = p[:maxIO]
	}
	for {
		var n int
		var errno syscall.Errno
		if f.state&file == 0 {
			n, errno = sysWrite(int(f.fd), p)
		} else {
			n, errno = sysWriteFile(int(f.fd), p)
		}
		switch {
		case n == len(p):
			return n, nil
		case n > 0:
			if f.state&file == 0 {
				f.state &^= canWrite
			}
			return n, nil
		case errno == syscall.EAGAIN || errno == 0:
			f.state &^= canWrite
			return 0, ErrWouldBlock
		case errno != syscall.EINTR:
			return 0, os.NewSyscallError("write", errno)
		}
	}
}

// TryAccept accepts a connection, and returns its descriptor, non-blocking and
// close-on-exec, and the peer's address. Its errors are those of TryRead.
func (f *FD) TryAccept() (fd int, peer Addr, err error) {
	if f.state&canRead == 0 {
		return -1, peer, f.notNow()
	}
	for {
		fd, errno := sysAccept(int(f.fd), &peer)
		switch {
		case errno == 0:
			return fd, peer, nil
		case errno == syscall.EAGAIN:
			f.state &^= canRead
			return -1, peer, ErrWouldBlock
		case errno != syscall.EINTR:
			return -1, peer, os.NewSyscallError("accept", errno)
		}
	}
}

func (f *FD) notNow() error {
	if f.state&open == 0 {
		return net.ErrClosed
	}
	return ErrWouldBlock
}

// TryConnect returns how the connect ended that was under way when f was opened:
// nil if f is connected, [ErrWouldBlock] if it has not ended, or the error.
func (f *FD) TryConnect() error {
	if f.state&canWrite == 0 {
		return f.notNow()
	}
	err := connectResult(int(f.fd))
	if err == ErrWouldBlock {
		f.state &^= canWrite
	}
	return err
}

// CloseWrite ends the stream to the peer; reading goes on. Of a file only Close
// ends it.
func (f *FD) CloseWrite() error {
	if f.state&open == 0 {
		return net.ErrClosed
	}
	if f.state&file != 0 {
		return errors.ErrUnsupported
	}
	return os.NewSyscallError("shutdown", shutdownWrite(int(f.fd)))
}

// Reset makes Close throw away what is not sent yet, and tell the peer of a reset.
func (f *FD) Reset() {
	if f.state&(open|file) == open {
		setReset(int(f.fd))
	}
}

// Local returns the socket's own address.
func (f *FD) Local() (a Addr) {
	if f.state&open != 0 {
		a = LocalAddr(int(f.fd))
	}
	return a
}

// Close takes the socket from the loop and closes it. It reports whether it was
// open. Waking who waits is left to the owner.
func (f *FD) Close() (bool, error) {
	if f.state&open == 0 {
		return false, nil
	}
	fd := int(f.fd)
	f.state = 0
	socketsOf(f.l).remove(fd)
	// In this order: a registration lives as long as any duplicate of the socket.
	f.l.Unwatch(fd)
	return true, os.NewSyscallError("close", syscall.Close(fd))
}

// sockets are the open sockets of a loop, by descriptor.
type sockets struct{ byFD []*FD }

var socketsKey = new(int)

func socketsOf(l *loop.Loop) *sockets {
	return l.Local(socketsKey, newSockets).(*sockets)
}

func newSockets() any { return new(sockets) }

func (s *sockets) add(f *FD) {
	for int(f.fd) >= len(s.byFD) {
		s.byFD = append(s.byFD, nil)
	}
	s.byFD[f.fd] = f
}

func (s *sockets) remove(fd int) { s.byFD[fd] = nil }

// Closed closes what is open when the loop closes. All tasks have ended.
func (s *sockets) Closed() {
	for _, f := range s.byFD {
		if f != nil {
			_, _ = f.Close() // nobody is left to tell
		}
	}
}
