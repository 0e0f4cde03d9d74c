package main

import (
	"syscall"
	"time"

	"github.com/eddyloop/eddy/loop"
)

// A background is a timer and a socket that want to be served in time.
type background struct {
	l       *loop.Loop
	fds     [2]int
	timer   *loop.Handle
	due     time.Time
	written time.Time
	worst   time.Duration
}

func newBackground(l *loop.Loop) *background {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(err)
	must(syscall.SetNonblock(fds[0], true))
	must(syscall.SetNonblock(fds[1], true))
	b := &background{l: l, fds: fds}
	must(l.AddReader(fds[0], b.read))
	return b
}

func (b *background) arm() {
	b.due = b.l.Now().Add(time.Millisecond)
	b.timer = b.l.CallAt(b.due, b.write)
}

func (b *background) write() {
	b.written = b.l.Now()
	b.worst = max(b.worst, b.written.Sub(b.due))
	_, err := rawWrite(b.fds[1], []byte{1})
	must(err)
	b.arm()
}

func (b *background) read() {
	b.worst = max(b.worst, b.l.Now().Sub(b.written))
	var p [8]byte
	_, err := rawRead(b.fds[0], p[:])
	must(err)
}

func (b *background) close() time.Duration {
	b.timer.Cancel()
	b.l.RemoveReader(b.fds[0])
	must(syscall.Close(b.fds[0]))
	must(syscall.Close(b.fds[1]))
	return b.worst
}
