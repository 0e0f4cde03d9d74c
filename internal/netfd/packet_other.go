//go:build unix && !linux

package netfd

// Dropped reports false: the system does not count for each socket.
func Dropped(int) (n uint32, ok bool) { return 0, false }
