package transport

import (
	"github.com/eddyloop/eddy/internal/env"
	"github.com/eddyloop/eddy/internal/tlsio"
	"github.com/eddyloop/eddy/loop"
)

// readSize is the size of the buffer that all transports of a loop read into.
const readSize = 64 << 10

// A hub is what the transports of one loop share.
type hub struct {
	l       *loop.Loop
	in      []byte // made at the first read
	spare   spareBlocks
	tls     tlsio.Buffers
	own     group    // of those without a listener
	groups  []*group // of the listeners; own is the first
	method  string   // of a protocol that is being called, or was
	closing bool     // the loop is
	packets map[*PacketTransport]struct{}
}

var hubKey = new(int)

func hubOf(l *loop.Loop) *hub {
	return l.Local(hubKey, func() any {
		h := &hub{l: l}
		h.own.hub = h
		h.groups = []*group{&h.own}
		return h
	}).(*hub)
}

func (h *hub) buffer() []byte {
	if h.in == nil {
		h.in = make([]byte, readSize)
	}
	return h.in
}

// Unwind ends one listener or transport when the loop closes, and reports whether it
// did.
func (h *hub) Unwind() bool {
	h.closing = true
	for _, g := range h.groups {
		switch {
		case g.ln != nil && !g.ln.closed:
			_ = g.ln.Close() // the descriptor is gone in any case
			return true
		case g.first != nil:
			g.first.lose(loop.ErrClosed)
			(*lostCall)(g.first).Run()
			return true
		}
	}
	for t := range h.packets {
		t.lose(loop.ErrClosed)
		(*packetLost)(t).Run()
		return true
	}
	return false
}

// A group is the transports of a listener, or those without one.
type group struct {
	hub   *hub
	ln    *Listener // nil: none
	first *Transport
	n     int
}

func (g *group) add(t *Transport) {
	t.group, t.next = g, g.first
	if g.first != nil {
		g.first.prev = t
	}
	g.first = t
	g.n++
}

func (g *group) remove(t *Transport) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		g.first = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
	g.n--
}

// left tells the listener that a transport is gone.
func (g *group) left() {
	if g.ln != nil {
		g.ln.left()
	}
}

// inherit returns the environment for a protocol's methods: of what runs now, but
// for its scope. The connection outlives that.
func inherit(l *loop.Loop) *env.Env {
	e := l.Capture()
	if e.Scope == nil {
		return e
	}
	c := *e
	c.Scope = nil
	return &c
}
