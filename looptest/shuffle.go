package looptest

import (
	"math/rand/v2"
	"time"

	"github.com/eddyloop/eddy/poller"
)

// ShufflePoller returns a poller that waits on p and reports what is ready in an
// order drawn from seed. The order of descriptors that are ready together is
// promised to nobody, and code that depends on it fails with some seed. The result
// belongs to one goroutine at a time, as p does.
func ShufflePoller(p poller.Poller, seed uint64) poller.Poller {
	s := &shuffled{p, rand.New(rand.NewPCG(seed, seed))}
	if r, ok := p.(poller.Rearmer); ok {
		return &shuffledRearmer{s, r}
	}
	return s
}

type shuffled struct {
	poller.Poller
	rand *rand.Rand
}

// A shuffledRearmer is a shuffled poller without edges of its own.
type shuffledRearmer struct {
	*shuffled
	poller.Rearmer
}

// Wait implements poller.Poller.
func (s *shuffled) Wait(events []poller.Event, d time.Duration) (n int, woken bool, err error) {
	n, woken, err = s.Poller.Wait(events, d)
	s.rand.Shuffle(n, func(i, j int) { events[i], events[j] = events[j], events[i] })
	return n, woken, err
}
