package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

func runEcho(fs *flag.FlagSet, args []string) int {
	style := fs.String("style", "stream", "protocol: callbacks; stream: a function with a stack for each connection;\n"+
		"machine: a state machine; idle: a function that runs only while there is something to echo")
	addr := fs.String("addr", "127.0.0.1:7777", "where to listen")
	wait := fs.String("wait", "auto", "how the loop waits: auto, sleep or doze; see loop.WaitPolicy")
	port := fs.Int("port", 0, "listen on 127.0.0.1 and this port instead")
	loops := fs.Int("loops", 1, "how many loops share the address, each with a listener of its own")
	secure := fs.Bool("tls", false, "speak TLS, with a certificate made now that nobody trusts:\n"+
		"openssl s_client -connect HOST:PORT, curl -k and the like")
	if !parse(fs, args) {
		return 2
	}
	if *port != 0 {
		*addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(*port))
	}
	e := &echo{addr: *addr, loops: *loops, out: os.Stdout}
	ok := false
	if e.serve, ok = echoStyles[*style]; !ok {
		fmt.Fprintf(os.Stderr, "demo echo: no style %q\n", *style)
		return 2
	}
	if e.wait, ok = waitPolicies[*wait]; !ok {
		fmt.Fprintf(os.Stderr, "demo echo: no way to wait %q\n", *wait)
		return 2
	}
	if *loops < 1 {
		fmt.Fprintf(os.Stderr, "demo echo: %d loops\n", *loops)
		return 2
	}
	if *secure {
		cert, err := selfSigned()
		if err != nil {
			fmt.Fprintln(os.Stderr, "demo echo:", err)
			return 1
		}
		e.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	ctx, stop := untilSignal()
	defer stop()
	if err := e.run(ctx); err != nil && future.AsCanceled(err) == nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0 // a signal: this is how a server ends
}

var waitPolicies = map[string]loop.WaitPolicy{
	"auto": loop.WaitAuto, "sleep": loop.WaitSleep, "doze": loop.WaitDoze,
}

// An echo is a server that sends back what it gets, on one or several loops.
type echo struct {
	addr  string
	loops int
	wait  loop.WaitPolicy
	tls   *tls.Config // nil: without
	serve func(ctx context.Context, e *echo, addr string, listening func(net.Addr)) error
	out   io.Writer

	ready atomic.Int32 // loops that listen
}

// echoStyles serve until they are canceled, and call listening before.
var echoStyles = map[string]func(ctx context.Context, e *echo, addr string, listening func(net.Addr)) error{
	"protocol": serveProtocol,
	"stream":   onListener(echoStream),
	"machine":  onListener(echoMachines),
	"idle":     onListener(echoWhenReady),
}

// run serves on all loops, and says so in a line when each of them listens.
func (e *echo) run(ctx context.Context) error {
	chosen := make(chan string, e.loops)
	cfg := task.LoopsConfig{N: e.loops, Loop: func(int) loop.Config { return loop.Config{Wait: e.wait} }}
	return task.RunLoopsConfig(ctx, cfg, func(ctx context.Context, i int, _ *task.Loops) error {
		addr := e.addr
		if i > 0 { // what the first loop has got: the system may have chosen its port
			var err error
			if addr, _, err = task.Recv(ctx, chosen); err != nil {
				return err
			}
		}
		return e.serve(ctx, e, addr, func(at net.Addr) {
			if i == 0 {
				for range e.loops {
					chosen <- at.String()
				}
			}
			if int(e.ready.Add(1)) == e.loops {
				fmt.Fprintln(e.out, "listening on", at)
			}
		})
	})
}

// shared reports whether several listeners have the address.
func (e *echo) shared() bool { return e.loops > 1 }

// onListener makes a style of a function that serves on a stream.Listener.
func onListener(serve func(ctx context.Context, ln *stream.Listener, secure *stream.TLS) error) func(context.Context, *echo, string, func(net.Addr)) error {
	return func(ctx context.Context, e *echo, addr string, listening func(net.Addr)) error {
		cfg := stream.ListenConfig{ReusePort: e.shared()}
		ln, err := cfg.Listen(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer ln.Close()
		listening(ln.Addr())
		var secure *stream.TLS
		if e.tls != nil {
			secure = &stream.TLS{Config: e.tls}
		}
		return serve(ctx, ln, secure)
	}
}

// bufferSize is what one read takes at most.
const bufferSize = 16 << 10

// echoStream runs a function for each connection. One that is idle holds its stack,
// of 2 KB, and no buffer: those are borrowed while there is something to read.
func echoStream(ctx context.Context, ln *stream.Listener, secure *stream.TLS) error {
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
				return err // io.EOF, mostly; Serve knows what to report
			}
		}
	})
}

// buffers are those of a loop that nobody uses now. It needs no lock: between two
// waits nothing else runs on the loop.
type buffers [][]byte

func (b *buffers) get() []byte {
	if n := len(*b); n > 0 {
		buf := (*b)[n-1]
		*b = (*b)[:n-1]
		return buf
	}
	return make([]byte, bufferSize)
}

func (b *buffers) put(buf []byte) { *b = append(*b, buf) }

// echoWhenReady runs a function only while a connection has something to read:
// one that is idle has neither a stack nor a buffer.
func echoWhenReady(ctx context.Context, ln *stream.Listener, secure *stream.TLS) error {
	var free buffers
	cfg := stream.ServeConfig{WhenReady: true, TLS: secure}
	return cfg.Serve(ctx, ln, func(ctx context.Context, c *stream.Conn) error {
		buf := free.get()
		defer func() { free.put(buf) }()
		for {
			n, err := c.TryRead(buf)
			if errors.Is(err, stream.ErrWouldBlock) {
				return nil // call me again when there is more
			} else if err != nil {
				return err
			}
			if _, err := c.Write(ctx, buf[:n]); err != nil {
				return err
			}
		}
	})
}
