package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// A form says what arguments an op takes and where it may stand.
//
//	b     body                       s     string
//	o:K,L object of one of the kinds n     int, not negative
//	i     item                       n?    int or null
//	I     list of items, not empty   v     int
//	B     block                      1     bool
//	H     handlers of a try          m     mode of a wait
//	F     block without a return
type form struct {
	args  []string
	where place
}

// A place says where an op may stand.
type place uint8

const (
	anywhere place = iota // in callbacks, too
	bodies                // in bodies only; done at once
	waiting               // in bodies only; may wait
)

const (
	lockable = "o:lock,sem,cond"
	anyQueue = "o:queue,lifo,prio"
)

var forms = func() map[string]form {
	forms := make(map[string]form)
	add := func(where place, ops map[string]string) {
		for name, args := range ops {
			forms[name] = form{strings.Fields(args), where}
		}
	}
	add(anywhere, map[string]string{
		"log": "s", "spawn": "b", "cancel": "b", "cancel_msg": "b s", "cancel_nth": "b n", "state": "b",
		"ev_set": "o:event", "ev_clear": "o:event",
		"release": lockable, "locked": lockable, "notify": "o:cond n", "notify_all": "o:cond",
		"put_nowait": anyQueue + " v", "get_nowait": anyQueue, "task_done": anyQueue,
		"qsize": anyQueue, "q_shutdown": anyQueue + " 1",
		"fut_new": "o:future", "fut_set": "o:future v", "fut_exc": "o:future s", "fut_cancel": "o:future",
		"call_soon": "s B", "call_later": "n s B", "call_at": "n s B", "call_cancel": "s", "on_done": "i s B",
		"cv_set": "s v", "cv_get": "s", "inc": "s n", "raise": "s",
	})
	add(bodies, map[string]string{
		"cancel_self": "", "uncancel": "", "cancelling": "", "raise_cancel": "", "gspawn": "b", "reschedule": "n?",
	})
	add(waiting, map[string]string{
		"sleep": "n", "await": "i", "call": "b", "gather": "I 1", "wait": "I m n?", "wait_for": "i n?",
		"shield": "i", "as_completed": "I n?", "timeout": "n? B", "timeout_at": "n? B", "group": "B",
		"ev_wait": "o:event", "acquire": lockable, "with": lockable + " B",
		"cond_wait": "o:cond", "cond_wait_for": "o:cond s n",
		"put": anyQueue + " v", "get": anyQueue, "join": anyQueue,
		"bar_wait": "o:barrier", "bar_reset": "o:barrier", "bar_abort": "o:barrier",
		"try": "B H F", "repeat": "n B", "return": "v",
	})
	return forms
}()

// isCallback reports whether the op's block is run as a callback.
func isCallback(op string) bool {
	return op == "call_soon" || op == "call_later" || op == "call_at" || op == "on_done"
}

// maxInt bounds numbers other than values, so that no sum of times overflows
// before the limit on ops ends the run.
const maxInt = 1e8

// Validate returns an error unless the program can be run: the first body is main,
// all that is named exists and is of the right kind, ops stand where they may,
// and a body starts or awaits only later bodies, so that awaits make no circle.
func (p *Program) Validate() error {
	c := &checker{order: make(map[string]int), kinds: make(map[string]string)}
	if p.Mode != "idle" && p.Mode != "run" {
		return fmt.Errorf("no mode %q", p.Mode)
	}
	if len(p.Bodies) == 0 || p.Bodies[0].Name != "main" {
		return fmt.Errorf("the first body is not main")
	}
	for i, b := range p.Bodies {
		if _, twice := c.order[b.Name]; twice {
			return fmt.Errorf("body %s is there twice", b.Name)
		}
		c.order[b.Name] = i
	}
	for _, o := range p.Objs {
		if err := c.object(o); err != nil {
			return fmt.Errorf("object %s: %w", o.Name, err)
		}
		c.kinds[o.Name] = o.Kind
	}
	for i, b := range p.Bodies {
		if err := c.block(b.Ops, i, false, false); err != nil {
			return fmt.Errorf("body %s: %w", b.Name, err)
		}
	}
	return nil
}

// A checker is a Validate.
type checker struct {
	order map[string]int    // of bodies
	kinds map[string]string // of objects
}

func (c *checker) object(o Obj) error {
	if _, twice := c.kinds[o.Name]; twice {
		return fmt.Errorf("is there twice")
	}
	inRange := func(what string, n *int, low int) error {
		if n != nil && (*n < low || *n > maxInt) {
			return fmt.Errorf("%s %d", what, *n)
		}
		return nil
	}
	switch o.Kind {
	case "event", "lock", "future":
	case "sem":
		return inRange("value", o.Value, 0)
	case "queue", "lifo", "prio":
		return inRange("maxsize", &o.Maxsize, -maxInt)
	case "barrier":
		return inRange("parties", o.Parties, 1)
	case "cond":
		if o.Lock != nil && c.kinds[*o.Lock] != "lock" {
			return fmt.Errorf("no lock %q before it", *o.Lock)
		}
	default:
		return fmt.Errorf("no kind %q", o.Kind)
	}
	return nil
}

// none is the number of a body for code that is in none: a callback.
const none = -1

// block checks a block of the body me. final is set in the last block of a try.
func (c *checker) block(ops []Op, me int, callback, final bool) error {
	for _, op := range ops {
		f, ok := forms[op.Name]
		switch {
		case !ok:
			return fmt.Errorf("no op %q", op.Name)
		case callback && f.where != anywhere:
			return fmt.Errorf("%s in a callback", op.Name)
		case final && op.Name == "return":
			return fmt.Errorf("return in finally")
		case len(op.Args) != len(f.args):
			return fmt.Errorf("%s takes %d arguments, not %d", op.Name, len(f.args), len(op.Args))
		}
		for i, kind := range f.args {
			if err := c.arg(op, kind, op.Args[i], me, callback, final); err != nil {
				return fmt.Errorf("%s: %w", op.Name, err)
			}
		}
	}
	return nil
}

func (c *checker) arg(op Op, kind string, x any, me int, callback, final bool) error {
	bad := fmt.Errorf("bad argument %v", x)
	ok := true
	switch kind {
	case "b":
		if op.Name != "spawn" && op.Name != "gspawn" && op.Name != "call" {
			me = none
		}
		return c.body(x, me)
	case "i":
		if op.Name == "on_done" {
			return c.item(x, none, "t f")
		}
		return c.item(x, me, "t f b")
	case "I":
		its, ok := x.([]any)
		if !ok || len(its) == 0 {
			return bad
		}
		allowed := "t f"
		if op.Name == "gather" {
			allowed = "t f b"
		}
		for _, it := range its {
			if err := c.item(it, me, allowed); err != nil {
				return err
			}
		}
	case "n":
		var n int
		n, ok = x.(int)
		ok = ok && n >= 0 && n <= maxInt
	case "n?":
		n, isInt := x.(int)
		ok = x == nil || isInt && n >= -maxInt && n <= maxInt
	case "v":
		_, ok = x.(int)
	case "s":
		_, ok = x.(string)
	case "1":
		_, ok = x.(bool)
	case "m":
		ok = x == "ALL" || x == "FIRST" || x == "EXC"
	case "B", "F":
		b, ok := x.([]Op)
		if !ok {
			return bad
		}
		if isCallback(op.Name) {
			return c.block(b, none, true, false)
		}
		return c.block(b, me, callback, final || kind == "F")
	case "H":
		hs, ok := x.([]any)
		if !ok {
			return bad
		}
		for _, h := range hs {
			if err := c.handler(h, me, final); err != nil {
				return err
			}
		}
	default:
		name, isName := x.(string)
		ok = isName && slices.Contains(strings.Split(strings.TrimPrefix(kind, "o:"), ","), c.kinds[name])
	}
	if !ok {
		return bad
	}
	return nil
}

// body checks a name of a body, which must be later than me.
func (c *checker) body(x any, me int) error {
	name, ok := x.(string)
	if !ok {
		return fmt.Errorf("no body %v", x)
	}
	switch i, ok := c.order[name]; {
	case !ok:
		return fmt.Errorf("no body %q", name)
	case me != none && i <= me:
		return fmt.Errorf("body %s is not a later one", name)
	}
	return nil
}

func (c *checker) item(x any, me int, allowed string) error {
	it, _ := x.([]any)
	if len(it) != 2 {
		return fmt.Errorf("bad item %v", x)
	}
	kind, ok := it[0].(string)
	if !ok || !slices.Contains(strings.Fields(allowed), kind) {
		return fmt.Errorf("bad item %v", x)
	}
	if kind != "f" {
		return c.body(it[1], me)
	}
	if name, ok := it[1].(string); !ok || c.kinds[name] != "future" {
		return fmt.Errorf("no future %v", it[1])
	}
	return nil
}

func (c *checker) handler(x any, me int, final bool) error {
	h, _ := x.([]any)
	if len(h) != 3 {
		return fmt.Errorf("bad handler %v", x)
	}
	kind, _ := h[0].(string)
	then, _ := h[2].(string)
	b, ok := h[1].([]Op)
	if !ok || then != "swallow" && then != "reraise" ||
		!slices.Contains([]string{"cancelled", "timeout", "group", "error", "any"}, kind) {
		return fmt.Errorf("bad handler %v", x)
	}
	return c.block(b, me, false, final)
}
