package subprocess

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"

	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// A talk is what a Communicate has done so far, for the next to go on with.
type talk struct {
	in   []byte // what is still to be written
	out  [2][]byte
	busy bool
}

// Communicate writes input to the process, reads its outputs to their ends, all at a
// time, and waits for its exit. It returns what was read, nil for an output that is no
// [Pipe]. It closes each pipe that it is done with: Stdin too, if input is empty. It
// does not look at how the process has ended: see Wait. (asyncio: communicate)
//
// A process that does not read all of its input, or closes it, is no error. Errors are
// an interruption, [ErrWaitDelay], [ErrOutputLimit], stream.ErrBusy while another task
// communicates with the process or uses a pipe, those of reading, and those of Wait.
// What was read so far is returned with each of them. If another process holds a
// pipe, Communicate waits for that, too, unless there is a Cmd.WaitDelay.
//
// Cancel safety: a later Communicate goes on where this one was interrupted, and
// returns the output from its beginning; its own input is not looked at. Nothing
// happens to the process.
func (p *Process) Communicate(ctx context.Context, input []byte) (stdout, stderr []byte, err error) {
	if p.talk == nil {
		p.talk = &talk{in: input}
	}
	t := p.talk
	if t.busy {
		return nil, nil, stream.ErrBusy
	}
	t.busy = true
	defer func() { t.busy = false }()
	err = task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
		if p.Stdin != nil {
			g.Go(p.feed)
		}
		for i, conn := range [2]*stream.Conn{p.Stdout, p.Stderr} {
			if conn != nil {
				g.Go(func(ctx context.Context) error { return p.collect(ctx, conn, &t.out[i]) })
			}
		}
		_, err := p.Wait(ctx)
		return err
	})
	if group, ok := err.(*task.GroupError); ok {
		err = group.Errors()[0]
	}
	if err == nil {
		p.stopTimer()
		if p.expired {
			err = ErrWaitDelay
		}
	}
	return p.kept(t.out[0]), p.kept(t.out[1]), err
}

// kept returns what the caller gets of b, which is appended to later.
func (p *Process) kept(b []byte) []byte {
	if limit := p.cmd.MaxOutput; limit > 0 && len(b) > limit {
		b = b[:limit]
	}
	return slices.Clip(b)
}

// feed writes the input and closes it.
func (p *Process) feed(ctx context.Context) error {
	n, err := p.Stdin.Write(ctx, p.talk.in)
	p.talk.in = p.talk.in[n:]
	switch {
	case err == nil:
		return p.Stdin.Close()
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed):
		_ = p.Stdin.Close() // nobody wants the rest
		return nil
	}
	return err
}

// leastRead is how much room a read is given at least.
const leastRead = 4 << 10

// collect reads to the end and closes.
func (p *Process) collect(ctx context.Context, conn *stream.Conn, to *[]byte) error {
	if conn.Closed() {
		return nil // an earlier one was done with it, or the delay
	}
	for {
		if limit := p.cmd.MaxOutput; limit > 0 && len(*to) > limit {
			return ErrOutputLimit
		}
		b := *to
		if cap(b)-len(b) < leastRead {
			b = slices.Grow(b, max(leastRead, len(b)))
		}
		n, err := conn.Read(ctx, p.room(b))
		*to = b[:len(b)+n]
		switch {
		case err == nil:
		case err == io.EOF:
			return conn.Close()
		case p.expired && errors.Is(err, net.ErrClosed):
			return nil // Communicate says why
		default:
			return err
		}
	}
}

// room returns the part of b to read into: one byte more than the limit shows that it
// was exceeded.
func (p *Process) room(b []byte) []byte {
	room := b[len(b):cap(b)]
	if limit := p.cmd.MaxOutput; limit > 0 {
		room = room[:min(len(room), limit+1-len(b))]
	}
	return room
}
