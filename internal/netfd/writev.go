//go:build unix

package netfd

// TryWritev is TryWrite of several pieces in one system call, where the system has
// one: it writes as much of them, one after the other, as there is room for, and
// maybe less, and returns how many bytes. Empty pieces are skipped.
func (f *FD) TryWritev(pieces [][]byte) (int, error) {
	if f.state&canWrite == 0 {
		return 0, f.notNow()
	}
	return f.writev(pieces)
}

// HintEnd says that there is, or will be, nothing after what can be read: the error of
// a write may say so before an event does. Reading is tried until it finds the end.
func (f *FD) HintEnd() {
	if f.state&open != 0 {
		f.state |= canRead | ending
	}
}
