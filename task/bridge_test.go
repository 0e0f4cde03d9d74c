package task_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/task"
)

func TestRecvAndSendWithoutWaiting(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		ch := make(chan int, 2)
		turns := l.Stats().Turns
		for i := range 2 {
			if err := task.Send(ctx, ch, i); err != nil {
				t.Error(err)
			}
		}
		close(ch)
		for i := range 4 {
			v, ok, err := task.Recv(ctx, ch)
			if want := i < 2; ok != want || want && v != i || err != nil {
				t.Errorf("%d: %v %v %v", i, v, ok, err)
			}
		}
		if n := l.Stats().Turns - turns; n != 0 || l.Outside() {
			t.Errorf("%d turns, outside %v", n, l.Outside())
		}
	})
}

func TestRecvAndSendWait(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		start := l.Now()
		there, back := make(chan int), make(chan int)
		go func() {
			for v := range there {
				time.Sleep(time.Millisecond)
				back <- v * v
			}
			close(back)
		}()
		task.Go(ctx, func(ctx context.Context) error { return task.Sleep(ctx, time.Hour) })
		yield(ctx, 1)
		for i := range 5 {
			if err := task.Send(ctx, there, i); err != nil {
				t.Error(err)
			}
			if v, ok, err := task.Recv(ctx, back); v != i*i || !ok || err != nil {
				t.Errorf("%d: %v %v %v", i, v, ok, err)
			}
		}
		close(there)
		if _, ok, err := task.Recv(ctx, back); ok || err != nil {
			t.Errorf("of a channel that was closed meanwhile: %v %v", ok, err)
		}
		if l.Now() != start || l.Outside() {
			t.Errorf("%v have passed, outside %v", l.Now().Sub(start), l.Outside())
		}
	})
}

// waits that do not end by themselves, with what they wait for.
func foreignWaits() map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Recv": func(ctx context.Context) error {
			_, _, err := task.Recv(ctx, make(chan int))
			return err
		},
		"Recv of nil": func(ctx context.Context) error {
			_, _, err := task.Recv[int](ctx, nil)
			return err
		},
		"Send":        func(ctx context.Context) error { return task.Send(ctx, make(chan int), 1) },
		"Send to nil": func(ctx context.Context) error { return task.Send(ctx, nil, 1) },
		"WaitContext": func(ctx context.Context) error {
			other, cancel := context.WithCancel(context.Background())
			defer cancel()
			return task.WaitContext(ctx, other)
		},
		"WaitGroupDone": func(ctx context.Context) error {
			var wg sync.WaitGroup
			wg.Add(1)
			defer wg.Done()
			return task.WaitGroupDone(ctx, &wg)
		},
	}
}

func TestForeignWaitsAreInterrupted(t *testing.T) {
	for name, wait := range foreignWaits() {
		t.Run(name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				check := func(how, want string, err error) {
					t.Helper()
					if outcome(err) != want || l.Outside() {
						t.Errorf("%s: %s, want %s; outside %v", how, outcome(err), want, l.Outside())
					}
				}
				tk := task.Go(ctx, wait)
				yield(ctx, 2)
				if !l.Outside() {
					t.Error("virtual time would pass")
				}
				tk.Cancel(errBoom)
				_, err := tk.Await(ctx)
				check("canceled while it waits", "Canceled(boom)", err)

				tk = task.Go(ctx, func(ctx context.Context) error {
					task.FromContext(ctx).Cancel(errBoom)
					return wait(ctx)
				})
				_, err = tk.Await(ctx)
				check("canceled before", "Canceled(boom)", err)

				sub, cancel := context.WithCancelCause(ctx)
				l.CallSoon(func() { cancel(errBoom) })
				check("scope ends meanwhile", "Canceled(boom)", wait(sub))
				check("scope has ended", "Canceled(boom)", wait(sub))

				timed, cancelTimed := task.WithTimeout(ctx, 0)
				defer cancelTimed()
				check("scope's time is up", "Timeout", wait(timed))
			})
		})
	}
}

// A channel that is ready is not touched by a wait that is to fail.
func TestRecvAndSendOfACanceledTaskDoNothing(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		ch := make(chan int, 2)
		ch <- 1
		self := task.FromContext(ctx)
		self.Cancel(errBoom)
		if _, ok, err := task.Recv(ctx, ch); ok || outcome(err) != "Canceled(boom)" {
			t.Errorf("Recv: %v, %v", ok, err)
		}
		self.Cancel(errBoom)
		if err := task.Send(ctx, ch, 2); outcome(err) != "Canceled(boom)" {
			t.Errorf("Send: %v", err)
		}
		sub, cancel := context.WithCancel(ctx)
		cancel()
		if _, ok, err := task.Recv(sub, ch); ok || !errors.Is(err, context.Canceled) {
			t.Errorf("Recv in a scope: %v, %v", ok, err)
		}
		if err := task.Send(sub, ch, 2); !errors.Is(err, context.Canceled) {
			t.Errorf("Send in a scope: %v", err)
		}
		if len(ch) != 1 {
			t.Errorf("%d items in the channel", len(ch))
		}
	})
}

// The goroutine has received, or sent, before the cancellation, which then stays.
func TestACancellationThatComesTooLateIsTheNextWaits(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		ch := make(chan int)
		recv := task.Start(ctx, func(ctx context.Context) (int, error) {
			v, _, err := task.Recv(ctx, ch)
			if err != nil {
				t.Errorf("the value is lost: %v", err)
			}
			if err := task.Yield(ctx); outcome(err) != "Canceled(boom)" {
				t.Errorf("Recv: the next wait returned %v", err)
			}
			if err := task.Yield(ctx); err != nil {
				t.Errorf("Recv: the wait after the next returned %v", err)
			}
			return v, nil
		})
		yield(ctx, 1)
		ch <- 42 // returns when the goroutine has taken it, while the loop stands still
		recv.Cancel(errBoom)
		if v, err := recv.Await(ctx); v != 42 || err != nil {
			t.Errorf("%v, %v", v, err)
		}
		send := task.Go(ctx, func(ctx context.Context) error {
			if err := task.Send(ctx, ch, 43); err != nil {
				t.Errorf("it was sent, but: %v", err)
			}
			return task.Yield(ctx)
		})
		yield(ctx, 1)
		if v := <-ch; v != 43 {
			t.Errorf("received %v", v)
		}
		send.Cancel(errBoom)
		if _, err := send.Await(ctx); outcome(err) != "Canceled(boom)" {
			t.Errorf("Send: the next wait returned %v", err)
		}
		// The end of a scope comes again by itself, as long as the scope is used.
		var end func()
		scoped := task.Start(ctx, func(ctx context.Context) (int, error) {
			sub, cancel := context.WithCancel(ctx)
			end = cancel
			v, _, err := task.Recv(sub, ch)
			if err != nil || task.Yield(sub) == nil || task.Yield(ctx) != nil {
				t.Errorf("in a scope: %v", err)
			}
			return v, nil
		})
		yield(ctx, 1)
		ch <- 44
		end()
		if v, err := scoped.Await(ctx); v != 44 || err != nil {
			t.Errorf("in a scope: %v, %v", v, err)
		}
	})
}

func TestForeignWaitsOutsideOfATask(t *testing.T) {
	l := newLoop(t, virtual(nil))
	for name, wait := range foreignWaits() {
		wantPanic(t, "outside of a task", func() {
			_ = wait(l.Context())
			t.Error(name)
		})
	}
}

// No goroutine is left, and what was received is not lost: the body gets it.
func TestCloseEndsForeignWaits(t *testing.T) {
	for name, wait := range foreignWaits() {
		for _, deaf := range []bool{false, true} {
			l := newLoop(t, virtual(func(*loop.CallError) {}))
			var errs []error
			task.Go(l.Context(), func(ctx context.Context) error {
				for {
					err := wait(ctx)
					errs = append(errs, err)
					if !deaf {
						return err
					}
				}
			})
			turn(t, l)
			if err := l.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if len(errs) == 0 || !errors.Is(errs[0], loop.ErrClosed) || l.Outside() {
				t.Errorf("%s: %v, outside %v", name, errs, l.Outside())
			}
		}
	}
}

func TestCloseLosesNothingThatWasReceived(t *testing.T) {
	l := newLoop(t, virtual(nil))
	ch := make(chan int)
	got := 0
	task.Go(l.Context(), func(ctx context.Context) error {
		got, _, _ = task.Recv(ctx, ch)
		_, _, err := task.Recv(ctx, ch)
		return err
	})
	turn(t, l)
	ch <- 1
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if got != 1 {
		t.Errorf("got %d", got)
	}
}

// turn runs a loop for one turn.
func turn(t testing.TB, l *loop.Loop) {
	t.Helper()
	l.Stop()
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
}

// A canceler cancels a task again and again, the next time when the last one was
// delivered, at all kinds of moments.
type canceler struct{ calls, delivered int }

func (c *canceler) run(ctx context.Context, victim *task.Task[struct{}]) {
	for !victim.Done() {
		for range rand.IntN(30) {
			_ = task.Yield(ctx)
		}
		if victim.Cancel(nil) {
			c.calls++
		}
		for c.delivered < c.calls && !victim.Done() {
			_ = task.Yield(ctx)
		}
		runtime.Gosched() // this loop is never idle, and there may be one P
	}
}

// Each value arrives once, each cancellation too.
func TestRecvHammer(t *testing.T) {
	const producers, each = 3, 3000
	run(t, func(ctx context.Context, l *loop.Loop) {
		for _, size := range []int{0, 2} {
			ch := make(chan int, size)
			var wg sync.WaitGroup
			for p := range producers {
				wg.Go(func() {
					for i := range each {
						ch <- p*each + i
						if rand.IntN(4) == 0 {
							runtime.Gosched()
						}
					}
				})
			}
			go func() { wg.Wait(); close(ch) }()
			var c canceler
			seen := make([]int, producers*each)
			last := [producers]int{}
			victim := task.Go(ctx, func(ctx context.Context) error {
				for {
					v, ok, err := task.Recv(ctx, ch)
					switch {
					case err != nil:
						c.delivered++
					case !ok:
						if task.Yield(ctx) != nil {
							c.delivered++
						}
						return nil
					default:
						seen[v]++
						if p := v / each; v%each < last[p] {
							t.Errorf("%d came after %d", v%each, last[p])
						} else {
							last[p] = v % each
						}
						if rand.IntN(3) == 0 && task.Yield(ctx) != nil {
							c.delivered++
						}
					}
				}
			})
			c.run(ctx, victim)
			if i := slices.IndexFunc(seen, func(n int) bool { return n != 1 }); i >= 0 {
				t.Errorf("value %d came %d times", i, seen[i])
			}
			if c.calls != c.delivered || c.calls == 0 || l.Outside() {
				t.Errorf("%d of %d cancellations delivered, outside %v", c.delivered, c.calls, l.Outside())
			}
			t.Logf("%d cancellations", c.calls)
		}
	})
}

func TestSendHammer(t *testing.T) {
	const n = 5000
	run(t, func(ctx context.Context, l *loop.Loop) {
		for _, size := range []int{0, 2} {
			ch := make(chan int, size)
			ended := make(chan []int, 1)
			go func() {
				var got []int
				for v := range ch {
					got = append(got, v)
					if rand.IntN(4) == 0 {
						runtime.Gosched()
					}
				}
				ended <- got
			}()
			var c canceler
			victim := task.Go(ctx, func(ctx context.Context) error {
				for i := 0; i < n; {
					if task.Send(ctx, ch, i) != nil {
						c.delivered++
						continue
					}
					i++
					if rand.IntN(3) == 0 && task.Yield(ctx) != nil {
						c.delivered++
					}
				}
				if task.Yield(ctx) != nil {
					c.delivered++
				}
				return nil
			})
			c.run(ctx, victim)
			close(ch)
			got := <-ended
			for i := range n {
				if i >= len(got) || got[i] != i {
					t.Fatalf("sent %d, received %d, not in order at %d", n, len(got), i)
				}
			}
			if len(got) != n || c.calls != c.delivered || c.calls == 0 || l.Outside() {
				t.Errorf("received %d of %d; %d of %d cancellations delivered, outside %v",
					len(got), n, c.delivered, c.calls, l.Outside())
			}
			t.Logf("%d cancellations", c.calls)
		}
	})
}

func TestWaitContext(t *testing.T) {
	ended, end := context.WithCancel(context.Background())
	end()
	for _, tt := range []struct {
		name  string
		other func(ctx context.Context) context.Context
		after time.Duration // on the loop's clock
	}{
		{"has ended", func(context.Context) context.Context { return ended }, 0},
		{"a goroutine ends it", func(context.Context) context.Context {
			other, cancel := context.WithCancel(context.Background())
			time.AfterFunc(5*time.Millisecond, cancel)
			return other
		}, 0},
		{"its time is up, on the system's clock", func(context.Context) context.Context {
			other, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
			t.Cleanup(cancel)
			return other
		}, 0},
		{"its time is up, on the loop's clock", func(ctx context.Context) context.Context {
			other, cancel := task.WithTimeout(ctx, time.Hour)
			t.Cleanup(cancel)
			return other
		}, time.Hour},
		{"a task ends it", func(ctx context.Context) context.Context {
			other, cancel := context.WithCancel(ctx)
			task.Go(ctx, func(ctx context.Context) error {
				defer cancel()
				return task.Sleep(ctx, time.Hour)
			})
			return other
		}, time.Hour},
		{"it is a task's", func(ctx context.Context) context.Context {
			var other context.Context
			task.Go(ctx, func(ctx context.Context) error {
				other = ctx
				return task.Sleep(ctx, time.Hour)
			})
			yield(ctx, 1)
			return other
		}, time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context, l *loop.Loop) {
				task.Go(ctx, func(ctx context.Context) error { return task.Sleep(ctx, 2*time.Hour) })
				start := l.Now()
				other := tt.other(ctx)
				err := task.WaitContext(ctx, other)
				if err != nil || other.Err() == nil || l.Now().Sub(start) != tt.after || l.Outside() {
					t.Errorf("%v after %v, other %v, outside %v", err, l.Now().Sub(start), other.Err(), l.Outside())
				}
			})
		})
	}
}

func TestWaitGroupDone(t *testing.T) {
	run(t, func(ctx context.Context, l *loop.Loop) {
		var wg sync.WaitGroup
		if err := task.WaitGroupDone(ctx, &wg); err != nil {
			t.Error(err)
		}
		sum := 0
		var mu sync.Mutex
		for i := range 10 {
			wg.Go(func() {
				time.Sleep(time.Millisecond)
				mu.Lock()
				sum += i
				mu.Unlock()
			})
		}
		start := l.Now()
		if err := task.WaitGroupDone(ctx, &wg); err != nil || sum != 45 || l.Now() != start || l.Outside() {
			t.Errorf("%v, sum %d, outside %v", err, sum, l.Outside())
		}
	})
}

// The wait of a task for a goroutine, and of a goroutine for another.
func BenchmarkRecv(b *testing.B) {
	source := func(n int, size int) chan int {
		ch := make(chan int, size)
		go func() {
			for i := range n {
				ch <- i
			}
		}()
		return ch
	}
	b.Run("ready", func(b *testing.B) {
		b.ReportAllocs()
		_ = task.Run(context.Background(), func(ctx context.Context) error {
			ch := make(chan int, 1)
			for b.Loop() {
				ch <- 1
				if _, _, err := task.Recv(ctx, ch); err != nil {
					return err
				}
			}
			return nil
		})
	})
	b.Run("task", func(b *testing.B) {
		b.ReportAllocs()
		_ = task.Run(context.Background(), func(ctx context.Context) error {
			ch := source(b.N, 0)
			for range b.N {
				if _, _, err := task.Recv(ctx, ch); err != nil {
					return err
				}
			}
			return nil
		})
	})
	b.Run("goroutine", func(b *testing.B) {
		b.ReportAllocs()
		ch := source(b.N, 0)
		for range b.N {
			<-ch
		}
	})
}

// What it takes to call a goroutine back, during which the loop stands still: alone,
// and beside goroutines that compute.
func BenchmarkRecvCanceled(b *testing.B) {
	for _, computing := range []int{0, 2} {
		b.Run(fmt.Sprintf("%d computing", computing), func(b *testing.B) {
			b.ReportAllocs()
			var stop atomic.Bool
			defer stop.Store(true)
			for range computing {
				go func() {
					for !stop.Load() {
					}
				}()
			}
			_ = task.Run(context.Background(), func(ctx context.Context) error {
				ch := make(chan int)
				for b.Loop() {
					tk := task.Go(ctx, func(ctx context.Context) error {
						_, _, err := task.Recv(ctx, ch)
						return err
					})
					_ = task.Yield(ctx)
					tk.Cancel(nil)
					_ = task.Yield(ctx)
				}
				return nil
			})
		})
	}
}
