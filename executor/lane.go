package executor

import (
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"
)

// laneState is what changes of a lane.
type laneState struct {
	mu         sync.Mutex
	refuse     error // of new jobs; nil: open
	goroutines int   // enough that each job in waiting will be taken
	idle       int   // of these, those about to look for a job once more
	waiting    list
	running    list
	aside      list       // calls of Init and Exit
	wake       *sync.Cond // idle goroutines that stay; nil: none does
	blocked    []*blocked // waits of running jobs for others of the lane
	counts     counts
	ended      chan struct{} // closed when the lane is, and nothing runs any more

	late atomic.Uint64
}

// now returns ns since the pool was made, never 0.
func (p *Pool) now() int64 { return int64(time.Since(p.base)) | 1 }

// add queues j and sees to it that a goroutine will take it. wait lets it into a
// queue that is full.
func (n *Lane) add(j *job, wait bool) error {
	n.mu.Lock()
	if err := n.refuse; err != nil {
		return n.reject(j, err)
	}
	if out := n.waiting.n + n.running.n; out >= n.limit {
		if !wait && out-n.limit >= n.room {
			return n.reject(j, ErrQueueFull)
		}
		j.since.Store(n.pool.now())
	}
	n.waiting.push(j)
	spawn := n.waiting.n > n.idle && n.goroutines < n.limit
	if spawn {
		n.goroutines++
	}
	if n.wake != nil {
		n.wake.Signal()
	}
	n.mu.Unlock()
	if spawn {
		go n.body()
	}
	return nil
}

// reject counts a job that is refused. It unlocks n.mu.
func (n *Lane) reject(j *job, err error) error {
	j.place = gone
	n.counts.rejected++
	n.mu.Unlock()
	return err
}

// work is a goroutine that runs jobs until there is none.
func (n *Lane) work() {
	var j *job
	defer func() {
		if j != nil { // it called Goexit, and this goroutine will end
			j.finish()
			if n.leave(j) {
				go n.body()
			}
		}
	}()
	n.setLabels()
	for j = n.take(nil); j != nil; j = n.take(j) {
		j.do()
	}
}

// setLabels labels the goroutine, which has the labels of whoever made it.
func (n *Lane) setLabels() {
	if n.labels != nil {
		pprof.SetGoroutineLabels(n.labels)
	}
}

// take returns the next job for a goroutine that has ended the job before, if
// that is not nil. If there is none, the goroutine is off the books.
func (n *Lane) take(before *job) *job {
	n.mu.Lock()
	if before != nil {
		n.remove(before)
	}
	if n.waiting.head == nil && before != nil {
		// Who waited for that job often has another: it is looked for once more,
		// after others ran, which is cheaper than to end and be made again.
		n.idle++
		n.mu.Unlock()
		runtime.Gosched()
		n.mu.Lock()
		n.idle--
	}
	if n.waiting.head == nil {
		n.retire()
		n.mu.Unlock()
		return nil
	}
	j := n.begin()
	n.mu.Unlock()
	return j
}

// begin moves the oldest job in the queue to those that run.
func (n *Lane) begin() *job {
	j := n.waiting.head
	n.waiting.remove(j)
	n.running.push(j)
	j.place = running
	now := n.pool.now()
	since := j.since.Swap(now) // under the lock: a Shutdown may name the job
	if since != 0 {
		since = now - since
	}
	n.counts.started(since)
	return j
}

// leave is take for a goroutine that cannot go on: it reports whether another
// must.
func (n *Lane) leave(before *job) (replace bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if before != nil {
		n.remove(before)
	}
	if n.waiting.n > 0 {
		return true
	}
	n.retire()
	return false
}

// remove takes a job that has ended off the books.
func (n *Lane) remove(j *job) {
	n.running.remove(j)
	j.place = gone
	n.counts.done++
	if j.panicked {
		n.counts.panics++
	}
}

// retire takes a goroutine off the books.
func (n *Lane) retire() {
	n.goroutines--
	n.checkEnded()
}

// checkEnded tells those who wait in Shutdown when all is over.
func (n *Lane) checkEnded() {
	if n.refuse == nil || n.goroutines > 0 {
		return
	}
	select {
	case <-n.ended:
	default:
		close(n.ended)
	}
}

// unqueue takes a job that is not wanted any more from the queue, and reports
// whether it was there.
func (n *Lane) unqueue(j *job) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if j.place != queued {
		return false
	}
	n.waiting.remove(j)
	j.place = gone
	n.counts.canceled++
	return true
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
