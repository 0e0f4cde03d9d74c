package thread

import (
	"context"
	"reflect"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"
)

// Config configures a Thread. The zero value is right for production.
type Config struct {
	// Name is what reports call the thread, and profiles and dumps by the label
	// "thread". Default "": the name of its function.
	Name string
	// Daemon is whether [Group.Join] does not wait for the thread. Default false.
	Daemon bool
	// OnError is told, on the thread, what ended it when it did not end well; see
	// [Thread]. Default nil: the group's; if that is nil too the error is logged by
	// package log/slog. (threading: excepthook)
	OnError func(t *Thread, err error)
	// Group is where the thread is listed while it is alive. Default nil: nowhere.
	Group *Group
}

// A Thread is a goroutine that has a name, can be waited for, and may fail without
// ending the program. Its methods may be called from any goroutine. Make it with
// [New]. (threading: Thread)
//
//	new --Start--> alive --body has ended, OnError has returned--> ended
//
// If the body returns an error, panics (a [*PanicError]) or calls runtime.Goexit
// ([ErrGoexit]), that is kept for Err and told to OnError; an error that says that
// the body's ctx is done is kept, but not told. If OnError fails itself, both are
// logged.
type Thread struct {
	body func(ctx context.Context) error
	cfg  Config

	mu      sync.Mutex // guards cfg.Name, cfg.Daemon and what follows
	started bool
	err     error
	ended   chan struct{}
}

// New returns a thread that will run body when it is started.
func New(cfg Config, body func(ctx context.Context) error) *Thread {
	if body == nil {
		panic("thread: Thread without a body")
	}
	if cfg.Name == "" {
		cfg.Name = runtime.FuncForPC(reflect.ValueOf(body).Pointer()).Name()
	}
	return &Thread{body: body, cfg: cfg, ended: make(chan struct{})}
}

type contextKey struct{}

// FromContext returns the thread whose body was given ctx, or a context derived
// from it, or nil. (threading: current_thread)
func FromContext(ctx context.Context) *Thread {
	t, _ := ctx.Value(contextKey{}).(*Thread)
	return t
}

// Start makes the goroutine. ctx is only handed on to the body, with the thread in
// it. Start panics if the thread was started before.
func (t *Thread) Start(ctx context.Context) {
	t.mu.Lock()
	if t.started {
		t.mu.Unlock()
		panic("thread: Thread was started twice")
	}
	t.started = true
	name := t.cfg.Name
	if t.cfg.Group != nil {
		t.cfg.Group.add(t, t.cfg.Daemon)
	}
	t.mu.Unlock()
	ctx = context.WithValue(ctx, contextKey{}, t)
	go pprof.Do(ctx, pprof.Labels("thread", name), t.run)
}

func (t *Thread) run(ctx context.Context) {
	defer t.end()
	guard(func() error { return t.body(ctx) }, func(err error) {
		if err == nil {
			return
		}
		t.mu.Lock()
		t.err = err
		t.mu.Unlock()
		if !isEndOf(ctx, err) {
			t.tell(err)
		}
	})
}

// end says that nothing of the thread runs any more.
func (t *Thread) end() {
	if t.cfg.Group != nil {
		t.cfg.Group.remove(t)
	} else {
		close(t.ended)
	}
}

// isEndOf reports whether err says no more than that ctx is done.
func isEndOf(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (err == ctx.Err() || err == context.Cause(ctx))
}

func (t *Thread) tell(err error) {
	hook := t.cfg.OnError
	if hook == nil && t.cfg.Group != nil {
		hook = t.cfg.Group.OnError
	}
	if hook == nil {
		tell(nil, "thread: "+t.Name(), err)
		return
	}
	tell(func(err error) { hook(t, err) }, "thread: "+t.Name(), err)
}

// Join waits until the thread has ended; how, Err tells. It returns ctx.Err() when
// ctx is done, which does not touch the thread. It may be called again, and by
// many. It panics if the thread was not started, or if ctx is that of the thread
// itself.
func (t *Thread) Join(ctx context.Context) error { return t.join(ctx, forever) }

// JoinTimeout is Join that waits for no longer than d; then it returns
// [ErrTimeout].
func (t *Thread) JoinTimeout(ctx context.Context, d time.Duration) error {
	return t.join(ctx, max(d, 0))
}

func (t *Thread) join(ctx context.Context, d time.Duration) error {
	t.mu.Lock()
	started := t.started
	t.mu.Unlock()
	if !started {
		panic("thread: Join of a Thread that was not started")
	}
	if FromContext(ctx) == t {
		panic("thread: Join of a Thread by itself")
	}
	return awaitClosed(ctx, d, t.ended)
}

// Alive reports whether the thread was started and has not ended. (threading:
// is_alive)
func (t *Thread) Alive() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.started {
		return false
	}
	select {
	case <-t.ended:
		return false
	default:
		return true
	}
}

// Err returns what ended the thread: nil while it is alive or if it ended well.
func (t *Thread) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.ended:
		return t.err
	default:
		return nil
	}
}

// Ended returns a channel that is closed when the thread has ended.
func (t *Thread) Ended() <-chan struct{} { return t.ended }

// Name returns what the thread is called.
func (t *Thread) Name() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cfg.Name
}

// SetName changes what the thread is called; the label in profiles stays what it
// was at the start.
func (t *Thread) SetName(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cfg.Name = name
}

// Daemon reports whether [Group.Join] does not wait for the thread.
func (t *Thread) Daemon() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cfg.Daemon
}

// SetDaemon changes what Daemon reports. It panics if the thread was started.
func (t *Thread) SetDaemon(daemon bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started {
		panic("thread: SetDaemon of a Thread that was started")
	}
	t.cfg.Daemon = daemon
}

// String returns the name.
func (t *Thread) String() string { return t.Name() }

func (*Thread) owner() {}
