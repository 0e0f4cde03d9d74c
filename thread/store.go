package thread

import "slices"

// A store keeps the items of a queue in some order.
type store[T any] interface {
	put(v T)
	get() T
	len() int
	all() []T // in the order of get
	clear()
}

// A fifo is a ring.
type fifo[T any] struct {
	ring []T // its length is a power of two
	head int
	n    int
}

// An empty ring of more places than this is given back: it is what a burst has left.
const maxEmptyRing = 1 << 12

func (f *fifo[T]) len() int { return f.n }
func (f *fifo[T]) clear()   { *f = fifo[T]{} }

func (f *fifo[T]) put(v T) {
	if f.n == len(f.ring) {
		bigger := make([]T, max(8, 2*len(f.ring)))
		f.copyTo(bigger)
		f.ring, f.head = bigger, 0
	}
	f.ring[(f.head+f.n)&(len(f.ring)-1)] = v
	f.n++
}

func (f *fifo[T]) get() T {
	var none T
	v := f.ring[f.head]
	f.ring[f.head] = none
	f.head = (f.head + 1) & (len(f.ring) - 1)
	f.n--
	if f.n == 0 && len(f.ring) > maxEmptyRing {
		f.ring, f.head = nil, 0
	}
	return v
}

func (f *fifo[T]) copyTo(vs []T) {
	n := copy(vs, f.ring[f.head:min(f.head+f.n, len(f.ring))])
	copy(vs[n:], f.ring[:f.n-n])
}

func (f *fifo[T]) all() []T {
	vs := make([]T, f.n)
	f.copyTo(vs)
	return vs
}

type lifo[T any] struct{ stack []T }

func (l *lifo[T]) len() int { return len(l.stack) }
func (l *lifo[T]) put(v T)  { l.stack = append(l.stack, v) }
func (l *lifo[T]) clear()   { l.stack = nil }

func (l *lifo[T]) get() T {
	var none T
	i := len(l.stack) - 1
	v := l.stack[i]
	l.stack[i] = none
	l.stack = l.stack[:i]
	return v
}

func (l *lifo[T]) all() []T {
	vs := slices.Clone(l.stack)
	slices.Reverse(vs)
	return vs
}

// A priority is a heap: no item comes before that at half its index. It is not
// package container/heap's, which would allocate for each item.
type priority[T any] struct {
	less  func(a, b T) bool
	items []ranked[T]
	seq   uint64
}

// A ranked item knows when it came.
type ranked[T any] struct {
	v   T
	seq uint64
}

func (p *priority[T]) len() int { return len(p.items) }
func (p *priority[T]) clear()   { p.items = nil }

func (p *priority[T]) before(a, b *ranked[T]) bool {
	if p.less(a.v, b.v) {
		return true
	}
	return a.seq < b.seq && !p.less(b.v, a.v)
}

func (p *priority[T]) put(v T) {
	p.seq++
	item := ranked[T]{v, p.seq}
	place := len(p.items)
	for place > 0 && p.before(&item, &p.items[(place-1)/2]) { // if less panics, nothing has changed
		place = (place - 1) / 2
	}
	p.items = append(p.items, item)
	for i := len(p.items) - 1; i > place; i = (i - 1) / 2 {
		p.items[i] = p.items[(i-1)/2]
	}
	p.items[place] = item
}

func (p *priority[T]) get() T {
	v := p.items[0].v
	last := len(p.items) - 1
	p.items[0] = p.items[last]
	p.items[last] = ranked[T]{}
	p.items = p.items[:last]
	p.sink()
	return v
}

// sink moves the first item down to where it belongs.
func (p *priority[T]) sink() {
	for i := 0; ; {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(p.items); child++ {
			if p.before(&p.items[child], &p.items[first]) {
				first = child
			}
		}
		if first == i {
			return
		}
		p.items[i], p.items[first] = p.items[first], p.items[i]
		i = first
	}
}

func (p *priority[T]) all() []T {
	rest := &priority[T]{less: p.less, items: slices.Clone(p.items)}
	vs := make([]T, 0, len(p.items))
	for rest.len() > 0 {
		vs = append(vs, rest.get())
	}
	return vs
}
