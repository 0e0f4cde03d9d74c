package datagram

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

const unixgram = "unixgram"

// A UnixConn is a unix datagram socket: nothing is lost, and who writes waits for
// who reads. Make it with [ListenUnix], [DialUnix] or [AdoptUnix], and close it. It
// must be used on its loop.
type UnixConn struct {
	socket
	file  fs.FileInfo // of its path, as it was made; nil if there is none
	retry loop.Timer
}

// ListenUnix makes a UnixConn at a path, or an abstract name of Linux that begins
// with "@". The file of a socket that is gone is replaced, one that somebody has is
// not. Close removes it, unless another one has taken its place. Errors are
// *net.OpError. It must be called in a task, and does not suspend.
// (asyncio: create_datagram_endpoint with family AF_UNIX)
func ListenUnix(ctx context.Context, path string) (*UnixConn, error) {
	l := park.From(ctx, "datagram: ListenUnix").Loop()
	return openUnix(l, "listen", path, "")
}

// DialUnix makes a UnixConn that is connected with remote: it is for Read and
// Write. local is its own path, or empty for none: then nobody can answer, because
// answers need an address. See ListenUnix.
func DialUnix(ctx context.Context, local, remote string) (*UnixConn, error) {
	l := park.From(ctx, "datagram: DialUnix").Loop()
	return openUnix(l, "dial", local, remote)
}

func openUnix(l *loop.Loop, op, local, remote string) (*UnixConn, error) {
	fd, err := netfd.NewUnixPacket(local, remote)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(local) && os.Remove(local) == nil {
		fd, err = netfd.NewUnixPacket(local, remote)
	}
	c := new(UnixConn)
	c.network = unixgram
	name := local
	if remote != "" {
		c.to = &net.UnixAddr{Net: unixgram, Name: remote}
		name = remote
	}
	if err == nil {
		err = c.open(l, fd)
	}
	if err != nil {
		return nil, &net.OpError{Op: op, Net: unixgram, Addr: &net.UnixAddr{Net: unixgram, Name: name}, Err: err}
	}
	if local != "" && local[0] != '@' {
		c.file, _ = os.Lstat(local)
	}
	return c, nil
}

// abandoned reports whether path is a socket that nobody has any more.
func abandoned(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	fd, err := netfd.NewUnixPacket("", path)
	if err == nil {
		netfd.CloseFD(fd)
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// AdoptUnix is [Adopt] for a unix datagram socket: a *net.UnixConn, an *os.File.
// Its file is not removed.
func AdoptUnix(ctx context.Context, x syscall.Conn) (*UnixConn, error) {
	l := park.From(ctx, "datagram: AdoptUnix").Loop()
	fd, family, err := adopt(x)
	if err == nil && family != 1 {
		netfd.CloseFD(fd)
		err = errors.ErrUnsupported
	}
	if err == nil {
		if err = netfd.SetNonblock(fd); err != nil {
			netfd.CloseFD(fd)
		}
	}
	if err != nil {
		return nil, &net.OpError{Op: "adopt", Net: unixgram, Err: err}
	}
	c := new(UnixConn)
	c.network = unixgram
	if a := netfd.PeerUnix(fd); a != nil && a.Name != "" {
		c.to = unixAddr(a)
	}
	if err := c.open(l, fd); err != nil {
		return nil, &net.OpError{Op: "adopt", Net: unixgram, Err: err}
	}
	closeOriginal(x)
	return c, nil
}

// ReadFrom is that of [Conn]; from is a path, or empty if the sender has none.
//
// Cancel safety: a canceled ReadFrom has taken no datagram.
func (c *UnixConn) ReadFrom(ctx context.Context, p []byte) (n int, from string, err error) {
	if err := c.beginRead(ctx); err != nil {
		return 0, "", err
	}
	for {
		n, from, err = c.tryReadFrom(p)
		if err != ErrWouldBlock {
			return n, from, err
		}
		if err := c.waitReadable(ctx); err != nil {
			return 0, "", err
		}
	}
}

// TryReadFrom is ReadFrom without waiting: it returns [ErrWouldBlock] if there is
// no datagram.
func (c *UnixConn) TryReadFrom(p []byte) (n int, from string, err error) {
	if c.held(reading) {
		return 0, "", ErrBusy
	}
	return c.tryReadFrom(p)
}

func (c *UnixConn) tryReadFrom(p []byte) (int, string, error) {
	n, from, truncated, err := c.fd.TryReadFromUnix(p)
	return n, from, c.received(n, truncated, err)
}

// WriteTo sends p as one datagram to a path, and waits while the receiver has no
// room for it: on Linux; other systems say ENOBUFS. See Write, which is for a
// UnixConn that is connected; for such a one WriteTo panics. A path where nobody
// reads is an error: ENOENT, ECONNREFUSED.
//
// The system does not tell when a receiver has room, so WriteTo tries again: after
// 1 ms, then twice as long each time, up to 32 ms.
//
// Cancel safety: a canceled WriteTo has sent nothing.
func (c *UnixConn) WriteTo(ctx context.Context, p []byte, to string) error {
	c.checkFree()
	if err := c.beginWrite(ctx); err != nil {
		return err
	}
	for delay := minRetry; ; delay = min(2*delay, maxRetry) {
		if err := c.tryWriteTo(p, to); err != ErrWouldBlock {
			return err
		}
		if err := c.waitRoom(ctx, delay); err != nil {
			return err
		}
	}
}

const (
	minRetry = time.Millisecond
	maxRetry = 32 * time.Millisecond
)

// waitRoom waits for some time. Events are of no use: the kernel makes one for each
// datagram that it has found no room for, as it frees its memory.
func (c *UnixConn) waitRoom(ctx context.Context, d time.Duration) error {
	l := c.Loop()
	w, ok := arm(&c.w, l, (*socketWriter)(&c.socket))
	if !ok {
		return ErrBusy
	}
	l.StartTimer(&c.retry, d, (*unixRetry)(c))
	defer l.StopTimer(&c.retry)
	c.flags |= writing
	defer c.release(writing)
	_, err := w.Await(ctx)
	return err
}

// A unixRetry is a UnixConn that is to try again.
type unixRetry UnixConn

func (r *unixRetry) Run() {
	r.fd.AssumeWritable()
	r.w.wake()
}

// TryWriteTo is WriteTo without waiting: it returns [ErrWouldBlock] if there is no
// room. Writable knows nothing of the receiver's room: try again after a while.
func (c *UnixConn) TryWriteTo(p []byte, to string) error {
	c.checkFree()
	if c.held(writing) {
		return ErrBusy
	}
	c.fd.AssumeWritable()
	return c.tryWriteTo(p, to)
}

func (c *UnixConn) tryWriteTo(p []byte, to string) error {
	err := c.fd.TryWriteToUnix(p, to)
	if c.sent(len(p), err) {
		return err
	}
	return c.opError("write", &net.UnixAddr{Net: unixgram, Name: to}, err)
}

// Close closes the socket, and removes its file if it made that. Whoever waits gets
// net.ErrClosed; so does every later call but Close, which does nothing and returns
// nil.
func (c *UnixConn) Close() error {
	if c.Closed() {
		return nil
	}
	err := c.socket.Close()
	if c.file != nil {
		name := c.LocalAddr().(*net.UnixAddr).Name
		if now, e := os.Lstat(name); e == nil && os.SameFile(now, c.file) {
			_ = os.Remove(name) // it is nobody's any more, also if that fails
		}
	}
	return err
}

// unixAddr makes a an address of datagrams. Linux says "@" for no name.
func unixAddr(a *net.UnixAddr) net.Addr {
	if a == nil || a.Name == "@" {
		return &net.UnixAddr{Net: unixgram}
	}
	return &net.UnixAddr{Net: unixgram, Name: a.Name}
}
