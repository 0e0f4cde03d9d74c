package main

import (
	"os"
	"syscall"
)

// idle_bytes: the memory of a connection, heap and stack of the server after a
// collection, that has echoed 16 KiB and waits for more. 5000 are held, or as many as
// there may be descriptors; over TLS 1000, because handshakes take long.
var idleBytes = bench{
	name:  "idle_bytes",
	ops:   5000,
	fresh: true, // the runtime keeps the descriptors of goroutines for ever
	unit:  "bytes",
	impls: []impl{
		{"eddy-protocol", holdIdle(serveProtocol, "hold"), goal{bytes: 512}},
		{"eddy-ready", holdIdle(serveReady, "hold"), goal{bytes: 512}},
		{"eddy-stream", holdIdle(serveStream, "hold"), goal{bytes: 3584}},
		{"eddy-stream-tls", holdIdle(serveStream, "hold-tls"), goal{}},
		{"goroutine", holdIdle(serveNet, "hold"), goal{}},
		{"goroutine-tls", holdIdle(serveNet, "hold-tls"), goal{}},
	},
}

func holdIdle(s server, kind string) func(m *meter) {
	return func(m *meter) {
		var cfg serving
		n := min(m.n, descriptors())
		if kind == "hold-tls" {
			cfg.tls = selfSigned()
			n = min(n, 1000)
		}
		withServer(s, cfg, func(addr string) {
			j := loadJob{Kind: kind, Addr: addr, Conns: 1, Size: serverBuffer, Server: os.Getpid()}
			j.measure(m) // now there is what the first connection needs
			before := inUse()
			j.Conns = n
			l := startLoad(m, j)
			l.result()
			m.Bytes = (float64(inUse()) - float64(before)) / float64(n)
			l.end()
		})
	}
}

// descriptors is how many connections this process may have.
func descriptors() int {
	var limit syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	return int(min(limit.Cur, 1<<20)) - 100
}
