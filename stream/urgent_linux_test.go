package stream_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// A read stops at urgent data, so it comes back short although more is there.
func TestBytesBehindUrgentDataAreRead(t *testing.T) {
	looptest.RunConfig(t, looptest.Config{Real: true}, func(ctx context.Context) error {
		ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer ln.Close()
		peer, err := net.Dial("tcp", ln.Addr().String()) // the backlog takes it
		if err != nil {
			return err
		}
		defer peer.Close()
		c, err := ln.Accept(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		raw, err := peer.(*net.TCPConn).SyscallConn()
		if err != nil {
			return err
		}
		send := func(s string, flags int) {
			_ = raw.Control(func(fd uintptr) {
				if err := unix.Sendto(int(fd), []byte(s), flags, nil); err != nil {
					t.Error(err)
				}
			})
		}
		send("hello", 0)
		send("!", unix.MSG_OOB)
		send("world", 0)
		got := make([]byte, 10)
		err = task.Timeout(ctx, 3*time.Second, func(ctx context.Context, _ *task.TimeoutScope) error {
			_, err := io.ReadFull(reader{ctx, c}, got)
			return err
		})
		if string(got) != "helloworld" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		return nil
	})
}

type reader struct {
	ctx context.Context
	c   *stream.Conn
}

func (r reader) Read(p []byte) (int, error) { return r.c.Read(r.ctx, p) }
