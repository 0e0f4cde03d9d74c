package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

// Adopt makes a Conn of something else that bytes go through, which belongs to the
// Conn from now on: a net.Conn, an *os.File, any io.Reader or io.Writer with or
// without a Close. It must be called in a task.
//
// A *net.TCPConn, a *net.UnixConn, and an *os.File that is a pipe or a terminal is
// taken out of its Go value, which is closed, and goes on as a descriptor of the loop;
// so must not be used by others meanwhile. If that fails x stays the caller's. For anything else each read and each write is a blocking call on a
// goroutine of its own: one at a time in each direction, begun only when asked for.
// What such a read brings after its task was canceled is kept for the next.
// A Reader whose Read goes on after Close keeps its goroutine until it returns.
// (asyncio: connect_accepted_socket, connect_read_pipe, connect_write_pipe)
//
// For the standard streams of the process see [Stdin].
func Adopt(ctx context.Context, x any) (*Conn, error) {
	l := park.From(ctx, "stream: Adopt").Loop()
	switch x := x.(type) { // not whatever has a descriptor: what is around it may do more
	case *net.TCPConn:
		return adoptValue(l, x)
	case *net.UnixConn:
		return adoptValue(l, x)
	case *os.File:
		return adoptValue(l, x)
	}
	return newPump(l, x), nil
}

// adoptValue takes the descriptor out of x, if it is of a kind that can be waited for.
func adoptValue(l *loop.Loop, x interface {
	syscall.Conn
	io.Closer
}) (*Conn, error) {
	c, err := adoptFD(l, x)
	switch {
	case err == nil:
		_ = x.Close()
	case errors.Is(err, errors.ErrUnsupported):
		return newPump(l, x), nil
	}
	return c, err
}

// AdoptFD makes a Conn of a descriptor, which belongs to the Conn from now on, and
// stays the caller's if it fails: with errors.ErrUnsupported for one that cannot be
// waited for, such as a regular file. It is made non-blocking. It must be called in
// a task.
func AdoptFD(ctx context.Context, fd int) (*Conn, error) {
	l := park.From(ctx, "stream: AdoptFD").Loop()
	kind, err := netfd.KindOf(fd)
	if err == nil && kind == netfd.Other {
		err = errors.ErrUnsupported
	}
	if err == nil {
		err = netfd.SetNonblock(fd)
	}
	if err != nil {
		return nil, &net.OpError{Op: "adopt", Net: "file", Err: err}
	}
	return openKind(l, fd, kind)
}

// adoptFD works on a duplicate.
func adoptFD(l *loop.Loop, s syscall.Conn) (*Conn, error) {
	fd, kind, err := netfd.Adopt(s)
	if err != nil {
		return nil, &net.OpError{Op: "adopt", Net: "file", Err: err}
	}
	if kind == netfd.Other {
		netfd.CloseFD(fd)
		return nil, errors.ErrUnsupported
	}
	c, err := openKind(l, fd, kind)
	if err != nil {
		netfd.CloseFD(fd)
		return nil, err
	}
	if f, ok := s.(*os.File); ok && kind == netfd.File {
		x := c.extra()
		x.local, x.remote = fileAddr(f.Name()), fileAddr(f.Name())
	}
	return c, nil
}

// openKind registers a descriptor. It is left to the caller if that fails.
func openKind(l *loop.Loop, fd int, kind netfd.Kind) (*Conn, error) {
	c := new(Conn)
	var err error
	switch kind {
	case netfd.TCP:
		c.peer = netfd.PeerAddr(fd)
		err = c.fd.Open(l, fd, (*connSink)(c), true)
	case netfd.Unix:
		c.flags = unixSocket
		err = c.fd.Open(l, fd, (*connSink)(c), true)
	default:
		c.flags = file
		err = c.fd.OpenFile(l, fd, (*connSink)(c))
	}
	if errors.Is(err, syscall.EPERM) { // a device without readiness, such as /dev/null
		return nil, errors.ErrUnsupported
	}
	if err != nil {
		return nil, &net.OpError{Op: "adopt", Net: "file", Err: err}
	}
	return c, nil
}

// A fileAddr is the name of a file as an address.
type fileAddr string

func (fileAddr) Network() string  { return "file" }
func (a fileAddr) String() string { return string(a) }
