//go:build unix && !dragonfly && !freebsd && !linux && !netbsd && !openbsd && !solaris

package subprocess

import "syscall"

// pipe keeps others from forking before the ends are closed on exec.
func pipe(p *[2]int) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := syscall.Pipe(p[:]); err != nil {
		return err
	}
	syscall.CloseOnExec(p[0])
	syscall.CloseOnExec(p[1])
	return nil
}
