package sched_test

import (
	"context"
	"fmt"
	"time"

	"github.com/eddyloop/eddy/sched"
)

func ExampleScheduler() {
	s := sched.New(nil)
	say := func(what string) func(context.Context) error {
		return func(context.Context) error { fmt.Println(what); return nil }
	}
	now := time.Now()
	s.At(now.Add(2*time.Millisecond), 0, say("last"))
	s.At(now.Add(time.Millisecond), 2, say("third"))
	s.At(now.Add(time.Millisecond), 1, say("second"))
	never := s.After(time.Hour, 0, say("never"))
	s.After(0, 0, func(context.Context) error {
		fmt.Println("first")
		s.Cancel(never)
		return nil
	})
	fmt.Println(s.Run(context.Background()))
	// Output:
	// first
	// second
	// third
	// last
	// <nil>
}

// A simulated clock jumps to the next event.
type simulation struct{ now time.Time }

func (s *simulation) Now() time.Time { return s.now }

func (s *simulation) Sleep(_ context.Context, d time.Duration) error {
	s.now = s.now.Add(d)
	return nil
}

func ExampleClock() {
	sim := &simulation{time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)}
	s := sched.New(sim)
	var tick func(context.Context) error
	tick = func(context.Context) error {
		fmt.Println(sim.now.Format(time.DateTime))
		if sim.now.Day() < 3 {
			s.After(24*time.Hour, 0, tick)
		}
		return nil
	}
	s.After(12*time.Hour, 0, tick)
	_ = s.Run(context.Background())
	// Output:
	// 2000-01-01 12:00:00
	// 2000-01-02 12:00:00
	// 2000-01-03 12:00:00
}

// RunDue is for a loop of one's own.
func ExampleScheduler_RunDue() {
	s := sched.New(nil)
	s.After(0, 0, func(context.Context) error { fmt.Println("due"); return nil })
	s.After(time.Hour, 0, func(context.Context) error { fmt.Println("not due"); return nil })
	next, more, err := s.RunDue(context.Background())
	fmt.Println(next.Round(time.Minute), more, err)
	// Output:
	// due
	// 1h0m0s true <nil>
}
