//go:build unix

package transport_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

func TestMain(m *testing.M) {
	if r, w, err := os.Pipe(); err == nil { // the runtime's poller takes descriptors when first used
		r.Close()
		w.Close()
	}
	goleak.VerifyTestMain(m)
}

var must = testkit.Must

// run runs fn on a loop with the system's clock, and checks that it leaves no
// descriptor open.
func run(t *testing.T, fn func(ctx context.Context, l *loop.Loop)) {
	t.Helper()
	runConfig(t, loop.Config{}, fn)
}

func runConfig(t *testing.T, cfg loop.Config, fn func(ctx context.Context, l *loop.Loop)) {
	t.Helper()
	before := descriptors()
	looptest.RunConfig(t, looptest.Config{Real: true, Loop: cfg}, func(ctx context.Context) error {
		fn(ctx, loop.FromContext(ctx))
		return nil
	})
	after := descriptors()
	for wait := time.Millisecond; after > before && wait < time.Second; wait *= 2 {
		time.Sleep(wait) // what a goroutine holds, as of a file that is sent, is closed there
		after = descriptors()
	}
	if after > before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
}

// descriptors counts the process's open descriptors, where the system tells.
func descriptors() int {
	es, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(es)
}

// echo sends back what it gets.
type echo struct {
	transport.Defaults
	t *transport.Transport
}

func (e *echo) Connected(t *transport.Transport) { e.t = t }
func (e *echo) Data(p []byte)                    { _ = e.t.Write(p) }

func newEcho() transport.Protocol { return new(echo) }

// A recorder writes down what it is told.
type recorder struct {
	testkit.Journal
	t         *transport.Transport
	connected func(*transport.Transport) // may be nil, as the others
	data      func([]byte)
	keepOpen  bool
	lost      bool
	err       error // of Lost
	bytes     []byte
}

func (r *recorder) Connected(t *transport.Transport) {
	r.t = t
	r.Log("made")
	if r.connected != nil {
		r.connected(t)
	}
}

func (r *recorder) Data(p []byte) {
	r.Log("data %s", short(p))
	r.bytes = append(r.bytes, p...)
	if r.data != nil {
		r.data(p)
	}
}

func (r *recorder) EOF() bool {
	r.Log("eof")
	return r.keepOpen
}

func (r *recorder) Lost(err error) {
	if r.lost {
		panic("lost twice")
	}
	r.lost, r.err = true, err
	r.Log("lost %s", reason(err))
}

func (r *recorder) PauseWriting()  { r.Log("pause") }
func (r *recorder) ResumeWriting() { r.Log("resume") }

func short(p []byte) string {
	if len(p) > 20 {
		return fmt.Sprintf("of %d", len(p))
	}
	return string(p)
}

// reason is a short word for an error.
func reason(err error) string {
	var errno syscall.Errno
	var p *transport.ProtocolError
	switch {
	case err == nil:
		return "nil"
	case errors.As(err, &p):
		return "panic in " + p.Method
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}

// A peer is the other end of a connection, in the hands of the test. It does not
// block: what is there is there.
type peer struct {
	t  testing.TB
	fd int
}

// pair returns a transport of the protocol and its peer.
func pair(t testing.TB, l *loop.Loop, p transport.Protocol, cfg transport.Config) (*transport.Transport, *peer) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	must(t, err)
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	must(t, syscall.SetNonblock(fds[1], true))
	tr, err := transport.AdoptFD(l, fds[0], p, cfg)
	must(t, err)
	return tr, &peer{t, fds[1]}
}

func (p *peer) write(s string) {
	p.t.Helper()
	if n, err := syscall.Write(p.fd, []byte(s)); n != len(s) || err != nil {
		p.t.Fatalf("the peer wrote %d of %d: %v", n, len(s), err)
	}
}

// read returns what is there; "EOF" at the end.
func (p *peer) read() string {
	p.t.Helper()
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := syscall.Read(p.fd, buf)
		switch {
		case n > 0:
			all = append(all, buf[:n]...)
		case err == syscall.EAGAIN:
			return string(all)
		case err == nil:
			return string(all) + "EOF"
		case err != syscall.EINTR:
			return string(all) + err.Error()
		}
	}
}

func (p *peer) closeWrite() { must(p.t, syscall.Shutdown(p.fd, syscall.SHUT_WR)) }

func (p *peer) close() {
	if p.fd >= 0 {
		must(p.t, syscall.Close(p.fd))
		p.fd = -1
	}
}

// until waits until something is so, or fails the test.
func until(ctx context.Context, t testing.TB, what string, is func() bool) {
	t.Helper()
	for start := time.Now(); !is(); {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("waited in vain until %s", what)
		}
		must(t, task.Sleep(ctx, 20*time.Microsecond))
	}
}

// turns lets some turns pass, and the kernel tell what it knows.
func turns(ctx context.Context, t testing.TB, n int) {
	t.Helper()
	for range n {
		must(t, task.Yield(ctx))
	}
	must(t, task.Sleep(ctx, time.Millisecond))
}
