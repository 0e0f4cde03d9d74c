package conformance

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

// A frame is one run of a body.
type frame struct {
	groups   []*task.Group
	timeouts []*task.TimeoutScope
}

// A signal is a return on its way out of a body; nil is none.
type signal struct{ v any }

// body runs a body, as a task or inline.
func (m *machine) body(ctx context.Context, name string) (any, error) {
	m.say("-", "begin", name)
	sig, err := m.block(ctx, m.ops[name], &frame{})
	if err != nil {
		m.noteBug(err) // now: this error may be handled
		m.say("-", "end", name, "raise", exname(err))
		return nil, err
	}
	var v any
	if sig != nil {
		v = sig.v
	}
	m.say("-", "end", name, "return", val(v))
	return v, nil
}

func (m *machine) block(ctx context.Context, ops []Op, fr *frame) (*signal, error) {
	for _, op := range ops {
		handled, err := m.sync(ctx, op, fr)
		var sig *signal
		if !handled {
			sig, err = m.one(ctx, op, fr)
		}
		if err != nil || sig != nil {
			return sig, err
		}
	}
	return nil, nil
}

// callback runs a block as a callback of the loop. What it raises goes to the
// loop's OnError, as a panic.
func (m *machine) callback(label string, ops []Op) {
	before := m.label
	m.label = label
	defer func() { m.label = before }()
	m.say("-", "begin")
	for _, op := range ops {
		if _, err := m.sync(m.l.Context(), op, nil); err != nil {
			panic(err)
		}
	}
}

func (m *machine) tick() error {
	m.nops++
	if m.nops > maxOps {
		m.star("too many ops")
		m.l.Stop()
		return &E{"too many ops"}
	}
	return nil
}

func (m *machine) cv(name string) *task.Var[int] {
	v := m.vars[name]
	if v == nil {
		v = task.NewVar[int](name)
		m.vars[name] = v
	}
	return v
}

// attempt says what became of an op: "ok", its result, its error, or the name of
// the exception that stands for a panic. If there is none, a panic is a bug.
func (m *machine) attempt(name, arg, onPanic string, fn func() any) {
	r := func() (r any) {
		defer func() {
			if v := recover(); v != nil {
				if r = onPanic; onPanic == "" {
					m.noteBug(coro.NewPanicError(v))
				}
			}
		}()
		return fn()
	}()
	if r == nil {
		r = "ok"
	}
	m.say("-", name, arg, val(r))
}

// settledBy says what a Promise's method returned.
func settledBy(ok bool) any {
	if ok {
		return nil
	}
	return "InvalidStateError"
}

func asAny(err error) any {
	if err == nil {
		return nil
	}
	return err
}

// sync runs an op that is done at once, and reports whether it was one.
func (m *machine) sync(ctx context.Context, op Op, fr *frame) (bool, error) {
	run, ok := syncOps[op.Name]
	if !ok {
		return false, nil
	}
	if err := m.tick(); err != nil {
		return true, err
	}
	return true, run(m, ctx, op.Args, fr)
}

type syncOp func(m *machine, ctx context.Context, a []any, fr *frame) error

var syncOps map[string]syncOp

func init() {
	// plain makes an op of a function that cannot raise.
	plain := func(fn func(m *machine, ctx context.Context, a []any, fr *frame)) syncOp {
		return func(m *machine, ctx context.Context, a []any, fr *frame) error {
			fn(m, ctx, a, fr)
			return nil
		}
	}
	// onObject makes an op of a function on an object that may panic.
	onObject := func(name, onPanic string, fn func(o *object, a []any) any) syncOp {
		return plain(func(m *machine, _ context.Context, a []any, _ *frame) {
			arg := a[0].(string)
			o := m.objs[arg]
			m.attempt(name, arg, onPanic, func() any { return fn(o, a) })
		})
	}
	syncOps = map[string]syncOp{
		"log":   plain(func(m *machine, _ context.Context, a []any, _ *frame) { m.say("-", "log", a[0].(string)) }),
		"spawn": plain(func(m *machine, _ context.Context, a []any, _ *frame) { m.spawn(a[0].(string)) }),
		"cancel": plain(func(m *machine, _ context.Context, a []any, _ *frame) {
			m.cancel("cancel", m.slots[a[0].(string)], a[0].(string), nil)
		}),
		"cancel_nth": plain(func(m *machine, _ context.Context, a []any, _ *frame) {
			name := a[0].(string) + "." + strconv.Itoa(num(a[1]))
			m.cancel("cancel_nth", m.named[name], name, nil)
		}),
		"cancel_msg": plain(func(m *machine, _ context.Context, a []any, _ *frame) {
			m.cancel("cancel_msg", m.slots[a[0].(string)], a[0].(string), message(a[1].(string)))
		}),
		"state": plain(func(m *machine, _ context.Context, a []any, _ *frame) {
			if t := m.slots[a[0].(string)]; t != nil {
				m.say("-", "state", m.name(t), state(t))
			} else {
				m.say("-", "state", a[0].(string), "unset")
			}
		}),
		"ev_set":   onObject("ev_set", "", func(o *object, _ []any) any { o.event.Set(); return nil }),
		"ev_clear": onObject("ev_clear", "", func(o *object, _ []any) any { o.event.Clear(); return nil }),
		"release": plain(func(m *machine, _ context.Context, a []any, _ *frame) {
			m.attempt("release", a[0].(string), m.objs[a[0].(string)].overRelease(), func() any {
				m.objs[a[0].(string)].release()
				return nil
			})
		}),
		"locked":     onObject("locked", "", func(o *object, _ []any) any { return o.locked() }),
		"notify":     onObject("notify", "RuntimeError", func(o *object, a []any) any { o.cond.SignalN(num(a[1])); return nil }),
		"notify_all": onObject("notify_all", "RuntimeError", func(o *object, _ []any) any { o.cond.Broadcast(); return nil }),
		"put_nowait": onObject("put_nowait", "", func(o *object, a []any) any { return asAny(o.queue.TryPut(num(a[1]))) }),
		"get_nowait": onObject("get_nowait", "", func(o *object, _ []any) any {
			v, err := o.queue.TryGet()
			if err != nil {
				return err
			}
			return v
		}),
		"task_done":  onObject("task_done", "ValueError", func(o *object, _ []any) any { o.queue.Done(); return nil }),
		"qsize":      onObject("qsize", "", func(o *object, _ []any) any { return o.queue.Len() }),
		"q_shutdown": onObject("q_shutdown", "", func(o *object, a []any) any { o.queue.ShutDown(a[1].(bool)); return nil }),
		"fut_new": plain(func(m *machine, _ context.Context, a []any, _ *frame) {
			o := m.objs[a[0].(string)]
			m.kept = append(m.kept, o.future)
			o.future, o.promise = future.New[any](m.l)
			m.say("-", "fut_new", a[0].(string), "ok")
		}),
		"fut_set":    onObject("fut_set", "", func(o *object, a []any) any { return settledBy(o.promise.Resolve(num(a[1]))) }),
		"fut_exc":    onObject("fut_exc", "", func(o *object, a []any) any { return settledBy(o.promise.Fail(&E{a[1].(string)})) }),
		"fut_cancel": onObject("fut_cancel", "", func(o *object, _ []any) any { return o.future.Cancel(nil) }),
		"call_soon": plain(func(m *machine, _ context.Context, a []any, _ *frame) {
			label, ops := a[0].(string), a[1].([]Op)
			m.handles[label] = m.l.CallSoon(func() { m.callback(label, ops) })
			m.say("-", "call_soon", label)
		}),
		"call_later": plain(func(m *machine, _ context.Context, a []any, _ *frame) {
			label, ops := a[1].(string), a[2].([]Op)
			m.handles[label] = m.l.CallLater(ticks(a[0]), func() { m.callback(label, ops) })
			m.say("-", "call_later", label)
		}),
		"call_at": plain(func(m *machine, _ context.Context, a []any, _ *frame) {
			label, ops := a[1].(string), a[2].([]Op)
			m.handles[label] = m.l.CallAt(time.Unix(0, 0).Add(ticks(a[0])), func() { m.callback(label, ops) })
			m.say("-", "call_at", label)
		}),
		"call_cancel": plain(func(m *machine, _ context.Context, a []any, _ *frame) {
			h := m.handles[a[0].(string)]
			if h == nil {
				m.say("-", "call_cancel", a[0].(string), "unset")
				return
			}
			h.Cancel()
			m.say("-", "call_cancel", a[0].(string), "ok")
		}),
		"on_done": plain(func(m *machine, _ context.Context, a []any, _ *frame) {
			it := m.item(a[0])
			label, ops := a[1].(string), a[2].([]Op)
			m.say("-", "on_done", it.show, label)
			if it.f != nil {
				it.f.OnDone(func() { m.callback(label, ops) })
			}
		}),
		"cv_set": plain(func(m *machine, ctx context.Context, a []any, _ *frame) {
			m.cv(a[0].(string)).Set(ctx, num(a[1]))
			m.say("-", "cv_set", a[0].(string), val(a[1]))
		}),
		"cv_get": plain(func(m *machine, ctx context.Context, a []any, _ *frame) {
			var v any
			if n, ok := m.cv(a[0].(string)).Lookup(ctx); ok {
				v = n
			}
			m.say("-", "cv_get", a[0].(string), val(v))
		}),
		"inc": plain(func(m *machine, _ context.Context, a []any, _ *frame) {
			m.counters[a[0].(string)] += num(a[1])
			m.say("-", "inc", a[0].(string), strconv.Itoa(m.counters[a[0].(string)]))
		}),
		"raise": func(m *machine, _ context.Context, a []any, _ *frame) error {
			m.say("-", "raise", a[0].(string))
			return &E{a[0].(string)}
		},
		"raise_cancel": func(m *machine, _ context.Context, _ []any, _ *frame) error {
			m.say("-", "raise_cancel")
			return &future.CanceledError{}
		},
		"cancel_self": plain(func(m *machine, ctx context.Context, _ []any, _ *frame) {
			m.say("-", "cancel_self", val(task.FromContext(ctx).Cancel(nil)))
		}),
		"uncancel": plain(func(m *machine, ctx context.Context, _ []any, _ *frame) {
			m.say("-", "uncancel", strconv.Itoa(task.FromContext(ctx).Uncancel()))
		}),
		"cancelling": plain(func(m *machine, ctx context.Context, _ []any, _ *frame) {
			m.say("-", "cancelling", strconv.Itoa(task.FromContext(ctx).Canceling()))
		}),
		"gspawn":     plain(func(m *machine, _ context.Context, a []any, fr *frame) { m.gspawn(a[0].(string), fr) }),
		"reschedule": plain(func(m *machine, _ context.Context, a []any, fr *frame) { m.reschedule(a[0], fr) }),
	}
}

func (m *machine) spawn(body string) {
	t := m.start(nil, body)
	m.say("-", "spawn", m.name(t))
}

func (m *machine) cancel(op string, t *task.Task[any], arg string, cause error) {
	if t == nil {
		m.say("-", op, arg, "unset")
		return
	}
	if op != "cancel_nth" {
		arg = m.name(t)
	}
	m.say("-", op, arg, val(t.Cancel(cause)))
}

func (m *machine) gspawn(body string, fr *frame) {
	switch n := len(fr.groups); {
	case n == 0:
		m.say("-", "gspawn", body, "unset")
	case !fr.groups[n-1].Open():
		m.say("-", "gspawn", body, "RuntimeError")
	default:
		t := m.start(fr.groups[n-1], body)
		m.say("-", "gspawn", m.name(t))
	}
}

func (m *machine) reschedule(x any, fr *frame) {
	n := len(fr.timeouts)
	if n == 0 {
		m.say("-", "reschedule", "unset")
		return
	}
	var when time.Time
	if x != nil {
		when = m.l.Now().Add(ticks(x))
	}
	if fr.timeouts[n-1].Reschedule(when) != nil {
		m.say("-", "reschedule", "RuntimeError")
		return
	}
	m.say("-", "reschedule", val(x))
}

func (o *object) release() {
	switch {
	case o.lock != nil:
		o.lock.Unlock()
	case o.cond != nil:
		o.cond.L.Unlock()
	default:
		o.sem.Release()
	}
}

func (o *object) overRelease() string {
	if o.sem != nil {
		return "ValueError"
	}
	return "RuntimeError"
}

func (o *object) locked() bool {
	switch {
	case o.lock != nil:
		return o.lock.Locked()
	case o.cond != nil:
		return o.cond.L.Locked()
	}
	return o.sem.Locked()
}

func (o *object) acquire(ctx context.Context) error {
	switch {
	case o.lock != nil:
		return o.lock.Lock(ctx)
	case o.cond != nil:
		return o.cond.L.Lock(ctx)
	}
	return o.sem.Acquire(ctx)
}

// one runs an op that may wait.
func (m *machine) one(ctx context.Context, op Op, fr *frame) (*signal, error) {
	if err := m.tick(); err != nil {
		return nil, err
	}
	name, a := op.Name, op.Args
	switch name {
	case "return":
		return &signal{num(a[0])}, nil
	case "repeat":
		ops := a[1].([]Op)
		if len(ops) == 0 {
			return nil, nil // rounds without an op are not bounded by the limit on ops
		}
		for range num(a[0]) {
			if sig, err := m.block(ctx, ops, fr); err != nil || sig != nil {
				return sig, err
			}
		}
		return nil, nil
	case "try":
		return m.try(ctx, a, fr)
	}
	run, ok := asyncOps[name]
	if !ok {
		return nil, fmt.Errorf("no op %q", name)
	}
	c := &asyncCall{m: m, a: a, fr: fr}
	words := []string{}
	show := func(args []any) {
		for _, x := range args {
			if _, list := x.([]any); list {
				continue
			}
			if _, ops := x.([]Op); ops {
				continue
			}
			words = append(words, val(x))
		}
	}
	switch name {
	case "await", "wait_for", "shield":
		c.it = m.item(a[0])
		words = append(words, c.it.show)
		show(a[1:])
		if c.it.unset() {
			m.say("-", append([]string{name}, words...)...)
			return nil, nil
		}
	case "gather", "wait", "as_completed":
		var shown string
		c.its, shown = m.items(a[0])
		words = append(words, shown)
		for _, x := range a[1:] {
			words = append(words, val(x))
		}
		if len(c.its) == 0 {
			m.say("-", append([]string{name}, words...)...)
			return nil, nil
		}
	default:
		show(a)
	}
	m.say(">", append([]string{name}, words...)...)
	r, sig, err := run(c, ctx)
	first := append([]string{name}, words[:min(1, len(words))]...)
	if err != nil {
		m.say("x", append(first, exname(err))...)
		return nil, err
	}
	if r != "" {
		first = append(first, r)
	}
	m.say("<", first...)
	return sig, nil
}

func (m *machine) try(ctx context.Context, a []any, fr *frame) (*signal, error) {
	sig, err := m.block(ctx, a[0].([]Op), fr)
	if err != nil {
		for _, h := range a[1].([]any) {
			h := h.([]any)
			if kind := h[0].(string); matches(kind, err) {
				m.say("-", "catch", kind, exname(err))
				s, herr := m.block(ctx, h[1].([]Op), fr)
				switch {
				case herr != nil:
					err = herr
				case s != nil:
					sig, err = s, nil
				case h[2].(string) == "swallow":
					err = nil
				}
				break
			}
		}
	}
	if final := a[2].([]Op); len(final) > 0 {
		m.say("-", "finally")
		if _, ferr := m.block(ctx, final, fr); ferr != nil {
			return nil, ferr
		}
	}
	return sig, err
}

// An asyncCall is an op that may wait: its arguments, with items resolved.
type asyncCall struct {
	m   *machine
	a   []any
	fr  *frame
	it  item
	its []item
}

type asyncOp func(c *asyncCall, ctx context.Context) (result string, sig *signal, err error)

func (c *asyncCall) obj() *object { return c.m.objs[c.a[0].(string)] }

var asyncOps map[string]asyncOp

func init() {
	// wait makes an op of a function without a result.
	wait := func(fn func(c *asyncCall, ctx context.Context) error) asyncOp {
		return func(c *asyncCall, ctx context.Context) (string, *signal, error) {
			return "", nil, fn(c, ctx)
		}
	}
	// value makes an op of a function with one.
	value := func(fn func(c *asyncCall, ctx context.Context) (any, error)) asyncOp {
		return func(c *asyncCall, ctx context.Context) (string, *signal, error) {
			v, err := fn(c, ctx)
			return val(v), nil, err
		}
	}
	asyncOps = map[string]asyncOp{
		"sleep": wait(func(c *asyncCall, ctx context.Context) error { return task.Sleep(ctx, ticks(c.a[0])) }),
		"await": value(func(c *asyncCall, ctx context.Context) (any, error) {
			if c.it.f == nil {
				return c.m.body(ctx, c.it.body)
			}
			return c.it.f.Await(ctx)
		}),
		"call": value(func(c *asyncCall, ctx context.Context) (any, error) { return c.m.body(ctx, c.a[0].(string)) }),
		"gather": value(func(c *asyncCall, ctx context.Context) (any, error) {
			// One at a time: an eager task may settle what was added before it.
			if !c.a[1].(bool) {
				g := future.NewGatherer[*future.Future[any]](c.m.l, len(c.its))
				c.m.futures(c.its, g.Add)
				return g.Future().Await(ctx)
			}
			g := future.NewGathererAll[*future.Future[any]](c.m.l, len(c.its))
			c.m.futures(c.its, g.Add)
			outs, err := g.Future().Await(ctx)
			vs := make([]any, len(outs))
			for i, o := range outs {
				if vs[i] = o.Value; o.Err != nil {
					vs[i] = o.Err
				}
			}
			return vs, err
		}),
		"wait":         (*asyncCall).wait,
		"wait_for":     value((*asyncCall).waitFor),
		"shield":       value((*asyncCall).shield),
		"as_completed": (*asyncCall).asCompleted,
		"timeout": func(c *asyncCall, ctx context.Context) (string, *signal, error) {
			var when time.Time
			if c.a[0] != nil {
				when = c.m.l.Now().Add(ticks(c.a[0]))
			}
			return c.scope(ctx, when)
		},
		"timeout_at": func(c *asyncCall, ctx context.Context) (string, *signal, error) {
			var when time.Time
			if c.a[0] != nil {
				when = time.Unix(0, 0).Add(ticks(c.a[0]))
			}
			return c.scope(ctx, when)
		},
		"group":     (*asyncCall).group,
		"ev_wait":   wait(func(c *asyncCall, ctx context.Context) error { return c.obj().event.Wait(ctx) }),
		"acquire":   wait(func(c *asyncCall, ctx context.Context) error { return c.obj().acquire(ctx) }),
		"with":      (*asyncCall).with,
		"cond_wait": wait(func(c *asyncCall, ctx context.Context) error { return condWait(c.obj(), ctx) }),
		"cond_wait_for": wait(func(c *asyncCall, ctx context.Context) error {
			for c.m.counters[c.a[1].(string)] < num(c.a[2]) {
				if err := condWait(c.obj(), ctx); err != nil {
					return err
				}
			}
			return nil
		}),
		"put":       wait(func(c *asyncCall, ctx context.Context) error { return c.obj().queue.Put(ctx, num(c.a[1])) }),
		"get":       value(func(c *asyncCall, ctx context.Context) (any, error) { return c.obj().queue.Get(ctx) }),
		"join":      wait(func(c *asyncCall, ctx context.Context) error { return c.obj().queue.Join(ctx) }),
		"bar_wait":  value(func(c *asyncCall, ctx context.Context) (any, error) { return c.obj().barrier.Wait(ctx) }),
		"bar_reset": wait(func(c *asyncCall, ctx context.Context) error { return c.obj().barrier.Reset(ctx) }),
		"bar_abort": wait(func(c *asyncCall, ctx context.Context) error { return c.obj().barrier.Abort(ctx) }),
	}
}

// errUnlocked stands for asyncio's RuntimeError; waiting without the lock panics.
var errUnlocked = errors.New("RuntimeError")

func condWait(o *object, ctx context.Context) error {
	if !o.cond.L.Locked() {
		return errUnlocked
	}
	return o.cond.Wait(ctx)
}

func (c *asyncCall) wait(ctx context.Context) (string, *signal, error) {
	its := distinct(c.its)
	when := map[string]task.When{
		"ALL": task.AllCompleted, "FIRST": task.FirstCompleted, "EXC": task.FirstException,
	}[c.a[1].(string)]
	ws := make([]future.Waiter, len(its))
	for i, it := range its {
		ws[i] = it.f
		if when == task.FirstException && it.f.Done() && !it.f.Canceled() {
			_ = it.f.Err() // CPython looks at some of these; the traces pin it to all
		}
	}
	d := time.Duration(-1)
	if c.a[2] != nil {
		d = max(ticks(c.a[2]), 0)
	}
	_, _, err := task.WaitTimeout(ctx, d, when, ws...)
	if err != nil {
		return "", nil, err
	}
	done, pending := "", ""
	for _, it := range its {
		if it.f.Done() {
			done += "," + it.show
		} else {
			pending += "," + it.show
		}
	}
	cut := func(s string) string { return s[min(1, len(s)):] }
	return "done=[" + cut(done) + "] pending=[" + cut(pending) + "]", nil, nil
}

func (c *asyncCall) waitFor(ctx context.Context) (v any, err error) {
	m := c.m
	if c.a[1] == nil {
		if c.it.f == nil {
			return m.body(ctx, c.it.body)
		}
		return c.it.f.Await(ctx)
	}
	d := ticks(c.a[1])
	if c.it.f == nil && d > 0 {
		err = task.Timeout(ctx, d, func(ctx context.Context, _ *task.TimeoutScope) (err error) {
			v, err = m.body(ctx, c.it.body)
			return err
		})
		return v, err
	}
	f := c.it.f
	if f == nil {
		f = m.start(nil, c.it.body).Future
	}
	return task.WaitFor(ctx, d, f)
}

func (c *asyncCall) shield(ctx context.Context) (any, error) {
	f := c.it.f
	if f == nil {
		f = c.m.start(nil, c.it.body).Future
	}
	c.m.shielded[future.CellOf(f)] = true
	return future.Shield(f).Await(ctx)
}

func (c *asyncCall) asCompleted(ctx context.Context) (string, *signal, error) {
	its := distinct(c.its)
	fs := make([]*future.Future[any], len(its))
	for i, it := range its {
		fs[i] = it.f
	}
	d := time.Duration(-1)
	if c.a[1] != nil {
		d = max(ticks(c.a[1]), 0)
	}
	n, seen := 0, 0
	early := 0 // done already: asyncio is only asked about the others
	for _, f := range fs {
		if f.Done() {
			early++
		}
	}
	finished := false
	end := c.m.l.Now().Add(d)
	defer func() {
		if !finished && d >= 0 && seen > early {
			c.abandoned(fs, end)
		}
	}()
	for f, err := range task.AsCompletedTimeout(ctx, d, fs...) {
		seen++
		if err != nil {
			return "", nil, err
		}
		v, err := f.Result()
		if err != nil {
			var e *E
			if _, ok := err.(*task.GroupError); ok || !errors.As(err, &e) {
				return "", nil, err
			}
			v = e
		}
		c.m.say("-", "completed", val(v))
		n++
	}
	finished = true
	return strconv.Itoa(n), nil, nil
}

// abandoned does what asyncio does when a loop over as_completed is left early:
// its timer goes on until it fires or all is done, and with it the time at which
// the program is idle. eddy stops the timer.
func (c *asyncCall) abandoned(fs []*future.Future[any], end time.Time) {
	left := 0
	var h *loop.Handle
	for _, f := range fs {
		if !f.Done() {
			left++
			f.OnDone(func() {
				if left--; left == 0 && h != nil {
					h.Cancel()
				}
			})
		}
	}
	if left > 0 && end.After(c.m.l.Now()) {
		h = c.m.l.CallAt(end, func() {})
	}
}

func (c *asyncCall) scope(ctx context.Context, when time.Time) (_ string, sig *signal, err error) {
	var s *task.TimeoutScope
	err = task.TimeoutAt(ctx, when, func(ctx context.Context, scope *task.TimeoutScope) (err error) {
		s = scope
		c.fr.timeouts = append(c.fr.timeouts, s)
		sig, err = c.m.block(ctx, c.a[1].([]Op), c.fr)
		return err
	})
	c.fr.timeouts = c.fr.timeouts[:len(c.fr.timeouts)-1]
	c.m.say("-", "expired", val(s.Expired()))
	return "", sig, err
}

func (c *asyncCall) group(ctx context.Context) (_ string, sig *signal, err error) {
	err = task.Scope(ctx, func(ctx context.Context, g *task.Group) (err error) {
		c.fr.groups = append(c.fr.groups, g)
		sig, err = c.m.block(ctx, c.a[0].([]Op), c.fr)
		return err
	})
	c.fr.groups = c.fr.groups[:len(c.fr.groups)-1]
	return "", sig, err
}

func (c *asyncCall) with(ctx context.Context) (string, *signal, error) {
	name := c.a[0].(string)
	o := c.obj()
	if err := o.acquire(ctx); err != nil {
		return "", nil, err
	}
	c.m.say("-", "enter", name)
	sig, err := c.m.block(ctx, c.a[1].([]Op), c.fr)
	failed := func() (failed bool) {
		defer func() { failed = recover() != nil }()
		o.release()
		return false
	}()
	if failed {
		c.m.say("-", "exit", name, o.overRelease())
	}
	return "", sig, err
}
