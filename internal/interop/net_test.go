//go:build unix

package interop_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

// transfers are what is sent: nothing, little, a record of TLS and one byte more, and
// a lot: of what is plain more than the system's buffers hold.
func transfers(secure bool) []int {
	most := large
	if secure {
		most = large / 4
	}
	return []int{0, 1, 16 << 10, 16<<10 + 1, most}
}

const large = 4 << 20

// serveEcho starts an echo server of a package, and returns its end.
func serveEcho(ctx context.Context, kind, network, at string, secure *tls.Config) (addr string, end func(ctx context.Context) error, err error) {
	if kind == "transport" {
		factory := func() transport.Protocol { return new(echoProtocol) }
		cfg := transport.ListenConfig{Config: transport.Config{TLS: secure}}
		ln, err := transport.Listen(loop.FromContext(ctx), network, at, factory, cfg)
		if err != nil {
			return "", nil, err
		}
		return ln.Addr().String(), func(ctx context.Context) error {
			_ = ln.Close()
			_, err := task.WaitFor(ctx, patience, ln.Ended())
			return err
		}, nil
	}
	ln, err := stream.Listen(ctx, network, at)
	if err != nil {
		return "", nil, err
	}
	cfg := stream.ServeConfig{WhenReady: kind == "stream when ready"}
	if secure != nil {
		cfg.TLS = &stream.TLS{Config: secure}
	}
	serving := task.Go(ctx, func(ctx context.Context) error { return cfg.Serve(ctx, ln, echoStream) })
	return ln.Addr().String(), func(ctx context.Context) error {
		_ = ln.Close()
		_, err := task.WaitFor(ctx, patience, serving)
		return err
	}, nil
}

// echoStream ends by an error, as a handler of a connection that rests has to.
func echoStream(ctx context.Context, c *stream.Conn) error {
	buf := make([]byte, 16<<10)
	for {
		n, err := c.Read(ctx, buf)
		if err != nil {
			return err
		}
		if _, err := c.Write(ctx, buf[:n]); err != nil {
			return err
		}
	}
}

type echoProtocol struct {
	transport.Defaults
	t *transport.Transport
}

func (p *echoProtocol) Connected(t *transport.Transport) { p.t = t }
func (p *echoProtocol) Data(b []byte)                    { _ = p.t.Write(b) }
func (p *echoProtocol) PauseWriting()                    { p.t.PauseReading() }
func (p *echoProtocol) ResumeWriting()                   { p.t.ResumeReading() }

// each runs test for each network, plain and by TLS of each version; the configurations
// are nil for the former.
func each(t *testing.T, test func(t *testing.T, network string, server, client *tls.Config)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) { test(t, network, nil, nil) })
		for _, v := range tlsVersions {
			t.Run(network+" "+v.name, func(t *testing.T) {
				server, client := testkit.Certificate(t)
				client.MinVersion, client.MaxVersion = v.version, v.version
				test(t, network, server, client)
			})
		}
	}
}

func dialNet(network, addr string, secure *tls.Config) (net.Conn, error) {
	if secure == nil {
		return net.Dial(network, addr)
	}
	return tls.Dial(network, addr, secure)
}

// Clients of package net, at once: what they send comes back, after they have ended
// their side.
func TestNetClient(t *testing.T) {
	for _, kind := range []string{"stream", "stream when ready", "transport"} {
		t.Run(kind, func(t *testing.T) {
			each(t, func(t *testing.T, network string, server, client *tls.Config) {
				run(t, func(ctx context.Context) error {
					addr, end, err := serveEcho(ctx, kind, network, address(t, network), server)
					if err != nil {
						return err
					}
					err = elsewhere(ctx, func() error {
						return atOnce(transfers(client != nil), func(n int) error {
							c, err := dialNet(network, addr, client)
							if err != nil {
								return err
							}
							return echoed(c, n)
						})
					})
					return errors.Join(err, end(ctx))
				})
			})
		})
	}
}

// atOnce calls fn for all sizes, and joins the errors.
func atOnce(sizes []int, fn func(n int) error) error {
	errs := make([]error, len(sizes))
	var all sync.WaitGroup
	for i, n := range sizes {
		all.Go(func() {
			if err := fn(n); err != nil {
				errs[i] = fmt.Errorf("%d bytes: %w", n, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// serveNet starts a server of package net. Its end waits for what it serves.
func serveNet(t *testing.T, network string, secure *tls.Config, handle func(c net.Conn) error) (addr string, end func()) {
	t.Helper()
	ln, err := net.Listen(network, address(t, network))
	if err != nil {
		t.Fatal(err)
	}
	if secure != nil {
		ln = tls.NewListener(ln, secure)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				if err := handle(c); err != nil {
					t.Errorf("server: %v", err)
				}
			})
		}
	})
	return ln.Addr().String(), func() {
		_ = ln.Close()
		all.Wait()
	}
}

func echoNet(c net.Conn) error {
	if _, err := io.Copy(c, c); err != nil {
		return err
	}
	return closeWrite(c)
}

// dialers make clients, by package, that send n bytes, end their side, and return
// what comes back, to the end.
var dialers = map[string]func(ctx context.Context, network, addr string, secure *tls.Config, send []byte) ([]byte, error){
	"stream":    exchangeStream,
	"transport": exchangeTransport,
}

func dialStream(ctx context.Context, network, addr string, secure *tls.Config) (*stream.Conn, error) {
	var cfg stream.DialConfig
	if secure != nil {
		cfg.TLS = &stream.TLS{Config: secure}
	}
	c, err := cfg.Dial(ctx, network, addr)
	if err == nil {
		c.SetTimeouts(patience, 0)
	}
	return c, err
}

func exchangeStream(ctx context.Context, network, addr string, secure *tls.Config, send []byte) (got []byte, err error) {
	c, err := dialStream(ctx, network, addr, secure)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	err = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
		g.Go(func(ctx context.Context) error {
			if _, err := c.Write(ctx, send); err != nil {
				return err
			}
			return c.CloseWrite()
		})
		got, err = readAll(ctx, c)
		return err
	})
	return got, err
}

func readAll(ctx context.Context, c *stream.Conn) (got []byte, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(ctx, buf)
		got = append(got, buf[:n]...)
		if errors.Is(err, io.EOF) {
			return got, nil
		} else if err != nil {
			return got, err
		}
	}
}

// A collector sends, ends its side, and keeps what it gets.
type collector struct {
	transport.Defaults
	send, got []byte
	lost      chan error
}

func (p *collector) Connected(t *transport.Transport) {
	_ = t.Write(p.send)
	t.CloseWrite()
}
func (p *collector) Data(b []byte)  { p.got = append(p.got, b...) }
func (p *collector) Lost(err error) { p.lost <- err }

func exchangeTransport(ctx context.Context, network, addr string, secure *tls.Config, send []byte) ([]byte, error) {
	p := &collector{send: send, lost: make(chan error, 1)}
	cfg := transport.DialConfig{Config: transport.Config{TLS: secure}}
	if _, err := transport.Dial(loop.FromContext(ctx), network, addr, p, cfg).Await(ctx); err != nil {
		return nil, err
	}
	lost, _, err := task.Recv(ctx, p.lost)
	return p.got, errors.Join(err, lost)
}

// A server of package net sends back what it gets, also when it has got the end.
func TestNetServer(t *testing.T) {
	for kind, exchange := range dialers {
		t.Run(kind, func(t *testing.T) {
			each(t, func(t *testing.T, network string, server, client *tls.Config) {
				addr, end := serveNet(t, network, server, echoNet)
				defer end()
				run(t, func(ctx context.Context) error {
					return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
						for _, n := range transfers(client != nil) {
							g.Go(func(ctx context.Context) error {
								sent := random(n)
								got, err := exchange(ctx, network, addr, client, sent)
								return same(got, sent, err)
							})
						}
						return nil
					})
				})
			})
		})
	}
}

// The server ends its side first, and gets the rest from the client all the same.
func TestNetServerEndsFirst(t *testing.T) {
	each(t, func(t *testing.T, network string, server, client *tls.Config) {
		sent := random(1 << 20)
		heard := make(chan []byte, 1)
		addr, end := serveNet(t, network, server, func(c net.Conn) error {
			if _, err := io.WriteString(c, "bye"); err != nil {
				return err
			}
			if err := closeWrite(c); err != nil {
				return err
			}
			got, err := io.ReadAll(c)
			heard <- got
			return err
		})
		defer end()
		run(t, func(ctx context.Context) error {
			c, err := dialStream(ctx, network, addr, client)
			if err != nil {
				return err
			}
			defer c.Close()
			got, err := readAll(ctx, c)
			if err := same(got, []byte("bye"), err); err != nil {
				return err
			}
			if _, err := c.Write(ctx, sent); err != nil {
				return err
			}
			if err := c.CloseWrite(); err != nil {
				return err
			}
			all, _, err := task.Recv(ctx, heard)
			return same(all, sent, err)
		})
	})
}

// The other way round: eddy's server ends its side first, to a client of package net.
func TestNetClientWritesOn(t *testing.T) {
	for _, kind := range []string{"stream", "transport"} {
		t.Run(kind, func(t *testing.T) {
			each(t, func(t *testing.T, network string, server, client *tls.Config) {
				sent := random(1 << 20)
				run(t, func(ctx context.Context) error {
					addr, heard, end, err := serveEnding(ctx, kind, network, address(t, network), server)
					if err != nil {
						return err
					}
					defer end()
					err = elsewhere(ctx, func() error {
						c, err := dialNet(network, addr, client)
						if err != nil {
							return err
						}
						defer c.Close()
						_ = c.SetDeadline(time.Now().Add(patience))
						got, err := io.ReadAll(c)
						if err := same(got, []byte("bye"), err); err != nil {
							return err
						}
						if _, err := c.Write(sent); err != nil {
							return err
						}
						return closeWrite(c)
					})
					if err != nil {
						return err
					}
					got, _, err := task.Recv(ctx, heard)
					return same(got, sent, err)
				})
			})
		})
	}
}

// An ender says bye, ends its side, and tells what it heard after that.
type ender struct {
	transport.Defaults
	got   bytes.Buffer
	heard chan<- []byte
}

func (p *ender) Connected(t *transport.Transport) {
	_ = t.Write([]byte("bye"))
	t.CloseWrite()
}
func (p *ender) Data(b []byte) { p.got.Write(b) }
func (p *ender) Lost(error)    { p.heard <- p.got.Bytes() }

func serveEnding(ctx context.Context, kind, network, at string, secure *tls.Config) (addr string, heard <-chan []byte, end func(), err error) {
	ch := make(chan []byte, 1)
	if kind == "transport" {
		cfg := transport.ListenConfig{Config: transport.Config{TLS: secure}}
		ln, err := transport.Listen(loop.FromContext(ctx), network, at, func() transport.Protocol { return &ender{heard: ch} }, cfg)
		if err != nil {
			return "", nil, nil, err
		}
		return ln.Addr().String(), ch, ln.Abort, nil
	}
	ln, err := stream.Listen(ctx, network, at)
	if err != nil {
		return "", nil, nil, err
	}
	var cfg stream.ServeConfig
	if secure != nil {
		cfg.TLS = &stream.TLS{Config: secure}
	}
	task.Go(ctx, func(ctx context.Context) error {
		return cfg.Serve(ctx, ln, func(ctx context.Context, c *stream.Conn) error {
			if _, err := c.Write(ctx, []byte("bye")); err != nil {
				return err
			}
			if err := c.CloseWrite(); err != nil {
				return err
			}
			got, err := readAll(ctx, c)
			ch <- got
			return err
		})
	})
	return ln.Addr().String(), ch, ln.Abort, nil
}
