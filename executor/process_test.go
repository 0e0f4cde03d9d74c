//go:build unix

package executor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/internal/frame"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
)

// result waits for a job, for no more than a time in which a hung pool shows.
func result[T any](t testing.TB, j *executor.Job[T]) (T, error) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.Background(), 20*time.Second, errors.New("the test waited in vain"))
	defer cancel()
	v, err := j.Result(ctx)
	if ctx.Err() != nil {
		t.Fatalf("%v: %v", j, err)
	}
	return v, err
}

func checkJob[T comparable](t testing.TB, j *executor.Job[T], want T) {
	t.Helper()
	if got, err := result(t, j); err != nil || got != want {
		t.Errorf("%v: got %v, %v, want %v", j, got, err, want)
	}
}

func checkErr[T any](t testing.TB, j *executor.Job[T], want ...error) {
	t.Helper()
	_, err := result(t, j)
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("error is %v, want %v", err, w)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// untilSlow is until for what other processes do.
func untilSlow(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// killByFile kills the process that has touched a file.
func killByFile(t testing.TB, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	pid, err2 := strconv.Atoi(string(text))
	if err := errors.Join(err, err2, syscall.Kill(pid, syscall.SIGKILL)); err != nil {
		t.Fatal(err)
	}
}

func TestProcessCalls(t *testing.T) {
	for _, codec := range []executor.Codec{nil, executor.Gob(), executor.JSON()} {
		p := newProcesses(t, executor.ProcessConfig{Workers: 2, Codec: codec})
		checkJob(t, procDouble.Go(p, 21), 42)
		checkJob(t, procDouble.Go(p, 0), 0)
		checkJob(t, procDouble.Go(p, -1<<30), -1<<31)
		for _, b := range []string{"", "bytes\x00\xff"} {
			if got, err := result(t, procBytes.Go(p, []byte(b))); string(got) != b+"!" || err != nil {
				t.Errorf("%q, %v of %q", got, err, b)
			}
		}
		checkJob(t, procSize.Go(p, ""), 0)
		checkJob(t, procMove.Go(p, point{1, 2, "a"}), point{2, 3, "a!"})
		checkJob(t, procNothing.Go(p, struct{}{}), struct{}{})
		checkJob(t, procPower.Go(p, executor.Pair[int, int]{2, 10}), 1024)
		checkJob(t, procSize.Go(p, strings.Repeat("x", 1<<20)), 1<<20)
		if s, err := result(t, procMake.Go(p, 1<<20)); len(s) != 1<<20 || err != nil {
			t.Errorf("made %d bytes, %v", len(s), err)
		}
		pid, err := result(t, procPID.Go(p, struct{}{}))
		if err != nil || pid == os.Getpid() || !slices.Contains(p.PIDs(), pid) {
			t.Errorf("pid %d, %v of workers %v and pool %d", pid, err, p.PIDs(), os.Getpid())
		}
	}
}

func TestProcessOnALoop(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 1, Name: "loop"})
	looptest.Run(t, func(ctx context.Context) error {
		if n, err := procDouble.Do(ctx, p, 4); n != 8 || err != nil {
			t.Errorf("Do: %d, %v", n, err)
		}
		f := procDouble.Submit(loop.FromContext(ctx), p, 5)
		if n, err := f.Await(ctx); n != 10 || err != nil {
			t.Errorf("Submit: %d, %v", n, err)
		}
		if n, err := procDouble.Go(p, 6).Await(ctx); n != 12 || err != nil {
			t.Errorf("Go: %d, %v", n, err)
		}
		_, err := procFail.Do(ctx, p, "known")
		if !errors.Is(err, errKnown) {
			t.Errorf("Do: %v", err)
		}
		return nil
	})
	if p.Name() != "loop" {
		t.Errorf("the name is %q", p.Name())
	}
}

// Functions that know nothing of processes.
func TestProcessPoolIsAnExecutor(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 2})
	var ex executor.Executor = p
	var got []int
	for n, err := range executor.Map(context.Background(), ex, upTo(10), procDouble.Call, executor.MapConfig{Chunk: 3}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	if want := []int{0, 2, 4, 6, 8, 10, 12, 14, 16, 18}; !slices.Equal(got, want) {
		t.Errorf("Map: %v, want %v", got, want)
	}
	sum := executor.Go(ex, func(ctx context.Context) (int, error) {
		a, err := procDouble.Call(ctx, 1)
		b, err2 := procDouble.Call(ctx, 2)
		return a + b, errors.Join(err, err2)
	})
	checkJob(t, sum, 6)
	jobs := []*executor.Job[int]{procDouble.Go(p, 1), procDouble.Go(p, 2), procOdd.Go(p, -4)}
	done, pending, err := executor.Wait(context.Background(), executor.AllCompleted, jobs...)
	if len(done) != 3 || len(pending) != 0 || err != nil {
		t.Errorf("Wait: %v, %v, %v", done, pending, err)
	}
	n := 0
	for _, err := range executor.AsCompleted(context.Background(), jobs...) {
		if n++; err != nil {
			t.Error(err)
		}
	}
	if n != 3 {
		t.Errorf("AsCompleted: %d jobs", n)
	}
	testkit.WantPanic(t, "outside of a job of a ProcessPool", func() { _, _ = procDouble.Call(context.Background(), 1) })
	testkit.WantPanic(t, "without a ProcessPool", func() { procDouble.Go(nil, 1) })
}

func TestProcessErrors(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 1})
	for _, tt := range []struct {
		how  string
		is   []error
		text string
	}{
		{"plain", nil, "it is plain"},
		{"known", []error{errKnown}, "wrapped: executor_test: known"},
		{"unknown", nil, "executor_test: unknown"},
		{"canceled", []error{context.Canceled}, "context canceled"},
		{"deadline", []error{context.DeadlineExceeded}, "slow: context deadline exceeded"},
		{"EOF", []error{io.EOF}, "EOF"},
		{"file", []error{fs.ErrNotExist}, "open x: file does not exist"},
		{"both", []error{errKnown, io.EOF}, "executor_test: known\nEOF"},
		{"future", []error{errKnown, future.ErrCanceled}, "canceled: canceled: executor_test: known"},
		{"binary", nil, "\xff\x00"},
	} {
		_, err := result(t, procFail.Go(p, tt.how))
		if err == nil || err.Error() != tt.text {
			t.Errorf("%s: error is %q, want %q", tt.how, err, tt.text)
		}
		for _, is := range []error{errKnown, errUnknown, io.EOF, fs.ErrNotExist, context.DeadlineExceeded, future.ErrCanceled} {
			if want := slices.Contains(tt.is, is); errors.Is(err, is) != want {
				t.Errorf("%s: errors.Is(%v, %v) is %v", tt.how, err, is, !want)
			}
		}
		var remote *executor.RemoteError
		if !errors.As(err, &remote) || remote.Func != "fail" || remote.Type != fmt.Sprintf("%T", failures[tt.how]) {
			t.Errorf("%s: remote error %#v", tt.how, remote)
		}
	}
	if _, err := result(t, procFail.Go(p, "long")); len(err.Error()) > 1<<16+10 {
		t.Errorf("a text of %d bytes", len(err.Error()))
	}
	if j := procFail.Go(p, "future"); !errors.Is(waitErr(t, j), future.ErrCanceled) || !j.Canceled() {
		t.Errorf("%v: a cancellation is a cancellation", j)
	}
	checkJob(t, procDouble.Go(p, 1), 2)
}

func waitErr[T any](t testing.TB, j *executor.Job[T]) error {
	_, err := result(t, j)
	return err
}

func TestProcessPanics(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 1})
	for _, tt := range []struct {
		how, text string
		is        error
	}{
		{"ouch", "ouch", nil},
		{"error", "wrapped: executor_test: known", errKnown},
		{"nil map", "assignment to entry in nil map", nil},
	} {
		err := waitErr(t, procPanic.Go(p, tt.how))
		var pe *coro.PanicError
		if !errors.As(err, &pe) || fmt.Sprint(pe.Value) != tt.text {
			t.Fatalf("%s: error is %v", tt.how, err)
		}
		if !strings.Contains(string(pe.Stack), "process_funcs_test.go") {
			t.Errorf("%s: the stack is not that of the function:\n%s", tt.how, pe.Stack)
		}
		if errors.Is(err, errKnown) != (tt.is != nil) {
			t.Errorf("%s: identity of %v", tt.how, err)
		}
	}
	checkErr(t, procPanic.Go(p, "goexit"), executor.ErrGoexit)
	checkErr(t, procPanic.Go(p, "goexit"), executor.ErrGoexit)
	checkJob(t, procDouble.Go(p, 1), 2)
	if s := p.ProcessStats(); s.Started != 1 {
		t.Errorf("the worker was lost: %+v", s)
	}
	until(t, "all is counted", func() bool { return p.Stats().Done == 6 })
	if s := p.Stats(); s.Panics != 3 {
		t.Errorf("stats %+v", s)
	}
}

// What does not fit into a message, or cannot be one, fails only its own call.
func TestProcessMessages(t *testing.T) {
	absent := executor.Register("absent", func(context.Context, int) (int, error) { return 0, nil }) // too late for workers
	p := newProcesses(t, executor.ProcessConfig{Workers: 1, MaxRequest: 1000, MaxResult: 2000})
	for _, tt := range []struct {
		name string
		err  error
		want error
		text string
	}{
		{"argument over the limit", waitErr(t, procSize.Go(p, strings.Repeat("x", 1001))), executor.ErrTooLarge, "argument of size: executor: message is over the limit of 1000 bytes"},
		{"result over the limit", waitErr(t, procMake.Go(p, 2001)), executor.ErrTooLarge, "result of make"},
		{"result cannot be encoded", waitErr(t, procChan.Go(p, 1)), executor.ErrEncode, "result of chan"},
		{"argument cannot be encoded", waitErr(t, procTake.Go(p, unencodable{make(chan int)})), executor.ErrEncode, "argument of take"},
		{"result is an interface", waitErr(t, procAny.Go(p, 1)), executor.ErrDecode, "result of any"},
		{"unregistered", waitErr(t, absent.Go(p, 1)), executor.ErrUnregistered, "absent"},
	} {
		if !errors.Is(tt.err, tt.want) || !strings.Contains(tt.err.Error(), tt.text) {
			t.Errorf("%s: error is %v, want %v with %q", tt.name, tt.err, tt.want, tt.text)
		}
	}
	checkJob(t, procSize.Go(p, strings.Repeat("x", 900)), 900)
	if s, err := result(t, procMake.Go(p, 1900)); len(s) != 1900 || err != nil {
		t.Errorf("%d bytes, %v", len(s), err)
	}
	if s := p.ProcessStats(); s.Started != 1 {
		t.Errorf("the worker was lost: %+v", s)
	}
}

func TestRegisterPanics(t *testing.T) {
	fn := func(context.Context, int) (int, error) { return 0, nil }
	testkit.WantPanic(t, "executor: Register of double twice", func() { executor.Register("double", fn) })
	testkit.WantPanic(t, "nil function", func() { executor.Register[int, int]("x", nil) })
	testkit.WantPanic(t, "nil function", func() { executor.Register2[int, int, int]("x", nil) })
	testkit.WantPanic(t, "RegisterError of nil", func() { executor.RegisterError("x", nil) })
	testkit.WantPanic(t, "RegisterError of io.EOF twice", func() { executor.RegisterError("io.EOF", io.EOF) })
	testkit.WantPanic(t, "RegisterCodec of gob twice", func() { executor.RegisterCodec(executor.Gob()) })
	testkit.WantPanic(t, "CallConfig is negative", func() { procDouble.With(executor.CallConfig{Retries: -1}) })
	testkit.WantPanic(t, "ProcessConfig.Grace is negative", func() { _, _ = executor.NewProcessPool(executor.ProcessConfig{Grace: -1}) })
	testkit.WantPanic(t, "codec mine is not registered", func() { _, _ = executor.NewProcessPool(executor.ProcessConfig{Codec: myCodec{}}) })
}

type myCodec struct{ executor.Codec }

func (myCodec) Name() string { return "mine" }

func TestProcessQueue(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 1, Prefetch: -1, Queue: 2})
	path := filepath.Join(t.TempDir(), "began")
	first := procListen.Go(p, path)
	untilSlow(t, "the first runs", func() bool { return exists(path) })
	second, third := procDouble.Go(p, 2), procDouble.Go(p, 3)
	checkErr(t, procDouble.Go(p, 4), executor.ErrQueueFull)
	if !second.Cancel() || first.Cancel() {
		t.Error("Cancel is for those that have not started")
	}
	if !first.Interrupt(errKnown) {
		t.Error("the first does not run")
	}
	checkErr(t, first, future.ErrCanceled, errKnown)
	checkErr(t, second, future.ErrCanceled)
	checkJob(t, third, 6)
	if err := p.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	checkErr(t, procDouble.Go(p, 5), executor.ErrClosed)
	s := p.Stats()
	if s.Done != 2 || s.Canceled != 1 || s.Rejected != 2 || s.Running+s.Queued != 0 {
		t.Errorf("stats %+v", s)
	}
}

// A worker that dies takes only the call with it that it was at.
func TestProcessDeaths(t *testing.T) {
	frameOf := func(kind byte, id uint64) string {
		return string(frame.Append(nil, frame.Frame{Kind: kind, ID: id}))
	}
	for _, tt := range []struct {
		name string
		call func(p *executor.ProcessPool) *executor.Job[int]
		text string
	}{
		{"exit", func(p *executor.ProcessPool) *executor.Job[int] { return procExit.Go(p, 3) }, "exit status 3"},
		{"exit with success", func(p *executor.ProcessPool) *executor.Job[int] { return procExit.Go(p, 0) }, "exit status 0"},
		{"kill -9", func(p *executor.ProcessPool) *executor.Job[int] { return procKill.Go(p, int(syscall.SIGKILL)) }, "signal: killed"},
		{"garbage", func(p *executor.ProcessPool) *executor.Job[int] {
			return procGarbage.Go(p, "hello, this is no frame\n")
		}, "garbage"},
		{"little garbage", func(p *executor.ProcessPool) *executor.Job[int] { return procGarbage.Go(p, "x") }, "garbage"},
		{"answer to another call", func(p *executor.ProcessPool) *executor.Job[int] { return procGarbage.Go(p, frameOf(102, 1<<40)) }, "garbage"},
		{"no answer", func(p *executor.ProcessPool) *executor.Job[int] { return procGarbage.Go(p, frameOf(1, 0)) }, "garbage"},
		{"pipe closed", func(p *executor.ProcessPool) *executor.Job[int] { return procCloseOut.Go(p, 0) }, "it has closed the pool's pipe"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProcesses(t, executor.ProcessConfig{Workers: 1})
			var jobs []*executor.Job[int]
			for i := range 5 {
				jobs = append(jobs, procDouble.Go(p, i))
			}
			bad := tt.call(p)
			for i := 5; i < 10; i++ {
				jobs = append(jobs, procDouble.Go(p, i))
			}
			for i, j := range jobs {
				checkJob(t, j, 2*i)
			}
			err := waitErr(t, bad)
			var died *executor.WorkerError
			if !errors.Is(err, executor.ErrWorkerDied) || !errors.As(err, &died) || died.PID == 0 || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error is %v, want ErrWorkerDied with %q", err, tt.text)
			}
			checkJob(t, procDouble.Go(p, 1), 2) // bad may have been the last
			if s := p.ProcessStats(); s.Started != 2 || s.Died != 1 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// The call that a worker has waiting is not the one that died.
func TestProcessKilledFromOutside(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 1, Prefetch: 3})
	path := filepath.Join(t.TempDir(), "began")
	running := procDeaf.Go(p, deafArg{path, time.Minute})
	untilSlow(t, "it runs", func() bool { return exists(path) })
	var waiting []*executor.Job[int]
	for i := range 3 {
		waiting = append(waiting, procDouble.Go(p, i))
	}
	untilSlow(t, "the others wait", func() bool { return p.ProcessStats().Calls == 4 })
	if err := syscall.Kill(p.PIDs()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	err := waitErr(t, running)
	var died *executor.WorkerError
	if !errors.As(err, &died) || died.Cause != nil || died.State == nil || died.State.String() != "signal: killed" {
		t.Errorf("error is %v", err)
	}
	for i, j := range waiting {
		checkJob(t, j, 2*i)
	}
	if s := p.ProcessStats(); s.Returned != 3 || s.Retried != 0 || s.Died != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestProcessHeartbeat(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 1, Heartbeat: 30 * time.Millisecond})
	checkJob(t, procDeaf.Go(p, deafArg{"", 300 * time.Millisecond}), 1) // slow, but there
	stopped, next := procKill.Go(p, int(syscall.SIGSTOP)), procDouble.Go(p, 1)
	err := waitErr(t, stopped)
	if !errors.Is(err, executor.ErrWorkerDied) || !strings.Contains(err.Error(), "heartbeat") {
		t.Errorf("error is %v", err)
	}
	checkJob(t, next, 2)
	if s := p.ProcessStats(); s.Killed != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestProcessTimeout(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 1, Grace: 100 * time.Millisecond, Strict: true})
	limit := executor.CallConfig{Timeout: 50 * time.Millisecond, Retries: 5}
	path := filepath.Join(t.TempDir(), "listens")

	listens := procListen.With(limit).Go(p, path)
	checkErr(t, listens, context.DeadlineExceeded)
	if errors.Is(listens.Err(), executor.ErrWorkerDied) || !exists(path+".done executor: timeout") {
		t.Errorf("it was not asked to end: %v", listens.Err())
	}
	late := procDeaf.With(limit).Go(p, deafArg{"", 60 * time.Millisecond})
	checkJob(t, late, 1) // a late result is one

	for _, bad := range []*executor.Job[int]{
		procDeaf.With(limit).Go(p, deafArg{"", time.Minute}),
		procKill.With(limit).Go(p, int(syscall.SIGSTOP)),
	} {
		began := time.Now()
		checkErr(t, bad, context.DeadlineExceeded, executor.ErrTimeout, executor.ErrWorkerDied)
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("killed after %v", d)
		}
	}
	checkJob(t, procDouble.Go(p, 1), 2) // Strict does not mind
	if s := p.ProcessStats(); s.Killed != 2 || s.Died != 0 || s.Retried != 0 {
		t.Errorf("stats %+v", s)
	}
}

// The Timeout of a call begins when the call does.
func TestProcessTimeoutOfAWaitingCall(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 1, Grace: 50 * time.Millisecond})
	path := filepath.Join(t.TempDir(), "began")
	slow := procDeaf.Go(p, deafArg{path, 500 * time.Millisecond})
	untilSlow(t, "it runs", func() bool { return exists(path) })
	limited := procDouble.With(executor.CallConfig{Timeout: 100 * time.Millisecond}).Go(p, 1)
	checkJob(t, slow, 1)
	checkJob(t, limited, 2)
}

func TestProcessCancel(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 1, Grace: 100 * time.Millisecond})
	dir := t.TempDir()
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		path := filepath.Join(dir, "listens")
		f := procListen.Submit(l, p, path)
		untilSlow(t, "it runs", func() bool { return exists(path) })
		waiting := procDeaf.Submit(l, p, deafArg{filepath.Join(dir, "waiting"), 0})
		untilSlow(t, "the other waits", func() bool { return p.ProcessStats().Calls == 2 })
		waiting.Cancel(nil) // the worker has it, and has not begun
		untilSlow(t, "that is over", func() bool { return p.ProcessStats().Calls == 1 })
		f.Cancel(errors.New("changed my mind"))
		if f.State() != future.Canceled {
			t.Error("the future waits for the worker")
		}
		untilSlow(t, "it has heard", func() bool {
			return exists(path + ".done context canceled: changed my mind")
		})
		n, err := procDouble.Do(ctx, p, 1)
		if n != 2 || err != nil {
			t.Errorf("after that: %d, %v", n, err)
		}
		if exists(filepath.Join(dir, "waiting")) {
			t.Error("a call was made that was canceled before it began")
		}
		return nil
	})
	if s := p.ProcessStats(); s.Started != 1 {
		t.Errorf("who listens lives: %+v", s)
	}
	path := filepath.Join(dir, "deaf")
	deaf, next := procDeaf.Go(p, deafArg{path, time.Minute}), procDouble.Go(p, 1)
	untilSlow(t, "it runs", func() bool { return exists(path) })
	deaf.Interrupt(errKnown)
	checkErr(t, deaf, future.ErrCanceled, errKnown)
	if !deaf.Canceled() {
		t.Errorf("%v", deaf)
	}
	checkJob(t, next, 2)
	if s := p.ProcessStats(); s.Killed != 1 || s.Died != 0 {
		t.Errorf("who does not listen is killed: %+v", s)
	}
}

// A message that the worker does not read keeps nobody.
func TestProcessCancelWhileSending(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 1, Grace: 50 * time.Millisecond, Heartbeat: -1})
	checkJob(t, procDouble.Go(p, 1), 2)
	pid := p.PIDs()[0]
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	j := procSize.Go(p, strings.Repeat("x", 4<<20))
	untilSlow(t, "it has a worker", func() bool { return p.ProcessStats().Calls == 1 })
	j.Interrupt(nil)
	checkErr(t, j, future.ErrCanceled)
	checkJob(t, procDouble.Go(p, 1), 2)
}

func TestProcessRetry(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 1})
	idempotent := executor.CallConfig{Retries: 2}
	path := filepath.Join(t.TempDir(), "once")
	if pid, err := result(t, procOnce.With(idempotent).Go(p, path)); err != nil || pid != p.PIDs()[0] {
		t.Errorf("pid %d, %v", pid, err)
	}
	if s := p.ProcessStats(); s.Retried != 1 || s.Died != 1 {
		t.Errorf("stats %+v", s)
	}
	err := waitErr(t, procExit.With(idempotent).Go(p, 3))
	if !errors.Is(err, executor.ErrWorkerDied) {
		t.Errorf("error is %v", err)
	}
	if s := p.ProcessStats(); s.Retried != 3 || s.Died != 4 {
		t.Errorf("a call that always kills its worker was not made three times: %+v", s)
	}
	checkErr(t, procFail.With(idempotent).Go(p, "known"), errKnown)
	if s := p.ProcessStats(); s.Retried != 3 {
		t.Errorf("an error was retried: %+v", s)
	}
}

func TestProcessMaxJobs(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 2, MaxJobs: 3})
	calls := make(map[int]int)
	var jobs []*executor.Job[int]
	for range 30 {
		jobs = append(jobs, procPID.Go(p, struct{}{}))
	}
	for _, j := range jobs {
		pid, err := result(t, j)
		if err != nil {
			t.Fatal(err)
		}
		calls[pid]++
	}
	for pid, n := range calls {
		if n > 3 {
			t.Errorf("worker %d had %d jobs", pid, n)
		}
	}
	if len(calls) < 10 {
		t.Errorf("%d workers for 30 jobs, 3 for each", len(calls))
	}
	untilSlow(t, "the last have retired", func() bool { return p.ProcessStats().Retired >= 9 })
	if s := p.ProcessStats(); s.Died+s.Killed != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestProcessInit(t *testing.T) {
	for _, tt := range []struct {
		arg  string
		want []error
		text string
	}{
		{"fine", nil, ""},
		{"fail", []error{executor.ErrBroken, errKnown}, "ProcessConfig.Init"},
		{"panic", []error{executor.ErrBroken}, "in init"},
		{"goexit", []error{executor.ErrBroken, executor.ErrGoexit}, ""},
		{"exit", []error{executor.ErrNoWorker, executor.ErrWorkerDied}, "exit status 4"},
		{"hang", []error{executor.ErrNoWorker, executor.ErrWorkerDied}, "not ready after"},
	} {
		t.Run(tt.arg, func(t *testing.T) {
			cfg := executor.ProcessConfig{Workers: 1, Init: procInit.Bind(tt.arg)}
			if tt.arg == "hang" {
				cfg.StartTimeout = 200 * time.Millisecond
			}
			p := newProcesses(t, cfg)
			for range 2 {
				j := procInitArg.Go(p, struct{}{})
				s, err := result(t, j)
				if tt.want == nil && (s != "fine" || err != nil) {
					t.Errorf("%q, %v", s, err)
				}
				for _, want := range tt.want {
					if !errors.Is(err, want) || !strings.Contains(err.Error(), tt.text) {
						t.Errorf("error is %v, want %v with %q", err, want, tt.text)
					}
				}
			}
		})
	}
	_, err := executor.NewProcessPool(executor.ProcessConfig{Init: procInit.Bind(strings.Repeat("x", 100)), MaxRequest: 50})
	if !errors.Is(err, executor.ErrTooLarge) {
		t.Errorf("an argument that is too large: %v", err)
	}
}

func TestProcessCannotStart(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 2, Dir: filepath.Join(t.TempDir(), "absent")})
	jobs := []*executor.Job[int]{procDouble.Go(p, 1), procDouble.Go(p, 2), procDouble.Go(p, 3)}
	for _, j := range jobs {
		checkErr(t, j, executor.ErrNoWorker, fs.ErrNotExist)
	}
	checkErr(t, procDouble.Go(p, 4), executor.ErrNoWorker)
}

// A codec that only the pool knows is a reason not to start, and says so.
func TestProcessCodecOfTheParentOnly(t *testing.T) {
	late := lateCodec{executor.JSON()}
	executor.RegisterCodec(late)
	p := newProcesses(t, executor.ProcessConfig{Workers: 1, Codec: late})
	err := waitErr(t, procDouble.Go(p, 1))
	if !errors.Is(err, executor.ErrNoWorker) || !strings.Contains(err.Error(), "codec late is not registered") {
		t.Errorf("error is %v", err)
	}
}

type lateCodec struct{ executor.Codec }

func (lateCodec) Name() string { return "late" }

// Workers that die one after another are replaced ever more slowly, and at once again
// when one has answered.
func TestProcessBackOff(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 1, Prefetch: -1})
	began := time.Now()
	for range 6 {
		checkErr(t, procExit.Go(p, 3), executor.ErrWorkerDied)
	}
	const least = (10 + 20 + 40 + 80) * time.Millisecond
	if d := time.Since(began); d < least {
		t.Errorf("6 deaths in %v, want at least %v", d, least)
	}
	checkJob(t, procDouble.Go(p, 1), 2)
	checkErr(t, procExit.Go(p, 3), executor.ErrWorkerDied)
	checkJob(t, procDouble.Go(p, 1), 2)
	if s := p.ProcessStats(); s.Died != 7 || s.Started != 8 {
		t.Errorf("stats %+v", s)
	}
}

func TestProcessEnvironment(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := newProcesses(t, executor.ProcessConfig{Workers: 1, Dir: dir, Env: []string{"EDDY_TEST_COLOR=green"}})
	checkJob(t, procEnv.Go(p, "EDDY_TEST_COLOR"), "green")
	checkJob(t, procEnv.Go(p, "PATH"), "")
	checkJob(t, procEnv.Go(p, "EDDY_EXECUTOR_WORKER"), "")
	checkJob(t, procEnv.Go(p, "PWD"), dir)
}

// A worker has the two ends of its pipe and none of other workers'.
func TestProcessDescriptors(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 4})
	want := countPipes(true) + 2
	var jobs []*executor.Job[int]
	for range 8 {
		jobs = append(jobs, procPipes.Go(p, struct{}{}))
	}
	for _, j := range jobs {
		checkJob(t, j, want)
	}
}

// Nothing is left of a pool: no process, no zombie, no descriptor.
func TestProcessNothingIsLeft(t *testing.T) {
	cycle := func() {
		p := newProcesses(t, executor.ProcessConfig{Workers: 2})
		checkJob(t, procDouble.Go(p, 1), 2)
		checkErr(t, procExit.Go(p, 1), executor.ErrWorkerDied)
		checkErr(t, procGarbage.Go(p, strings.Repeat("garbage", 10)), executor.ErrWorkerDied)
		checkJob(t, procDouble.Go(p, 1), 2)
		if err := p.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	before := countFDs()
	for range 5 {
		cycle()
	}
	if after := countFDs(); after > before {
		t.Errorf("%d descriptors, then %d", before, after)
	}
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("there is a child left: %d, %v", pid, err)
	}
}

// A call behind a long one goes to a worker that has nothing to do.
func TestProcessCallsAreTakenBack(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 2})
	path := filepath.Join(t.TempDir(), "began")
	long := procListen.Go(p, path)
	untilSlow(t, "it runs", func() bool { return exists(path) })
	var jobs []*executor.Job[int]
	for range 3 {
		jobs = append(jobs, procDeaf.Go(p, deafArg{"", 100 * time.Millisecond}))
	}
	for _, j := range jobs {
		checkJob(t, j, 1)
	}
	if s := p.ProcessStats(); s.Returned == 0 || s.Started != 2 {
		t.Errorf("stats %+v", s)
	}
	long.Interrupt(nil)
	checkErr(t, long, future.ErrCanceled)
}

// The end of the thread that happened to want a worker is not its end.
func TestProcessSurvivesThreads(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 1})
	var pid int
	for range 3 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and its thread ends with it
			got, err := result(t, procPID.Go(p, struct{}{}))
			if err != nil || pid != 0 && got != pid {
				t.Errorf("worker %d, %v, before it was %d", got, err, pid)
			}
			pid = got
		}()
		<-done
	}
}

func TestProcessMap(t *testing.T) {
	p := newProcesses(t, executor.ProcessConfig{Workers: 2})
	ctx := context.Background()
	for _, chunk := range []int{0, 1, 3, 7, 100} {
		cfg := executor.MapConfig{Chunk: chunk}
		var got, want []int
		for i := range 50 {
			want = append(want, 2*i)
		}
		for n, err := range procDouble.Map(ctx, p, upTo(50), cfg) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, n)
		}
		if !slices.Equal(got, want) {
			t.Errorf("chunk %d: %v", chunk, got)
		}
		got = nil
		for n, err := range procDouble.MapUnordered(ctx, p, upTo(50), cfg) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, n)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("chunk %d, unordered: %v", chunk, got)
		}
		n := 0
		for range procDouble.Map(ctx, p, repeat(1, 1<<30), cfg) {
			if n++; n == 10 {
				break
			}
		}
		n = 0
		for _, err := range procNothing.Map(ctx, p, repeat(struct{}{}, 20), cfg) {
			if n++; err != nil {
				t.Error(err)
			}
		}
		if n != 20 {
			t.Errorf("chunk %d: %d values without content", chunk, n)
		}
	}
	var got []int
	for n, err := range procPower.Map(ctx, p, executor.Pairs(slices.All([]int{5, 3, 2})), executor.MapConfig{Chunk: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	if want := []int{0, 1, 4}; !slices.Equal(got, want) {
		t.Errorf("starmap: %v, want %v", got, want)
	}
}

func TestProcessMapErrors(t *testing.T) {
	for _, tt := range []struct {
		bad  int
		want error
		text string
	}{
		{-1, nil, "minus one"},
		{-2, executor.ErrGoexit, ""},
		{-3, executor.ErrWorkerDied, "exit status 3"},
		{-4, errKnown, ""},
	} {
		for _, chunk := range []int{1, 4} {
			p := newProcesses(t, executor.ProcessConfig{Workers: 2})
			in := []int{0, 1, 2, 3, 4, 5, tt.bad, 7, 8, 9}
			n := 0
			var last error
			for v, err := range procOdd.Map(context.Background(), p, slices.Values(in), executor.MapConfig{Chunk: chunk}) {
				if last = err; err == nil && v != 2*n+1 {
					t.Errorf("value %d is %d", n, v)
				}
				n++
			}
			index := 6
			if tt.bad == -3 && chunk == 4 {
				index = 4 // the chunk has died
			}
			var me *executor.MapError
			if !errors.As(last, &me) || me.Index != index || n != index+1 || !strings.Contains(last.Error(), tt.text) ||
				tt.want != nil && !errors.Is(last, tt.want) {
				t.Errorf("chunk %d, value %d: after %d pairs: %v", chunk, tt.bad, n, last)
			}
		}
	}
}

// Edge case 140 of asyncio's: a worker that dies breaks the pool, as Python's does,
// if it is Strict; a result that cannot be encoded fails only its own call in any
// case.
func TestEdge140_WorkerDies(t *testing.T) {
	for _, strict := range []bool{true, false} {
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			p := newProcesses(t, executor.ProcessConfig{Workers: 2, Strict: strict})
			checkErr(t, procChan.Go(p, 1), executor.ErrEncode)
			checkJob(t, procDouble.Go(p, 1), 2)

			path := filepath.Join(t.TempDir(), "began")
			other := procListen.Go(p, path)
			untilSlow(t, "the other runs", func() bool { return exists(path) })
			path = filepath.Join(t.TempDir(), "victim")
			victim := procDeaf.Go(p, deafArg{path, time.Minute})
			untilSlow(t, "the victim runs", func() bool { return exists(path) })
			var pending []*executor.Job[int]
			for i := range 10 {
				pending = append(pending, procDouble.Go(p, i))
			}
			killByFile(t, path)
			if strict {
				for _, j := range append(pending, victim, other, procDouble.Go(p, 1)) {
					checkErr(t, j, executor.ErrBroken, executor.ErrWorkerDied)
				}
				checkErr(t, procDouble.Go(p, 1), executor.ErrBroken) // for ever after
				return
			}
			checkErr(t, victim, executor.ErrWorkerDied)
			for i, j := range pending {
				checkJob(t, j, 2*i)
			}
			other.Interrupt(nil)
			checkErr(t, other, future.ErrCanceled)
			checkJob(t, procDouble.Go(p, 1), 2)
		})
	}
}

func TestProcessShutdown(t *testing.T) {
	const deadline = 100 * time.Millisecond
	for _, tt := range []struct {
		name string
		now  bool
	}{{"Shutdown", false}, {"ShutdownNow", true}} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProcesses(t, executor.ProcessConfig{Workers: 1, Prefetch: -1, Grace: time.Minute})
			path := filepath.Join(t.TempDir(), "began")
			stuck := procDeaf.Go(p, deafArg{path, time.Minute})
			untilSlow(t, "it runs", func() bool { return exists(path) })
			queued := procDouble.Go(p, 1)
			ctx, cancel := context.WithTimeout(context.Background(), deadline)
			defer cancel()
			began := time.Now()
			down := p.Shutdown
			if tt.now {
				down = p.ShutdownNow
			}
			err := down(ctx)
			if d := time.Since(began); d < deadline || d > deadline+time.Second {
				t.Errorf("took %v, want %v", d, deadline)
			}
			var se *executor.ShutdownError
			if !errors.As(err, &se) || len(se.Stuck) != 1 || se.Canceled != 1 || !strings.Contains(se.Stuck[0].Func, "executor_test") {
				t.Errorf("error is %v", err)
			}
			checkErr(t, stuck, future.ErrCanceled, executor.ErrClosed)
			checkErr(t, queued, future.ErrCanceled, executor.ErrClosed)
			if err := p.Shutdown(context.Background()); err != nil {
				t.Errorf("the second: %v", err)
			}
		})
	}
	t.Run("early", func(t *testing.T) {
		p := newProcesses(t, executor.ProcessConfig{Workers: 2})
		var jobs []*executor.Job[int]
		for i := range 100 {
			jobs = append(jobs, procDouble.Go(p, i))
		}
		began := time.Now()
		if err := p.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("took %v", d)
		}
		for i, j := range jobs {
			checkJob(t, j, 2*i)
		}
		if s := p.ProcessStats(); s.Retired != s.Started || s.Started == 0 {
			t.Errorf("workers did not end by themselves: %+v", s)
		}
	})
	t.Run("unused", func(t *testing.T) {
		p := newProcesses(t, executor.ProcessConfig{})
		if err := p.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// R58: a shutdown returns when its time is up, having killed who did not listen, and
// soon after the last call, whatever its deadline.
func TestR58_ProcessPoolKeepsItsDeadlineTimed(t *testing.T) {
	const patience, grace = 50 * time.Millisecond, 20 * time.Millisecond
	late, early := time.Hour, time.Hour
	for range 5 { // a busy machine may be late
		p := newProcesses(t, executor.ProcessConfig{Workers: 2, Grace: time.Minute})
		dir := t.TempDir()
		for i := range 2 {
			path := filepath.Join(dir, strconv.Itoa(i))
			procDeaf.Go(p, deafArg{path, time.Minute})
			untilSlow(t, "it runs", func() bool { return exists(path) })
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		began := time.Now()
		err := p.Shutdown(ctx)
		late = min(late, time.Since(began)-patience)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error is %v", err)
		}
		p = newProcesses(t, executor.ProcessConfig{Workers: 2})
		var jobs []*executor.Job[int]
		for i := range 100 {
			jobs = append(jobs, procDouble.Go(p, i))
		}
		_, _, _ = executor.Wait(t.Context(), executor.AllCompleted, jobs...)
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		began = time.Now()
		if err := p.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		early = min(early, time.Since(began))
		cancel()
	}
	if late > grace || early > grace {
		t.Errorf("a shutdown was %v late, and took %v after the last call, want no more than %v", late, early, grace)
	}
	t.Logf("late by %v; %v after the last call", late, early)
}

func TestProcessKillAndTerminate(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(p *executor.ProcessPool)
	}{{"Kill", (*executor.ProcessPool).Kill}, {"Terminate", (*executor.ProcessPool).Terminate}} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProcesses(t, executor.ProcessConfig{Workers: 2, Grace: time.Minute, Strict: true})
			dir := t.TempDir()
			var jobs []*executor.Job[int]
			for i := range 2 {
				jobs = append(jobs, procDeaf.Go(p, deafArg{filepath.Join(dir, fmt.Sprint(i)), time.Minute}))
			}
			untilSlow(t, "both run", func() bool { return exists(dir+"/0") && exists(dir+"/1") })
			for i := range 10 {
				jobs = append(jobs, procDouble.Go(p, i))
			}
			tt.end(p)
			for _, j := range jobs {
				checkErr(t, j, future.ErrCanceled, executor.ErrClosed)
			}
			checkErr(t, procDouble.Go(p, 1), executor.ErrClosed)
			if err := p.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWithProcesses(t *testing.T) {
	var j *executor.Job[int]
	err := executor.WithProcesses(context.Background(), executor.ProcessConfig{Workers: 1}, func(p *executor.ProcessPool) error {
		j = procDouble.Go(p, 1)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	checkJob(t, j, 2)
	path := filepath.Join(t.TempDir(), "began")
	err = executor.WithProcesses(context.Background(), executor.ProcessConfig{Workers: 1}, func(p *executor.ProcessPool) error {
		j = procListen.Go(p, path)
		untilSlow(t, "it runs", func() bool { return exists(path) })
		return errKnown
	})
	if err != errKnown {
		t.Errorf("error is %v", err)
	}
	checkErr(t, j, future.ErrCanceled)
}

// helper runs this test as a program of another kind: see TestMain.
func helper(t *testing.T, kind string) *exec.Cmd {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), "EDDY_TEST_HELPER="+kind)
	return cmd
}

func runHelper(kind string) {
	switch kind {
	case "": // this is the test, or a worker of it
		return
	case "no hook":
		_, err := executor.NewProcessPool(executor.ProcessConfig{})
		fmt.Println(errors.Is(err, executor.ErrNoWorkerMain), err)
		os.Exit(0)
	case "output":
		executor.WorkerMain()
		p, err := executor.NewProcessPool(executor.ProcessConfig{Workers: 1})
		if err != nil {
			panic(err)
		}
		_, err = procPrint.Go(p, "printed;").Result(context.Background())
		fmt.Print(err, p.Shutdown(context.Background()))
		os.Exit(0)
	case "parent":
		executor.WorkerMain()
		p, err := executor.NewProcessPool(executor.ProcessConfig{Workers: 2})
		if err != nil {
			panic(err)
		}
		a, b := procSpin.Go(p, time.Hour), procSpin.Go(p, time.Hour)
		for p.ProcessStats().Workers < 2 {
			time.Sleep(time.Millisecond)
		}
		fmt.Println("ready")
		fmt.Println(executor.Wait(context.Background(), executor.FirstCompleted, a, b))
	}
}

// A program that does not call WorkerMain gets an error, not itself many times over.
func TestProcessNoWorkerMain(t *testing.T) {
	out, err := helper(t, "no hook").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "true executor: NewProcessPool before WorkerMain") {
		t.Errorf("%s, %v", out, err)
	}
}

// What workers print is printed.
func TestProcessOutput(t *testing.T) {
	cmd := helper(t, "output")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stdout.String() != "printed;<nil> <nil>" || stderr.String() != "printed;" {
		t.Errorf("%v, printed %q and %q", err, &stdout, &stderr)
	}
}

// Workers end with the pool's process, even if that is killed.
func TestProcessParentDies(t *testing.T) {
	cmd := helper(t, "parent")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line [6]byte
	if _, err := io.ReadFull(out, line[:]); err != nil || string(line[:]) != "ready\n" {
		t.Errorf("it said %q, %v", line, err)
	}
	_ = cmd.Process.Kill()
	// Its output ends when all who have it do.
	over := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, out); over <- err }()
	select {
	case <-over:
	case <-time.After(20 * time.Second):
		t.Error("workers are left")
	}
	_ = cmd.Wait()
}
