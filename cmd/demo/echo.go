package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

func runEcho(fs *flag.FlagSet, args []string) int {
	style := fs.String("style", "stream", "stream: a function with a stack for each connection; machine: a state machine")
	addr := fs.String("addr", "127.0.0.1:7777", "where to listen")
	wait := fs.String("wait", "auto", "how the loop waits: auto, sleep or doze; see loop.WaitPolicy")
	port := fs.Int("port", 0, "listen on 127.0.0.1 and this port instead")
	if !parse(fs, args) {
		return 2
	}
	if *port != 0 {
		*addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(*port))
	}
	serve, ok := map[string]func(context.Context, *stream.Listener) error{
		"stream":  func(ctx context.Context, ln *stream.Listener) error { return ln.Serve(ctx, echoStream) },
		"machine": echoMachines,
	}[*style]
	if !ok {
		fmt.Fprintf(os.Stderr, "demo echo: no style %q\n", *style)
		return 2
	}
	policy, ok := map[string]loop.WaitPolicy{
		"auto": loop.WaitAuto, "sleep": loop.WaitSleep, "doze": loop.WaitDoze,
	}[*wait]
	if !ok {
		fmt.Fprintf(os.Stderr, "demo echo: no way to wait %q\n", *wait)
		return 2
	}
	task.MainConfig(loop.Config{Wait: policy}, func(ctx context.Context) error {
		ln, err := stream.Listen(ctx, "tcp", *addr)
		if err != nil {
			return err
		}
		defer ln.Close()
		fmt.Println("listening on", ln.Addr())
		err = serve(ctx, ln)
		if future.AsCanceled(err) != nil {
			return nil // a signal: this is how a server ends
		}
		return err
	})
	return 0
}

// bufferSize is what one read takes at most.
const bufferSize = 16 << 10

// echoStream answers one connection. It reads like blocking code.
func echoStream(ctx context.Context, c *stream.Conn) error {
	buf := make([]byte, bufferSize)
	for {
		n, err := c.Read(ctx, buf)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if _, err := c.Write(ctx, buf[:n]); err != nil {
			return err
		}
	}
}

// echoMachines answers connections with state machines. They share one buffer:
// nothing else runs between a read and the write of what was read.
func echoMachines(ctx context.Context, ln *stream.Listener) error {
	buf := make([]byte, 64<<10)
	return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
		for {
			c, err := ln.Accept(ctx)
			if err != nil {
				return err
			}
			task.StartMachineIn(g, &echoMachine{c: c, buf: buf})
		}
	})
}

// maxRounds is how often one step reads: with 64 KB at a time it takes well under
// a millisecond.
const maxRounds = 4

// An echoMachine is one connection.
type echoMachine struct {
	c    *stream.Conn
	buf  []byte // shared
	rest []byte // read and not written yet, when the peer is slow
}

// Step reads and writes until one of them would block.
func (m *echoMachine) Step(_ context.Context, thrown error) (future.Waiter, error) {
	if thrown != nil {
		return m.end(thrown)
	}
	for range maxRounds {
		for len(m.rest) > 0 {
			n, err := m.c.TryWrite(m.rest)
			m.rest = m.rest[n:]
			if errors.Is(err, stream.ErrWouldBlock) {
				return m.c.Writable(), nil
			} else if err != nil {
				return m.end(nil) // the peer is gone
			}
		}
		n, err := m.c.TryRead(m.buf)
		if errors.Is(err, stream.ErrWouldBlock) {
			return m.c.Readable(), nil
		} else if err != nil {
			return m.end(nil) // its end, or a reset
		}
		if w, err := m.c.TryWrite(m.buf[:n]); w < n {
			if err != nil && !errors.Is(err, stream.ErrWouldBlock) {
				return m.end(nil)
			}
			m.rest = append([]byte(nil), m.buf[w:n]...)
		}
	}
	return task.Yielded, nil // a peer that never rests: let others have a turn
}

func (m *echoMachine) end(err error) (future.Waiter, error) {
	m.c.Close()
	return task.Done, err
}

func (m *echoMachine) Result() struct{} { return struct{}{} }
