package executor

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Config configures a Pool. The zero value is right for production.
type Config struct {
	// Limit is how many jobs run at a time. Default 0: min(32, NumCPU + 4), which
	// is Python's, and suits jobs that mostly wait. For jobs that compute take
	// GOMAXPROCS - 1: one processor must be left to the loop, which otherwise
	// answers late by 10 ms and more, the time that the runtime lets a goroutine
	// compute before it interrupts it. At GOMAXPROCS=1 every computing job has
	// that price. Keep a pool for each kind of work: lookups that hang should not
	// keep files from being read.
	Limit int
	// Queue is how many jobs may wait for others to end before Submit refuses
	// more. Default 0: 65,536, some 20 MB; negative: no bound.
	Queue int
	// Name is what errors call the pool. Default "": they do not.
	Name string
}

const (
	maxDefaultLimit = 32
	defaultQueue    = 1 << 16
)

// A Pool runs jobs on goroutines, a limited number at a time, in the order they
// were handed in. Its methods may be called from any goroutine; one pool may
// serve several loops. Make it with [New].
//
// A goroutine is made for a job when none is there and the limit allows; one that
// has ended its job takes the next, and ends when there is none. So an idle pool
// holds nothing, and needs no closing. Goroutines are shared: a job that calls
// runtime.LockOSThread must undo it.
//
// Submit does not wait for a place in the queue, and Do does. A job of Do that
// waits for a place waits in the queue already, beyond its bound: so the order of
// asking is kept between both, and a canceled task leaves no trace.
//
// A job must not wait for another job of its own pool: with all places taken by
// such jobs, none would ever end.
//
//	open --Shutdown--> closed: no new jobs
type Pool struct {
	name  string
	limit int
	room  int       // jobs in the queue at which Submit refuses
	base  time.Time // what clocks count from
	body  func()    // p.work, made once: a go statement with it allocates nothing

	mu         sync.Mutex
	closed     bool
	goroutines int // enough that each job in waiting will be taken
	idle       int // of these, those about to look for a job once more
	waiting    list
	running    list
	done       uint64
	canceled   uint64
	rejected   uint64
	ended      chan struct{} // closed when the pool is, and nothing runs any more

	panics, late atomic.Uint64
	waited       atomic.Int64 // ns
}

// New returns a pool that is open and holds no goroutine.
func New(cfg Config) *Pool {
	p := &Pool{name: cfg.Name, limit: cfg.Limit, room: cfg.Queue, base: time.Now(), ended: make(chan struct{})}
	switch {
	case p.limit < 0:
		panic("executor: Config.Limit is negative")
	case p.limit == 0:
		p.limit = min(maxDefaultLimit, runtime.NumCPU()+4)
	}
	switch {
	case p.room < 0:
		p.room = math.MaxInt - p.limit
	case p.room == 0:
		p.room = defaultQueue
	}
	p.body = p.work
	return p
}

// now returns ns since the pool was made, never 0.
func (p *Pool) now() int64 { return int64(time.Since(p.base)) | 1 }

// add queues j and sees to it that a goroutine will take it. wait lets it into a
// queue that is full.
func (p *Pool) add(j *job, wait bool) error {
	p.mu.Lock()
	if p.closed {
		p.rejected++
		p.mu.Unlock()
		return ErrClosed
	}
	if out := p.waiting.n + p.running.n; out >= p.limit {
		if !wait && out-p.limit >= p.room {
			p.rejected++
			p.mu.Unlock()
			return ErrQueueFull
		}
		j.since.Store(p.now())
	}
	p.waiting.push(j)
	spawn := p.waiting.n > p.idle && p.goroutines < p.limit
	if spawn {
		p.goroutines++
	}
	p.mu.Unlock()
	if spawn {
		go p.body()
	}
	return nil
}

// work is a goroutine of the pool: it runs jobs until there is none.
func (p *Pool) work() {
	var j *job
	defer func() {
		if j != nil { // it called Goexit, and this goroutine will end
			j.finish()
			if p.leave(j) {
				go p.body()
			}
		}
	}()
	for j = p.take(nil); j != nil; j = p.take(j) {
		j.do()
	}
}

// take returns the next job for a goroutine that has ended the job before, if
// that is not nil. If there is none, the goroutine is off the books.
func (p *Pool) take(before *job) *job {
	p.mu.Lock()
	if before != nil {
		p.remove(before)
	}
	j := p.waiting.head
	if j == nil && before != nil {
		// Who waited for that job often has another: it is looked for once more,
		// after others ran, which is cheaper than to end and be made again.
		p.idle++
		p.mu.Unlock()
		runtime.Gosched()
		p.mu.Lock()
		p.idle--
		j = p.waiting.head
	}
	if j == nil {
		p.retire()
		p.mu.Unlock()
		return nil
	}
	p.waiting.remove(j)
	p.running.push(j)
	j.place = running
	now := p.now()
	if since := j.since.Swap(now); since != 0 { // under the lock: a Shutdown may name the job
		p.waited.Add(now - since)
	}
	p.mu.Unlock()
	return j
}

// leave is take for a goroutine that cannot go on: it reports whether another
// must.
func (p *Pool) leave(before *job) (replace bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(before)
	if p.waiting.n > 0 {
		return true
	}
	p.retire()
	return false
}

// remove takes a job that has ended off the books.
func (p *Pool) remove(j *job) {
	p.running.remove(j)
	j.place = gone
	p.done++
}

// retire takes a goroutine off the books.
func (p *Pool) retire() {
	p.goroutines--
	p.checkEnded()
}

// checkEnded tells those who wait in Shutdown when all is over.
func (p *Pool) checkEnded() {
	if !p.closed || p.goroutines > 0 {
		return
	}
	select {
	case <-p.ended:
	default:
		close(p.ended)
	}
}

// drop is for a job whose result is not wanted any more.
func (p *Pool) drop(j *job, cause error) {
	p.mu.Lock()
	if j.place == queued {
		p.waiting.remove(j)
		j.place = gone
		p.canceled++
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	j.dropped.Store(true)
	j.interrupt(cause)
}

// Stats is what a pool does now and has done since it was made. Every job handed
// in is in exactly one of Running, Queued, Done, Canceled and Rejected.
type Stats struct {
	Running  int           // jobs that run now
	Queued   int           // jobs that wait now, those of Do beyond the bound included
	Done     uint64        // jobs that have ended
	Panics   uint64        // of these, by a panic
	Late     uint64        // of these, after their future was canceled or its loop closed
	Canceled uint64        // jobs that were canceled before they started
	Rejected uint64        // jobs refused because the queue was full or the pool closed
	Waited   time.Duration // in all, for other jobs to end; of jobs that have started
}

// Stats returns what the pool has done.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{
		Running:  p.running.n,
		Queued:   p.waiting.n,
		Done:     p.done,
		Panics:   p.panics.Load(),
		Late:     p.late.Load(),
		Canceled: p.canceled,
		Rejected: p.rejected,
		Waited:   time.Duration(p.waited.Load()),
	}
}

// A list is a list of jobs, oldest first. The zero value is empty.
type list struct {
	n          int
	head, tail *job
}

func (l *list) push(j *job) {
	j.prev, j.next = l.tail, nil
	if l.tail == nil {
		l.head = j
	} else {
		l.tail.next = j
	}
	l.tail = j
	l.n++
}

func (l *list) remove(j *job) {
	if j.prev == nil {
		l.head = j.next
	} else {
		j.prev.next = j.next
	}
	if j.next == nil {
		l.tail = j.prev
	} else {
		j.next.prev = j.prev
	}
	j.prev, j.next = nil, nil
	l.n--
}
