package subprocess

import "github.com/eddyloop/eddy/loop"

// WaitByGoroutines makes l wait for processes as where there are no handles.
func WaitByGoroutines(l *loop.Loop) { nurseryOf(l).noHandle = true }

// Disturb has the loop believe that the process may have exited.
func Disturb(p *Process) { (*exitSink)(p.c).Ready(0) }
