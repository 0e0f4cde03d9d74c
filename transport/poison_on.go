//go:build race || eddypoison

package transport

// poison overwrites what a protocol was lent, so that one that keeps it finds out.
func poison(p []byte) {
	for i := range p {
		p[i] = 0xdb
	}
}
