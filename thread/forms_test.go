package thread_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eddyloop/eddy/thread"
)

// A subject is one call that may wait, in the state in which it waits.
type subject struct {
	wait    func(ctx context.Context) error
	timeout func(ctx context.Context, d time.Duration) error
	wake    func() // lets one call that waits succeed, or the next one that is made
	waiting func() int
	end     func() // what must be ended
	instead error  // what timeouts are beside ErrTimeout
	later   bool   // what wake does takes effect when another goroutine has run
}

func nothing() {}

// subjects makes them all.
var subjects = map[string]func(t *testing.T) subject{
	"Lock": func(t *testing.T) subject {
		l := new(thread.Lock)
		must(t, l.Acquire(bg))
		return subject{wait: l.Acquire, timeout: l.AcquireTimeout, wake: l.Release, waiting: l.Waiting, end: nothing}
	},
	"RLock": func(t *testing.T) subject {
		l, other, me := new(thread.RLock), thread.NewOwner("other"), thread.NewOwner("me")
		must(t, l.Acquire(bg, other))
		return subject{
			wait:    func(ctx context.Context) error { return l.Acquire(ctx, me) },
			timeout: func(ctx context.Context, d time.Duration) error { return l.AcquireTimeout(ctx, me, d) },
			wake:    func() { l.Release(other) },
			waiting: l.Waiting, end: nothing,
		}
	},
	"Semaphore": func(t *testing.T) subject {
		s := thread.NewSemaphore(0)
		return subject{wait: s.Acquire, timeout: s.AcquireTimeout, wake: s.Release, waiting: s.Waiting, end: nothing}
	},
	"Event": func(t *testing.T) subject {
		e := new(thread.Event)
		return subject{wait: e.Wait, timeout: e.WaitTimeout, wake: e.Set, waiting: e.Waiting, end: nothing}
	},
	"Cond": func(t *testing.T) subject {
		l := new(thread.Lock)
		c := thread.NewCond(l)
		there := false
		locked := func(fn func() error) error {
			must(t, l.Acquire(bg))
			defer l.Release()
			return fn()
		}
		return subject{
			wait: func(ctx context.Context) error {
				return locked(func() error { return c.WaitFor(ctx, func() bool { return there }) })
			},
			timeout: func(ctx context.Context, d time.Duration) error {
				return locked(func() error { return c.WaitForTimeout(ctx, func() bool { return there }, d) })
			},
			wake: func() {
				_ = locked(func() error { there = true; c.Notify(1); return nil })
			},
			waiting: c.Waiting, end: nothing,
		}
	},
	"Queue.Put": func(t *testing.T) subject {
		q := thread.NewQueue[int](1)
		must(t, q.Put(bg, 0))
		return subject{
			wait:    func(ctx context.Context) error { return q.Put(ctx, 1) },
			timeout: func(ctx context.Context, d time.Duration) error { return q.PutTimeout(ctx, 1, d) },
			wake:    func() { _, _ = q.TryGet() },
			waiting: func() int { return q.Stats().Putters }, end: nothing,
			instead: thread.ErrFull,
		}
	},
	"Queue.Get": func(t *testing.T) subject {
		q := thread.NewQueue[int](0)
		return subject{
			wait:    func(ctx context.Context) error { _, err := q.Get(ctx); return err },
			timeout: func(ctx context.Context, d time.Duration) error { _, err := q.GetTimeout(ctx, d); return err },
			wake:    func() { must(t, q.TryPut(1)) },
			waiting: func() int { return q.Stats().Getters }, end: nothing,
			instead: thread.ErrEmpty,
		}
	},
	"Queue.Join": func(t *testing.T) subject {
		q := thread.NewQueue[int](0)
		must(t, q.Put(bg, 0))
		return subject{wait: q.Join, timeout: q.JoinTimeout, wake: q.Done, waiting: func() int { return q.Stats().Joiners }, end: nothing}
	},
	"SimpleQueue.Get": func(t *testing.T) subject {
		q := new(thread.SimpleQueue[int])
		return subject{
			wait:    func(ctx context.Context) error { _, err := q.Get(ctx); return err },
			timeout: func(ctx context.Context, d time.Duration) error { _, err := q.GetTimeout(ctx, d); return err },
			wake:    func() { q.Put(1) },
			waiting: q.Waiting, end: nothing,
			instead: thread.ErrEmpty,
		}
	},
	"Thread.Join": func(t *testing.T) subject {
		e := new(thread.Event)
		th := thread.New(thread.Config{}, e.Wait)
		th.Start(bg)
		return subject{wait: th.Join, timeout: th.JoinTimeout, wake: e.Set, end: e.Set, later: true}
	},
	"Group.Join": func(t *testing.T) subject {
		e, g := new(thread.Event), new(thread.Group)
		thread.New(thread.Config{Group: g}, e.Wait).Start(bg)
		return subject{wait: g.Join, timeout: g.JoinTimeout, wake: e.Set, end: e.Set, later: true}
	},
	"Timer.Join": func(t *testing.T) subject {
		tm := thread.After(thread.TimerConfig{}, 1000*time.Hour, nothing)
		cancel := func() { tm.Cancel() }
		return subject{wait: tm.Join, timeout: tm.JoinTimeout, wake: cancel, end: cancel}
	},
	"Interval.Join": func(t *testing.T) subject {
		i := thread.Every(thread.EveryConfig{}, 1000*time.Hour, func(*thread.Interval) {})
		stop := func() { i.Stop() }
		return subject{wait: i.Join, timeout: i.JoinTimeout, wake: stop, end: stop}
	},
}

// each runs fn for every subject, in a bubble of its own.
func each(t *testing.T, fn func(t *testing.T, s subject)) {
	t.Helper()
	for name, make := range subjects {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := make(t)
				defer s.end()
				fn(t, s)
				if s.waiting != nil && s.waiting() != 0 {
					t.Errorf("%d still wait", s.waiting())
				}
			})
		})
	}
}

func (s subject) wantTimeout(t *testing.T, err error) {
	t.Helper()
	for _, want := range []error{thread.ErrTimeout, context.DeadlineExceeded, os.ErrDeadlineExceeded, s.instead} {
		if want != nil {
			wantErr(t, err, want)
		}
	}
	if errors.Is(err, context.Canceled) {
		t.Errorf("%v is a cancellation", err)
	}
	if e := interface{ Timeout() bool }(nil); !errors.As(err, &e) || !e.Timeout() {
		t.Errorf("%v does not say that it is a timeout", err)
	}
}

func TestWaitsUntilItIsServed(t *testing.T) {
	each(t, func(t *testing.T, s subject) {
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		start := time.Now()
		time.AfterFunc(time.Second, s.wake)
		must(t, s.wait(ctx))
		if d := time.Since(start); d != time.Second {
			t.Errorf("waited for %v, want 1s", d)
		}
	})
}

func TestDoesNotWaitForWhatIsThere(t *testing.T) {
	each(t, func(t *testing.T, s subject) {
		s.wake()
		synctest.Wait()
		start := time.Now()
		must(t, s.timeout(bg, 0))
		if d := time.Since(start); d != 0 {
			t.Errorf("waited for %v", d)
		}
	})
}

func TestTimeoutComesAtItsTime(t *testing.T) {
	each(t, func(t *testing.T, s subject) {
		for _, d := range []time.Duration{3 * time.Second, 1, 0, -time.Second} {
			start := time.Now()
			s.wantTimeout(t, s.timeout(bg, d))
			if got := time.Since(start); got != max(d, 0) {
				t.Errorf("timeout of %v after %v", d, got)
			}
		}
		// And one that is not reached is forgotten.
		time.AfterFunc(time.Second, s.wake)
		must(t, s.timeout(bg, time.Hour))
	})
}

func TestCtxEndsTheWait(t *testing.T) {
	each(t, func(t *testing.T, s subject) {
		ctx, cancel := context.WithCancel(bg)
		time.AfterFunc(time.Second, cancel)
		if err := s.wait(ctx); err != context.Canceled {
			t.Errorf("got %v, want context.Canceled", err)
		}
		ctx, cancel = context.WithTimeout(bg, time.Second)
		defer cancel()
		if err := s.timeout(ctx, time.Hour); err != context.DeadlineExceeded {
			t.Errorf("got %v, want context.DeadlineExceeded", err)
		}
	})
}

// A call with a ctx that is done does nothing, though it could, and what it might
// have taken is still there.
func TestCtxThatIsDoneComesFirst(t *testing.T) {
	each(t, func(t *testing.T, s subject) {
		ctx, cancel := context.WithCancel(bg)
		cancel()
		s.wake()
		synctest.Wait()
		if err := s.wait(ctx); err != context.Canceled {
			t.Errorf("got %v, want context.Canceled", err)
		}
		if err := s.timeout(ctx, 0); err != context.Canceled {
			t.Errorf("got %v, want context.Canceled", err)
		}
		must(t, s.timeout(bg, 0))
	})
}

// One that is served and whose ctx ends before it has run was served; one whose ctx
// has ended leaves what comes then to the next.
func TestServedAndCanceledAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name  string
		first func(wake, cancel func())
		want  error
	}{
		{"served first", func(wake, cancel func()) { wake(); cancel() }, nil},
		{"canceled first", func(wake, cancel func()) { cancel(); synctest.Wait(); wake() }, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 10 { // select is fair
				each(t, func(t *testing.T, s subject) {
					ctx, cancel := context.WithCancel(bg)
					result := make(chan error, 1)
					go func() { result <- s.wait(ctx) }()
					synctest.Wait()
					tt.first(s.wake, cancel)
					err := <-result
					if s.later && tt.want == nil {
						if err != nil && err != context.Canceled {
							t.Errorf("got %v", err)
						}
						return
					}
					if err != tt.want {
						t.Errorf("got %v, want %v", err, tt.want)
					}
					if err != nil {
						synctest.Wait()
						must(t, s.timeout(bg, 0)) // it was left for us
					}
				})
			}
		})
	}
}

// Waiters time out at the very instant at which they are served: each call has
// either succeeded or left what was for it to the next, so that all of it is used.
func TestNothingIsLostWhenTimeoutAndServiceMeet(t *testing.T) {
	const n = 200
	conserved := func(t *testing.T, wait func(d time.Duration) error, give func(), rest func() int) {
		ok := 0
		results := make(chan error, n)
		for range n {
			go func() { results <- wait(time.Second) }()
		}
		for range n / 2 {
			go func() { time.Sleep(time.Second); give() }()
		}
		for range n {
			if err := <-results; err == nil {
				ok++
			} else {
				wantErr(t, err, thread.ErrTimeout)
			}
		}
		synctest.Wait()
		if got := ok + rest(); got != n/2 {
			t.Errorf("%d succeeded and %d are left of %d", ok, rest(), n/2)
		}
	}
	t.Run("Semaphore", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := thread.NewSemaphore(0)
			conserved(t, func(d time.Duration) error { return s.AcquireTimeout(bg, d) }, s.Release, s.Value)
		})
	})
	t.Run("Queue.Get", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			q := thread.NewQueue[int](0)
			conserved(t, func(d time.Duration) error { _, err := q.GetTimeout(bg, d); return err },
				func() { must(t, q.TryPut(1)) }, q.Len)
		})
	})
	t.Run("SimpleQueue.Get", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			q := new(thread.SimpleQueue[int])
			conserved(t, func(d time.Duration) error { _, err := q.GetTimeout(bg, d); return err },
				func() { q.Put(1) }, q.Len)
		})
	})
	t.Run("Queue.Put", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			q := thread.NewQueue[int](n)
			for range n {
				must(t, q.TryPut(1))
			}
			conserved(t, func(d time.Duration) error { return q.PutTimeout(bg, 1, d) },
				func() { _, _ = q.TryGet() }, func() int { return n - q.Len() })
		})
	})
	t.Run("Lock", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			var l thread.Lock
			must(t, l.Acquire(bg))
			held := 0
			results := make(chan error, n)
			for range n {
				go func() {
					err := l.AcquireTimeout(bg, time.Second)
					if err == nil {
						held++ // the race detector looks, too
						l.Release()
					}
					results <- err
				}()
			}
			time.Sleep(time.Second)
			l.Release()
			for range n {
				<-results
			}
			if l.Locked() || l.Waiting() != 0 {
				t.Errorf("locked %v, %d wait", l.Locked(), l.Waiting())
			}
			must(t, l.AcquireTimeout(bg, 0))
			t.Logf("%d got it", held)
		})
	})
}
