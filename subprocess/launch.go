package subprocess

import (
	"context"
	"os"
	"os/exec"
	"sync/atomic"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/future"
)

// A launch is a process that is being started: a job, because the system blocks the
// thread until the program has been loaded.
//
//	pending --started, or failed--> delivered --taken--> gone
//	pending --abandon--> abandoned --started--> discarded by the job
//	delivered --abandon--> abandoned, discarded by whoever abandons
//
// The state decides to whom a process belongs at each moment, because the job's future
// may be settled, by a shutdown, while the job goes on.
type launch struct {
	cmd   Cmd
	n     *nursery
	job   *future.Future[struct{}]
	state atomic.Uint32

	// Written by the job, read by whoever owns them.
	os   *os.Process
	pipe [3]int // our ends; -1: none
	err  error
}

const (
	pending uint32 = iota
	delivered
	abandoned
)

// launch begins to start a process.
func (n *nursery) launch(c *Cmd) *launch {
	c.check()
	s := &launch{cmd: *c, n: n, pipe: [3]int{-1, -1, -1}}
	n.starting[s] = struct{}{}
	s.job = executor.Submit(n.l, n.pool, s.run)
	return s
}

// run is the job.
func (s *launch) run(context.Context) (struct{}, error) {
	if s.state.Load() == pending {
		s.err = s.spawn()
		if !s.state.CompareAndSwap(pending, delivered) {
			s.discard()
		}
	}
	return struct{}{}, nil
}

// await waits for the process, and for its end if the wait is interrupted.
func (s *launch) await(ctx context.Context) error {
	_, err := future.Shield(s.job).Await(ctx)
	if err == nil {
		return s.err
	}
	// Another interruption ends this wait, too, and the rest goes on without us.
	_, _ = future.Shield(s.abandon()).Await(context.WithoutCancel(ctx))
	return err
}

// take makes the process the caller's, who is on the loop. It reports false if it was
// abandoned.
func (s *launch) take() bool {
	delete(s.n.starting, s)
	return s.state.Load() != abandoned
}

// abandon has the process ended, or never started, and returns when that is done.
func (s *launch) abandon() *future.Future[struct{}] {
	delete(s.n.starting, s)
	if s.state.Swap(abandoned) != delivered {
		return s.job
	}
	// No job of the pool: the loop's end would cancel one that has not begun.
	gone, p := future.New[struct{}](s.n.l)
	release := s.n.l.Hold()
	s.n.discards.Go(func() {
		s.discard()
		_ = s.n.l.CallSoonThreadsafe(func() { p.Resolve(struct{}{}) }) // nobody waits on a closed loop
		release()
	})
	return gone
}

// discard ends a process that nobody wants. It blocks until that is gone.
func (s *launch) discard() {
	s.closePipes()
	if s.os == nil {
		return
	}
	if s.cmd.NewGroup {
		_ = signalGroup(s.os, -1, kill)
	}
	_ = s.os.Kill()
	_, _ = s.os.Wait() // for its zombie
}

func (s *launch) closePipes() {
	for i, fd := range s.pipe {
		if fd >= 0 {
			closeFD(fd)
			s.pipe[i] = -1
		}
	}
}

// spawn starts the process. It runs in the job.
func (s *launch) spawn() (err error) {
	c := &s.cmd
	path := c.path()
	argv := c.Args
	if len(argv) == 0 {
		argv = []string{path}
	}
	if path, err = exec.LookPath(path); err != nil {
		return err
	}
	sys, err := sysAttr(c)
	if err != nil {
		return err
	}
	env, err := c.environ()
	if err != nil {
		return err
	}
	var f files
	defer f.close()
	if err := f.open(s); err != nil {
		s.closePipes()
		return err
	}
	s.os, err = os.StartProcess(path, argv, &os.ProcAttr{Dir: c.Dir, Env: env, Files: f.all, Sys: sys})
	if err != nil {
		s.closePipes()
	}
	return err
}

// environ returns nil for the environment of this process.
func (c *Cmd) environ() ([]string, error) {
	if c.Env == nil && c.Dir == "" {
		return nil, nil
	}
	for _, kv := range c.Env {
		if err := checkString(kv); err != nil {
			return nil, err // package exec would leave it out
		}
	}
	return (&exec.Cmd{Env: c.Env, Dir: c.Dir, SysProcAttr: c.SysProcAttr}).Environ(), nil
}

// files are the files that the process begins with.
type files struct {
	all  []*os.File
	own  []*os.File // of these, those to be closed once it has begun
	null *os.File
}

func (f *files) close() {
	for _, x := range f.own {
		_ = x.Close() // nothing was written
	}
}

// open opens them.
func (f *files) open(s *launch) error {
	c := &s.cmd
	inherited := [3]*os.File{os.Stdin, os.Stdout, os.Stderr}
	for i, spec := range [3]Stdio{c.Stdin, c.Stdout, c.Stderr} {
		var x *os.File
		var err error
		switch spec := spec.(type) {
		case nil:
			x, err = f.nullDevice()
		case fileStdio:
			x, err = checkFile(spec.f)
		case Redirect:
			switch spec {
			case Pipe:
				x, err = f.newPipe(s, i)
			case Inherit:
				x = inherited[i]
			case ToStdout:
				x = f.all[1]
			}
		}
		if err != nil {
			return err
		}
		f.all = append(f.all, x)
	}
	for _, x := range c.ExtraFiles {
		if _, err := checkFile(x); err != nil {
			return err
		}
		f.all = append(f.all, x)
	}
	return nil
}

// checkFile refuses a file that is closed: package os would begin the process without
// that descriptor. It does so for a nil one, too, which can be meant.
func checkFile(x *os.File) (*os.File, error) {
	if x != nil && x.Fd() == ^uintptr(0) {
		return nil, &os.PathError{Op: "subprocess", Path: x.Name(), Err: os.ErrClosed}
	}
	return x, nil
}

func (f *files) newPipe(s *launch, i int) (x *os.File, err error) {
	if x, s.pipe[i], err = newPipe(i == 0); err == nil {
		f.own = append(f.own, x)
	}
	return x, err
}

func (f *files) nullDevice() (*os.File, error) {
	if f.null != nil {
		return f.null, nil
	}
	x, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err == nil {
		f.null = x
		f.own = append(f.own, x)
	}
	return x, err
}
