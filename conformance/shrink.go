package conformance

import "slices"

// Shrink returns a small program for which differs is still true, as it must be
// for p: no single body, object, op, item or handler can be left out of it, no
// block can take the place of its op and no number can be smaller. differs is
// only asked about valid programs, and about none twice.
func Shrink(p *Program, differs func(*Program) bool) *Program {
	s := &shrinker{p: p, differs: differs, asked: make(map[string]bool)}
	for changed := true; changed; {
		before := s.p
		s.bodies()
		s.objects()
		s.ops()
		s.unwrap()
		s.args()
		s.options()
		changed = s.p != before
	}
	return s.p
}

type shrinker struct {
	p       *Program
	differs func(*Program) bool
	asked   map[string]bool
}

// try goes on with what edit makes of the program, if that is valid and differs
// still, and reports whether it does. edit may change its argument.
func (s *shrinker) try(edit func(p *Program)) bool {
	p := s.p.clone()
	edit(p)
	if p.Validate() != nil {
		return false
	}
	text := p.String()
	if s.asked[text] {
		return false
	}
	s.asked[text] = true
	if !s.differs(p) {
		return false
	}
	s.p = p
	return true
}

// bodies leaves out bodies, with all that names them.
func (s *shrinker) bodies() {
	for i := len(s.p.Bodies) - 1; i > 0; i-- {
		name := s.p.Bodies[i].Name
		s.try(func(p *Program) {
			p.Bodies = slices.Delete(p.Bodies, i, i+1)
			p.forget(func(kind string) bool { return kind == "b" || kind == "t" }, name)
		})
	}
}

// objects leaves out objects, with all that names them, and makes them simpler.
func (s *shrinker) objects() {
	for i := len(s.p.Objs) - 1; i >= 0; i-- {
		o := s.p.Objs[i]
		if s.try(func(p *Program) {
			p.Objs = slices.Delete(p.Objs, i, i+1)
			p.forget(func(kind string) bool { return kind == "f" || kind == "o" }, o.Name)
			for j := range p.Objs {
				if l := p.Objs[j].Lock; l != nil && *l == o.Name {
					p.Objs[j].Lock = nil
				}
			}
		}) {
			continue
		}
		s.try(func(p *Program) { p.Objs[i].Lock = nil })
		s.try(func(p *Program) { p.Objs[i].Bounded = false })
		for _, n := range smaller(o.Maxsize) {
			s.try(func(p *Program) { p.Objs[i].Maxsize = n })
		}
		for _, field := range []func(*Obj) **int{
			func(o *Obj) **int { return &o.Value }, func(o *Obj) **int { return &o.Parties },
		} {
			if n := *field(&s.p.Objs[i]); n != nil && !s.try(func(p *Program) { *field(&p.Objs[i]) = nil }) {
				for _, n := range smaller(*n) {
					s.try(func(p *Program) { *field(&p.Objs[i]) = &n })
				}
			}
		}
	}
}

// ops leaves out ops: of each block all, then halves, and so on down to one.
func (s *shrinker) ops() {
	for b := 0; b < len(s.p.blocks()); b++ {
		length := func() int { return len(s.p.blocks()[b].ops) }
		for n := length(); n > 0; n /= 2 {
			for from := 0; from < length(); {
				to := min(from+n, length())
				if !s.try(func(p *Program) {
					b := p.blocks()[b]
					b.set(slices.Delete(b.ops, from, to))
				}) {
					from = to
				}
			}
		}
	}
}

// unwrap puts what is in an op's blocks in place of the op.
func (s *shrinker) unwrap() {
	for b := 0; b < len(s.p.blocks()); b++ {
		for i := 0; i < len(s.p.blocks()[b].ops); i++ {
			for inner := range nested(&s.p.blocks()[b].ops[i]) {
				if s.try(func(p *Program) {
					b := p.blocks()[b]
					with := nested(&b.ops[i])[inner].ops
					b.set(slices.Replace(b.ops, i, i+1, with...))
				}) {
					i--
					break
				}
			}
		}
	}
}

// args makes the arguments of ops simpler.
func (s *shrinker) args() {
	for b := 0; b < len(s.p.blocks()); b++ {
		for i := range s.p.blocks()[b].ops {
			for a, kind := range forms[s.p.blocks()[b].ops[i].Name].args {
				arg := func(p *Program) *any { return &p.blocks()[b].ops[i].Args[a] }
				s.arg(kind, arg)
			}
		}
	}
}

func (s *shrinker) arg(kind string, arg func(p *Program) *any) {
	set := func(x any) bool { return s.try(func(p *Program) { *arg(p) = x }) }
	switch x := (*arg(s.p)).(type) {
	case int:
		if kind == "n?" && set(nil) {
			return
		}
		for _, n := range smaller(x) {
			if set(n) {
				return
			}
		}
	case bool:
		if x {
			set(false)
		}
	case string:
		switch {
		case kind == "m" && x != "ALL":
			set("ALL")
		case kind == "b":
			s.later(x, func(p *Program, name string) { *arg(p) = name })
		}
	case []any:
		s.list(kind, x, arg)
	}
}

// list leaves out items and handlers, and names later bodies in items.
func (s *shrinker) list(kind string, x []any, arg func(p *Program) *any) {
	list := func(p *Program) []any { return (*arg(p)).([]any) }
	item := func(it []any, of func(p *Program) []any) {
		if it[0] != "f" {
			s.later(it[1].(string), func(p *Program, name string) { of(p)[1] = name })
		}
	}
	if kind == "i" {
		item(x, list)
		return
	}
	for j := len(x) - 1; j >= 0; j-- {
		s.try(func(p *Program) { *arg(p) = slices.Delete(list(p), j, j+1) })
	}
	if kind == "I" {
		for j, it := range list(s.p) {
			item(it.([]any), func(p *Program) []any { return list(p)[j].([]any) })
		}
	}
}

// later names a later body in place of one: that one may have done nothing but
// lead to it.
func (s *shrinker) later(name string, set func(p *Program, name string)) {
	i := slices.IndexFunc(s.p.Bodies, func(b Body) bool { return b.Name == name })
	for j := len(s.p.Bodies) - 1; j > i; j-- {
		if s.try(func(p *Program) { set(p, p.Bodies[j].Name) }) {
			return
		}
	}
}

func (s *shrinker) options() {
	s.try(func(p *Program) { p.Eager = false })
	s.try(func(p *Program) { p.Mode = "idle" })
}

// smaller returns numbers to try in place of n, the simplest first.
func smaller(n int) []int {
	var ns []int
	for _, m := range []int{0, 1, n / 2, n - 1, -n} {
		if max(m, -m) < max(n, -n) || n < 0 && m == -n {
			ns = append(ns, m)
		}
	}
	return slices.Compact(ns)
}

// A blockRef is a block and how to put another in its place.
type blockRef struct {
	ops []Op
	set func([]Op)
}

// blocks returns all blocks, each before those in it; so a change of one leaves
// the places of those before it as they are.
func (p *Program) blocks() []blockRef {
	var out []blockRef
	var walk func(b blockRef)
	walk = func(b blockRef) {
		out = append(out, b)
		for i := range b.ops {
			for _, n := range nested(&b.ops[i]) {
				walk(n)
			}
		}
	}
	for i := range p.Bodies {
		walk(blockRef{p.Bodies[i].Ops, func(ops []Op) { p.Bodies[i].Ops = ops }})
	}
	return out
}

// nested returns the blocks of an op.
func nested(op *Op) []blockRef {
	var out []blockRef
	add := func(args []any, i int) {
		out = append(out, blockRef{args[i].([]Op), func(ops []Op) { args[i] = ops }})
	}
	for i, kind := range forms[op.Name].args {
		switch kind {
		case "B", "F":
			add(op.Args, i)
		case "H":
			for _, h := range op.Args[i].([]any) {
				add(h.([]any), 1)
			}
		}
	}
	return out
}

// forget leaves out all ops, and items in lists, that name something of certain
// kinds: a body (b), a body's task (t), a future (f), an object (o).
func (p *Program) forget(kind func(string) bool, name string) {
	names := func(item any) bool {
		it := item.([]any)
		return kind(it[0].(string)) && it[1] == name
	}
	for i := 0; i < len(p.blocks()); i++ {
		b := p.blocks()[i]
		b.set(slices.DeleteFunc(b.ops, func(op Op) bool {
			for i, k := range forms[op.Name].args {
				switch k {
				case "I":
					op.Args[i] = slices.DeleteFunc(op.Args[i].([]any), names)
					if len(op.Args[i].([]any)) == 0 {
						return true
					}
				case "i":
					if names(op.Args[i]) {
						return true
					}
				case "b":
					if kind("b") && op.Args[i] == name {
						return true
					}
				default:
					if k[0] == 'o' && kind("o") && op.Args[i] == name {
						return true
					}
				}
			}
			return false
		}))
	}
}
