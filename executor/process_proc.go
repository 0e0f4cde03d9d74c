package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/eddyloop/eddy/internal/frame"
)

// A proc is a worker process, as the pool sees it.
//
//	started --hello--> ready --its pipe ends--> gone
//	started --anything else--> gone
type proc struct {
	p      *ProcessPool
	os     *os.Process
	in     *os.File // requests
	out    *os.File // answers
	frames *frame.Reader
	exited chan struct{}    // closed when it was waited for
	state  *os.ProcessState // then

	writing chan struct{} // full while a frame is written

	mu      sync.Mutex
	flight  []*pcall // sent or being sent, oldest first
	gone    bool     // takes no more calls
	retired bool     // its pipe was closed because it is not needed
	over    bool     // its end is being dealt with
	killed  bool
	victim  *pcall      // for which it was killed; nil: for another reason
	cause   error       // why it was killed, or what was wrong with it
	seen    bool        // a frame has come since the last beat
	missed  int         // beats without
	beat    *time.Timer // until the next; nil: none
	linger  *time.Timer // until a retired one is killed

	// Under p.mu.
	taken   int  // places
	served  int  // calls
	full    bool // it will get no more
	isReady bool // it was
}

// live is the goroutine of a worker: it reads what that says, and in the end sees it
// out.
func (w *proc) live() {
	err := w.greet()
	if err == nil && w.p.started(w) {
		w.startBeat()
		err = w.read()
	}
	w.bury(err)
}

// await is the other goroutine of a worker.
func (w *proc) await() {
	w.state, _ = w.os.Wait()
	close(w.exited)
	// The pipe ends with the process, unless it has children that keep it open.
	_ = w.out.SetReadDeadline(time.Now().Add(time.Second))
}

// greet tells a worker what it is, and waits until it is ready.
func (w *proc) greet() error {
	limit := time.Now().Add(w.p.cfg.StartTimeout)
	_ = w.in.SetWriteDeadline(limit)
	_ = w.out.SetReadDeadline(limit)
	text, err := json.Marshal(w.p.setup)
	if err != nil {
		return err
	}
	if _, err := w.in.Write(frame.Append(nil, frame.Frame{Kind: frameSetup, Payload: text})); err != nil {
		return err
	}
	f, err := w.frames.Next()
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("executor: it was not ready after %v: has it called WorkerMain?", w.p.cfg.StartTimeout)
		}
		return err
	}
	var h hello
	if f.Kind != frameHello || json.Unmarshal(f.Payload, &h) != nil {
		return fmt.Errorf("%w: no hello", frame.ErrGarbage)
	}
	_ = w.in.SetWriteDeadline(time.Time{})
	_ = w.out.SetReadDeadline(time.Time{})
	if h.Fault != "" {
		return errors.New("executor: worker: " + h.Fault)
	}
	return w.initOutcome(h.Init)
}

// initOutcome breaks the pool if Init has failed.
func (w *proc) initOutcome(data []byte) error {
	if data == nil {
		return nil
	}
	f, err := parseFailure(data)
	if err == nil {
		err = f.error(w.p.cfg.Init.name)
	}
	err = fmt.Errorf("%w: ProcessConfig.Init: %w", ErrBroken, err)
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	w.p.breakDown(err)
	return err
}

// read reads answers until the pipe ends or holds anything else.
func (w *proc) read() error {
	for {
		f, err := w.frames.Next()
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.seen = true
		w.mu.Unlock()
		switch f.Kind {
		case framePong:
		case frameResult, frameFailure, frameNotBegun:
			c := w.answered(f)
			if c == nil {
				return fmt.Errorf("%w: answer to call %d, which is not its turn", frame.ErrGarbage, f.ID)
			}
			if c.answer = f; f.Kind == frameNotBegun {
				c.over <- end{how: endNotBegun}
			} else {
				c.over <- end{how: endAnswered}
			}
		default:
			return fmt.Errorf("%w: frame of kind %d", frame.ErrGarbage, f.Kind)
		}
	}
}

// answered takes the call that f answers off the books, nil if there is none.
func (w *proc) answered(f frame.Frame) *pcall {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.flight, func(c *pcall) bool { return c.id == f.ID })
	if i < 0 || i > 0 && f.Kind != frameNotBegun {
		return nil
	}
	return w.take(i)
}

// take takes the call at i off the books, and has the next begin if that was the
// first. w.mu is held.
func (w *proc) take(i int) *pcall {
	c := w.flight[i]
	w.flight = slices.Delete(w.flight, i, i+1)
	c.setTimer(nil)
	if i == 0 && len(w.flight) > 0 {
		w.begin(w.flight[0])
	}
	return c
}

// begin notes that the worker is at c now. w.mu is held.
func (w *proc) begin(c *pcall) {
	if d := c.cfg.Timeout; d > 0 && c.timer == nil {
		c.setTimer(time.AfterFunc(d+w.p.cfg.Grace, func() { w.kill(c, ErrTimeout) }))
	}
}

// setTimer replaces the timer. w.mu is held.
func (c *pcall) setTimer(t *time.Timer) {
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer = t
}

// send sends a call, unless ctx has ended, and reports whether it may have arrived.
func (w *proc) send(ctx context.Context, c *pcall) bool {
	select {
	case w.writing <- struct{}{}:
	default:
		select {
		case w.writing <- struct{}{}:
		case <-ctx.Done():
			return false
		}
	}
	defer w.written()
	if !w.book(ctx, c) {
		return false
	}
	frame.End(c.msg.buf, frameCall, c.id)
	if _, err := w.in.Write(c.msg.buf); err == nil {
		return true
	}
	// The end of the frame is missing, so the call cannot have begun. The same is
	// true of all that would follow.
	w.kill(nil, nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.flight, c)
	if i < 0 {
		return true // bury waits for writing: so the worker has answered what it cannot know
	}
	w.take(i)
	return false
}

// written lets others write.
func (w *proc) written() { <-w.writing }

// book notes that c is being sent, in the order of sending.
func (w *proc) book(ctx context.Context, c *pcall) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return false
	}
	if ctx.Err() != nil { // before cancel could find it here
		return false
	}
	c.id = w.p.nextID.Add(1)
	c.revoked = false
	w.flight = append(w.flight, c)
	if len(w.flight) == 1 {
		w.begin(c)
	}
	return true
}

// tell sends a frame that is no call. What goes wrong with the pipe shows when it is
// read.
func (w *proc) tell(kind byte, id uint64, payload string) {
	w.writing <- struct{}{}
	defer w.written()
	_, _ = w.in.Write(frame.Append(nil, frame.Frame{Kind: kind, ID: id, Payload: []byte(payload)}))
}

// cancel has a call end, by force if it does not answer.
func (w *proc) cancel(c *pcall, cause error) {
	w.mu.Lock()
	sent, id := slices.Contains(w.flight, c), c.id
	if sent {
		c.setTimer(time.AfterFunc(w.p.cfg.Grace, func() { w.kill(c, cause) }))
	}
	w.mu.Unlock()
	if sent {
		w.tell(frameCancel, id, cutText(cause.Error()))
	}
}

// revokeLast asks for the call that was sent last, if it has not begun.
func (w *proc) revokeLast() {
	w.mu.Lock()
	n := len(w.flight)
	if n < 2 || w.flight[n-1].revoked {
		w.mu.Unlock()
		return
	}
	c := w.flight[n-1]
	c.revoked = true
	id := c.id
	w.mu.Unlock()
	w.tell(frameRevoke, id, "")
}

// kill ends the process by force because of the call victim, which need not be any
// more; because of cause if that is nil.
func (w *proc) kill(victim *pcall, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.killed || w.over || victim != nil && !slices.Contains(w.flight, victim) {
		return
	}
	w.killed, w.gone = true, true
	w.victim, w.cause = victim, cause
	_ = w.os.Kill()                                     // it may have ended
	_ = w.out.SetReadDeadline(time.Now().Add(exitTime)) // its children may keep the pipe open
}

// retire lets a process end that is not needed any more.
func (w *proc) retire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.retired || w.over {
		return
	}
	w.gone, w.retired = true, true
	w.linger = time.AfterFunc(w.p.cfg.Grace, func() { w.kill(nil, errHang) })
	_ = w.in.Close() // at the end of its input a worker exits
}

// startBeat begins to look for signs of life.
func (w *proc) startBeat() {
	if d := w.p.cfg.Heartbeat; d > 0 {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.beat = time.AfterFunc(d, w.onBeat)
	}
}

// onBeat counts beats rather than looking at a clock, because this process may have
// been stopped too.
func (w *proc) onBeat() {
	w.mu.Lock()
	if w.gone {
		w.mu.Unlock()
		return
	}
	busy := len(w.flight) > 0
	if w.seen || !busy {
		w.missed = 0
	} else {
		w.missed++
	}
	w.seen = false
	hangs := w.missed >= missedBeats
	w.beat.Reset(w.p.cfg.Heartbeat)
	w.mu.Unlock()
	switch {
	case hangs:
		w.kill(nil, errHang)
	case busy:
		w.ping()
	}
}

// ping asks for a sign of life, unless somebody is writing, who may be stuck because
// the worker hangs.
func (w *proc) ping() {
	select {
	case w.writing <- struct{}{}:
		defer w.written()
		_, _ = w.in.Write(frame.Append(nil, frame.Frame{Kind: framePing}))
	default:
	}
}

// exitTime is how long a process may take to end that has closed its pipe or was
// killed, before it is left to itself.
const exitTime = time.Second

// bury sees a worker out that has nothing more to say, for the reason err, and then
// ends the calls that it had.
func (w *proc) bury(err error) {
	w.p.drop(w)
	w.mu.Lock()
	w.gone, w.over = true, true
	if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, os.ErrDeadlineExceeded) && w.cause == nil {
		w.cause = err
	}
	for _, t := range []*time.Timer{w.beat, w.linger} {
		if t != nil {
			t.Stop()
		}
	}
	w.mu.Unlock()
	w.awaitExit(err)
	_ = w.in.Close()
	_ = w.out.Close()
	w.writing <- struct{}{} // whoever was writing has failed now, and taken his call back
	w.mu.Lock()
	flight := w.flight
	w.flight = nil
	for _, c := range flight {
		c.setTimer(nil)
	}
	w.mu.Unlock()
	w.written()
	refused := w.p.buried(w, err)
	for i, c := range flight {
		c.over <- w.endOf(c, i == 0, refused)
	}
}

// awaitExit waits until the process has ended, having killed it if it does not.
func (w *proc) awaitExit(err error) {
	if err == io.EOF || err == io.ErrUnexpectedEOF { // it is about to
		select {
		case <-w.exited:
			return
		case <-time.After(exitTime):
			w.mu.Lock()
			if w.cause == nil && !w.retired {
				w.cause = errPipe
			}
			w.mu.Unlock()
		}
	}
	_ = w.os.Kill()
	select {
	case <-w.exited:
	case <-time.After(exitTime):
	}
}

// endOf returns what the end of a worker means for a call that it had. first says
// that it may have begun; refused is why the pool is broken.
func (w *proc) endOf(c *pcall, first bool, refused error) end {
	switch {
	case refused != nil:
		return end{how: endRefused, why: refused}
	case c == w.victim:
		return end{how: endDied, err: w.error(w.cause)}
	case !first:
		return end{how: endNotBegun}
	case w.victim != nil: // another, which was behind it
		return end{how: endDied, err: w.error(errHang)}
	}
	return end{how: endDied, err: w.error(w.cause)}
}

// error returns how the worker has ended.
func (w *proc) error(cause error) *WorkerError {
	e := &WorkerError{PID: w.os.Pid, Cause: cause}
	select {
	case <-w.exited:
		e.State = w.state
	default:
	}
	return e
}

// buried takes a worker off the books. It returns the error of a pool that is broken.
func (p *ProcessPool) buried(w *proc, err error) (refused error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(w)
	delete(p.all, w)
	w.mu.Lock()
	killed, retired, ours := w.killed && w.cause != nil, w.retired, w.victim != nil || w.cause == ErrClosed
	w.mu.Unlock()
	if !w.isReady {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = nil // how it has exited says more
		}
		p.startFailed(w.error(err))
	}
	switch {
	case killed:
		p.counts.killed++
	case retired:
		p.counts.retired++
	default:
		p.counts.died++
	}
	if w.isReady && !ours && !retired {
		p.died()
		if p.cfg.Strict {
			p.breakDown(fmt.Errorf("%w: %w", ErrBroken, w.error(w.cause)))
		}
	}
	if errors.Is(p.closed, ErrBroken) {
		refused = p.closed
	}
	if p.closed == nil {
		p.dispatch()
	}
	p.checkGone()
	return refused
}
