package stream

import (
	"context"
	"errors"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
)

// CloseClients closes the connections that are served, after what their Writers
// hold was sent. Their handlers get net.ErrClosed where they wait. New connections
// go on to be accepted unless the Listener is closed. (asyncio: close_clients)
func (ln *Listener) CloseClients() {
	ln.each(func(v *served) {
		if v.t == nil {
			v.finish()
		} else {
			_ = v.c.closeFlushed()
		}
	})
}

// Abort stops listening, resets the connections that are served, whatever is on
// its way, and cancels their handlers. (asyncio: abort_clients)
func (ln *Listener) Abort() {
	_ = ln.Close()
	ln.each(func(v *served) {
		_ = v.c.Abort()
		if v.t == nil {
			v.gone()
		} else {
			v.t.Cancel(nil)
		}
	})
}

// Shutdown stops listening, ends the connections that are idle, and waits until
// all that are served have ended. If the wait is interrupted, by ctx or a
// cancellation, it aborts those that are left, as [Listener.Abort] does, and
// returns the interruption; [Listener.Serve] still waits for their handlers.
//
// A connection is idle when it rests (see [ServeConfig].WhenReady), or when its
// handler waits in [Conn.NextMessage]. That call returns io.EOF then. Of a handler
// that never calls it every wait in Read is taken for idle, and ends with io.EOF. A
// handler that waits in neither goes on, until it comes to do so.
//
// Called by a handler it waits for that handler, too.
// (asyncio: Server.close, Server.wait_closed)
func (ln *Listener) Shutdown(ctx context.Context) error {
	err := ln.Close()
	ln.each((*served).finishMessages)
	for ln.serving > 0 {
		gone, _ := future.New[struct{}](ln.ac.Loop())
		ln.empty = append(ln.empty, gone)
		if _, interrupted := gone.Await(ctx); interrupted != nil {
			if !errors.Is(interrupted, loop.ErrClosed) {
				ln.Abort()
			}
			return interrupted
		}
	}
	return err
}

// tellEmpty wakes those who wait for the last connection.
func (ln *Listener) tellEmpty() {
	for _, f := range ln.empty {
		future.Settle(f, struct{}{}, nil)
	}
	ln.empty = nil
}

func (ln *Listener) each(f func(v *served)) {
	for _, s := range ln.servers {
		s.each(f)
	}
}
