package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

// A server echoes until ctx ends.
type server func(ctx context.Context, cfg serving)

// serving is what a server is told.
type serving struct {
	tls       *tls.Config    // nil: without
	listening func(net.Addr) // to be called when it listens
	late      *lateness      // nil: not measured
}

// serverBuffer is what a server reads at a time.
const serverBuffer = 16 << 10

// withServer calls fn while a server runs in this process.
func withServer(serve server, cfg serving, fn func(addr string)) {
	ctx, stop := context.WithCancel(context.Background())
	addr, ended := make(chan string, 1), make(chan struct{})
	cfg.listening = func(at net.Addr) { addr <- at.String() }
	go func() {
		defer close(ended)
		serve(ctx, cfg)
	}()
	fn(<-addr)
	stop()
	<-ended
}

// serveNet has a goroutine and a buffer for each connection.
func serveNet(ctx context.Context, cfg serving) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var conns sync.WaitGroup
	if cfg.late != nil {
		conns.Go(func() { cfg.late.inGoroutine(ctx) })
	}
	cfg.listening(ln.Addr())
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			conns.Wait() // the load ends before its server
			return
		}
		must(err)
		if cfg.tls != nil {
			c = tls.Server(c, cfg.tls)
		}
		conns.Go(func() { serveConn(c) })
	}
}

func serveConn(c net.Conn) {
	defer c.Close()
	p := make([]byte, serverBuffer)
	for {
		n, err := c.Read(p)
		if err != nil {
			return
		}
		if _, err := c.Write(p[:n]); err != nil {
			return
		}
	}
}

// eddyServer is a server of one loop.
func eddyServer(serve func(ctx context.Context, cfg serving) error) server {
	return func(ctx context.Context, cfg serving) {
		err := task.RunConfig(ctx, loop.Config{Wait: waiting}, func(ctx context.Context) error {
			if cfg.late != nil {
				cfg.late.onLoop(loop.FromContext(ctx))
			}
			return serve(ctx, cfg)
		})
		if !errors.Is(err, context.Canceled) {
			must(err)
		}
	}
}

var serveProtocol = eddyServer(func(ctx context.Context, cfg serving) error {
	listen := transport.ListenConfig{Config: transport.Config{TLS: cfg.tls}}
	ln, err := transport.Listen(loop.FromContext(ctx), "tcp", "127.0.0.1:0", func() transport.Protocol { return new(echoProtocol) }, listen)
	if err != nil {
		return err
	}
	cfg.listening(ln.Addr())
	_, err = ln.Ended().Await(ctx) // nobody closes it: until a cancellation
	ln.Abort()
	return err
})

type echoProtocol struct {
	transport.Defaults
	t *transport.Transport
}

func (p *echoProtocol) Connected(t *transport.Transport) { p.t = t }
func (p *echoProtocol) Data(b []byte)                    { _ = p.t.Write(b) }
func (p *echoProtocol) PauseWriting()                    { p.t.PauseReading() }
func (p *echoProtocol) ResumeWriting()                   { p.t.ResumeReading() }

// onStream makes a server of a function that serves a stream.Listener.
func onStream(serve func(ctx context.Context, ln *stream.Listener, secure *stream.TLS) error) server {
	return eddyServer(func(ctx context.Context, cfg serving) error {
		ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer ln.Close()
		cfg.listening(ln.Addr())
		var secure *stream.TLS
		if cfg.tls != nil {
			secure = &stream.TLS{Config: cfg.tls}
		}
		return serve(ctx, ln, secure)
	})
}

// buffers are those of a loop that nobody uses now.
type buffers [][]byte

func (b *buffers) get() []byte {
	if n := len(*b); n > 0 {
		buf := (*b)[n-1]
		*b = (*b)[:n-1]
		return buf
	}
	return make([]byte, serverBuffer)
}

func (b *buffers) put(buf []byte) { *b = append(*b, buf) }

// serveStream has a task for each connection, which borrows a buffer when there is
// something to read.
var serveStream = onStream(func(ctx context.Context, ln *stream.Listener, secure *stream.TLS) error {
	var free buffers
	cfg := stream.ServeConfig{TLS: secure}
	return cfg.Serve(ctx, ln, func(ctx context.Context, c *stream.Conn) error {
		for {
			if err := c.WaitReadable(ctx); err != nil {
				return err
			}
			buf := free.get()
			n, err := c.TryRead(buf)
			if err == nil {
				_, err = c.Write(ctx, buf[:n])
			}
			free.put(buf)
			if err != nil && err != stream.ErrWouldBlock {
				return err
			}
		}
	})
})

// serveReady begins a task when a connection has something to read.
var serveReady = onStream(func(ctx context.Context, ln *stream.Listener, secure *stream.TLS) error {
	var free buffers
	cfg := stream.ServeConfig{WhenReady: true, TLS: secure}
	return cfg.Serve(ctx, ln, func(ctx context.Context, c *stream.Conn) error {
		buf := free.get()
		defer func() { free.put(buf) }()
		for {
			n, err := c.TryRead(buf)
			if err == stream.ErrWouldBlock {
				return nil
			} else if err != nil {
				return err
			}
			if _, err := c.Write(ctx, buf[:n]); err != nil {
				return err
			}
		}
	})
})

// serveMachine has a state machine for each connection.
var serveMachine = onStream(func(ctx context.Context, ln *stream.Listener, _ *stream.TLS) error {
	buf := make([]byte, serverBuffer)
	return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
		for {
			c, err := ln.Accept(ctx)
			if err != nil {
				return err
			}
			task.StartMachineIn(g, &echoMachine{c: c, buf: buf})
		}
	})
})

type echoMachine struct {
	c    *stream.Conn
	buf  []byte // of all machines
	rest []byte // read and not written yet
}

func (m *echoMachine) Step(_ context.Context, thrown error) (future.Waiter, error) {
	if thrown != nil {
		m.c.Close()
		return task.Done, thrown
	}
	for range 4 { // then others have a turn
		for len(m.rest) > 0 {
			n, err := m.c.TryWrite(m.rest)
			m.rest = m.rest[n:]
			if err != nil {
				return m.blocked(err, m.c.Writable)
			}
		}
		n, err := m.c.TryRead(m.buf)
		if err != nil {
			return m.blocked(err, m.c.Readable)
		}
		w, err := m.c.TryWrite(m.buf[:n])
		if err != nil && err != stream.ErrWouldBlock {
			return m.blocked(err, nil)
		}
		if w < n {
			m.rest = append([]byte(nil), m.buf[w:n]...)
		}
	}
	return task.Yielded, nil
}

// blocked waits, or ends with the connection.
func (m *echoMachine) blocked(err error, until func() future.Waiter) (future.Waiter, error) {
	if err == stream.ErrWouldBlock {
		return until(), nil
	}
	m.c.Close()
	return task.Done, nil
}

func (m *echoMachine) Result() struct{} { return struct{}{} }

// selfSigned makes a certificate that nobody trusts.
func selfSigned() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	must(err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
