package main

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
)

// hog_latency: the median time of an echo of 64 B over one TCP connection, as a
// client in another process sees it, while one goroutine of the server's process
// computes. The row quiet is the same without that goroutine.
//
// Requests come at random times, 1 ms apart on the average. In the row closed each
// follows the answer to the one before, as in most benchmarks: that hides the
// matter, because a server that stands still for 20 ms has one slow request then,
// and between two of these a thousand fast ones.
var hogLatency = bench{
	name:  "hog_latency",
	procs: []int{1, 2},
	ops:   1,
	impls: []impl{
		{"eddy", hogBeside(echoReader), goal{to: "quiet", ratio: 2}},
		{"goroutine", hogBeside(echoNet), goal{}},
	},
}

// hogBeside measures a server: serve echoes on a connection until its end.
func hogBeside(serve func(c *net.TCPConn)) func(m *meter) {
	return func(m *meter) {
		m.also("quiet", echoLatency(m, serve, false).Paced)
		t := echoLatency(m, serve, true)
		m.NS = float64(t.Paced)
		m.also("p90", t.PacedP90)
		m.also("closed", t.Closed)
	}
}

func echoLatency(m *meter, serve func(c *net.TCPConn), hog bool) echoTimes {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	client := startClient(clientJob{Addr: ln.Addr().String(), For: window(m)})
	c, err := ln.Accept()
	must(err)
	must(ln.Close())
	var stop atomic.Bool
	ended := make(chan struct{})
	if hog {
		go func() {
			for !stop.Load() {
			}
			close(ended)
		}()
	} else {
		close(ended)
	}
	serve(c.(*net.TCPConn))
	stop.Store(true)
	<-ended
	return client.times()
}

// echoNet is the goroutine.
func echoNet(c *net.TCPConn) {
	defer c.Close()
	p := make([]byte, 4096)
	for {
		n, err := c.Read(p)
		if err == io.EOF {
			return
		}
		must(err)
		_, err = c.Write(p[:n])
		must(err)
	}
}

// echoReader is a callback of AddReader.
func echoReader(c *net.TCPConn) {
	fd := takeFD(c)
	defer syscall.Close(fd)
	onLoop(func(ctx context.Context, l *loop.Loop) {
		f, ended := future.New[struct{}](l)
		p := make([]byte, 4096)
		must(l.AddReader(fd, func() {
			n, err := rawRead(fd, p)
			if err == syscall.EAGAIN || err == syscall.EINTR {
				return
			}
			must(err)
			if n == 0 {
				ended.Resolve(struct{}{})
				return
			}
			_, err = rawWrite(fd, p[:n])
			must(err)
		}))
		wait(ctx, f)
		l.RemoveReader(fd)
	})
}

// takeFD takes the descriptor out of package net's hands, non-blocking.
func takeFD(c *net.TCPConn) (fd int) {
	raw, err := c.SyscallConn()
	must(err)
	must(raw.Control(func(old uintptr) {
		fd, err = syscall.Dup(int(old))
		must(err)
	}))
	must(c.Close())
	return fd
}
