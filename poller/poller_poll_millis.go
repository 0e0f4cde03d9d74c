//go:build unix && !linux && (pollonly || solaris || illumos || aix)

package poller

import (
	"time"

	"golang.org/x/sys/unix"
)

// pollRDHUP is zero where poll does not tell a half-closed stream from one with data.
const pollRDHUP = 0

// A pollClock is poll(2) with the system's best notion of time; here milliseconds.
type pollClock struct{}

func (pollClock) poll(fds []unix.PollFd, d time.Duration) (int, error) {
	ms := -1
	if d >= 0 {
		ms = int((d + time.Millisecond - 1) / time.Millisecond) // maxWait keeps it in range
	}
	return unix.Poll(fds, ms)
}
