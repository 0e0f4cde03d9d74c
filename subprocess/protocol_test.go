//go:build unix

package subprocess_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/subprocess"
	"github.com/eddyloop/eddy/task"
)

// A recorder writes down what it is told, and panics where it should.
type recorder struct {
	t        *subprocess.Transport
	events   []string
	received [3]bytes.Buffer
	panics   string
	lost     *future.Future[struct{}]
	settle   future.Promise[struct{}]
}

func newRecorder(l *loop.Loop) *recorder {
	r := new(recorder)
	r.lost, r.settle = future.New[struct{}](l)
	return r
}

func (r *recorder) note(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	r.events = append(r.events, s)
	if r.panics == s {
		panic("on purpose")
	}
}

func (r *recorder) Connected(t *subprocess.Transport) {
	r.t = t
	r.note("connected")
}

func (r *recorder) PipeData(fd int, p []byte) {
	r.received[fd].Write(p)
	if s := fmt.Sprintf("data %d", fd); !slices.Contains(r.events, s) {
		r.note("%s", s)
	}
}

func (r *recorder) PipeLost(fd int, err error) { r.note("pipe lost %d %v", fd, err) }

func (r *recorder) Exited() {
	s, ok := r.t.TryWait()
	r.note("exited %v %t", s, ok)
}

func (r *recorder) Lost(err error) {
	r.settle.Resolve(struct{}{})
	r.note("lost %v", err)
}

// want compares the events: the first, the last, and those between in any order.
func (r *recorder) want(t *testing.T, want ...string) {
	t.Helper()
	got := slices.Clone(r.events)
	if len(got) > 2 {
		slices.Sort(got[1 : len(got)-1])
		slices.Sort(want[1 : len(want)-1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("events:\n\t%s\nwant:\n\t%s", strings.Join(r.events, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestProtocolHearsOfAll(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		l := loop.FromContext(ctx)
		r := newRecorder(l)
		tr, err := piped("communicate").StartProtocol(l, r).Await(ctx)
		testkit.Must(t, err)
		if tr != r.t || tr.Pid() <= 0 || tr.Loop() != l || !strings.HasPrefix(tr.String(), "process ") {
			t.Errorf("transport %v", tr)
		}
		for fd, want := range map[int]bool{-1: false, 0: true, 1: true, 2: true, 3: false} {
			if got := tr.PipeTransport(fd) != nil; got != want {
				t.Errorf("PipeTransport(%d): %t", fd, got)
			}
		}
		in := bytes.Repeat([]byte("x"), 300_000)
		testkit.Must(t, tr.PipeTransport(0).Write(in))
		tr.PipeTransport(0).CloseWrite()
		_, err = r.lost.Await(ctx)
		testkit.Must(t, err)
		for _, fd := range []int{1, 2} {
			if !bytes.Equal(r.received[fd].Bytes(), in) {
				t.Errorf("pipe %d: %d bytes", fd, r.received[fd].Len())
			}
		}
		r.want(t, "connected", "data 1", "data 2", "pipe lost 0 <nil>", "pipe lost 1 <nil>", "pipe lost 2 <nil>", "exited exit status 0 true", "lost <nil>")
		return tr.Close()
	})
}

func TestProtocolWithoutPipes(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		l := loop.FromContext(ctx)
		r := newRecorder(l)
		_, err := self("exit", "4").StartProtocol(l, r).Await(ctx)
		testkit.Must(t, err)
		_, err = r.lost.Await(ctx)
		testkit.Must(t, err)
		r.want(t, "connected", "exited exit status 4 true", "lost <nil>")
		for name, err := range map[string]error{"Signal": r.t.Signal(syscall.SIGUSR1), "Terminate": r.t.Terminate(), "Kill": r.t.Kill()} {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		return nil
	})
}

func TestProtocolOfAProcessWhosePipesEndFirst(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		l := loop.FromContext(ctx)
		r := newRecorder(l)
		c := subprocess.Shell("exec <&- >&-; sleep 0.1")
		c.Stdin, c.Stdout = subprocess.Pipe, subprocess.Pipe
		_, err := c.StartProtocol(l, r).Await(ctx)
		testkit.Must(t, err)
		_, err = r.lost.Await(ctx)
		testkit.Must(t, err)
		r.want(t, "connected", "pipe lost 0 <nil>", "pipe lost 1 <nil>", "exited exit status 0 true", "lost <nil>")
		if last := r.events[len(r.events)-2]; last != "exited exit status 0 true" {
			t.Errorf("before Lost came %q", last)
		}
		return nil
	})
}

func TestProtocolClose(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		l := loop.FromContext(ctx)
		r := newRecorder(l)
		c := piped("stubborn")
		c.NewGroup = true
		tr, err := c.StartProtocol(l, r).Await(ctx)
		testkit.Must(t, err)
		testkit.Must(t, tr.Close())
		testkit.Must(t, tr.Close())
		_, err = r.lost.Await(ctx)
		testkit.Must(t, err)
		r.want(t, "connected", "pipe lost 0 <nil>", "pipe lost 1 <nil>", "pipe lost 2 <nil>", "exited signal: killed true", "lost <nil>")
		return tr.Close()
	})
}

func TestProtocolHearsOfTheLoopsClose(t *testing.T) {
	var all []*recorder
	both(t, func(t *testing.T, ctx context.Context) error {
		l := loop.FromContext(ctx)
		for _, c := range []*subprocess.Cmd{piped("hold"), self("hold")} {
			r := newRecorder(l)
			_, err := c.StartProtocol(l, r).Await(ctx)
			testkit.Must(t, err)
			all = append(all, r)
		}
		// One that is being started.
		piped("sleep").StartProtocol(l, newRecorder(l))
		testkit.Yield(ctx, 1)
		return nil
	})
	for i, r := range all {
		if i%2 == 0 {
			r.want(t, "connected", "pipe lost 0 loop: closed", "pipe lost 1 loop: closed", "pipe lost 2 loop: closed", "exited signal: killed true", "lost loop: closed")
		} else {
			r.want(t, "connected", "exited signal: killed true", "lost loop: closed")
		}
	}
}

func TestProtocolErrorsOfStart(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		l := loop.FromContext(ctx)
		r := newRecorder(l)
		_, err := subprocess.Command("no-such-program-of-eddy").StartProtocol(l, r).Await(ctx)
		if !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("StartProtocol: %v", err)
		}
		r.want(t)
		return nil
	})
}

func TestProtocolCanceledStart(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		l := loop.FromContext(ctx)
		for i := range 20 {
			r := newRecorder(l)
			f := piped("sleep").StartProtocol(l, r)
			if i%2 == 0 {
				testkit.Yield(ctx, i)
			} else {
				time.Sleep(time.Duration(i) * 200 * time.Microsecond)
			}
			f.Cancel(nil)
			if i == 19 {
				f.Cancel(nil) // does not wait
			}
			tr, err := f.Await(ctx)
			switch {
			case err == nil:
				testkit.Must(t, tr.Close())
				_, _ = r.lost.Await(ctx)
			case !errors.Is(err, context.Canceled):
				t.Errorf("StartProtocol: %v", err)
			default:
				if i != 19 {
					wantNoChildren(t)
				}
				r.want(t)
			}
		}
		within(ctx, t, "the other has ended", func() bool {
			_, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			return err == syscall.ECHILD
		})
		return nil
	})
}

// A method that panics is reported, and the others are called all the same.
func TestProtocolThatPanics(t *testing.T) {
	for _, where := range []string{"data 1", "pipe lost 1 <nil>", "exited exit status 0 true", "lost <nil>"} {
		t.Run(where, func(t *testing.T) {
			var reported []error
			cfg := looptest.Config{Real: true, Loop: loop.Config{OnError: func(e *loop.CallError) { reported = append(reported, e) }}}
			looptest.RunConfig(t, cfg, func(ctx context.Context) error {
				l := loop.FromContext(ctx)
				r := newRecorder(l)
				r.panics = where
				_, err := piped("echo", "a", "b").StartProtocol(l, r).Await(ctx)
				testkit.Must(t, err)
				_, err = r.lost.Await(ctx)
				testkit.Must(t, err)
				return task.Yield(ctx)
			})
			var p *coro.PanicError
			if len(reported) != 1 || !errors.As(reported[0], &p) {
				t.Errorf("reported %v", reported)
			}
			wantNoChildren(t)
		})
	}
}

func TestProtocolThatPanicsInConnected(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		l := loop.FromContext(ctx)
		r := newRecorder(l)
		r.panics = "connected"
		var p *coro.PanicError
		if _, err := piped("sleep").StartProtocol(l, r).Await(ctx); !errors.As(err, &p) {
			t.Errorf("StartProtocol: %v", err)
		}
		_, err := r.lost.Await(ctx)
		testkit.Must(t, err)
		r.want(t, "connected", "pipe lost 0 <nil>", "pipe lost 1 <nil>", "pipe lost 2 <nil>", "exited signal: killed true", "lost <nil>")
		return nil
	})
}

// A pauser is a recorder that hears of what waits to be written.
type pauser struct{ *recorder }

func (p pauser) PauseWriting()  { p.note("pause") }
func (p pauser) ResumeWriting() { p.note("resume") }

func TestProtocolThatIsAPauser(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		l := loop.FromContext(ctx)
		r := newRecorder(l)
		c := self("cat")
		c.Stdin = subprocess.Pipe
		tr, err := c.StartProtocol(l, pauser{r}).Await(ctx)
		testkit.Must(t, err)
		testkit.Must(t, tr.PipeTransport(0).Write(make([]byte, 1<<20)))
		tr.PipeTransport(0).CloseWrite()
		_, err = r.lost.Await(ctx)
		testkit.Must(t, err)
		r.want(t, "connected", "pause", "resume", "pipe lost 0 <nil>", "exited exit status 0 true", "lost <nil>")
		return nil
	})
}

// Nor does a panic keep other protocols from hearing of the loop's Close.
func TestProtocolsThatPanicAtTheLoopsClose(t *testing.T) {
	var reported []error
	var all []*recorder
	cfg := looptest.Config{Real: true, Loop: loop.Config{OnError: func(e *loop.CallError) { reported = append(reported, e) }}}
	looptest.RunConfig(t, cfg, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		for range 3 {
			r := newRecorder(l)
			r.panics = "exited signal: killed true"
			_, err := self("hold").StartProtocol(l, r).Await(ctx)
			testkit.Must(t, err)
			all = append(all, r)
		}
		return nil
	})
	for _, r := range all {
		r.want(t, "connected", "exited signal: killed true", "lost loop: closed")
	}
	if len(reported) != len(all) {
		t.Errorf("reported %v", reported)
	}
	wantNoChildren(t)
}

func TestProtocolKillGroup(t *testing.T) {
	both(t, func(t *testing.T, ctx context.Context) error {
		l := loop.FromContext(ctx)
		r := newRecorder(l)
		c := self("hold")
		c.NewGroup = true
		tr, err := c.StartProtocol(l, r).Await(ctx)
		testkit.Must(t, err)
		testkit.Must(t, tr.SignalGroup(syscall.SIGCONT))
		testkit.Must(t, tr.KillGroup())
		_, err = r.lost.Await(ctx)
		testkit.Must(t, err)
		r.want(t, "connected", "exited signal: killed true", "lost <nil>")
		if err := tr.KillGroup(); err != os.ErrProcessDone {
			t.Errorf("KillGroup: %v", err)
		}
		return nil
	})
}
