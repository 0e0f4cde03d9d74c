package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// A message that is too long is passed over, and the next one read.
func ExampleReader() {
	err := task.Run(context.Background(), func(ctx context.Context) error {
		a, b := stream.Pipe(loop.FromContext(ctx))
		if _, err := a.Write(ctx, []byte("first;"+strings.Repeat("long", 100)+";third;rest")); err != nil {
			return err
		}
		if err := a.Close(); err != nil {
			return err
		}
		r := stream.NewReader(b, 100)
		for {
			msg, err := r.ReadUntil(ctx, []byte(";"))
			var incomplete *stream.IncompleteReadError
			switch {
			case errors.Is(err, stream.ErrTooLong):
				n, err := r.SkipUntil(ctx, []byte(";"))
				if err != nil {
					return err
				}
				fmt.Println("skipped", n)
			case errors.As(err, &incomplete):
				fmt.Printf("left: %s\n", incomplete.Partial)
				return b.Close()
			case err != nil:
				return err
			default:
				fmt.Printf("%s\n", msg)
			}
		}
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// first;
	// skipped 401
	// third;
	// left: rest
}

// A callback writes, a task waits until the peer has taken it.
func ExampleWriter() {
	err := task.Run(context.Background(), func(ctx context.Context) error {
		a, b := stream.Pipe(loop.FromContext(ctx))
		w := a.Writer()
		reader := task.Start(ctx, func(ctx context.Context) ([]byte, error) {
			defer b.Close()
			return stream.NewReader(b, 0).ReadAll(ctx)
		})
		for i := range 3 {
			if _, err := fmt.Fprintf(w, "message %d\n", i); err != nil { // never waits
				return err
			}
			if err := w.Drain(ctx); err != nil { // does, if the peer is slow
				return err
			}
		}
		if err := w.Close(); err != nil { // when all is sent
			return err
		}
		if err := w.WaitClosed(ctx); err != nil {
			return err
		}
		all, err := reader.Await(ctx)
		fmt.Printf("%s", all)
		return err
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// message 0
	// message 1
	// message 2
}
