//go:build !linux

package stream

import (
	"errors"
	"os"
)

// reopen: where opening /dev/fd is duplicating, both would have the same mode.
func reopen(*os.File, int) (*os.File, error) { return nil, errors.ErrUnsupported }
