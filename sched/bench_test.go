package sched_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/eddyloop/eddy/sched"
)

// One event is entered and run, with others that are not due. The alternative is a
// timer of the runtime.
func BenchmarkAfterAndRun(b *testing.B) {
	nothing := func(context.Context) error { return nil }
	for _, n := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprintf("sched/backlog=%d", n), func(b *testing.B) {
			s := sched.New(nil)
			for i := range n {
				s.After(time.Hour+time.Duration(i)*time.Second, 0, nothing)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.After(0, 0, nothing)
				if _, _, err := s.RunDue(bg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("AfterFunc", func(b *testing.B) {
		b.ReportAllocs()
		done := make(chan struct{})
		for b.Loop() {
			time.AfterFunc(0, func() { done <- struct{}{} })
			<-done
		}
	})
}

func BenchmarkCancel(b *testing.B) {
	s := sched.New(nil)
	nothing := func(context.Context) error { return nil }
	for i := range 10_000 {
		s.After(time.Duration(i)*time.Hour, 0, nothing)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Cancel(s.After(5000*time.Hour, 0, nothing))
	}
}
