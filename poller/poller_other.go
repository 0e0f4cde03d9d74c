//go:build !unix

package poller

import "errors"

// New returns [errors.ErrUnsupported]: there is no readiness queue for this system here.
func New() (Poller, error) { return nil, errors.ErrUnsupported }
