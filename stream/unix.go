package stream

import (
	"io/fs"
	"net"
	"os"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
)

// listenUnix listens on a path or an abstract name.
func (cfg *ListenConfig) listenUnix(l *loop.Loop, path string) (*Listener, error) {
	fd, err := netfd.ListenUnix(path)
	var ln *Listener
	if err == nil {
		ln, err = newListener(l, fd, "unix")
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "unix", Addr: &net.UnixAddr{Net: "unix", Name: path}, Err: err}
	}
	ln.path.keep = cfg.KeepSocketFile
	ln.path.look()
	return ln, nil
}

// A socketFile is the file of a listening unix socket.
type socketFile struct {
	addr *net.UnixAddr
	keep bool
	info fs.FileInfo // as it was made; nil if there is no file
}

func (f *socketFile) look() {
	if name := f.addr.Name; name != "" && name[0] != '@' {
		f.info, _ = os.Lstat(name)
	}
}

// remove removes the file if it is still the one that was made.
func (f *socketFile) remove() {
	if f == nil || f.keep || f.info == nil {
		return
	}
	if now, err := os.Lstat(f.addr.Name); err == nil && os.SameFile(f.info, now) {
		_ = os.Remove(f.addr.Name) // somebody else's removal will do
	}
}
