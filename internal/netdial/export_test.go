package netdial

import (
	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
)

// FakeConnect makes cfg connect by fn, which begins to connect to an address. It
// may fail at once; else it calls end, once, unless stop was called before.
func FakeConnect(cfg *Config, fn func(to netfd.Addr, end func(fd int, err error)) (stop func(), err error)) {
	cfg.connect = func(a *attempt) (err error) {
		a.stop, err = fn(a.peer, func(fd int, err error) {
			if err != nil {
				a.stop = nil
				a.lose(err)
				return
			}
			a.win(fd)
		})
		return err
	}
}

// Interleave is interleave.
var Interleave = interleave

// StartAddrs is Start for an address that was resolved to addrs.
func StartAddrs(l *loop.Loop, cfg *Config, addrs []netfd.Addr, done func(fd int, peer netfd.Addr, err error)) *Dial {
	d := &Dial{l: l, cfg: *cfg, done: done}
	d.cfg.Network = "tcp"
	if d.cfg.connect == nil {
		d.cfg.connect = (*attempt).connect
	}
	d.resolved(&endpoint{host: "name"}, addrs, nil)
	l.Queue(d)
	return d
}

// CountConnects makes cfg count how often an attempt connects.
func CountConnects(cfg *Config) *int {
	n := new(int)
	cfg.connect = func(a *attempt) error {
		*n++
		return a.connect()
	}
	return n
}
