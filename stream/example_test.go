package stream_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

func ExampleConn_Lines() {
	task.Run(context.Background(), func(ctx context.Context) error {
		ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer ln.Close()
		task.Go(ctx, func(ctx context.Context) error {
			c, err := stream.Dial(ctx, "tcp", ln.Addr().String())
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write(ctx, []byte("one\ntwo\r\nthree"))
			return err
		})
		c, err := ln.Accept(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		for line, err := range c.Lines(ctx) {
			if err != nil {
				return err
			}
			fmt.Println(line)
		}
		return nil
	})
	// Output:
	// one
	// two
	// three
}

func ExampleListener_Serve() {
	task.Run(context.Background(), func(ctx context.Context) error {
		ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer ln.Close()
		server := task.Go(ctx, func(ctx context.Context) error {
			return ln.Serve(ctx, func(ctx context.Context, c *stream.Conn) error {
				for line, err := range c.Lines(ctx) {
					if err != nil {
						return err
					}
					if _, err := c.Write(ctx, []byte(strings.ToUpper(line)+"\n")); err != nil {
						return err
					}
				}
				return nil
			})
		})
		c, err := stream.Dial(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write(ctx, []byte("hello\n")); err != nil {
			return err
		}
		answer, err := c.ReadLine(ctx)
		fmt.Println(answer, err)
		server.Cancel(nil) // ends the handlers, too
		_, err = server.Await(ctx)
		fmt.Println(err)
		return nil
	})
	// Output:
	// HELLO <nil>
	// canceled
}
