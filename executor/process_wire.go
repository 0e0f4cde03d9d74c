package executor

import (
	"encoding/binary"
	"errors"
	"time"
)

// The frames between a pool and a worker, by kind; package internal/frame has their
// outside. The first to the worker is a setup and the first from it a hello. Calls
// are answered in the order in which they were sent, each before the next is begun:
// so the oldest that has no answer is the only one that can have begun. A call is
// answered by a result, a failure or notBegun.
const (
	// To the worker.
	frameSetup  byte = iota + 1 // setup, in JSON
	frameCall                   // callHeader, then the argument
	frameCancel                 // end the ctx of call id; payload: why
	frameRevoke                 // give call id back, if it has not begun
	framePing

	// From the worker.
	frameHello    byte = iota + 100 // hello, in JSON
	frameResult                     // payload: the result
	frameFailure                    // failure, in gob
	frameNotBegun                   // call id was canceled or given back before it began
	framePong
)

// The descriptors of a worker. Its standard ones are those of the pool's process, so
// that what functions print harms nobody.
const (
	workerIn  = 3
	workerOut = 4
)

// workerEnv is the variable that makes a process a worker.
const workerEnv = "EDDY_EXECUTOR_WORKER"

// frameSlack is what frames may be longer than the values in them: names, texts,
// stacks.
const frameSlack = 4 * maxText

// A setup tells a worker what it is.
type setup struct {
	Codec      string
	MaxRequest int
	MaxResult  int
	Init       string // name of a function; "": none
	InitArg    []byte
}

// A hello tells the pool how that went.
type hello struct {
	Fault string // nothing can be done with this worker; "": none
	Init  []byte // failure of Init, in gob; nil: none
}

// A callHeader comes before an argument.
type callHeader struct {
	timeout time.Duration
	count   int // of values; 0: one, not in a slice
	name    string
}

var errCallHeader = errors.New("executor: malformed call")

func (h *callHeader) append(buf []byte) []byte {
	buf = binary.AppendUvarint(buf, uint64(h.timeout))
	buf = binary.AppendUvarint(buf, uint64(h.count))
	buf = binary.AppendUvarint(buf, uint64(len(h.name)))
	return append(buf, h.name...)
}

// parse reads a header and returns what follows it.
func (h *callHeader) parse(data []byte) (rest []byte, err error) {
	var v [3]uint64
	for i := range v {
		n := 0
		if v[i], n = binary.Uvarint(data); n <= 0 {
			return nil, errCallHeader
		}
		data = data[n:]
	}
	if v[2] > uint64(len(data)) {
		return nil, errCallHeader
	}
	h.timeout, h.count, h.name = time.Duration(v[0]), int(v[1]), string(data[:v[2]])
	return data[v[2]:], nil
}
