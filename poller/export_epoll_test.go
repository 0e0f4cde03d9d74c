//go:build linux && !pollonly

package poller

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"
)

var Millis = millis

// DisablePwait2 makes p believe that the kernel lacks epoll_pwait2.
func DisablePwait2(p Poller) { p.(*epoll).noPwait2 = true }

// FillBell brings the counter of p's eventfd to its limit.
func FillBell(p Poller) error {
	var full [8]byte
	binary.NativeEndian.PutUint64(full[:], math.MaxUint64-1)
	_, err := unix.Write(p.(*epoll).bellFD, full[:])
	return err
}
