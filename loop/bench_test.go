package loop_test

import (
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
)

// A chain queues itself n times and stops the loop.
type chain struct {
	l *loop.Loop
	n int
}

func (c *chain) Run() {
	if c.n--; c.n <= 0 {
		c.l.Stop()
		return
	}
	c.l.Queue(c)
}

// BenchmarkCall is a call, queued and made, by all ways there are.
func BenchmarkCall(b *testing.B) {
	b.Run("Queue chain", func(b *testing.B) {
		l := real(b)
		b.ReportAllocs()
		l.Queue(&chain{l, b.N})
		run(b, l)
	})
	b.Run("CallSoon chain", func(b *testing.B) {
		l := real(b)
		n := b.N
		var fn func()
		fn = func() {
			if n--; n <= 0 {
				l.Stop()
				return
			}
			l.CallSoon(fn)
		}
		b.ReportAllocs()
		l.CallSoon(fn)
		run(b, l)
	})
	b.Run("Queue burst of 1000", func(b *testing.B) {
		l := real(b)
		nop := call(func() {})
		n := b.N
		var burst call
		burst = func() {
			k := min(n, 1000)
			for range k {
				l.Queue(nop)
			}
			if n -= k; n <= 0 {
				l.Stop()
				return
			}
			l.Queue(burst)
		}
		b.ReportAllocs()
		l.Queue(burst)
		run(b, l)
	})
	b.Run("CallLater and Cancel", func(b *testing.B) {
		l := real(b)
		fn := func() {}
		b.ReportAllocs()
		for b.Loop() {
			l.CallLater(time.Second, fn).Cancel()
		}
	})
	b.Run("StartTimer and StopTimer", func(b *testing.B) {
		l := real(b)
		nop := call(func() {})
		var t loop.Timer
		b.ReportAllocs()
		for b.Loop() {
			l.StartTimer(&t, time.Second, nop)
			l.StopTimer(&t)
		}
	})
}

// BenchmarkPost is a call from another goroutine, beside a send on a channel.
func BenchmarkPost(b *testing.B) {
	b.Run("threadsafe", func(b *testing.B) {
		l := real(b)
		n := b.N
		count := call(func() {
			if n--; n == 0 {
				l.Stop()
			}
		})
		b.ReportAllocs()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range b.N {
				_ = l.QueueThreadsafe(count)
			}
		}()
		run(b, l)
		<-done
	})
	b.Run("channel", func(b *testing.B) {
		c := make(chan int, 1024)
		b.ReportAllocs()
		go func() {
			for range b.N {
				c <- 1
			}
			close(c)
		}()
		for range c {
		}
	})
}

// BenchmarkRoundTrip is a call from another goroutine that waits for the answer.
func BenchmarkRoundTrip(b *testing.B) {
	b.Run("threadsafe", func(b *testing.B) {
		l := real(b)
		answer := make(chan struct{}, 1)
		reply := call(func() { answer <- struct{}{} })
		b.ReportAllocs()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range b.N {
				_ = l.QueueThreadsafe(reply)
				<-answer
			}
			_ = l.CallSoonThreadsafe(l.Stop)
		}()
		run(b, l)
		<-done
	})
	b.Run("channels", func(b *testing.B) {
		in, out := make(chan int), make(chan int)
		go func() {
			defer close(out)
			for v := range in {
				out <- v
			}
		}()
		b.ReportAllocs()
		for b.Loop() {
			in <- 1
			<-out
		}
		close(in)
		<-out
	})
}
