//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"sync"
	"time"

	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// r26TLS mixes clients that do the handshake wrong with those that do it right.
func r26TLS(r *run) {
	bad, good := r.n(5000, 20), r.n(500, 300)
	cert, err := selfSigned()
	if !r.ok(err, "certificate") {
		return
	}
	r.loop(func(ctx context.Context) error {
		const handshake = time.Second
		cfg := stream.ServeConfig{TLS: &stream.TLS{
			Config:           &tls.Config{Certificates: []tls.Certificate{cert}},
			HandshakeTimeout: handshake, ShutdownTimeout: time.Second,
		}}
		srv, err := serve(ctx, cfg, echo)
		if err != nil {
			return err
		}
		alone, err := greet(ctx, r, srv.addr(), good)
		if err != nil {
			return err
		}
		badly := task.Go(ctx, func(ctx context.Context) error {
			return r.others(ctx, bad-bad/5, 200, func(i int) error {
				r.faults.Add(1)
				return badHandshake(i%4, i, srv.addr(), handshake)
			})
		})
		beside, err := greet(ctx, r, srv.addr(), good)
		_, berr := badly.Await(ctx)
		berr = errors.Join(berr, r.others(ctx, bad/5, 8, func(i int) error {
			r.faults.Add(1)
			return badHandshake(4, i, srv.addr(), handshake)
		}))
		if err := waitServed(ctx, srv); err != nil {
			r.fail("%v", err)
		}
		r.load("%d bad handshakes, 200 at a time: garbage, half a hello, silence, closed at once; and then good ones without a close_notify; %d good ones before and beside", bad, good)
		r.found("p99 of a good handshake and an echo: %v alone, %v beside; %d reports", alone.Round(time.Microsecond), beside.Round(time.Microsecond), len(r.reports))
		r.check(beside < alone+alone/5+50*time.Millisecond,
			"p99 of good handshakes is %v, was %v (the limit is 20 %% and 50 ms more: the clients are on the same processors)", beside, alone)
		return errors.Join(err, berr, srv.stop(ctx))
	})
}

// waitServed waits until the server has got rid of all its connections.
func waitServed(ctx context.Context, srv *server) error {
	for end := time.Now().Add(5 * time.Second); srv.ln.Stats().Serving > 0; {
		if time.Now().After(end) {
			return errors.New("connections are left: " + srv.ln.String())
		}
		if err := task.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// greet shakes hands and sends a line, n times, and returns the p99.
func greet(ctx context.Context, r *run, addr string, n int) (time.Duration, error) {
	var mu sync.Mutex
	var took []time.Duration
	err := r.others(ctx, n, 2, func(i int) error {
		start := time.Now()
		raw, err := dialFrom(i, addr)
		if err != nil {
			return err
		}
		c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		defer c.Close()
		_ = c.SetDeadline(start.Add(20 * time.Second))
		if _, err := c.Write([]byte("hello")); err != nil {
			r.lost.Add(1)
			return err
		}
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			r.lost.Add(1)
			return err
		}
		mu.Lock()
		took = append(took, time.Since(start))
		mu.Unlock()
		return nil
	})
	return quantile(took, 0.99), err
}

func badHandshake(kind, i int, addr string, limit time.Duration) error {
	c, err := dialFrom(i, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	switch kind {
	case 0:
		_, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		_, _ = io.Copy(io.Discard, c) // an alert, and the end
	case 1: // the header of a hello, and some of it
		_, _ = c.Write([]byte{22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, 1, 2, 3})
	case 2:
		start := time.Now()
		_, _ = io.Copy(io.Discard, c) // says nothing until the server gives up
		if d := time.Since(start); d > limit+2*time.Second {
			return errors.New("a silent client was held for " + d.String())
		}
	case 3:
	case 4:
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		_ = t.Handshake()
		_, _ = t.Write([]byte("hello"))
		_, _ = io.ReadFull(t, make([]byte, 5))
	}
	return nil
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(crand.Reader, leaf, leaf, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
