//go:build unix

package stream_test

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// A server that a signal ends: who is at work finishes, within a bound.
func ExampleListener_Shutdown() {
	task.Main(func(ctx context.Context) error {
		ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		l := loop.FromContext(ctx)
		l.OnSignal(syscall.SIGTERM, func() { // so it is not Main's
			task.Go(l.Context(), func(ctx context.Context) error {
				ctx, cancel := task.WithTimeout(ctx, 10*time.Second)
				defer cancel()
				return ln.Shutdown(ctx)
			})
		})

		said := ""
		client := task.Go(ctx, func(ctx context.Context) error {
			c, err := stream.Dial(ctx, "tcp", ln.Addr().String())
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write(ctx, []byte("work\n")); err != nil {
				return err
			}
			answer, err := c.ReadLine(ctx)
			said = answer
			return err
		})
		err = ln.Serve(ctx, func(ctx context.Context, c *stream.Conn) error {
			for {
				if err := c.NextMessage(ctx); err != nil {
					return err
				}
				line, err := c.ReadLine(ctx)
				if err != nil {
					return err
				}
				_ = syscall.Kill(syscall.Getpid(), syscall.SIGTERM) // in the middle of it
				_ = task.Sleep(ctx, 20*time.Millisecond)
				if _, err := c.Write(ctx, []byte(line+" done\n")); err != nil {
					return err
				}
			}
		})
		fmt.Println("served:", err)
		_, err = client.Await(ctx)
		fmt.Println("client:", said, err)
		return nil
	})
	// Output:
	// served: <nil>
	// client: work done <nil>
}
