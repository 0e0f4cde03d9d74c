package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/frame"
)

// hooked says that the program has called WorkerMain. Until then no pool may be made:
// a worker of it would be the whole program once more, which would make a pool.
var hooked atomic.Bool

// WorkerMain makes this process a worker, if a [ProcessPool] has started it to be one,
// and then does not return. Otherwise it does nothing. A program with a ProcessPool
// must call it first thing in main, before it parses flags or prints anything; a test
// of one in TestMain.
func WorkerMain() {
	hooked.Store(true)
	if os.Getenv(workerEnv) == "" {
		return
	}
	_ = os.Unsetenv(workerEnv) // processes that functions start are no workers
	fmt.Fprintln(os.Stderr, "executor: worker process:", serveProcess())
	os.Exit(1)
}

// A server is this process as a worker.
type server struct {
	out   *os.File
	setup setup
	codec Codec

	wmu sync.Mutex // held while a frame is written

	mu      sync.Mutex
	queue   []*request // oldest first
	current *request   // nil: none
	more    chan struct{}
}

// A request is a call that came.
type request struct {
	id     uint64
	header callHeader
	arg    []byte
	cancel context.CancelCauseFunc // of the ctx of the function
	ctx    context.Context
}

// serveProcess serves until the pool's end of the pipe is closed, and then ends the
// process, whatever that is doing: either it has nothing to do, or the pool's process
// has gone. It returns only why it cannot serve.
func serveProcess() error {
	in, err := channel(workerIn, "requests")
	if err != nil {
		return err
	}
	out, err := channel(workerOut, "answers")
	if err != nil {
		return err
	}
	frames := frame.NewReader(in, frame.MaxPayload)
	s := &server{out: out, more: make(chan struct{}, 1)}
	f, err := frames.Next()
	if err == nil {
		err = json.Unmarshal(f.Payload, &s.setup)
	}
	if err != nil {
		return err
	}
	go s.begin()
	for {
		f, err := frames.Next()
		if err != nil {
			os.Exit(0)
		}
		s.take(f)
	}
}

// begin says hello, and then runs calls.
func (s *server) begin() {
	var h hello
	if s.codec = codecNamed(s.setup.Codec); s.codec == nil {
		h.Fault = "codec " + s.setup.Codec + " is not registered: see RegisterCodec"
	} else if s.setup.Init != "" {
		a := s.init()
		defer func() { // also after Goexit
			if a.fail != nil {
				h.Init = a.fail.append(nil)
			}
			s.hello(h)
			s.run()
		}()
		a.make()
		return
	}
	s.hello(h)
	s.run()
}

// init returns the call of Init.
func (s *server) init() *answer {
	q := &request{header: callHeader{name: s.setup.Init}, arg: s.setup.InitArg}
	q.ctx, q.cancel = context.WithCancelCause(context.Background())
	return s.newAnswer(q)
}

func (s *server) hello(h hello) {
	text, err := json.Marshal(h)
	if err != nil {
		panic(err)
	}
	s.write(frame.Append(nil, frame.Frame{Kind: frameHello, Payload: text}))
}

// write writes frames. Without the pool this process has no purpose.
func (s *server) write(b []byte) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if _, err := s.out.Write(b); err != nil {
		os.Exit(1)
	}
}

// tell writes a frame without a payload.
func (s *server) tell(kind byte, id uint64) {
	s.write(frame.Append(nil, frame.Frame{Kind: kind, ID: id}))
}

// take does what a frame asks for.
func (s *server) take(f frame.Frame) {
	switch f.Kind {
	case frameCall:
		q := &request{id: f.ID}
		q.ctx, q.cancel = context.WithCancelCause(context.Background())
		q.arg, _ = q.header.parse(f.Payload) // a checksum has held: it is well-formed
		s.mu.Lock()
		s.queue = append(s.queue, q)
		s.mu.Unlock()
		s.wake()
	case frameCancel:
		s.abort(f.ID, errors.New(string(f.Payload)))
	case frameRevoke:
		s.abort(f.ID, nil)
	case framePing:
		s.tell(framePong, 0)
	}
}

// wake has run look at the queue.
func (s *server) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// abort gives a call back that has not begun. Of one that has, it ends the ctx if
// there is a cause.
func (s *server) abort(id uint64, cause error) {
	s.mu.Lock()
	i := slices.IndexFunc(s.queue, func(q *request) bool { return q.id == id })
	if i >= 0 {
		s.queue = slices.Delete(s.queue, i, i+1)
	} else if q := s.current; q != nil && q.id == id && cause != nil {
		q.cancel(cause)
	}
	s.mu.Unlock()
	if i >= 0 {
		s.tell(frameNotBegun, id)
	}
}

// run runs calls, one at a time. It goes on in another goroutine after Goexit.
func (s *server) run() {
	through := false
	defer func() {
		if !through {
			s.wake()
			go s.run()
		}
	}()
	for range s.more {
		for q := s.next(); q != nil; q = s.next() {
			s.answer(q)
		}
	}
	through = true
}

func (s *server) next() *request {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = nil
	if len(s.queue) == 0 {
		return nil
	}
	s.current = s.queue[0]
	s.queue[0], s.queue = nil, s.queue[1:]
	return s.current
}

func (s *server) answer(q *request) {
	a := s.newAnswer(q)
	defer a.send() // whatever happens
	a.make()
}

// An answer is a call being made.
type answer struct {
	s    *server
	q    *request
	call served
	msg  message
	fail *failure // nil: msg has the result
}

func (s *server) newAnswer(q *request) *answer {
	a := &answer{s: s, q: q, fail: &failure{How: failedGoexit}} // until anything else happens
	a.msg = newMessage(nil, s.setup.MaxResult)
	return a
}

// make calls the function and keeps its result, or what became of it.
func (a *answer) make() {
	defer func() {
		if v := recover(); v != nil {
			a.fail = describePanic(v, debug.Stack())
		}
		a.q.cancel(nil)
	}()
	f := funcNamed(a.q.header.name)
	if f == nil {
		a.fail = &failure{How: failedUnregistered, Text: "is it registered before WorkerMain is called?"}
		return
	}
	a.call = f.serve()
	if err := a.call.decode(a.s.codec, a.q.arg, a.q.header.count); err != nil {
		a.fail = describeError(failedDecode, err)
		return
	}
	if err := a.run(); err != nil {
		a.fail = describeReturn(err)
		return
	}
	a.fail = describeEncode(a.call.encode(a.s.codec, &a.msg))
}

// run calls the function with a ctx of its own.
func (a *answer) run() error {
	ctx := a.q.ctx
	if d := a.q.header.timeout; d > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, d, ErrTimeout)
		defer stop()
	}
	return a.call.run(ctx)
}

func describeReturn(err error) *failure {
	if future.AsCanceled(err) != nil {
		return describeError(failedCanceled, err)
	}
	return describeError(failedReturn, err)
}

func describeEncode(err error) *failure {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrTooLarge):
		return describeError(failedTooLarge, err)
	}
	return describeError(failedEncode, err)
}

// send sends the answer.
func (a *answer) send() {
	kind := frameResult
	if a.fail != nil {
		kind = frameFailure
		a.addPartial()
		a.msg.buf = a.fail.append(frame.Begin(a.msg.buf))
	}
	frame.End(a.msg.buf, kind, a.q.id)
	a.s.write(a.msg.buf)
}

// addPartial adds the results of a call for several values that came before it
// failed.
func (a *answer) addPartial() {
	if a.q.header.count == 0 || a.call == nil {
		return
	}
	defer func() {
		if recover() != nil { // the codec's, again
			a.fail.Done, a.fail.Results = 0, nil
		}
	}()
	m := newMessage(nil, a.s.setup.MaxResult)
	if a.call.encode(a.s.codec, &m) == nil {
		a.fail.Done, a.fail.Results = a.call.done(), m.buf[frame.HeaderLen:]
	}
}

// servable is a registered function without its types.
type servable interface{ serve() served }

// served is a call of it.
type served interface {
	decode(c Codec, data []byte, count int) error
	run(ctx context.Context) error
	encode(c Codec, m *message) error // the results so far
	done() int
}

func (e *entry[A, R]) serve() served { return &servedCall[A, R]{fn: e.fn} }

type servedCall[A, R any] struct {
	fn     func(ctx context.Context, arg A) (R, error)
	single bool // not in slices
	in     []A
	out    []R
}

func (c *servedCall[A, R]) decode(codec Codec, data []byte, count int) (err error) {
	if count > 0 {
		c.in, err = decodeSlice[A](codec, data, count)
		return err
	}
	c.single = true
	c.in = make([]A, 1)
	return decode(codec, data, &c.in[0])
}

func (c *servedCall[A, R]) run(ctx context.Context) error {
	c.out = make([]R, 0, len(c.in))
	for _, v := range c.in {
		if len(c.out) > 0 && ctx.Err() != nil {
			return ctxError(ctx)
		}
		r, err := c.fn(ctx, v)
		if err != nil {
			return err
		}
		c.out = append(c.out, r)
	}
	return nil
}

func (c *servedCall[A, R]) encode(codec Codec, m *message) error {
	if c.single {
		return encode(m, codec, &c.out[0])
	}
	return encodeSlice(m, codec, c.out)
}

func (c *servedCall[A, R]) done() int { return len(c.out) }
