//go:build !unix

package cputime

import "time"

var start = time.Now()

// Used returns the time since the process started.
func Used() time.Duration { return time.Since(start) }
