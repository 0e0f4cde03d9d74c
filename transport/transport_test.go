//go:build unix

package transport_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

// Closing the loop loses every transport, once, and calls on them afterwards are
// harmless.
func TestLoopCloses(t *testing.T) {
	for _, secure := range []bool{false, true} {
		var a, b recorder
		var p packets
		var ln *transport.Listener
		var tr *transport.Transport
		run(t, func(ctx context.Context, l *loop.Loop) {
			tr, ln = connected(ctx, t, l, &a, &b, secure)
			until(ctx, t, "both are there", func() bool { return b.t != nil })
			must(t, tr.Write(make([]byte, 8<<20)))
			_, err := transport.ListenPacket(l, "udp4", "127.0.0.1:0", &p, transport.Config{})
			must(t, err)
			_, err = transport.Listen(l, "tcp", "127.0.0.1:0", newEcho, transport.ListenConfig{})
			must(t, err)
			turns(ctx, t, 1)
		})
		if !errors.Is(a.err, loop.ErrClosed) || !b.lost || !p.lost {
			t.Errorf("lost by %v; %v, %v", a.err, b.lost, p.lost)
		}
		for _, err := range []error{tr.Write([]byte("x")), tr.WriteAll([][]byte{{1}}), p.t.WriteTo(nil, p.t.LocalAddr())} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("write: %v", err)
			}
		}
		tr.Close()
		tr.Abort()
		tr.CloseWrite()
		tr.PauseReading()
		tr.ResumeReading()
		p.t.ResumeReading()
		p.t.Close()
		must(t, ln.Close())
		ln.Abort()
		_, _ = tr.LocalAddr().String(), tr.RemoteAddr().String()
	}
}

// A protocol whose Connected was not called hears of nothing.
func TestLoopClosesBefore(t *testing.T) {
	l, err := loop.New(loop.Config{})
	must(t, err)
	var r recorder
	tr, p := pair(t, l, &r, transport.Config{})
	must(t, l.Close())
	r.Want(t)
	if got := p.read(); got != "EOF" || tr.Num() != -1 {
		t.Errorf("the peer read %q, descriptor %d", got, tr.Num())
	}
	p.close()
}

// A panic in each of the methods ends the connection, once, and is reported with its
// name.
func TestPanics(t *testing.T) {
	for _, method := range []string{"Connected", "Data", "EOF", "Lost", "PauseWriting", "ResumeWriting"} {
		t.Run(method, func(t *testing.T) {
			var reports []*loop.CallError
			cfg := loop.Config{OnError: func(e *loop.CallError) { reports = append(reports, e) }}
			runConfig(t, cfg, func(ctx context.Context, l *loop.Loop) {
				f := &fragile{method: method}
				tr, p := pair(t, l, f, transport.Config{})
				p.write("x")
				p.closeWrite()
				turns(ctx, t, 3)
				if strings.HasSuffix(method, "Writing") {
					f.safely(func() { _ = tr.Write(make([]byte, 8<<20)) })
					until(ctx, t, "Lost", func() bool { p.read(); return f.lost > 0 })
				}
				p.close()
				tr.Close()
				turns(ctx, t, 3)
				if f.lost != 1 || tr.Num() != -1 {
					t.Errorf("lost %d times, descriptor %d", f.lost, tr.Num())
				}
				var e *transport.ProtocolError
				if method != "Lost" && (!errors.As(f.err, &e) || e.Method != method) {
					t.Errorf("lost by %v", f.err)
				}
				if method == "PauseWriting" {
					return // it panicked in the task that wrote
				}
				if len(reports) != 1 || !errors.As(reports[0], &e) || e.Method != method || len(reports[0].Stack()) == 0 {
					t.Errorf("reports: %v", reports)
				}
			})
		})
	}
}

// A fragile panics in one of its methods.
type fragile struct {
	method string
	lost   int
	err    error
}

func (f *fragile) in(method string) {
	if f.method == method {
		panic("boom")
	}
}

func (f *fragile) safely(fn func()) {
	defer func() { _ = recover() }()
	fn()
}

func (f *fragile) Connected(*transport.Transport) { f.in("Connected") }
func (f *fragile) Data([]byte)                    { f.in("Data") }
func (f *fragile) EOF() bool                      { f.in("EOF"); return true }
func (f *fragile) PauseWriting()                  { f.in("PauseWriting") }
func (f *fragile) ResumeWriting()                 { f.in("ResumeWriting") }
func (f *fragile) Lost(err error)                 { f.lost++; f.err = err; f.in("Lost") }

// Goexit in a protocol, as t.FailNow does, ends the loop as in any callback.
func TestGoexitInProtocol(t *testing.T) {
	l, err := loop.New(loop.Config{})
	must(t, err)
	f := recorder{}
	exited := false
	f.connected = func(*transport.Transport) {
		exited = true
		runtime.Goexit()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, p := pair(t, l, &f, transport.Config{})
		defer p.close()
		_ = l.Run()
		t.Error("Run returned")
	}()
	<-done
	if !exited || !l.Closed() {
		t.Errorf("exited %v, closed %v", exited, l.Closed())
	}
	f.Want(t, "made", "lost loop: closed")
}

// The methods run in the context in which the transport was made, without its scope.
func TestContext(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		v := task.NewVar[string]("v")
		var got []string
		note := func() { got = append(got, v.Get(l.Context())) }
		server := recorder{connected: func(*transport.Transport) { note() }}
		v.Set(ctx, "server")
		ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", func() transport.Protocol { note(); return &server }, transport.ListenConfig{})
		must(t, err)
		v.Set(ctx, "client")
		client := recorder{connected: func(*transport.Transport) { note() }}
		short, cancel := task.WithTimeout(ctx, 1<<40)
		tr, err := transport.Dial(l, "tcp", ln.Addr().String(), &client, transport.DialConfig{}).Await(short)
		must(t, err)
		cancel()
		v.Set(ctx, "other")
		until(ctx, t, "both are there", func() bool { return server.t != nil })
		slices.Sort(got)
		if !slices.Equal(got, []string{"client", "server", "server"}) {
			t.Errorf("contexts: %q", got)
		}
		ended := true
		client.data = func([]byte) { ended = l.Context().Err() != nil }
		must(t, server.t.Write([]byte("x")))
		until(ctx, t, "data", func() bool { return len(client.bytes) == 1 })
		if ended {
			t.Error("the context ended with the scope of the Dial")
		}
		tr.Close()
		must(t, ln.Close())
		_, err = ln.Ended().Await(ctx)
		must(t, err)
	})
}

func TestConfigPanics(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		for _, cfg := range []transport.Config{
			{LowWater: -1}, {LowWater: 10, HighWater: 5}, {HighWater: 32 << 20}, {MaxBuffered: 10},
		} {
			testkit.WantPanic(t, "transport: Config", func() {
				_, _ = transport.Listen(l, "tcp", "127.0.0.1:0", newEcho, transport.ListenConfig{Config: cfg})
			})
		}
		return nil
	})
	run(t, func(ctx context.Context, l *loop.Loop) {
		tr, p := pair(t, l, new(recorder), transport.Config{})
		defer p.close()
		testkit.WantPanic(t, "transport: SetWriteLimits", func() { tr.SetWriteLimits(2, 1) })
		testkit.WantPanic(t, "transport: the protocol is nil", func() { tr.SetProtocol(nil) })
		testkit.WantPanic(t, "transport: Sendfile", func() { transport.Sendfile(tr, nil, -1, 0) })
		tr.SetWriteLimits(10, -1)
		if low, high := tr.WriteLimits(); low != 10 || high != 40 {
			t.Errorf("limits %d, %d", low, high)
		}
		tr.Abort()
		turns(ctx, t, 1)
	})
}
