package looptest_test

import (
	"context"
	"testing"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/stream"
)

// The other kinds of connections are tested in package stream.
func TestConnOfPipe(t *testing.T) {
	looptest.TestConn(t, func(ctx context.Context) (a, b *stream.Conn, err error) {
		a, b = stream.Pipe(loop.FromContext(ctx))
		return a, b, nil
	})
}
