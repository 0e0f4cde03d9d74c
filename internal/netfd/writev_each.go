//go:build unix && (!linux || race || 386 || s390x)

package netfd

// writev writes the pieces one by one: package syscall has no call for several.
func (f *FD) writev(pieces [][]byte) (n int, err error) {
	for _, p := range pieces {
		for len(p) > 0 {
			k, err := f.TryWrite(p)
			n += k
			p = p[k:]
			switch {
			case err == ErrWouldBlock && n > 0:
				return n, nil
			case err != nil:
				return n, err
			}
		}
	}
	return n, nil
}
