// Package frame cuts a stream of bytes, such as a pipe between two processes,
// into messages, and notices when somebody else has written to it.
//
// A frame is a header of [HeaderLen] bytes and a payload:
//
//	0  2  magic: 0xED 0xD1
//	2  1  version
//	3  1  kind
//	4  4  length of the payload, big-endian
//	8  8  id, big-endian
//	16 4  CRC-32C of the 16 bytes before and of the payload, big-endian
//
// The magic finds garbage at once, the checksum finds what happens to look like a
// frame. The length is believed only piece by piece: a header that lies costs no
// more memory than bytes have arrived, and one piece.
package frame

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

const (
	// HeaderLen is the length of a header in bytes.
	HeaderLen = 20
	// Version is that of the header, and of what the frames say.
	Version = 1
	// MaxPayload is the longest payload, in bytes.
	MaxPayload = math.MaxInt32

	magic0, magic1 = 0xED, 0xD1

	piece = 1 << 20 // read ahead of what has arrived
)

// ErrGarbage is the error of a stream that holds anything but frames.
var ErrGarbage = errors.New("frame: garbage")

// A Frame is one message.
type Frame struct {
	Kind    byte
	ID      uint64
	Payload []byte
}

// table is that of CRC-32C, for which processors have an instruction.
var table = crc32.MakeTable(crc32.Castagnoli)

// Begin returns buf emptied, with room for a header, for a payload to be appended.
func Begin(buf []byte) []byte {
	return append(buf[:0], make([]byte, HeaderLen)...)
}

// End fills in the header of what Begin has begun. It panics if the payload is
// longer than [MaxPayload].
func End(buf []byte, kind byte, id uint64) {
	n := len(buf) - HeaderLen
	if n > MaxPayload {
		panic("frame: the payload is too long for a header")
	}
	h := buf[:HeaderLen]
	h[0], h[1], h[2], h[3] = magic0, magic1, Version, kind
	binary.BigEndian.PutUint32(h[4:], uint32(n))
	binary.BigEndian.PutUint64(h[8:], id)
	binary.BigEndian.PutUint32(h[16:], checksum(h, buf[HeaderLen:]))
}

// Append appends a whole frame to dst.
func Append(dst []byte, f Frame) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, HeaderLen)...)
	dst = append(dst, f.Payload...)
	End(dst[at:], f.Kind, f.ID)
	return dst
}

func checksum(header, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(header[:16], table), table, payload)
}

// A Reader reads frames from a stream. It must be used by one goroutine at a time.
type Reader struct {
	r     *bufio.Reader
	limit int
}

// NewReader returns a reader that refuses payloads longer than limit bytes.
func NewReader(r io.Reader, limit int) *Reader {
	return &Reader{bufio.NewReaderSize(r, 16<<10), limit}
}

// Next returns the next frame. Its payload is the caller's. The error is io.EOF at
// the end of the stream, io.ErrUnexpectedEOF if that is within a frame, one that is
// [ErrGarbage] if what was read is no frame, or that of reading. After an error
// there is no next frame.
func (r *Reader) Next() (Frame, error) {
	var h [HeaderLen]byte
	if _, err := io.ReadFull(r.r, h[:]); err != nil {
		return Frame{}, err
	}
	n, err := r.length(h[:])
	if err != nil {
		return Frame{}, err
	}
	payload, err := r.payload(n)
	if err != nil {
		return Frame{}, err
	}
	if checksum(h[:], payload) != binary.BigEndian.Uint32(h[16:]) {
		return Frame{}, fmt.Errorf("%w: wrong checksum", ErrGarbage)
	}
	return Frame{h[3], binary.BigEndian.Uint64(h[8:]), payload}, nil
}

// length checks a header, and returns the length that it claims.
func (r *Reader) length(h []byte) (int, error) {
	if h[0] != magic0 || h[1] != magic1 {
		return 0, fmt.Errorf("%w: %q", ErrGarbage, h)
	}
	if h[2] != Version {
		return 0, fmt.Errorf("%w: version %d, not %d", ErrGarbage, h[2], Version)
	}
	n := binary.BigEndian.Uint32(h[4:])
	if int64(n) > int64(r.limit) {
		return 0, fmt.Errorf("%w: a payload of %d bytes, over the limit of %d", ErrGarbage, n, r.limit)
	}
	return int(n), nil
}

// payload reads n bytes.
func (r *Reader) payload(n int) ([]byte, error) {
	var p []byte
	for len(p) < n {
		at := len(p)
		more := min(n-at, max(piece, at)) // as much again as has arrived
		if cap(p)-at < more {
			p = append(make([]byte, 0, at+more), p...)
		}
		p = p[:at+more]
		if _, err := io.ReadFull(r.r, p[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return p, nil
}
