//go:build !unix

package executor_test

import (
	"errors"
	"testing"

	"github.com/eddyloop/eddy/executor"
)

func runHelper(string) {}

func TestProcessUnsupported(t *testing.T) {
	if _, err := executor.NewProcessPool(executor.ProcessConfig{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("error is %v", err)
	}
}
