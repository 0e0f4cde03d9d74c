package executor

import (
	"context"
	"fmt"
	"time"

	"github.com/eddyloop/eddy/internal/frame"
)

// A pcall is a call on its way to a worker and back. It belongs to the goroutine of
// its job.
//
//	waiting --granted a place--> sent --answered, or its worker dies--> over
//	sent --not begun, or to be retried--> waiting
type pcall struct {
	p    *ProcessPool
	name string
	cfg  CallConfig
	msg  message   // the request
	turn chan turn // a place is there, or never will be
	over chan end

	// Of its answer.
	answer frame.Frame
	failed *failure // nil: the answer is a result

	// Under mu of its worker.
	id      uint64
	timer   *time.Timer // that kills the worker
	revoked bool
}

// A turn is what a call that waits for a place gets.
type turn struct {
	w   *proc
	err error
}

// An end says what became of a call that was sent.
type end struct {
	how endKind
	err *WorkerError // of endDied
	why error        // of endRefused
}

type endKind uint8

const (
	endAnswered endKind = iota
	endNotBegun
	endDied    // its worker has
	endRefused // the pool is broken
)

// newCall returns a call without its argument. count is 0 for a single value.
func (p *ProcessPool) newCall(name string, cfg CallConfig, count int) *pcall {
	c := &pcall{p: p, name: name, cfg: cfg, turn: make(chan turn, 1), over: make(chan end, 1)}
	var buf []byte
	if b, ok := p.buffers.Get().(*[]byte); ok {
		buf = *b
	}
	c.msg = newMessage(buf, p.cfg.MaxRequest)
	h := callHeader{cfg.Timeout, count, name}
	c.msg.buf = h.append(c.msg.buf)
	c.msg.base = len(c.msg.buf)
	return c
}

// maxKept bounds the buffers that are kept for the next message, in bytes.
const maxKept = 64 << 10

// free gives the buffer back.
func (c *pcall) free() {
	if b := c.msg.buf; cap(b) <= maxKept {
		c.p.buffers.Put(&b)
	}
	c.msg.buf = nil
}

// run has a worker answer the call, and returns why none has.
func (c *pcall) run(ctx context.Context) error {
	p := c.p
	for tries, again := 0, false; ; again = true {
		w, err := p.place(ctx, c, again)
		switch {
		case err != nil && ctx.Err() != nil:
			return ctxError(ctx)
		case err != nil:
			return err
		}
		e := c.call(ctx, w)
		p.release(w, e.how)
		switch {
		case e.how == endAnswered:
			return c.readFailure()
		case e.how == endRefused:
			return e.why
		case ctx.Err() != nil:
			if e.err == nil {
				return ctxError(ctx)
			}
			e.err.Cause = ctxError(ctx)
			return e.err
		case e.how == endDied && (tries == c.cfg.Retries || !e.err.retriable()):
			return e.err
		case e.how == endDied:
			tries++
			p.count(&p.counts.retried)
		default:
			p.count(&p.counts.returned)
		}
	}
}

// call sends the call to w and waits for its end. If ctx ends, it sees to it that
// there is one.
func (c *pcall) call(ctx context.Context, w *proc) end {
	// Sending may have to wait too, so waiting for ctx is not left for later.
	stop := context.AfterFunc(ctx, func() { w.cancel(c, ctxError(ctx)) })
	defer stop()
	if !w.send(ctx, c) {
		if ctx.Err() == nil { // it is w that does not want any
			c.p.drop(w)
		}
		return end{how: endNotBegun}
	}
	return <-c.over
}

// readFailure looks into an answer that is no result.
func (c *pcall) readFailure() (err error) {
	if c.answer.Kind != frameFailure {
		return nil
	}
	if c.failed, err = parseFailure(c.answer.Payload); err != nil {
		return fmt.Errorf("%w: failure of %s: %w", ErrDecode, c.name, err)
	}
	return nil
}

// retriable reports whether another worker may fare better.
func (e *WorkerError) retriable() bool { return e.Cause != ErrTimeout && e.Cause != ErrClosed }

// place waits for a place of a worker. again puts the call before those that have had
// none.
func (p *ProcessPool) place(ctx context.Context, c *pcall, again bool) (*proc, error) {
	p.mu.Lock()
	if p.closed != nil {
		defer p.mu.Unlock()
		return nil, p.closed
	}
	if again {
		p.waiting = append([]*pcall{c}, p.waiting...)
	} else {
		p.waiting = append(p.waiting, c)
	}
	p.dispatch()
	p.mu.Unlock()
	var t turn
	select {
	case t = <-c.turn:
		return t.w, t.err
	default:
	}
	select {
	case t = <-c.turn:
		return t.w, t.err
	case <-ctx.Done():
	}
	if !p.forget(c) {
		if t = <-c.turn; t.w != nil {
			p.release(t.w, endNotBegun)
		}
	}
	return nil, ctxError(ctx)
}
