package executor

import (
	"fmt"
	"slices"
	"time"
)

// Back-off and balance.
const (
	firstDelay     = 10 * time.Millisecond // of a restart after two deaths in a row
	maxDelay       = time.Second
	maxStartDeaths = 6                // in a row, after which calls fail
	stealAfter     = time.Millisecond // that one worker is idle and another has a call waiting
)

// dispatch gives places to calls that wait for one, and sees to it that there are
// enough workers. p.mu is held.
//
// A call goes to a worker that has none; if there is none, to one that will be there
// soon, and only if all of these are spoken for behind another call.
func (p *ProcessPool) dispatch() {
	for len(p.waiting) > 0 {
		w := p.leastBusy()
		if w != nil && w.taken == 0 {
			p.grant(w, 0)
			continue
		}
		p.startWorkers()
		if w == nil || len(p.waiting) <= p.starting {
			return
		}
		p.grant(w, p.starting) // those before it are for the workers that start
	}
}

// leastBusy returns the worker with the fewest calls of those with a free place, nil
// if there is none. p.mu is held.
func (p *ProcessPool) leastBusy() (best *proc) {
	for _, w := range p.ready {
		if !w.full && w.taken < p.depth && (best == nil || w.taken < best.taken) {
			best = w
		}
	}
	return best
}

// grant gives the call that is at i in the queue a place of w. p.mu is held.
func (p *ProcessPool) grant(w *proc, i int) {
	c := p.waiting[i]
	p.waiting = slices.Delete(p.waiting, i, i+1)
	w.taken++
	w.served++
	w.full = w.served == p.cfg.MaxJobs
	c.turn <- turn{w: w}
}

// release gives a place of w back.
func (p *ProcessPool) release(w *proc, how endKind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.taken--
	switch how {
	case endAnswered:
		p.deaths = 0
	case endNotBegun: // it does not count towards MaxJobs
		w.served--
		w.full = false
	}
	if w.full && w.taken == 0 && p.remove(w) {
		w.retire()
	}
	p.dispatch()
	p.balance()
}

// remove takes a worker that will not get calls any more out, and reports whether it
// was there. p.mu is held.
func (p *ProcessPool) remove(w *proc) bool {
	i := slices.Index(p.ready, w)
	if i >= 0 {
		p.ready = slices.Delete(p.ready, i, i+1)
	}
	return i >= 0
}

// drop takes a worker out that has turned out not to take calls.
func (p *ProcessPool) drop(w *proc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(w)
}

// forget takes a call out that waits for a place, and reports whether it was there.
func (p *ProcessPool) forget(c *pcall) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, c)
	if i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	return i >= 0
}

// refuseWaiting fails the calls that wait for a place. p.mu is held.
func (p *ProcessPool) refuseWaiting(err error) {
	for _, c := range p.waiting {
		c.turn <- turn{err: err}
	}
	p.waiting = nil
}

// startWorkers asks for as many workers as there are calls that no other will serve,
// within the limit, and not before the time. p.mu is held.
func (p *ProcessPool) startWorkers() {
	for len(p.ready)+p.starting < p.cfg.Workers && p.starting < len(p.waiting) {
		if d := time.Until(p.notBefore); d > 0 {
			if p.retry == nil {
				p.retry = time.AfterFunc(d, p.retryNow)
			}
			return
		}
		if p.deaths > 0 && p.starting > 0 {
			return // one attempt at a time
		}
		p.starting++
		if !p.spawner {
			p.spawner = true
			go p.spawnAll()
		}
		p.spawn <- struct{}{} // it has room for as many as may be starting
	}
}

func (p *ProcessPool) retryNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retry = nil
	if p.closed == nil {
		p.dispatch()
	}
}

// delay returns how long to wait after so many deaths in a row.
func delay(deaths int) time.Duration {
	if deaths < 2 {
		return 0
	}
	return min(firstDelay<<min(deaths-2, 16), maxDelay)
}

// died notes that a worker has, which was not the pool's doing. p.mu is held.
func (p *ProcessPool) died() {
	p.deaths++
	p.notBefore = time.Now().Add(delay(p.deaths))
}

// startFailed notes that a worker has not become ready. p.mu is held.
func (p *ProcessPool) startFailed(err error) {
	p.starting--
	p.startDeaths++
	p.died()
	if p.startDeaths >= maxStartDeaths && len(p.ready) == 0 {
		p.refuseWaiting(fmt.Errorf("%w: %d attempts in a row have failed: %w", ErrNoWorker, p.startDeaths, err))
	}
}

// started notes that a worker is ready, and reports whether it is wanted.
func (p *ProcessPool) started(w *proc) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starting--
	p.startDeaths = 0
	w.isReady = true
	if p.closed != nil {
		return false
	}
	p.ready = append(p.ready, w)
	p.dispatch()
	p.balance()
	return true
}

// balance arranges for a look at the workers when one has nothing to do while
// another has a call waiting. p.mu is held.
func (p *ProcessPool) balance() {
	if !p.stealing && p.unbalanced() != nil {
		p.stealing = true
		time.AfterFunc(stealAfter, p.steal)
	}
}

// unbalanced returns a worker that has a call waiting while another has none. p.mu is
// held.
func (p *ProcessPool) unbalanced() *proc {
	var idle, busy *proc
	for _, w := range p.ready {
		switch {
		case w.taken == 0:
			idle = w
		case w.taken > 1 && (busy == nil || w.taken > busy.taken):
			busy = w
		}
	}
	if idle == nil {
		return nil
	}
	return busy
}

// steal takes a call back from a worker that has it waiting. It goes to another by
// being handed out again.
func (p *ProcessPool) steal() {
	p.mu.Lock()
	p.stealing = false
	w := p.unbalanced()
	p.mu.Unlock()
	if w != nil {
		w.revokeLast()
	}
}

// count counts one more.
func (p *ProcessPool) count(n *uint64) {
	p.mu.Lock()
	*n++
	p.mu.Unlock()
}
