package main

import (
	"context"
	"errors"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// echoMachines answers connections with state machines. They share one buffer:
// nothing else runs between a read and the write of what was read.
func echoMachines(ctx context.Context, ln *stream.Listener, secure *stream.TLS) error {
	buf := make([]byte, 64<<10)
	return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
		for {
			c, err := ln.Accept(ctx)
			if err != nil {
				return err
			}
			if secure == nil {
				task.StartMachineIn(g, &echoMachine{c: c, buf: buf})
				continue
			}
			g.Go(func(ctx context.Context) error { // a handshake waits, as functions do
				if c, err := secure.Server(ctx, c); err == nil {
					task.StartMachineIn(g, &echoMachine{c: c, buf: buf})
				}
				return nil // one that fails concerns nobody else
			})
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
