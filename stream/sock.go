//go:build unix

package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// The functions whose names begin with Sock are for programs that have sockets of
// their own, as integers, and for those that are ported from asyncio's loop.sock_
// methods. They work on a non-blocking socket that is not a Conn's: try the call,
// and wait for readiness by AddReader or AddWriter if it would block. Each must be
// called in a task, and one at a time in each direction of a socket: a second one
// gets [ErrBusy]. Errors are *os.SyscallError.
//
// Cancel safety of all: a canceled call has done nothing, SockSendall and
// SockSendfile a part. The socket must stay open until the call has returned.

// SockRecv reads up to n bytes; none is the end of the stream.
// (asyncio: loop.sock_recv)
func SockRecv(ctx context.Context, fd, n int) ([]byte, error) {
	p := make([]byte, n)
	n, err := SockRecvInto(ctx, fd, p)
	return p[:n], err
}

// SockRecvInto reads up to len(p) bytes into p; 0 is the end of the stream.
// (asyncio: loop.sock_recv_into)
func SockRecvInto(ctx context.Context, fd int, p []byte) (int, error) {
	n := 0
	err := sockTry(ctx, fd, "recv", true, func() (err error) {
		n, _, err = unix.Recvfrom(fd, p, 0)
		return err
	})
	return max(n, 0), err
}

// SockRecvFrom reads one datagram, up to len(p) bytes of it, and returns where it
// came from. (asyncio: loop.sock_recvfrom, loop.sock_recvfrom_into)
func SockRecvFrom(ctx context.Context, fd int, p []byte) (int, netip.AddrPort, error) {
	n := 0
	var from unix.Sockaddr
	err := sockTry(ctx, fd, "recvfrom", true, func() (err error) {
		n, from, err = unix.Recvfrom(fd, p, 0)
		return err
	})
	return max(n, 0), sockAddr(from), err
}

// SockSendall writes all of p. (asyncio: loop.sock_sendall)
func SockSendall(ctx context.Context, fd int, p []byte) error {
	for len(p) > 0 {
		err := sockTry(ctx, fd, "send", false, func() error {
			n, err := unix.SendmsgN(fd, p, nil, nil, noSignal)
			if err == nil {
				p = p[n:]
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// SockSendTo sends p as one datagram. (asyncio: loop.sock_sendto)
func SockSendTo(ctx context.Context, fd int, p []byte, to netip.AddrPort) error {
	sa, err := sockaddrOf(to)
	if err != nil {
		return err
	}
	return sockTry(ctx, fd, "sendto", false, func() error { return unix.Sendto(fd, p, noSignal, sa) })
}

// SockAccept accepts a connection of a listening socket, and returns it,
// non-blocking and closed on exec, and where it comes from: nothing for a unix
// socket. (asyncio: loop.sock_accept)
func SockAccept(ctx context.Context, fd int) (int, netip.AddrPort, error) {
	conn := -1
	var from unix.Sockaddr
	err := sockTry(ctx, fd, "accept", true, func() (err error) {
		conn, from, err = sockAccept(fd)
		return err
	})
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	return conn, sockAddr(from), nil
}

// SockConnect connects a socket to an IP address; names are for [Resolve]. After a
// cancellation the system still connects. (asyncio: loop.sock_connect)
func SockConnect(ctx context.Context, fd int, to netip.AddrPort) error {
	sa, err := sockaddrOf(to)
	if err != nil {
		return err
	}
	return sockConnect(ctx, fd, sa)
}

// SockConnectUnix is SockConnect for the path of a unix socket.
func SockConnectUnix(ctx context.Context, fd int, path string) error {
	return sockConnect(ctx, fd, &unix.SockaddrUnix{Name: path})
}

func sockConnect(ctx context.Context, fd int, sa unix.Sockaddr) error {
	// A unix socket whose listener's queue is full says EAGAIN and has not begun;
	// nothing tells of a place in the queue.
	for delay := time.Millisecond; ; delay = min(2*delay, 64*time.Millisecond) {
		err := sockConnectOnce(ctx, fd, sa)
		if err != errQueueFull {
			return err
		}
		if err := task.Sleep(ctx, delay); err != nil {
			return err
		}
	}
}

var errQueueFull = errors.New("stream: the listener's queue is full")

func sockConnectOnce(ctx context.Context, fd int, sa unix.Sockaddr) error {
	full, begun := false, false
	err := sockTry(ctx, fd, "connect", false, func() error {
		if !begun {
			begun = true
			switch err := unix.Connect(fd, sa); err {
			case nil, unix.EISCONN:
				return nil
			case unix.EINPROGRESS, unix.EINTR, unix.EALREADY:
				return unix.EAGAIN
			case unix.EAGAIN:
				full = true
				return nil
			default:
				return err
			}
		}
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			return err
		case code != 0:
			return unix.Errno(code)
		}
		if _, err := unix.Getpeername(fd); err != nil {
			return unix.EAGAIN // not yet
		}
		return nil
	})
	if full {
		return errQueueFull
	}
	return err
}

// SockSendfile writes n bytes of f, from off, to a stream socket; n of less than 0
// means to the end of the file. It returns how many it has written. The disk is
// waited for on the loop's default executor, where the system's sendfile is called
// if there is one that can, and the file is read if not. (asyncio:
// loop.sock_sendfile)
func SockSendfile(ctx context.Context, fd int, f *os.File, off, n int64) (sent int64, err error) {
	const piece = 1 << 20
	system := true
	for n != 0 {
		k := int64(piece)
		if n > 0 {
			k = min(k, n)
		}
		var did int
		if system {
			did, err = sockSendfilePiece(ctx, fd, f, off+sent, int(k))
			if errors.Is(err, errors.ErrUnsupported) {
				system = false
				continue
			}
		} else {
			did, err = sockCopyPiece(ctx, fd, f, off+sent, int(k))
		}
		sent += int64(did)
		if n > 0 {
			n -= int64(did)
		}
		if err != nil || did == 0 {
			return sent, err
		}
	}
	return sent, nil
}

func sockSendfilePiece(ctx context.Context, fd int, f *os.File, off int64, n int) (int, error) {
	for {
		did, err := sockSendfileOnce(ctx, fd, f, off, n)
		if err != netfd.ErrWouldBlock {
			return did, err
		}
		if err := sockWait(ctx, fd, false); err != nil {
			return 0, err
		}
	}
}

// sockSendfileOnce lets the executor work on a duplicate: after a cancellation it may
// still do so, when fd is another socket already.
func sockSendfileOnce(ctx context.Context, fd int, f *os.File, off int64, n int) (int, error) {
	dup, err := netfd.Dup(fd)
	if err != nil {
		return 0, err
	}
	var taken atomic.Bool // by whoever closes it
	did, err := executor.Do(ctx, func(context.Context) (int, error) {
		if taken.Swap(true) {
			return 0, net.ErrClosed
		}
		defer netfd.CloseFD(dup)
		return netfd.Sendfile(dup, f, off, n)
	})
	if !taken.Swap(true) {
		netfd.CloseFD(dup)
	}
	return did, err
}

func sockCopyPiece(ctx context.Context, fd int, f *os.File, off int64, n int) (int, error) {
	p, err := executor.Do(ctx, func(context.Context) ([]byte, error) {
		p := make([]byte, min(n, 256<<10))
		k, err := f.ReadAt(p, off)
		if err == io.EOF {
			err = nil
		}
		return p[:k], err
	})
	if err != nil {
		return 0, err
	}
	return len(p), SockSendall(ctx, fd, p)
}

// sockTry calls try until it does not say EAGAIN, and waits between.
func sockTry(ctx context.Context, fd int, name string, read bool, try func() error) error {
	for {
		err := try()
		switch err {
		case nil:
			return nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			if err := sockWait(ctx, fd, read); err != nil {
				return err
			}
		default:
			return os.NewSyscallError(name, err)
		}
	}
}

// A sockWatch is a wait for a descriptor's readiness in one direction.
type sockWatch struct {
	fd   int
	read bool
}

// sockWatches are those of a loop. A descriptor that was closed meanwhile, and
// whose number another wait has now, is the other's to unregister.
type sockWatches map[sockWatch]*future.Future[struct{}]

var sockWatchesKey = new(int)

func sockWatchesOf(l *loop.Loop) sockWatches {
	return l.Local(sockWatchesKey, func() any { return sockWatches{} }).(sockWatches)
}

func sockWait(ctx context.Context, fd int, read bool) error {
	l := park.From(ctx, "stream: Sock").Loop()
	all, key := sockWatchesOf(l), sockWatch{fd, read}
	if other := all[key]; other != nil && !other.Done() { // one that is done is on its way out
		return ErrBusy
	}
	f, p := future.New[struct{}](l)
	add, remove := l.AddReader, l.RemoveReader
	if !read {
		add, remove = l.AddWriter, l.RemoveWriter
	}
	if err := add(fd, func() { p.Resolve(struct{}{}) }); err != nil {
		return err
	}
	all[key] = f
	defer func() {
		if all[key] == f {
			delete(all, key)
			remove(fd)
		}
	}()
	_, err := f.Await(ctx)
	return err
}

func sockAddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func sockaddrOf(a netip.AddrPort) (unix.Sockaddr, error) {
	switch ip := a.Addr(); {
	case ip.Is4():
		return &unix.SockaddrInet4{Addr: ip.As4(), Port: int(a.Port())}, nil
	case ip.Is6():
		return &unix.SockaddrInet6{Addr: ip.As16(), Port: int(a.Port())}, nil
	}
	return nil, &net.AddrError{Err: "invalid address", Addr: a.String()}
}
