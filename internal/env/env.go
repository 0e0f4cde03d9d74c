// Package env holds what a piece of code on a loop inherits from the code that
// arranged for it: its loop, the values of a context, the scope that bounds it
// and the task-local variables. It is the one word that a task, a handle and a
// done-callback capture.
package env

import "context"

// An Env is immutable: what looks like a change is a new Env. A nil Env is not
// valid; a loop makes the first one.
type Env struct {
	// Loop is the *loop.Loop; this package stands below it.
	Loop any
	// Values answers the Value of contexts made from this Env.
	Values context.Context
	// Scope is nil, or a context whose end ends every wait made under this Env.
	Scope context.Context
	// Vars are the task-local variables that were set, each key once.
	Vars []Var
	// Site is where the task was started that this Env was made for, in debug mode.
	Site string
}

// A Var is the value of one task-local variable.
type Var struct{ Key, Value any }

// Lookup returns the value of a task-local variable.
func (e *Env) Lookup(key any) (any, bool) {
	for i := range e.Vars {
		if e.Vars[i].Key == key {
			return e.Vars[i].Value, true
		}
	}
	return nil, false
}

// With returns an Env in which the variable has a value.
func (e *Env) With(key, value any) *Env {
	n := *e
	n.Vars = append(make([]Var, 0, len(e.Vars)+1), e.Vars...)
	for i := range n.Vars {
		if n.Vars[i].Key == key {
			n.Vars[i].Value = value
			return &n
		}
	}
	n.Vars = append(n.Vars, Var{key, value})
	return &n
}

// Without returns an Env in which the variable has no value.
func (e *Env) Without(key any) *Env {
	n := *e
	n.Vars = nil
	for _, v := range e.Vars {
		if v.Key != key {
			n.Vars = append(n.Vars, v)
		}
	}
	return &n
}

// A Holder is the context that running code has from its loop: a task's, or a
// callback's. Its Env may be exchanged, on the loop.
type Holder interface {
	context.Context
	Env() *Env
	SetEnv(*Env)
}

type key struct{ name string }

// Keys for context.Value. A Holder answers them; anything else passes them on.
var (
	LoopKey   any = &key{"loop"}   // *loop.Loop
	HolderKey any = &key{"holder"} // Holder
	TaskKey   any = &key{"task"}   // *park.Task
)

// VarsKey finds, in a context without a Holder, the *Env whose task-local variables
// code elsewhere sees: a job's, on another goroutine.
var VarsKey any = &key{"variables"}

// Vars returns a context with e's task-local variables, as they are now, for code
// elsewhere. If there are none it returns ctx itself.
func Vars(ctx context.Context, e *Env) context.Context {
	if len(e.Vars) == 0 {
		return ctx
	}
	return &varsContext{ctx, e}
}

type varsContext struct {
	context.Context
	env *Env
}

func (c *varsContext) Value(key any) any {
	if key == VarsKey {
		return c.env
	}
	return c.Context.Value(key)
}

// Inherit returns the Env for what is started with ctx, a context that carries h:
// h's own Env if ctx is h, else one that remembers ctx for its values, and for
// its end if it can end before h does.
func Inherit(ctx context.Context, h Holder) *Env {
	e := h.Env()
	if ctx == context.Context(h) {
		return e
	}
	n := *e
	n.Values = ctx
	if s := Scope(ctx, h); s != nil {
		n.Scope = s
	}
	return &n
}

// A LoopScope is a scope of this module: its end is known on the loop at once.
type LoopScope interface {
	context.Context
	// Reason returns why it has ended.
	Reason() error
}

// ScopeKey finds the innermost LoopScope of a context.
var ScopeKey any = &key{"scope"}

// Scope returns the scope that ctx is or was derived from, if it can end before
// h, a context that it was derived from, and nil if it cannot.
func Scope(ctx context.Context, h Holder) context.Context {
	if s, ok := ctx.(LoopScope); ok {
		return s
	}
	d := ctx.Done()
	if d == nil || d == h.Done() {
		return nil
	}
	if s, ok := ctx.Value(ScopeKey).(LoopScope); ok && s.Done() == d {
		return s
	}
	return ctx
}
