//go:build unix

package netfd

// Detach takes the socket from the loop and returns it, open, to be opened again
// by another owner. It returns -1 if f is closed. Afterwards f is.
func (f *FD) Detach() int {
	if f.state&open == 0 {
		return -1
	}
	fd := int(f.fd)
	f.state = 0
	socketsOf(f.l).remove(fd)
	f.l.Unwatch(fd)
	return fd
}
