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

// A Copier is one side of a proxy: what it gets, the other side is sent, and when that
// takes too little, this side stops reading.
type Copier struct {
	transport.Defaults
	t     *transport.Transport
	other *Copier
}

func (c *Copier) Connected(t *transport.Transport) { c.t = t }
func (c *Copier) Data(p []byte)                    { _ = c.other.t.Write(p) }
func (c *Copier) EOF() bool                        { c.other.t.CloseWrite(); return true }
func (c *Copier) Lost(error)                       { c.other.t.Close() }
func (c *Copier) PauseWriting()                    { c.other.t.PauseReading() }
func (c *Copier) ResumeWriting()                   { c.other.t.ResumeReading() }

func ExamplePauser() {
	var _ transport.Pauser = (*Copier)(nil)
}
