package subprocess

import (
	"errors"
	"os"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/transport"
)

// A Protocol is what is called as a process goes on, on its loop:
//
//	Connected, then PipeData, PipeLost and Exited in any order, then Lost
//
// Connected, Exited and Lost are called exactly once each, PipeLost once for each pipe
// and after the last PipeData of it. No method may block. A panic in PipeData ends its
// pipe; a panic in any method is reported to the loop's OnError.
//
// A protocol that also is a [transport.Pauser] is used as such for the process's
// input. Embed [Defaults] for the methods that are not needed.
// (asyncio: SubprocessProtocol)
type Protocol interface {
	// Connected is called when the process was started. (asyncio: connection_made)
	Connected(t *Transport)

	// PipeData is called with bytes that the process has written: fd is 1 for its
	// standard output, 2 for the other. p belongs to the loop: it is valid, and may be
	// changed, only until PipeData returns. (asyncio: pipe_data_received)
	PipeData(fd int, p []byte)

	// PipeLost is called when a pipe was closed: by its other end, by ours, or, with an
	// error, because it has failed. (asyncio: pipe_connection_lost)
	PipeLost(fd int, err error)

	// Exited is called when the process has exited; Transport.TryWait tells how. Pipes
	// may still bring data. (asyncio: process_exited)
	Exited()

	// Lost is called last: the process has exited and all pipes were lost. err is nil,
	// or loop.ErrClosed if the loop's Close has ended the process.
	// (asyncio: connection_lost)
	Lost(err error)
}

// Defaults is a [Protocol] that does nothing. It is to be embedded.
type Defaults struct{}

// Connected does nothing.
func (Defaults) Connected(*Transport) {}

// PipeData does nothing.
func (Defaults) PipeData(int, []byte) {}

// PipeLost does nothing.
func (Defaults) PipeLost(int, error) {}

// Exited does nothing.
func (Defaults) Exited() {}

// Lost does nothing.
func (Defaults) Lost(error) {}

// A Transport is a process that calls a [Protocol], for code that was written for
// asyncio's low level; tasks use a [Process]. Make it with [Cmd.StartProtocol]. It must
// be used on its loop. (asyncio: SubprocessTransport)
//
//	running --exits--> exited --all pipes are lost--> losing --Lost--> lost
//	running --all pipes are lost--> without pipes --exits--> losing
//	any --Close--> its pipes are lost, and it is killed
type Transport struct {
	c     *child
	p     Protocol
	pipes [3]*transport.Transport // nil: none
	open  int                     // of these
	made  bool                    // Connected was called
	told  bool                    // Lost is in the queue, or was called
	err   error                   // of Lost
}

// StartProtocol starts the process and has p called as it goes on, in the context in
// which StartProtocol is called. The future has the Transport when p's Connected has
// been called. It fails with the errors of Start, and with a *coro.PanicError if
// Connected panics; then the process is killed. Cmd.Cancel, WaitDelay and MaxOutput
// have no effect. It must be called on the loop, and panics if p is nil.
// (asyncio: subprocess_exec, subprocess_shell)
//
// Cancel safety: a canceled start calls nothing, and ends when the process that it may
// have started was killed and waited for; or at once if it is canceled a second time.
func (c *Cmd) StartProtocol(l *loop.Loop, p Protocol) *future.Future[*Transport] {
	if p == nil {
		panic("subprocess: StartProtocol without a protocol")
	}
	x := &starting{s: nurseryOf(l).launch(c), p: p}
	future.Init(&x.f, l, x)
	x.s.job.OnDone(x.started)
	return &x.f
}

// A starting is what StartProtocol has under way.
type starting struct {
	f        future.Future[*Transport]
	s        *launch
	p        Protocol
	canceled *future.CanceledError // nil: not
}

// CancelFuture implements future.Canceler.
func (x *starting) CancelFuture(cause error) bool {
	if x.canceled != nil {
		return future.Settle[*Transport](&x.f, nil, x.canceled)
	}
	x.canceled = &future.CanceledError{Cause: cause}
	x.s.abandon().OnDone(func() { future.Settle[*Transport](&x.f, nil, x.canceled) })
	return true
}

// String says what the future waits for.
func (x *starting) String() string { return "start of " + x.s.cmd.path() }

// started is called when the job has ended.
func (x *starting) started() {
	err := x.s.job.Err()
	if x.canceled != nil {
		return
	}
	if !x.s.take() {
		err = loop.ErrClosed
	} else if err == nil {
		err = x.s.err
	}
	if err != nil {
		future.Settle[*Transport](&x.f, nil, err)
		return
	}
	t, err := newTransport(x.s, x.p)
	future.Settle(&x.f, t, err)
}

func newTransport(s *launch, p Protocol) (*Transport, error) {
	t := &Transport{p: p}
	t.c = s.n.adopt(s, t)
	err := t.openPipes(s)
	if err == nil {
		err = t.connected()
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// openPipes makes transports of the pipes. They begin with the next turn.
func (t *Transport) openPipes(s *launch) error {
	for i, fd := range s.pipe {
		if fd < 0 {
			continue
		}
		s.pipe[i] = -1
		pp := pipeProtocol{t, i}
		var proto transport.Protocol = pp
		if pauser, ok := t.p.(transport.Pauser); ok && i == 0 {
			proto = pausedPipe{pp, pauser}
		}
		pipe, err := transport.AdoptFD(t.Loop(), fd, proto, transport.Config{})
		if err != nil {
			s.closePipes()
			return err
		}
		t.pipes[i] = pipe
		t.open++
	}
	return nil
}

func (t *Transport) connected() (err error) {
	t.made = true
	defer func() {
		if v := recover(); v != nil {
			err = coro.NewPanicError(v)
		}
	}()
	t.p.Connected(t)
	return nil
}

// A pipeProtocol is a pipe's protocol.
type pipeProtocol struct {
	t  *Transport
	fd int
}

func (pipeProtocol) Connected(*transport.Transport) {}
func (p pipeProtocol) Data(b []byte)                { p.t.p.PipeData(p.fd, b) }
func (pipeProtocol) EOF() bool                      { return false }

func (p pipeProtocol) Lost(err error) {
	p.t.open--
	defer p.t.checkLost()
	if p.t.made {
		p.t.p.PipeLost(p.fd, err)
	}
}

// A pausedPipe is that of the input for a protocol that is a Pauser.
type pausedPipe struct {
	pipeProtocol
	transport.Pauser
}

// exited is told by the child.
func (t *Transport) exited() {
	if t.c.n.closed {
		t.err = loop.ErrClosed
	}
	defer t.checkLost()
	if t.made {
		t.p.Exited()
	}
}

// checkLost queues Lost when all else was called.
func (t *Transport) checkLost() {
	if !t.c.done || t.open > 0 || !t.made || t.told {
		return
	}
	t.told = true
	n := t.c.n
	n.losing[t] = struct{}{} // for Close, which does not make the calls of the queue
	if !n.closed {
		n.l.CallSoon(t.lose)
	}
}

func (t *Transport) lose() {
	delete(t.c.n.losing, t)
	t.p.Lost(t.err)
}

// Loop returns the loop that the process belongs to.
func (t *Transport) Loop() *loop.Loop { return t.c.n.l }

// Pid returns the number of the process. (asyncio: get_pid)
func (t *Transport) Pid() int { return t.c.pid }

// String names the process by its program.
func (t *Transport) String() string { return "process " + t.c.name }

// TryWait reports whether the process has exited, and how. (asyncio: get_returncode)
func (t *Transport) TryWait() (s ExitState, ok bool) { return t.c.state(nil), t.c.done }

// PipeTransport returns the transport of a pipe: fd is 0 to write to the standard
// input, 1 and 2 to pause the reading of the outputs, for example. It is nil for a
// stream that is no [Pipe]. (asyncio: get_pipe_transport)
func (t *Transport) PipeTransport(fd int) *transport.Transport {
	if fd < 0 || fd >= len(t.pipes) {
		return nil
	}
	return t.pipes[fd]
}

// Signal is that of [Process.Signal]. (asyncio: send_signal)
func (t *Transport) Signal(sig os.Signal) error { return t.c.signal(sig) }

// Terminate is Signal of SIGTERM. (asyncio: terminate)
func (t *Transport) Terminate() error { return t.c.signal(terminate) }

// Kill is Signal of SIGKILL. (asyncio: kill)
func (t *Transport) Kill() error { return t.c.signal(kill) }

// SignalGroup is that of [Process.SignalGroup].
func (t *Transport) SignalGroup(sig os.Signal) error { return t.c.signalGroup(sig) }

// KillGroup is SignalGroup of SIGKILL.
func (t *Transport) KillGroup() error { return t.c.signalGroup(kill) }

// Close closes the pipes, without writing what waits, and kills the process if it still
// runs, with its group if it leads one. The protocol hears of it as of any other end.
// The error is one of the system; calling it again does nothing. (asyncio: close)
func (t *Transport) Close() error {
	for _, pipe := range t.pipes {
		if pipe != nil {
			pipe.Abort()
		}
	}
	if t.c.done {
		t.c.drop()
		return nil
	}
	if err := t.c.kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

var _ owner = (*Transport)(nil)
