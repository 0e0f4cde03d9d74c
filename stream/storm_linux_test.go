package stream_test

import (
	"os"
	"os/exec"
	"testing"
)

// The limit of descriptors is the process's on Linux.

// When descriptors run out the listener rests, those it serves go on, and when
// there are some again it goes on, too. In a process of its own, because the limit
// is a process's.
func TestEdge125_AcceptRestsWithoutDescriptors(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STREAM_TEST_CHILD=storm")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
