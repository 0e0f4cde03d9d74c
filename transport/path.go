package transport

import "os"

// A socketFile is the file of a unix socket, as it was when it was made.
type socketFile struct {
	path string
	info os.FileInfo // nil: none
}

func fileOf(path string) socketFile {
	if path == "" || path[0] == '@' {
		return socketFile{}
	}
	info, err := os.Lstat(path)
	if err != nil {
		return socketFile{}
	}
	return socketFile{path, info}
}

// remove removes the file, unless somebody has put another in its place.
func (f socketFile) remove() {
	if f.info == nil {
		return
	}
	if now, err := os.Lstat(f.path); err == nil && os.SameFile(now, f.info) {
		_ = os.Remove(f.path) // whoever comes next finds it, and says so
	}
}
