//go:build !unix

package loop

import "errors"

// duplicate is needed only where there is a poller.
func duplicate(int) (int, error) { return -1, errors.ErrUnsupported }
