//go:build race || eddypoison

package transport

// poison overwrites what a protocol was lent, so that one that keeps it finds out.
func poison(p []byte) {
	p[0] = 0xdb
	for n := 1; n < len(p); n *= 2 {
		copy(p[n:], p[:n])
	}
}
