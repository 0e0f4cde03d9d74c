package executor

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"io"
	"reflect"

	"github.com/eddyloop/eddy/internal/frame"
)

// A Codec turns arguments and results into bytes and back. Each value stands by
// itself: nothing is remembered from one to the next, because the next may go to
// another process. Its methods may be called by several goroutines at a time. A
// codec of one's own must be registered: see [RegisterCodec].
type Codec interface {
	// Name is what workers find the codec by.
	Name() string
	// Encode writes v.
	Encode(w io.Writer, v any) error
	// Decode reads what Encode has written into v, a pointer. It must not keep data.
	Decode(data []byte, v any) error
}

// Gob is package encoding/gob, the default. It wants exported fields, and
// gob.Register for what is in interfaces. An argument or result that is nothing but an
// int, a string or a []byte is written as it is, because to begin a stream of gob takes
// a few microseconds each time.
func Gob() Codec { return gobCodec{} }

// JSON is package encoding/json.
func JSON() Codec { return jsonCodec{} }

type gobCodec struct{}

func (gobCodec) Name() string { return "gob" }

func (gobCodec) Encode(w io.Writer, v any) error {
	var err error
	switch v := v.(type) {
	case int:
		_, err = w.Write(binary.AppendVarint(nil, int64(v)))
	case string:
		_, err = io.WriteString(w, v)
	case []byte:
		_, err = w.Write(v)
	default:
		err = gob.NewEncoder(w).Encode(v)
	}
	return err
}

func (gobCodec) Decode(data []byte, v any) error {
	switch v := v.(type) {
	case *int:
		n, size := binary.Varint(data)
		if size <= 0 || size != len(data) || int64(int(n)) != n {
			return fmt.Errorf("executor: %d bytes are no int", len(data))
		}
		*v = int(n)
	case *string:
		*v = string(data)
	case *[]byte:
		*v = bytes.Clone(data)
	default:
		return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
	}
	return nil
}

type jsonCodec struct{}

func (jsonCodec) Name() string                    { return "json" }
func (jsonCodec) Encode(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
func (jsonCodec) Decode(data []byte, v any) error { return json.Unmarshal(data, v) }

// A message is a frame being written: up to limit bytes behind the first base.
type message struct {
	buf   []byte
	base  int
	limit int
	full  bool
}

// newMessage returns an empty frame with room for limit bytes.
func newMessage(buf []byte, limit int) message {
	return message{buf: frame.Begin(buf), base: frame.HeaderLen, limit: limit}
}

// Write appends p, or fails with ErrTooLarge.
func (m *message) Write(p []byte) (int, error) {
	if m.full || len(m.buf)-m.base+len(p) > m.limit {
		m.full = true
		return 0, ErrTooLarge
	}
	m.buf = append(m.buf, p...)
	return len(p), nil
}

// encode appends v by the codec c. Nothing is written for a type without content,
// which gob refuses.
func encode[T any](m *message, c Codec, v *T) error {
	if isEmpty[T]() {
		return nil
	}
	at := len(m.buf)
	err := c.Encode(m, *v)
	switch {
	case m.full:
		err = fmt.Errorf("%w of %d bytes", ErrTooLarge, m.limit)
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrEncode, err)
	}
	if err != nil {
		m.buf, m.full = m.buf[:at], false
	}
	return err
}

// decode is the reverse of encode.
func decode[T any](c Codec, data []byte, v *T) error {
	if isEmpty[T]() {
		return nil
	}
	if err := c.Decode(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return nil
}

// encodeSlice is encode for values of which the other side knows the number.
func encodeSlice[T any](m *message, c Codec, v []T) error {
	if len(v) == 0 || isEmpty[T]() {
		return nil
	}
	return encode(m, c, &v)
}

// decodeSlice is the reverse of encodeSlice, for n values.
func decodeSlice[T any](c Codec, data []byte, n int) ([]T, error) {
	if n == 0 || isEmpty[T]() {
		return make([]T, n), nil
	}
	var v []T
	if err := decode(c, data, &v); err != nil {
		return nil, err
	}
	if len(v) != n {
		return nil, fmt.Errorf("%w: %d values in place of %d", ErrDecode, len(v), n)
	}
	return v, nil
}

// isEmpty reports whether values of type T have nothing to tell.
func isEmpty[T any]() bool { return reflect.TypeFor[T]().Size() == 0 }
