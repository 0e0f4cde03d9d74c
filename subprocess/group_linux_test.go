package subprocess_test

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/subprocess"
)

// A group that has outlived its leader is signaled where the system can tell it from
// another of the same number, and not otherwise.
func TestGroupWithoutItsLeader(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		leave := func() (*subprocess.Process, int) {
			c := subprocess.Shell("sleep 60 >&- & echo $!")
			c.NewGroup, c.Stdout = true, subprocess.Pipe
			p := start(ctx, t, c)
			line, err := p.Stdout.ReadLine(ctx)
			testkit.Must(t, err)
			_, err = p.Wait(ctx)
			testkit.Must(t, err)
			testkit.Must(t, p.Stdout.Close())
			return p, atoi(line)
		}
		p, pid := leave()
		var want error
		if strings.HasSuffix(t.Name(), "goroutine") || !groupSignals(t) {
			want = os.ErrProcessDone
			testkit.Must(t, syscall.Kill(pid, syscall.SIGKILL))
		}
		if err := p.KillGroup(); err != want {
			t.Errorf("KillGroup: %v, want %v", err, want)
		}
		within(ctx, t, "the group has ended", func() bool { return !alive(pid) })
		within(ctx, t, "nobody is left", func() bool { return p.KillGroup() == os.ErrProcessDone })

		// One that lives until after Close, and one until after that of the loop.
		p, pid = leave()
		testkit.Must(t, p.Close())
		if err := p.KillGroup(); err != os.ErrProcessDone {
			t.Errorf("KillGroup after Close: %v", err)
		}
		testkit.Must(t, syscall.Kill(pid, syscall.SIGKILL))
		_, pid = leave()
		return syscall.Kill(pid, syscall.SIGKILL)
	})
}

// groupSignals reports whether this is Linux 6.9 or later.
func groupSignals(t *testing.T) bool {
	var u unix.Utsname
	testkit.Must(t, unix.Uname(&u))
	major, rest, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), ".")
	minor, _, _ := strings.Cut(rest, ".")
	minor, _, _ = strings.Cut(minor, "-")
	return atoi(major)*1000+atoi(minor) >= 6009
}
