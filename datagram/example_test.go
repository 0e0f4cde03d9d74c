package datagram_test

import (
	"context"
	"fmt"

	"github.com/eddyloop/eddy/datagram"
	"github.com/eddyloop/eddy/task"
)

func ExampleListen() {
	task.Run(context.Background(), func(ctx context.Context) error {
		srv, err := datagram.Listen(ctx, "udp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer srv.Close()
		task.Go(ctx, func(ctx context.Context) error {
			buf := make([]byte, 1500)
			for {
				n, from, err := srv.ReadFrom(ctx, buf)
				if err != nil {
					return nil // closed
				}
				if err := srv.WriteTo(ctx, append([]byte("hello, "), buf[:n]...), from); err != nil {
					return err
				}
			}
		})
		c, err := datagram.Dial(ctx, "udp", srv.LocalAddr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Write(ctx, []byte("loop")); err != nil {
			return err
		}
		buf := make([]byte, 1500)
		n, err := c.Read(ctx, buf)
		fmt.Println(string(buf[:n]), err)
		return nil
	})
	// Output:
	// hello, loop <nil>
}

func ExampleListenUnix() {
	task.Run(context.Background(), func(ctx context.Context) error {
		srv, err := datagram.ListenUnix(ctx, "datagram-example.sock")
		if err != nil {
			return err
		}
		defer srv.Close() // removes the file, too
		c, err := datagram.DialUnix(ctx, "", "datagram-example.sock")
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Write(ctx, []byte("far too long")); err != nil {
			return err
		}
		buf := make([]byte, 7)
		n, err := srv.Read(ctx, buf)
		fmt.Printf("%s: %v\n", buf[:n], err)
		return nil
	})
	// Output:
	// far too: datagram: longer than the buffer
}
