package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// A Program is a program of the conformance language.
type Program struct {
	ID     json.RawMessage
	Mode   string // "idle" or "run"
	Eager  bool
	Objs   []Obj  // in the order of the file
	Bodies []Body // likewise; the first is main
}

// An Obj is an object that the bodies share.
type Obj struct {
	Name    string
	Kind    string  `json:"kind"`
	Value   *int    `json:"value,omitempty"`
	Bounded bool    `json:"bounded,omitempty"`
	Lock    *string `json:"lock,omitempty"`
	Maxsize int     `json:"maxsize,omitempty"`
	Parties *int    `json:"parties,omitempty"`
}

// A Body is a named block.
type Body struct {
	Name string
	Ops  []Op
}

// An Op is one operation: its name and its arguments, as JSON has them. Blocks in
// the arguments are []Op.
type Op struct {
	Name string
	Args []any
}

// Parse reads a program.
func Parse(data []byte) (*Program, error) {
	var raw struct {
		ID     json.RawMessage `json:"id"`
		Mode   string          `json:"mode"`
		Eager  bool            `json:"eager"`
		Objs   json.RawMessage `json:"objs"`
		Bodies json.RawMessage `json:"bodies"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	p := &Program{ID: raw.ID, Mode: raw.Mode, Eager: raw.Eager}
	if p.Mode == "" {
		p.Mode = "idle"
	}
	err := ordered(raw.Objs, func(name string, v json.RawMessage) error {
		o := Obj{}
		if err := json.Unmarshal(v, &o); err != nil {
			return err
		}
		o.Name = name
		p.Objs = append(p.Objs, o)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = ordered(raw.Bodies, func(name string, v json.RawMessage) error {
		var list []any
		if err := json.Unmarshal(v, &list); err != nil {
			return err
		}
		ops, err := block(list)
		if err != nil {
			return fmt.Errorf("body %s: %w", name, err)
		}
		p.Bodies = append(p.Bodies, Body{name, ops})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(p.Bodies) == 0 || p.Bodies[0].Name != "main" {
		return nil, fmt.Errorf(`the first body must be "main"`)
	}
	return p, nil
}

// ordered calls fn for each member of a JSON object, in order.
func ordered(obj json.RawMessage, fn func(name string, v json.RawMessage) error) error {
	if len(obj) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(obj))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return err
		}
		if err := fn(name.(string), v); err != nil {
			return err
		}
	}
	return nil
}

// blockArgs tells which arguments of an op are blocks.
var blockArgs = map[string][]int{
	"call_soon": {1}, "call_later": {2}, "call_at": {2}, "on_done": {2},
	"timeout": {1}, "timeout_at": {1}, "group": {0}, "with": {1}, "repeat": {1},
	"try": {0, 2},
}

// block makes ops of a JSON list.
func block(list []any) ([]Op, error) {
	ops := make([]Op, 0, len(list))
	for _, x := range list {
		l, ok := x.([]any)
		if !ok || len(l) == 0 {
			return nil, fmt.Errorf("bad op %v", x)
		}
		name, ok := l[0].(string)
		if !ok {
			return nil, fmt.Errorf("bad op %v", x)
		}
		op := Op{Name: name, Args: l[1:]}
		for _, i := range blockArgs[name] {
			b, err := asBlock(op.Args, i)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			op.Args[i] = b
		}
		if name == "try" {
			hs, ok := op.Args[1].([]any)
			if !ok {
				return nil, fmt.Errorf("try: bad handlers")
			}
			for _, h := range hs {
				h, ok := h.([]any)
				if !ok || len(h) != 3 {
					return nil, fmt.Errorf("try: bad handler")
				}
				b, err := asBlock(h, 1)
				if err != nil {
					return nil, err
				}
				h[1] = b
			}
		}
		ops = append(ops, op)
	}
	return ops, nil
}

func asBlock(args []any, i int) ([]Op, error) {
	if i >= len(args) {
		return nil, fmt.Errorf("too few arguments")
	}
	l, ok := args[i].([]any)
	if !ok {
		return nil, fmt.Errorf("argument %d is no block", i)
	}
	return block(l)
}
