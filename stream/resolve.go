package stream

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/netdial"
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/park"
	"github.com/eddyloop/eddy/loop"
)

// Resolve returns the addresses of "host:port", at least one, in the resolver's
// order, for network "tcp" or "udp", perhaps with a "4" or "6". Numbers are not
// looked up. Names are looked up on other goroutines, of which a loop has 64 at
// most. Errors are those of package net. It must be called in a task.
// (asyncio: loop.getaddrinfo)
//
// Cancel safety: the lookup is given up.
func Resolve(ctx context.Context, network, address string) ([]netip.AddrPort, error) {
	l := park.From(ctx, "stream: Resolve").Loop()
	addrs, err := resolve(ctx, l, network, address, false)
	if err != nil {
		return nil, err
	}
	out := make([]netip.AddrPort, len(addrs))
	for i := range addrs {
		ip := addrs[i].IP()
		if z := netdial.ZoneName(addrs[i].Zone()); z != "" {
			ip = ip.WithZone(z)
		}
		out[i] = netip.AddrPortFrom(ip, addrs[i].Port())
	}
	return out, nil
}

// LookupAddr returns the names of an address. Its errors are those of package net.
// It must be called in a task. (asyncio: loop.getnameinfo)
//
// Cancel safety: the lookup is given up.
func LookupAddr(ctx context.Context, ip netip.Addr) ([]string, error) {
	l := park.From(ctx, "stream: LookupAddr").Loop()
	return ask(ctx, l, func(done func([]string, error)) func() {
		return netdial.LookupAddr(l, ip, done)
	})
}

// resolve is Resolve, also for listeners (passive).
func resolve(ctx context.Context, l *loop.Loop, network, address string, passive bool) ([]netfd.Addr, error) {
	if addrs, known, err := netdial.Literal(network, address, passive); known {
		return addrs, err
	}
	return ask(ctx, l, func(done func([]netfd.Addr, error)) func() {
		return netdial.Resolve(l, network, address, passive, done)
	})
}

// A question is what a task asks of the resolver.
type question[T any] struct {
	answer future.Future[T]
	cancel func()
}

func ask[T any](ctx context.Context, l *loop.Loop, start func(done func(T, error)) (cancel func())) (T, error) {
	q := new(question[T])
	future.Init(&q.answer, l, q)
	q.cancel = start(func(v T, err error) { future.Settle(&q.answer, v, err) })
	defer q.cancel() // also when the task is unwound
	return q.answer.Await(ctx)
}

// CancelFuture gives up.
func (q *question[T]) CancelFuture(cause error) bool {
	q.cancel()
	var zero T
	return future.Settle(&q.answer, zero, &future.CanceledError{Cause: cause})
}

// opError makes a failure of Listen one of package net's.
func opError(op, network string, a *netfd.Addr, err error) error {
	if dns := (*net.DNSError)(nil); interrupted(err) && !errors.As(err, &dns) {
		return err
	}
	oe := &net.OpError{Op: op, Net: network, Err: err}
	if a != nil {
		oe.Addr = netdial.TCPAddr(a)
	}
	return oe
}
