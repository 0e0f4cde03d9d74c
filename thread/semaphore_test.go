package thread_test

import (
	"math"
	"testing"
	"time"

	"github.com/eddyloop/eddy/thread"
)

func TestReleaseNServesThoseWhoWaitFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := thread.NewSemaphore(0)
		j := newJournal()
		for _, name := range []string{"a", "b", "c"} {
			j.run(name, func() error { return s.Acquire(bg) })
		}
		s.ReleaseN(2)
		j.wantInAnyOrder(t, "a ok", "b ok")
		if s.Value() != 0 || s.Waiting() != 1 || s.TryAcquire() {
			t.Errorf("%d permits, %d wait", s.Value(), s.Waiting())
		}
		s.ReleaseN(3)
		j.want(t, "c ok")
		if s.Value() != 2 || s.Waiting() != 0 {
			t.Errorf("%d permits, %d wait", s.Value(), s.Waiting())
		}
	})
}

func TestBoundedSemaphoreNeverHasMore(t *testing.T) {
	s := thread.NewBoundedSemaphore(3)
	const full = "thread: Release of a bounded semaphore that has all its permits"
	wantPanic(t, full, s.Release)
	must(t, s.Acquire(bg))
	must(t, s.Acquire(bg))
	wantPanic(t, full, func() { s.ReleaseN(3) })
	wantPanic(t, full, func() { s.ReleaseN(math.MaxInt) })
	if s.Value() != 1 {
		t.Errorf("%d permits, want 1", s.Value())
	}
	s.ReleaseN(2)
	wantPanic(t, full, s.Release)
	for range 3 {
		must(t, s.AcquireTimeout(bg, 0))
	}
	wantErr(t, s.AcquireTimeout(bg, 0), thread.ErrTimeout)
}

func TestSemaphoreMisuse(t *testing.T) {
	wantPanic(t, "thread: semaphore with a negative number", func() { thread.NewSemaphore(-1) })
	wantPanic(t, "thread: semaphore with a negative number", func() { thread.NewBoundedSemaphore(-1) })
	for _, n := range []int{0, -1} {
		wantPanic(t, "thread: Release of fewer than one permit", func() { thread.NewSemaphore(1).ReleaseN(n) })
	}
}

func TestEventWakesAllWhoWaitThoughClearFollows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var e thread.Event
		j := newJournal()
		for _, name := range []string{"a", "b"} {
			j.run(name, func() error { return e.Wait(bg) })
		}
		e.Set()
		e.Clear()
		j.wantInAnyOrder(t, "a ok", "b ok")
		if e.IsSet() || e.Waiting() != 0 {
			t.Errorf("set %v, %d wait", e.IsSet(), e.Waiting())
		}
		wantErr(t, e.WaitTimeout(bg, time.Second), thread.ErrTimeout)
		e.Set()
		e.Set()
		if !e.IsSet() {
			t.Error("not set")
		}
		must(t, e.Wait(bg))
	})
}
