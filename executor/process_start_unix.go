//go:build unix

package executor

import (
	"os"
	"runtime"
	"syscall"

	"github.com/eddyloop/eddy/internal/frame"
)

const processesSupported = true

// spawnAll is the goroutine that starts processes.
//
// It keeps its thread, because on Linux a worker is killed when the thread ends that
// has started it, and others may: those of goroutines that do not unlock them.
func (p *ProcessPool) spawnAll() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		select {
		case <-p.spawn:
			p.startOne()
		case <-p.gone:
			return
		}
	}
}

// startOne starts a process, if it is still wanted.
func (p *ProcessPool) startOne() {
	p.mu.Lock()
	if p.closed != nil {
		p.starting--
		p.checkGone()
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	w, err := p.launch()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.startFailed(err)
		if p.closed == nil {
			p.dispatch()
		}
		p.checkGone()
		return
	}
	p.counts.started++
	p.all[w] = struct{}{}
	if p.closed != nil {
		w.kill(nil, p.closed)
	}
	go w.await()
	go w.live()
}

// launch starts a process.
func (p *ProcessPool) launch() (*proc, error) {
	path, err := ownPath()
	if err != nil {
		return nil, err
	}
	var open files
	defer open.close()
	null, err := open.add(os.Open(os.DevNull))
	if err != nil {
		return nil, err
	}
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	open = append(open, childIn)
	out, childOut, err := os.Pipe()
	if err != nil {
		_ = in.Close()
		return nil, err
	}
	open = append(open, childOut)
	env := p.cfg.Env
	if env == nil {
		env = os.Environ()
	}
	child, err := os.StartProcess(path, []string{os.Args[0]}, &os.ProcAttr{
		Dir:   p.cfg.Dir,
		Env:   append(env[:len(env):len(env)], workerEnv+"=1"),
		Files: []*os.File{null, os.Stdout, os.Stderr, workerIn: childIn, workerOut: childOut},
		Sys:   sysProcAttr(),
	})
	if err != nil {
		_ = in.Close()
		_ = out.Close()
		return nil, err
	}
	return &proc{
		p: p, os: child, in: in, out: out, exited: make(chan struct{}), writing: make(chan struct{}, 1),
		frames: frame.NewReader(out, p.cfg.MaxResult+frameSlack),
	}, nil
}

// files are to be closed.
type files []*os.File

func (fs *files) add(f *os.File, err error) (*os.File, error) {
	if err == nil {
		*fs = append(*fs, f)
	}
	return f, err
}

func (fs *files) close() {
	for _, f := range *fs {
		_ = f.Close()
	}
}

// terminate asks a process to end.
func terminate(p *os.Process) { _ = p.Signal(syscall.SIGTERM) }

// channel returns a descriptor that the process was started with, so that reading
// and writing does not hold a thread and no child inherits it.
func channel(fd int, name string) (*os.File, error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return nil, os.NewSyscallError("fstat "+name, err)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return nil, &os.PathError{Op: "use", Path: name, Err: syscall.ENOTTY}
	}
	syscall.CloseOnExec(fd)
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
