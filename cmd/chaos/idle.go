//go:build linux

package main

import (
	"context"
	"net"
	"sync"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/transport"
)

// idleServer is an echo server of a kind.
func idleServer(ctx context.Context, kind string) (addr net.Addr, stop func(ctx context.Context) error, err error) {
	switch kind {
	case "transport":
		ln, err := transport.Listen(loop.FromContext(ctx), "tcp", "127.0.0.1:0",
			func() transport.Protocol { return &echoProtocol{} }, transport.ListenConfig{})
		if err != nil {
			return nil, nil, err
		}
		return ln.Addr(), func(ctx context.Context) error {
			ln.Abort()
			_, err := ln.Ended().Await(ctx)
			return err
		}, nil
	case "goroutine of package net":
		return netServer()
	}
	cfg, h := stream.ServeConfig{}, echoSmall
	if kind == "stream, handler when ready" {
		cfg.WhenReady, h = true, echoOnce
	}
	srv, err := serve(ctx, cfg, h)
	if err != nil {
		return nil, nil, err
	}
	return srv.ln.Addr(), srv.stop, nil
}

type echoProtocol struct {
	transport.Defaults
	t *transport.Transport
}

func (p *echoProtocol) Connected(t *transport.Transport) { p.t = t }
func (p *echoProtocol) Data(b []byte)                    { _ = p.t.Write(b) }

// echoSmall is echo with a buffer as small as that of the others.
func echoSmall(ctx context.Context, c *stream.Conn) error {
	var buf [512]byte
	for {
		n, err := c.Read(ctx, buf[:])
		if err == nil {
			_, err = c.Write(ctx, buf[:n])
		}
		if err != nil {
			return err
		}
	}
}

func echoOnce(ctx context.Context, c *stream.Conn) error {
	var buf [512]byte
	n, err := c.Read(ctx, buf[:])
	if err != nil {
		return err
	}
	_, err = c.Write(ctx, buf[:n])
	return err
}

// netServer is what package net does: the measure of the others.
func netServer() (net.Addr, func(context.Context) error, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				var buf [512]byte
				for {
					n, err := c.Read(buf[:])
					if err == nil {
						_, err = c.Write(buf[:n])
					}
					if err != nil {
						return
					}
				}
			})
		}
	})
	return ln.Addr(), func(context.Context) error {
		err := ln.Close()
		wg.Wait()
		return err
	}, nil
}
