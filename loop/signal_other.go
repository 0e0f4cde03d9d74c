//go:build !unix

package loop

import "os"

// uncatchable reports whether a process cannot do anything about a signal.
func uncatchable(sig os.Signal) bool { return sig == os.Kill }
