package transport

import "github.com/eddyloop/eddy/loop"

// Find returns the transport of a protocol.
func Find(l *loop.Loop, p Protocol) *Transport {
	for _, g := range hubOf(l).groups {
		for t := g.first; t != nil; t = t.next {
			if t.proto == p {
				return t
			}
		}
	}
	return nil
}
