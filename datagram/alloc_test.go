//go:build linux && !race && !386 && !s390x

package datagram_test

import (
	"context"
	"testing"

	"github.com/eddyloop/eddy/task"
)

// Nothing is allocated for a datagram, with and without a wait.
func TestNoAllocations(t *testing.T) {
	run(t, func(ctx context.Context) error {
		for _, network := range []string{"127.0.0.1:0", "[::1]:0"} {
			a, b := listenAt(ctx, t, network), listenAt(ctx, t, network)
			defer a.Close()
			defer b.Close()
			to, p := a.LocalAddrPort(), make([]byte, 64)
			echo := task.Go(ctx, func(ctx context.Context) error {
				p := make([]byte, 64)
				for {
					n, from, err := a.ReadFrom(ctx, p)
					if err != nil {
						return nil // closed
					}
					must(t, a.WriteTo(ctx, p[:n], from))
				}
			})
			n := testing.AllocsPerRun(1000, func() {
				must(t, b.WriteTo(ctx, p, to))
				if _, _, err := b.ReadFrom(ctx, p); err != nil {
					t.Error(err)
				}
			})
			if n != 0 {
				t.Errorf("%v allocations for a round trip", n)
			}
			must(t, a.Close())
			if _, err := echo.Await(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}
