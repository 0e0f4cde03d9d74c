package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A Program is a program of the conformance language. Its String is JSON, which
// Parse reads back.
type Program struct {
	ID     json.RawMessage // nil if it has none
	Mode   string          // "idle" or "run"
	Eager  bool
	Objs   []Obj  // in the order of the file
	Bodies []Body // likewise; the first is main
}

// An Obj is an object that the bodies share.
type Obj struct {
	Name    string  `json:"-"`
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

// An Op is one operation: its name and its arguments, as JSON has them. Numbers
// are int, and blocks are []Op.
type Op struct {
	Name string
	Args []any
}

// Parse reads a program, and checks it: see [Program.Validate].
func Parse(data []byte) (*Program, error) {
	if !json.Valid(data) {
		return nil, json.Unmarshal(data, new(any)) // says where and why
	}
	p := &Program{Mode: "idle"}
	err := members(data, func(name string, v json.RawMessage) (err error) {
		switch name {
		case "id":
			p.ID = v
		case "mode":
			err = decode(v, &p.Mode)
		case "eager":
			err = decode(v, &p.Eager)
		case "objs":
			p.Objs, err = parseObjs(v)
		case "bodies":
			p.Bodies, err = parseBodies(v)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, p.Validate()
}

func parseObjs(data json.RawMessage) (objs []Obj, err error) {
	err = members(data, func(name string, v json.RawMessage) error {
		o := Obj{Name: name}
		err := members(v, func(field string, v json.RawMessage) error {
			switch field {
			case "kind":
				return decode(v, &o.Kind)
			case "value":
				o.Value = new(int)
				return decode(v, o.Value)
			case "bounded":
				return decode(v, &o.Bounded)
			case "maxsize":
				return decode(v, &o.Maxsize)
			case "parties":
				o.Parties = new(int)
				return decode(v, o.Parties)
			case "lock":
				if o.Lock = nil; string(v) != "null" {
					o.Lock = new(string)
					return decode(v, o.Lock)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		objs = append(objs, o)
		return nil
	})
	return objs, err
}

func parseBodies(data json.RawMessage) (bodies []Body, err error) {
	err = members(data, func(name string, v json.RawMessage) error {
		var x any
		d := json.NewDecoder(bytes.NewReader(v))
		d.UseNumber() // 1.0 and 1 are not the same to the language
		if err := d.Decode(&x); err != nil {
			return err
		}
		ops, err := block(x)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		bodies = append(bodies, Body{name, ops})
		return nil
	})
	return bodies, err
}

// decode is json.Unmarshal to which null is no value of any type.
func decode(data json.RawMessage, v any) error {
	if string(data) == "null" {
		return errors.New("null")
	}
	return json.Unmarshal(data, v)
}

// members calls fn for each member of a JSON object, in order. Of a name that is
// there twice it takes the first place and the last value, as Python does.
func members(obj json.RawMessage, fn func(name string, v json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(obj))
	if t, err := d.Token(); err != nil {
		return err
	} else if t != json.Delim('{') {
		return errors.New("not an object")
	}
	var names []string
	values := make(map[string]json.RawMessage)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return err
		}
		name := t.(string)
		if _, twice := values[name]; !twice {
			names = append(names, name)
		}
		values[name] = v
	}
	for _, name := range names {
		if err := fn(name, values[name]); err != nil {
			return err
		}
	}
	return nil
}

// block makes ops of a JSON list. It looks only at what it needs to find the
// blocks in it; Validate looks at the rest.
func block(x any) ([]Op, error) {
	list, ok := x.([]any)
	if !ok {
		return nil, fmt.Errorf("%v is not a block", x)
	}
	ops := make([]Op, 0, len(list))
	for _, x := range list {
		l, ok := x.([]any)
		if !ok || len(l) == 0 {
			return nil, fmt.Errorf("%v is not an op", x)
		}
		name, ok := l[0].(string)
		if !ok {
			return nil, fmt.Errorf("%v is not an op", x)
		}
		op := Op{Name: name, Args: l[1:]}
		f, ok := forms[name]
		if !ok {
			return nil, fmt.Errorf("no op %q", name)
		}
		if len(op.Args) != len(f.args) {
			return nil, fmt.Errorf("%s takes %d arguments, not %d", name, len(f.args), len(op.Args))
		}
		for i, kind := range f.args {
			var err error
			switch kind {
			case "B", "F":
				op.Args[i], err = block(op.Args[i])
			case "H":
				err = handlers(op.Args[i])
			default:
				op.Args[i], err = ints(op.Args[i])
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// handlers makes the blocks of the handlers of a try, in place.
func handlers(x any) error {
	list, ok := x.([]any)
	if !ok {
		return errors.New("the handlers are no list")
	}
	for _, x := range list {
		h, ok := x.([]any)
		if !ok || len(h) != 3 {
			return fmt.Errorf("%v is not a handler", x)
		}
		b, err := block(h[1])
		if err != nil {
			return err
		}
		h[1] = b
	}
	return nil
}

func ints(x any) (any, error) {
	if n, ok := x.(json.Number); ok {
		return strconv.Atoi(n.String())
	}
	return x, nil
}

// String returns the program as JSON, on one line.
func (p *Program) String() string {
	b, err := p.MarshalJSON()
	if err != nil {
		return fmt.Sprintf("bad program: %v", err)
	}
	return string(b)
}

// MarshalJSON implements json.Marshaler.
func (p *Program) MarshalJSON() ([]byte, error) {
	w := &writer{}
	w.json = json.NewEncoder(&w.buf)
	w.json.SetEscapeHTML(false)
	w.text("{")
	if p.ID != nil {
		w.text(`"id":` + string(p.ID) + ",")
	}
	w.text(`"mode":`)
	w.value(p.Mode)
	if p.Eager {
		w.text(`,"eager":true`)
	}
	w.text(`,"objs":{`)
	for i, o := range p.Objs {
		w.comma(i)
		w.value(o.Name)
		w.text(":")
		w.value(o)
	}
	w.text(`},"bodies":{`)
	for i, b := range p.Bodies {
		w.comma(i)
		w.value(b.Name)
		w.text(":")
		w.value(b.Ops)
	}
	w.text("}}")
	return w.buf.Bytes(), w.err
}

// A writer writes JSON in the order it is told to.
type writer struct {
	buf  bytes.Buffer
	json *json.Encoder
	err  error
}

func (w *writer) text(s string) { w.buf.WriteString(s) }

func (w *writer) comma(i int) {
	if i > 0 {
		w.text(",")
	}
}

func (w *writer) value(v any) {
	switch v := v.(type) {
	case []Op:
		w.text("[")
		for i, op := range v {
			w.comma(i)
			w.value(append([]any{op.Name}, op.Args...))
		}
		w.text("]")
	case []any:
		w.text("[")
		for i, x := range v {
			w.comma(i)
			w.value(x)
		}
		w.text("]")
	case int:
		w.text(strconv.Itoa(v))
	default:
		if err := w.json.Encode(v); err != nil {
			w.err = errors.Join(w.err, err)
			return
		}
		w.buf.Truncate(w.buf.Len() - 1) // Encode ends with a newline
	}
}

// clone returns a copy that shares nothing that Shrink changes.
func (p *Program) clone() *Program {
	q := *p
	q.Objs = slices.Clone(p.Objs)
	q.Bodies = slices.Clone(p.Bodies)
	for i := range q.Bodies {
		q.Bodies[i].Ops = cloneOps(q.Bodies[i].Ops)
	}
	return &q
}

func cloneOps(ops []Op) []Op {
	out := make([]Op, len(ops))
	for i, op := range ops {
		out[i] = Op{op.Name, cloneArgs(op.Args)}
	}
	return out
}

func cloneArgs(args []any) []any {
	out := make([]any, len(args))
	for i, x := range args {
		switch x := x.(type) {
		case []Op:
			out[i] = cloneOps(x)
		case []any:
			out[i] = cloneArgs(x)
		default:
			out[i] = x
		}
	}
	return out
}

// Label returns the program's id as CPython prints it: a string without quotes,
// None, True. A program without an id has the number n, of its line.
func (p *Program) Label(n int) (string, error) {
	if p.ID == nil {
		return strconv.Itoa(n), nil
	}
	var id any
	d := json.NewDecoder(bytes.NewReader(p.ID))
	d.UseNumber()
	if err := d.Decode(&id); err != nil {
		return "", err
	}
	switch id := id.(type) {
	case string:
		return id, nil
	case nil:
		return "None", nil
	case bool:
		return map[bool]string{true: "True", false: "False"}[id], nil
	case json.Number:
		if !strings.ContainsAny(id.String(), ".eE") {
			if id == "-0" {
				return "0", nil
			}
			return id.String(), nil
		}
	}
	return "", fmt.Errorf("the id %s is neither a string nor a whole number", p.ID)
}

// ReadPrograms calls fn for each program of a file of one program a line, with the
// number of the line, from 0. It stops at the first error.
func ReadPrograms(r io.Reader, fn func(n int, p *Program) error) error {
	return lines(r, func(n int, line string) error {
		if strings.TrimSpace(line) == "" {
			return nil
		}
		p, err := Parse([]byte(line))
		if err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		return fn(n, p)
	})
}
