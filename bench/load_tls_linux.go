package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"sync/atomic"
	"time"
)

// The clients of TLS servers are goroutines with crypto/tls, which cost as much as
// the server: see the row load.

func (j *loadJob) dialTLS() *tls.Conn {
	c, err := tls.Dial("tcp", j.Addr, &tls.Config{InsecureSkipVerify: true})
	must(err)
	return c
}

// exchangeTLS sends a request and reads the answer.
func exchangeTLS(c *tls.Conn, request, answer []byte) {
	_, err := c.Write(request)
	must(err)
	_, err = io.ReadFull(c, answer)
	must(err)
	if !bytes.Equal(request, answer) {
		panic("bench: a wrong answer")
	}
}

// echoTLS is echo with a goroutine for each connection.
func (j *loadJob) echoTLS() (loadResult, any) {
	conns := make([]*tls.Conn, j.Conns)
	for i := range conns {
		conns[i] = j.dialTLS()
	}
	var requests atomic.Int64
	for _, c := range conns {
		go func() {
			request, answer := bytes.Repeat([]byte("eddy"), j.Size/4), make([]byte, j.Size)
			for {
				exchangeTLS(c, request, answer)
				requests.Add(1)
			}
		}()
	}
	time.Sleep(j.Warm)
	before, n := j.mark(), requests.Load()
	time.Sleep(j.For)
	return j.mark().since(before, int(requests.Load()-n)), conns
}

func (j *loadJob) holdTLS() (loadResult, any) {
	conns := make([]*tls.Conn, j.Conns)
	request, answer := bytes.Repeat([]byte("eddy"), j.Size/4), make([]byte, j.Size)
	before := j.mark()
	for i := range conns {
		conns[i] = j.dialTLS()
		exchangeTLS(conns[i], request, answer)
	}
	return j.mark().since(before, j.Conns), conns
}
