//go:build unix

package netfd

// SetWritable says whether trying to write is worthwhile, for when somebody else
// writes to the socket by a duplicate of its descriptor: before he does, false makes
// the next event tell of room that comes from then on.
func (f *FD) SetWritable(is bool) {
	if f.state &^= canWrite; is && f.state&open != 0 {
		f.state |= canWrite
	}
}
