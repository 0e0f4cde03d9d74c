package loop_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
)

func quantiles(d []time.Duration) (p50, p90, p99 time.Duration) {
	slices.Sort(d)
	at := func(percent int) time.Duration { return d[min(len(d)*percent/100, len(d)-1)] }
	return at(50), at(90), at(99)
}

func TestEdge019_TheLoopMayPostToItself(t *testing.T) {
	l := real(t)
	var got record
	_ = l.CallSoonThreadsafe(got.note("before Run"))
	l.CallSoon(func() {
		got.add("call")
		_ = l.CallSoonThreadsafe(func() {
			got.add("post")
			_ = l.CallSoonThreadsafe(func() { got.add("post of a post"); l.Stop() })
		})
	})
	run(t, l)
	got.want(t, "call", "before Run", "post", "post of a post")
}

func TestAPostWakesALoopThatSleepsWithoutEnd(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *loop.Loop{"real": real, "virtual": virtual} {
		t.Run(name, func(t *testing.T) {
			l := open(t)
			release := l.Hold()
			defer release()
			const n = 1000
			ack := make(chan int)
			done := make(chan bool)
			go func() {
				defer close(done)
				for i := range n {
					if err := l.CallSoonThreadsafe(func() { ack <- i }); err != nil {
						t.Error(err)
					}
					if got := <-ack; got != i {
						t.Errorf("post %d was called, want %d", got, i)
					}
				}
				_ = l.CallSoonThreadsafe(l.Stop)
			}()
			run(t, l)
			receive(t, done)
		})
	}
}

// A numbered post checks that it is called in its turn.
type numbered struct {
	of  *sender
	seq int
}

type sender struct {
	t    testing.TB
	next int // to be called; on the loop
}

func (p *numbered) Run() {
	if p.of.next != p.seq {
		p.of.t.Fatalf("post %d was called, want %d", p.seq, p.of.next)
	}
	p.of.next++
}

// TestNoPostIsLostLarge is R42: 16 goroutines post in bursts and wait for the
// last of each, so that the loop goes to sleep again and again while others
// post. A lost wake-up ends it by its watchdog.
func TestNoPostIsLostLarge(t *testing.T) {
	const goroutines = 16
	each := 1_000_000
	if raceEnabled {
		each = 10_000
	}
	l := real(t)
	senders := make([]*sender, goroutines)
	var worst atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for g := range goroutines {
		s := &sender{t: t}
		senders[g] = s
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(g)))
			done := make(chan struct{}, 1)
			for seq := 0; seq < each; {
				burst := min(1+r.IntN(400), each-seq)
				posts := make([]numbered, burst)
				for i := range posts {
					posts[i] = numbered{s, seq}
					seq++
					if err := l.QueueThreadsafe(&posts[i]); err != nil {
						t.Error(err)
						return
					}
				}
				asked := time.Now()
				if err := l.CallSoonThreadsafe(func() { done <- struct{}{} }); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
				case <-time.After(eventually):
					t.Errorf("goroutine %d: post %d is lost", g, seq-1)
					return
				}
				if d := int64(time.Since(asked)); d > worst.Load() {
					worst.Store(d)
				}
			}
		})
	}
	go func() {
		wg.Wait()
		_ = l.CallSoonThreadsafe(l.Stop)
	}()
	run(t, l)
	for g, s := range senders {
		if s.next != each {
			t.Errorf("of goroutine %d %d posts were called, want %d", g, s.next, each)
		}
	}
	took := time.Since(start)
	s := l.Stats()
	t.Logf("%d posts in %v, %d ns each, slowest answer %v; %d looks, %d polls",
		s.Posts, took.Round(time.Millisecond), took.Nanoseconds()/int64(s.Posts), time.Duration(worst.Load()), s.Looks, s.Polls)
}

// TestOnePosterAtATimeNeverStallsLarge catches the loop exactly as it goes to
// sleep: the next post is sent right after the answer to the one before.
func TestOnePosterAtATimeNeverStallsLarge(t *testing.T) {
	n := 300_000
	if raceEnabled {
		n = 10_000
	}
	l := real(t)
	answer := make(chan struct{}, 1)
	reply := call(func() { answer <- struct{}{} })
	done := make(chan bool)
	go func() {
		defer close(done)
		r := rand.New(rand.NewPCG(3, 4))
		for i := range n {
			if err := l.QueueThreadsafe(reply); err != nil {
				t.Error(err)
				return
			}
			select {
			case <-answer:
			case <-time.After(eventually):
				t.Errorf("post %d is lost", i)
				_ = l.CallSoonThreadsafe(func() {})
				return
			}
			for range r.IntN(200) { // vary the moment
				runtime.KeepAlive(i)
			}
		}
		_ = l.CallSoonThreadsafe(l.Stop)
	}()
	run(t, l)
	receive(t, done)
}

// TestAPostWhileClosingRunsOrIsRefusedLarge is R44.
func TestAPostWhileClosingRunsOrIsRefusedLarge(t *testing.T) {
	const goroutines, each = 8, 6
	rounds := 100_000
	if raceEnabled {
		rounds = 1000
	}
	type round struct {
		l      *loop.Loop
		ran    *int // on the loop
		posted *atomic.Int64
	}
	work := make([]chan round, goroutines)
	refused := make(chan int, goroutines)
	for g := range goroutines {
		work[g] = make(chan round)
		go func() {
			for r := range work[g] {
				no := 0
				for range each {
					err := r.l.CallSoonThreadsafe(func() { *r.ran++ })
					r.posted.Add(1)
					if err != nil {
						if !errors.Is(err, loop.ErrClosed) {
							t.Errorf("CallSoonThreadsafe = %v", err)
						}
						no++
					}
				}
				refused <- no
			}
		}()
	}
	random := rand.New(rand.NewPCG(5, 6))
	allRan, allRefused, mixed := 0, 0, 0
	start := time.Now()
	for i := range rounds {
		l, err := loop.New(loop.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ran, posted := 0, atomic.Int64{}
		for g := range work {
			work[g] <- round{l, &ran, &posted}
		}
		enough := int64(random.IntN(goroutines * each)) // posts before Close
		switch random.IntN(3) {
		case 0: // close without a run
			for posted.Load() < enough {
				runtime.Gosched()
			}
		case 1:
			l.Stop()
			_ = l.Run()
		case 2:
			var chain func()
			chain = func() {
				if posted.Load() >= enough {
					l.Stop()
					return
				}
				runtime.Gosched()
				l.CallSoon(chain)
			}
			l.CallSoon(chain)
			_ = l.Run()
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		no := 0
		for range goroutines {
			no += <-refused
		}
		if ran+no != goroutines*each {
			t.Fatalf("round %d: %d ran and %d were refused of %d posted", i, ran, no, goroutines*each)
		}
		if ran > 0 && no > 0 {
			mixed++
		}
		allRan += ran
		allRefused += no
	}
	for _, w := range work {
		close(w)
	}
	t.Logf("%d rounds in %v: %d ran, %d refused, both in %d rounds", rounds, time.Since(start).Round(time.Millisecond), allRan, allRefused, mixed)
	if allRan == 0 || allRefused == 0 {
		t.Error("the posts did not meet Close: the test is too tame")
	}
}

func TestPostsOfOneGoroutineKeepTheirOrderAcrossClose(t *testing.T) {
	l := real(t)
	s := &sender{t: t}
	posts := make([]numbered, 10_000)
	for i := range posts {
		posts[i] = numbered{s, i}
		if err := l.QueueThreadsafe(&posts[i]); err != nil {
			t.Fatal(err)
		}
		if i == len(posts)/2 {
			l.Stop()
			run(t, l)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if s.next != len(posts) {
		t.Errorf("%d posts were called, want %d", s.next, len(posts))
	}
}

func TestAPostThatPanicsWhileClosingDoesNotStopTheOthers(t *testing.T) {
	l, errs := faulty(t)
	var got record
	_ = l.CallSoonThreadsafe(got.note("1"))
	_ = l.CallSoonThreadsafe(explode)
	_ = l.CallSoonThreadsafe(got.note("2"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got.want(t, "1", "2")
	if len(*errs) != 1 {
		t.Errorf("%d reports, want 1", len(*errs))
	}
}

// TestLoopsInARingLarge is R48: posts never block, so loops that post to each
// other cannot lock up.
func TestLoopsInARingLarge(t *testing.T) {
	const loops, tokens = 8, 64
	hops := 1_000_000
	if raceEnabled {
		hops = 20_000
	}
	ring := make([]*loop.Loop, loops)
	for i := range ring {
		l, err := loop.New(loop.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ring[i] = l
	}
	var done atomic.Int64
	var hop func(at, left int) func()
	hop = func(at, left int) func() {
		return func() {
			if left == 0 {
				if done.Add(1) == tokens {
					for _, l := range ring {
						_ = l.CallSoonThreadsafe(l.Stop)
					}
				}
				return
			}
			next := (at + 1) % loops
			if err := ring[next].CallSoonThreadsafe(hop(next, left-1)); err != nil {
				t.Error(err)
			}
		}
	}
	for i := range tokens {
		at := i % loops
		_ = ring[at].CallSoonThreadsafe(hop(at, hops/tokens))
	}
	start := time.Now()
	var wg sync.WaitGroup
	for _, l := range ring {
		wg.Go(func() {
			if err := l.Run(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	for _, l := range ring {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d hops among %d loops in %v, %d ns each", hops, loops, took.Round(time.Millisecond), took.Nanoseconds()/int64(hops))
}

func TestABurstOfPostsGivesItsMemoryBackLarge(t *testing.T) {
	n := 1_000_000
	if raceEnabled {
		n = 50_000
	}
	l := real(t)
	made := 0
	count := call(func() { made++ })
	before := heapBytes()
	for range 2 {
		for range n {
			_ = l.QueueThreadsafe(count)
		}
		runBriefly(t, l)
	}
	for range 3 { // the two slices change places
		_ = l.QueueThreadsafe(count)
		runBriefly(t, l)
	}
	if made != 2*n+3 {
		t.Errorf("%d posts were called, want %d", made, 2*n+3)
	}
	if grown := int64(heapBytes()) - int64(before); grown > 1<<20 {
		t.Errorf("%d B are kept after bursts of %d posts, want at most 1 MB", grown, n)
	}
	runtime.KeepAlive(l)
}
