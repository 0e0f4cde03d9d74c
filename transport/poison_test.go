//go:build unix && (race || eddypoison)

package transport_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/transport"
)

// What Data was given is overwritten when it returns.
func TestPoison(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var kept []byte
		r := recorder{data: func(p []byte) { kept = p }}
		tr, p := pair(t, l, &r, transport.Config{})
		defer p.close()
		p.write("hello")
		until(ctx, t, "data", func() bool { return kept != nil })
		if want := bytes.Repeat([]byte{0xdb}, 5); !bytes.Equal(kept, want) {
			t.Errorf("what was kept reads %x", kept)
		}
		tr.Abort()
		turns(ctx, t, 1)
	})
}
