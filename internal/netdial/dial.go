package netdial

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
)

// Config says what a [Dial] connects to, and how.
type Config struct {
	// Network is "tcp", "tcp4", "tcp6" or "unix". Default "": "tcp".
	Network string
	// Address is "host:port", or the path of a unix socket. Without a host it is
	// this machine.
	Address string
	// Local is the address to connect from; only addresses of its family are tried,
	// and with a port in it one after another. It must not be set for a unix socket.
	// Default: the system chooses.
	Local netfd.Addr
	// FallbackDelay is how long the latest attempt may take before the next begins
	// beside it. Default 0: 250 ms, as RFC 8305 recommends; negative: one attempt
	// after another, in the order of the resolver.
	FallbackDelay time.Duration
	// AttemptTimeout bounds each attempt; one that took longer fails with
	// os.ErrDeadlineExceeded. Default 0: no bound but the system's, which is some
	// two minutes on Linux.
	AttemptTimeout time.Duration
	// Resolver looks names up. Default nil: net.DefaultResolver.
	Resolver *net.Resolver

	connect func(*attempt) error // nil: (*attempt).connect
}

const defaultFallbackDelay = 250 * time.Millisecond

// A Dial is a connection that is being made. It must be used on the loop.
//
//	resolving --addresses--> connecting --a success, or the last failure--> done
//	resolving or connecting --Cancel, or closing the loop--> canceled
type Dial struct {
	l        *loop.Loop
	cfg      Config
	done     func(fd int, peer netfd.Addr, err error) // nil once done or canceled
	err      error                                    // known before the first attempt
	lookup   *lookup
	addrs    []netfd.Addr // in the order to try them
	attempts []*attempt   // that were begun: one for each of the first addresses
	live     int          // attempts under way
}

// Start begins to connect. done is called once, from the queue, unless Cancel comes
// before: with a connected socket, which is non-blocking, not registered with the
// loop, has TCP_NODELAY and is the callee's to close, and its peer, no address for a
// unix socket; or with -1 and an error. cfg may be used again at once. It must be
// called on the loop.
//
// Errors are *net.OpError; if several addresses were tried, one that unwraps to
// those of all of them, in the order in which they were begun.
func Start(l *loop.Loop, cfg *Config, done func(fd int, peer netfd.Addr, err error)) *Dial {
	if done == nil {
		panic("netdial: Start without a function to call")
	}
	d := &Dial{l: l, cfg: *cfg, done: done}
	if d.cfg.Network == "" {
		d.cfg.Network = "tcp"
	}
	if d.cfg.connect == nil {
		d.cfg.connect = (*attempt).connect
	}
	if d.cfg.Network == "unix" {
		d.addrs = make([]netfd.Addr, 1)
		if d.cfg.Local.Valid() {
			panic("netdial: Config.Local with a unix socket")
		}
	} else if !d.resolve() {
		return d
	}
	l.Queue(d)
	return d
}

// resolve reports whether the addresses, or an error, are known at once.
func (d *Dial) resolve() (known bool) {
	e, err := parseEndpoint(d.cfg.Network, d.cfg.Address, false)
	var addrs []netfd.Addr
	known = err != nil
	if !known {
		addrs, known, err = e.literal()
	}
	if known {
		d.resolved(&e, addrs, err)
		return true
	}
	d.lookup = lookupsOf(d.l).start(
		func(ctx context.Context) { addrs, err = e.ask(ctx, d.cfg.Resolver) },
		func() {
			d.resolved(&e, addrs, err)
			d.Run()
		},
	)
	return false
}

// resolved puts the addresses in order.
func (d *Dial) resolved(e *endpoint, addrs []netfd.Addr, err error) {
	d.lookup = nil
	if d.cfg.Local.Valid() {
		addrs = ofFamily(addrs, d.cfg.Local)
	}
	if err == nil && len(addrs) == 0 {
		err = e.unsuitable()
	}
	if err != nil {
		d.err = &net.OpError{Op: "dial", Net: d.cfg.Network, Err: err}
		return
	}
	if d.fallbackDelay() >= 0 {
		addrs = interleave(addrs)
	}
	d.addrs = addrs
}

// fallbackDelay is negative if attempts do not overlap.
func (d *Dial) fallbackDelay() time.Duration {
	switch {
	case d.cfg.Local.Port() != 0:
		return -1 // one socket at a time can have it
	case d.cfg.FallbackDelay == 0:
		return defaultFallbackDelay
	}
	return d.cfg.FallbackDelay
}

// Run begins, when the addresses are known. It is for the loop.
func (d *Dial) Run() {
	switch {
	case d.done == nil:
	case d.err != nil:
		d.finish(-1, netfd.Addr{}, d.err)
	default:
		d.goOn()
	}
}

// goOn begins attempts until one is under way. If all have failed, so has d.
func (d *Dial) goOn() {
	for len(d.attempts) < len(d.addrs) {
		a := &attempt{d: d, peer: d.addrs[len(d.attempts)]}
		d.attempts = append(d.attempts, a)
		if a.begin() {
			d.live++
			return
		}
	}
	if d.live == 0 {
		d.finish(-1, netfd.Addr{}, d.failure())
	}
}

// Cancel gives up: what is open is closed, and done will not be called. It reports
// whether it was in time.
func (d *Dial) Cancel() bool {
	if d.done == nil {
		return false
	}
	d.done = nil
	d.drop()
	return true
}

// finish tells of the end. The winner's socket is not an attempt's any more.
func (d *Dial) finish(fd int, peer netfd.Addr, err error) {
	done := d.done
	d.done = nil
	d.drop()
	done(fd, peer, err)
}

// drop ends all that is under way.
func (d *Dial) drop() {
	if d.lookup != nil {
		d.lookup.cancel()
		d.lookup = nil
	}
	for _, a := range d.attempts {
		a.end()
	}
	d.attempts, d.live = nil, 0
}

// failure returns the errors of all attempts as one.
func (d *Dial) failure() error {
	if len(d.attempts) == 1 {
		return d.attempts[0].err
	}
	errs := make(failures, len(d.attempts))
	for i, a := range d.attempts {
		errs[i] = a.err
	}
	return errs
}

// failures are why no address could be reached.
type failures []error

// Unwrap is for package errors: all of them, the first first.
func (f failures) Unwrap() []error { return f }

func (f failures) Error() string {
	var s strings.Builder
	for i, err := range f {
		if i > 0 {
			s.WriteString("; ")
		}
		s.WriteString(err.Error())
	}
	return s.String()
}

// Timeout and Temporary make failures a net.Error: package net's is about one
// address, and callers ask it this way.
func (f failures) Timeout() bool {
	for _, err := range f {
		if t, ok := err.(net.Error); !ok || !t.Timeout() {
			return false
		}
	}
	return true
}

// Temporary reports false: nothing is known of that.
func (f failures) Temporary() bool { return false }
