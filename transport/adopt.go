package transport

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
)

// ErrNotAStream is returned by [Adopt] for what cannot be waited for as a stream: a
// regular file, a datagram socket, a listener.
var ErrNotAStream = errors.New("transport: not a stream that can be waited for")

// A Conn is what [Adopt] takes: a *net.TCPConn, a *net.UnixConn, an *os.File.
type Conn interface {
	syscall.Conn
	io.Closer
}

// Adopt makes a transport of a connection of package net, or of a file that is a
// socket, a pipe or a terminal. It duplicates the descriptor, makes it non-blocking and
// closes c; on an error c stays open, but may have become non-blocking. Whoever
// shares the open file, such as the shell of a terminal, finds it non-blocking,
// too. One end of a pipe makes a transport in one direction: of an end to read,
// writes fail with [ErrWriteClosed]; that to write is never read, and is lost when
// nobody reads the pipe any more, with an error only if something was still to be
// written. Connected is called by the queue, in the context of this call. It returns
// [ErrNotAStream], and errors of the system. It must be called on the loop.
// (asyncio: connect_accepted_socket, connect_read_pipe, connect_write_pipe)
func Adopt(l *loop.Loop, c Conn, p Protocol, cfg Config) (*Transport, error) {
	fd, kind, err := netfd.Adopt(c)
	if err != nil {
		return nil, err
	}
	t, err := adopt(l, fd, kind, p, &cfg)
	if err != nil {
		return nil, err
	}
	if err := c.Close(); err != nil {
		t.Abort()
		return nil, err
	}
	return t, nil
}

// AdoptFD is [Adopt] of a descriptor, which is the transport's from now on, also if it
// fails.
func AdoptFD(l *loop.Loop, fd int, p Protocol, cfg Config) (*Transport, error) {
	kind, err := netfd.KindOf(fd)
	if err == nil && kind != netfd.Other {
		err = netfd.SetNonblock(fd)
	}
	if err != nil {
		netfd.CloseFD(fd)
		return nil, err
	}
	return adopt(l, fd, kind, p, &cfg)
}

// adopt takes fd over, also if it fails.
func adopt(l *loop.Loop, fd int, kind netfd.Kind, p Protocol, cfg *Config) (*Transport, error) {
	if cfg.TLS != nil {
		netfd.CloseFD(fd)
		panic("transport: Adopt with Config.TLS, which does not say the side: use StartTLS")
	}
	mode, err := modeOf(fd, kind)
	if err != nil {
		netfd.CloseFD(fd)
		return nil, err
	}
	t, err := newTransport(&hubOf(l).own, fd, kind, p, cfg.limits(), inherit(l))
	if err != nil {
		return nil, fmt.Errorf("transport: adopting: %w", err)
	}
	t.flags |= mode
	if kind == netfd.TCP {
		t.peer = netfd.PeerAddr(fd)
	}
	t.begin()
	return t, nil
}

// modeOf returns in which direction alone a file works.
func modeOf(fd int, kind netfd.Kind) (flags, error) {
	switch kind {
	case netfd.File:
		return accessMode(fd)
	case netfd.Other:
		return 0, ErrNotAStream
	}
	return 0, nil
}

var _ Conn = (*os.File)(nil)
