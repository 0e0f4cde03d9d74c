package task

import (
	"context"

	"github.com/eddyloop/eddy/internal/env"
)

// A Var is a task-local variable. A task starts with the values that the code had
// that started it, and what it sets after that is its own; a callback runs with
// the values of the moment at which it was arranged. Make it with [NewVar], once,
// and keep it in a package variable. (asyncio: contextvars.ContextVar)
type Var[T any] struct {
	name string
	def  T
}

// NewVar returns a new variable; name is for dumps. Its default is the zero T.
func NewVar[T any](name string) *Var[T] { return &Var[T]{name: name} }

// NewVarDefault is [NewVar] with a default.
func NewVarDefault[T any](name string, def T) *Var[T] { return &Var[T]{name: name, def: def} }

// Name returns the name.
func (v *Var[T]) Name() string { return v.name }

// Get returns the value that the code of ctx has for the variable, or the default.
// ctx must come from a task's body or a loop's Context, or be that of a function of
// executor.Do, which sees what its caller saw. It may be called from any goroutine.
func (v *Var[T]) Get(ctx context.Context) T {
	val, ok := v.Lookup(ctx)
	if !ok {
		return v.def
	}
	return val
}

// Lookup returns the value and whether one was set.
func (v *Var[T]) Lookup(ctx context.Context) (T, bool) {
	if val, ok := envOf(ctx).Lookup(v); ok {
		v, _ := val.(T) // a nil interface is one, too
		return v, true
	}
	var none T
	return none, false
}

// envOf returns the Env of running code, or what code elsewhere sees of one.
func envOf(ctx context.Context) *env.Env {
	if t, ok := ctx.(*core); ok {
		return t.Env()
	}
	if h, ok := ctx.Value(env.HolderKey).(env.Holder); ok {
		return h.Env()
	}
	if e, ok := ctx.Value(env.VarsKey).(*env.Env); ok {
		return e
	}
	return holder(ctx).Env() // which panics
}

// Set gives the variable a value for the task, or the callback, of ctx, and for
// what it starts from now on. Reset with the token restores what was before. It
// must be called on the loop.
func (v *Var[T]) Set(ctx context.Context, val T) Token[T] {
	h := holder(ctx)
	old, had := v.Lookup(ctx)
	h.SetEnv(h.Env().With(v, val))
	return Token[T]{v: v, h: h, old: old, had: had}
}

// A Token remembers what a Var was before Set.
type Token[T any] struct {
	v   *Var[T]
	h   env.Holder
	old T
	had bool
}

// Reset restores what the variable was before the Set that returned tok. It
// panics if tok is of another variable. It must be called on the loop.
func (v *Var[T]) Reset(tok Token[T]) {
	if tok.v != v {
		panic("task: Reset with the token of another Var")
	}
	if tok.had {
		tok.h.SetEnv(tok.h.Env().With(v, tok.old))
	} else {
		tok.h.SetEnv(tok.h.Env().Without(v))
	}
}
