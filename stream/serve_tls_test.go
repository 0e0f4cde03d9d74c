//go:build unix

package stream_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// R26: clients that leave without a close_notify are told to their handler, but do
// not fill the log.
func TestServeReportsNoTLSPeerThatLeavesWithoutAWord(t *testing.T) {
	server, client := testkit.Certificate(t)
	client.ServerName = "localhost"
	cfg := loop.Config{OnError: func(e *loop.CallError) { t.Errorf("reported: %v", e) }}
	looptest.RunConfig(t, looptest.Config{Real: true, Loop: cfg}, func(ctx context.Context) error {
		ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		heard := make(chan error, 1)
		sc := stream.ServeConfig{TLS: &stream.TLS{Config: server}}
		srv := task.Go(ctx, func(ctx context.Context) error {
			return sc.Serve(ctx, ln, func(ctx context.Context, c *stream.Conn) error {
				_, err := c.Read(ctx, make([]byte, 1))
				heard <- err
				return err
			})
		})
		left := make(chan error, 1)
		go func() {
			raw, err := net.Dial("tcp", ln.Addr().String())
			if err == nil {
				err = tls.Client(raw, client).Handshake()
				raw.Close()
			}
			left <- err
		}()
		if err, _, _ := task.Recv(ctx, left); err != nil {
			return err
		}
		err, _, _ = task.Recv(ctx, heard)
		if op, ok := err.(*net.OpError); !ok || op.Err != io.ErrUnexpectedEOF {
			t.Errorf("the handler got %v, want io.ErrUnexpectedEOF", err)
		}
		if err := ln.Close(); err != nil {
			return err
		}
		_, err = srv.Await(ctx)
		return err
	})
}
