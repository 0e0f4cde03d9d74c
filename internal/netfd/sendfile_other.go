//go:build !linux

package netfd

import (
	"errors"
	"os"
)

// Sendfile is not used here: the systems differ in what it does.
func Sendfile(int, *os.File, int64, int) (int, error) { return 0, errors.ErrUnsupported }
