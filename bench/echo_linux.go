package main

import (
	"os"
	"time"
)

// connectionBenches have servers, and loads in processes of their own.
var connectionBenches = []bench{echo100, echo1000, echoTLS100, idleBytes, burst10K}

// echo_CONNSxSIZE: an echo over TCP on each of some connections; the next request
// follows the answer. ns is wall time for each request of all connections together,
// so requests per second are 1e9/ns. The server has a core and GOMAXPROCS=1, and the
// load another core. The row cpu is the processor time of the server, of all its
// threads, for each request; load is that of the load, a single thread with epoll.
// Where load is about ns, the load is as busy as it can be, and cpu says more than ns.
// waited is how long, for each request, threads of both could run and had no core: next
// to nothing, where no other program runs. A round in which that is 5 % of the time is
// measured once more, and the better one counts.
//
//	eddy-protocol  callbacks: package transport
//	eddy-stream    a task with a stack for each connection, which borrows a buffer
//	eddy-ready     a task while there is something to read: ServeConfig.WhenReady
//	eddy-machine   a task without a stack for each connection
//	goroutine      package net, with a goroutine and a buffer of 16 KiB for each
var (
	echo100  = echoBench("echo_100x64", 100, 64)
	echo1000 = echoBench("echo_1000x1K", 1000, 1024)
)

func echoBench(name string, conns, size int) bench {
	run := func(s server) func(m *meter) {
		return func(m *meter) { measureEcho(m, s, serving{}, loadJob{Kind: "echo", Size: size}) }
	}
	callbacks := goal{rate: 1.3, also: map[string]goal{"cpu": {ratio: 0.78}}}
	tasks := goal{rate: 1.2, also: map[string]goal{"cpu": {ratio: 0.83}}}
	return bench{name: name, ops: conns, pin: true, impls: []impl{
		{"eddy-protocol", run(serveProtocol), callbacks},
		{"eddy-stream", run(serveStream), tasks},
		{"eddy-ready", run(serveReady), goal{}},
		{"eddy-machine", run(serveMachine), goal{}},
		{"goroutine", run(serveNet), goal{}},
	}}
}

// echo_tls_100x1K: the same over TLS 1.3. The load is goroutines with crypto/tls.
var echoTLS100 = bench{name: "echo_tls_100x1K", ops: 100, pin: true, impls: []impl{
	{"eddy-protocol", runEchoTLS(serveProtocol), goal{rate: 0.9}},
	{"eddy-stream", runEchoTLS(serveStream), goal{rate: 0.9}},
	{"goroutine", runEchoTLS(serveNet), goal{}},
}}

func runEchoTLS(s server) func(m *meter) {
	return func(m *meter) {
		measureEcho(m, s, serving{tls: selfSigned()}, loadJob{Kind: "echo-tls", Size: 1024})
	}
}

func measureEcho(m *meter, s server, cfg serving, j loadJob) {
	j.Conns, j.Server = m.n, os.Getpid()
	j.Warm, j.For = m.real(100*time.Millisecond), m.real(300*time.Millisecond)
	withServer(s, cfg, func(addr string) {
		j.Addr = addr
		r := calm(m, j)
		each := func(d time.Duration) time.Duration { return d / time.Duration(max(1, r.Requests)) }
		m.NS = float64(r.Wall) / float64(max(1, r.Requests))
		m.also("cpu", each(r.Server))
		m.also("load", each(r.Load))
		m.also("waited", each(r.Waited))
	})
}

// calm measures, and if something else had a core meanwhile once more.
func calm(m *meter, j loadJob) loadResult {
	a := j.measure(m)
	if m.quick || a.Waited <= a.Wall/20 {
		return a
	}
	b := j.measure(m)
	if float64(a.Waited)/float64(a.Wall) < float64(b.Waited)/float64(b.Wall) {
		return a
	}
	return b
}
