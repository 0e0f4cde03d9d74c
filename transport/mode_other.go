//go:build !unix

package transport

import "errors"

func accessMode(int) (flags, error) { return 0, errors.ErrUnsupported }
