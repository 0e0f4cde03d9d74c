//go:build unix

package stream_test

import (
	"context"
	"net"
	"syscall"
	"testing"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
	"github.com/eddyloop/eddy/stream"
)

// A tightPoller refuses a registration when it is told to.
type tightPoller struct {
	poller.Poller
	refuse *int
}

func (p tightPoller) Add(fd int, tok poller.Token, in poller.Interest) error {
	if *p.refuse > 0 {
		*p.refuse--
		return syscall.ENOSPC
	}
	return p.Poller.Add(fd, tok, in)
}

// A poller that is full costs the connection that it has no place for, and makes the
// listener rest; it does not end the server.
func TestServeOutlivesAFullPoller(t *testing.T) {
	refuse, reports := 0, 0
	cfg := loop.Config{
		Poller: func() (poller.Poller, error) {
			p, err := poller.New()
			return tightPoller{p, &refuse}, err
		},
		OnError: func(*loop.CallError) { reports++ },
	}
	runConfig(t, cfg, func(ctx context.Context) error {
		ln := listen(ctx, t)
		srv := serve(ctx, ln, stream.ServeConfig{}, echo)
		first, err := net.Dial("tcp", ln.Addr().String()) // not of this loop
		if err != nil {
			return err
		}
		defer first.Close()
		refuse = 1
		second := off(ctx, func() net.Conn {
			p := make([]byte, 1)
			_, _ = first.Read(p) // it is closed
			c, err := net.Dial("tcp", ln.Addr().String())
			if err == nil {
				_, err = c.Write([]byte("x"))
			}
			if err == nil {
				_, err = c.Read(p)
			}
			if err != nil || p[0] != 'x' {
				t.Errorf("after it: %q, %v", p, err)
			}
			return c
		})
		second.Close()
		if s := ln.Stats(); s.Rests != 1 || reports != 1 {
			t.Errorf("stats %+v, %d reports", s, reports)
		}
		refuse = 1
		if _, err := stream.Dial(ctx, "tcp", ln.Addr().String()); err == nil {
			t.Error("Dial without a place in the poller succeeded")
		}
		ln.Abort()
		_, err = srv.Await(ctx)
		return err
	})
}
