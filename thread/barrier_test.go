package thread_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eddyloop/eddy/thread"
)

// arrive starts a goroutine that waits at b once, and logs its index or its error.
func arrive(j *journal, name string, b *thread.Barrier, ctx context.Context) {
	go func() {
		i, err := b.Wait(ctx)
		if err != nil {
			j.log("%s %v", name, err)
			return
		}
		j.log("%s %d", name, i)
	}()
	synctest.Wait()
}

func wantBarrier(t *testing.T, b *thread.Barrier, waiting int, broken bool) {
	t.Helper()
	synctest.Wait()
	if b.Waiting() != waiting || b.Broken() != broken {
		t.Errorf("%d wait, broken %v; want %d, %v", b.Waiting(), b.Broken(), waiting, broken)
	}
}

func TestBarrierIndexIsTheOrderOfArrival(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := thread.NewBarrier(3, thread.BarrierConfig{})
		j := newJournal()
		for range 3 { // it can be used again
			for i, name := range []string{"a", "b", "c"} {
				wantBarrier(t, b, i, false)
				arrive(j, name, b, bg)
			}
			j.wantInAnyOrder(t, "a 0", "b 1", "c 2")
		}
		if b.Parties() != 3 {
			t.Errorf("%d parties", b.Parties())
		}
	})
}

func TestBarrierOfOne(t *testing.T) {
	acted := 0
	b := thread.NewBarrier(1, thread.BarrierConfig{Action: func() error { acted++; return nil }})
	for range 3 {
		if i, err := b.WaitTimeout(bg, 0); i != 0 || err != nil {
			t.Errorf("%d, %v", i, err)
		}
	}
	if acted != 3 {
		t.Errorf("acted %d times", acted)
	}
}

// Nobody leaves before all have come, and a fast one does not take a slow one's
// place in the round before.
func TestBarrierKeepsRoundsApart(t *testing.T) {
	const n, rounds = 5, 200
	var mu sync.Mutex
	arrived, acted := 0, 0
	b := thread.NewBarrier(n, thread.BarrierConfig{Action: func() error { acted++; return nil }})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for round := range rounds {
				mu.Lock()
				arrived++
				mu.Unlock()
				if _, err := b.Wait(bg); err != nil {
					t.Error(err)
				}
				mu.Lock()
				if arrived < (round+1)*n {
					t.Errorf("round %d: left when %d had arrived", round, arrived)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if acted != rounds || b.Waiting() != 0 || b.Broken() {
		t.Errorf("acted %d times, %d wait, broken %v", acted, b.Waiting(), b.Broken())
	}
}

func TestBarrierBreaksWhenOneGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cfg    thread.BarrierConfig
		giveUp func(b *thread.Barrier) error
		want   error
	}{
		{"timeout", thread.BarrierConfig{}, func(b *thread.Barrier) error {
			_, err := b.WaitTimeout(bg, time.Second)
			return err
		}, thread.ErrTimeout},
		{"timeout of zero", thread.BarrierConfig{}, func(b *thread.Barrier) error {
			_, err := b.WaitTimeout(bg, 0)
			return err
		}, context.DeadlineExceeded},
		{"configured timeout", thread.BarrierConfig{Timeout: time.Hour}, func(b *thread.Barrier) error {
			_, err := b.Wait(bg)
			return err
		}, thread.ErrTimeout},
		{"canceled", thread.BarrierConfig{}, func(b *thread.Barrier) error {
			ctx, cancel := context.WithCancel(bg)
			time.AfterFunc(time.Second, cancel)
			_, err := b.Wait(ctx)
			return err
		}, context.Canceled},
		{"canceled before", thread.BarrierConfig{}, func(b *thread.Barrier) error {
			ctx, cancel := context.WithCancel(bg)
			cancel()
			_, err := b.Wait(ctx)
			return err
		}, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := thread.NewBarrier(3, tt.cfg)
				j := newJournal()
				go func() {
					_, err := b.WaitTimeout(bg, 2*time.Hour)
					j.log("a %v", err)
				}()
				synctest.Wait()
				err := tt.giveUp(b)
				wantErr(t, err, tt.want)
				wantErr(t, err, thread.ErrBroken)
				j.want(t, "a thread: barrier broken")
				wantBarrier(t, b, 0, true)
				arrive(j, "b", b, bg)
				j.want(t, "b thread: barrier broken")
				b.Reset()
				wantBarrier(t, b, 0, false)
			})
		})
	}
}

func TestBarrierResetBreaksOnlyThoseWhoWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := thread.NewBarrier(3, thread.BarrierConfig{})
		j := newJournal()
		arrive(j, "a", b, bg)
		arrive(j, "b", b, bg)
		b.Reset()
		b.Reset()
		j.wantInAnyOrder(t, "a thread: barrier broken", "b thread: barrier broken")
		wantBarrier(t, b, 0, false)
		for _, name := range []string{"c", "d", "e"} {
			arrive(j, name, b, bg)
		}
		j.wantInAnyOrder(t, "c 0", "d 1", "e 2")
	})
}

func TestBarrierAbortBreaksAllUntilReset(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := thread.NewBarrier(2, thread.BarrierConfig{})
		j := newJournal()
		arrive(j, "a", b, bg)
		b.Abort()
		arrive(j, "b", b, bg)
		j.wantInAnyOrder(t, "a thread: barrier broken", "b thread: barrier broken")
		wantBarrier(t, b, 0, true)
		b.Reset()
		arrive(j, "c", b, bg)
		arrive(j, "d", b, bg)
		j.wantInAnyOrder(t, "c 0", "d 1")
	})
}

func TestBarrierActionRunsBeforeAnybodyGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		j := newJournal()
		var b *thread.Barrier
		b = thread.NewBarrier(2, thread.BarrierConfig{Action: func() error {
			j.log("action, %d wait, broken %v", b.Waiting(), b.Broken())
			time.Sleep(time.Hour)
			j.log("acted")
			return nil
		}})
		ctx, cancel := context.WithTimeout(bg, time.Minute)
		defer cancel()
		arrive(j, "a", b, ctx) // this ends while the action runs: too late
		arrive(j, "b", b, bg)
		arrive(j, "c", b, bg) // these wait to be let in
		arrive(j, "d", b, bg)
		j.want(t, "action, 0 wait, broken false")
		time.Sleep(time.Hour)
		synctest.Wait()
		j.mu.Lock()
		if len(j.lines) != 4 || j.lines[0] != "acted" {
			t.Errorf("%q, want acted, a, b, and the action of the next two", j.lines)
		}
		j.lines = nil
		j.mu.Unlock()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(j.lines) != 3 || j.lines[0] != "acted" || b.Broken() {
			t.Errorf("%q, want acted, c, d", j.lines)
		}
	})
}

func TestBarrierBreaksWhenItsActionFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		action func() error
		last   string // what the one who came last says
	}{
		{"error", func() error { return errBoom }, "b boom"},
		{"panic", func() error { panic(errBoom) }, "b panics with boom"},
		{"Goexit", func() error { runtime.Goexit(); return nil }, "b exits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := thread.NewBarrier(2, thread.BarrierConfig{Action: tt.action})
				j := newJournal()
				arrive(j, "a", b, bg)
				go func() {
					said := "b exits"
					defer func() {
						if v := recover(); v != nil {
							said = "b panics with " + v.(error).Error()
						}
						j.log("%s", said)
					}()
					_, err := b.Wait(bg)
					said = "b " + outcome(err)
				}()
				j.wantInAnyOrder(t, "a thread: barrier broken", tt.last)
				wantBarrier(t, b, 0, true)
				b.Reset()
				wantBarrier(t, b, 0, false)
			})
		})
	}
}

func TestBarrierAbortAndResetWhileTheActionRuns(t *testing.T) {
	abort, reset := (*thread.Barrier).Abort, (*thread.Barrier).Reset
	good, bad := []string{"a 0", "b 1"}, []string{"a thread: barrier broken", "b thread: barrier broken"}
	for _, tt := range []struct {
		name   string
		do     []func(b *thread.Barrier)
		err    error
		want   []string
		broken bool
	}{
		{"abort", []func(b *thread.Barrier){abort}, nil, bad, true},
		{"reset", []func(b *thread.Barrier){reset}, nil, good, false},
		{"abort, reset", []func(b *thread.Barrier){abort, reset}, nil, bad, false},
		{"reset, abort", []func(b *thread.Barrier){reset, abort}, nil, bad, true},
		{"reset, fail", []func(b *thread.Barrier){reset}, errBoom, []string{bad[0], "b boom"}, false},
		{"abort, fail", []func(b *thread.Barrier){abort}, errBoom, []string{bad[0], "b boom"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var b *thread.Barrier
				do, err := tt.do, tt.err
				b = thread.NewBarrier(2, thread.BarrierConfig{Action: func() error {
					for _, fn := range do {
						fn(b)
					}
					return err
				}})
				j := newJournal()
				arrive(j, "a", b, bg)
				arrive(j, "b", b, bg)
				j.wantInAnyOrder(t, tt.want...)
				wantBarrier(t, b, 0, tt.broken)
				do, err = nil, nil // the next round knows nothing of it
				b.Reset()
				arrive(j, "a", b, bg)
				arrive(j, "b", b, bg)
				j.wantInAnyOrder(t, good...)
				wantBarrier(t, b, 0, false)
			})
		})
	}
}

// Parties that time out at the moment the last one comes: either all get through, or
// all are told.
func TestBarrierTimeoutAtTheMomentTheLastComes(t *testing.T) {
	for range 50 {
		bubble(t, func(t *testing.T) {
			const n = 4
			b := thread.NewBarrier(n, thread.BarrierConfig{})
			results := make(chan error, n)
			for i := range n {
				go func() {
					if i == n-1 {
						time.Sleep(time.Second)
					}
					_, err := b.WaitTimeout(bg, time.Second)
					results <- err
				}()
			}
			failed := 0
			for range n {
				if err := <-results; err != nil {
					wantErr(t, err, thread.ErrBroken)
					failed++
				}
			}
			if failed != 0 && failed != n || b.Broken() != (failed == n) {
				t.Errorf("%d of %d failed, broken %v", failed, n, b.Broken())
			}
		})
	}
}

func TestBarrierMisuse(t *testing.T) {
	for _, n := range []int{0, -1} {
		wantPanic(t, "thread: barrier for fewer than one goroutine", func() { thread.NewBarrier(n, thread.BarrierConfig{}) })
	}
}

func TestErrorsAreTheirOwn(t *testing.T) {
	all := []error{thread.ErrTimeout, thread.ErrBroken, thread.ErrFull, thread.ErrEmpty, thread.ErrShutDown, thread.ErrGoexit}
	for i, a := range all {
		for j, b := range all {
			if errors.Is(a, b) != (i == j) {
				t.Errorf("%v is %v: %v", a, b, i != j)
			}
		}
	}
}
