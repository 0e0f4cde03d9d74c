//go:build unix

package transport_test

import (
	"context"
	"fmt"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

// Echo sends back what it gets.
type Echo struct {
	transport.Defaults
	t *transport.Transport
}

func (e *Echo) Connected(t *transport.Transport) { e.t = t }
func (e *Echo) Data(p []byte)                    { _ = e.t.Write(p) }

// A Greeter says hello, prints the answer, and closes.
type Greeter struct {
	transport.Defaults
	t *transport.Transport
}

func (g *Greeter) Connected(t *transport.Transport) {
	g.t = t
	_ = t.Write([]byte("hello"))
}

func (g *Greeter) Data(p []byte) {
	fmt.Printf("echoed: %s\n", p)
	g.t.Close()
}

func (g *Greeter) Lost(err error) { fmt.Println("lost:", err) }

func Example() {
	err := task.Run(context.Background(), func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		newEcho := func() transport.Protocol { return new(Echo) }
		ln, err := transport.Listen(l, "tcp", "127.0.0.1:0", newEcho, transport.ListenConfig{})
		if err != nil {
			return err
		}
		_, err = transport.Dial(l, "tcp", ln.Addr().String(), new(Greeter), transport.DialConfig{}).Await(ctx)
		if err != nil {
			return err
		}
		for ln.Stats().Accepted == 0 || ln.Stats().Open > 0 {
			if err := task.Yield(ctx); err != nil {
				return err
			}
		}
		return ln.Close()
	})
	fmt.Println(err)
	// Output:
	// echoed: hello
	// lost: <nil>
	// <nil>
}

// A Side is one side of a proxy: what it gets, the other side is sent, and when that
// takes too little, this side stops reading. Each direction ends by itself.
type Side struct {
	t     *transport.Transport
	other *Side
	ended bool
}

func (s *Side) Connected(t *transport.Transport) {
	s.t = t
	if s.other != nil {
		s.other.t.ResumeReading()
		return
	}
	t.PauseReading() // until there is another side
	s.other = &Side{other: s}
	transport.Dial(t.Loop(), "tcp", upstream, s.other, transport.DialConfig{}).OnDone(func() {
		if s.other.t == nil {
			t.Abort()
		}
	})
}

func (s *Side) Data(p []byte) { _ = s.other.t.Write(p) }

func (s *Side) EOF() bool {
	s.ended = true
	s.other.t.CloseWrite()
	return !s.other.ended
}

func (s *Side) Lost(error) {
	if s.other.t != nil {
		s.other.t.Close()
	}
}

func (s *Side) PauseWriting()  { s.other.t.PauseReading() }
func (s *Side) ResumeWriting() { s.other.t.ResumeReading() }

var upstream string

func ExamplePauser() {
	err := task.Run(context.Background(), func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		newEcho := func() transport.Protocol { return new(Echo) }
		newSide := func() transport.Protocol { return new(Side) }
		echo, err := transport.Listen(l, "tcp", "127.0.0.1:0", newEcho, transport.ListenConfig{})
		if err != nil {
			return err
		}
		upstream = echo.Addr().String()
		proxy, err := transport.Listen(l, "tcp", "127.0.0.1:0", newSide, transport.ListenConfig{})
		if err != nil {
			return err
		}
		_, err = transport.Dial(l, "tcp", proxy.Addr().String(), new(Greeter), transport.DialConfig{}).Await(ctx)
		if err != nil {
			return err
		}
		for echo.Stats().Accepted == 0 || echo.Stats().Open > 0 {
			if err := task.Yield(ctx); err != nil {
				return err
			}
		}
		_ = proxy.Close()
		if _, err := proxy.Ended().Await(ctx); err != nil {
			return err
		}
		return echo.Close()
	})
	fmt.Println(err)
	// Output:
	// echoed: hello
	// lost: <nil>
	// <nil>
}
