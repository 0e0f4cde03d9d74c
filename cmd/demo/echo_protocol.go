package main

import (
	"context"
	"net"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/transport"
)

// serveProtocol answers connections with callbacks.
func serveProtocol(ctx context.Context, e *echo, addr string, listening func(net.Addr)) error {
	factory := func() transport.Protocol { return new(echoProtocol) }
	cfg := transport.ListenConfig{Config: transport.Config{TLS: e.tls}, ReusePort: e.shared()}
	ln, err := transport.ListenName(loop.FromContext(ctx), "tcp", addr, factory, cfg).Await(ctx)
	if err != nil {
		return err
	}
	defer ln.Abort()
	listening(ln.Addr())
	_, err = ln.Ended().Await(ctx) // nobody closes it: until a cancellation
	return err
}

// An echoProtocol is one connection. What it writes goes out at once; if the peer
// does not take it, the loop keeps it, and reads no more until the peer does.
type echoProtocol struct {
	transport.Defaults
	t *transport.Transport
}

func (p *echoProtocol) Connected(t *transport.Transport) { p.t = t }
func (p *echoProtocol) Data(b []byte)                    { _ = p.t.Write(b) } // Lost has its error
func (p *echoProtocol) PauseWriting()                    { p.t.PauseReading() }
func (p *echoProtocol) ResumeWriting()                   { p.t.ResumeReading() }
