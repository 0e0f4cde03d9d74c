//go:build unix

package poller

import (
	"sync"
	"sync/atomic"
)

// A bell is the part of Wake that all systems share. It decides who makes the system call, and
// keeps that call away from descriptors that Close has given back.
//
//	quiet ── ring: one system call ──▶ rung ── heard ──▶ quiet
//	rung  ── ring: nothing to do ────▶ rung
//	any   ── shut ───────────────────▶ shut: ring returns ErrClosed
//
// Nothing is lost because [bell.heard] comes after Wait has consumed the kernel's side (an event of
// the eventfd, the bytes of a pipe) and before it returns. A ring in between finds the bell rung,
// and the return that is under way is its answer. The other order, first quiet and then consume,
// would eat the signal of a ring in between, and leave the bell rung with no signal behind it: deaf
// for good.
//
// Ringing is a read-modify-write that always writes, and not a compare-and-swap, so that a ring that
// finds the bell rung is ordered before heard as well: what its caller did earlier is then visible
// to the waiter by the rules of the memory model. A compare-and-swap that fails is only a read, and
// a post made before it without a lock could be overlooked.
type bell struct {
	state atomic.Uint32 // rung, shut
	mu    sync.Mutex    // held for the ringer's system call and for closing what it uses
}

const (
	rung uint32 = 1 << iota
	shut
)

// A ringer makes the kernel's side of a bell ready.
type ringer interface{ signal() error }

// ring makes the system call if the bell was quiet. From any goroutine.
func (b *bell) ring(r ringer) error {
	switch old := b.state.Or(rung); {
	case old&shut != 0:
		return ErrClosed
	case old&rung != 0:
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Load()&shut != 0 {
		return ErrClosed // closed since the Or: the number may be somebody else's by now
	}
	err := r.signal()
	if err != nil {
		b.state.And(^rung) // or nobody would ever try again
	}
	return err
}

// heard makes the bell quiet. Wait calls it when it has consumed the signal, before it returns.
func (b *bell) heard() { b.state.And(^rung) }

// shut ends the bell and then calls free, which closes what signal uses. It reports whether this
// call did it.
func (b *bell) shut(free func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Or(shut)&shut != 0 {
		return false
	}
	free()
	return true
}
