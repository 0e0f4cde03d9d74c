//go:build !race

package tlsio_test

import "testing"

// TestTimedAllocs: what is allocated is crypto/tls's own, 1 for each time that it
// reads. Under -race pools drop what they are given.
func TestTimedAllocs(t *testing.T) {
	c, s := connected(t, onWorker, clientTLS(), serverTLS())
	msg, buf, socket := make([]byte, 1000), make([]byte, 1000), make([]byte, 2000)
	got := testing.AllocsPerRun(200, func() {
		_, _ = s.TryRead(buf)
		_, _ = c.Write(msg)
		move(c, s, socket)
		mustRead(t, s, buf)
	})
	if got > 2 {
		t.Errorf("%v allocations for a write, a read that would block and a read, want 2", got)
	}
}
